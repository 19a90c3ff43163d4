#!/usr/bin/env python3
"""SIGSTOP of a leader for 5 s, then SIGCONT, under load.

While it is stopped, reads of its ranges' keys are sent to it all the time; they wait in its sockets while others write
those keys, and none of them may be answered with what the stopped node remembers."""
import signal
import time

from cluster import Cluster, Runner, expect, slot_of, wait_for
from load import Load, first_writes, key_in
from run_failover import PROBE, check_history

STOPPED_S = 5.0


def rounds(workspace, count, settings=None, read_only=False):
    """`read_only`: all connections; then every node answers reads of all ranges, and reads of all keys wait for the stopped one."""
    cluster = Cluster(workspace.path, settings=settings).start()
    load = Load(cluster.ports(), patience=1.0, read_only=read_only)
    load.start()
    wait_for(lambda: load.writes > 10000, "10,000 acknowledged writes", 30)
    for number in range(count):
        cluster.wait_caught_up()
        victim = cluster.leader_of(PROBE)
        led = cluster.ranges_led_by(victim)
        keys = [i for i, name in enumerate(load.names) if read_only or any(r["slots"][0] <= slot_of(name) <= r["slots"][1] for r in led)]
        others = [n for n in cluster.nodes if n is not victim]
        mark = load.writes
        wait_for(lambda: load.writes > mark + 3000, "load", 30)
        stopped = time.monotonic()
        victim.process.send_signal(signal.SIGSTOP)
        load.down.add(victim.client)
        load.read_late(victim.client, keys)
        probes = [PROBE] + [key_in(*r["slots"], "pause%d" % number) for r in led]
        times, missing = first_writes([n.client for n in others], probes, 20, stopped)
        expect(not missing, "no write to %s while node %d is stopped" % (sorted(missing), victim.number))
        mark = load.writes
        wait_for(lambda: time.monotonic() - stopped >= STOPPED_S, "5 s", STOPPED_S + 1)
        during = load.writes - mark
        expect(during > 0, "no write was acknowledged while node %d was stopped" % victim.number)
        before = load.late_reads
        victim.process.send_signal(signal.SIGCONT)
        wait_for(load.late_done, "answers of the node that went on", 20)
        waited = load.late_reads - before
        load.forget_late()
        expect(waited > 100, "only %d reads had waited" % waited)
        cluster.wait_ready()
        load.down.discard(victim.client)
        print("  round %d: node %d with %d ranges; gap %.0f ms; %d writes acknowledged meanwhile, %d reads had waited in its "
              "sockets, stale %d" % (number + 1, victim.number, len(led), 1000 * max(times.values()), during, waited,
                                     len(load.stale)), flush=True)
    cluster.wait_caught_up()
    check_history(load, cluster)
    load.stop()
    cluster.report_follower_reads(read_only)
    print("paused rounds=%d late_reads=%d stale=%d" % (count, load.late_reads, len(load.stale)), flush=True)


def main():
    runner = Runner(__doc__)
    count = runner.rounds(1, 10)
    runner.check("pause", lambda w: rounds(w, count))
    runner.finish()


if __name__ == "__main__":
    main()
