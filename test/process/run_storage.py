#!/usr/bin/env python3
"""The storage engine through the admin API of three real nodes: the strategy of the keyspace is chosen on any node, holds on
all, and outlives restarts; what is no choice is refused by name.
"""
import json

from cluster import Cluster, Runner, expect, http_get, metrics, wait_for
from run_admin import ask

JSON = {"Content-Type": "application/json"}


def patch(node, body, name="default"):
    return ask(node.admin, "PATCH", "/v1/keyspaces/" + name, body if isinstance(body, str) else json.dumps(body), JSON)


def choose(strategy):
    return {"compaction": {"strategy": strategy}}


def shown(node):
    """(strategy, origin) of GET, once INFO and /metrics say the same: a node that starts may load the choice in between."""
    seen = []

    def agree():
        compaction = json.loads(http_get(node.admin, "/v1/keyspaces/default"))["compaction"]
        listed = {k["name"]: k["compaction"] for k in json.loads(http_get(node.admin, "/v1/keyspaces"))}
        named = 'cairn_lsm_compaction_strategy_info{keyspace="default",strategy="%s"}' % compaction["strategy"]
        in_metrics = metrics(node.admin).get(named) == 1
        with node.client_connection() as client:
            in_info = b"compaction_strategy:%s\r\n" % compaction["strategy"].encode() in client("INFO", "persistence")
        seen[:] = [compaction["strategy"], compaction["origin"]]
        return listed["default"] == compaction and listed["system"]["origin"] == "configuration" and in_metrics and in_info

    wait_for(agree, "GET, /metrics and INFO of node %d to agree" % node.number)
    return tuple(seen)


def strategy_of_the_keyspace(workspace):
    cluster = Cluster(workspace.path, settings={"storage.compaction_strategy": "lcs"}).start()
    for node in cluster.nodes:
        expect(shown(node) == ("lcs", "configuration"), "node %d begins with %s" % (node.number, shown(node)))
    for node, strategy in zip(cluster.nodes, ("ics", "twcs", "stcs")):
        answer = patch(node, choose(strategy))
        expect(answer.status == 200 and answer.json()["compaction"] == {"strategy": strategy, "origin": "keyspace"},
               "node %d answers %d %s" % (node.number, answer.status, answer.body))
        expect(shown(node) == (strategy, "keyspace"), "the node that was asked shows %s" % (shown(node),))
        for other in cluster.nodes:
            wait_for(lambda: shown(other) == (strategy, "keyspace"), "%s on node %d" % (strategy, other.number))

    # The configuration is only what holds without a choice.
    answer = ask(cluster.nodes[1].admin, "PATCH", "/v1/config", json.dumps({"storage.compaction_strategy": "twcs"}), JSON)
    expect(answer.status == 200, "PATCH /v1/config answers %d" % answer.status)
    expect(shown(cluster.nodes[1]) == ("stcs", "keyspace"), "the configuration has overruled the keyspace")

    cluster.kill()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    for node in cluster.nodes:
        wait_for(lambda: shown(node) == ("stcs", "keyspace"), "the choice after a restart on node %d" % node.number)
    expect(patch(cluster.nodes[2], choose(None)).status == 200, "the choice is not taken back")
    for node in cluster.nodes:
        wait_for(lambda: shown(node) == ("lcs", "configuration"), "the configuration again on node %d" % node.number)


