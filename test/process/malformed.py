"""Requests that no client library would send, most of them wrong. Each is what one connection sends, as bytes.

CORPUS: (name, bytes). Cairn must answer each as Redis does, byte for byte, up to and including the end of the connection;
DIFFERENT names those where it does not, with what it answers instead."""
import random

from resp import encode


def _corpus():
    out = []

    def add(name, data):
        out.append((name, data))

    ping = encode("PING")
    # Counts and lengths of the multibulk form
    for text in (b"", b"-", b"+1", b"01", b"1 ", b" 1", b"1a", b"a", b"0x1", b"1.0", b"1e0", b"-1", b"-2", b"0", b"00", b"--1",
                 b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809",
                 b"18446744073709551616", b"1048577", b"2147483648", b"1\x00", b"\xff", b"99999999999999999999999999"):
        add("count %r" % text, b"*" + text + b"\r\n" + ping)
        add("length %r" % text, b"*1\r\n$" + text + b"\r\nPING\r\n" + ping)
        add("second length %r" % text, b"*2\r\n$4\r\nECHO\r\n$" + text + b"\r\nabc\r\n")
    for kind in b"+-:,_#(=!%~>|*@a \x00\xff\r":
        add("bulk of kind %r" % bytes([kind]), b"*1\r\n" + bytes([kind]) + b"4\r\nPING\r\n")
        add("request of kind %r" % bytes([kind]), bytes([kind]) + b"4\r\nPING\r\n")
    add("nested arrays", b"*1\r\n*1\r\n$4\r\nPING\r\n")
    add("null as a command", b"*1\r\n$-1\r\n")
    add("empty command", b"*1\r\n$0\r\n\r\n" + ping)
    add("empty array, then a command", b"*0\r\n" + ping)
    add("negative array, then a command", b"*-1\r\n" + ping)
    add("bulk too long by 1", b"*1\r\n$3\r\nPING\r\n" + ping)
    add("line end of another kind", b"*1\n$4\nPING\n")
    add("bare carriage returns", b"*1\r$4\rPING\r")
    add("anything instead of the line end behind a bulk", b"*1\r\n$4\r\nPINGxy" + ping)
    add("anything instead of the line feed behind a count", b"*1\rx$4\r\nPING\r\n")
    add("count line too long", b"*" + b"1" * 70000)
    add("length line too long", b"*1\r\n$" + b"1" * 70000)
    add("inline too long", b"a" * 70000)
    add("inline too long with an end", b"a " * 35000 + b"\r\n")
    # Inline commands
    for text in (b"", b" ", b"\t", b"PING", b"  PING  ", b"PING\tx", b"ping 'x'", b'ping "x"', b'ping "x', b"ping 'x", b'ping "x"y',
                 b"ping 'x'y", b'ping "\\x41\\n"', b'ping "\\xzz"', b"ping '\\''", b'ping "\\"', b'"PING"', b"ping \"a\" \"b\"",
                 b"ping x'y'", b'ping ""', b"ping ''", b'""', b"PING\x00", b"ping \x00\x01\xff", b"\x00", b"\xff\xfe", b"ping a  b",
                 b"get", b"set a", b"*", b"$", b"$1", b"*x", b"{}", b"GET / HTTP/1.0", b"nosuch a b c", b"ping \\x41", b"ECHO \"\\x00\\r\\n\""):
        add("inline %r" % text, text + b"\r\n" + b"ECHO end\r\n")
    add("inline with bare line feeds", b"PING\nPING\n")
    # Names, subcommands and arities
    for argv in ((), ("",), ("GET",), ("GET", "a", "b"), ("get\0", "a"), ("SET", "a"), ("\r\n",), ("a" * 200, "b" * 200), ("PING", "a", "b"),
                 ("nosuch", "a\r\nb"), ("nosuch",) + ("x" * 50,) * 10, ("CLIENT",), ("CLIENT", ""), ("CLIENT", "nosuch"), ("CLIENT", "ID", "x"),
                 ("CLIENT", "a" * 200), ("CLIENT", "KILL"), ("CLIENT", "SETNAME", "a b"), ("CLIENT", "PAUSE", "-1"), ("CONFIG", "GET"),
                 ("CONFIG", "SET", "a"), ("CONFIG", "nosuch"), ("CONFIG", "SET", "nosuch", "1"), ("COMMAND", "nosuch"), ("COMMAND", "GETKEYS"),
                 ("COMMAND", "GETKEYS", "GET"), ("COMMAND", "GETKEYS", "PING", "a"), ("COMMAND", "GETKEYS", "nosuch", "a"), ("COMMAND", "LIST", "x"),
                 ("MEMORY", "USAGE"), ("MEMORY", "nosuch"), ("SLOWLOG", "GET", "x"), ("SLOWLOG", "nosuch"), ("LATENCY", "nosuch"),
                 ("OBJECT|HELP",), ("client|id",), ("SELECT", "x"), ("SELECT", "-1"), ("SELECT", "99999999999999999999"), ("HELLO", "x"), ("HELLO", "1"),
                 ("HELLO", "4"), ("HELLO", "3", "AUTH"), ("HELLO", "3", "nosuch"), ("HELLO", "99999999999"), ("AUTH",), ("AUTH", "x"),
                 ("AUTH", "a", "b"), ("AUTH", "a", "b", "c"), ("ECHO",), ("ECHO", "a", "b"), ("TIME", "x"), ("RESET", "x"), ("DBSIZE", "x"),
                 ("FLUSHALL", "x"), ("FLUSHALL", "SYNC", "x"), ("ACL", "nosuch"), ("ACL", "CAT", "nosuch"), ("MODULE", "nosuch"), ("LOLWUT", "VERSION")):
        if argv and argv[0] != "LOLWUT":
            add("command %r" % (tuple(a[:20] for a in argv[:4]),), encode(*argv) + encode("ECHO", "end"))
    # Arguments of data commands
    for argv in (("SET", "a", "b", "EX"), ("SET", "a", "b", "EX", "0"), ("SET", "a", "b", "EX", "-1"), ("SET", "a", "b", "EX", "x"),
                 ("SET", "a", "b", "PX", "9223372036854775807"), ("SET", "a", "b", "EX", "9223372036854775807"), ("SET", "a", "b", "NX", "XX"),
                 ("SET", "a", "b", "nosuch"), ("SET", "a", "b", "KEEPTTL", "EX", "1"), ("SET", "a", "b", "EX", "1", "PX", "1"),
                 ("SETEX", "a", "0", "b"), ("SETEX", "a", "x", "b"), ("PSETEX", "a", "-5", "b"), ("GETEX", "a", "EX"), ("GETEX", "a", "EX", "0"),
                 ("GETEX", "a", "nosuch"), ("EXPIRE", "a", "x"), ("EXPIRE", "a", "1", "nosuch"), ("EXPIRE", "a", "1", "NX", "XX"),
                 ("EXPIRE", "a", "9223372036854775807"), ("INCRBY", "a", "x"), ("INCRBY", "a", "9223372036854775808"), ("INCRBY", "a", "1.5"),
                 ("INCRBY", "a", " 1"), ("INCRBYFLOAT", "a", "x"), ("INCRBYFLOAT", "a", "nan"), ("DECRBY", "a", "-9223372036854775808"),
                 ("SETRANGE", "a", "-1", "b"), ("SETRANGE", "a", "x", "b"), ("SETRANGE", "a", "536870912", "b"), ("GETRANGE", "a", "x", "1"),
                 ("SETBIT", "a", "-1", "1"), ("SETBIT", "a", "0", "2"), ("SETBIT", "a", "4294967296", "1"), ("SETBIT", "big", "268435456", "1"), ("GETBIT", "a", "x"), ("BITCOUNT", "a", "1"),
                 ("BITCOUNT", "a", "0", "1", "nosuch"), ("BITPOS", "a", "2"), ("BITPOS", "a", "1", "x"), ("BITOP", "NOT", "a", "a", "a"),
                 ("BITOP", "nosuch", "a", "a"), ("BITFIELD", "a", "GET", "u65", "0"), ("BITFIELD", "a", "GET", "i8", "x"), ("BITFIELD", "a", "nosuch"),
                 ("BITFIELD", "a", "SET", "i8", "0", "x"), ("HSET", "h", "a"), ("HSET", "h", "a", "b", "c"), ("HINCRBY", "h", "f", "x"),
                 ("HINCRBYFLOAT", "h", "f", "x"), ("HRANDFIELD", "h", "x"), ("HRANDFIELD", "h", "1", "nosuch"), ("HMSET", "h", "a"), ("MSET", "a"),
                 ("MSET", "a", "1", "a"), ("MSETNX", "a", "1", "a"), ("RENAME", "nosuchkey", "nosuchkey"), ("COPY", "a", "a", "nosuch"),
                 ("LCS", "a", "a", "LEN", "IDX"), ("LCS", "a", "a", "MINMATCHLEN", "x"), ("LCS", "a", "a", "nosuch")):
        add("arguments %r" % (argv,), encode(*argv) + encode("ECHO", "end"))
    rng = random.Random(42)
    for i in range(40):
        add("noise %d" % i, bytes(rng.randrange(256) for _ in range(rng.randrange(1, 40))).replace(b"\n", b"") + b"\r\n")
    return out


CORPUS = _corpus()
