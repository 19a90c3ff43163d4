"""Sections of server_bench.py about many connections, slow readers and throughput by command family."""
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "process"))
from cluster import ROOT, client_fields, expect, info, wait_for  # noqa: E402
from resp import Client, encode  # noqa: E402

LOAD_TOOL = os.environ.get("CAIRN_CLIENT_LOAD", os.path.join(ROOT, "build", "release", "cairn-client-load"))
KEYS = 100000
VALUE = "x" * 64
TRANSACTION = ["MULTI", ";", "SET", "{__same_int__}a", VALUE, ";", "INCR", "{__same_int__}b", ";", "HSET", "{__same_int__}c", "f", VALUE,
               ";", "SET", "{__same_int__}d", VALUE, ";", "INCR", "{__same_int__}e", ";", "EXEC"]
# name: (what is sent, whether it writes, whether redis-benchmark can send it)
FAMILIES = {
    "INCR": (["INCR", "counter:__rand_int__"], True, True),
    "HSET": (["HSET", "hash:__rand_int__", "field", VALUE], True, True),
    "HGET": (["HGET", "hash:__rand_int__", "field"], False, True),
    "MGET of 10": (["MGET"] + ["key:__rand_int__"] * 10, False, True),
    "SETEX": (["SETEX", "key:__rand_int__", "3600", VALUE], True, True),
    "EXPIRE": (["EXPIRE", "key:__rand_int__", "3600"], True, True),
    "MULTI of 5": (TRANSACTION, True, False),
    "SCAN": (["SCAN", "__cursor__"], False, False),
}
SLOW_VALUE = 1 << 20
SLOW_REPLIES = 1024


