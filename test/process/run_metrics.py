#!/usr/bin/env python3
"""/metrics: both formats are well formed, numbers move with what is done, cardinality is bounded, and the dashboard and
the alert rules of deploy/ name nothing that is not there.
"""
import json
import os
import re
import subprocess
import time

from cluster import ROOT, Cluster, Node, Runner, expect, free_base, info, metrics, wait_for
from run_admin import ask, single

OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
DEPLOY = os.path.join(ROOT, "deploy")


def busy(node, count=300):
    with node.client_connection() as client:
        for i in range(count):
            client("SET", "k%d" % i, "v" * 50)
            client("GET", "k%d" % i)
        client("HSET", "h", "f", "v")
        client("NOSUCH")
        client("GET", "h")
        client("DBSIZE")


def promtool(*arguments, stdin=None):
    return subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=60)


def text_format(workspace):
    node = single(workspace)
    busy(node)
    answer = ask(node.admin, "GET", "/metrics")
    expect(answer.type == "text/plain; version=0.0.4; charset=utf-8", answer.type)
    checked = promtool("check", "metrics", stdin=answer.body.decode())
    expect(checked.returncode == 0 and not checked.stderr.strip() and not checked.stdout.strip(),
           "promtool check metrics: %d, %s %s" % (checked.returncode, checked.stdout, checked.stderr))


def open_metrics(workspace):
    """Of the rules of OpenMetrics 1.0: order, names of families, EOF, no sample twice, buckets."""
    node = single(workspace)
    busy(node)
    answer = ask(node.admin, "GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0,text/plain;q=0.5"})
    expect(answer.type == OPEN_METRICS, answer.type)
    text = answer.body.decode()
    expect(text.endswith("\n# EOF\n") and text.count("# EOF") == 1, "the end")
    family, kind, seen, families = None, None, set(), set()
    for line in text.splitlines()[:-1]:
        words = line.split(" ", 3)
        if words[0] == "#":
            if words[1] == "HELP":
                family = words[2]
                expect(family not in families and words[3], "the family %s" % family)
                families.add(family)
            else:
                expect(words[1] == "TYPE" and words[2] == family and words[3] in ("counter", "gauge", "histogram"), line)
                kind = words[3]
                expect(kind != "counter" or not family.endswith("_total"), line)
            continue
        match = re.fullmatch(r'([a-z_][a-z0-9_]*)(\{(?:[a-z_]+="[^"\\\n]*",?)*\})? (\S+)', line)
        expect(match, line)
        name, labels, value = match.groups()
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[kind]
        expect(name in [family + s for s in suffixes], "%s under %s" % (line, family))
        expect((name, labels) not in seen, "twice: %s" % line)
        seen.add((name, labels))
        float(value)
    plain = metrics(node.admin)
    expect({n for n, _ in seen} == {re.sub(r"\{.*", "", n) for n in plain}, "the two formats show the same")


