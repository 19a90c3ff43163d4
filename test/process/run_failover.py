#!/usr/bin/env python3
"""kill -9 of the node that leads a key's range, under load, again and again.

Prints the acknowledged writes a second around each kill, and the time until writes to every range of the killed node
succeed again through the others. Nothing acknowledged may be lost, no read may be stale."""
import statistics
import time

from cluster import Cluster, Runner, expect, wait_for
from load import Load, first_writes, key_in

PROBE = "probe-key"


def report(load, lost, known):
    print("  writes=%d reads=%d indeterminate=%d given_up=%d refused=%d reordered_unknown=%d keys=%d lost=%d stale=%d" %
          (load.writes, load.reads, load.indeterminate, load.given_up, load.refused, load.reordered, known, len(lost),
           len(load.stale)))
    for text, count in load.unexpected.items():
        print("  unexpected reply, %d times: %s" % (count, text))


def check_history(load, cluster, limit=20.0):
    expect(load.quiesce(limit), "commands without an answer after %g s" % limit)
    results = [load.verify(port) for port in cluster.ports()]
    lost, known = max((r[0] for r in results), key=len), results[0][1]
    report(load, lost, known)
    expect(not lost, "%d acknowledged writes lost: %s" % (len(lost), "; ".join(lost[:3])))
    expect(not load.stale, "%d stale reads: %s" % (len(load.stale), "; ".join(load.stale[:3])))
    expect(not load.wrong, "wrong values: %s" % "; ".join(load.wrong[:3]))
    expect(not load.unexpected, "unexpected replies: %s" % dict(load.unexpected))


def rounds(workspace, count, settings=None, read_only=False):
    cluster = Cluster(workspace.path, settings=settings).start()
    load = Load(cluster.ports(), read_only=read_only)
    load.start()
    wait_for(lambda: load.writes > 10000, "10,000 acknowledged writes", 30)
    gaps, rates = [], []
    for number in range(count):
        cluster.wait_caught_up()
        victim = cluster.leader_of(PROBE)
        led = cluster.ranges_led_by(victim)
        probes = [PROBE] + [key_in(*r["slots"], "gap%d" % number) for r in led]
        survivors = [n for n in cluster.nodes if n is not victim]
        mark = load.writes
        wait_for(lambda: load.writes > mark + 4000, "load", 30)
        killed = time.monotonic()
        victim.process.kill()
        load.down.add(victim.client)
        times, missing = first_writes([n.client for n in survivors], probes, 20, killed)
        expect(not missing, "no write to %s within 20 s of the kill of node %d" % (sorted(missing), victim.number))
        victim.process.wait()
        gap = max(times.values())
        rate = load.rate_between(killed - 1, killed)
        gaps.append(1000 * gap)
        rates.append(rate)
        leader = cluster.leader_of(PROBE)
        expect(leader is not victim, "the dead node is still named as leader")
        mark = load.writes
        wait_for(lambda: load.writes > mark + 3000, "load through the two nodes left", 30)
        print("  round %d: node %d with %d ranges, gap %.0f ms (key %.0f ms), %.0f acknowledged writes/s before" %
              (number + 1, victim.number, len(led), 1000 * gap, 1000 * times[PROBE], rate), flush=True)
        victim.start()
        cluster.wait_ready()
        load.down.discard(victim.client)
    cluster.wait_caught_up()
    check_history(load, cluster)
    load.stop()
    cluster.report_follower_reads(read_only)
    print("gap_ms median=%.0f worst=%.0f rounds=%d writes_per_s_min=%.0f" %
          (statistics.median(gaps), max(gaps), len(gaps), min(rates)), flush=True)
    expect(min(rates) >= 2000, "only %.0f acknowledged writes a second" % min(rates))


def main():
    runner = Runner(__doc__)
    count = runner.rounds(3, 20)
    runner.check("failover", lambda w: rounds(w, count))
    runner.finish()


if __name__ == "__main__":
    main()
