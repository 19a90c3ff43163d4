#!/usr/bin/env python3
"""What users, strangers and disks do wrong: a clear error each, and the node lives on.

The full disk is a small tmpfs in a mount namespace (needs root)."""
import os
import random
import re
import selectors
import signal
import socket
import subprocess
import threading
import time

from cluster import (BINARY, Cluster, Demo, Node, Runner, expect, free_base, gone, http_get, http_request, info, metrics,
                     wait_for, write_config)
from load import Load
from resp import Client, Error, Map, encode
from run_failover import check_history


def single(workspace, settings=None, flags=("--bootstrap", "--initial-nodes", "1"), name="node1"):
    node = Node(os.path.join(workspace.path, name), free_base(1), 1, settings, flags).start()
    return node


def single_ready(workspace, settings=None):
    node = single(workspace, settings)
    node.wait_ready()
    wait_for(lambda: http_request(node.admin, "POST", "/v1/probe")[0] == 200, "a probe")
    return node


def healthy(node):
    expect(node.running(), "the node ended: %s" % node.tail())
    with Client(node.client) as client:
        expect(client("SET", "healthy", "yes") == b"OK" and client("GET", "healthy") == b"yes", "the node does not serve")
    expect(http_request(node.admin, "GET", "/readyz")[0] == 200, "/readyz")


# Clients

def oversized(workspace):
    node = single_ready(workspace)
    with Client(node.client, 60) as client:
        client("SET", "big", "small")
        reply = client("SET", "big", b"x" * (33 << 20))
        expect(isinstance(reply, Error), "33 MiB: %r" % reply)
        print("  33 MiB: %s" % reply)
        expect(client("GET", "big") == b"small", "the connection or the value after an oversized command")
        expect(client("SET", "big", b"y" * (7 << 20)) == b"OK", "7 MiB")
        expect(client("GET", "big") == b"y" * (7 << 20), "7 MiB read back")
        replies = client.pipeline([("SET", "a", "1"), ("SET", "a", b"x" * (33 << 20)), ("GET", "a")])
        expect(replies[0] == b"OK" and isinstance(replies[1], Error) and replies[2] == b"1", "in a pipeline: %r" % replies)
        big = ["MGET"] + [b"k" * 1000] * 42500
        expect(isinstance(client(*big), Error), "many arguments of 42 MB together")
        expect(client("PING") == b"PONG", "PING after it")
    healthy(node)


def protocol_errors(workspace):
    node = single_ready(workspace)
    for sent, wanted in ((b"*2\r\n$3\r\nGET\r\n$536870913\r\n", "ERR Protocol error: invalid bulk length"),
                         (b"*2\r\n$3\r\nGET\r\n$-5\r\n", "ERR Protocol error: invalid bulk length"),
                         (b"*2\r\n$3\r\nGET\r\n$abc\r\n", "ERR Protocol error: invalid bulk length"),
                         (b"*1048577\r\n", "ERR Protocol error: invalid multibulk length"),
                         (b"*abc\r\n", "ERR Protocol error: invalid multibulk length"),
                         (b"*1\r\n+PING\r\n", "ERR Protocol error: expected '$', got '+'"),
                         (b"x" * 70000, "ERR Protocol error: too big inline request"),
                         (b'SET "a\r\n', "ERR Protocol error: unbalanced quotes in request")):
        with Client(node.client) as client:
            client.socket.sendall(encode("PING") + sent)
            expect(client.read() == b"PONG", "what came before %r" % sent[:40])
            reply = client.read()
            expect(reply == wanted, "%r: %r, not %r" % (sent[:40], reply, wanted))
            try:
                expect(client.file.read(1) == b"", "the connection lives on after %r" % sent[:40])
            except ConnectionError:
                pass
    rng = random.Random(7)
    for _ in range(300):
        with Client(node.client) as client:
            try:
                client.socket.sendall(rng.choice([b"", b"*", b"$", b"*3\r\n", encode("SET", "k", "v")]) + rng.randbytes(rng.randrange(200)) + b"\r\n")
            except OSError:
                pass
    healthy(node)