def numbers_move(workspace):
    cluster = Cluster(workspace.path).start()
    node = cluster.nodes[0]
    last = int(metrics(cluster.nodes[2].admin)["cairn_node_id"])
    before = metrics(node.admin)
    began = time.monotonic()
    busy(node, 500)
    elapsed = time.monotonic() - began
    after = metrics(node.admin)
    def grown(name):
        return after.get(name, 0) - before.get(name, 0)
    writes, reads = ('cairn_resp_command_duration_seconds_%s{family="string",access="%s"}' % ("%s", a) for a in ("write", "read"))
    expect(grown(writes % "count") == 500 and grown(reads % "count") == 501, "commands timed: %g, %g" % (grown(writes % "count"), grown(reads % "count")))
    expect(0 < grown(writes % "sum") <= elapsed, "time of writes: %g of %g s" % (grown(writes % "sum"), elapsed))
    expect(grown(writes % "sum") > grown(reads % "sum"), "writes take longer than reads")
    bounds = [(float(m.group(1)), v) for n, v in after.items()
              for m in [re.fullmatch(r'cairn_resp_command_duration_seconds_bucket\{family="string",access="write",le="(.*)"\}', n)] if m]
    expect(len(bounds) == 27 and sorted(bounds) == sorted(bounds, key=lambda b: b[1]) and bounds[-1][1] == after[writes % "count"], "buckets")
    for name, wanted in (('cairn_resp_calls_total{command="set"}', 500), ('cairn_resp_calls_total{command="get"}', 501),
                         ("cairn_resp_unknown_commands_total", 1), ('cairn_resp_command_duration_seconds_count{family="hash",access="write"}', 1),
                         ('cairn_resp_command_duration_seconds_count{family="server",access="read"}', 1)):
        expect(grown(name) == wanted, "%s grew by %g, not %g" % (name, grown(name), wanted))
    sums = {}
    for n in cluster.nodes:
        for name, value in metrics(n.admin).items():
            sums[name] = sums.get(name, 0) + value
    for name in ("cairn_log_sync_duration_seconds_count", "cairn_consensus_commit_duration_seconds_count", "cairn_consensus_apply_duration_seconds_count"):
        expect(sums[name] > 100 and sums[name.replace("_count", "_sum")] > 0, name)
    expect(all(after['cairn_consensus_follower_lag_entries{node="%d"}' % i] < 1000 for i in (2, 3)), "lag of the followers")
    expect('cairn_consensus_follower_lag_entries{node="1"}' not in after, "a node lags behind itself")
    expect(after['cairn_range_size_bytes{range="1"}'] > 0 and after["cairn_disk_size_bytes"] >= after["cairn_disk_free_bytes"] > 0, "sizes")
    # A follower that is gone is seen: by its lag, by the state of the ranges, by the number of nodes.
    cluster.nodes[2].kill()
    busy(node, 300)
    wait_for(lambda: metrics(node.admin)['cairn_nodes{state="unreachable"}'] == 1, "an unreachable node")
    wait_for(lambda: any(metrics(n.admin)['cairn_consensus_follower_lag_entries{node="%d"}' % last] > 0 for n in cluster.nodes[:2]), "its lag")
    wait_for(lambda: metrics(node.admin)['cairn_ranges{state="under_replicated"}'] > 0, "under-replicated ranges")


# What each command adds to keyspace_hits and keyspace_misses: as Redis 7.0 counts.
LOOKUPS = [(("SET", "a", "1"), 0, 0), (("GET", "a"), 1, 0), (("GET", "b"), 0, 1), (("MGET", "a", "b"), 1, 1), (("EXISTS", "a", "a", "b"), 2, 1),
           (("INCR", "a"), 0, 0), (("GETSET", "a", "2"), 1, 0), (("GETDEL", "b"), 0, 1), (("STRLEN", "a"), 1, 0),
           (("SET", "a", "1", "GET"), 1, 0), (("SET", "c", "1", "NX", "GET"), 0, 1), (("SET", "c", "1", "XX"), 0, 0), (("TTL", "b"), 0, 1),
           (("HSET", "h", "f", "v"), 0, 0), (("HGET", "h", "f"), 1, 0), (("HGET", "h", "g"), 1, 0), (("HGETALL", "i"), 0, 1), (("DEL", "b"), 0, 0),
           (("SCAN", "0"), 0, 0), (("WATCH", "a"), 0, 0), (("MULTI",), 0, 0), (("GET", "a"), 0, 0), (("APPEND", "a", "x"), 0, 0), (("EXEC",), 1, 0)]


def lookups(workspace):
    node = single(workspace)
    wait_for(lambda: ask(node.admin, "POST", "/v1/probe").status == 200, "a probe")
    def counted():
        found = info(node.client, "stats")
        return [int(found[name]) for name in ("keyspace_hits", "keyspace_misses", "expired_keys")]
    with node.client_connection() as client:
        for command, hits, misses in LOOKUPS:
            before = counted()
            client(*command)
            grown = [a - b for a, b in zip(counted(), before)]
            expect(grown == [hits, misses, 0], "%s counts %s" % (" ".join(command), grown))
        client("SET", "p", "1", "PX", "1")
        before = counted()
        wait_for(lambda: client("GET", "p") is None, "a key that is due")
        client("GET", "p")
        hits, misses, expired = (a - b for a, b in zip(counted(), before))
        expect(misses == 2 and expired == 1, "a key that was due counts %d misses, %d expired" % (misses, expired))
    found, text = counted(), metrics(node.admin)
    expect([text['cairn_keyspace_%s_total{by="leader"}' % n] for n in ("hits", "misses")] == found[:2], "on the metrics page")
    expect(text["cairn_keys_expired_total"] == found[2], "on the metrics page")
    net = info(node.client, "stats")
    expect(int(net["total_net_input_bytes"]) > 1000 and int(net["total_net_output_bytes"]) > 1000, "bytes: %s" % net)


