#!/usr/bin/env python3
"""Reads over READONLY connections, which followers answer, while leaders are stopped (SIGSTOP) and killed.

Nothing that a follower answers may be older than what was acknowledged or read anywhere before the read was sent. Reads of
all keys wait in the sockets of the stopped node, too, which follows most of their ranges."""
import run_failover
import run_pause
from cluster import Runner

SETTINGS = {"cluster.redirect": "never"}  # READONLY makes a connection one that is told MOVED


def main():
    runner = Runner(__doc__)
    count = runner.rounds(1, 10)
    runner.check("follower-reads-pause", lambda w: run_pause.rounds(w, count, SETTINGS, True))
    runner.check("follower-reads-kill", lambda w: run_failover.rounds(w, count, SETTINGS, True))
    runner.finish()


if __name__ == "__main__":
    main()
