"""Starts, finds, stops and kills real nodes. Every process is ended by its own pid; nothing is waited for by sleeping."""
import argparse
import atexit
import http.client
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

from resp import Client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("CAIRND", os.path.join(ROOT, "build", "release", "cairnd"))


class Failure(Exception):
    pass


class BadStatus(Failure, ValueError):
    """An HTTP answer other than 200: to wait_for() it means not yet."""


def expect(good, what):
    if not good:
        raise Failure(what)


def wait_for(condition, what, limit=20.0, pause=0.01):
    """Polls until `condition` gives something true; errors of sockets and HTTP count as not yet."""
    end, last = time.monotonic() + limit, None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, http.client.HTTPException, ValueError) as error:
            last = error
        if time.monotonic() > end:
            raise Failure("not within %g s: %s%s" % (limit, what, " (%s)" % last if last else ""))
        time.sleep(pause)


def free_base(count=1):
    """A port P with P..P+count-1, and the same at +1000 and +2000, free on loopback."""
    for attempt in range(200):
        base = 10000 + (os.getpid() * 37 + attempt * 101 + time.monotonic_ns() // 1000) % 18000
        held = []
        try:
            for offset in (0, 1000, 2000):
                for i in range(count):
                    s = socket.socket()
                    held.append(s)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", base + offset + i))
            return base
        except OSError:
            continue
        finally:
            for s in held:
                s.close()
    raise Failure("no free ports")


def http_request(port, method, path, timeout=5.0):
    """(status, text)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def http_get(port, path, timeout=5.0):
    status, text = http_request(port, "GET", path, timeout)
    if status != 200:
        raise BadStatus("GET %s at %d answers %d: %s" % (path, port, status, text[:200]))
    return text


def metrics(admin_port):
    """name or name{labels} -> value."""
    found = {}
    for line in http_get(admin_port, "/metrics").splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            found[name] = float(value)
    return found


_workspaces = []


class Workspace:
    """A temporary directory; kept when the test failed."""

    def __init__(self, name):
        self.path = tempfile.mkdtemp(prefix="cairn-%s-" % name)
        self.keep = False
        _workspaces.append(self)

    def sub(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path

    def remove(self):
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)


@atexit.register
def _clean():
    for workspace in _workspaces:
        workspace.remove()


def process_state(pid):
    """The state letter of /proc, or None when there is no such process."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def gone(pid):
    return process_state(pid) in (None, "Z", "X")


class Node:
    """One `cairnd start`."""

    def __init__(self, directory, client, number=1, settings=None, flags=(), peer=None, admin=None):
        self.directory, self.number = directory, number
        self.client, self.peer, self.admin = client, peer or client + 1000, admin or client + 2000
        self.flags, self.process = list(flags), None
        self.file = os.path.join(directory, "cairn.yaml")
        os.makedirs(directory, exist_ok=True)
        values = {"data_dir": "data", "client.listen": "127.0.0.1:%d" % self.client, "log.file": "log",
                  "peer.listen": "127.0.0.1:%d" % self.peer, "admin.listen": "127.0.0.1:%d" % self.admin}
        values.update(settings or {})
        if not os.path.exists(self.file):
            write_config(self.file, values)

    def start(self, prefix=(), binary=None, cwd="/"):
        self.out = open(os.path.join(self.directory, "out"), "ab")
        self.process = subprocess.Popen([*prefix, binary or BINARY, "start", "--config", self.file, *self.flags],
                                        stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out, cwd=cwd)
        self.out.close()
        _nodes.add(self)
        return self

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def ready(self):
        if not self.running():
            raise Failure("node %d ended with %s: %s" % (self.number, self.process and self.process.returncode, self.tail()))
        return http_request(self.admin, "GET", "/readyz")[0] == 200

    def wait_ready(self, limit=20.0):
        wait_for(self.ready, "node %d ready" % self.number, limit)
        return self

    def client_connection(self, timeout=10.0):
        return Client(self.client, timeout)

    def kill(self):
        if self.running():
            self.process.kill()
        if self.process:
            self.process.wait()

    def terminate(self, limit=5.0):
        """SIGTERM; (exit code, seconds it took)."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(limit + 5)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("node %d did not end within %g s of SIGTERM" % (self.number, limit + 5))
        return code, time.monotonic() - began

    def tail(self, lines=6):
        text = []
        for name in ("out", "log"):
            try:
                with open(os.path.join(self.directory, name), errors="replace") as f:
                    text += f.read().splitlines()[-lines:]
            except OSError:
                pass
        return " | ".join(text)


_nodes = set()


@atexit.register
def _end_nodes():
    for node in list(_nodes):
        if node.running() and process_state(node.pid) == "T":
            node.process.send_signal(signal.SIGCONT)
        node.kill()


def write_config(path, values):
    groups = {}
    for key, value in values.items():
        group, _, name = key.rpartition(".")
        groups.setdefault(group, []).append((name, value))
    with open(path, "w") as out:
        for group, items in sorted(groups.items()):
            indent = ""
            if group:
                out.write(group + ":\n")
                indent = "  "
            for name, value in items:
                out.write("%s%s: %s\n" % (indent, name, json.dumps(value) if isinstance(value, str) else str(value).lower()))


class Cluster:
    """Nodes started with `cairnd start`, each a child of the test, so that it can be killed and started again alone."""

    def __init__(self, directory, nodes=3, settings=None):
        self.base = free_base(nodes)
        self.nodes = []
        for i in range(nodes):
            flags = ["--bootstrap", "--initial-nodes", str(nodes)] if i == 0 else ["--join", "127.0.0.1:%d" % (self.base + 1000)]
            self.nodes.append(Node(os.path.join(directory, "node%d" % (i + 1)), self.base + i, i + 1, settings, flags))

    def start(self, limit=30.0):
        for node in self.nodes:
            node.start()
        return self.wait_ready(limit)

    def wait_ready(self, limit=30.0):
        """Ready, and a write of each node's own went through: before that the ranges may not exist yet."""
        end = time.monotonic() + limit
        for node in self.nodes:
            node.wait_ready(end - time.monotonic())
            wait_for(lambda: http_request(node.admin, "POST", "/v1/probe")[0] == 200, "a probe through node %d" % node.number,
                     end - time.monotonic())
        return self

    def ranges(self, ask=None):
        node = ask or next(n for n in self.nodes if n.running() and process_state(n.pid) != "T")
        return json.loads(http_get(node.admin, "/v1/ranges?keyspace=default"))

    def ranges_led_by(self, node):
        address = "127.0.0.1:%d" % node.client
        return [r for r in self.ranges() if r["leader"] and r["leader"]["client_addr"] == address]

    def wait_caught_up(self, limit=30.0, lag=2000):
        """Every range has a leader, and no replica is far behind it."""
        def look():
            ranges = self.ranges()
            return ranges and all(r["leader"] and all(p["match"] + lag >= r["commit"] and p["match"] > 0 and not p["snapshotting"]
                                                      for p in r["replicas"]) for r in ranges)
        wait_for(look, "all replicas caught up", limit, 0.05)

    def ports(self):
        return [node.client for node in self.nodes]

    def report_follower_reads(self, expected):
        """Reads that followers have answered since the nodes' last starts."""
        found = [metrics(node.admin) for node in self.nodes]
        served, rounds, passed_on = (int(sum(m["cairn_follower_reads%s_total" % name] for m in found))
                                     for name in ("", "_rounds", "_passed_on"))
        print("  follower reads=%d rounds=%d passed_on=%d" % (served, rounds, passed_on), flush=True)
        expect((served > 0) == expected, "%d reads were answered by followers" % served)

    def range_of(self, key, ask=None):
        node = ask or next(n for n in self.nodes if n.running() and process_state(n.pid) != "T")
        return json.loads(http_get(node.admin, "/v1/ranges?key=" + urllib.parse.quote(key)))

    def leader_of(self, key, limit=20.0):
        """The node that leads the key's range, as a confirmed leader tells it."""
        def look():
            leader = self.range_of(key)["leader"]
            if leader:
                port = int(leader["client_addr"].rsplit(":", 1)[1])
                return next(n for n in self.nodes if n.client == port)
            return None
        return wait_for(look, "a leader of the range of %s" % key, limit)

    def kill(self):
        for node in self.nodes:
            if node.running():
                node.process.kill()
        for node in self.nodes:
            node.kill()


class Demo:
    """One `cairnd demo`."""

    def __init__(self, directory, nodes=3, arguments=(), port=None, cwd="/", own_session=False, name_nodes=True):
        self.nodes, self.port, self.directory = nodes, port or free_base(nodes), directory
        self.lines, self.began = [], time.monotonic()
        command = [BINARY, "demo"]
        if name_nodes:
            command += ["--nodes", str(nodes), "--port", str(self.port)]
        if directory:
            command += ["--dir", directory]
        self.process = subprocess.Popen(command + list(arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, cwd=cwd)
        _demos.add(self)

    def wait_ready(self, limit=20.0):
        """Seconds from the start to the line READY."""
        return self.wait_line("READY", limit)

    def wait_line(self, start, limit=20.0):
        end = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            os.set_blocking(self.process.stdout.fileno(), False)
            pending = ""
            while time.monotonic() < end:
                if not selector.select(0.2):
                    continue
                data = self.process.stdout.read()
                if data == "":
                    raise Failure("the demo ended with %s: %s" % (self.process.wait(), " | ".join(self.lines)))
                pending += data or ""
                *whole, pending = pending.split("\n")
                self.lines += whole
                if any(line.startswith(start) for line in whole):
                    return time.monotonic() - self.began
        raise Failure("no line %s within %g s: %s" % (start, limit, " | ".join(self.lines)))

    def pids(self):
        return [int(m.group(1)) for m in (re.search(r"^node \d+ .*pid (\d+)$", l) for l in self.lines) if m]

    def ports(self):
        return [self.port + i for i in range(self.nodes)]

    def admin(self, i=0):
        return self.port + 2000 + i

    def stop(self, limit=10.0):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure("the demo did not end within %g s of SIGTERM" % limit)


_demos = set()


@atexit.register
def _end_demos():
    for demo in _demos:
        if demo.process.poll() is None:
            demo.process.send_signal(signal.SIGTERM)
            try:
                demo.process.wait(8)
            except subprocess.TimeoutExpired:
                demo.process.kill()


def slot_of(key):
    import binascii
    data = key if isinstance(key, bytes) else key.encode()
    begin = data.find(b"{")
    end = data.find(b"}", begin + 1)
    if begin >= 0 and end > begin + 1:
        data = data[begin + 1:end]
    return binascii.crc_hqx(data, 0) % 16384


def info(port, section="server"):
    with Client(port) as client:
        text = client("INFO", section).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def client_fields(port, sock):
    """The line of CLIENT LIST about this socket, or None once it is closed."""
    mine = "%s:%d" % sock.getsockname()
    with Client(port) as client:
        lines = client("CLIENT", "LIST").decode().splitlines()
    found = (dict(f.split("=", 1) for f in line.split(" ")) for line in lines)
    return next((f for f in found if f["addr"] == mine), None)


class Runner:
    """Runs named checks; prints PASS or FAIL for each."""

    def __init__(self, description):
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--full", action="store_true", help="the full number of rounds")
        parser.add_argument("--only", default="", help="only checks whose name contains this")
        parser.add_argument("--rounds", type=int, default=0, help="rounds, where a test has rounds")
        self.arguments = parser.parse_args()
        self.failed = 0

    def rounds(self, reduced, full):
        return self.arguments.rounds or (full if self.arguments.full else reduced)

    def check(self, name, function):
        if self.arguments.only not in name:
            return
        workspace = Workspace(name)
        began = time.monotonic()
        try:
            function(workspace)
            print("PASS %s (%.1f s)" % (name, time.monotonic() - began), flush=True)
        except (Failure, OSError, http.client.HTTPException, subprocess.SubprocessError, AssertionError, ValueError,
                KeyError, IndexError, TypeError, StopIteration) as error:
            self.failed += 1
            workspace.keep = True
            text = str(error) or repr(error)
            if not isinstance(error, Failure):
                text = "%s: %s (line %d)" % (type(error).__name__, text, error.__traceback__.tb_next.tb_lineno
                                             if error.__traceback__.tb_next else 0)
            print("FAIL %s: %s; logs in %s" % (name, text, workspace.path), flush=True)
        finally:
            for node in list(_nodes):
                if node.directory.startswith(workspace.path):
                    if node.running() and process_state(node.pid) == "T":
                        node.process.send_signal(signal.SIGCONT)
                    node.kill()
                    _nodes.discard(node)
            for demo in list(_demos):
                if demo.process.poll() is None:
                    try:
                        demo.stop()
                    except Failure as error:
                        print("note: %s" % error)
                _demos.discard(demo)

    def finish(self):
        sys.exit(1 if self.failed else 0)
