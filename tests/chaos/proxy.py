#!/usr/bin/env python3
"""proxy.py - TCP links of our own: each process reaches NATS and PostgreSQL over one, so that it can be cut alone.

    gw-1 ──▶ link "gw-1/nats" ──▶ nats-server        Discord ──▶ link "edges" ──▶ the first edge that lets it in

A link has targets, tried in turn for each new connection, and a mode:

    open                       bytes pass
    cut                        connections end with a reset, new ones too
    stall                      nothing passes, nothing ends, nothing is lost: a network that is away
    slow  {"delay_ms":50}      every byte that much later, each way
    drop  {"way":"out"}        half-open: what the client sends ("out") or gets ("in") vanishes, the other way works;
                               connections that lost bytes are reset when the mode ends

Orders come as JSON lines on the control port: {"link": name, "mode": …}, {"links": {name: {"port", "targets"}}},
{"targets": …}; each is answered by a line. A connection whose target ended while a request was on its way is told on
stdout: {"broken": link, "at": wall clock s}.

usage: proxy.py CONTROL_PORT
"""
import asyncio
import collections
import contextlib
import itertools
import json
import signal
import sys
import time

HOST = "127.0.0.1"
CONNECT_S = 2
HIGH_WATER = 4 << 20


class Way(asyncio.Protocol):
    """One end of a connection: what it reads goes to the other end, as the link's mode says."""

    def __init__(self, pair, name):
        self.pair, self.name = pair, name  # name: "out" read from the client, "in" from the target
        self.transport = self.other = None
        self.queue, self.timer = collections.deque(), None

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self.pair.on_open(self)

    def data_received(self, data):
        self.pair.on_data(self)
        mode = self.pair.link.mode
        if mode["mode"] == "drop" and mode["way"] == self.name:
            self.pair.damaged = True
        elif self.other is None or self.queue or mode["mode"] in ("slow", "stall"):
            self.queue.append((time.monotonic() + mode.get("delay_ms", 0) / 1000, data))
            self.pump()
        else:
            self.other.transport.write(data)

    def pump(self):
        """Sends on what is due."""
        if self.timer:
            self.timer.cancel()
            self.timer = None
        if self.other is None or self.pair.link.mode["mode"] == "stall":
            return
        now = time.monotonic()
        while self.queue and self.queue[0][0] <= now:
            self.other.transport.write(self.queue.popleft()[1])
        if self.queue:
            self.timer = asyncio.get_running_loop().call_later(self.queue[0][0] - now, self.pump)
        elif self.pair.ended_by is self:
            self.other.transport.close()

    def pause_writing(self):
        if self.other:
            self.other.transport.pause_reading()

    def resume_writing(self):
        if self.other:
            self.pair.resume(self.other)

    def connection_lost(self, _exc):
        self.pair.on_lost(self)


class Pair:
    """A client's connection and the target's."""

    def __init__(self, link):
        self.link, self.damaged, self.ended_by, self.owed = link, False, None, False
        self.out, self.back = Way(self, "out"), Way(self, "in")

    def on_open(self, way):
        if way is self.out:
            self.link.pairs.add(self)
            if self.link.mode["mode"] == "cut":
                way.transport.abort()
            else:
                asyncio.ensure_future(self.connect())

    async def connect(self):
        while self.link.mode["mode"] == "stall":
            await self.link.changed.wait()
        for host, port in self.link.targets_in_turn():
            try:
                await asyncio.wait_for(asyncio.get_running_loop().create_connection(lambda: self.back, host, port),
                                       CONNECT_S)
            except (OSError, asyncio.TimeoutError):
                continue
            if self.out.transport.is_closing():
                self.back.transport.abort()
            else:
                self.out.other, self.back.other = self.back, self.out
                self.out.pump()
                self.back.pump()
                self.resume(self.out)
            return
        self.abort()

    def on_data(self, way):
        self.owed = way is self.out

    def on_lost(self, way):
        if way is self.back and self.owed and self.link.tells:
            print(json.dumps({"broken": self.link.name, "at": time.time()}), flush=True)
        self.ended_by = way
        self.link.pairs.discard(self)
        other = way.other or (self.back if way is self.out else None)
        if other is None or other.transport is None:
            return
        if way.queue and self.link.mode["mode"] != "cut":
            way.pump()
        else:
            other.transport.close()

    def abort(self):
        for way in (self.out, self.back):
            if way.transport:
                way.transport.abort()

    def resume(self, way):
        if self.link.mode["mode"] != "stall" and not way.transport.is_closing():
            way.transport.resume_reading()


class Link:
    def __init__(self, name, targets, tells):
        self.name, self.targets, self.tells = name, targets, tells
        self.mode, self.pairs, self.turn = {"mode": "open"}, set(), itertools.count()
        self.changed = asyncio.Event()

    def targets_in_turn(self):
        first = next(self.turn) % len(self.targets)
        return self.targets[first:] + self.targets[:first]

    def set_mode(self, mode):
        was, self.mode = self.mode, mode
        self.changed.set()
        self.changed = asyncio.Event()
        for pair in list(self.pairs):
            if mode["mode"] == "cut" or (was["mode"] == "drop" and pair.damaged):
                pair.abort()
                continue
            for way in (pair.out, pair.back):
                if way.transport and way.other:
                    way.transport.pause_reading() if mode["mode"] == "stall" else pair.resume(way)
                    way.pump()


class Proxy:
    def __init__(self):
        self.links, self.servers = {}, []

    async def order(self, told):
        if "links" in told:
            for name, what in told["links"].items():
                await self.open(name, what)
        else:
            self.links[told["link"]].set_mode({k: v for k, v in told.items() if k != "link"})
        return {"ok": True}

    async def open(self, name, what):
        link = Link(name, [tuple(t) for t in what["targets"]], what.get("tells", False))
        self.links[name] = link
        self.servers.append(await asyncio.get_running_loop().create_server(lambda: Pair(link).out, HOST, what["port"],
                                                                           backlog=512))

    async def serve(self, reader, writer):
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            while line := await reader.readline():
                try:
                    answer = await self.order(json.loads(line))
                except (OSError, KeyError, ValueError) as e:
                    answer = {"ok": False, "error": repr(e)}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()


async def main():
    proxy, stopping = Proxy(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    server = await asyncio.start_server(proxy.serve, HOST, int(sys.argv[1]))
    print(json.dumps({"listening": int(sys.argv[1])}), flush=True)
    await stopping.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
