#!/usr/bin/env python3
"""Sends the same random commands to Cairn and to a real redis-server and compares the replies.

    differential.py --cairn HOST:PORT[,HOST:PORT...] [--commands N] [--seed S] [--redis PATH]

Starts redis-server itself on a free port and ends it. Keys must not be used by anybody else: FLUSHALL is sent.
Errors are compared word for word, values by value, the lists of HGETALL and its kin without their order, times to live
with a tolerance; what HRANDFIELD chose is held against an HGETALL behind it; of SCAN and HSCAN whole iterations are
compared; transactions have another connection write in between. Keys of commands that take several of one slot share a tag. redis-server is told to limit strings to 32 MiB as
Cairn does. One half of the commands runs in RESP2, the other in RESP3. Prints `commands=N mismatches=M existing=P%`; exit code 1 on a mismatch.
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

import differential_multi
import differential_walk

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
    FLOATS = [b"0", b"1", b"-1", b"0.1", b"-2.5", b"3.0", b"5.0e3", b"1e-30", b"1e300", b"-1e4900", b"1e5000", b"1e-5000",
              b"0x1A", b"0x1p-3", b"inf", b"-Infinity", b"nan", b"1.5 ", b" 1.5", b"+1.5", b".5", b"5.", b"1e", b"",
              b"3.14159265358979323846", b"-0.0", b"1" * 40, b"1,5", b"9223372036854775807", b"abc", b"1\x002"]
    OFFSETS = [b"-1", b"33554432", b"268435456", b"536870912", b"4294967296", b"9223372036854775807", b"9223372036854775808",
               b"abc", b"", b"01", b"#1", b"1.0", b"5000", b"7", b"8"]
    TYPES = [b"u1", b"i1", b"u8", b"i8", b"i5", b"u31", b"i32", b"u63", b"i63", b"i64", b"u64", b"i65", b"u0", b"i0", b"x8", b"8",
             b"I8", b"i", b"", b"u08", b"u-1"]
    FIELDS = [b"", b"f", b"f1", b"f2", b"f3", b"\x00bin\r\n\xff", b"g" * 64, b"g" * 65]

    def __init__(self, rng):
        self.rng = rng
        self.keys = [b"k%d" % i for i in range(60)] + [b"", b"\x00", b"a\x00b", b"\xff\r\n", b"K" * 300]
        self.one_slot = [b"{tag}%d" % i for i in range(10)] + [b"a{tag}"]
        self.keys += self.one_slot
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

    def tagged(self, kind=None):
        """The same among keys of one slot."""
        known = [k for k in self.one_slot if k in self.known]
        fit = [k for k in known if self.known[k] == kind] or known
        return self.rng.choice(fit if fit and self.rng.random() < 0.75 else self.one_slot)

    def value(self):
        rng = self.rng
        if rng.random() < 0.05:
            return rng.choice(self.FLOATS)
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

    def count(self, chances):
        return self.rng.choice(chances)

    def float(self):
        rng = self.rng
        if rng.random() < 0.5:
            return rng.choice(self.FLOATS)
        return b"%.*f" % (rng.randrange(20), rng.uniform(-1000, 1000))

    def offset(self, most):
        return self.rng.choice(self.OFFSETS) if self.rng.random() < 0.2 else b"%d" % self.rng.randrange(most)

    def edge(self):
        """A position in a string."""
        return self.integer() if self.rng.random() < 0.3 else b"%d" % self.rng.randrange(-12, 12)

    def range_options(self, least):
        """[start [end [BYTE|BIT]]], at times one too few or too many."""
        rng = self.rng
        options = [self.edge(), self.edge(), self.case(rng.choice([b"BYTE", b"BIT", b"BIT", b"bits"])), b"x"]
        return options[:rng.choice([0, least, 2, 2, 3, 3, 3]) if rng.random() < 0.95 else rng.randrange(5)]

    def getex_command(self):
        rng = self.rng
        argv = [b"GETEX", self.key("string")]
        for _ in range(self.count([0, 0, 1, 1, 1, 2])):
            argv += self.expiry_option() if rng.random() < 0.6 else [self.case(rng.choice([b"PERSIST", b"PERSIST", b"KEEPTTL", b"NX", b"x"]))]
        return argv

    def setex_command(self):
        rng = self.rng
        name = rng.choice([b"SETEX", b"PSETEX"])
        amount = self.integer() if rng.random() < 0.3 else b"%d" % rng.randrange(100, 100000)
        return [name, self.key("string"), self.far(name[:-2], amount), self.value()]

    def lcs_command(self):
        rng = self.rng
        argv = [b"LCS", self.tagged("string"), self.tagged("string")]
        for _ in range(self.count([0, 1, 1, 2, 3])):
            argv += rng.choice([[b"LEN"], [b"IDX"], [b"IDX"], [b"WITHMATCHLEN"], [b"MINMATCHLEN", rng.choice([b"1", b"2", b"4", self.integer()])],
                                [b"MINMATCHLEN"] if rng.random() < 0.2 else [b"IDX"], [b"foo"] if rng.random() < 0.2 else [b"LEN"]])
        return [argv[0]] + argv[1:3] + [self.case(a) for a in argv[3:]]

    def bitfield_command(self):
        rng = self.rng
        argv = []
        for _ in range(self.count([0, 1, 1, 2, 3, 5])):
            kind = rng.choice([b"GET", b"SET", b"INCRBY", b"OVERFLOW", b"OVERFLOW"])
            argv.append(self.case(kind))
            if kind == b"OVERFLOW":
                argv.append(self.case(rng.choice([b"WRAP", b"SAT", b"FAIL"])) if rng.random() < 0.95 else b"foo")
                continue
            argv.append(rng.choice(self.TYPES) if rng.random() < 0.1 else b"%s%d" % (rng.choice([b"u", b"i"]), rng.randrange(1, 64)))
            argv.append(rng.choice([b"#%d" % rng.randrange(8), b"#2305843009213693952", b"#9223372036854775807", b"#", b"#-1"])
                        if rng.random() < 0.3 else self.offset(100))
            if kind != b"GET":
                argv.append(self.integer())
        if argv and rng.random() < 0.03:
            argv.pop()
        return [rng.choice([b"BITFIELD", b"BITFIELD", b"BITFIELD_RO"]), self.key("string")] + argv

    def bitop_command(self):
        rng = self.rng
        name = self.case(rng.choice([b"AND", b"OR", b"XOR", b"NOT"])) if rng.random() < 0.97 else b"nand"
        return [b"BITOP", name, self.tagged()] + [self.tagged("string") for _ in range(self.count([1, 1, 2, 3, 5]))]

    def copy_command(self):
        argv = [b"COPY", self.tagged(), self.tagged()]
        for _ in range(self.count([0, 0, 1, 1, 2])):
            argv += self.rng.choice([[b"REPLACE"], [b"REPLACE"], [b"replace"], [b"DB", b"0"], [b"db", self.rng.choice([b"100", b"-1", b"abc", b"99999999999"])],
                                     [b"DB"], [b"foo"]])
        return argv

    def mset_command(self):
        argv = [self.rng.choice([b"MSET", b"MSET", b"MSETNX"])]
        for _ in range(self.count([1, 2, 3, 5])):
            argv += [self.tagged(), self.value()]
        return argv if self.rng.random() < 0.97 else argv + [self.tagged()]

    def hrandfield_command(self):
        rng = self.rng
        argv = [b"HRANDFIELD", self.key("hash")]
        if rng.random() < 0.75:
            argv.append(self.integer() if rng.random() < 0.3 else b"%d" % rng.randrange(-20, 20))
            if rng.random() < 0.5:
                argv.append(self.case(b"WITHVALUES") if rng.random() < 0.95 else b"foo")
        return argv

    def next(self):
        rng = self.rng
        pick = rng.random()
        if pick < 0.11:
            argv = self.set_command()
        elif pick < 0.18:
            argv = self.expire_command()
        elif pick < 0.27:
            argv = self.hset_command()
        elif pick < 0.29:
            argv = [b"PEXPIREAT", self.key(), b"%d" % (int(time.time() * 1000) - rng.randrange(1, 50))]
        elif pick < 0.2905:
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
                self.getex_command, self.setex_command, self.setex_command, self.mset_command, self.mset_command,
                self.mset_command, self.lcs_command, self.bitfield_command, self.bitfield_command, self.bitfield_command,
                self.bitop_command, self.bitop_command, self.copy_command, self.copy_command, self.hrandfield_command,
                self.hrandfield_command,
                lambda: [b"GETDEL", k("string")], lambda: [b"GETSET", k("string"), self.value()],
                lambda: [b"SETNX", k("string"), self.value()],
                lambda: [b"SETRANGE", k("string"), self.offset(300), self.value()],
                lambda: [rng.choice([b"GETRANGE", b"SUBSTR"]), k("string"), self.edge(), self.edge()],
                lambda: [b"INCRBYFLOAT", k("string"), self.float()], lambda: [b"INCRBYFLOAT", k("string"), self.float()],
                lambda: [b"SETBIT", k("string"), self.offset(2000), rng.choice([b"0", b"1", b"1", self.integer()])],
                lambda: [b"GETBIT", k("string"), self.offset(2000)],
                lambda: [b"BITCOUNT", k("string")] + self.range_options(2),
                lambda: [b"BITPOS", k("string"), rng.choice([b"0", b"1", b"1", self.integer()])] + self.range_options(1),
                lambda: [b"BITPOS", k("string"), rng.choice([b"0", b"1"])] + self.range_options(1),
                lambda: [b"EXPIRETIME", k()], lambda: [b"PEXPIRETIME", k()],
                lambda: [b"TOUCH"] + [k() for _ in range(self.count([1, 2, 5]))],
                lambda: [rng.choice([b"RENAME", b"RENAMENX"]), self.tagged(), self.tagged()],
                lambda: [b"HMGET", k("hash")] + [self.field() for _ in range(self.count([1, 2, 5]))],
                lambda: [b"HMSET"] + self.hset_command()[1:],
                lambda: [b"HSETNX", k("hash"), self.field(), self.value()],
                lambda: [b"HEXISTS", k("hash"), self.field()], lambda: [b"HSTRLEN", k("hash"), self.field()],
                lambda: [b"HKEYS", k("hash")], lambda: [b"HVALS", k("hash")],
                lambda: [b"HINCRBY", k("hash"), self.field(), self.integer()],
                lambda: [b"HINCRBY", k("hash"), b"n", self.integer()],
                lambda: [b"HINCRBYFLOAT", k("hash"), self.field(), self.float()],
                lambda: [b"HINCRBYFLOAT", k("hash"), b"n", self.float()],
            ])()
        if rng.random() < 0.02:  # a wrong number of arguments, or no such command
            argv = rng.choice([argv[:-1] or argv, argv + [b"{tag}extra"], [argv[0]], [b"nosuch\x00command"] + argv[1:],
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
        key = argv[KEY_AT.get(name, 1)]
        if name.startswith(b"FLUSH"):
            self.known.clear()
        elif name == b"TYPE":
            if reply == Status(b"none"):
                self.known.pop(key, None)
            else:
                self.known[key] = bytes(reply).decode()
        elif name in MAKES_STRINGS:
            if not (name == b"SET" and len(argv) > 3 and reply is None) and not (name in ONLY_IF_COUNTED and reply == 0):
                for k in argv[1::2] if name.startswith(b"MSET") else [key]:
                    self.known[k] = "string"
            elif name == b"BITOP":
                self.known.pop(key, None)
        elif name in (b"HSET", b"HMSET", b"HSETNX", b"HINCRBY", b"HINCRBYFLOAT"):
            self.known[key] = "hash"
        elif name in (b"RENAME", b"RENAMENX", b"COPY"):
            if reply != 0 and key in self.known:
                self.known[argv[2]] = self.known[key]
                if name != b"COPY" and argv[2] != key:
                    del self.known[key]
        elif name in (b"DEL", b"UNLINK", b"GETDEL"):
            for k in argv[1:]:
                self.known.pop(k, None)
        elif (name in (b"TTL", b"PTTL") and reply == -2) or (name in (b"GET", b"GETEX") and reply is None) or \
                (name == b"HLEN" and reply == 0):
            self.known.pop(key, None)


KEY_AT = {b"BITOP": 2}
MAKES_STRINGS = set(b"SET INCR DECR INCRBY DECRBY APPEND SETEX PSETEX SETNX SETRANGE MSET MSETNX GETSET INCRBYFLOAT SETBIT "
                    b"BITFIELD BITOP".split())
ONLY_IF_COUNTED = (b"SETNX", b"SETRANGE", b"MSETNX", b"BITOP")
READS_AND_WRITES = MAKES_STRINGS | set(
    b"GET MGET DEL UNLINK EXISTS STRLEN EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL PTTL PERSIST TYPE HSET HGET HDEL HLEN HGETALL "
    b"GETEX GETDEL GETRANGE SUBSTR LCS GETBIT BITCOUNT BITPOS BITFIELD_RO EXPIRETIME PEXPIRETIME TOUCH RENAME RENAMENX COPY "
    b"HMGET HMSET HSETNX HEXISTS HKEYS HVALS HSTRLEN HINCRBY HINCRBYFLOAT HRANDFIELD".split())
TIMES = {b"TTL": 1000, b"PTTL": 1, b"EXPIRETIME": 1000, b"PEXPIRETIME": 1}  # milliseconds of their unit


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
    if name in TIMES:
        if not isinstance(ours, int) or ours < 0 or theirs < 0:
            return ours == theirs
        return abs(ours - theirs) <= TTL_TOLERANCE_MS // TIMES[name]
    if name in (b"HKEYS", b"HVALS"):
        return type(ours) is type(theirs) and sorted(ours) == sorted(theirs)
    if name == b"HRANDFIELD":  # see chosen_well()
        return shape(ours) == shape(theirs)
    return type(ours) is type(theirs) and ours == theirs


def chosen_well(argv, chosen, every, proto):
    """Whether an answer of HRANDFIELD could come from a hash with the pairs `every`."""
    if isinstance(chosen, Error) or chosen is None:
        return True
    fields = dict(every)
    if len(argv) == 2:
        return chosen in fields
    if len(argv) == 4 and proto == 2:
        chosen = list(zip(chosen[::2], chosen[1::2]))
    count = int(argv[2])
    names = [c[0] for c in chosen] if len(argv) == 4 else chosen
    return len(names) == (-count if count < 0 and fields else min(count, len(fields)) if count > 0 else 0) and \
        set(names) <= set(fields) and (count < 0 or len(set(names)) == len(names)) and \
        (len(argv) < 4 or all(fields[name] == value for name, value in chosen))


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
# Their documentation differs: Redis tells no arguments of the first two, Cairn refuses some of the third; the last is told more simply.
OTHER_DOCS = {b"command|getkeys", b"command|getkeysandflags", b"client|tracking", b"client|kill"}
EQUAL_ANSWERS = (
    "PING PING,x PING,a,b ECHO,hi ECHO SELECT,0 SELECT,abc SELECT,-1 SELECT,100 HELLO,4 HELLO,x HELLO,2,foo HELLO,2,AUTH,a AUTH,x AUTH,a,b AUTH,a,b,c AUTH,default,x CLIENT CLIENT,nosuch "
    "CLIENT,GETNAME CLIENT,SETNAME,a\tb CLIENT,SETNAME,me CLIENT,GETNAME CLIENT,ID,x CLIENT,LIST,TYPE,nosuch "
    "CLIENT,LIST,foo CLIENT,LIST,ID,abc CLIENT,LIST,ID,99999999 CONFIG CONFIG,nosuch CONFIG,GET CONFIG,GET,nosuch "
    "CONFIG,GET,save CONFIG,GET,time?ut CONFIG,GET,MAXMEMORY COMMAND,nosuch COMMAND,COUNT,x COMMAND,GETKEYS,GET,a "
    "COMMAND,GETKEYS,MGET,a,b COMMAND,GETKEYS,nosuch,x COMMAND,GETKEYS,PING COMMAND,INFO,nosuch CLUSTER CLUSTER,nosuch "
    "SCAN SCAN,abc SCAN,1x SCAN,0,COUNT SCAN,0,COUNT,x SCAN,0,COUNT,0 SCAN,0,MATCH SCAN,0,FOO,1 SCAN,18446744073709551616 SCAN,,COUNT,-1 "
    "HSCAN HSCAN,nosuch HSCAN,nosuch,x HSCAN,nosuch,0 HSCAN,nosuch,0,COUNT,x HSCAN,nosuch,-1 KEYS KEYS,a,b KEYS,nosuch* RANDOMKEY,x SWAPDB,0 "
    "MULTI,x EXEC EXEC,x DISCARD DISCARD,x WATCH UNWATCH UNWATCH,x MULTI MULTI WATCH,a GET nosuch,x EXEC MULTI SET,a,b EXEC DEL,a "
    "INFO,nosuch TIME,x RESET,x READONLY,x DBSIZE,x FLUSHALL,x CLIENT,SETNAME, CLIENT,GETNAME").split(" ")


def key_specs(reply):
    """Without the notes, which are prose."""
    if isinstance(reply, Map):
        return {k: key_specs(v) for k, v in reply if k != b"notes"}
    if isinstance(reply, list):
        notes = len(reply) > 0 and reply[0] == b"notes"
        return sorted(map(repr, map(key_specs, reply))) if isinstance(reply, Set) else [key_specs(r) for r in reply[2 * notes:]]
    return reply


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
            self.check(key_specs(entry[8]) == key_specs(theirs[8]), "key specifications of %r" % entry[0], (entry[8], theirs[8]))
        docs, redis_docs = as_map(self.ours("COMMAND", "DOCS")), as_map(self.theirs("COMMAND", "DOCS", *names))
        for name, text in docs.items():
            a, b = as_map(text), as_map(redis_docs.get(name, []))
            self.same_docs(name, a, b)
            if b"subcommands" in a:
                inner, wanted = (as_map(d[b"subcommands"]) for d in (a, b))
                for sub in set(inner) & set(wanted) - OTHER_DOCS:
                    self.same_docs(sub, as_map(inner[sub]), as_map(wanted[sub]))
        if whole:
            for sub in ("INFO", "SLOTS", "NODES", "SHARDS", "MYID"):
                self.equal("CLUSTER", sub)
            for indexes in (("0", "0"), ("x", "0"), ("0", "x"), ("0", "99")):
                self.equal("SWAPDB", *indexes)
        else:
            self.cluster()
        return self

    def same_docs(self, name, a, b):
        for field in (b"since", b"group", b"arguments"):
            self.check(a.get(field) == b.get(field), "%r in the docs of %r" % (field, name), (a.get(field), b.get(field)))

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
        for line in ("MSET,a,1,b,2", "MSETNX,a,1,b,2", "RENAME,a,b", "RENAMENX,a,b", "COPY,a,b", "LCS,a,b", "BITOP,OR,a,b", "BITOP,OR,{b}x,b,a"):
            answer = ours(*line.split(","))
            self.check(answer == Error("CROSSSLOT Keys in request don't hash to the same slot"), line, answer)
        answer = ours("SWAPDB", "0", "1")
        self.check(answer == Error("ERR SWAPDB is not allowed in cluster mode"), "SWAPDB", answer)
        for name in ("READONLY", "READWRITE", "ASKING"):
            self.check(ours(name) == Status(b"OK"), name)


def start_redis(path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = tempfile.mkdtemp(prefix="cairn-differential-")
    process = subprocess.Popen([path, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                "--dir", directory, "--daemonize", "no", "--proto-max-bulk-len", "33554432"], stdout=subprocess.DEVNULL)
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
            others = [Client(host, int(p)) for host, p in addresses]
            their_other = Client("127.0.0.1", port)
            for node in nodes + others + [their_other]:
                node("HELLO", proto)
            whole = b"cluster_enabled:0" in nodes[0]("INFO", "cluster")
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
                        counted.append([b"EXISTS", argv[KEY_AT.get(argv[0].upper(), 1) % len(argv)]])
                    counted.append(argv)
                    if argv[0].upper() == b"HRANDFIELD" and len(argv) > 1:
                        counted.append([b"HGETALL", argv[1]])
                node.send(counted)
                theirs.send(counted)
                probe = chosen = None
                for argv in counted:
                    a, b = node.read(), theirs.read()
                    total += 1
                    if probe is not None and probe[0] in argv[1:3]:
                        on_keys += 1
                        on_existing += probe[1]
                    probe = (argv[1], b) if argv[0] == b"EXISTS" and len(argv) == 2 and isinstance(b, int) else None
                    generator.note(argv, b)
                    if chosen is not None and isinstance(b, list):
                        every = pairs(b, proto)
                        if not all(chosen_well(chosen[0], c, every, proto) for c in chosen[1:]):
                            mismatches += 1
                            print("MISMATCH seed=%d RESP%d %r\n  cairn %r\n  redis %r\n  of %r" % (args.seed, proto, *chosen, every))
                    chosen = (argv, a, b) if argv[0].upper() == b"HRANDFIELD" else None
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
                if rng.random() < 0.1:
                    for what, a, b in differential_walk.compare(rng, generator, node, theirs):
                        total += 1
                        if a != b:
                            mismatches += 1
                            print("MISMATCH seed=%d RESP%d %s: %r, redis %r" % (args.seed, proto, what, a, b))
                if rng.random() < 0.5:
                    pair = [node, rng.choice(others)]
                    for what, a, b, equal in differential_multi.compare(rng, generator, whole, pair, [theirs, their_other], same, proto):
                        total += 1
                        if not equal:
                            mismatches += 1
                            print("MISMATCH seed=%d RESP%d %s: %r, redis %r" % (args.seed, proto, what, a, b))
            for argv in [[b"EXISTS"] + generator.keys, [b"DBSIZE"]]:
                a, b = nodes[0](*argv), theirs(*argv)
                total += 1
                if a != b:
                    mismatches += 1
                    print("MISMATCH seed=%d RESP%d at the end %r: %r, redis %r" % (args.seed, proto, argv, a, b))
            for client in nodes + others + [theirs, their_other]:
                client.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)
    print("commands=%d mismatches=%d existing=%d%%" % (total, mismatches, 100 * on_existing // max(1, on_keys)))
    sys.exit(1 if mismatches else 0)


if __name__ == "__main__":
    main()
