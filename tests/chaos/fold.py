"""fold.py - a guild's rows as its log tells them, and as a database holds them; both as a digest that can be compared.

    records ─▶ Fold.apply(row op) …   digest after each record, without going over all rows again
    guilds.sqlite3 ─▶ digests(path)   {guild: Held(idx, dirty, digest)}

A digest is the number of rows and the sum of the rows' hashes, so it does not depend on their order. Names of columns
and keys of tables come from a database of the run; nothing else is known about them.
"""
import contextlib
import dataclasses
import hashlib
import sqlite3

POSITION = "guild_state"
MODULUS = 1 << 128


def row_hash(table, values):
    text = repr((table, values)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


@dataclasses.dataclass(frozen=True)
class Table:
    columns: tuple
    key: tuple  # places of the primary key's columns


class Wrong(Exception):
    """A row operation that fits no table, or no row."""


class Fold:
    def __init__(self, tables):
        self.tables, self.rows, self.sum = tables, {}, 0

    def apply(self, op):
        """op: (table, is it removed, values: of the key, or of all columns)"""
        name, removed, values = op
        table = self.tables.get(name)
        if not table:
            raise Wrong(f"no table {name!r}")
        if removed:
            self._remove(name, values)
        elif len(values) != len(table.columns):
            raise Wrong(f"{name}: {len(values)} values for {len(table.columns)} columns")
        else:
            self._put(name, tuple(values[at] for at in table.key), values)

    def _put(self, name, key, values):
        old = self.rows.get((name, key))
        if old is not None:
            self.sum -= row_hash(name, old)
        self.rows[name, key] = values
        self.sum = (self.sum + row_hash(name, values)) % MODULUS

    def _remove(self, name, key):
        old = self.rows.pop((name, key), None)
        if old is None:
            raise Wrong(f"{name}: {key} is removed and was not there")
        self.sum = (self.sum - row_hash(name, old)) % MODULUS

    @property
    def digest(self):
        return len(self.rows), self.sum


@dataclasses.dataclass
class Held:
    """A guild's rows in a database."""
    idx: int
    dirty: bool
    deleting: bool
    count: int = 0
    sum: int = 0

    @property
    def digest(self):
        return self.count, self.sum


def open_copy(path):
    return contextlib.closing(sqlite3.connect(path))


def tables_of(path):
    """{name: Table} of those that hold guilds' rows."""
    found = {}
    with open_copy(path) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            info = db.execute(f"PRAGMA table_info({name})").fetchall()
            columns = tuple(row[1] for row in info)
            key = sorted((row[5], row[0]) for row in info if row[5])
            if name != POSITION and columns and columns[0] == "guild_id" and key:
                found[name] = Table(columns, tuple(at for _, at in key))
    return found


def digests(path, tables):
    """({guild: Held}, [guild whose rows have no position])"""
    with open_copy(path) as db:
        held = {row[0]: Held(row[1], bool(row[2]), bool(row[3]))
                for row in db.execute(f"SELECT guild_id, idx, dirty, deleting FROM {POSITION}")}
        orphans = set()
        for name in tables:
            for values in db.execute(f"SELECT * FROM {name}"):
                h = held.get(values[0])
                if h is None:
                    orphans.add(values[0])
                else:
                    h.count += 1
                    h.sum = (h.sum + row_hash(name, tuple(values))) % MODULUS
    return held, sorted(orphans)


def rows_of(path, tables, guild):
    """{(table, key): values} of one guild, for whoever looks for a difference."""
    found = {}
    with open_copy(path) as db:
        for name, table in tables.items():
            for values in db.execute(f"SELECT * FROM {name} WHERE guild_id = ?", (guild,)):
                found[name, tuple(values[at] for at in table.key)] = tuple(values)
    return found


def difference(expected, found, most=3):
    """What is missing, too much or other, as text."""
    parts = []
    for what, keys in (("missing", expected.keys() - found.keys()), ("too much", found.keys() - expected.keys()),
                       ("other", {k for k in expected.keys() & found.keys() if expected[k] != found[k]})):
        if keys:
            first = ", ".join(f"{name}{key[1:]}" for name, key in sorted(keys, key=repr)[:most])
            parts.append(f"{len(keys)} rows {what}: {first}")
    return "; ".join(parts) or "the rows are equal"