def compression_of_the_keyspace(workspace):
    """Chosen on one node it holds on all, beside the strategy; zstd makes the oldest run smaller, and reads stay as they are."""
    cluster = Cluster(workspace.path, settings={"storage.memtable_bytes": "64KiB"}).start()
    node = cluster.nodes[0]
    text = b" ".join(b"word%d" % (i * 37 % 400) for i in range(150))

    def state(n):
        return json.loads(http_get(n.admin, "/v1/keyspaces/default"))["compression"]

    def fill(client):
        for i in range(300):
            client("SET", "key:%d" % i, b"%d " % i + text)
        expect(ask(node.admin, "POST", "/v1/storage/flush").status == 200, "flush")
        answer = ask(node.admin, "POST", "/v1/storage/compact?keyspace=default")
        expect(answer.status == 200 and answer.json()["complete"], "compact: %s" % answer.body)
        return sum(x["bytes"] for r in ask(node.admin, "GET", "/v1/storage/levels?keyspace=default").json() for x in r["runs"])

    with node.client_connection() as client:
        fill(client)
        with_lz4 = fill(client)
        expect(patch(cluster.nodes[1], {"compression": "zstd"}).status == 200, "zstd is refused")
        for other in cluster.nodes:
            wait_for(lambda: state(other) == {"algorithm": "zstd", "origin": "keyspace"}, "zstd on node %d" % other.number)
            expect(shown(other) == ("ics", "configuration"), "the strategy has changed")
        with_zstd = fill(client)
        expect(with_zstd < with_lz4 * 0.9, "zstd takes %d bytes, LZ4 %d" % (with_zstd, with_lz4))
        expect(all(client("GET", "key:%d" % i) == b"%d " % i + text for i in range(300)), "reads differ")
    node.kill()
    node.start()
    cluster.wait_ready()
    wait_for(lambda: state(node) == {"algorithm": "zstd", "origin": "keyspace"}, "the choice after a restart")
    with node.client_connection() as client:
        expect(client("GET", "key:7") == b"7 " + text, "a read after the restart")
    expect(patch(node, {"compression": None, "compaction": {"strategy": "lcs"}}).status == 200, "both at once")
    wait_for(lambda: state(node) == {"algorithm": "lz4", "origin": "configuration"} and shown(node) == ("lcs", "keyspace"), "both choices")


def refused(workspace):
    cluster = Cluster(workspace.path, nodes=1).start()
    node = cluster.nodes[0]
    for body, field in ((choose("rocks"), "compaction.strategy"), (choose(7), "compaction.strategy"), (choose(["lcs"]), "compaction.strategy"),
                        ({"compaction": {"strategy": "lcs", "levels": 3}}, "compaction.levels"), ({"compaction": "lcs"}, "compaction"),
                        ({"compaction": {}}, "compaction.strategy"), ({}, "compaction"), ({"compression": "brotli"}, "compression"), ({"compression": 2}, "compression"), ({**choose("lcs"), "ttl": 1}, "ttl"),
                        ("[]", "body"), ("{", "body")):
        answer = patch(node, body)
        expect(answer.status == 400 and answer.type == "application/problem+json", "%s: %d %s" % (body, answer.status, answer.type))
        expect(answer.json().get("field") == field, "%s: %s" % (body, answer.body))
    expect(patch(node, choose("lcs"), "other").status == 404, "a keyspace that is not there")
    expect(patch(node, choose("lcs"), "system").status == 409, "the system's keyspace")
    expect(shown(node) == ("ics", "configuration"), "something refused has changed something")


def levels_and_flush(workspace):
    """Rows go through a flush into runs; the figures add up, and one range can be asked for alone."""
    cluster = Cluster(workspace.path).start()
    node = cluster.nodes[0]
    with node.client_connection() as client:
        for i in range(300):
            client("SET", "key:%d" % i, "v" * 500)

    def get(path):
        answer = ask(node.admin, "GET", "/v1/storage/" + path)
        expect(answer.status == 200, "%s answers %d %s" % (path, answer.status, answer.body))
        return answer.json()

    def flush(path=""):
        answer = ask(node.admin, "POST", "/v1/storage/flush" + path)
        expect(answer.status == 200 and answer.json()["complete"], "flush answers %d %s" % (answer.status, answer.body))
        return answer.json()

    before = {r["range"]: r for r in get("levels")}
    one = max(before, key=lambda r: before[r]["memtable_bytes"])
    expect(flush("?range=%d" % one)["ranges"] == 1, "one range is flushed")
    alone = get("levels?range=%d" % one)
    expect(len(alone) == 1 and alone[0]["runs"] and alone[0]["flushed"] >= before[one]["applied"], "after its flush: %s" % alone)
    expect(flush()["ranges"] == len(before), "all are flushed")
    for r in get("levels"):
        for key in ("bytes", "files"):
            expect(sum(x[key] for x in r["runs"]) == sum(x[key] for x in r["levels"]), "runs and levels differ: %s" % r)
        expect(r["flushed"] >= before[r["range"]]["applied"], "range %d is flushed up to %d" % (r["range"], r["flushed"]))
        expect(all(x["smallest"] <= x["largest"] and x["entries"] > 0 for x in r["runs"]), "runs: %s" % r["runs"])
    figures = get("amplification")
    for key in ("user_bytes", "flushed_bytes", "total_bytes"):
        expect(figures["together"][key] == sum(r["amplification"][key] for r in figures["ranges"]) > 0, "%s does not add up" % key)
    expect(figures["together"]["write"] > 0, "no write amplification after a flush")
    expect(figures["recent_write"] > 0 and figures["temp_bytes"] == 0, "recent figures: %s" % {k: figures[k] for k in ("recent_write", "temp_bytes")})
    shapes = get("levels")
    expect(all(1 <= r["overlap_depth"] <= len(r["runs"]) and r["tier0_files"] >= 1 for r in shapes if r["runs"]), "depth: %s" % shapes)
    expect(all(r["pending_bytes"] == 0 and r["reshape_pending_bytes"] == 0 for r in shapes if not r["next"]), "pending: %s" % shapes)
    seen = metrics(node.admin)
    expect(seen["cairn_lsm_flush_seconds_count"] == seen["cairn_lsm_flushes_total"] > 0, "flushes")
    expect(seen["cairn_lsm_overlap_depth_max"] == max(r["overlap_depth"] for r in shapes), "the deepest range")
    expect(seen["cairn_lsm_tier0_files"] == sum(r["tier0_files"] for r in shapes), "tables of tier 0")
    for path in ("levels", "amplification"):
        answer = ask(node.admin, "GET", "/v1/storage/%s?range=4711" % path)
        expect(answer.status == 404 and answer.json()["field"] == "range", "%s of no range: %d" % (path, answer.status))


