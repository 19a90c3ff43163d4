"""A load that knows what was promised.

Every key has one writer, and the values written to it increase. What is known of a key at any moment:
  acked    the largest value that was acknowledged
  seen     the largest value that any read returned
  unknown  values whose outcome nobody told (connection lost, INDETERMINATE): each may take effect at any later time
A read must return at least what was acked or seen before it was sent, or a value of unknown outcome.
"""
import collections
import random
import selectors
import socket
import threading
import time

from cluster import slot_of
from resp import Client, Error, ReplyBuffer, encode


class Lane:
    """One connection with a window of commands. Its keys are written by it alone."""

    def __init__(self, number, home, keys, window):
        self.number, self.home, self.keys, self.window = number, home, keys, window
        self.port = None
        self.socket = None
        self.connecting = False
        self.waiting = collections.deque()
        self.replies = ReplyBuffer()
        self.output = b""
        self.not_before = 0.0
        self.late = False


class Load(threading.Thread):
    PATIENCE = 7.0  # above cluster.wait_for_leader: a command unanswered for longer is given up

    def __init__(self, ports, keys=10000, lanes=12, window=8, rate=6000, read_share=0.3, prefix="load", seed=1, patience=None,
                 read_only=False):
        super().__init__(daemon=True)
        self.ports, self.rate, self.read_share = list(ports), rate, read_share
        self.patience = patience or self.PATIENCE
        self.read_only = read_only  # every connection sends READONLY: followers answer its reads
        self.rng = random.Random(seed)
        self.names = [("%s-%d" % (prefix, i)).encode() for i in range(keys)]
        self.number = {name: i for i, name in enumerate(self.names)}
        self.acked, self.seen, self.last = [0] * keys, [0] * keys, [0] * keys
        self.unknown = collections.defaultdict(set)
        self.busy = bytearray(keys)
        self.down = set()        # ports that new connections leave alone
        self.lanes = [Lane(i, self.ports[i % len(self.ports)], list(range(i, keys, lanes)), window) for i in range(lanes)]
        self.late_lanes, self.late_wanted, self.late_keys = [], None, []
        self.stale, self.unexpected, self.wrong = [], collections.Counter(), []
        self.acks_by_slice = collections.Counter()  # 100 ms
        self.writes = self.reads = self.late_reads = self.indeterminate = self.given_up = self.refused = 0
        self.reordered = 0
        self.stopping, self.pausing = threading.Event(), threading.Event()
        self.idle = threading.Event()
        self.failure = None
        self.selector = selectors.DefaultSelector()

    # What a test asks

    def rate_between(self, begin, end):
        """Acknowledged writes a second."""
        first, last = int(begin * 10), int(end * 10)
        return 10.0 * sum(self.acks_by_slice[i] for i in range(first, last)) / max(1, last - first)

    def stop(self):
        self.stopping.set()
        self.join(20)
        if self.failure:
            raise self.failure

    def quiesce(self, limit=20.0):
        """Issues nothing more and waits until every command has an outcome."""
        self.pausing.set()
        return self.idle.wait(limit)

    def resume(self):
        self.idle.clear()
        self.pausing.clear()

    def verify(self, port):
        """Reads every key through one node: (lost, keys). Only while nothing is under way."""
        lost, known = [], 0
        with Client(port, 30) as client:
            for first in range(0, len(self.names), 500):
                batch = self.names[first:first + 500]
                for name, reply in zip(batch, client.pipeline([(b"GET", n) for n in batch])):
                    key = self.number[name]
                    floor = max(self.acked[key], self.seen[key])
                    value = self.value_of(name, reply)
                    known += floor > 0
                    if value is None or (value < floor and value not in self.unknown[key]):
                        lost.append("%s: %r, acknowledged %d" % (name.decode(), reply, floor))
        return lost, known

    # The loop

    def run(self):
        try:
            self.loop()
        except Exception as error:  # shown by stop()
            self.failure = error
            self.idle.set()

    def value_of(self, name, reply):
        """The number in a value; None if the reply is no value of this key."""
        if reply is None:
            return 0
        if isinstance(reply, Error) or not reply.startswith(name + b"="):
            return None
        return int(reply[len(name) + 1:].rstrip(b"."))

    def connect(self, lane, now):
        choices = [p for p in self.ports if p not in self.down] or self.ports
        lane.port = lane.home if lane.home in choices else choices[lane.number % len(choices)]
        lane.socket = socket.socket()
        lane.socket.setblocking(False)
        lane.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lane.replies, lane.output, lane.connecting = ReplyBuffer(), b"", True
        if self.read_only:
            lane.output = encode(b"READONLY")
            lane.waiting.append(("o", 0, 0, now))
        lane.socket.connect_ex(("127.0.0.1", lane.port))
        self.selector.register(lane.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, lane)

    def drop(self, lane, now):
        self.selector.unregister(lane.socket)
        lane.socket.close()
        lane.socket = None
        for kind, key, value, _ in lane.waiting:
            if kind == "w":
                self.unknown[key].add(value)
                self.busy[key] = 0
                self.given_up += 1
        lane.waiting.clear()
        lane.not_before = now + 0.02

    def settle(self, lane, reply, now):
        kind, key, value, _ = lane.waiting.popleft()
        if kind == "o":
            if reply != b"OK":
                self.unexpected["READONLY: %s" % reply] += 1
            return
        if kind == "w":
            self.busy[key] = 0
            if reply == b"OK" and not isinstance(reply, Error):
                self.writes += 1
                self.acked[key] = max(self.acked[key], value)
                self.acks_by_slice[int(now * 10)] += 1
                return
            text = str(reply)
            if text.startswith("INDETERMINATE"):
                self.indeterminate += 1
                self.unknown[key].add(value)
            elif text.startswith(("CLUSTERDOWN", "MISCONF")):
                self.refused += 1
            else:
                self.unexpected["SET: %s" % text] += 1
                self.unknown[key].add(value)
            return
        if isinstance(reply, Error):
            if reply.startswith(("CLUSTERDOWN", "INDETERMINATE")):
                self.refused += 1
            else:
                self.unexpected["GET: %s" % reply] += 1
            return
        self.reads += 1
        self.late_reads += lane.late
        got = self.value_of(self.names[key], reply)
        if got is None:
            self.wrong.append("%s answered %r" % (self.names[key].decode(), reply))
        elif got < value:
            if got in self.unknown[key]:
                self.reordered += 1
            else:
                self.stale.append("%s: %d after %d, through port %d" % (self.names[key].decode(), got, value, lane.port))
        elif got > self.seen[key]:
            self.seen[key] = got

    def read_command(self, lane, key, now):
        lane.waiting.append(("r", key, max(self.acked[key], self.seen[key]), now))
        return encode(b"GET", self.names[key])

    def issue(self, lane, now, budget):
        parts, rng = [], self.rng
        while budget >= 1 and len(lane.waiting) < lane.window:
            budget -= 1
            if rng.random() < self.read_share:
                parts.append(self.read_command(lane, rng.randrange(len(self.names)), now))
                continue
            key = lane.keys[rng.randrange(len(lane.keys))]
            if self.busy[key]:
                continue
            self.busy[key] = 1
            self.last[key] += 1
            value = self.last[key]
            lane.waiting.append(("w", key, value, now))
            parts.append(encode(b"SET", self.names[key], (self.names[key] + b"=%d" % value).ljust(64, b".")))
        if parts:
            lane.output += b"".join(parts)
            self.flush(lane, now)
        return budget

    def flush(self, lane, now):
        try:
            sent = lane.socket.send(lane.output)
            lane.output = lane.output[sent:]
        except BlockingIOError:
            pass
        except OSError:
            return self.drop(lane, now)
        self.selector.modify(lane.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if lane.output else 0), lane)

    def on_event(self, lane, mask, now):
        if lane.socket is None:
            return
        if lane.connecting:
            if lane.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self.drop(lane, now)
            if mask & selectors.EVENT_WRITE:
                lane.connecting = False
                self.flush(lane, now)
            if lane.socket is None or lane.connecting:
                return
        elif mask & selectors.EVENT_WRITE:
            self.flush(lane, now)
            if lane.socket is None:
                return
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = lane.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.drop(lane, now)
        lane.replies.feed(data)
        while True:
            there, reply = lane.replies.next()
            if not there:
                break
            self.settle(lane, reply, now)

    def loop(self):
        before, budget, offset = time.monotonic(), 0.0, 0
        while not self.stopping.is_set():
            for item, mask in self.selector.select(0.003):
                self.on_event(item.data, mask, time.monotonic())
            now = time.monotonic()
            budget = min(budget + (now - before) * self.rate, self.rate * 0.05 + 1)
            before = now
            pausing = self.pausing.is_set()
            offset += 1
            for i in range(len(self.lanes)):
                lane = self.lanes[(i + offset) % len(self.lanes)]
                if lane.socket is None:
                    if now >= lane.not_before:
                        self.connect(lane, now)
                    continue
                if lane.connecting:
                    continue
                if lane.waiting and now - lane.waiting[0][3] > self.patience:
                    self.drop(lane, now)
                elif not lane.waiting and lane.port != lane.home and lane.home not in self.down:
                    self.drop(lane, now)  # back home
                elif not pausing and budget >= 1 and not (lane.port != lane.home and lane.home not in self.down):
                    budget = self.issue(lane, now, budget)
            self.late_readers(now)
            if pausing and not any(l.waiting for l in self.lanes):
                self.idle.set()
        for lane in self.lanes + self.late_lanes:
            if lane.socket is not None:
                self.drop(lane, time.monotonic())

    # Reads that wait in the sockets of a stopped node

    def read_late(self, port, keys):
        """From now on: reads of `keys` are sent to `port`, which does not answer, over connections that never give up."""
        self.late_keys = list(keys)
        self.late_wanted = port

    def late_readers(self, now):
        if self.late_wanted and not self.late_lanes:
            for i in range(4):
                lane = Lane(i, self.late_wanted, [], 10 ** 9)
                lane.late = True
                self.late_lanes.append(lane)
                down, self.down = self.down, set()
                self.connect(lane, now)
                self.down = down
        for lane in self.late_lanes:
            if lane.socket is not None and not lane.connecting and self.late_wanted and now >= lane.not_before and self.late_keys:
                lane.not_before = now + 0.01
                lane.output += self.read_command(lane, self.rng.choice(self.late_keys), now)
                self.flush(lane, now)

    def late_done(self):
        """No more late reads; True once all are answered."""
        self.late_wanted = None
        return not any(l.waiting for l in self.late_lanes)

    def forget_late(self):
        self.late_lanes = []


