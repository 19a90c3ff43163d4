#!/usr/bin/env python3
"""How many durable writes of the log an acknowledged write costs: by the node's metrics, and by strace beside them."""
import os
import re
import signal
import subprocess

from cluster import Cluster, Runner, expect, metrics, wait_for

LIMIT = 0.1


def totals(cluster):
    pages = [metrics(n.admin) for n in cluster.nodes]
    return [p["cairn_log_syncs_total"] for p in pages], sum(p["cairn_log_writes_acked_total"] for p in pages)


def load(cluster, requests, *extra):
    done = subprocess.run(["redis-benchmark", "-p", str(cluster.nodes[0].client), "-t", "set", "-n", str(requests), "-c", "64", "-d", "64",
                           "-r", "100000", "--csv", *extra], capture_output=True, text=True, timeout=120)
    expect(done.returncode == 0, "redis-benchmark: %s" % (done.stdout + done.stderr)[-300:])


def per_write(workspace, requests):
    # Inline, because strace does not see what io_uring writes.
    cluster = Cluster(workspace.path, 3, {"log.writer": "inline"}).start()
    load(cluster, 5000)
    for extra, name in (([], "one node"), (["--cluster"], "cluster")):
        syncs, acked = totals(cluster)
        load(cluster, requests, *extra)
        syncs2, acked2 = totals(cluster)
        writes = acked2 - acked
        ratios = [(b - a) / writes for a, b in zip(syncs, syncs2)]
        print("  64 clients, %s: %d acknowledged; durable writes per acknowledged write and replica: %s" %
              (name, writes, " ".join("%.4f" % r for r in ratios)), flush=True)
        expect(writes >= requests, "%d requests, but %d acknowledged by the metric" % (requests, writes))
        expect(max(ratios) < LIMIT, "%.4f durable writes per acknowledged write, through %s" % (max(ratios), name))


def strace_agrees(workspace, requests):
    # Inline, because strace does not see what io_uring writes.
    cluster = Cluster(workspace.path, 3, {"log.writer": "inline"}).start()
    load(cluster, 5000)
    node = cluster.nodes[0]
    trace = os.path.join(workspace.path, "trace")
    tracer = subprocess.Popen(["strace", "-f", "-q", "-y", "-e", "trace=pwrite64,pwritev,pwritev2,fdatasync", "-o", trace,
                               "-p", str(node.pid)], stderr=subprocess.DEVNULL)
    try:
        def traced():
            with open("/proc/%d/status" % node.pid) as f:
                return "TracerPid:\t0\n" not in f.read()
        wait_for(traced, "strace attached", 10)
        before = metrics(node.admin)["cairn_log_syncs_total"]
        load(cluster, requests)
        after = metrics(node.admin)["cairn_log_syncs_total"]
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    log = os.path.join(node.directory, "data", "log") + os.sep
    with open(trace, errors="replace") as f:
        lines = f.read().splitlines()
    mine = [l for l in lines if log in l and "resumed" not in l]
    plain = [l for l in mine if re.search(r"\bpwrite", l)]
    syncs = [l for l in mine if re.search(r"\bfdatasync", l)]
    # A new segment is zero-filled under a name ending in .tmp; that makes no write durable and is not counted.
    counted = [l for l in plain if ".log>" in l]
    metric = after - before
    print("  cairn_log_syncs_total +%d, strace %d (%d writes to the log in all, %d fdatasync)" %
          (metric, len(counted), len(plain), len(syncs)), flush=True)
    expect(metric > 200, "only %d durable writes" % metric)
    expect(abs(metric - len(counted)) <= 0.05 * metric, "the metric says %d, strace %d" % (metric, len(counted)))


def main():
    runner = Runner(__doc__)
    requests = 200_000 if runner.arguments.full else 40_000
    runner.check("syncs_per_write", lambda w: per_write(w, requests))
    runner.check("syncs_strace", lambda w: strace_agrees(w, requests // 4))
    runner.finish()


if __name__ == "__main__":
    main()
