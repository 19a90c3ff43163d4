#!/usr/bin/env python3
"""Bytes of SSTables of one of three real nodes are flipped: a scrub or a read finds it, the replica is mended by its leader's
snapshot, no process ends, and every read is right throughout, on every node.
"""
import os
import random
import threading

from cluster import Cluster, Failure, Runner, expect, metrics, wait_for
from run_admin import ask

KEYS = 400
SETTINGS = {"cluster.ranges": 2, "storage.block_cache_bytes": "1MiB", "storage.scrub_bytes_per_second": "64MiB"}


def value(key, version):
    return b"%d/%d/" % (key, version) + random.Random(key).randbytes(2000)  # nothing compresses it


def filled(workspace):
    cluster = Cluster(workspace.path, settings=SETTINGS).start()
    with cluster.nodes[0].client_connection() as client:
        for i in range(KEYS):
            expect(client("SET", "key:%d" % i, value(i, 0)) == b"OK", "SET")
    cluster.wait_caught_up(lag=0)
    for node in cluster.nodes:
        expect(ask(node.admin, "POST", "/v1/storage/flush").status == 200, "flush of node %d" % node.number)
    return cluster


def sstables(node):
    directory = os.path.join(node.directory, "data", "sst")
    return sorted(os.path.join(directory, name) for name in os.listdir(directory))


def flip_bytes(path):
    """One byte every 4 KiB, behind the kernel's back as far as that goes: the page cache sees it too."""
    size = os.path.getsize(path)
    with open(path, "r+b", buffering=0) as file:
        for at in range(700, size, 4096):
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 0x10]))
        os.fsync(file.fileno())
    return size


def scrub(node):
    answer = ask(node.admin, "POST", "/v1/storage/scrub")
    expect(answer.status == 202, "scrub answers %d %s" % (answer.status, answer.body))

    def done():
        status = ask(node.admin, "GET", "/v1/storage/scrub").json()
        return status if status["state"] == "done" else None

    return wait_for(done, "the end of a scrub of node %d" % node.number)


class Readers:
    """One connection to each node; reads all keys again and again and remembers whatever was not right."""

    def __init__(self, cluster):
        self.wrong, self.reads, self.over = [], [0] * len(cluster.nodes), threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i, node)) for i, node in enumerate(cluster.nodes)]
        for thread in self.threads:
            thread.start()

    def run(self, i, node):
        try:
            with node.client_connection(timeout=20) as client:
                at = 0
                while not self.over.is_set():
                    got = client("GET", "key:%d" % (at % KEYS))
                    if got != value(at % KEYS, 0):
                        self.wrong.append((node.number, at % KEYS, got if got is None else got[:80]))
                    at += 1
                    self.reads[i] += 1
        except Exception as error:  # whatever it is, it is wrong
            self.wrong.append((node.number, repr(error)))

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        expect(not self.wrong, "wrong reads: %s" % self.wrong[:5])
        expect(min(self.reads) > KEYS, "too few reads: %s" % self.reads)


def repaired(node, at_least):
    wait_for(lambda: metrics(node.admin)["cairn_replica_repairs_total"] >= at_least, "%d repairs on node %d" % (at_least, node.number), 40)

    def whole():
        ranges = ask(node.admin, "GET", "/v1/storage/levels").json()
        return all(r["damage"] == "" for r in ranges)

    wait_for(whole, "no damage on node %d" % node.number)


def found_by_a_scrub(workspace):
    cluster = filled(workspace)
    node = cluster.nodes[1]
    clean = scrub(node)
    expect(clean["errors"] == 0 and clean["bytes_done"] == clean["bytes"] > KEYS * 500, "before anything is wrong: %s" % clean)
    files = sstables(node)
    expect(sum(map(os.path.getsize, files)) == clean["bytes"] and len(files) == clean["files_done"], "files and bytes of %s" % clean)
    readers = Readers(cluster)
    wait_for(lambda: min(readers.reads) > 100, "reads on all nodes")
    for path in files:
        flip_bytes(path)
    found = scrub(node)
    expect(found["errors"] > 0 or metrics(node.admin)["cairn_lsm_corrupt_blocks_total"] > 0, "nothing was found: %s" % found)
    repaired(node, 1)
    again = scrub(node)
    expect(again["errors"] == 0 and again["findings"] == [], "after the repair: %s" % again)
    wait_for(lambda: min(readers.reads) > KEYS or readers.wrong, "every key read on every node", 40)
    readers.stop()
    figures = metrics(node.admin)
    expect(figures["cairn_lsm_scrubs_total"] == 3 and figures["cairn_lsm_scrubbed_bytes_total"] >= 2 * clean["bytes"], "figures of scrubs")
    expect(figures["cairn_lsm_scrub_end_timestamp_seconds"] > 1.6e9, "when the newest scrub ended")
    for other in cluster.nodes:
        expect(other.running(), "node %d has ended" % other.number)
    # What was repaired is durable, and writes go on.
    node.kill()
    node.start()
    cluster.wait_ready()
    with node.client_connection() as client:
        expect(all(client("GET", "key:%d" % i) == value(i, 0) for i in range(KEYS)), "reads after a restart")
        expect(client("SET", "key:0", b"new") == b"OK" and client("GET", "key:0") == b"new", "a write after it")
    expect(scrub(node)["errors"] == 0, "damage after a restart")


def found_at_the_start(workspace):
    """Footers are read when a node opens its files."""
    cluster = filled(workspace)
    node = cluster.nodes[2]
    node.kill()
    for path in sstables(node):
        with open(path, "r+b") as file:
            file.seek(-20, os.SEEK_END)
            file.write(b"\xff" * 4)
    node.start()
    repaired(node, 1)
    cluster.wait_ready()
    with node.client_connection() as client:
        expect(all(client("GET", "key:%d" % i) == value(i, 0) for i in range(KEYS)), "reads after the repair")


def cancelled(workspace):
    cluster = filled(workspace)
    node = cluster.nodes[0]
    expect(ask(node.admin, "DELETE", "/v1/storage/scrub").status == 409, "there is none to cancel")
    answer = ask(node.admin, "PATCH", "/v1/config", '{"storage.scrub_bytes_per_second": "64KiB"}', {"Content-Type": "application/json"})
    expect(answer.status == 200, "the rate changes while the node runs: %s" % answer.body)
    expect(ask(node.admin, "POST", "/v1/storage/scrub").status == 202, "it begins")
    expect(ask(node.admin, "POST", "/v1/storage/scrub").status == 409, "one at a time")
    expect(ask(node.admin, "GET", "/v1/storage/scrub").json()["state"] == "running", "at this rate it takes seconds")
    answer = ask(node.admin, "DELETE", "/v1/storage/scrub")
    expect(answer.status == 200 and answer.json()["state"] == "cancelled", "it is cancelled: %s" % answer.body)
    expect(metrics(node.admin)["cairn_lsm_scrubs_total"] == 0, "a cancelled one counts")
    answer = ask(node.admin, "POST", "/v1/storage/scrub?range=4711")
    expect(answer.status == 404 and answer.json()["field"] == "range", "of no range: %s" % answer.body)


def main():
    runner = Runner(__doc__)
    for check in (found_by_a_scrub, found_at_the_start, cancelled):
        runner.check(check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
