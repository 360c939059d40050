"""check_answers.py - I3: interactions are answered in time and take effect once. I5: what is shown is in the log.

    interactions (simulator) ─┐                  ┌─ rows of `answered` by request id
    answers on the bus ───────┼─▶ must stand in ─┼─ rows of `outbox` by method, path and body
    calls to Discord ─────────┤    the log,      ├─ settings' values, positions, claims
    reads of the harness ─────┘    and before    └─
"""
import bisect
import json

# What the bot says when it could not do what was asked. Such an answer shows no change; whether the effect came all the
# same is open (at most once).
REFUSALS = ("That did not work", "You may not do this here", "You are not allowed to do that here", "Error.",
            "This command or button is not known", "That is no longer there", "The bot could not make sense of that",
            "Somebody else was faster", "The bot did not answer in time")
TABLE_ANSWERED, TABLE_OUTBOX, TABLE_GUILDS = "answered", "outbox", "guilds"
SLACK_S = 1.0     # two processes look at the clock: a call or a stale read must be further off to count
BROKEN_S = 4.0    # an interaction whose edge was killed: its connection broke within its three seconds
KILLED_S = 0.5    # the harness notes a death so much off
DEADLINE_US = 3_000_000


def fnv(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return value


class Index:
    """What the logs have put into the tables that speak to the outside."""

    def __init__(self, history):
        self.answered = {}   # request id: [(record, reply bytes)]
        self.outbox = {}     # (method, path): [(record, body bytes, action id)]
        self.settings = {}   # (guild, value of the harness's register): first record
        self.claims = {}     # guild: [records], by sequence
        self.holes = any(history.holes.values())
        for guild, records in history.records.items():
            self.claims[guild] = [r for r in records if r.kind == "claim"]
            for r in records:
                if r.kind == "change" or (r.kind == "snapshot" and self.holes):
                    for op in r.ops():
                        self._row(guild, r, op)

    def _row(self, guild, r, op):
        """A snapshot repeats what is known: only what stood in records that nobody has heard is new there."""
        table, removed, values = op
        if removed:
            return
        if table == TABLE_ANSWERED:
            found = self.answered.setdefault(values[1], [])
            if r.kind == "change" or not found:
                found.append((r, values[2] if isinstance(values[2], bytes) else str(values[2]).encode()))
        elif table == TABLE_OUTBOX:
            found = self.outbox.setdefault((values[2], (values[3] or "").split("?")[0]), [])
            if r.kind == "change" or all((known.guild, action) != (guild, values[1]) for known, _, action in found):
                found.append((r, (values[4] or "").encode(), values[1]))
        elif table == TABLE_GUILDS:
            self.settings.setdefault((guild, json.loads(values[2] or "{}").get("restricted")), r)


def is_refusal(text):
    return any((text or "").startswith(beginning) for beginning in REFUSALS)


# ---- I3 ----

class Excuses:
    """Connections that broke with a request on its way, at the moment when an edge was killed. Each excuses once.

    What the client says of it is "unreachable", or "timeout": libcurl sends a request again, to the other edge, when a
    connection that it had used before ends without a byte; too late for that edge to keep the 3 s.
    """

    def __init__(self, history):
        deaths = [t["at"] for t in history.timeline
                  if t["what"] == "death" and t["process"] in history.facts["edges"]]
        self.broken = [at for at in history.broken if any(abs(at - death) < KILLED_S for death in deaths)]

    def take(self, at):
        fitting = [broken for broken in self.broken if at - 0.1 <= broken <= at + BROKEN_S]
        if fitting:
            self.broken.remove(fitting[0])
        return bool(fitting)


def check_interactions(history, verdict, index):
    excuses = Excuses(history)
    for i in history.interactions:
        if i["type"] == 1 or i["name"] in ("ping", "probe"):
            continue
        verdict.count("interactions_sent")
        guild, at = int(i["guild_id"] or 0), i["sent_at_ms"] / 1000
        rows = index.answered.get(f"i:{i['id']}", [])
        if len(rows) > 1:
            verdict.add("I3", f"{name_of(i)} took effect {len(rows)} times, in records {[r.idx for r, _ in rows]}",
                        record=rows[-1][0], at=at)
        check_fate(verdict, i, guild, at, rows, excuses)


def name_of(i):
    return f"interaction {i['id']} ({i['name']})"


def check_fate(verdict, i, guild, at, rows, excuses):
    fate = i["fate"]
    if fate in ("failed", "pending"):
        if excuses.take(at):
            verdict.count("interactions_excused")
            return
        verdict.count("interactions_unanswered")
        verdict.add("I3", f"{name_of(i)} was not answered: {i['reason'] or fate}", guild=guild, at=at)
    elif fate == "deferred":
        verdict.count("interactions_unanswered")
        verdict.add("I3", f"{name_of(i)} was deferred and never finished", guild=guild, at=at)
    elif is_refusal(i["says"]):
        verdict.count("interactions_refused")
    else:
        verdict.count("interactions_deferred" if fate == "completed" else "interactions_answered")
        check_effect(verdict, i, guild, at, rows)
    if i["answered_us"] > DEADLINE_US:
        verdict.add("I3", f"{name_of(i)} was answered after {i['answered_us'] / 1e6:.3f} s", guild=guild, at=at)


def check_effect(verdict, i, guild, at, rows):
    if not rows:
        verdict.add("I5", f"{name_of(i)} was answered {i['says']!r}, no log has its answer", guild=guild, at=at)
    elif i["fate"] == "answered" and int(i["answer_hash"], 16) != fnv(rows[0][1]):
        verdict.add("I5", f"{name_of(i)} was answered {i['says']!r}, the log has {rows[0][1][:120]!r}",
                    record=rows[0][0], at=at)


# ---- I5: answers on the bus ----

def check_answers(history, verdict, index):
    # The answer to a change is stored with it: a repeat gets the same one, whoever owns the guild by then.
    bodies, asked = {}, {op["reply"]: op["begin"] for op in history.ops
                         if op["op"] == "asked" and op["query"] != "change_settings"}
    for a in history.answers:
        if a.kind == "interaction_reply":
            check_interaction_reply(history, verdict, index, bodies, a)
        elif a.kind == "portal_reply":
            check_portal_reply(history, verdict, index, a)
            if a.to in asked:
                check_stale(verdict, index, a, asked[a.to])


def check_stale(verdict, index, a, begin):
    """Nobody answers for an epoch when a later one was claimed before the question, however late the answer comes. A
    claim is heard after it is stored, so that no slack is needed."""
    m = a.message
    claims = [c for c in index.claims.get(m.get("guild_id", 0), []) if c.order is not None]
    at = bisect.bisect_left(claims, begin, key=lambda c: c.at)
    if at and m.get("epoch", 0) < claims[at - 1].epoch:
        c = claims[at - 1]
        verdict.add("I5", f"{m.get('pod')} answered for epoch {m.get('epoch')} what was asked {begin - c.at:.3f} s after "
                    f"{c.pod} had claimed epoch {c.epoch}", guild=m.get("guild_id"), pod=m.get("pod"), at=a.at)


def check_interaction_reply(history, verdict, index, bodies, a):
    ident, body = a.message.get("id", 0), a.message.get("callback_json", "")
    verdict.count("replies")
    rows = index.answered.get(f"i:{ident}", [])
    if is_refusal(_says(body)):
        return
    first = bodies.setdefault(ident, body)
    if first != body:
        verdict.add("I3", f"interaction {ident} was answered {_says(first)!r} and then {_says(body)!r}", at=a.at)
    if not rows:
        verdict.add("I5", f"a reply to interaction {ident} was sent, no log has it: {_says(body)!r}", at=a.at)
        return
    r = rows[0][0]
    if came_later(history, r, a):
        verdict.add("I5", f"the reply to interaction {ident} was sent before its record was stored", record=r, at=a.at)
    if rows[0][1].decode("utf-8", "replace") != body:
        verdict.add("I3", f"interaction {ident} was answered {_says(body)!r}, the log has {rows[0][1][:120]!r}",
                    record=r, at=a.at)


def _says(callback):
    try:
        return (json.loads(callback).get("data") or {}).get("content") or callback[:120]
    except (ValueError, AttributeError):
        return callback[:120]


def came_later(history, r, a):
    """Whether the record was stored after the answer was sent. What only a snapshot shows was in a record before it
    that nobody has heard."""
    if r.order is None or a.order is None or r.kind == "snapshot":
        return False
    return r.order > a.order if history.is_ordered else r.at > a.at + SLACK_S


def check_portal_reply(history, verdict, index, a):
    m = a.message
    guild, epoch, pod = m.get("guild_id", 0), m.get("epoch", 0), m.get("pod", "")
    verdict.count("portal_replies")
    claim = next((c for c in index.claims.get(guild, []) if c.epoch == epoch), None)
    if not index.holes and (not claim or claim.pod != pod or came_later(history, claim, a)):
        verdict.add("I5", f"{pod} answers for epoch {epoch}, which is not its own in the log", guild=guild, pod=pod,
                    at=a.at)
    if "settings" in m:
        value = json.loads(m["settings"].get("settings_json", "{}")).get("restricted")
        r = index.settings.get((guild, value))
        if value and not index.holes and (not r or came_later(history, r, a)):
            verdict.add("I5", f"{pod} shows the setting {value}, which is not in the log yet", guild=guild, pod=pod,
                        at=a.at, idx=r.idx if r else None)
    elif "overview" in m:
        check_overview(history, verdict, a, guild, pod)


def check_overview(history, verdict, a, guild, pod):
    """It does not show more events than the log had applied by then."""
    applied, records = a.message["overview"].get("events_applied", 0), history.records.get(guild, [])
    at = bisect.bisect_left(records, applied, key=lambda r: r.applied)
    if at == len(records) or came_later(history, records[at], a):
        verdict.add("I5", f"{pod} shows {applied} events applied, the log does not have so many yet", guild=guild,
                    pod=pod, at=a.at)


# ---- I5: calls to Discord ----

def check_calls(history, verdict, index):
    made = {}
    for c in history.calls:
        if c["path"].startswith("/applications/"):
            continue  # commands are registered by a pod that starts, for no guild
        verdict.count("calls")
        wanted = int(c["body_hash"], 16)
        rows = [(r, action) for r, body, action in index.outbox.get((c["method"], c["path"]), [])
                if hash_of(body) == wanted]
        if not rows:
            if not index.holes:
                verdict.add("I5", f"{c['method']} {c['path']} was called, no log has its cause", at=c["at_ms"] / 1000)
            continue
        first = min((r for r, _ in rows), key=lambda r: r.at)
        if first.order is not None and first.kind != "snapshot" and c["at_ms"] / 1000 + SLACK_S < first.at:
            verdict.add("I5", f"{c['method']} {c['path']} was called before its record was stored", guild=first.guild,
                        idx=first.idx, pod=first.pod, at=c["at_ms"] / 1000)
        key = c["method"], c["path"], wanted
        made[key] = made.get(key, 0) + 1
        if made[key] > len({(r.guild, action) for r, action in rows}):
            verdict.count("calls_repeated")  # its result was lost with a pod: Discord drops it by its nonce


_hashes = {}


def hash_of(body):
    if body not in _hashes:
        _hashes[body] = fnv(body)
    return _hashes[body]


# ---- reads and writes of the harness ----

def check_ops(history, verdict, index):
    by_guild = {}
    for op in history.ops:
        by_guild.setdefault(op["guild"], []).append(op)
    for guild, ops in by_guild.items():
        check_register(verdict, guild, ops)
        check_overviews(verdict, guild, [op for op in ops if op["op"] == "overview"])
        for op in ops:
            if op["op"] == "repeat" and not op["same"]:
                verdict.add("I3", f"the change {op['request']} was answered differently when it was repeated",
                            guild=guild, at=op["begin"])
            if op["op"] == "write":
                verdict.count("writes_answered" if op["answered"] else "writes_unanswered")
                check_write(verdict, guild, op, index)


def check_write(verdict, guild, op, index):
    rows = index.answered.get(f"p:{op['request']}", [])
    if len(rows) > 1:
        verdict.add("I3", f"the change {op['request']} took effect {len(rows)} times", guild=guild, idx=rows[-1][0].idx,
                    at=op["begin"])
    if op["answered"] and not rows and not index.holes:
        verdict.add("I5", f"the change {op['request']} was confirmed, no log has it", guild=guild, at=op["end"])


def check_register(verdict, guild, ops):
    """A read never shows less than what was confirmed before it began. A change that nobody confirmed may come late."""
    writes = sorted((op for op in ops if op["op"] == "write"), key=lambda op: op["begin"])
    values = {op["value"]: op for op in writes}
    for read in (op for op in ops if op["op"] == "settings"):
        verdict.count("reads")
        shown = values.get(read["value"])
        overwritten = next((w for w in writes if w["answered"] and w["end"] < read["begin"]
                            and (shown is None or (shown["answered"] and shown["end"] < w["begin"]))), None)
        if overwritten:
            verdict.add("I5", f"the setting {read['value']} was shown after {overwritten['value']} had been confirmed",
                        guild=guild, pod=read["pod"], at=read["begin"])


def check_overviews(verdict, guild, reads):
    """Of two reads, one after the other, the second never shows less."""
    ends = sorted(reads, key=lambda op: op["end"])
    most, at = None, 0
    for read in sorted(reads, key=lambda op: op["begin"]):
        verdict.count("reads")
        while at < len(ends) and ends[at]["end"] < read["begin"]:
            if most is None or (ends[at]["epoch"], ends[at]["applied"]) > (most["epoch"], most["applied"]):
                most = ends[at]
            at += 1
        if most and (read["epoch"] < most["epoch"] or read["applied"] < most["applied"]):
            verdict.add("I5", f"epoch {read['epoch']} with {read['applied']} events was shown after epoch "
                        f"{most['epoch']} with {most['applied']}", guild=guild, pod=read["pod"], at=read["begin"])
