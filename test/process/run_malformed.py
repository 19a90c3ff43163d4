#!/usr/bin/env python3
"""Malformed requests (malformed.py): Cairn and a redis-server of the same version are sent the same bytes, whole and byte by
byte, and must answer the same and close the connection or not."""
import concurrent.futures
import os
import shutil
import socket
import subprocess

from cluster import Runner, expect, free_base, wait_for
from malformed import CORPUS
from run_bad_input import healthy, single_ready

# What is answered in other words, with a reason: (name, Cairn's answer). docs/commands.md says so too.
DIFFERENT = {
    # Strings are at most 32 MiB, and so are the offsets of their bits.
    "arguments ('SETBIT', 'big', '268435456', '1')": b"-ERR bit offset is not an integer or out of range\r\n",
    # A command has at most 1,048,576 arguments, and an inline one 64 KiB even if it arrives whole.
    "count b'1048577'": b"-ERR Protocol error: invalid multibulk length\r\n",
    "inline too long with an end": b"-ERR Protocol error: too big inline request\r\n",
}


def hidden_line_end(data, theirs):
    """A zero byte hides the line end behind it from Redis, which waits for ever; Cairn reads the line."""
    return b"\0" in data and theirs == (b"", False)


def converse(port, data, piecewise=False):
    """(bytes that came back, whether the connection was closed by the other side)."""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reply, closed = b"", False
        try:
            if piecewise:
                for i in range(len(data)):
                    s.sendall(data[i:i + 1])
            else:
                s.sendall(data)
        except OSError:
            closed = True
        try:
            # A reply to what is sent last, if the request before it left the connection in order; else nothing comes.
            s.settimeout(0.08)
            while True:
                got = s.recv(65536)
                if not got:
                    return reply, True
                reply += got
        except TimeoutError:
            return reply, closed
        except OSError:
            return reply, True


def same_as_redis(workspace):
    node = single_ready(workspace, {"cluster.sharding": "whole"})
    port = free_base(1)
    redis = subprocess.Popen([shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", workspace.path],
                             stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None, "redis-server")
        wrong, zeros, answers = [], 0, {}

        def both(item):
            answers[item[0]] = (converse(port, item[1]), converse(node.client, item[1]))
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            list(pool.map(both, [item for item in CORPUS if not item[0].startswith("arguments")]))
        for item in CORPUS:  # these touch keys: one after the other
            if item[0] not in answers:
                both(item)
        for name, data in CORPUS:
            theirs, ours = answers[name]
            if name in DIFFERENT:
                expect(ours[0].startswith(DIFFERENT[name]), "%s: %r" % (name, ours))
            elif hidden_line_end(data, theirs):
                zeros += 1
            elif ours != theirs:
                wrong.append("%s: Cairn %r, Redis %r" % (name, ours, theirs))
        for text in wrong:
            print("  " + text)
        expect(not wrong, "%d of %d answered otherwise than by Redis, the first: %s" % (len(wrong), len(CORPUS), wrong[:1]))
        on_purpose = len(DIFFERENT) + zeros
        print("  %d requests answered as by Redis, %d otherwise on purpose" % (len(CORPUS) - on_purpose, on_purpose))

        def byte_by_byte(item):
            expect(converse(node.client, item[1], True) == answers[item[0]][1], "%s, byte by byte" % item[0])
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            list(pool.map(byte_by_byte, [i for i in CORPUS if len(i[1]) < 200 and not i[0].startswith("arguments")]))
        healthy(node)
        expect(os.path.exists("/proc/%d" % node.pid), "the node is gone")
    finally:
        redis.terminate()
        redis.wait()


def main():
    runner = Runner(__doc__)
    runner.check("malformed_same_as_redis", same_as_redis)
    runner.finish()


if __name__ == "__main__":
    main()
