#!/usr/bin/env python3
"""differential.py against three nodes (100,000 commands) and against one (20,000)."""
import os
import re
import subprocess
import sys

from cluster import Cluster, Runner, expect

HERE = os.path.dirname(os.path.abspath(__file__))


def compare(workspace, nodes, commands, seed, settings=None):
    cluster = Cluster(workspace.path, nodes, settings).start()
    done = subprocess.run([sys.executable, os.path.join(HERE, "differential.py"), "--commands", str(commands), "--seed", str(seed),
                           "--cairn", ",".join("127.0.0.1:%d" % p for p in cluster.ports())],
                          capture_output=True, text=True, timeout=600)
    with open(os.path.join(workspace.path, "differential.txt"), "w") as out:
        out.write(done.stdout + done.stderr)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    print("  %d nodes: %s" % (nodes, last), flush=True)
    found = re.fullmatch(r"commands=(\d+) mismatches=(\d+) existing=(\d+)%", last)
    expect(found, "differential.py ended with %d: %s" % (done.returncode, (done.stdout + done.stderr)[-500:]))
    expect(int(found[1]) >= commands and found[2] == "0" and done.returncode == 0, done.stdout[:1500])
    expect(int(found[3]) >= 50, "only %s %% of the commands met a key that exists" % found[3])
    for node in cluster.nodes:
        expect(node.running(), "node %d ended" % node.number)


def main():
    runner = Runner(__doc__)
    scale = 5 if runner.arguments.full else 1
    runner.check("differential_three_nodes", lambda w: compare(w, 3, 100_000 * scale, 1))
    runner.check("differential_one_node", lambda w: compare(w, 1, 20_000 * scale, 2))
    runner.check("differential_whole", lambda w: compare(w, 3, 10_000 * scale, 3, {"cluster.sharding": "whole"}))
    runner.finish()


if __name__ == "__main__":
    main()
