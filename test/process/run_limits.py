#!/usr/bin/env python3
"""Bounds of client connections: each with its answer, its counter, and everybody else served as before."""
import os
import signal
import socket
import time

from cluster import Cluster, Node, Runner, client_fields, expect, free_base, info, metrics, wait_for
from resp import Client, Error, encode
from run_bad_input import healthy, single_ready


def closed(node, reason):
    return metrics(node.admin)['cairn_resp_closed_connections_total{reason="%s"}' % reason]


def ended(sock, limit=10.0):
    """True once the other side has closed; what it still sends is thrown away."""
    sock.settimeout(limit)
    try:
        while sock.recv(1 << 20):
            pass
        return True
    except (ConnectionError, BrokenPipeError):
        return True
    except TimeoutError:
        return False


def take(sock, size):
    data = bytearray()
    while len(data) < size:
        got = sock.recv(size - len(data))
        expect(got, "the connection ended")
        data += got
    return bytes(data)


def half_closed(workspace):
    """A client that has sent everything and says so gets all its answers, then the end."""
    node = single_ready(workspace)
    with Client(node.client) as client:
        client("SET", "k", b"x" * 1_000_000)
    with Client(node.client) as client:
        client.socket.sendall(encode("SET", "a", "b") + encode("GET", "a") + encode("GET", "k") * 30)
        client.socket.shutdown(socket.SHUT_WR)
        expect(client.read() == b"OK" and client.read() == b"b", "the answers of a client that sends no more")
        for i in range(30):
            expect(client.read() == b"x" * 1_000_000, "large answer %d" % i)
        expect(ended(client.socket), "its end")
    wait_for(lambda: info(node.client, "clients")["connected_clients"] == "1", "the connection is gone")
    healthy(node)


def pings_are_fast(node, what, limit=0.5):
    with Client(node.client) as client:
        began = time.monotonic()
        for _ in range(50):
            expect(client("PING") == b"PONG", "PING beside %s" % what)
        expect(time.monotonic() - began < limit, "50 PINGs beside %s take %.2f s" % (what, time.monotonic() - began))


def max_clients(workspace):
    node = single_ready(workspace, {"client.max": 5})
    held = [Client(node.client) for _ in range(5)]
    for client in held:
        expect(client("PING") == b"PONG", "one of five")
    with Client(node.client) as sixth:
        expect(sixth.read() == "ERR max number of clients reached", "the sixth")
        expect(ended(sixth.socket), "the sixth stays connected")
    expect(metrics(node.admin)["cairn_resp_rejected_connections_total"] == 1, "the counter")
    expect(held[0]("CONFIG", "SET", "maxclients", "6") == b"OK", "more are allowed")
    with Client(node.client) as sixth:
        expect(sixth("PING") == b"PONG", "the sixth, now")
    for client in held:
        client.close()
    healthy(node)


def few_descriptors(workspace):
    """As many clients as there are descriptors for; the log and INFO tell."""
    node = Node(workspace.sub("node"), free_base(), flags=["--bootstrap", "--initial-nodes", "1"])
    node.start(prefix=["prlimit", "--nofile=100:400"]).wait_ready()
    expect(info(node.client, "clients")["maxclients"] == "300", "maxclients: %s" % info(node.client, "clients"))
    with open(os.path.join(node.directory, "log")) as log:
        expect("client.max is 10000, but this process may have 400 descriptors: 300 clients at most" in log.read(), "the log")
    held = [Client(node.client) for _ in range(300)]
    for client in held:
        expect(client("PING") == b"PONG", "one of 300")
    with Client(node.client) as more:
        expect(more.read() == "ERR max number of clients reached", "one more")
    expect(held[0]("SET", "a", "b") == b"OK", "SET")
    for client in held:
        client.close()
    healthy(node)


def query_buffer(workspace):
    node = single_ready(workspace, {"client.query_buffer_bytes": "1MiB"})
    with Client(node.client) as client:
        expect(client("SET", "k", b"x" * 1_000_000) == b"OK", "a command below the limit")
        try:
            client.socket.sendall(encode("SET", "k", b"x" * 3_000_000))
        except OSError:
            pass
        expect(ended(client.socket), "a command above the query buffer")
    wait_for(lambda: closed(node, "query_buffer") == 1, "the counter")
    healthy(node)


