"""portal - a guild's page and its JSON, asked by its owner, in a closed loop: HTTP ─▶ edge ─▶ NATS ─▶ owner ─▶ HTML."""
from portal import log_in
from processes import http_json
from traffic import start_traffic, wait_for_traffic, wait_until_applied
from usage import Meter
from worlds import ONLY_MESSAGES

CONNECTIONS = 32


def ours(bench):
    count = bench.size(10000, 2000)
    with bench.cluster(guilds=20, gateways=bench.args.pods) as cluster:
        start_traffic(cluster, {"events": bench.size(20000, 4000), "events_per_s": 0, "mix": ONLY_MESSAGES})
        wait_for_traffic(cluster)
        wait_until_applied(cluster)
        guild = http_json("GET", cluster.sim_admin + "/guilds")[1][0]
        visitor = log_in(cluster, guild["owner_id"])
        cookie = "; ".join(f"{c.name}={c.value}" for c in visitor.jar)
        found = {}
        for page, expected in (("", "<svg"), ("/activity.json", "{")):
            url = f"{cluster.portal_url}/guilds/{guild['id']}{page}"
            names = [*cluster.pods, *cluster.edge_names]
            bench.tool("pages", url=url, cookie=cookie, expect=expected, count=count // 4, connections=CONNECTIONS)
            meter = Meter({n: cluster.processes[n].pid for n in names})
            told = bench.tool("pages", url=url, cookie=cookie, expect=expected, count=count, connections=CONNECTIONS)
            cpu = sum(meter.read().values())
            found["the page" if not page else "its JSON"] = {
                **{k: told[k] for k in ("per_s", "p50_us", "p99_us", "failed")},
                "cpu_us_each": round(cpu / count * 1e6, 1)}
        return found


def run(bench):
    runs = bench.interleave({"ours": lambda: ours(bench)})["ours"]
    return {page: [figures[page] for figures in runs] for page in runs[0]}


def targets(_results):
    return {}
