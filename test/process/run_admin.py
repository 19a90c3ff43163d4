#!/usr/bin/env python3
"""The admin API over its socket: every operation of its own description is called and its answer checked against the
schema; then who may ask, what is refused, and what slow connections can do to others (nothing).
"""
import http.client
import json
import os
import re
import socket
import time

import jsonschema

from cluster import BINARY, Cluster, Demo, Node, Runner, expect, free_base, http_get, http_request, wait_for

TOKEN = "a-token-of-some-length"


def single(workspace, settings=None):
    node = Node(workspace.sub("node"), free_base(), 1, settings, ["--bootstrap", "--initial-nodes", "1"])
    node.start().wait_ready()
    wait_for(lambda: ask(node.admin, "POST", "/v1/probe", headers=bearer(settings)).status == 200, "a probe")
    return node


def bearer(settings):
    token = (settings or {}).get("admin.token")
    return {"Authorization": "Bearer " + token} if token else {}


class Answer:
    def __init__(self, reply):
        self.status, self.body = reply.status, reply.read()
        self.headers = {k.lower(): v for k, v in reply.getheaders()}
        self.type = self.headers.get("content-type", "")

    def json(self):
        return json.loads(self.body)


def ask(port, method, path, body=None, headers=None, timeout=15.0):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def raw(port, data, timeout=8.0):
    """What comes back for these bytes up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(data)
        got = b""
        while True:
            try:
                piece = s.recv(65536)
            except ConnectionResetError:
                return got
            if not piece:
                return got
            got += piece


# ---- the description ----

def media(type_header):
    return ";".join(part.strip() for part in type_header.split(";"))


def resolve(document, schema):
    """The schema with components in reach of its references."""
    return {**schema, "components": document["components"]}


def check_against(document, operation, answer, what):
    answers = operation["responses"]
    expect(str(answer.status) in answers, "%s answers %d, which its description does not know" % (what, answer.status))
    content = answers[str(answer.status)].get("content", {})
    if not content:
        expect(answer.body == b"", "%s: a body where there should be none" % what)
        return
    types = {media(t): c for t, c in content.items()}
    expect(media(answer.type) in types, "%s is of type %s, described as %s" % (what, answer.type, sorted(types)))
    if "json" in answer.type:
        schema = resolve(document, types[media(answer.type)]["schema"])
        jsonschema.Draft202012Validator.check_schema(schema)
        errors = list(jsonschema.Draft202012Validator(schema).iter_errors(answer.json()))
        expect(not errors, "%s: %s" % (what, errors and errors[0].message))


def request_body(document, operation):
    if "requestBody" not in operation:
        return None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    names = schema["required"] if "required" in schema else schema["properties"]
    return {name: schema["properties"][name]["example"] for name in names}


# What an example may answer that names a job which is not there, or a scrub where one runs already, or none.
OTHERWISE = {"/v1/jobs/{id}": 404, "/v1/storage/scrub": 409}


def every_operation(workspace):
    cluster = Cluster(workspace.path).start()
    port = cluster.nodes[1].admin
    document = json.loads(http_get(port, "/v1/openapi.json"))
    expect(document["openapi"] == "3.1.0", "the version of OpenAPI")
    called, ids = 0, set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            expect(operation["operationId"] not in ids, "the id %s twice" % operation["operationId"])
            ids.add(operation["operationId"])
            expect(operation["summary"] and set(re.findall(r"\{(\w+)\}", path)) == {
                p["name"] for p in operation["parameters"] if p["in"] == "path"}, "%s: summary and parameters" % path)
            target = path
            for parameter in operation["parameters"]:
                jsonschema.validate(parameter["example"], parameter["schema"])
                if parameter["in"] == "path":
                    target = target.replace("{%s}" % parameter["name"], str(parameter["example"]))
            body = request_body(document, operation)
            headers = {"Content-Type": "application/json"} if body is not None else {}
            text = json.dumps(body) if body is not None else None
            what = "%s %s" % (method.upper(), target)
            answer = ask(port, method.upper(), target, text, headers)
            expect(answer.status < 400 or answer.status == OTHERWISE.get(path), "%s answers %d" % (what, answer.status))
            check_against(document, operation, answer, what)
            called += 1
            for parameter in operation["parameters"]:
                if parameter["in"] != "query":
                    continue
                named = "%s?%s=%s" % (target, parameter["name"], parameter["example"])
                answer = ask(port, method.upper(), named, text, headers)
                expect(answer.status in (200, 202) or answer.status == OTHERWISE.get(path), "%s %s answers %d" % (method, named, answer.status))
                check_against(document, operation, answer, named)
                called += 1
            for media_type in operation["responses"].get("200", {}).get("content", {}):
                answer = ask(port, method.upper(), target, text, {**headers, "Accept": media_type})
                expect(media(answer.type) == media(media_type) or answer.status == OTHERWISE.get(path), "%s as %s is %s" % (what, media_type, answer.type))
            if method == "get":
                head = ask(port, "HEAD", target)
                expect(head.status in (200, OTHERWISE.get(path)) and head.body == b"" and int(head.headers["content-length"]) > 0, "HEAD %s" % target)
            options = ask(port, "OPTIONS", target)
            expect(options.status == 204 and method.upper() in options.headers["allow"], "OPTIONS %s" % target)
            # What is wrong with a request is answered as described, too.
            for wrong, headers_wrong, wanted in ((target + "?nosuch=1", headers, 400), (target, {**headers, "Accept": "image/png"}, 406),
                                                 (target, {**headers, "Origin": "http://evil.example"}, 403),
                                                 (target, {**headers, "Host": "evil.example"}, 421)):
                answer = ask(port, method.upper(), wrong, text, headers_wrong)
                if wanted == 406 and not operation["responses"].get("200", {}).get("content"):
                    continue
                expect(answer.status == wanted, "%s %s answers %d, not %d" % (method, wrong, answer.status, wanted))
                check_against(document, operation, answer, "%s %s with %s" % (method, wrong, headers_wrong))
            if body is not None:
                for wrong, kind, wanted in (("{", "application/json", 400), (text, "text/plain", 415), ("[]", "application/json", 400),
                                            ('{"nosuch": 1, %s' % text[1:], "application/json", 400)):
                    answer = ask(port, method.upper(), target, wrong, {"Content-Type": kind})
                    expect(answer.status == wanted, "%s with %s answers %d" % (what, wrong, answer.status))
                    check_against(document, operation, answer, what)
    expect(called >= 25, "only %d operations were called" % called)
    index = json.loads(http_get(port, "/v1"))
    expect(len(index["operations"]) == len(ids), "the index and the description differ")


def errors(workspace):
    node = single(workspace)
    for method, path, body, wanted, field in (
            ("GET", "/nosuch", None, 404, None), ("GET", "/v1/nosuch", None, 404, None), ("GET", "//v1/cluster", None, 404, None),
            ("GET", "/v1/ranges/x", None, 400, "id"), ("GET", "/v1/ranges/99999999999999999999", None, 400, "id"),
            ("GET", "/v1/ranges/4096", None, 404, "id"), ("GET", "/v1/ranges?limit=0", None, 400, "limit"),
            ("GET", "/v1/ranges?limit=1&limit=2", None, 400, "limit"), ("GET", "/v1/ranges?state=sad", None, 400, "state"),
            ("GET", "/v1/ranges?key=%zz", None, 400, "key"), ("GET", "/v1/ranges?keyspace=no", None, 404, "keyspace"),
            ("GET", "/v1/ranges?keyspace=a%0d%0aX:%20y", None, 400, "keyspace"), ("GET", "/v1/config/no.key", None, 404, "key"),
            ("GET", "/v1/nodes/77", None, 404, "id"), ("GET", "/v1/keyspaces/no", None, 404, "name"), ("GET", "/v1/jobs/no", None, 404, "id"),
            ("PUT", "/v1/node/log-level", '{"level": "loud"}', 400, "level"), ("PUT", "/v1/node/log-level", "{}", 400, "level"),
            ("PUT", "/v1/node/log-level", '{"level": "info", "for_s": 0}', 400, "for_s"), ("POST", "/v1/probe", "{}", 400, None)):
        answer = ask(node.admin, method, path, body, {"Content-Type": "application/json"} if body else {})
        expect(answer.status == wanted, "%s %s answers %d, not %d: %s" % (method, path, answer.status, wanted, answer.body))
        expect(answer.type == "application/problem+json", "%s %s is of type %s" % (method, path, answer.type))
        problem = answer.json()
        expect(problem["status"] == wanted and problem["detail"] and problem.get("field") == field, "%s %s: %s" % (method, path, problem))
    for path, method, allowed in (("/v1/cluster", "DELETE", "GET, HEAD, OPTIONS"), ("/v1/probe", "GET", "POST, OPTIONS"),
                                  ("/v1/node/log-level", "PATCH", "GET, HEAD, PUT, OPTIONS"), ("/livez", "TRACE", "GET, HEAD, OPTIONS")):
        answer = ask(node.admin, method, path)
        expect(answer.status == 405 and answer.headers["allow"] == allowed, "%s %s: %d, %s" % (method, path, answer.status, answer.headers))
    key = ask(node.admin, "GET", "/v1/ranges?key=%00%ff%0d%0a")
    expect(key.status == 200 and key.json()["keyspace"] == "default", "a binary key: %s" % key.body)


def pages(workspace):
    node = single(workspace, {"cluster.ranges": 10})
    seen, path = [], "/v1/ranges?limit=3&keyspace=default"
    while path:
        answer = ask(node.admin, "GET", path)
        expect(answer.status == 200 and len(answer.json()) <= 3, "a page: %d" % answer.status)
        seen += [r["id"] for r in answer.json()]
        link = re.match(r'<([^>]*)>; rel="next"$', answer.headers.get("link", ""))
        path = link.group(1) if link else None
    expect(seen == list(range(1, 11)), "pages of three give %s" % seen)
    whole = ask(node.admin, "GET", "/v1/ranges")
    expect([r["id"] for r in whole.json()] == list(range(0, 11)) and "link" not in whole.headers, "all at once")
    expect(all(r["state"] == "healthy" for r in whole.json()), "states")
    expect(ask(node.admin, "GET", "/v1/ranges?leader=2").json() == [], "ranges led by nobody")
    expect(len(ask(node.admin, "GET", "/v1/ranges?leader=1&node=1&state=healthy").json()) == 11, "filters together")


# ---- who may ask ----

def token(workspace):
    settings = {"admin.token": TOKEN, "requirepass": "the-password"}
    node = single(workspace, settings)
    for path, wanted in (("/livez", 200), ("/readyz", 200), ("/", 200), ("/console.js", 200), ("/metrics", 401), ("/v1", 401),
                         ("/v1/openapi.json", 401), ("/nosuch", 401), ("/v1/config", 401)):
        answer = ask(node.admin, "GET", path)
        expect(answer.status == wanted, "%s without a token answers %d" % (path, answer.status))
        if wanted == 401:
            expect(answer.headers["www-authenticate"].startswith("Bearer") and "token" in answer.json()["detail"], "%s: %s" % (path, answer.body))
    for header, wanted in (("Bearer " + TOKEN, 200), ("bearer " + TOKEN, 200), ("Bearer " + TOKEN[:-1], 401), ("Bearer " + TOKEN + "x", 401),
                           ("Bearer ", 401), ("Basic " + TOKEN, 401), (TOKEN, 401)):
        answer = ask(node.admin, "GET", "/v1/cluster", headers={"Authorization": header})
        expect(answer.status == wanted, "%r answers %d" % (header, answer.status))
    config = ask(node.admin, "GET", "/v1/config", headers=bearer(settings))
    text = config.body.decode()
    expect(TOKEN not in text and "the-password" not in text, "a secret is shown")
    keys = {k["key"]: k for k in config.json()}
    expect(keys["admin.token"]["set"] and keys["admin.token"]["value"] is None and not keys["peer.secret"]["set"], "secrets")
    expect(keys["requirepass"]["origin"].startswith(node.file + ":") and keys["client.max"]["origin"] == "default", "origins")
    expect(keys["cluster.wait_for_leader"]["value"] == "5s" and keys["client.max"]["value"] == 10000 and keys["insecure"]["value"] is False, "values")
    with open(os.path.join(node.directory, "log")) as log:
        expect(TOKEN not in log.read(), "the token is in the log")


def demo_with_token(workspace):
    demo = Demo(workspace.path, 1, ["--admin.token=" + TOKEN])
    demo.wait_ready()
    expect(ask(demo.admin(), "GET", "/v1/cluster").status == 401, "the demo's token")
    demo.stop()


def binding(workspace):
    """Beyond loopback there is no admin API without a token."""
    import subprocess
    base = free_base()
    flags = ["--client.listen=127.0.0.1:%d" % base, "--peer.listen=127.0.0.1:%d" % (base + 1000), "--admin.listen=0.0.0.0:%d" % (base + 2000),
             "--requirepass=x", "--peer.secret=y"]
    file = os.path.join(workspace.path, "cairn.yaml")
    with open(file, "w") as out:
        out.write("data_dir: data\n")
    for more, words in (([], "admin.token"), (["--admin.token=short"], "16 characters")):
        ended = subprocess.run([BINARY, "start", "--config", file, "--bootstrap", *flags, *more], capture_output=True, text=True, timeout=15)
        expect(ended.returncode == 2 and words in ended.stderr, "%s: %d, %s" % (more, ended.returncode, ended.stderr))


def hosts(workspace):
    node = single(workspace, {"admin.advertise": "db1.example:8379", "admin.hosts": "cairn.internal, Other.Name"})
    for host, wanted in (("localhost", 200), ("LOCALHOST:1", 200), ("127.0.0.1:%d" % node.admin, 200), ("[::1]:9", 200), ("10.1.2.3", 200),
                         ("db1.example", 200), ("cairn.internal:80", 200), ("other.name", 200), ("evil.example", 421), ("localhost.evil.example", 421),
                         ("127.0.0.1.evil.example", 421), ("db1.example.", 421), ("", 421), ("localhost:80x", 421), ("[::1", 421)):
        answer = ask(node.admin, "GET", "/livez", headers={"Host": host})
        expect(answer.status == wanted, "Host %r answers %d" % (host, answer.status))
    here = "127.0.0.1:%d" % node.admin
    for method, headers, wanted in (
            ("GET", {"Origin": "http://" + here}, 200), ("GET", {"Origin": "http://evil.example"}, 403), ("GET", {"Origin": "null"}, 403),
            ("GET", {"Origin": "http://127.0.0.1:1"}, 403), ("GET", {"Sec-Fetch-Site": "cross-site"}, 200)):
        expect(ask(node.admin, method, "/v1/version", headers=headers).status == wanted, "%s with %s" % (method, headers))
    for headers, wanted in (({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403), ({"Sec-Fetch-Site": "same-origin"}, 200),
                            ({"Origin": "http://" + here}, 200), ({"Origin": "http://localhost:1"}, 403)):
        expect(ask(node.admin, "POST", "/v1/probe", headers=headers).status == wanted, "POST with %s" % headers)


# ---- malformed and slow ----

def malformed(workspace):
    node = single(workspace)
    head = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
    good = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for data, wanted in (
            (good, 200), (good.replace(b" /livez", b" http://localhost:1/livez"), 200), (good.replace(b" /livez", b" http://evil.example/livez"), 421),
            (b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", 400), (b"GET /livez HTTP/1.0\r\n\r\n", 200),
            (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n", 400),
            (head + b"X: a\rb\r\n\r\n", 400), (head + b"X: a\x00b\r\n\r\n", 400), (head + b"X Y: a\r\n\r\n", 400), (head + b"X\r\n\r\n", 400),
            (head + b"A: " + b"a" * 20000 + b"\r\n\r\n", 431), (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", 431),
            (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 414),
            (b"GARBAGE\r\n\r\n", 400), (b"GET /livez HTTP/9.9\r\n\r\n", 400), (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
            (b"GET livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400),
            (b"POST /v1/probe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n", 413),
            (b"POST /v1/probe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
            (b"POST /v1/probe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (b"POST /v1/probe HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400)):
        reply = raw(node.admin, data)
        status = int(reply.split(b" ")[1]) if reply.startswith(b"HTTP/1.") else None
        expect(status == wanted, "%r answers %r" % (data[:80], reply[:200]))
    body = json.dumps({"level": "info"}).encode()
    with socket.create_connection(("127.0.0.1", node.admin), 5) as s:
        s.sendall(b"PUT /v1/node/log-level HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                  b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        expect(s.recv(100).startswith(b"HTTP/1.1 100 "), "100 Continue")
        s.sendall(body)
        expect(s.recv(1000).startswith(b"HTTP/1.1 200 "), "the answer after it")


def headers(workspace):
    node = single(workspace)
    for path in ("/", "/v1/cluster", "/nosuch", "/metrics"):
        answer = ask(node.admin, "GET", path)
        for name, value in (("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer")):
            expect(answer.headers.get(name) == value, "%s: %s" % (path, name))
        policy = answer.headers["content-security-policy"]
        expect("default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy, policy)
        expect("access-control-allow-origin" not in answer.headers, "CORS")
    tag = ask(node.admin, "GET", "/").headers["etag"]
    again = ask(node.admin, "GET", "/", headers={"If-None-Match": tag})
    expect(again.status == 304 and again.body == b"", "If-None-Match")


def slow_connections(workspace):
    """Whatever others hold open, a request is answered at once."""
    node = single(workspace, {"cluster.ranges": 200})
    def quick(what):
        began = time.monotonic()
        for _ in range(5):
            expect(ask(node.admin, "GET", "/readyz").status == 200, what)
        expect(time.monotonic() - began < 2, "%s: %.1f s" % (what, time.monotonic() - began))
    for what, data in (("silent", b""), ("half a line", b"GET /v1/cl"), ("half a header", b"GET /livez HTTP/1.1\r\nHost: loc"),
                       ("half a body", b"PUT /v1/node/log-level HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"),
                       ("kept alive", b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                       ("reads no reply", b"GET /v1/ranges HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)):
        held = []
        for _ in range(150):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", node.admin))
            held.append(s)
            try:
                s.sendall(data)
            except OSError:
                pass  # it had to go already
        quick("beside 150 connections: " + what)
        for s in held:
            s.close()


def log_level(workspace):
    node = single(workspace)
    put = lambda body: ask(node.admin, "PUT", "/v1/node/log-level", json.dumps(body), {"Content-Type": "application/json"})
    expect(put({"level": "debug"}).json() == {"level": "debug", "returns_to": None}, "debug for good")
    expect(put({"level": "error", "for_s": 1}).json() == {"level": "error", "returns_to": "debug"}, "error for a second")
    wait_for(lambda: ask(node.admin, "GET", "/v1/node/log-level").json() == {"level": "debug", "returns_to": None}, "it goes back", 5)


def profile(workspace):
    node = single(workspace)
    with node.client_connection() as client:
        for i in range(200):
            client("SET", "k%d" % i, "v")
    whole = ask(node.admin, "GET", "/v1/node/profile?seconds=0").json()
    loops = {l["loop"]: l for l in whole["loops"]}
    expect(set(loops) == {"range", "link", "admin"}, "loops: %s" % sorted(loops))
    range_loop = loops["range"]
    expect(range_loop["turns"] >= 200 and 0 < range_loop["busy_share"] < 1, "the range loop: %s" % range_loop)
    expect(range_loop["phases_s"]["commit"] > 0 and range_loop["phases_s"]["replies"] > 0 and range_loop["phases_s"]["events"] > 0, "phases")
    expect(0 < range_loop["turn_s"]["p50"] <= range_loop["turn_s"]["p99"] <= range_loop["turn_s"]["p999"] < 5, "turns")
    began = time.monotonic()
    second = ask(node.admin, "GET", "/v1/node/profile?seconds=1").json()
    idle = {l["loop"]: l for l in second["loops"]}["range"]
    expect(time.monotonic() - began >= 1 and idle["busy_share"] < 0.5, "an idle second: %s" % idle)
    expect(abs(sum(idle["phases_s"].values()) - 1) < 0.3, "phases of a second: %s" % idle["phases_s"])


def main():
    runner = Runner(__doc__)
    for check in (every_operation, errors, pages, token, demo_with_token, binding, hosts, malformed, headers, slow_connections, log_level,
                  profile):
        runner.check(check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