def hard_output(workspace):
    node = single_ready(workspace, {"client.output_hard_bytes": "4MiB"})
    with Client(node.client) as client:
        client("SET", "k", b"x" * 1_000_000)
        # Reading along is fine, however much it is.
        for _ in range(10):
            expect(client.pipeline([("GET", "k")] * 3) == [b"x" * 1_000_000] * 3, "30 MB, read as they come")
    # Who does not read waits with his commands.
    deaf = socket.create_connection(("127.0.0.1", node.client), 10)
    deaf.sendall(encode("GET", "k") * 400)
    wait_for(lambda: client_fields(node.client, deaf)["qbuf"] != "0", "commands of a deaf client that wait")
    pings_are_fast(node, "a deaf client")
    fields = client_fields(node.client, deaf)
    expect(int(fields["obl"]) < 2_500_000 and int(fields["tot-mem"]) < 3_000_000, "a deaf client takes %r" % fields)
    expect(closed(node, "output_buffer") == 0, "the deaf client was closed")
    for i in range(400):
        expect(take(deaf, 1_000_012)[-2:] == b"\r\n", "reply %d of a client that reads after all" % i)
    # One reply above the limit.
    deaf.sendall(encode("MGET", *["k"] * 20))
    wait_for(lambda: closed(node, "output_buffer") == 1, "a client that does not read is closed")
    pings_are_fast(node, "a deaf client")
    expect(ended(deaf), "its connection")
    expect(info(node.client, "stats")["client_output_buffer_limit_disconnections"] == "1", "INFO")
    healthy(node)


def deaf_through_another(workspace):
    """A client that reads nothing and asks a node that does not lead its key for 1 GB: that node holds little of it."""
    cluster = Cluster(workspace.sub("cluster"), 3).start()
    with Client(cluster.nodes[0].client) as client:
        client("SET", "k", b"x" * 1_000_000)
    leader = cluster.leader_of("k")
    node = next(n for n in cluster.nodes if n is not leader)
    deaf = socket.create_connection(("127.0.0.1", node.client), 10)
    deaf.sendall(encode("GET", "k") * 1000)
    wait_for(lambda: int(client_fields(node.client, deaf)["obl"]) > 900_000, "replies that nobody reads")
    pings_are_fast(node, "a deaf client")
    fields = client_fields(node.client, deaf)
    expect(int(fields["tot-mem"]) < 16_000_000, "a deaf client takes %r" % fields)
    for i in range(1000):
        expect(take(deaf, 1_000_012)[-2:] == b"\r\n", "reply %d of a client that reads after all" % i)
    healthy(node)
    cluster.kill()


def soft_output(workspace):
    node = single_ready(workspace, {"client.output_soft_bytes": "2MiB", "client.output_soft_time": "1s"})
    with Client(node.client) as client:
        client("SET", "k", b"x" * 1_000_000)
    deaf = socket.create_connection(("127.0.0.1", node.client), 10)
    slow = socket.create_connection(("127.0.0.1", node.client), 10)
    for sock in (deaf, slow):
        sock.sendall(encode("MGET", *["k"] * 25))
    began, taken = time.monotonic(), 0
    while closed(node, "output_buffer") == 0:
        expect(time.monotonic() - began < 10, "the deaf client was not closed")
        if taken < 23_000_000:  # slow, but faster than the limit asks for
            taken += len(slow.recv(65536))
        pings_are_fast(node, "a slow and a deaf client")
    expect(time.monotonic() - began >= 0.9, "closed after %.2f s" % (time.monotonic() - began))
    expect(ended(deaf), "the deaf client")
    want = len(b"*25\r\n") + 25 * (1_000_000 + len(b"$1000000\r\n\r\n"))
    slow.settimeout(10)
    while taken < want:
        data = slow.recv(1 << 20)
        expect(data, "the slow client was closed after %d of %d bytes" % (taken, want))
        taken += len(data)
    healthy(node)