def full_compaction(workspace):
    """Overwritten and deleted rows are gone after it, on the node that was asked, and reads are as before."""
    cluster = Cluster(workspace.path).start()
    node = cluster.nodes[0]
    with node.client_connection() as client:
        for round in range(4):
            for i in range(200):
                client("SET", "key:%d" % i, "%d" % round + "v" * 300)
            for i in range(0, 200, 4):
                client("DEL", "key:%d" % i)
            expect(ask(node.admin, "POST", "/v1/storage/flush").status == 200, "flush")

        answer = ask(node.admin, "POST", "/v1/storage/compact?keyspace=default")
        expect(answer.status == 200 and answer.json()["complete"], "compact answers %d %s" % (answer.status, answer.body))
        for r in ask(node.admin, "GET", "/v1/storage/levels?keyspace=default").json():
            expect(len(r["runs"]) <= 1 and all(x["tombstones"] == 0 for x in r["runs"]), "after a full compaction: %s" % r)
            expect(not r["compacting"] and r["full_compaction_at"] == 0, "it is over: %s" % r)
        seen = metrics(node.admin)
        moved = {n: sum(v for k, v in seen.items() if k.startswith("cairn_lsm_compaction_%s_bytes_total" % n)) for n in ("read", "write")}
        by_reason = seen['cairn_lsm_compaction_write_bytes_total{strategy="ics",reason="request"}']
        expect(0 < by_reason <= moved["write"], "written on request: %s" % moved)
        expect(moved["read"] == seen['cairn_lsm_compaction_bytes_total{direction="read"}'], "read, by reason: %s" % moved)
        expect(moved["write"] == seen['cairn_lsm_compaction_bytes_total{direction="written"}'], "written, by reason: %s" % moved)
        expect(seen["cairn_lsm_compaction_throughput_bytes"] > 0, "throughput of compactions")
        rows = [client("GET", "key:%d" % i) for i in range(200)]
        seen = metrics(node.admin)
        expect(seen["cairn_lsm_read_runs_touched_count"] == seen["cairn_lsm_reads_total"] > 0, "lookups by runs touched")
        expect(seen["cairn_lsm_filter_true_positive_total"] > 0, "filters that were right")
        expect(rows == [None if i % 4 == 0 else b"3" + b"v" * 300 for i in range(200)], "reads differ after it")
    one = ask(node.admin, "POST", "/v1/storage/compact?range=1")
    expect(one.status == 200 and one.json()["ranges"] == 1, "of one range: %s" % one.body)
    for path, field in (("?range=4711", "range"), ("?keyspace=other", "keyspace")):
        answer = ask(node.admin, "POST", "/v1/storage/compact" + path)
        expect(answer.status == 404 and answer.json()["field"] == field, "%s answers %d" % (path, answer.status))


def no_leader(workspace):
    """Without a majority nothing is acknowledged, and nothing hangs."""
    cluster = Cluster(workspace.path).start()
    for node in cluster.nodes[1:]:
        node.kill()
    answer = patch(cluster.nodes[0], choose("lcs"))
    expect(answer.status == 503 and answer.json()["hint"], "a lone node answers %d %s" % (answer.status, answer.body))


def main():
    runner = Runner(__doc__)
    for check in (strategy_of_the_keyspace, compression_of_the_keyspace, refused, levels_and_flush, full_compaction, no_leader):
        runner.check(check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