def arity_and_type(workspace):
    node = single_ready(workspace)
    with Client(node.client) as client:
        client.pipeline([("SET", "s", "text"), ("HSET", "h", "f", "1")])
        for argv, wanted in ((("GET",), "ERR wrong number of arguments for 'get' command"),
                             (("SET", "a"), "ERR wrong number of arguments for 'set' command"),
                             (("HSET", "h", "f"), "ERR wrong number of arguments for 'hset' command"),
                             (("NOSUCH", "a"), "ERR unknown command 'NOSUCH', with args beginning with: 'a' "),
                             (("GET", "h"), "WRONGTYPE Operation against a key holding the wrong kind of value"),
                             (("HGET", "s", "f"), "WRONGTYPE Operation against a key holding the wrong kind of value"),
                             (("INCR", "s"), "ERR value is not an integer or out of range"),
                             (("SET", "a", "b", "EX", "0"), "ERR invalid expire time in 'set' command"),
                             (("SET", "a", "b", "NX", "XX"), "ERR syntax error"),
                             (("EXPIRE", "s", "x"), "ERR value is not an integer or out of range"),
                             (("SELECT", "1"), None), (("CLIENT", "NOSUCH"), None)):
            reply = client(*argv)
            expect(isinstance(reply, Error) and (wanted is None or reply == wanted), "%s: %r, not %r" % (argv, reply, wanted))
        expect(client("GET", "s") == b"text", "the connection afterwards")
    healthy(node)


