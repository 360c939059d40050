// webhook.mjs - interactions by express, discord-interactions and better-sqlite3: verified, executed in one
// transaction, answered.
//
//     PUBLIC_KEY=… DB=… [PORT=…] [SYNCHRONOUS=FULL] node webhook.mjs      prints its port
import express from 'express';
import { InteractionResponseType, InteractionType, verifyKeyMiddleware } from 'discord-interactions';

import { open } from './database.mjs';

const { PUBLIC_KEY, DB, PORT = '0' } = process.env;
const db = open(DB, `
    CREATE TABLE IF NOT EXISTS answered(request_id TEXT PRIMARY KEY, reply TEXT NOT NULL, at_ms INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS guilds(guild_id TEXT PRIMARY KEY, settings TEXT NOT NULL);`);
const known = db.prepare('SELECT reply FROM answered WHERE request_id = ?');
const keep = db.prepare('INSERT INTO answered VALUES(?, ?, ?)');
const save = db.prepare(`INSERT INTO guilds VALUES(?, ?) ON CONFLICT(guild_id) DO UPDATE SET
    settings = json_patch(settings, excluded.settings)`);

const execute = db.transaction(interaction => {
    const before = known.get(interaction.id);
    if (before)
        return before.reply;
    const option = name => interaction.data.options.find(o => o.name === name)?.value;
    save.run(interaction.guild_id, JSON.stringify({ modLog: option('modlog'), moderator: option('moderator') }));
    const reply = JSON.stringify({
        type: InteractionResponseType.CHANNEL_MESSAGE_WITH_SOURCE,
        data: { content: 'The settings are saved.', flags: 64, allowed_mentions: { parse: [] } },
    });
    keep.run(interaction.id, reply, Date.now());
    return reply;
});

const app = express();
app.post('/webhooks/discord', verifyKeyMiddleware(PUBLIC_KEY), (request, response) => {
    const interaction = request.body;
    if (interaction.type === InteractionType.PING)
        return response.send({ type: InteractionResponseType.PONG });
    response.type('json').send(execute(interaction));
});
const server = app.listen(Number(PORT), '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.on('SIGTERM', () => process.exit(0));
