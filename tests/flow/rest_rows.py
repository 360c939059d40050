"""rest_rows.py - rows of many guilds' outboxes, and what the simulator's record says of the calls that they became.

    set up, one tracked message a guild ─▶ it is tracked again and again, each time a note in its thread, then deleted
          ─▶ all calls are made ─▶ the simulator's record of what came when

A row is a note (POST with a nonce), a DELETE, or a PATCH of an interaction's webhook, which no global limit binds. One
guild has a twenty-fifth of the notes, so that a bucket (five a second) holds it back.
"""
import collections
import concurrent.futures
import json
import random
import time

from flow import expect, interact, read_owners, say_in, set_up
from processes import http_json, http_request

GLOBAL, BUCKET = 50, 5   # calls a second
ROWS_OF_A_DELETION = 3   # DELETE, PATCH, the note
AT_ONCE = 16             # interactions
QUIET_S = 3


def silent(text):
    del text


# ---- what the simulator knows ----

def lines(cluster, kind, after=0):
    url = f"{cluster.sim_admin}/record?kind={kind}&after={after}"
    return [json.loads(line) for line in http_request("GET", url, timeout_s=300)[2].splitlines()]


def rest_state(cluster):
    return http_json("GET", cluster.sim_admin + "/state", timeout_s=20)[1]["rest"]


def busiest(times_us, window_ms):
    """The most of these in any window of the length, its end not in it."""
    most = first = 0
    for n, at in enumerate(times_us):
        while at - times_us[first] >= window_ms * 1000:
            first += 1
        most = max(most, n + 1 - first)
    return most


# ---- causes ----

class Guild:
    """One tracked message, and how often it is tracked again."""

    def __init__(self, known):
        self.known, self.message, self.thread, self.answer = known, "", "", {}
        self.notes, self.pressed = 0, False

    def set_up(self, cluster):
        set_up(cluster, self.known)

    def track_new(self, cluster):
        self.message = say_in(cluster, self.known, "this one is tracked")
        self.answer = self.track(cluster)

    def track(self, cluster):
        return self._must(interact(cluster, "Track", self.known, self.known["moderator_id"], target=self.message))

    def press(self, cluster):
        """The button below the first answer."""
        button = self.answer["body"]["data"]["components"][0]["components"][0]["custom_id"]
        self._must(interact(cluster, "component", self.known, self.known["moderator_id"], custom_id=button,
                            message_id=self.answer["original"]["id"]))

    def find_thread(self, cluster):
        channels = http_json("GET", f"{cluster.sim_admin}/channels?guild={self.known['id']}")[1]
        threads = [c["id"] for c in channels if c["type"] == 11]
        expect(len(threads) == 1, f"guild {self.known['id']} has threads {threads}, not one")
        self.thread = threads[0]

    def messages_due(self):
        return self.notes + self.pressed

    @staticmethod
    def _must(done):
        expect(done["fate"] in ("answered", "deferred"), f"an interaction: {done}")
        return done


def share_out(guilds, rows):
    """Each guild's notes, and whether its message is deleted."""
    pressed = min(len(guilds), rows // (4 * ROWS_OF_A_DELETION))
    notes = rows - pressed * ROWS_OF_A_DELETION
    for n, guild in enumerate(guilds):
        guild.notes, guild.pressed = 0, n < pressed
    guilds[0].notes = notes // 25
    for n in range(notes - notes // 25):
        guilds[n % len(guilds)].notes += 1


def each(guilds, what, *args):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda guild: what(guild, *args), guilds))


# ---- until all is done ----

def rows_waiting(cluster, guilds):
    """None: the owner of a guild is not known or has no rows of it yet."""
    held = read_owners(cluster.assignments(), cluster.data_dir)
    if any(int(g.known["id"]) not in held for g in guilds):
        return None
    return sum(h.waiting for h in held.values())


def wait_until_calm(cluster, guilds, limit_s, tell=silent, quiet_s=QUIET_S):
    """The outboxes are empty and no call comes any more; False: they are not, after so long."""
    end, last, since = time.monotonic() + limit_s, None, time.monotonic()
    told = time.monotonic()
    while time.monotonic() < end:
        waiting, requests = rows_waiting(cluster, guilds), rest_state(cluster)["requests"]
        if (waiting, requests) != last:
            last, since = (waiting, requests), time.monotonic()
        if waiting == 0 and time.monotonic() - since > quiet_s:
            return True
        if time.monotonic() - told > 10:
            told = time.monotonic()
            tell(f"{'?' if waiting is None else waiting} rows wait, {requests} requests came")
        time.sleep(0.5)
    return False


