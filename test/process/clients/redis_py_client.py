"""redis_py_client.py MODE PORT... : as node_client.js, with redis-py."""
import json
import select
import sys
import time

import redis
from redis.cluster import ClusterNode, RedisCluster


def connect(mode, ports):
    if mode == "cluster":
        return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", p) for p in ports], socket_timeout=1, socket_connect_timeout=1,
                            decode_responses=True)
    return redis.Redis(host="127.0.0.1", port=ports[0], socket_timeout=1, decode_responses=True)


def main():
    mode, ports = sys.argv[1], [int(p) for p in sys.argv[2:]]
    client = connect(mode, ports)
    commands = 0
    for i in range(40):
        key = "py-%s-%d" % (mode, i)
        assert client.set(key, "v%d" % i) is True
        assert client.get(key) == "v%d" % i
        assert client.hset(key + "-h", mapping={"a": 1, "b": 2}) == 2
        assert client.hgetall(key + "-h") == {"a": "1", "b": "2"}
        assert client.delete(key) == 1 and client.expire(key + "-h", 100) and client.ttl(key + "-h") in (99, 100)
        commands += 7
    pipe = client.pipeline(transaction=False)
    for i in range(50):
        pipe.set("py-p%d" % i, i)
    assert pipe.execute() == [True] * 50
    print("ready", flush=True)
    longest, errors, writes, last = 0.0, 0, 0, None
    while not select.select([sys.stdin], [], [], 0)[0]:
        began = time.monotonic()
        while True:
            try:
                client.set("py-count-%d" % (writes % 32), writes)
                break
            except redis.exceptions.RedisError as error:
                errors, last = errors + 1, str(error)
                time.sleep(0.02)
        writes += 1
        longest = max(longest, time.monotonic() - began)
    print("done " + json.dumps({"commands": commands, "writes": writes, "errors": errors, "longest_ms": int(longest * 1000),
                                "last_error": last}), flush=True)


main()
