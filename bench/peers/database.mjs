// database.mjs - the one SQLite file of a bot that is one process: WAL, NORMAL unless SYNCHRONOUS says FULL.
import Database from 'better-sqlite3';

export function open(path, schema) {
    const db = new Database(path);
    db.pragma('journal_mode = WAL');
    db.pragma(`synchronous = ${process.env.SYNCHRONOUS ?? 'NORMAL'}`);
    db.exec(schema);
    return db;
}