def cpu_seconds(workspace):
    """Fractions of a second are there, and count."""
    node = single(workspace)
    seen = []
    wait_for(lambda: seen.append(metrics(node.admin)["cairn_process_cpu_seconds_total"]) or len(set(seen)) >= 3, "three values of the CPU time")
    expect(seen == sorted(seen) and 0 < seen[-1] - seen[0] < 2, "CPU time: %s" % seen[:5])


def cardinality(workspace):
    node = single(workspace, {"cluster.ranges": 1000})
    began = time.monotonic()
    answer = ask(node.admin, "GET", "/metrics")
    took = time.monotonic() - began
    series = [l for l in answer.body.decode().splitlines() if not l.startswith("#")]
    expect(len(series) < 2000 and not any(l.startswith("cairn_range_") for l in series), "%d series for 1000 ranges" % len(series))
    print("  %d series, %d bytes, %.1f ms with 1000 ranges" % (len(series), len(answer.body), took * 1000))


def names_used(text):
    return set(re.findall(r"\bcairn_[a-z0-9_]+", text))


def deployment_names(workspace):
    """Every metric of the dashboard and of the alert rules is one that /metrics shows, labels too."""
    cluster = Cluster(workspace.path).start()
    for node in cluster.nodes:
        busy(node, 20)
    known, labels = set(), {}
    for name in metrics(cluster.nodes[0].admin):
        bare, _, rest = name.partition("{")
        known.add(bare)
        for label, value in re.findall(r'([a-z_]+)="([^"]*)"', rest):
            labels.setdefault((bare, label), set()).add(value)
    files = [os.path.join(DEPLOY, f) for f in ("grafana-dashboard.json", "prometheus-alerts.yaml")]
    for file in files:
        with open(file) as f:
            text = f.read()
        used = names_used(text)
        expect(len(used) >= 8 and used <= known, "%s names %s" % (file, sorted(used - known)))
        for metric, selector in re.findall(r"\b(cairn_[a-z0-9_]+)\{([^}]*)\}", text.replace('\\"', '"')):
            for label, operator, value in re.findall(r'([a-z_]+)(=~?)"([^"$]*)"', selector):
                there = labels.get((metric, label))
                expect(there, "%s: %s has no label %s" % (file, metric, label))
                expect(operator == "=~" or value in there, "%s: %s has no %s=%s" % (file, metric, label, value))
    with open(files[0]) as f:
        dashboard = json.load(f)
    panels = [p for p in dashboard["panels"] if p["type"] != "row"]
    expect(len(panels) >= 10 and len({p["id"] for p in dashboard["panels"]}) == len(dashboard["panels"]), "panels")
    expect(all(t["expr"] and p["title"] for p in panels for t in p["targets"]), "a panel without a query")


def alert_rules(workspace):
    rules = os.path.join(DEPLOY, "prometheus-alerts.yaml")
    checked = promtool("check", "rules", rules)
    expect(checked.returncode == 0, "promtool check rules: %s %s" % (checked.stdout, checked.stderr))
    tested = promtool("test", "rules", os.path.join(DEPLOY, "prometheus-alerts-test.yaml"))
    expect(tested.returncode == 0, "promtool test rules: %s %s" % (tested.stdout, tested.stderr))


def main():
    runner = Runner(__doc__)
    for check in (text_format, open_metrics, numbers_move, lookups, cpu_seconds, cardinality, deployment_names, alert_rules):
        runner.check("metrics_" + check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
