"""floors - what the parts can do when they do nothing else, on this machine, in this run."""
import subprocess

from processes import HOST, free_port


def once(bench):
    folder = bench.folder("floors")
    port = free_port()
    nats = bench.spawn("nats", ["nats-server", "-a", HOST, "-p", port, "-js", "-sd", folder / "nats"], folder)
    url, seconds = f"nats://{HOST}:{port}", bench.size(3, 1)
    try:
        found = {
            "Ed25519 verify": bench.tool("verify", seconds=seconds),
            "SQLite, a row a transaction, NORMAL": bench.tool("commit", seconds=seconds, folder=folder, group=1),
            "SQLite, 64 rows a transaction, NORMAL": bench.tool("commit", seconds=seconds,
                                                                folder=bench.folder("floors64"), group=64),
            "SQLite, a row a transaction, FULL": bench.tool("commit", "--full", seconds=seconds,
                                                            folder=bench.folder("floorsfull"), group=1),
            "NATS request, one at a time": bench.tool("request", seconds=seconds, url=url, connections=1),
            "NATS request, 32 at a time": bench.tool("request", seconds=seconds, url=url, connections=32),
            "JetStream publish, 1,024 at a time": bench.tool("publish", seconds=seconds, url=url, connections=1024),
        }
    finally:
        nats.stop()
    found["the HTTP generator alone"] = _generator(bench)
    return found


def _generator(bench):
    sink = subprocess.Popen([bench.tool_path, "answer"], stdout=subprocess.PIPE, text=True)
    try:
        port = int("".join(filter(str.isdigit, sink.stdout.readline())))
        return bench.tool("interactions", url=f"http://{HOST}:{port}/", count=20000, connections=32)
    finally:
        sink.kill()
        sink.wait()
        sink.stdout.close()


def run(bench):
    return {name: [figures] for name, figures in once(bench).items()}


def targets(_results):
    return {}
