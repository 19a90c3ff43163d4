#!/usr/bin/env python3
"""Client libraries as they come: redis-py, ioredis and node-redis, plain and in cluster mode, hiredis; while they write, a
node is killed, and they must write again within 3 s. And the programs that watch a Redis: prometheus-redis-exporter, redis-cli's
modes."""
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request

from cluster import Cluster, Demo, Runner, expect, free_base, wait_for
from resp import Client
from run_clients import cli, run

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.path.join(HERE, "clients")
RECOVERY_MS = 3000


def node_modules():
    """Where ioredis and redis are installed: once for all runs, outside of the source tree."""
    root = os.environ.get("CAIRN_TEST_CACHE") or os.path.join(HERE, "..", "..", "build", "test-clients")
    done = os.path.join(root, "node_modules", "ioredis", "package.json")
    wanted = open(os.path.join(CLIENTS, "package.json")).read()
    copy = os.path.join(root, "package.json")
    if not os.path.exists(done) or not os.path.exists(copy) or open(copy).read() != wanted:
        os.makedirs(root, exist_ok=True)
        shutil.copy(os.path.join(CLIENTS, "package.json"), copy)
        code, output = run("npm", "install", "--no-audit", "--no-fund", "--prefix", root, limit=200)
        expect(code == 0, "npm install: %s" % output[-500:])
    return os.path.join(os.path.abspath(root), "node_modules")


def line_of(process, start, limit=40):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        line = process.stdout.readline()
        expect(line, "the client ended")
        if line.startswith(start):
            return line[len(start):].strip()
        expect(not line.startswith("failed"), line.strip())
    raise TimeoutError("no line %s" % start)


def survives(workspace, command, mode, environment=None):
    """Starts the client, lets it write, kills a node it does not hang on alone, lets it write on."""
    cluster = Cluster(workspace.path, 3).start()
    ports = cluster.ports() if mode == "cluster" else cluster.ports()[:1]
    process = subprocess.Popen([*command, mode, *[str(p) for p in ports]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, **(environment or {})})
    try:
        line_of(process, "ready")
        victim = cluster.nodes[2]
        expect(cluster.ranges_led_by(victim), "the victim leads nothing")
        time.sleep(0.3)  # load before the kill
        victim.kill()
        others = [n for n in cluster.nodes if n is not victim]
        wait_for(lambda: all(r["leader"] for r in cluster.ranges(others[0])), "leaders for all ranges", 10)
        time.sleep(2.5)  # load after it: a client that has not recovered by then shows as a gap
        process.stdin.close()
        result = json.loads(line_of(process, "done"))
    finally:
        process.kill()
        process.wait()
    print("  %s" % result)
    expect(result["writes"] > 100, "%d writes" % result["writes"])
    expect(result["longest_ms"] <= RECOVERY_MS, "a write took %d ms: %s" % (result["longest_ms"], result))


def library(name, mode):
    def check(workspace):
        if name == "redis-py":
            survives(workspace, ["/usr/bin/python3", os.path.join(CLIENTS, "redis_py_client.py")], mode)
        else:
            survives(workspace, ["node", os.path.join(CLIENTS, "node_client.js"), name], mode, {"CAIRN_NODE_MODULES": node_modules()})
    return check


def hiredis(workspace):
    demo = Demo(workspace.sub("demo"))
    demo.wait_ready()
    program = os.path.join(workspace.path, "hiredis_client")
    code, output = run("cc", "-std=c11", "-Wall", "-o", program, os.path.join(CLIENTS, "hiredis_client.c"), "-lhiredis")
    expect(code == 0, output)
    for port in demo.ports():
        code, output = run(program, str(port))
        expect(code == 0 and output == "ready\n", output)


