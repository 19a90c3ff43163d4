#!/usr/bin/env python3
"""SCAN, HSCAN and KEYS over many keys through one node while others write, delete and nodes are killed and come back: every
key that was there all the time is returned. 50,000 keys, or a million with --full. redis-cli's modes that build on SCAN."""
import re
import subprocess
import threading
import time

from cluster import Cluster, Runner, expect
from resp import Client, Error

BATCH = 500


def fill(port, commands):
    with Client(port, 60) as client:
        batch = []
        for command in commands:
            batch.append(command)
            if len(batch) == BATCH:
                expect(not any(isinstance(r, Error) for r in client.pipeline(batch)), "a write was refused")
                batch = []
        client.pipeline(batch) if batch else None


def stable_keys(count):
    """A third of them in one slot."""
    return [b"{tag}stays:%d" % i if i % 3 == 0 else b"stays:%d" % i for i in range(count)]


class Changes(threading.Thread):
    """Writes and deletes keys of its own until it is stopped; keeps writing to keys that stay as well."""

    def __init__(self, port, stable):
        super().__init__(daemon=True)
        self.port, self.stable, self.done, self.rounds = port, stable, threading.Event(), 0

    def run(self):
        with Client(self.port, 60) as client:
            while not self.done.is_set():
                n = self.rounds
                client.pipeline([[b"SET", b"new:%d" % (n * 100 + i), b"v"] for i in range(100)] +
                                [[b"DEL", b"goes:%d" % (n * 50 + i)] for i in range(50)] +
                                [[b"SET", self.stable[(n * 7919 + i) % len(self.stable)], b"other"] for i in range(20)])
                self.rounds += 1


def iterate(port, before, options, found, turns=None):
    """One whole iteration; returns (calls, errors). `turns(n)` is called before each call."""
    cursor, calls, errors = b"0", 0, 0
    with Client(port, 60) as client:
        while True:
            if turns:
                turns(calls)
            reply = client(*(before + [cursor] + options))
            calls += 1
            if isinstance(reply, Error):
                expect(reply.startswith(("CLUSTERDOWN", "INDETERMINATE")), reply)
                errors += 1
                expect(errors < 100, "SCAN goes on failing: %s" % reply)
                continue
            expect(int(reply[0]) < 1 << 53, "cursor %r" % reply[0])
            expect(reply[0] == b"0" or int(reply[0]) > int(cursor), "the cursor went from %r to %r" % (cursor, reply[0]))
            cursor = reply[0]
            found.extend(reply[1])
            if cursor == b"0":
                return calls, errors


def under_changes(workspace, count):
    cluster = Cluster(workspace.path).start()
    stable = stable_keys(count)
    fields = count // 5
    fill(cluster.ports()[1], ([b"SET", k, b"v"] for k in stable))
    fill(cluster.ports()[1], ([b"SET", b"goes:%d" % i, b"v"] for i in range(count // 5)))
    fill(cluster.ports()[1], ([b"HSET", b"hash", b"f%d" % i, b"v"] for i in range(fields)))
    changes = Changes(cluster.ports()[0], stable)
    changes.start()
    step = count // 100 // 6  # of the calls, with COUNT 100 and something left over

    def kill_and_start(n):
        if n in (step, 3 * step):
            cluster.nodes[1 if n == step else 2].kill()
        elif n in (2 * step, 4 * step):
            cluster.nodes[1 if n == 2 * step else 2].start()

    found, begun = [], time.monotonic()
    calls, errors = iterate(cluster.ports()[0], [b"SCAN"], [b"COUNT", b"100"], found, kill_and_start)
    seconds = time.monotonic() - begun
    missing = set(stable) - set(found)
    print("  keys=%d found=%d twice=%d calls=%d errors=%d changes=%d seconds=%.1f" %
          (count, len(found), len(found) - len(set(found)), calls, errors, changes.rounds, seconds), flush=True)
    expect(not missing, "%d keys were missed, such as %r" % (len(missing), sorted(missing)[:3]))
    expect(b"hash" in found, "the hash was missed")
    cluster.wait_ready()

    pairs = []
    calls, errors = iterate(cluster.ports()[2], [b"HSCAN", b"hash"], [b"COUNT", b"200"], pairs)
    expect(len(set(pairs[::2])) == fields, "HSCAN found %d of %d fields" % (len(set(pairs[::2])), fields))
    expect(calls >= fields // 400, "HSCAN brought %d fields in %d calls" % (fields, calls))
    changes.done.set()
    changes.join()
    with Client(cluster.ports()[1], 60) as client:
        everything = client("KEYS", "*")
        expect(len(everything) == len(set(everything)) == client("DBSIZE"), "KEYS and DBSIZE differ")
        expect(set(stable) <= set(everything), "KEYS missed some")
        expect(len(client("KEYS", "*tag}stays:*")) == len([k for k in stable if k.startswith(b"{tag}")]), "KEYS with a pattern")
        expect(client("RANDOMKEY") in set(everything), "RANDOMKEY")
    for node in cluster.nodes:
        expect(node.running(), "node %d ended" % node.number)


def restarted(workspace):
    """Most rows are outside the cache of the process, which is ended and started again in the middle."""
    cluster = Cluster(workspace.path, 1, {"storage.block_cache_bytes": 1 << 20, "storage.memtable_budget_bytes": 4 << 20}).start()
    count = 20000
    keys = [b"key:%d" % i for i in range(count)]
    fill(cluster.ports()[0], ([b"SET", k, b"v" * 1000] for k in keys))
    found = []
    with Client(cluster.ports()[0], 60) as client:
        cursor = b"0"
        while len(found) < count // 2:
            cursor, page = client("SCAN", cursor, "COUNT", 500)
            found += page
    node = cluster.nodes[0]
    expect(node.terminate()[0] == 0, "the node did not end well")
    node.start()
    cluster.wait_ready()
    with Client(cluster.ports()[0], 60) as client:
        while cursor != b"0":
            cursor, page = client("SCAN", cursor, "COUNT", 500)
            found += page
    expect(set(keys) == set(found) and len(found) == count, "found %d keys, %d different ones" % (len(found), len(set(found))))


def redis_cli(workspace):
    cluster = Cluster(workspace.path).start()
    fill(cluster.ports()[0], ([b"SET", b"key:%d" % i, b"v" * (i % 50 + 1)] for i in range(3000)))
    fill(cluster.ports()[0], ([b"HSET", b"hash:%d" % (i % 7), b"f%d" % i, b"v"] for i in range(3000)))

    def run(*arguments):
        done = subprocess.run(["redis-cli", "-p", str(cluster.ports()[1])] + list(arguments), capture_output=True, text=True, timeout=120)
        expect(done.returncode == 0, "redis-cli %s ended with %d: %s" % (" ".join(arguments), done.returncode, done.stderr[-300:]))
        return done.stdout

    lines = run("--scan").split()
    expect(len(lines) == len(set(lines)) == 3007, "--scan brings %d lines" % len(lines))
    expect(len(run("--scan", "--pattern", "hash:*").split()) == 7, "--scan --pattern")
    text = run("--bigkeys")
    expect(re.search(r"Sampled 3007 keys", text) and re.search(r"7 hashs with 3000 fields", text), text[-600:])


def main():
    runner = Runner(__doc__)
    count = 1_000_000 if runner.arguments.full else 50_000
    runner.check("scan_under_changes", lambda w: under_changes(w, count))
    runner.check("scan_over_a_restart", restarted)
    runner.check("scan_redis_cli", redis_cli)
    runner.finish()


if __name__ == "__main__":
    main()