class LoadTool:
    """One cairn-client-load; connections of it may be idle."""

    def __init__(self, port, command, clients, seconds, pipeline=1, idle=0, rate=0):
        self.idle = idle
        self.process = subprocess.Popen(
            [LOAD_TOOL, "--port=%d" % port, "--clients=%d" % clients, "--idle=%d" % idle, "--pipeline=%d" % pipeline,
             "--seconds=%g" % seconds, "--rate=%g" % rate, "--keys=%d" % KEYS, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_idle(self):
        expect(self.process.stdout.readline() == "idle\n", "idle connections: %s" % self.process.poll())

    def result(self, limit):
        out, err = self.process.communicate(timeout=limit)
        expect(self.process.returncode == 0, "cairn-client-load: %s" % err.strip()[-300:])
        return json.loads(out.splitlines()[-1])


class LoadTarget:
    """A server loaded by cairn-client-load instead of redis-benchmark; `server` is a RedisTarget."""

    def __init__(self, server):
        self.name, self.port, self.pids, self.rate = server.name, server.port, server.pids, 20000.0

    def run(self, test, requests, clients, pipeline, limit):
        """It runs for a time: as long as so many requests take at the speed of the call before."""
        got = LoadTool(self.port, test.command, clients, min(10, max(0.3, requests / self.rate)), pipeline).result(limit)
        expect(got["errors"] == 0, "%s: %s" % (test.name, got["error"]))
        self.rate = max(got["rps"], 1)
        return {k: got[k] for k in ("rps", "p50_ms", "p99_ms")}


class PeakRss:
    """The largest resident memory of a process while it is watched, in bytes."""

    def __init__(self, pid):
        self.pid, self.peak, self.ended = pid, rss_bytes(pid), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.ended.wait(0.01):
            self.peak = max(self.peak, rss_bytes(self.pid))

    def end(self):
        self.ended.set()
        self.thread.join()
        return self.peak


def rss_bytes(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fill(port):
    """Every key that the families read."""
    with Client(port) as client:
        for begin in range(0, KEYS, 1000):
            commands = []
            for i in range(begin, begin + 1000):
                commands += [("SET", "key:%012d" % i, VALUE), ("HSET", "hash:%012d" % i, "field", VALUE)]
            client.pipeline(commands)


def families(bench):
    cairn, _ = bench.cairn(1)
    always = bench.redis_server("redis-always", "--appendonly", "yes", "--appendfsync", "always")
    plain = bench.redis_server("redis-none", "--appendonly", "no")
    for server in (cairn, always, plain):
        fill(server.port)
    rows = []
    for name, (command, writes, simple) in FAMILIES.items():
        if not any(part in name for part in bench.a.family.split(",")):
            continue
        pair = [cairn, always if writes else plain]
        for pipeline in (1, 16):
            test = bench.custom_test(name, command)
            m = bench.cell("families", pair if simple else [LoadTarget(s) for s in pair], test, 50, pipeline)
            ours, theirs = (m[s.name]["rps"] for s in pair)
            rows.append((name, pipeline, ours, theirs, ours / theirs))
            bench.at_least("%s pipeline %d / %s" % (name, pipeline, pair[1].name), ours / theirs, 0.8)
    print("\n| family | pipeline | cairn ops/s | redis ops/s | ratio | bar | |\n|---|---|---|---|---|---|---|")
    for name, pipeline, ours, theirs, ratio in rows:
        print("| %s | %d | %.0f | %.0f | %.2f | 0.8 | %s |" % (name, pipeline, ours, theirs, ratio, "met" if ratio >= 0.8 else "MISSED"))


LOAD_COMMAND = ["SET", "key:__rand_int__", VALUE]


def load(bench):
    """10,000 idle connections and 1,000 active ones beside 100 active ones alone, at the same rate over all."""
    cairn, _ = bench.cairn(1, {"client.max": 12000})
    fill(cairn.port)
    pid, rate, per_idle = cairn.pids[0], bench.a.rate, []
    p99 = {"alone": [], "loaded": []}
    LoadTool(cairn.port, LOAD_COMMAND, 1000, bench.a.seconds, rate=rate).result(60)  # memory that the load itself takes
    for _ in range(bench.a.rounds):
        got = LoadTool(cairn.port, LOAD_COMMAND, 100, bench.a.seconds, rate=rate).result(60)
        expect(got["errors"] == 0, got["error"])
        p99["alone"].append(got["p99_ms"])
        before = rss_bytes(pid)
        tool = LoadTool(cairn.port, LOAD_COMMAND, 1000, bench.a.seconds, idle=10000, rate=rate)
        tool.wait_idle()
        per_idle.append((rss_bytes(pid) - before) / 10000 / 1024)
        got = tool.result(60)
        expect(got["errors"] == 0, got["error"])
        p99["loaded"].append(got["p99_ms"])
        print("  p99 alone %.3f ms, with 10000 idle and 1000 active %.3f ms at %.0f/s; %.1f KiB per idle connection" %
              (p99["alone"][-1], got["p99_ms"], got["rps"], per_idle[-1]), flush=True)
        wait_for(lambda: int(info(cairn.port, "clients")["connected_clients"]) < 10, "connections closed", 20)
    bench.at_most("KiB of memory per idle connection, the most of all rounds", max(per_idle), 20)
    bench.at_most("p99 of 1000 active beside 10000 idle / of 100 active", statistics.median(p99["loaded"]) / statistics.median(p99["alone"]), 2)


def slow_reader_connection(port, request=encode("GET", "large") * SLOW_REPLIES):
    """A socket that has asked for large values and reads none."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    s.connect(("127.0.0.1", port))
    s.sendall(request)
    return s


def slow_reader(bench):
    """A client that asks for 1 GiB and reads nothing, beside 100 clients that go on."""
    cairn, _ = bench.cairn(1)
    fill(cairn.port)
    pid = cairn.pids[0]
    with Client(cairn.port) as client:
        client("SET", "large", "v" * SLOW_VALUE)
    p99, growth = {"alone": [], "beside": []}, []

    def others():
        got = LoadTool(cairn.port, LOAD_COMMAND, 100, bench.a.seconds, rate=bench.a.rate).result(60)
        expect(got["errors"] == 0, got["error"])
        return got["p99_ms"]
    others()
    for _ in range(bench.a.rounds):
        p99["alone"].append(others())
        before, watch = rss_bytes(pid), PeakRss(pid)
        with slow_reader_connection(cairn.port) as s:
            p99["beside"].append(others())
            growth.append((watch.end() - before) / 2**20)
            fields = client_fields(cairn.port, s)
        print("  p99 alone %.3f ms, beside the slow reader %.3f ms; memory +%.0f MiB; of it %s" %
              (p99["alone"][-1], p99["beside"][-1], growth[-1],
               "closed" if fields is None else "held, omem=%s obl=%s oll=%s" % (fields["omem"], fields["obl"], fields["oll"])), flush=True)
    bench.at_most("p99 of others beside a slow reader / without", statistics.median(p99["beside"]) / statistics.median(p99["alone"]), 1.2)
    bench.at_most("MiB that a slow reader takes, the most of all rounds", max(growth), 16)
    with Client(cairn.port) as client:
        expect(client("CONFIG", "SET", "client.output_hard_bytes", str(16 << 20)) == b"OK", "CONFIG SET")
    began = time.monotonic()
    with slow_reader_connection(cairn.port, encode("MGET", *["large"] * 32)) as s:
        wait_for(lambda: client_fields(cairn.port, s) is None, "closed at the hard limit", 10)
    closed_after = time.monotonic() - began
    bench.at_most("seconds until a slow reader with a reply above the hard limit is closed", closed_after, 2)
    bench.at_most("MiB that a slow reader takes of a node that does not lead its key", slow_reader_elsewhere(bench), 16)


def slow_reader_elsewhere(bench):
    """MiB by which a node grows when a client asks it for 1 GiB of another node's and reads nothing, for as long as others are timed."""
    cairn, _ = bench.cairn(3)
    cluster = bench.clusters[-1][0]
    with Client(cairn.port) as client:
        client("SET", "large", "v" * SLOW_VALUE)
        node = next(n for n in cluster.nodes if n is not cluster.leader_of("large"))
    fill(node.client)

    def others():
        got = LoadTool(node.client, LOAD_COMMAND, 100, bench.a.seconds, rate=bench.a.rate).result(60)
        expect(got["errors"] == 0, got["error"])
        return got["p99_ms"]
    others()
    alone = others()
    before, watch = rss_bytes(node.pid), PeakRss(node.pid)
    with slow_reader_connection(node.client) as s:
        beside = others()
        growth = (watch.end() - before) / 2**20
        fields = client_fields(node.client, s)
    print("  through another node: p99 alone %.3f ms, beside the slow reader %.3f ms; memory +%.0f MiB; of it %s" %
          (alone, beside, growth, "closed" if fields is None else "tot-mem=%s" % fields["tot-mem"]), flush=True)
    return growth


SECTIONS = {"load": load, "slow-reader": slow_reader, "families": families}
