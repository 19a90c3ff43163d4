#!/usr/bin/env python3
"""Sends the same random commands to Cairn and to a real redis-server and compares the replies.

    differential.py --cairn HOST:PORT[,HOST:PORT...] [--commands N] [--seed S] [--redis PATH]

Starts redis-server itself on a free port and ends it. Keys must not be used by anybody else: FLUSHALL is sent.
Errors are compared word for word, values by value, HGETALL as a set of pairs, TTL and PTTL with a tolerance. One half of
the commands runs in RESP2, the other in RESP3. Prints `commands=N mismatches=M existing=P%`; exit code 1 on a mismatch.
Needs only the standard library.
"""
import argparse
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TTL_TOLERANCE_MS = 5000


class Error(str):
    def __repr__(self):
        return "Error(%s)" % str.__repr__(self)


class Status(bytes):
    """A simple string: not equal to a bulk string with the same text."""

    def __eq__(self, other):
        return isinstance(other, Status) and bytes.__eq__(self, other)

    __hash__ = bytes.__hash__

    def __repr__(self):
        return "Status(%s)" % bytes.__repr__(self)


Map = type("Map", (list,), {})  # of RESP3, as a list of pairs
Set = type("Set", (list,), {})
Verbatim = type("Verbatim", (bytes,), {})


def encode(argv):
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in argv)


