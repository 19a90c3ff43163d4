#!/usr/bin/env python3
"""Cairn beside Redis and etcd, in one run on one machine.

    server_bench.py SECTION [--rounds 3] [--seconds 2] [--etcd-tool FILE] [--csv FILE] [--limit 600]

SECTION is one of
    etcd-set      SET of 64 B, 64 clients: three nodes, --cluster and through one node, beside etcd's put
    etcd-latency  SET of 64 B, 1 client, three nodes: p50 beside etcd's
    pipeline      SET of 64 B, 64 clients, pipeline 16, --cluster, beside one Redis with appendfsync always
    one-node      SET, one node with one replica, 50 clients, pipeline 1 and 16, beside Redis with appendfsync always
    get           GET, one node, 50 clients, pipeline 1 and 16, beside Redis without persistence
    idle          memory and CPU of an idle demo node, time until READY
    load          10,000 idle and 1,000 active connections beside 100 active ones: memory, p99
    slow-reader   others' p99 and the memory beside a client that asks for 1 GiB and reads nothing
    families      throughput by command family, pipeline 1 and 16, beside Redis (writes: appendfsync always)
    all

The servers of a section run side by side and take turns, round by round; a figure is the median of its rounds, and only
ratios inside one run mean anything. Every call of a load program has a number of requests and a time limit. Redis and etcd
come from Debian's packages; etcd's load program is built by etcd_tool.sh, cairn-client-load with the rest of the tree. CSV goes to --csv, a table to standard output.
"""
import argparse
import csv
import io
import os
import re
import resource
import statistics
import subprocess
import sys
import time

import connection_sections

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "process"))
from cluster import Cluster, Demo, Workspace, free_base, wait_for  # noqa: E402
from resp import Client  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
KEYS = 100000


def cpu_seconds(pids):
    total = 0.0
    for pid in pids:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / TICK
    return total


def machine_busy_seconds():
    with open("/proc/stat") as f:
        fields = f.readline().split()
    return sum(int(fields[i]) for i in (1, 2, 3, 6, 7, 8)) / TICK


