#!/usr/bin/env python3
"""Values up to 32 MiB: many clients write and read 16 MiB each at the same time. The memory of every node stays within its
bound, and another client's small commands go on; their latency is printed."""
import os
import threading
import time

from cluster import Cluster, Runner, expect, metrics, wait_for
from resp import Client, Error

MIB = 1 << 20
SETTINGS = {"storage.memtable_bytes": "16MiB", "storage.memtable_budget_bytes": "64MiB", "storage.block_cache_bytes": "16MiB"}
CLIENTS, SIZE = 32, 16 * MIB


class Watch(threading.Thread):
    """The largest resident memory of each node, and the latency of a client with small values."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.peak, self.times, self.over = cluster, {}, [], threading.Event()

    def run(self):
        page = os.sysconf("SC_PAGESIZE")
        with Client(self.cluster.nodes[0].client, 30) as client:
            number = 0
            while not self.over.is_set():
                for node in self.cluster.nodes:
                    with open("/proc/%d/statm" % node.pid) as f:
                        self.peak[node.number] = max(self.peak.get(node.number, 0), int(f.read().split()[1]) * page)
                number += 1
                began = time.monotonic()
                expect(client("SET", "small-%d" % (number % 100), "x" * 100) == b"OK", "a small SET")
                expect(client("GET", "small-%d" % (number % 100)) == b"x" * 100, "a small GET")
                self.times.append(time.monotonic() - began)

    def latency(self, share):
        return 1000 * sorted(self.times)[min(len(self.times) - 1, int(share * len(self.times)))]


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
    cluster.kill()


def many(workspace, rounds):
    cluster = Cluster(workspace.path, settings=SETTINGS).start()
    watch = Watch(cluster)
    watch.start()
    wait_for(lambda: len(watch.times) > 300, "small commands", 30)
    idle = (watch.latency(0.5), watch.latency(0.99))
    watch.times.clear()
    payload, failures = os.urandom(MIB), []

    def run(number):
        try:
            value = (b"%08d" % number) + payload * 16
            value = value[:SIZE]
            with Client(cluster.ports()[number % 3], 120) as client:
                for _ in range(rounds):
                    reply = client("SET", "large-%d" % number, value)
                    expect(reply == b"OK", "client %d: %s" % (number, reply))
                    expect(client("GET", "large-%d" % number) == value, "client %d read something else" % number)
        except Exception as error:
            failures.append(repr(error)[:200])

    began = time.monotonic()
    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    took = time.monotonic() - began
    watch.over.set()
    watch.join(30)
    expect(not failures, "; ".join(failures[:3]))
    print("  %d clients x %d x (SET, GET) of %d MiB in %.1f s; small SET and GET: idle p50 %.2f ms p99 %.2f ms, meanwhile p50 "
          "%.2f ms p99 %.2f ms worst %.0f ms (%d)" % (CLIENTS, rounds, SIZE // MIB, took, *idle, watch.latency(0.5),
                                                      watch.latency(0.99), watch.latency(1), len(watch.times)))
    print("  peak resident MiB by node: %s; writes held: %s" % (
        [watch.peak[n.number] // MIB for n in cluster.nodes],
        [int(metrics(n.admin)["cairn_writes_held_total"]) for n in cluster.nodes]), flush=True)
    expect(max(watch.peak.values()) <= BOUND, "a node took %d MiB" % (max(watch.peak.values()) // MIB))
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