def exporter(workspace):
    demo = Demo(workspace.sub("demo"))
    demo.wait_ready()
    with Client(demo.port) as client:
        client.pipeline([("SET", "e%d" % i, "x") for i in range(50)] + [("NOSUCH",), ("GET", "e1")])
    port = free_base(1)
    log = open(os.path.join(workspace.path, "exporter.log"), "w")
    process = subprocess.Popen(["prometheus-redis-exporter", "-redis.addr", "redis://127.0.0.1:%d" % demo.port, "-is-cluster",
                                "-web.listen-address", "127.0.0.1:%d" % port, "-debug"], stdout=log, stderr=log)
    try:
        def scrape():
            with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=5) as page:
                return page.read().decode()
        text = wait_for(scrape, "the exporter's page", 10)
    finally:
        process.terminate()
        process.wait()
    values = dict(re.findall(r"^(redis_[a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", text, re.M))
    expect(values.get("redis_up") == "1", "redis_up %s" % values.get("redis_up"))
    expect(values.get('redis_exporter_last_scrape_error{err=""}') == "0", "a scrape error: %s" % [v for v in values if "scrape_error" in v])
    for name in ("redis_connected_clients", "redis_memory_used_bytes", "redis_commands_processed_total", "redis_uptime_in_seconds",
                 "redis_cluster_slots_ok", "redis_slowlog_length", "redis_config_maxclients", "redis_blocked_clients",
                 "redis_net_input_bytes_total", "redis_rejected_connections_total", "redis_process_id",
                 'redis_commands_total{cmd="set"}', 'redis_errors_total{err="ERR"}'):
        expect(name in values, "no %s among %d" % (name, len(values)))
    complaints = [l for l in open(log.name) if re.search(r"level=(warning|error)|couldn't|can't parse", l)]
    expect(not complaints, "the exporter complains: %s" % complaints[:3])
    print("  %d values of Redis" % len(values))


def cli_modes(workspace):
    demo = Demo(workspace.sub("demo"))
    demo.wait_ready()
    port = str(demo.port)
    many = "".join("*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\nx\r\n" % (len("pipe%d" % i), "pipe%d" % i) for i in range(5000))
    code, output = run("redis-cli", "-p", port, "--pipe", text=many)
    expect(code == 0 and "errors: 0, replies: 5000" in output, "--pipe: %s" % output)
    code, output = run("redis-cli", "-p", port, "--bigkeys")
    expect(code == 0 and "5000 strings with 5000 bytes" in output, "--bigkeys: %s" % output[-600:])
    code, output = run("redis-cli", "-p", port, "--memkeys", "--memkeys-samples", "0")
    expect(code == 0 and "5000 strings with" in output, "--memkeys: %s" % output[-600:])
    stat = subprocess.Popen(["redis-cli", "-p", port, "--stat", "-i", "0.1"], stdout=subprocess.PIPE, text=True)
    try:
        head = [stat.stdout.readline() for _ in range(4)]
    finally:
        stat.kill()
        stat.wait()
    expect("keys" in head[1] and re.match(r"^\d+ +[\d.]+[BKMG] +\d+ +0 +\d+", head[3]), "--stat: %s" % head)
    latency = subprocess.Popen(["redis-cli", "-p", port, "--latency", "--raw"], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(0.5)  # --latency prints when its output ends
    finally:
        latency.terminate()
        latency.wait()
    code, output = run("timeout", "-s", "INT", "1", "redis-cli", "-p", port, "--latency-history", "-i", "1")
    expect("samples" in output or code in (0, 124), "--latency-history: %s" % output)
    expect(cli(demo.port, "-3", "--json", "hgetall", "none") == "{}", "--json of an empty hash")
    cli(demo.port, "hset", "j", "a", "1")
    expect(json.loads(cli(demo.port, "-3", "--json", "hgetall", "j")) == {"a": "1"}, "--json of a map")
    expect("redis_version:7.0.15" in cli(demo.port, "info", "server"), "INFO")
    expect("MULTI" not in cli(demo.port, "command", "docs", "get").upper(), "COMMAND DOCS")
    for i, other in enumerate(demo.ports()):
        code, output = run("redis-cli", "--cluster", "info", "127.0.0.1:%d" % other)
        expect(code == 0 and "[OK]" in output, "--cluster info of node %d: %s" % (i + 1, output))
        code, output = run("redis-cli", "--cluster", "call", "127.0.0.1:%d" % other, "ping")
        expect(code == 0 and output.count("PONG") == 3, "--cluster call of node %d: %s" % (i + 1, output))


def main():
    runner = Runner(__doc__)
    for name in ("redis-py", "ioredis", "redis"):
        for mode in ("plain", "cluster"):
            runner.check("library_%s_%s" % (name, mode), library(name, mode))
    for check in (hiredis, exporter, cli_modes):
        runner.check("tool_" + check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