def children_seconds():
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def rss_mib(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


class CustomTest:
    """A command for redis-benchmark instead of one of its own tests."""

    def __init__(self, name, command):
        self.name, self.command = name, command

    def __str__(self):
        return self.name


class RedisTarget:
    """Anything that redis-benchmark can load."""

    def __init__(self, name, port, pids, clustered=False):
        self.name, self.port, self.pids, self.clustered = name, port, pids, clustered

    def run(self, test, requests, clients, pipeline, limit):
        custom = isinstance(test, CustomTest)
        command = ["redis-benchmark", "-p", str(self.port), "-n", str(requests), "-c", str(clients), "-P", str(pipeline), "-d", "64",
                   "-r", str(KEYS), "--csv"] + (["--cluster"] if self.clustered else []) + (test.command if custom else ["-t", test])
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
        first = test.command[0] if custom else test.upper()
        rows = [r for r in csv.reader(io.StringIO(done.stdout)) if len(r) >= 8 and r[0].upper().startswith(first)]
        if not rows:
            raise RuntimeError("%s: %s" % (self.name, (done.stdout + done.stderr)[-300:]))
        row = rows[-1]
        return {"rps": float(row[1]), "p50_ms": float(row[4]), "p99_ms": float(row[6])}


class EtcdTarget:
    def __init__(self, workspace, tool, nodes=3):
        self.name, self.tool, self.processes = "etcd", tool, []
        base = free_base(2 * nodes)
        clients = ["127.0.0.1:%d" % (base + 2 * i) for i in range(nodes)]
        members = ",".join("n%d=http://127.0.0.1:%d" % (i, base + 2 * i + 1) for i in range(nodes))
        for i in range(nodes):
            out = open(os.path.join(workspace.path, "etcd%d.log" % i), "wb")
            peer = "http://127.0.0.1:%d" % (base + 2 * i + 1)
            self.processes.append(subprocess.Popen(
                ["etcd", "--name", "n%d" % i, "--data-dir", workspace.sub("etcd%d" % i), "--listen-client-urls", "http://" + clients[i],
                 "--advertise-client-urls", "http://" + clients[i], "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", members, "--logger", "zap", "--quota-backend-bytes", "8000000000"],
                stdout=out, stderr=out))
        self.pids = [p.pid for p in self.processes]
        environment = dict(os.environ, ETCDCTL_API="3")

        def ctl(*arguments):
            return subprocess.run(["etcdctl", "--endpoints", ",".join(clients), *arguments], env=environment, capture_output=True,
                                  text=True, timeout=10)
        wait_for(lambda: ctl("put", "warm", "up").returncode == 0, "etcd", 30, 0.1)

        def leader():  # writes go to the leader, as in etcd's own published figures
            rows = [line.split(", ") for line in ctl("endpoint", "status").stdout.splitlines()]
            return next((row[0] for row in rows if len(row) > 4 and row[4] == "true"), None)
        self.leader = wait_for(leader, "etcd's leader", 30, 0.1)

    def run(self, test, requests, clients, pipeline, limit):
        done = subprocess.run([self.tool, "--endpoints", self.leader, "--clients", str(clients), "--conns", str(min(clients, 16)), "put",
                               "--sequential-keys=false", "--key-size=16", "--key-space-size=%d" % KEYS, "--val-size=64",
                               "--total=%d" % requests, "--target-leader"], capture_output=True, text=True, timeout=limit)
        find = lambda pattern: float(re.search(pattern, done.stdout).group(1))
        return {"rps": find(r"Requests/sec:\s+([\d.]+)"), "p50_ms": 1000 * find(r"50% in ([\d.]+)"),
                "p99_ms": 1000 * find(r"99% in ([\d.]+)")}

    def end(self):
        for p in self.processes:
            p.terminate()
        for p in self.processes:
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()


class Bench:
    def __init__(self, arguments):
        self.a = arguments
        self.began = time.monotonic()
        self.bars = []  # what, ours, bar, met
        self.redis = []
        self.etcd = None
        self.clusters = []
        self.writer = None
        if arguments.csv:
            self.out = open(arguments.csv, "a", newline="")
            self.writer = csv.writer(self.out)
            if self.out.tell() == 0:
                self.writer.writerow("section target test clients pipeline round requests rps p50_ms p99_ms cpu_pct other_pct".split())

    def time_left(self):
        left = self.a.limit - (time.monotonic() - self.began)
        if left <= 0:
            raise RuntimeError("the time limit of %g s is over" % self.a.limit)
        return left

    # Servers

    custom_test = staticmethod(CustomTest)

    def cairn(self, nodes, settings=None):
        """(target through one node, target with --cluster)."""
        workspace = Workspace("bench")
        settings = dict(settings or {}, **({"runtime.spin": self.a.spin} if self.a.spin else {}))
        cluster = Cluster(workspace.path, nodes, settings).start()
        self.clusters.append((cluster, workspace))
        pids = [n.pid for n in cluster.nodes]
        name = "cairn%d" % nodes
        return (RedisTarget(name, cluster.nodes[0].client, pids), RedisTarget(name + "-cluster", cluster.nodes[0].client, pids, True))

    def redis_server(self, name, *options):
        workspace = Workspace("bench-redis")
        port = free_base(1)
        process = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", workspace.path, "--save", "",
                                    "--logfile", "log", *options], stdout=subprocess.DEVNULL)
        self.redis.append((process, workspace))

        def answers():
            with Client(port) as client:
                return client("PING") == b"PONG"
        wait_for(answers, "redis-server", 10)
        return RedisTarget(name, port, [process.pid])

    def etcd_server(self):
        self.etcd = EtcdTarget(Workspace("bench-etcd"), self.a.etcd_tool)
        return self.etcd

    def end_servers(self):
        for cluster, _ in self.clusters:
            cluster.kill()
        for process, _ in self.redis:
            process.kill()
            process.wait()
        if self.etcd:
            self.etcd.end()
        self.clusters, self.redis, self.etcd = [], [], None

    # Measuring

    def cell(self, section, targets, test, clients, pipeline):
        """{target name: {figure: median}}: a probe sizes each target's call, then they take turns."""
        sizes, found = {}, {t.name: [] for t in targets}
        for t in targets:
            n = max(1000, clients * pipeline * 8)
            for _ in range(2):
                got = t.run(test, n, clients, pipeline, min(60, self.time_left()))
                n = int(min(max(got["rps"] * self.a.seconds * 0.5, n), 2_000_000))
            sizes[t.name] = int(min(max(got["rps"] * self.a.seconds, 200), 3_000_000))
        for number in range(self.a.rounds):
            for t in targets:
                cpu, own, busy, began = cpu_seconds(t.pids), children_seconds(), machine_busy_seconds(), time.monotonic()
                got = t.run(test, sizes[t.name], clients, pipeline, min(60, self.time_left()))
                took, cpu = time.monotonic() - began, cpu_seconds(t.pids) - cpu
                got["cpu_pct"] = 100 * cpu / took
                # What neither the server nor the load program used: where it is large, mistrust the row.
                got["other_pct"] = max(0.0, 100 * (machine_busy_seconds() - busy - (children_seconds() - own) - cpu) / took)
                found[t.name].append(got)
                if self.writer:
                    self.writer.writerow([section, t.name, test, clients, pipeline, number, sizes[t.name]] +
                                         ["%.3f" % got[k] for k in ("rps", "p50_ms", "p99_ms", "cpu_pct", "other_pct")])
                    self.out.flush()
        medians = {}
        for name, rows in found.items():
            medians[name] = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
            m = medians[name]
            print("  %-16s %s c=%d P=%d: %9.0f /s, p50 %.3f ms, p99 %.3f ms, cpu %.0f %%, others %.0f %%" %
                  (name, test, clients, pipeline, m["rps"], m["p50_ms"], m["p99_ms"], m["cpu_pct"], m["other_pct"]), flush=True)
        return medians

    def at_least(self, what, value, bar):
        self.bars.append((what, "%.2f" % value, "at least %g" % bar, value >= bar))

    def at_most(self, what, value, bar):
        self.bars.append((what, "%.2f" % value, "at most %g" % bar, value <= bar))

    # Sections

    def etcd_set(self):
        one, clustered = self.cairn(3)
        m = self.cell("etcd-set", [one, clustered, self.etcd_server()], "set", 64, 1)
        self.at_least("SET 64 clients --cluster / etcd put", m["cairn3-cluster"]["rps"] / m["etcd"]["rps"], 4)
        self.at_least("SET 64 clients, one node / etcd put", m["cairn3"]["rps"] / m["etcd"]["rps"], 3)

    def etcd_latency(self):
        one, _ = self.cairn(3)
        m = self.cell("etcd-latency", [one, self.etcd_server()], "set", 1, 1)
        self.at_most("SET 1 client p50 / etcd put p50", m["cairn3"]["p50_ms"] / m["etcd"]["p50_ms"], 0.6)

    def pipeline(self):
        _, clustered = self.cairn(3)
        redis = self.redis_server("redis-always", "--appendonly", "yes", "--appendfsync", "always")
        m = self.cell("pipeline", [clustered, redis], "set", 64, 16)
        self.at_least("SET pipeline 16 --cluster / Redis always", m["cairn3-cluster"]["rps"] / m["redis-always"]["rps"], 0.6)

    def one_node(self):
        one, _ = self.cairn(1)
        redis = self.redis_server("redis-always", "--appendonly", "yes", "--appendfsync", "always")
        for pipeline, bar in ((1, 0.9), (16, 1.2)):
            m = self.cell("one-node", [one, redis], "set", 50, pipeline)
            self.at_least("SET one node pipeline %d / Redis always" % pipeline, m["cairn1"]["rps"] / m["redis-always"]["rps"], bar)

    def get(self):
        one, _ = self.cairn(1)
        redis = self.redis_server("redis-none", "--appendonly", "no")
        for t in (one, redis):
            t.run("set", 4 * KEYS, 50, 16, min(60, self.time_left()))
        for pipeline in (1, 16):
            m = self.cell("get", [one, redis], "get", 50, pipeline)
            self.at_least("GET one node pipeline %d / Redis" % pipeline, m["cairn1"]["rps"] / m["redis-none"]["rps"], 0.9)

    def idle(self):
        ready, rss, cpu = [], [], []
        for number in range(self.a.rounds):
            workspace = Workspace("bench-idle")
            demo = Demo(workspace.sub("demo"))
            ready.append(demo.wait_ready())
            pids = demo.pids()
            # An idle node is measured once what follows a start has passed.
            settled = time.monotonic() + 2
            wait_for(lambda: time.monotonic() >= settled, "2 s", 3)
            before, began = [cpu_seconds([p]) for p in pids], time.monotonic()
            wait_for(lambda: time.monotonic() >= began + 5, "5 s", 6)
            spent = time.monotonic() - began
            cpu.append(max(100 * (cpu_seconds([p]) - b) / spent for p, b in zip(pids, before)))
            rss.append(max(rss_mib(p) for p in pids))
            demo.stop()
            if self.writer:
                self.writer.writerow(["idle", "cairn-demo", "ready_s=%.2f rss_mib=%.1f" % (ready[-1], rss[-1]), 0, 0, number, 0, 0, 0, 0,
                                      "%.2f" % cpu[-1], 0])
        self.at_most("demo: seconds until READY", statistics.median(ready), 2)
        self.at_most("demo: MiB of an idle node, the largest", statistics.median(rss), 100)
        self.at_most("demo: % of a core of an idle node, the busiest", statistics.median(cpu), 2)

    def section(self, name):
        print("%s:" % name, flush=True)
        try:
            if name in connection_sections.SECTIONS:
                return connection_sections.SECTIONS[name](self)
            {"etcd-set": self.etcd_set, "etcd-latency": self.etcd_latency, "pipeline": self.pipeline, "one-node": self.one_node,
             "get": self.get, "idle": self.idle}[name]()
        finally:
            self.end_servers()

    def summary(self):
        print("\n| figure | measured | bar | |\n|---|---|---|---|")
        for what, value, bar, met in self.bars:
            print("| %s | %s | %s | %s |" % (what, value, bar, "met" if met else "MISSED"))


