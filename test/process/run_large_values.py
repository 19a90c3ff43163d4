#!/usr/bin/env python3
"""Values up to 32 MiB: many clients write and read 16 MiB each at the same time. The memory of every node stays within its
bound, and another client's small commands go on; their latency is printed."""
import multiprocessing
import os
import threading
import time

from cluster import Cluster, Runner, expect, metrics
from resp import Client, Error

MIB = 1 << 20
SETTINGS = {"storage.memtable_bytes": "16MiB", "storage.memtable_budget_bytes": "64MiB", "storage.block_cache_bytes": "16MiB"}
CLIENTS, SIZE = 32, 16 * MIB


def watch(nodes, port, pipe):
    """A process of its own, so that the large clients do not keep it from running: the largest resident memory of each
    node, and the latency of a client with small values, until something is sent."""
    page, peak, times, number = os.sysconf("SC_PAGESIZE"), {}, [], 0
    with Client(port, 30) as client:
        while True:
            for node, pid in nodes:
                with open("/proc/%d/statm" % pid) as f:
                    peak[node] = max(peak.get(node, 0), int(f.read().split()[1]) * page)
            number += 1
            began = time.monotonic()
            expect(client("SET", "small-%d" % (number % 100), "x" * 100) == b"OK", "a small SET")
            expect(client("GET", "small-%d" % (number % 100)) == b"x" * 100, "a small GET")
            times.append(time.monotonic() - began)
            if pipe.poll():
                last = pipe.recv() == "end"
                pipe.send((peak, sorted(times)))
                times = []
                if last:
                    return


def share(times, part):
    return 1000 * times[min(len(times) - 1, int(part * len(times)))]


def limits(workspace):
    cluster = Cluster(workspace.path, settings=SETTINGS).start()
    with Client(cluster.nodes[0].client, 60) as client:
        value = os.urandom(MIB) * 32
        for key in ("big", "big2", "big3"):  # led by different nodes
            expect(client("SET", key, value) == b"OK", "SET of 32 MiB")
            expect(client("STRLEN", key) == 32 * MIB, "STRLEN")
            expect(client("GET", key) == value, "GET of 32 MiB")
            expect(client("GETRANGE", key, 20 * MIB, 20 * MIB + 9) == value[20 * MIB:20 * MIB + 10], "GETRANGE")
            expect(client("SETRANGE", key, 31 * MIB, "changed") == 32 * MIB, "SETRANGE")
            expect(client("GETRANGE", key, 31 * MIB, 31 * MIB + 6) == b"changed", "GETRANGE of what was set")
            for command in (("APPEND", key, "x"), ("SETRANGE", key, 32 * MIB, "x"), ("SET", key, value + b"x")):
                reply = client(*command)
                expect(isinstance(reply, Error) and reply.startswith("ERR string exceeds maximum allowed size"), str(reply)[:100])
            expect(client("SET", key, "small", "GET")[:5] == value[:5], "SET GET")
            expect(client("GET", key) == b"small", "GET")
        for key in ("hash", "hash2", "hash3"):
            expect(client("HSET", key, "f", value, "g", "small") == 2, "HSET of 32 MiB")
            expect(client("HSTRLEN", key, "f") == 32 * MIB, "HSTRLEN")
            expect(client("HGET", key, "f") == value, "HGET of 32 MiB")
            reply = client("HSET", key, "f", value + b"x")
            expect(isinstance(reply, Error) and reply.startswith("ERR string exceeds maximum allowed size"), str(reply)[:100])
            expect(client("HSET", key, "f", "short") == 0 and client("HMGET", key, "f", "g") == [b"short", b"small"], "HSET over a long value")
    cluster.kill()


def many(workspace, rounds):
    cluster = Cluster(workspace.path, settings=SETTINGS).start()
    pipe, end = multiprocessing.Pipe()
    watcher = multiprocessing.Process(target=watch, daemon=True,
                                      args=([(n.number, n.pid) for n in cluster.nodes], cluster.nodes[0].client, end))
    watcher.start()
    idle = []
    while len(idle) < 300:
        pipe.send("more")
        idle += pipe.recv()[1]
    idle.sort()
    payload, failures = os.urandom(MIB), []

    def run(number):
        try:
            value = (b"%08d" % number) + payload * 16
            value = value[:SIZE]
            with Client(cluster.ports()[number % 3], 120) as client:
                for i in range(rounds):
                    if number % 2:  # every second client has a string, the others a field
                        reply, wanted = client("SET", "large-%d" % number, value), b"OK"
                        got = client("GET", "large-%d" % number)
                    else:
                        reply, wanted = client("HSET", "large-%d" % number, "field", value), 1 if i == 0 else 0
                        got = client("HGET", "large-%d" % number, "field")
                    expect(reply == wanted, "client %d: %s" % (number, reply))
                    expect(got == value, "client %d read something else" % number)
        except Exception as error:
            failures.append(repr(error)[:200])

    began = time.monotonic()
    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    took = time.monotonic() - began
    pipe.send("end")
    peak, times = pipe.recv()
    watcher.join(30)
    expect(not failures, "; ".join(failures[:3]))
    print("  %d clients x %d x (SET or HSET, GET or HGET) of %d MiB in %.1f s; small SET and GET: idle p50 %.2f ms p99 %.2f ms, meanwhile p50 "
          "%.2f ms p99 %.2f ms worst %.0f ms (%d)" % (CLIENTS, rounds, SIZE // MIB, took, share(idle, 0.5), share(idle, 0.99),
                                                      share(times, 0.5), share(times, 0.99), share(times, 1), len(times)))
    print("  peak resident MiB by node: %s; writes held: %s" % (
        [peak[n.number] // MIB for n in cluster.nodes],
        [int(metrics(n.admin)["cairn_writes_held_total"]) for n in cluster.nodes]), flush=True)
    expect(max(peak.values()) <= BOUND, "a node took %d MiB" % (max(peak.values()) // MIB))
    cluster.kill()


# Memtables and the log's entries behind them may take twice storage.memtable_budget_bytes each.
BOUND = 4 * 64 * MIB + 1024 * MIB


def main():
    runner = Runner(__doc__)
    rounds = runner.rounds(2, 6)
    runner.check("large-limits", limits)
    runner.check("large-many", lambda w: many(w, rounds))
    runner.finish()


if __name__ == "__main__":
    main()
