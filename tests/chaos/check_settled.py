"""check_settled.py - I6: in the end everything is served, and nobody has helped. And: nobody ended by itself.

Figures too: how long a handoff's pause and a failover took, as the logs show it.
"""
CLAIM_FAILOVER = 3
FAILOVER_WINDOW_S = 120


def check_settled(history, verdict):
    settled = history.facts["settled"]
    for text in settled["wrong"][:50] if not settled["settled"] else []:
        verdict.add("I6", f"after {settled['seconds']} s of peace: {text}")
    if not settled["settled"] and not settled["wrong"]:
        verdict.add("I6", "it did not settle")
    owned = {int(row["guild_id"]): row for row in history.tables.get("guild_assignments", [])}
    for guild in history.facts["guilds"]:
        check_owner(verdict, guild, owned.get(guild), history.records.get(guild, []))
    for move in history.tables.get("moves", []):
        if move["state"] in ("wished", "warming", "ready", "cutover"):
            verdict.add("I6", f"move {move['id']} to {move['target']} is stuck in {move['state']}",
                        guild=int(move["guild_id"]))


def check_owner(verdict, guild, row, records):
    claim = next((r for r in reversed(records) if r.kind == "claim"), None)
    if not row or row["state"] != "owned" or not claim:
        verdict.add("I6", f"the guild is {row['state'] if row else 'unknown'} at the coordinator, "
                    f"{'claimed by ' + claim.pod if claim else 'claimed by nobody'}", guild=guild)
    elif (row["pod_id"], int(row["epoch"])) != (claim.pod, claim.epoch):
        verdict.add("I6", f"the coordinator names {row['pod_id']} at epoch {row['epoch']}, the log {claim.pod} at "
                    f"{claim.epoch}", guild=guild, idx=claim.idx)


def check_exits(history, verdict):
    """A program may be refused, or end with a clear message; it never crashes."""
    for t in history.timeline:
        if t["what"] != "death" or t["why"]:
            continue
        verdict.count("unexpected_exits")
        if t["code"] < 0 or t["process"] not in (*history.facts["pods"],):
            verdict.add("exit", f"{t['process']} {t['exit']} although nobody stopped it (log {t['log']}): "
                        f"{t['last_line']}", pod=t["process"], at=t["at"])


# ---- figures ----

def durations(history):
    """(pauses of handoffs, failovers), both in seconds"""
    pauses, failovers = [], []
    falls = {}
    for t in history.timeline:
        if t["what"] == "death" or (t["what"] == "fault" and t["kind"] in ("gateway_stop", "zombie")):
            falls.setdefault(t.get("process") or t.get("on"), []).append(t["at"])
    for records in history.records.values():
        for last, r in zip(records, records[1:]):
            if r.kind != "claim" or r.order is None or last.order is None:
                continue
            if last.kind == "seal":
                pauses.append(max(0.0, r.at - last.at))
            elif r.reason == CLAIM_FAILOVER and last.pod != r.pod:
                before = [at for at in falls.get(last.pod, []) if last.at - 1 <= at <= r.at]
                if before:
                    failovers.append(r.at - before[0])
    return pauses, [f for f in failovers if f < FAILOVER_WINDOW_S]


def quantiles(values):
    values = sorted(values)
    if not values:
        return {"count": 0}
    return {"count": len(values), "p50": values[len(values) // 2], "p99": values[(len(values) - 1) * 99 // 100],
            "max": values[-1]}