SECTIONS = ("etcd-set", "etcd-latency", "pipeline", "one-node", "get", "idle", *connection_sections.SECTIONS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=SECTIONS + ("all",))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0,
                        help="aim for the length of one call of a load program; redis-benchmark --cluster counts in quarters of a second")
    parser.add_argument("--etcd-tool", default="/tmp/etcd-benchmark", help="built by etcd_tool.sh; sections with etcd need it")
    parser.add_argument("--csv", default="")
    parser.add_argument("--spin", default="", help="runtime.spin of Cairn's nodes")
    parser.add_argument("--rate", type=float, default=10000, help="load, slow-reader: operations a second of all clients together")
    parser.add_argument("--family", default="", help="families: only those whose name contains this")
    parser.add_argument("--limit", type=float, default=600, help="seconds for everything")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    failed = False
    for name in SECTIONS if arguments.section == "all" else (arguments.section,):
        if name.startswith("etcd") and not os.access(arguments.etcd_tool, os.X_OK):
            print("%s: no %s; build it with test/bench/etcd_tool.sh %s" % (name, arguments.etcd_tool, arguments.etcd_tool))
            failed = True
            continue
        try:
            bench.section(name)
        except Exception as error:  # the other sections still run
            print("%s: failed: %s" % (name, error))
            failed = True
    bench.summary()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
