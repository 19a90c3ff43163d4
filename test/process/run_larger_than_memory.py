#!/usr/bin/env python3
"""One node whose memtable and block cache together hold less than a tenth of the data.

Everything stays readable and right, and a command on a key in memory does not wait for those whose rows come from disk.
Prints the latencies; only correctness and that rows were fetched from disk are asserted."""
import random
import threading
import time

from cluster import Cluster, Runner, expect, metrics
from resp import Client

MEMORY = 2 << 20


def value_of(key):
    return (b"%s|" % key) * (1000 // (len(key) + 1))


def drop_page_cache():
    try:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("1")
        return True
    except OSError:
        return False


def percentiles(times):
    times = sorted(times)
    return "p50 %.3f ms, p99 %.3f ms, max %.1f ms of %d" % (
        1000 * times[len(times) // 2], 1000 * times[len(times) * 99 // 100], 1000 * times[-1], len(times))


def hot_latencies(port, seconds):
    times = []
    with Client(port) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            reply = client("GET", "hot")
            times.append(time.monotonic() - began)
            expect(reply == b"warm", "the hot key: %r" % reply)
            client("SET", "hot", "warm")
    return times


def larger(workspace, count):
    cluster = Cluster(workspace.path, 1, {"storage.memtable_bytes": 1 << 20, "storage.memtable_budget_bytes": 1 << 20,
                                          "storage.block_cache_bytes": 1 << 20, "cluster.ranges": 1}).start()
    node = cluster.nodes[0]
    keys = [b"cold-%06d" % i for i in range(count)]
    size = sum(len(k) + len(value_of(k)) for k in keys)
    expect(size >= 10 * MEMORY, "too little data")
    with Client(node.client, 60) as client:
        for first in range(0, count, 100):
            batch = keys[first:first + 100]
            replies = client.pipeline([("SET", k, value_of(k)) for k in batch])
            expect(replies == [b"OK"] * len(batch), "a load of SETs: %s" % [r for r in replies if r != b"OK"][:1])
        fields = []
        for i in range(3000):
            fields += [b"field-%05d" % i, value_of(b"field-%05d" % i)[:300]]
        for first in range(0, len(fields), 600):
            client("HSET", "large-hash", *fields[first:first + 600])
        client("SET", "hot", "warm")
    quiet = hot_latencies(node.client, 2)
    dropped = drop_page_cache()
    before = metrics(node.admin)
    problems, stop, read = [], threading.Event(), [0]

    def reader(seed):
        rng = random.Random(seed)
        try:
            with Client(node.client, 60) as client:
                while not stop.is_set():
                    batch = [rng.choice(keys) for _ in range(8)]
                    for key, reply in zip(batch, client.pipeline([("GET", k) for k in batch])):
                        read[0] += 1
                        if reply != value_of(key):
                            problems.append("%s: %r" % (key.decode(), reply and reply[:60]))
        except OSError as error:
            problems.append(str(error))
    threads = [threading.Thread(target=reader, args=(i,), daemon=True) for i in range(3)]
    for t in threads:
        t.start()
    busy = hot_latencies(node.client, 4)
    stop.set()
    for t in threads:
        t.join(30)
    expect(not problems, "%d wrong values: %s" % (len(problems), problems[:3]))
    with Client(node.client, 60) as client:
        for first in range(0, count, 100):
            batch = keys[first:first + 100]
            for key, reply in zip(batch, client.pipeline([("GET", k) for k in batch])):
                expect(reply == value_of(key), "%s: %r" % (key, reply and reply[:60]))
        everything = client("HGETALL", "large-hash")
        expect(dict(zip(everything[::2], everything[1::2])) == dict(zip(fields[::2], fields[1::2])), "a hash of 3,000 fields")
        for i in range(0, count, 7):
            client("DEL", keys[i])
        expect(client("EXISTS", *keys[:7000]) == sum(1 for i in range(7000) if i % 7), "EXISTS after deletions")
    after = metrics(node.admin)
    fetched = after["cairn_row_fetches_total"] - before["cairn_row_fetches_total"]
    node.kill()
    node.start()
    cluster.wait_ready()
    with Client(node.client, 60) as client:
        for i in range(0, count, 50):
            wanted = None if i % 7 == 0 else value_of(keys[i])
            expect(client("GET", keys[i]) == wanted, "%s after kill -9 and restart" % keys[i])
    print("  %.0f MiB behind %d MiB of memtable and cache; %d row fetches, page cache %s, %d cold reads while measuring" %
          (size / 2 ** 20, MEMORY >> 20, fetched, "dropped" if dropped else "kept", read[0]))
    print("  hot key alone: %s\n  beside cold reads: %s" % (percentiles(quiet), percentiles(busy)), flush=True)
    expect(fetched > 100, "only %d row fetches" % fetched)
    expect(after["cairn_lsm_flushes_total"] > 5, "hardly a flush")


def main():
    runner = Runner(__doc__)
    count = 200_000 if runner.arguments.full else 40_000
    runner.check("larger_than_memory", lambda w: larger(w, count))
    runner.finish()


if __name__ == "__main__":
    main()
