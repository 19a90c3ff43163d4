#!/usr/bin/env python3
"""MULTI, EXEC and WATCH on three nodes while the leader of the keys is killed again and again.

Several connections, each through another node, count two keys of one slot up by what they read under WATCH. No count may be
lost or given twice, the keys may never differ for those who read both in one EXEC."""
import threading

from cluster import Cluster, Runner, expect, wait_for
from resp import Client, Error

FIRST, SECOND = b"{count}a", b"{count}b"


class Counter(threading.Thread):
    def __init__(self, ports, number):
        super().__init__(daemon=True)
        self.ports, self.at, self.stop = ports, number, threading.Event()
        self.counted, self.unknown, self.refused, self.problems = [], 0, 0, []

    def run(self):
        while not self.stop.is_set():
            try:
                with Client(self.ports[self.at % len(self.ports)], 10) as client:
                    self.count(client)
            except OSError:
                pass
            self.at += 1  # that node is gone: through another

    def count(self, client):
        """Until the connection breaks."""
        while not self.stop.is_set():
            if client("WATCH", FIRST, SECOND) != b"OK":
                continue
            both = client.pipeline([[b"MULTI"], [b"GET", FIRST], [b"GET", SECOND], [b"EXEC"]])[-1]
            if isinstance(both, list) and both[0] != both[1]:
                self.problems.append("%r and %r were read in one EXEC" % tuple(both))
            watched = client("WATCH", FIRST, SECOND)
            value = client("GET", FIRST)
            if isinstance(watched, Error) or isinstance(value, Error):
                client("UNWATCH")
                continue
            number = int(value or 0) + 1
            self.unknown += 1
            done = client.pipeline([[b"MULTI"], [b"SET", FIRST, b"%d" % number], [b"SET", SECOND, b"%d" % number], [b"EXEC"]])[-1]
            if isinstance(done, Error) and done.startswith("INDETERMINATE"):
                continue
            self.unknown -= 1
            if isinstance(done, list):
                self.counted.append(number)
            elif done is None:
                self.refused += 1


def under_kills(workspace, rounds):
    cluster = Cluster(workspace.path).start()
    counters = [Counter(cluster.ports(), i) for i in range(6)]
    for counter in counters:
        counter.start()

    def done():
        return sum(len(c.counted) for c in counters)

    for _ in range(rounds):
        cluster.wait_caught_up()
        mark = done()
        wait_for(lambda: done() > mark + 300, "300 transactions", 30)
        victim = cluster.leader_of(FIRST.decode())
        victim.kill()
        mark = done()
        wait_for(lambda: done() > mark + 100, "100 transactions without node %d" % victim.number, 30)
        victim.start()
        cluster.wait_ready()
    for counter in counters:
        counter.stop.set()
    for counter in counters:
        counter.join(30)
    counted = sorted(n for c in counters for n in c.counted)
    unknown = sum(c.unknown for c in counters)
    with Client(cluster.ports()[0], 30) as client:
        values = client("MGET", FIRST, SECOND)
    print("  transactions=%d refused=%d unknown=%d last=%r" % (len(counted), sum(c.refused for c in counters), unknown, values), flush=True)
    for counter in counters:
        expect(not counter.problems, "; ".join(counter.problems[:3]))
    expect(len(counted) == len(set(counted)), "a count was given twice")
    expect(values[0] == values[1], "the keys differ: %r" % values)
    expect(max(counted) <= int(values[0]), "the count fell behind one that was acknowledged")
    lost = int(values[0]) - len(counted)
    expect(0 <= lost <= unknown, "%d counts are nobody's, %d outcomes are unknown" % (lost, unknown))


def watch_across_leaders(workspace):
    """A leader that did not see WATCH refuses, whoever asks; a key written through another node is noticed."""
    cluster = Cluster(workspace.path).start()
    leader = cluster.leader_of(FIRST.decode())
    others = [n for n in cluster.nodes if n is not leader]
    with Client(others[0].client, 30) as client, Client(others[1].client, 30) as other:
        def attempt(between):
            expect(client("WATCH", FIRST) == b"OK", "WATCH")
            between()
            client("MULTI")
            client("SET", FIRST, "mine")
            return client("EXEC")

        expect(attempt(lambda: other("GET", FIRST)) == [b"OK"], "EXEC after nothing happened")
        expect(attempt(lambda: other("SET", FIRST, "theirs")) is None, "EXEC after a write through another node")

        def kill():
            leader.kill()
            cluster.nodes.remove(leader)
            wait_for(lambda: not isinstance(other("SET", b"{count}c", "v"), Error), "another leader", 30)

        expect(attempt(kill) is None, "EXEC at a leader that saw no WATCH")
        expect(client("GET", FIRST) == b"theirs", "the value")
        expect(attempt(lambda: None) == [b"OK"], "EXEC at the new leader")


def main():
    runner = Runner(__doc__)
    runner.check("transactions_under_kills", lambda w: under_kills(w, runner.rounds(3, 20)))
    runner.check("watch_across_leaders", watch_across_leaders)
    runner.finish()


if __name__ == "__main__":
    main()
