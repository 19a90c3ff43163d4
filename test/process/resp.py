"""A small client of the Redis protocol: RESP2 and RESP3 replies, pipelines, nothing but the standard library."""
import socket


class Error(str):
    """An error reply. Not raised: tests want to look at it."""


class Status(bytes):
    """A simple string."""


class Map(dict):
    """A map of RESP3."""


def encode(*argv):
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in argv]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


class Client:
    def __init__(self, port, timeout=10.0, host="127.0.0.1"):
        self.port = port
        self.socket = socket.create_connection((host, port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 16)

    def close(self):
        try:
            self.file.close()
            self.socket.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *argv):
        self.socket.sendall(encode(*argv))

    def __call__(self, *argv):
        self.send(*argv)
        return self.read()

    def pipeline(self, commands):
        self.socket.sendall(b"".join(encode(*c) for c in commands))
        return [self.read() for _ in commands]

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection to port %d ended" % self.port)
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return Status(rest)
        if kind == b"-":
            return Error(rest.decode("latin1"))
        if kind in b":(":
            return int(rest)
        if kind in b"$=":
            size = int(rest)
            if size < 0:
                return None
            data = self.file.read(size + 2)
            if len(data) != size + 2:
                raise ConnectionError("the connection to port %d ended in a reply" % self.port)
            return data[:-2]
        if kind in b"*~>":
            size = int(rest)
            return None if size < 0 else [self.read() for _ in range(size)]
        if kind == b"%":
            return Map((self.read(), self.read()) for _ in range(int(rest)))
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        raise ConnectionError("not a reply: %r" % line)


class ReplyBuffer:
    """Replies that are one line or one bulk string, parsed out of bytes as they arrive: for event loops."""

    def __init__(self):
        self.data = bytearray()
        self.at = 0

    def feed(self, data):
        self.data += data

    def next(self):
        """(True, reply), or (False, None) when more bytes are needed."""
        end = self.data.find(b"\r\n", self.at)
        if end < 0:
            return False, None
        kind, rest = self.data[self.at:self.at + 1], bytes(self.data[self.at + 1:end])
        after = end + 2
        if kind == b"$" and rest != b"-1":
            size = int(rest)
            if len(self.data) < after + size + 2:
                return False, None
            reply, after = bytes(self.data[after:after + size]), after + size + 2
        elif kind == b"$":
            reply = None
        elif kind == b"-":
            reply = Error(rest.decode("latin1"))
        elif kind == b":":
            reply = int(rest)
        elif kind == b"+":
            reply = Status(rest)
        else:
            raise ConnectionError("not an expected reply: %r" % rest)
        self.at = after
        if self.at > 1 << 16:
            del self.data[:self.at]
            self.at = 0
        return True, reply
