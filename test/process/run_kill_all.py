#!/usr/bin/env python3
"""kill -9 of all nodes at one instant under load, then a start of all of them.

Nothing acknowledged may be lost, and every range must take writes again, through every node, within 3 s of the start."""
import time

from cluster import Cluster, Runner, expect, wait_for
from load import Load, first_writes, key_in
from run_failover import check_history

LIMIT = 3.0


def rounds(workspace, count):
    cluster = Cluster(workspace.path).start()
    load = Load(cluster.ports())
    load.start()
    wait_for(lambda: load.writes > 5000, "5,000 acknowledged writes", 30)
    slots = [r["slots"] for r in cluster.ranges()]
    took, rates = [], []
    for number in range(count):
        mark = load.writes
        wait_for(lambda: load.writes > mark + 5000, "load", 30)
        killed = time.monotonic()
        for node in cluster.nodes:
            node.process.kill()
        for node in cluster.nodes:
            node.process.wait()
        rates.append(load.rate_between(killed - 1, killed))
        began = time.monotonic()
        for node in cluster.nodes:
            node.start()
        keys = [key_in(*s, "again%d" % number) for s in slots]
        times, missing = first_writes(cluster.ports(), keys, 20, began)
        expect(not missing, "%d of %d ranges take no writes 20 s after the start" % (len(missing), len(keys)))
        cluster.wait_ready()
        took.append(max(times.values()))
        print("  round %d: every range wrote again %.2f s after the start, all nodes ready after %.2f s, %.0f acknowledged "
              "writes/s before" % (number + 1, took[-1], time.monotonic() - began, rates[-1]), flush=True)
        for node in cluster.nodes:
            expect(node.running(), "node %d ended: %s" % (node.number, node.tail()))
        # Looked at after every round, so that a loss cannot be overwritten by the next.
        check_history(load, cluster)
        load.resume()
    load.stop()
    print("serving_again_s worst=%.2f rounds=%d writes_per_s_min=%.0f" % (max(took), len(took), min(rates)), flush=True)
    expect(max(took) <= LIMIT, "serving again only after %.2f s" % max(took))
    expect(min(rates) >= 2000, "only %.0f acknowledged writes a second" % min(rates))


def main():
    runner = Runner(__doc__)
    count = runner.rounds(2, 10)
    runner.check("kill_all", lambda w: rounds(w, count))
    runner.finish()


if __name__ == "__main__":
    main()