# ---- a storm ----

class Mark:
    """Where the simulator's records stood."""

    def __init__(self, cluster):
        self.call = max((c["n"] for c in lines(cluster, "call")), default=0)
        self.arrival = max((a["n"] for a in lines(cluster, "arrival")), default=0)
        self.event = max((e["n"] for e in lines(cluster, "event")), default=0)
        self.nonce_repeats = rest_state(cluster)["nonce_repeats"]
        self.began = time.monotonic()


def prepare(cluster, guilds, limit_s, tell=silent, quiet_s=QUIET_S):
    each(guilds, Guild.track_new, cluster)
    expect(wait_until_calm(cluster, guilds, limit_s, tell, quiet_s), "the reports are not posted")
    each(guilds, Guild.find_thread, cluster)
    tell(f"{len(guilds)} messages are tracked, their reports posted")


def make_rows(cluster, guilds, rows, tell=silent):
    """The most calls that waited at once."""
    share_out(guilds, rows)
    notes = [guild for guild in guilds for _ in range(guild.notes)]
    random.Random(rows).shuffle(notes)
    began = time.monotonic()
    each(notes, Guild.track, cluster)
    each([guild for guild in guilds if guild.pressed], Guild.press, cluster)
    waiting = sum(cluster.metrics(p).get("guildbus_rest_waiting", 0) for p in cluster.pods)
    tell(f"{rows} rows were caused in {time.monotonic() - began:.0f} s; {waiting:.0f} calls wait")
    return int(waiting)


def count_effects(cluster, guilds, mark, tell=silent):
    """(lost, repeated): notes in the threads and deletions, against what was asked for."""
    posted, deleted, lost, repeated = collections.Counter(), collections.Counter(), 0, 0
    for event in lines(cluster, "event", mark.event):
        if event["type"] == "MESSAGE_CREATE" and event["by_bot"]:
            posted[event["channel_id"]] += 1
        elif event["type"] == "MESSAGE_DELETE":
            deleted[event["message_id"]] += 1
    for guild in guilds:
        for due, made in ((guild.messages_due(), posted[guild.thread]), (int(guild.pressed), deleted[guild.message])):
            lost += max(0, due - made)
            repeated += max(0, made - due)
            if due != made:
                tell(f"guild {guild.known['id']}: {made} of {due} effects")
    return lost, repeated


def identity(call):
    """What is the same in each try of a row's call."""
    return call["path"], call["method"], json.loads(call["body"] or "{}").get("nonce")


def count_calls(cluster, guilds, mark):
    """Of the rows: how many were called, how often more than once, how long until then; how long a guild had to wait."""
    threads = {f"/channels/{g.thread}/messages" for g in guilds}
    tries, first = collections.defaultdict(list), {}
    for call in lines(cluster, "call", mark.call):
        if call["path"] in threads or call["method"] == "DELETE" or call["path"].startswith("/webhooks/"):
            tries[identity(call)].append(call["at_ms"])
        if call["path"] in threads:
            first.setdefault(call["path"], call["at_ms"])
    again = [at[-1] - at[0] for at in tries.values() if len(at) > 1]
    return {"rows_called": len(tries), "tried_again": sum(map(len, tries.values())) - len(tries),
            "tried_again_within_s": round(max(again, default=0) / 1000, 1),
            "first_note_within_s": round((max(first.values()) - min(first.values())) / 1000, 1)}


def pace(cluster, after, window_ms):
    """How fast the calls came that the global limit binds, and what was refused."""
    arrivals = lines(cluster, "arrival", after)
    times = [a["at_us"] for a in arrivals if a["global"]]
    refused = collections.Counter(a["refused"] for a in arrivals if a["refused"])
    seconds = (times[-1] - times[0]) / 1e6 if len(times) > 1 else 0
    return {"calls": len(arrivals), "global_calls": len(times), "seconds": round(seconds, 1),
            "per_s": round(len(times) / seconds, 1) if seconds else 0, "busiest_1000ms": busiest(times, 1000),
            f"busiest_{window_ms}ms": busiest(times, window_ms),
            "limited_user": refused["user"], "limited_global": refused["global"], "limited_shared": refused["shared"]}