def half_open(workspace):
    cluster = Cluster(workspace.path, 3).start()
    node = cluster.nodes[0]
    files = metrics(node.admin)["cairn_process_open_fds"]
    left = []
    for i in range(300):
        for port in (node.client, node.peer, node.admin):
            s = socket.create_connection(("127.0.0.1", port), 5)
            if i % 3 == 1 and port != node.peer:  # which turns strangers away once many wait
                s.sendall({node.client: b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10\r\nab", node.admin: b"GET /live"}[port])
            left.append(s)
    with Client(node.client) as client:
        expect(client("SET", "still", "here") == b"OK", "clients are served beside 300 that say nothing")
    expect(http_request(node.admin, "GET", "/readyz")[0] == 200, "the admin port beside 300 that say nothing")
    healthy(node)
    for s in left:  # one half is closed in order, the other reset
        if id(s) % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        s.close()
    wait_for(lambda: metrics(node.admin)["cairn_process_open_fds"] < files + 30, "the descriptors of 900 closed connections", 30, 0.1)
    healthy(node)


def peer_port_garbage(workspace):
    cluster = Cluster(workspace.path, 3).start()
    node = cluster.nodes[0]
    rng = random.Random(3)
    with Client(node.client) as client:
        for i in range(200):
            client("SET", "kept%d" % i, i)
    for kind in range(400):
        s = socket.create_connection(("127.0.0.1", cluster.nodes[kind % 3].peer), 5)
        s.settimeout(5)
        data = [rng.randbytes(rng.randrange(1, 500)), b"\xff" * 64, b"\x00" * 4096, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", encode("PING"),
                b"CAIRN" + rng.randbytes(60), b"\x7f\xff\xff\xff" * 30][kind % 7]
        try:
            s.sendall(data)
        except OSError:
            pass
        s.close()
    for n in cluster.nodes:
        healthy(n)
    with Client(cluster.nodes[2].client) as client:
        expect([client("GET", "kept%d" % i) for i in range(200)] == [str(i).encode() for i in range(200)], "values afterwards")


class Proxy(threading.Thread):
    """Stands in front of a peer port; while `damage` is set it flips bits, both ways."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target, self.damage, self.flipped, self.ending = target, False, 0, False
        self.server = socket.socket()
        self.server.bind(("127.0.0.1", 0))
        self.server.listen(64)
        self.port = self.server.getsockname()[1]
        self.rng = random.Random(11)

    def run(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.server, selectors.EVENT_READ, None)
            while not self.ending:
                for item, _ in selector.select(0.1):
                    if item.data is None:
                        near, _ = self.server.accept()
                        try:
                            far = socket.create_connection(("127.0.0.1", self.target), 2)
                        except OSError:
                            near.close()
                            continue
                        for a, b in ((near, far), (far, near)):
                            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                            selector.register(a, selectors.EVENT_READ, b)
                        continue
                    try:
                        data = bytearray(item.fileobj.recv(1 << 16))
                        if data and self.damage and self.rng.random() < 0.02:
                            data[-1] ^= 1 << self.rng.randrange(8)  # a payload's last byte: never a length
                            self.flipped += 1
                        if data:
                            item.data.sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        for s in (item.fileobj, item.data):
                            try:
                                selector.unregister(s)
                            except (KeyError, ValueError):
                                pass
                            s.close()


def peer_frames_damaged(workspace):
    """The connections to one node pass through a proxy that flips bits, under load."""
    cluster = Cluster(workspace.path, 3)
    proxy = Proxy(cluster.nodes[2].peer)
    proxy.start()
    file = cluster.nodes[2].file
    with open(file) as f:
        text = f.read()
    with open(file, "w") as out:
        out.write(text.replace("peer:\n", 'peer:\n  advertise: "127.0.0.1:%d"\n' % proxy.port))
    cluster.start()
    load = Load(cluster.ports(), keys=2000, rate=3000)
    load.start()
    wait_for(lambda: load.writes > 2000, "load", 30)
    proxy.damage = True
    wait_for(lambda: proxy.flipped >= 60, "60 damaged frames", 30)
    proxy.damage = False
    print("  %d bits flipped, %d connections lost at node 1" % (
        proxy.flipped, metrics(cluster.nodes[0].admin)['cairn_peer_disconnects_total{transport="data"}']))
    cluster.wait_ready()
    cluster.wait_caught_up()
    check_history(load, cluster)
    load.stop()
    for node in cluster.nodes:
        healthy(node)
    proxy.ending = True


def admin_port_garbage(workspace):
    node = single_ready(workspace)
    rng = random.Random(5)
    for sent in (b"\x00\xff" * 300, b"GET", b"GET /livez\r\n\r\n", b"POST /livez HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
                 b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n", rng.randbytes(5000)):
        with socket.create_connection(("127.0.0.1", node.admin), 5) as s:
            s.settimeout(5)
            try:
                s.sendall(sent)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    for method, path, wanted in (("GET", "/nosuch", 404), ("DELETE", "/livez", 405), ("GET", "/v1/ranges/999999", 404),
                                 ("GET", "/v1/ranges/x", 400), ("GET", "/v1/ranges?key=%zz", 400),
                                 ("GET", "/v1/ranges?keyspace=nosuch", 404), ("GET", "/livez", 200), ("GET", "/v1/cluster", 200),
                                 ("GET", "/v1/nodes", 200), ("GET", "/v1/ranges", 200), ("GET", "/metrics", 200)):
        status, text = http_request(node.admin, method, path)
        expect(status == wanted, "%s %s answers %d, not %d: %s" % (method, path, status, wanted, text[:200]))
    expect(all(n.startswith("cairn_") for n in metrics(node.admin)), "a metric is not named cairn_")
    healthy(node)


def auth(workspace):
    node = single_ready(workspace, {"requirepass": "secret"})
    with Client(node.client) as client:
        expect(client("GET", "a") == "NOAUTH Authentication required.", "GET without AUTH")
        expect(str(client("AUTH", "wrong")).startswith("WRONGPASS"), "AUTH wrong")
        expect(str(client("HELLO", "3")).startswith("NOAUTH"), "HELLO without AUTH")
        expect(client("AUTH", "secret") == b"OK" and client("SET", "a", "1") == b"OK", "AUTH")
    with Client(node.client) as client:
        expect(isinstance(client("HELLO", "3", "AUTH", "default", "secret"), Map) and client("GET", "a") == b"1", "HELLO AUTH")


# Starting

def refused(arguments, code, *words, cwd="/", limit=15):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=limit, cwd=cwd, stdin=subprocess.DEVNULL)
    text = done.stdout + done.stderr
    expect(done.returncode == code, "%s ends with %d, not %d: %s" % (" ".join(arguments), done.returncode, code, text[-300:]))
    for word in words:
        expect(word in text, "%s does not say %r: %s" % (" ".join(arguments), word, text[-300:]))


def configuration(workspace):
    base = free_base(2)
    file = os.path.join(workspace.path, "c.yaml")
    values = {"data_dir": "data", "client.listen": "127.0.0.1:%d" % base, "peer.listen": "127.0.0.1:%d" % (base + 1000),
              "admin.listen": "127.0.0.1:%d" % (base + 2000)}
    start = ["start", "--config", file]

    def with_(**changes):
        v = dict(values)
        v.update({k.replace("__", "."): x for k, x in changes.items()})
        write_config(file, v)
    with_()
    with open(file, "a") as out:
        out.write("requirepas: x\n")
    line = len(open(file).read().splitlines())
    refused(start + ["--bootstrap"], 2, file + ":%d" % line, "requirepas", "`requirepass`")
    refused(["config", "check", file], 2, file + ":%d" % line, "`requirepass`")
    with_()
    refused(["config", "check", file], 0)
    refused(start, 2, "--bootstrap", "--join")  # neither data nor a way to a cluster
    refused(start + ["--bootstrap", "--storage.memtable_byte=1"], 2, "storage.memtable_bytes")
    refused(start + ["--bootstrap", "--storage.memtable_bytes=lots"], 2, "storage.memtable_bytes")
    refused(start + ["--join", "nowhere"], 2, "HOST:PORT")
    refused(["start", "--config", file + ".none", "--bootstrap"], 2, "cannot be read")
    with_(client__listen="0.0.0.0:%d" % base)
    refused(start + ["--bootstrap"], 2, "requirepass", "peer.secret", "insecure")
    with_(client__listen="0.0.0.0:%d" % base, requirepass="x")
    refused(start + ["--bootstrap"], 2, "peer.secret")
    with_(peer__listen="0.0.0.0:%d" % (base + 1000), peer__secret="x")
    refused(start + ["--bootstrap"], 2, "requirepass")
    expect(not os.path.exists(os.path.join(workspace.path, "data", "IDENTITY")), "a refused start left an identity behind")
    refused(["demo", "--nodes", "0", "--dir", workspace.sub("d")], 2)
    refused(["nosuch"], 2)
    for settings in ({"insecure": True}, {"requirepass": "x", "peer.secret": "y"}):
        node = single(workspace, dict(values, **{"client.listen": "0.0.0.0:%d" % base}, **settings), name="open%d" % len(settings))
        node.admin = base + 2000
        node.client = base
        node.wait_ready()
        node.terminate()


def in_use(workspace):
    node = single_ready(workspace)
    other = free_base(1)
    second = os.path.join(workspace.path, "second.yaml")
    write_config(second, {"data_dir": os.path.join(node.directory, "data"), "client.listen": "127.0.0.1:%d" % other,
                          "peer.listen": "127.0.0.1:%d" % (other + 1000), "admin.listen": "127.0.0.1:%d" % (other + 2000)})
    refused(["start", "--config", second], 3, os.path.join(node.directory, "data"))
    for taken in ("client", "peer", "admin"):
        values = {"data_dir": "data2", "client.listen": "127.0.0.1:%d" % other, "peer.listen": "127.0.0.1:%d" % (other + 1000),
                  "admin.listen": "127.0.0.1:%d" % (other + 2000)}
        values[taken + ".listen"] = "127.0.0.1:%d" % getattr(node, taken)
        write_config(second, values)
        refused(["start", "--config", second, "--bootstrap"], 3, str(getattr(node, taken)))
    healthy(node)
    node.kill()
    node.start().wait_ready()  # a lock of a killed process does not stay
    healthy(node)


def sigterm(workspace):
    cluster = Cluster(workspace.path, 3).start()
    with Client(cluster.nodes[0].client) as client:
        for i in range(100):
            client("SET", "t%d" % i, i)
    busy = Client(cluster.nodes[2].client)  # an open connection holds nothing up
    code, took = cluster.nodes[2].terminate()
    print("  with a quorum: exit %d after %.2f s" % (code, took))
    expect(code == 0 and took < 5, "SIGTERM with a quorum: exit %d after %.2f s" % (code, took))
    busy.close()
    cluster.nodes[1].kill()
    pending = Client(cluster.nodes[0].client)
    pending.send("SET", "t0", "waits for a quorum")
    code, took = cluster.nodes[0].terminate()
    print("  without one: exit %d after %.2f s" % (code, took))
    expect(code == 0 and took < 5, "SIGTERM without a quorum: exit %d after %.2f s" % (code, took))
    pending.close()
    cluster.start()
    with Client(cluster.nodes[1].client) as client:
        expect([client("GET", "t%d" % i) for i in range(1, 100)] == [str(i).encode() for i in range(1, 100)], "values after it all")


# Demo

def demo_contracts(workspace):
    directory = workspace.sub("demo")
    with open(os.path.join(directory, "mine.txt"), "w") as out:
        out.write("left alone")
    demo = Demo(directory)
    took = demo.wait_ready()
    print("  READY after %.2f s" % took)
    port = demo.port
    pids = demo.pids()
    expect(len(pids) == 3 and [int(info(p)["process_id"]) for p in demo.ports()] == pids, "the pids printed and those in INFO")
    for i in range(3):
        expect(http_get(demo.admin(i), "/livez").strip() == "ok", "admin port of node %d" % (i + 1))
        with Client(demo.port + i) as client:
            expect(client("DBSIZE") == 0, "the probe is among the users' keys")
            expect(client("SET", "kept%d" % i, "x") == b"OK", "SET")
            client("DEL", "kept%d" % i)
    with Client(port) as client:
        client("SET", "kept", "over the end")
    for arguments in (["--nodes", "2"], ["--port", str(port + 10)], ["--sharding", "whole"]):
        refused(["demo", "--dir", directory, *arguments], 2, arguments[0])
    expect(demo.stop() == 0, "the demo's exit code")
    expect(all(gone(p) for p in pids), "a node outlived its demo")
    demo = Demo(directory, name_nodes=False, port=port)
    demo.wait_ready()
    with Client(port + 2) as client:
        expect(client("GET", "kept") == b"over the end", "the resumed demo's data")
    # A node that dies is reported and stays dead.
    victim = demo.pids()[2]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: gone(victim), "the end of the node")
    demo.wait_line("node 3")
    with Client(port) as client:
        expect(client("SET", "kept", "with two") == b"OK", "a write with two nodes")
    # The parent is killed: all children end.
    pids = demo.pids()
    demo.process.kill()
    demo.process.wait()
    wait_for(lambda: all(gone(p) for p in pids), "the end of all nodes after kill -9 of the demo", 10)
    # Each file is complete.
    nodes = []
    for i in range(3):
        node = Node(os.path.join(directory, "node%d" % (i + 1)), port + i, i + 1)
        nodes.append(node.start(cwd=workspace.sub("elsewhere")))
    for node in nodes:
        node.wait_ready()
    with Client(port + 1) as client:
        expect(client("GET", "kept") == b"with two", "data of the nodes started one by one")
    for node in nodes:
        node.terminate()
    expect(open(os.path.join(directory, "mine.txt")).read() == "left alone", "a file of somebody else")


def demo_ephemeral(workspace):
    demo = Demo(None, arguments=["--ephemeral", "--log.level=debug"], cwd=workspace.path)
    demo.wait_ready()
    directory = next(m.group(1) for m in (re.match(r"data in (\S+)", l) for l in demo.lines) if m)
    expect("level: debug" in open(os.path.join(directory, "node2", "cairn.yaml")).read(), "--a.b_c=value in every node's file")
    expect(demo.stop() == 0 and not os.path.exists(directory), "%s is still there" % directory)
    expect(os.listdir(workspace.path) == [], "an ephemeral demo left files in its working directory")
    demo = Demo(None, cwd=workspace.path, nodes=1)
    demo.wait_ready()
    demo.process.send_signal(signal.SIGINT)
    expect(demo.process.wait(10) == 0, "SIGINT")
    expect(os.path.exists(os.path.join(workspace.path, "cairn-demo", "node1", "cairn.yaml")), "./cairn-demo by default")


# Full disk

def full_disk(workspace, nodes=1):
    disk = workspace.sub("disk")
    # The namespace is made by a process that then waits; nodes enter it with nsenter.
    keeper = subprocess.Popen(["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=160m none '%s' && echo mounted && exec cat" % disk],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    node = None
    try:
        expect(keeper.stdout.readline().strip() == "mounted", "no tmpfs: this test needs root")
        inside = ["nsenter", "-t", str(keeper.pid), "-m"]

        def disk_path(name):
            return "/proc/%d/root%s/%s" % (keeper.pid, disk, name)
        node = Node(os.path.join(workspace.path, "node1"), free_base(1), 1,
                    {"data_dir": os.path.join(disk, "data"), "storage.memtable_bytes": 1 << 20, "storage.log_budget_bytes": 64 << 20},
                    ["--bootstrap", "--initial-nodes", "1"])
        node.start(prefix=inside)
        node.wait_ready()
        wait_for(lambda: http_request(node.admin, "POST", "/v1/probe")[0] == 200, "a probe")
        filler = disk_path("filler")
        room = os.statvfs(disk_path(""))
        with open(filler, "wb") as out:
            out.write(b"\0" * max(0, room.f_bavail * room.f_frsize - (40 << 20)))
        acked, refusals, other = {}, 0, []
        with Client(node.client, 30) as client:
            end = time.monotonic() + 60
            i = 0
            while refusals < 50 and time.monotonic() < end:
                keys = ["full%d" % (i + j) for j in range(16)]
                for key, reply in zip(keys, client.pipeline([("SET", k, (k + ".").encode() * 800) for k in keys])):
                    if reply == b"OK":
                        acked[key] = (key + ".").encode() * 800
                    elif isinstance(reply, Error) and reply.startswith("MISCONF"):
                        refusals += 1
                    else:
                        other.append(str(reply))
                i += 16
                expect(node.running(), "the node ended on a full disk: %s" % node.tail())
            expect(refusals >= 50, "no MISCONF on a full disk; %d acknowledged, other replies %s" % (len(acked), other[:3]))
            expect(not other, "replies other than OK and MISCONF: %s" % other[:3])
            print("  %d acknowledged before MISCONF" % len(acked))
            sample = random.Random(1).sample(sorted(acked), min(300, len(acked)))
            for key in sample:
                expect(client("GET", key) == acked[key], "%s while the disk is full" % key)
            reply = client("DEL", sample[0])
            expect(reply == 1 or (isinstance(reply, Error) and reply.startswith("MISCONF")), "DEL: %r" % reply)
            print("  DEL on a full disk: %s" % (reply if isinstance(reply, Error) else "done"))
            if reply == 1:
                acked.pop(sample[0])
            os.unlink(filler)
            wait_for(lambda: client("SET", "after", "space") == b"OK", "writes after space was freed", 30, 0.05)
            for key, value in acked.items():
                expect(client("GET", key) == value, "%s after space was freed" % key)
        node.kill()
        node.start(prefix=inside)
        node.wait_ready()
        wait_for(lambda: http_request(node.admin, "POST", "/v1/probe")[0] == 200, "a probe after the restart")
        with Client(node.client, 30) as client:
            lost = [k for k, v in acked.items() if client("GET", k) != v]
        expect(not lost, "%d acknowledged keys lost after kill -9: %s" % (len(lost), lost[:3]))
    finally:
        if node:
            node.kill()
        keeper.stdin.close()
        keeper.wait(10)


def main():
    runner = Runner(__doc__)
    for check in (oversized, protocol_errors, arity_and_type, half_open, peer_port_garbage, peer_frames_damaged, admin_port_garbage, auth, configuration,
                  in_use, sigterm, demo_contracts, demo_ephemeral, full_disk):
        runner.check("bad_input_" + check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
