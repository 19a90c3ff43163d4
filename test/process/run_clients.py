#!/usr/bin/env python3
"""Redis' own programs against a demo of three nodes, and against one whose keyspace is one range."""
import re
import subprocess

from cluster import Demo, Runner, expect, info
from resp import Client, Map


def run(*command, limit=90, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=limit)
    return done.returncode, done.stdout + done.stderr


def cli(port, *arguments, text=None):
    code, output = run("redis-cli", "-p", str(port), *arguments, text=text, limit=30)
    expect(code == 0, "redis-cli -p %d %s: %s" % (port, " ".join(arguments), output))
    return output.strip()


def redis_cli(workspace):
    demo = Demo(workspace.sub("demo"))
    demo.wait_ready()
    for i, port in enumerate(demo.ports()):
        key = "cli-%d" % i
        expect(cli(port, "set", key, "v%d" % i) == "OK", "set through node %d" % (i + 1))
        for other in demo.ports():
            expect(cli(other, "get", key) == "v%d" % i, "%s read through port %d" % (key, other))
            expect(cli(other, "-c", "get", key) == "v%d" % i, "%s read by redis-cli -c through port %d" % (key, other))
    expect(cli(demo.port, "-c", "set", "follow", "me") == "OK" and cli(demo.port, "-c", "get", "follow") == "me", "redis-cli -c")
    many = "".join("set c%d %d\n" % (i, i) for i in range(200)) + "".join("get c%d\n" % i for i in range(200))
    lines = cli(demo.port, "-c", text=many).splitlines()
    answers = [l for l in lines if l and not l.startswith("->")]
    expect(answers == ["OK"] * 200 + [str(i) for i in range(200)], "200 SETs and GETs of one redis-cli -c: %s" % answers[:5])
    output = cli(demo.port, "-3", "hset", "h3", "f", "v") + cli(demo.port, "-3", "hgetall", "h3")
    expect("f" in output and "v" in output, "redis-cli -3: %s" % output)
    expect("get" in cli(demo.port, "command", "info", "get"), "COMMAND INFO")


def cluster_check(workspace):
    demo = Demo(workspace.sub("demo"))
    demo.wait_ready()
    for port in demo.ports():
        code, output = run("redis-cli", "--cluster", "check", "127.0.0.1:%d" % port)
        expect(code == 0, "redis-cli --cluster check of port %d ends with %d: %s" % (port, code, output[-400:]))
        expect("[OK] All 16384 slots covered." in output, "slots not covered: %s" % output[-400:])
        expect("[ERR]" not in output and "[WARNING]" not in output, "complaints: %s" % output[-600:])


def benchmark(workspace):
    demo = Demo(workspace.sub("demo"))
    demo.wait_ready()
    base = ["redis-benchmark", "-p", str(demo.port), "-t", "ping,set,get,incr,hset", "-n", "6000", "-r", "10000", "-d", "64", "--csv"]
    for extra in ([], ["-P", "16"], ["-3"], ["--cluster"], ["--cluster", "-P", "16"], ["--cluster", "--threads", "2"]):
        code, output = run(*base, *extra, limit=120)
        what = "redis-benchmark %s" % " ".join(extra)
        expect(code == 0, "%s ends with %d: %s" % (what, code, output[-400:]))
        expect(not re.search(r"err|MOVED|CLUSTERDOWN|INDETERMINATE", output, re.I), "%s: %s" % (what, output[-400:]))
        names = set(re.findall(r'^"([A-Z_]+)', output, re.M))
        expect({"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "HSET"} <= names, "%s ran %s" % (what, sorted(names)))


def resp3(workspace):
    demo = Demo(workspace.sub("demo"))
    demo.wait_ready()
    for port in demo.ports():
        with Client(port) as client:
            hello = client("HELLO", "3", "SETNAME", "tester")
            expect(isinstance(hello, Map) and hello[b"proto"] == 3 and hello[b"mode"] == b"cluster", "HELLO 3: %r" % hello)
            expect(client("CLIENT", "GETNAME") == b"tester", "HELLO SETNAME")
            client("DEL", "three")
            expect(client("HSET", "three", "a", "1", "b", "2") == 2, "HSET")
            expect(client("HGETALL", "three") == {b"a": b"1", b"b": b"2"}, "HGETALL as a map")
            expect(client("GET", "nothing-here") is None, "null")
            expect(isinstance(client("HELLO", "2"), list), "HELLO 2")
            client.socket.sendall(b"PING\r\nSET inline 1\r\nGET inline\r\n")
            expect([client.read() for _ in range(3)] == [b"PONG", b"OK", b"1"], "inline commands")


def whole(workspace):
    demo = Demo(workspace.sub("demo"), arguments=["--sharding", "whole"])
    demo.wait_ready()
    for port in demo.ports():
        facts = info(port, "everything")
        expect(facts["redis_mode"] == "standalone" and facts["cluster_enabled"] == "0", "INFO of a whole keyspace: %s" % facts)
        with Client(port) as client:
            expect(client("HELLO", "3")[b"mode"] == b"standalone", "HELLO of a whole keyspace")
            expect(str(client("CLUSTER", "SLOTS")).startswith("ERR This instance has cluster support disabled"), "CLUSTER SLOTS")
            expect(client("SET", "w%d" % port, "x") == b"OK", "SET")
            expect(client("MGET", *["w%d" % p for p in demo.ports()])[:1] == [b"x"], "MGET over any keys")
        code, output = run("redis-benchmark", "-p", str(port), "-t", "set,get", "-n", "2000", "-P", "4", "--csv")
        expect(code == 0 and '"GET"' in output, "redis-benchmark: %s" % output)
    expect(cli(demo.port, "dbsize").isdigit(), "DBSIZE")


def main():
    runner = Runner(__doc__)
    for check in (redis_cli, cluster_check, benchmark, resp3, whole):
        runner.check("clients_" + check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