def before_login(workspace):
    node = single_ready(workspace, {"requirepass": "secret", "client.login_timeout": "1s"})
    for sent, wanted in ((b"*11\r\n", "ERR Protocol error: unauthenticated multibulk length"),
                         (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length")):
        with Client(node.client) as client:
            client.socket.sendall(sent)
            expect(client.read() == wanted, "%r" % sent)
            expect(ended(client.socket), "open after %r" % sent)
    with Client(node.client) as client:
        client.socket.sendall(b"*2\r\n$4\r\nAUTH\r\n$16384\r\n" + b"x" * 16384 + b"\r\n")
        expect(str(client.read()).startswith("WRONGPASS"), "a password of 16 KiB")
    # Nobody fills memory with errors that he does not read.
    deaf = socket.create_connection(("127.0.0.1", node.client), 10)
    deaf.settimeout(1)
    try:
        for _ in range(400):
            deaf.sendall(b"PING\r\n" * 2000)
    except OSError:
        pass
    wait_for(lambda: closed(node, "output_buffer") == 1, "a stranger who does not read is closed")
    idle = socket.create_connection(("127.0.0.1", node.client), 10)
    logged_in = Client(node.client)
    expect(logged_in("AUTH", "secret") == b"OK", "AUTH")
    began = time.monotonic()
    expect(ended(idle, 5), "a stranger who says nothing")
    expect(0.5 < time.monotonic() - began < 3, "after %.2f s" % (time.monotonic() - began))
    expect(closed(node, "login") >= 1, "the counter")
    expect(logged_in("PING") == b"PONG", "who has logged in stays")
    # A new password is asked of new connections; who is in stays in.
    expect(logged_in("CONFIG", "SET", "requirepass", "other") == b"OK" and logged_in("PING") == b"PONG", "a new password")
    with Client(node.client) as client:
        expect(str(client("AUTH", "secret")).startswith("WRONGPASS") and client("AUTH", "other") == b"OK", "old and new password")


def idle(workspace):
    node = single_ready(workspace)
    with Client(node.client) as quiet, Client(node.client) as busy:
        expect(busy("CONFIG", "SET", "timeout", "1") == b"OK", "timeout")
        ends = time.monotonic() + 8
        quiet.socket.setblocking(False)
        gone = False
        while not gone and time.monotonic() < ends:
            expect(busy("PING") == b"PONG", "who talks stays")
            try:
                gone = quiet.socket.recv(10) == b""
            except BlockingIOError:
                pass
            except OSError:
                gone = True
        expect(gone, "who is silent is disconnected")
        expect(busy("CONFIG", "SET", "timeout", "0") == b"OK", "off again")
    expect(closed(node, "idle") == 1, "the counter")
    healthy(node)


def keepalive(workspace):
    node = single_ready(workspace, {"client.tcp_keepalive": "77s"})
    with Client(node.client) as client:
        client("PING")
        sent = os.popen("ss -Htno state established '( sport = :%d )'" % node.client).read()
        expect("timer:(keepalive,1min1" in sent or "timer:(keepalive,1min" in sent, "no keepalive of 77 s: %s" % sent)


def pause_and_kill(workspace):
    node = single_ready(workspace)
    with Client(node.client) as admin, Client(node.client) as writer, Client(node.client) as victim:
        expect(admin("CLIENT", "PAUSE", "600", "WRITE") == b"OK", "PAUSE")
        began = time.monotonic()
        expect(writer("GET", "a") is None, "reads go on")
        expect(writer("SET", "a", "1") == b"OK" and time.monotonic() - began > 0.5, "a write waits")
        number = victim("CLIENT", "ID")
        expect(admin("CLIENT", "KILL", "ID", str(number)) == 1, "KILL")
        expect(ended(victim.socket), "the victim")
        expect(closed(node, "killed") == 1, "the counter")
    healthy(node)


def http(workspace):
    node = single_ready(workspace)
    for text in (b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET evil 1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nSET evil 1\r\n",
                 b"host: x\r\nSET evil 1\r\n", b"*1\r\n$4\r\nPOST\r\n*3\r\n$3\r\nSET\r\n$4\r\nevil\r\n$1\r\n1\r\n"):
        with socket.create_connection(("127.0.0.1", node.client), 5) as s:
            s.sendall(text)
            expect(ended(s, 5), "open after %r" % text)
    with Client(node.client) as client:
        expect(client("GET", "evil") is None, "a command of a web page was run")
    healthy(node)


def reload(workspace):
    node = single_ready(workspace, {"client.max": 100})
    with open(node.file) as f:
        text = f.read()
    with Client(node.client) as client:
        def value(name):
            return client("CONFIG", "GET", name)[1]
        with open(node.file, "w") as f:
            f.write("# kept\n" + text.replace("100", "200"))
        os.kill(node.pid, signal.SIGHUP)
        wait_for(lambda: value("maxclients") == b"200", "the new value after SIGHUP")
        with open(node.file, "w") as f:
            f.write(text.replace("100", "lots"))
        os.kill(node.pid, signal.SIGHUP)
        wait_for(lambda: "not reloaded" in node.tail(20), "a line in the log")
        expect(value("maxclients") == b"200", "a wrong file changed something")
        with open(node.file, "w") as f:
            f.write("# kept\n" + text)
        expect(isinstance(client("CONFIG", "SET", "maxclients", "300", "timeout", "x"), Error), "half a CONFIG SET")
        expect(value("maxclients") == b"200", "all or nothing")
        expect(client("CONFIG", "SET", "maxclients", "300", "slowlog-max-len", "5") == b"OK", "CONFIG SET")
        expect(client("CONFIG", "REWRITE") == b"OK", "CONFIG REWRITE")
    with open(node.file) as f:
        text = f.read()
    expect(text.startswith("# kept\n") and "max: 300" in text and "max_len: 5" in text, "the file: %s" % text)
    node.terminate()
    node.start()
    node.wait_ready()
    with Client(node.client) as client:
        expect(client("CONFIG", "GET", "maxclients", "slowlog-max-len") in ([b"maxclients", b"300", b"slowlog-max-len", b"5"],), "after a restart")
    healthy(node)


def main():
    runner = Runner(__doc__)
    for check in (max_clients, few_descriptors, query_buffer, half_closed, hard_output, deaf_through_another, soft_output,
                  before_login, idle, keepalive, pause_and_kill, http, reload):
        runner.check(check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