class Client:
    def __init__(self, host, port):
        self.name = "%s:%d" % (host, port)
        self.socket = socket.create_connection((host, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", buffering=1 << 16)

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, commands):
        self.socket.sendall(b"".join(encode(c) for c in commands))

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("connection to %s ended after %r" % (self.name, line))
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return Status(rest)
        if kind == b"-":
            return Error(rest.decode("latin1"))
        if kind == b":":
            return int(rest)
        if kind in b"$=":
            length = int(rest)
            if length < 0:
                return None
            data = self.file.read(length + 2)
            if len(data) != length + 2 or data[-2:] != b"\r\n":
                raise ConnectionError("bad bulk string from %s" % self.name)
            return Verbatim(data[4:-2]) if kind == b"=" else data[:-2]  # without "txt:"
        if kind == b"*":
            count = int(rest)
            return None if count < 0 else [self.read() for _ in range(count)]
        if kind == b"~":
            return Set(self.read() for _ in range(int(rest)))
        if kind == b"%":
            return Map((self.read(), self.read()) for _ in range(int(rest)))
        if kind == b"_":
            return None
        raise ConnectionError("unknown reply %r from %s" % (line, self.name))

    def __call__(self, *argv):
        self.send([[a if isinstance(a, bytes) else str(a).encode() for a in argv]])
        return self.read()


class Generator:
    """Random data commands. Keeps a rough idea of which keys exist, to aim at them."""

    VALUES = [b"", b"0", b"1", b"-1", b"10", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806",
              b"007", b"+5", b" 5", b"5 ", b"1.5", b"abc", b"-0", b"12345678901234567890123", b"\x00\x01\xff\r\n",
              b"x" * 64, b"y" * 65, b"z" * 3000]
    INTEGERS = [b"0", b"1", b"-1", b"2", b"10", b"100", b"-100", b"9223372036854775807", b"-9223372036854775808",
                b"9223372036854775808", b"-9223372036854775809", b"abc", b"", b"1.0", b"+1", b"01", b" 1", b"1e3"]
    FIELDS = [b"", b"f", b"f1", b"f2", b"f3", b"\x00bin\r\n\xff", b"g" * 64, b"g" * 65]

    def __init__(self, rng):
        self.rng = rng
        self.keys = [b"k%d" % i for i in range(60)] + [b"", b"\x00", b"a\x00b", b"{tag}1", b"{tag}2", b"\xff\r\n", b"K" * 300]
        self.known = {}  # key -> "string" | "hash"
        self.times = 0

    def key(self, kind=None):
        """Mostly a key that is believed to exist, of `kind` if one is named."""
        if self.known and self.rng.random() < 0.8:
            if kind and self.rng.random() < 0.85:
                fit = [k for k, v in self.known.items() if v == kind]
                if fit:
                    return self.rng.choice(fit)
            return self.rng.choice(list(self.known))
        return self.rng.choice(self.keys)

    def value(self):
        rng = self.rng
        if rng.random() < 0.6:
            return rng.choice(self.VALUES)
        if rng.random() < 0.5:
            return b"%d" % rng.randrange(-1000, 1000)
        return bytes(rng.randrange(256) for _ in range(rng.randrange(40)))

    def integer(self):
        rng = self.rng
        return rng.choice(self.INTEGERS) if rng.random() < 0.4 else b"%d" % rng.randrange(-500, 500)

    def field(self):
        rng = self.rng
        return rng.choice(self.FIELDS) if rng.random() < 0.5 else b"field%d" % rng.randrange(200)

    def case(self, text):
        rng = self.rng.random()
        if rng < 0.7:
            return text
        return text.lower() if rng < 0.9 else text.title()

    @staticmethod
    def far(kind, amount):
        """A short time to live becomes a long one: nothing may become due between the two servers' looks at it."""
        if amount.isdigit() and amount[:1] != b"0" and int(amount) < 10 ** 6:
            return b"%d" % (int(amount) + (0 if kind.endswith(b"AT") else 10 ** 6 if kind.startswith(b"P") else 1000))
        return amount

    def expiry_option(self):
        rng = self.rng
        now = int(time.time())
        kind = rng.choice([b"EX", b"PX", b"EXAT", b"PXAT"])
        if rng.random() < 0.25:
            return [self.case(kind), self.far(kind, self.integer())] if rng.random() < 0.9 else [self.case(kind)]
        amount = {b"EX": rng.randrange(100, 100000), b"PX": rng.randrange(100000, 10 ** 9),
                  b"EXAT": now + rng.choice([-100, 10 ** 4, 10 ** 6]),
                  b"PXAT": (now + rng.choice([-100, 10 ** 4, 10 ** 6])) * 1000}[kind]
        return [self.case(kind), b"%d" % amount]

    def set_command(self):
        rng = self.rng
        argv = [b"SET", self.key("string"), self.value()]
        options = []
        while rng.random() < 0.45 and len(options) < 5:
            options.append(rng.choice([
                lambda: [self.case(b"NX")], lambda: [self.case(b"XX")], lambda: [self.case(b"GET")],
                lambda: [self.case(b"KEEPTTL")], self.expiry_option, self.expiry_option,
                lambda: [rng.choice([b"FOO", b"NXX", b"", b"ex", b"PERSIST"])] if rng.random() < 0.2 else [b"GET"]])())
        for option in options:
            argv += option
        return argv

    def expire_command(self):
        rng = self.rng
        name = rng.choice([b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT"])
        now = int(time.time())
        if rng.random() < 0.25:
            amount = self.far(name, self.integer())
        else:
            seconds = rng.choice([-10, 0, 100, 1000, 10 ** 5, 10 ** 7])
            if seconds > 0:  # no two alike: GT and LT would be decided by milliseconds, of which each server has its own
                self.times += 1
                seconds += 3 * self.times
            amount = {b"EXPIRE": seconds, b"PEXPIRE": seconds * 1000, b"EXPIREAT": now + seconds - 1,
                      b"PEXPIREAT": (now + seconds - 1) * 1000}[name]
            amount = b"%d" % amount
        argv = [name, self.key(), amount]
        for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
            argv.append(self.case(rng.choice([b"NX", b"XX", b"GT", b"LT"])) if rng.random() < 0.95 else b"foo\r\nbar")
        return argv

    def hset_command(self):
        rng = self.rng
        argv = [b"HSET", self.key("hash")]
        for _ in range(rng.choice([1, 1, 2, 3, 10]) if rng.random() < 0.95 else rng.choice([100, 140, 300])):
            argv += [self.field(), self.value()]
        if rng.random() < 0.03:
            argv.append(b"odd")
        return argv

    def next(self):
        rng = self.rng
        pick = rng.random()
        if pick < 0.18:
            argv = self.set_command()
        elif pick < 0.28:
            argv = self.expire_command()
        elif pick < 0.40:
            argv = self.hset_command()
        elif pick < 0.43:
            argv = [b"PEXPIREAT", self.key(), b"%d" % (int(time.time() * 1000) - rng.randrange(1, 50))]
        elif pick < 0.4305:
            argv = [rng.choice([b"FLUSHALL", b"FLUSHDB"])] + rng.choice([[], [b"ASYNC"], [b"sync"], [b"foo"], [b"ASYNC", b"x"]])
        else:
            k = self.key
            argv = rng.choice([
                lambda: [b"GET", k("string")], lambda: [b"GET", k("string")],
                lambda: [b"MGET"] + [k() for _ in range(rng.randrange(1, 8))],
                lambda: [b"DEL"] + [k() for _ in range(rng.choice([1, 1, 1, 2, 4]))],
                lambda: [b"UNLINK"] + [k() for _ in range(rng.choice([1, 1, 3]))],
                lambda: [b"EXISTS"] + [k() for _ in range(rng.choice([1, 2, 5]))],
                lambda: [b"INCR", k("string")], lambda: [b"DECR", k("string")],
                lambda: [b"INCRBY", k("string"), self.integer()], lambda: [b"DECRBY", k("string"), self.integer()],
                lambda: [b"APPEND", k("string"), self.value()], lambda: [b"STRLEN", k("string")],
                lambda: [b"TTL", k()], lambda: [b"PTTL", k()], lambda: [b"PERSIST", k()], lambda: [b"TYPE", k()],
                lambda: [b"HGET", k("hash"), self.field()], lambda: [b"HGET", k("hash"), self.field()],
                lambda: [b"HDEL", k("hash")] + [self.field() for _ in range(rng.choice([1, 2, 5, 30]))],
                lambda: [b"HLEN", k("hash")], lambda: [b"HGETALL", k("hash")], lambda: [b"DBSIZE"],
            ])()
        if rng.random() < 0.02:  # a wrong number of arguments, or no such command
            argv = rng.choice([argv[:-1] or argv, argv + [b"extra"], [argv[0]], [b"nosuch\x00command"] + argv[1:],
                               [b"foo" * 60, b"a\r\nb"] + [b"long" * 40] * 3])
            if argv[0].upper().startswith(b"FLUSH") and rng.random() < 0.9:
                argv = [b"GET"]
        return [self.case(argv[0])] + argv[1:]

    def note(self, argv, reply):
        """Learns from what redis-server answered."""
        name = argv[0].upper()
        if isinstance(reply, Error) or len(argv) < 2:
            if name.startswith(b"FLUSH") and not isinstance(reply, Error):
                self.known.clear()
            return
        key = argv[1]
        if name.startswith(b"FLUSH"):
            self.known.clear()
        elif name == b"TYPE":
            if reply == Status(b"none"):
                self.known.pop(key, None)
            else:
                self.known[key] = bytes(reply).decode()
        elif name in (b"SET", b"INCR", b"DECR", b"INCRBY", b"DECRBY", b"APPEND"):
            if not (name == b"SET" and len(argv) > 3 and reply is None):
                self.known[key] = "string"
        elif name == b"HSET":
            self.known[key] = "hash"
        elif name in (b"DEL", b"UNLINK"):
            for k in argv[1:]:
                self.known.pop(k, None)
        elif (name in (b"TTL", b"PTTL") and reply == -2) or (name == b"GET" and reply is None) or \
                (name == b"HLEN" and reply == 0):
            self.known.pop(key, None)


READS_AND_WRITES = set(b"SET GET MGET DEL UNLINK EXISTS INCR DECR INCRBY DECRBY APPEND STRLEN EXPIRE PEXPIRE EXPIREAT "
                       b"PEXPIREAT TTL PTTL PERSIST TYPE HSET HGET HDEL HLEN HGETALL".split())


def pairs(reply, proto):
    if proto == 3:
        return isinstance(reply, Map) and sorted(reply)
    return isinstance(reply, list) and not isinstance(reply, (Map, Set)) and len(reply) % 2 == 0 and \
        sorted(zip(reply[::2], reply[1::2]))


def same(argv, ours, theirs, proto):
    name = argv[0].upper()
    if isinstance(theirs, Error) or isinstance(ours, Error):
        return ours == theirs
    if name == b"HGETALL":
        return pairs(ours, proto) is not False and pairs(ours, proto) == pairs(theirs, proto)
    if name == b"DBSIZE":  # may count keys that are due and that nobody has met; the caller compares exactly once they are gone
        return isinstance(ours, int)
    if name in (b"TTL", b"PTTL"):
        if not isinstance(ours, int) or ours < 0 or theirs < 0:
            return ours == theirs
        return abs(ours - theirs) <= (TTL_TOLERANCE_MS if name == b"PTTL" else TTL_TOLERANCE_MS // 1000)
    return type(ours) is type(theirs) and ours == theirs


def shape(value, depth=0):
    """Types only; of arrays and maps the set of element shapes."""
    if isinstance(value, Map):
        return ("map", tuple(sorted({str((shape(k, depth + 1), shape(v, depth + 1))) for k, v in value})))
    if isinstance(value, Set):
        return ("set",)
    if isinstance(value, list):
        return ("array", len(value))
    return type(value).__name__


# Arguments are separated by commas.
EQUAL_ANSWERS = (
    "PING PING,x PING,a,b ECHO,hi ECHO SELECT,0 SELECT,abc SELECT,-1 SELECT,100 HELLO,4 HELLO,x HELLO,2,foo HELLO,2,AUTH,a AUTH,x AUTH,a,b AUTH,a,b,c AUTH,default,x CLIENT CLIENT,nosuch "
    "CLIENT,GETNAME CLIENT,SETNAME,a\tb CLIENT,SETNAME,me CLIENT,GETNAME CLIENT,ID,x CLIENT,LIST,TYPE,nosuch "
    "CLIENT,LIST,foo CLIENT,LIST,ID,abc CLIENT,LIST,ID,99999999 CONFIG CONFIG,nosuch CONFIG,GET CONFIG,GET,nosuch "
    "CONFIG,GET,save CONFIG,GET,time?ut CONFIG,GET,MAXMEMORY COMMAND,nosuch COMMAND,COUNT,x COMMAND,GETKEYS,GET,a "
    "COMMAND,GETKEYS,MGET,a,b COMMAND,GETKEYS,nosuch,x COMMAND,GETKEYS,PING COMMAND,INFO,nosuch CLUSTER CLUSTER,nosuch "
    "INFO,nosuch TIME,x RESET,x READONLY,x DBSIZE,x FLUSHALL,x CLIENT,SETNAME, CLIENT,GETNAME").split(" ")


class Checks:
    """Commands about connection, server and cluster: compared by type and shape."""

    def __init__(self, ours, theirs, proto):
        self.ours, self.theirs, self.proto = ours, theirs, proto
        self.done = 0
        self.failed = []

    def check(self, good, what, seen=None):
        self.done += 1
        if not good:
            self.failed.append("%s (RESP%d): %r" % (what, self.proto, seen))

    def both(self, *argv):
        return self.ours(*argv), self.theirs(*argv)

    def equal(self, *argv):
        a, b = self.both(*argv)
        self.check(type(a) is type(b) and a == b, " ".join(map(str, argv)), (a, b))

    def like(self, *argv):
        a, b = self.both(*argv)
        self.check(shape(a) == shape(b), " ".join(map(str, argv)), (shape(a), shape(b)))
        return a, b

    def run(self):
        as_map = (lambda r: dict(r)) if self.proto == 3 else (lambda r: dict(zip(r[::2], r[1::2])))
        a, b = self.both("HELLO", self.proto)
        self.check(type(a) is type(b), "HELLO type", (a, b))
        ours, theirs = as_map(a), as_map(b)
        self.check(list(ours) == list(theirs), "HELLO keys", list(ours))
        for key in (b"server", b"version", b"proto", b"role", b"modules"):
            self.check(ours[key] == theirs[key], "HELLO %r" % key, (ours[key], theirs[key]))
        self.check(ours[b"mode"] in (b"cluster", b"standalone") and isinstance(ours[b"id"], int), "HELLO mode, id", ours)
        whole = ours[b"mode"] == b"standalone"
        for line in EQUAL_ANSWERS:
            self.equal(*line.split(","))
        self.like("CLIENT", "ID")
        self.like("COMMAND", "COUNT")
        self.like("CONFIG", "GET", "databases")
        self.like("CONFIG", "GET", "appendonly")
        self.like("TIME")
        for argv in (["INFO"], ["INFO", "server"], ["INFO", "server", "clients"], ["INFO", "everything"]):
            a, b = self.like(*argv)
            self.check(a.startswith(b"# Server\r\n") and a.endswith(b"\r\n"), " ".join(argv) + " text", a[:40])
        fields = dict(l.split(b":", 1) for l in self.ours("INFO").split(b"\r\n") if b":" in l)
        for name in (b"redis_version", b"redis_mode", b"cluster_enabled", b"arch_bits", b"tcp_port", b"process_id", b"loading"):
            self.check(name in fields, "INFO has %r" % name)
        for argv in (["CLIENT", "LIST"], ["CLIENT", "INFO"]):
            a, b = self.like(*argv)
            keys = [f.split(b"=")[0] for f in a.split(b"\n")[0].split(b" ")]
            wanted = [f.split(b"=")[0] for f in b.split(b"\n")[0].split(b" ")]
            self.check(set(wanted) <= set(keys) and a.endswith(b"\n"), " ".join(argv) + " fields", keys)
        a = self.ours("COMMAND")
        self.check(isinstance(a, list) and all(len(e) == 10 for e in a), "COMMAND entries have 10 elements")
        names = [e[0] for e in a]
        self.check(len(names) == self.ours("COMMAND", "COUNT"), "COMMAND COUNT", len(names))
        redis = {e[0]: e for e in self.theirs("COMMAND", "INFO", *names)}
        for entry in a:
            theirs = redis.get(entry[0])
            if theirs is None:
                self.check(False, "COMMAND knows a command that redis does not", entry[0])
                continue
            if self.proto == 2:
                self.check(sorted(entry[6]) == sorted(theirs[6]), "categories of %r" % entry[0], (entry[6], theirs[6]))
            self.check(entry[1] == theirs[1] and entry[3:6] == theirs[3:6], "arity and keys of %r" % entry[0], (entry, theirs))
            self.check(sorted(entry[2]) == sorted(theirs[2]), "flags of %r" % entry[0], (entry[2], theirs[2]))
            self.check([type(x) for x in entry] == [type(x) for x in theirs], "types of %r" % entry[0])
            self.check(sorted(entry[7]) == sorted(theirs[7]), "tips of %r" % entry[0], (entry[7], theirs[7]))
        if whole:
            for sub in ("INFO", "SLOTS", "NODES", "SHARDS", "MYID"):
                self.equal("CLUSTER", sub)
        else:
            self.cluster()
        return self

    def cluster(self):
        ours = self.ours
        self.check(isinstance(ours("CLUSTER", "KEYSLOT", "foo"), int) and ours("CLUSTER", "KEYSLOT", "foo") == 12182, "KEYSLOT")
        self.check(len(ours("CLUSTER", "MYID")) == 40, "MYID")
        info = ours("CLUSTER", "INFO")
        self.check(b"cluster_state:ok\r\n" in info and b"cluster_slots_assigned:16384\r\n" in info, "CLUSTER INFO", info)
        covered = 0
        for row in ours("CLUSTER", "SLOTS"):
            self.check(row[0] == covered and row[1] >= row[0], "CLUSTER SLOTS has no holes", row)
            covered = row[1] + 1
            host, port, node_id = row[2][:3]
            self.check(host and isinstance(port, int) and len(node_id) == 40, "CLUSTER SLOTS node", row)
        self.check(covered == 16384, "CLUSTER SLOTS covers all", covered)
        nodes = ours("CLUSTER", "NODES")
        lines = nodes.decode().splitlines()
        self.check(sum("myself" in l for l in lines) == 1 and all(len(l.split(" ")) >= 8 for l in lines), "CLUSTER NODES", lines)
        for shard in ours("CLUSTER", "SHARDS"):
            keys = [k for k, _ in shard] if self.proto == 3 else shard[::2]
            self.check(keys[:2] == [b"slots", b"nodes"], "CLUSTER SHARDS", shard)
        for name in ("READONLY", "READWRITE", "ASKING"):
            self.check(ours(name) == Status(b"OK"), name)


def start_redis(path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = tempfile.mkdtemp(prefix="cairn-differential-")
    process = subprocess.Popen([path, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                "--dir", directory, "--daemonize", "no"], stdout=subprocess.DEVNULL)
    deadline = time.time() + 10
    while True:
        try:
            Client("127.0.0.1", port).close()
            return process, port, directory
        except OSError:
            if time.time() > deadline or process.poll() is not None:
                raise SystemExit("differential.py: redis-server did not start")
            time.sleep(0.02)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cairn", required=True, help="HOST:PORT[,HOST:PORT...]")
    parser.add_argument("--commands", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--redis", default="redis-server")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    process, port, directory = start_redis(args.redis)
    mismatches = total = on_existing = on_keys = 0
    try:
        addresses = [a.rsplit(":", 1) for a in args.cairn.split(",")]
        for proto in (2, 3):
            theirs = Client("127.0.0.1", port)
            nodes = [Client(host, int(p)) for host, p in addresses]
            for checker in [Checks(node, theirs, proto).run() for node in nodes]:
                total += checker.done
                for failure in checker.failed:
                    mismatches += 1
                    print("MISMATCH seed=%d %s" % (args.seed, failure))
            for node in nodes:  # a connection that asked for the slot map may be told MOVED: begin again as a plain one
                node.close()
            nodes = [Client(host, int(p)) for host, p in addresses]
            for node in nodes:
                node("HELLO", proto)
            nodes[0]("FLUSHALL")
            theirs("FLUSHALL")
            generator = Generator(rng)
            recount = False
            left = args.commands // 2
            while left > 0:
                # A batch goes to one node: order is kept within a connection, not between them.
                batch = [generator.next() for _ in range(min(left, rng.randrange(1, 60)))]
                node = rng.choice(nodes)
                counted = []
                for argv in batch:  # EXISTS in front of a command tells redis' own view of what is there
                    if argv[0].upper() in READS_AND_WRITES and len(argv) > 1 and rng.random() < 0.1:
                        counted.append([b"EXISTS", argv[1]])
                    counted.append(argv)
                node.send(counted)
                theirs.send(counted)
                probe = None
                for argv in counted:
                    a, b = node.read(), theirs.read()
                    total += 1
                    if probe is not None and len(argv) > 1 and argv[1] == probe[0]:
                        on_keys += 1
                        on_existing += probe[1]
                    probe = (argv[1], b) if argv[0] == b"EXISTS" and len(argv) == 2 and isinstance(b, int) else None
                    generator.note(argv, b)
                    if not same(argv, a, b, proto):
                        mismatches += 1
                        if mismatches <= 20:
                            print("MISMATCH seed=%d RESP%d %r\n  cairn %s\n  redis %s" %
                                  (args.seed, proto, argv, repr(a)[:600], repr(b)[:600]))
                    recount = recount or argv == [b"DBSIZE"] and a != b
                if recount:  # EXISTS meets every key that is due, and so deletes it
                    recount = False
                    for argv in [[b"EXISTS"] + generator.keys, [b"DBSIZE"]]:
                        a, b = node(*argv), theirs(*argv)
                        total += 1
                        if a != b:
                            mismatches += 1
                            print("MISMATCH seed=%d RESP%d recount %r: %r, redis %r" % (args.seed, proto, argv[0], a, b))
                left -= len(batch)
            for argv in [[b"EXISTS"] + generator.keys, [b"DBSIZE"]]:
                a, b = nodes[0](*argv), theirs(*argv)
                total += 1
                if a != b:
                    mismatches += 1
                    print("MISMATCH seed=%d RESP%d at the end %r: %r, redis %r" % (args.seed, proto, argv, a, b))
            for client in nodes + [theirs]:
                client.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)
    print("commands=%d mismatches=%d existing=%d%%" % (total, mismatches, 100 * on_existing // max(1, on_keys)))
    sys.exit(1 if mismatches else 0)


if __name__ == "__main__":
    main()