def key_in(first_slot, last_slot, tag):
    for i in range(10 ** 6):
        key = "%s:%d" % (tag, i)
        if first_slot <= slot_of(key) <= last_slot:
            return key
    raise AssertionError("no key for slots %d-%d" % (first_slot, last_slot))


def first_writes(ports, keys, limit=20.0, from_time=None):
    """Writes every key through `ports`, retrying, until each was acknowledged once: key -> seconds since `from_time`.

    An unanswered write is left waiting, and another connection tries as well: what counts is the first that is heard of."""
    begin = from_time or time.monotonic()
    end = begin + limit
    selector, missing, times = selectors.DefaultSelector(), set(keys), {}
    again = []  # (when, key, port index)
    open_clients = []

    def attempt(key, index, now):
        port = ports[index % len(ports)]
        try:
            client = Client(port, 1.0)
            client.send("SET", key, "probe")
        except OSError:
            again.append((now + 0.01, key, index + 1))
            return
        open_clients.append(client)
        selector.register(client.socket, selectors.EVENT_READ, (client, key, index))
        again.append((now + 0.4, key, index + 1))

    for i, key in enumerate(keys):
        attempt(key, i, begin)
    while missing and time.monotonic() < end:
        for item, _ in selector.select(0.005):
            client, key, index = item.data
            selector.unregister(client.socket)
            now = time.monotonic()
            try:
                reply = client.read()
            except (OSError, ConnectionError):
                reply = None
            if reply == b"OK":
                if key in missing:
                    missing.discard(key)
                    times[key] = now - begin
            elif key in missing:
                again.append((now + 0.005, key, index + 1))
        now = time.monotonic()
        due = [a for a in again if a[0] <= now]
        again[:] = [a for a in again if a[0] > now]
        for _, key, index in due:
            if key in missing:
                attempt(key, index, now)
    for client in open_clients:
        client.close()
    return times, missing
