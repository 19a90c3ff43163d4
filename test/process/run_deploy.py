#!/usr/bin/env python3
"""What deploy/ holds: the unit, the image's commands, the compose file. Where no Docker runs, the commands of the image and
of the compose file are run as they stand, as processes, with the addresses of the containers mapped to loopback.
"""
import os
import re
import shlex
import signal
import socket
import subprocess
import time

import yaml

from cluster import BINARY, ROOT, Failure, Runner, expect, free_base, gone, wait_for
from resp import Client
from run_admin import ask

DEPLOY = os.path.join(ROOT, "deploy")


def read(*path):
    with open(os.path.join(DEPLOY, *path)) as f:
        return f.read()


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


# ---- the unit ----

def unit(workspace):
    text = read("systemd", "cairn.service")
    path = os.path.join(workspace.path, "cairn.service")
    with open(path, "w") as out:
        out.write(text.replace("/usr/local/bin/cairnd", BINARY).replace("file:///usr/share/doc/cairn/operations.md", "man:systemd(1)"))
    verified = run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path])
    noise = [l for l in verified.stderr.splitlines() if "cairn" in l]
    expect(verified.returncode == 0 and not noise, "systemd-analyze verify: %d %s" % (verified.returncode, verified.stderr))
    rated = run(["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", path])
    level = re.search(r"exposure level for \S+: ([0-9.]+)", rated.stdout)
    print("  exposure level %s" % (level and level.group(1)))
    expect(rated.returncode == 0 and level and float(level.group(1)) <= 2.0, "systemd-analyze security: %s" % rated.stdout[-300:])
    sysusers = run(["systemd-sysusers", "--dry-run", os.path.join(DEPLOY, "systemd", "cairn.sysusers")])
    expect(sysusers.returncode == 0 or "dry-run" in sysusers.stderr, "sysusers: %s" % sysusers.stderr)
    line = re.search(r"^ExecStart=(.*)$", text, re.M).group(1)
    expect(shlex.split(line)[:4] == ["/usr/local/bin/cairnd", "start", "--config", "/etc/cairn/cairn.yaml"], line)
    # The example of its configuration is valid with the secrets that make-secrets writes, and not without.
    secrets = make_secrets(workspace)
    config = os.path.join(DEPLOY, "systemd", "cairn.yaml")
    expect(run([BINARY, "config", "check", config], env={}).returncode == 2, "the example without secrets")
    checked = run([BINARY, "config", "check", config], env=secrets)
    expect(checked.returncode == 0, "the example with secrets: %s" % checked.stderr)


def make_secrets(workspace):
    path = os.path.join(workspace.path, "cairn.env")
    script = os.path.join(DEPLOY, "make-secrets")
    expect(run([script, path]).returncode == 0 and os.stat(path).st_mode & 0o777 == 0o600, "make-secrets")
    with open(path) as f:
        first = f.read()
    values = dict(line.split("=", 1) for line in first.splitlines())
    expect(set(values) == {"CAIRN_REQUIREPASS", "CAIRN_PEER__SECRET", "CAIRN_ADMIN__TOKEN"} and all(len(v) == 48 for v in values.values())
           and len(set(values.values())) == 3, "what it writes: %s" % sorted(values))
    run([script, path])
    with open(path) as f:
        expect(f.read() == first, "make-secrets changes an existing file")
    return values


def notify(workspace):
    """READY=1 when the node serves, WATCHDOG=1 from its loop, STOPPING=1 on SIGTERM; exit 0 within 5 s."""
    base = free_base()
    path = os.path.join(workspace.path, "notify")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(path)
    listener.settimeout(10)
    process = subprocess.Popen([BINARY, "start", "--config", node_file(workspace.sub("node")), "--bootstrap",
                                "--client.listen=127.0.0.1:%d" % base, "--peer.listen=127.0.0.1:%d" % (base + 1000),
                                "--admin.listen=127.0.0.1:%d" % (base + 2000)],
                               env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        heard = []
        while "READY=1" not in heard or heard.count("WATCHDOG=1") < 5:
            heard.append(listener.recv(100).decode())
        expect(ask(base + 2000, "GET", "/readyz").status == 200, "READY=1 before /readyz")
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        while heard[-1] != "STOPPING=1":
            heard.append(listener.recv(100).decode())
        out, log = process.communicate(timeout=10)
        expect(process.returncode == 0 and time.monotonic() - began < 5, "SIGTERM: %d after %.1f s" % (process.returncode, time.monotonic() - began))
        expect("READY\n" in out and " ready\n" in log and " stopped\n" in log, "READY is neither printed nor logged: %s" % log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        listener.close()


def node_file(directory, text="data_dir: data\n"):
    path = os.path.join(directory, "cairn.yaml")
    with open(path, "w") as out:
        out.write(text)
    return path


def health_command(workspace):
    base = free_base()
    file = node_file(workspace.path, "data_dir: data\nclient.listen: 127.0.0.1:%d\npeer.listen: 127.0.0.1:%d\nadmin.listen: 127.0.0.1:%d\n"
                     "admin.token: some-token-of-length\n" % (base, base + 1000, base + 2000))
    health = [BINARY, "health", "--config", file]
    nobody = run(health)
    expect(nobody.returncode == 1 and "no answer" in nobody.stdout, "health without a node: %s" % nobody)
    expect(run([*health, "--no.such=1"]).returncode == 2, "health with a wrong flag")
    process = subprocess.Popen([BINARY, "start", "--config", file, "--bootstrap", "--initial-nodes", "2"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: run([*health, "--live"]).returncode == 0, "it lives")
        waits = run(health)
        expect(waits.returncode == 1 and "Service unavailable" in waits.stdout, "health of a node that waits for others: %s" % waits)
    finally:
        process.terminate()
        process.wait(10)


# ---- the image ----

def instructions():
    text = re.sub(r"\\\n", " ", read("Dockerfile"))
    found = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, rest in found]


def image(workspace):
    all_of = instructions()
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    expect({w for w, _ in all_of} <= known, "instructions: %s" % {w for w, _ in all_of})
    bases = [r for w, r in all_of if w == "FROM"]
    expect(bases == ["debian:12-slim AS build", "debian:12-slim"], "bases: %s" % bases)
    last = all_of[[i for i, (w, _) in enumerate(all_of) if w == "FROM"][-1]:]
    by_word = {w: r for w, r in last}
    expect(by_word["USER"] == "cairn" and by_word["STOPSIGNAL"] == "SIGTERM", "user and signal")
    for word, rest in last:
        if word == "COPY" and not rest.startswith("--from=build"):
            source = rest.split()[0]
            expect(os.path.exists(os.path.join(ROOT, source)), "COPY %s" % source)
        if word == "RUN":
            expect(run(["bash", "-n", "-c", rest]).returncode == 0, "RUN %s" % rest)
    # The packages that it installs are those that the binary needs.
    wanted = set()
    for library in re.findall(r"=> (/\S+)", run(["ldd", BINARY]).stdout):
        real = os.path.realpath(library)  # packages name it with or without /usr
        owner = next(filter(None, (run(["dpkg", "-S", p]).stdout for p in (real, real.removeprefix("/usr"), library))), "?")
        wanted.add(owner.split(":")[0])
    installed = set(re.search(r"--no-install-recommends\s+(.*?)\s+&&", by_word["RUN"] if "apt-get" in by_word["RUN"] else
                              next(r for w, r in last if w == "RUN")).group(1).split())
    expect(wanted - {"libc6", "libgcc-s1", "libstdc++6"} == installed, "packages: %s, needed %s" % (sorted(installed), sorted(wanted)))


# ---- the compose file ----

class Service:
    """A service of compose.yaml as a process: its command, variables and health check, addresses mapped to loopback."""

    def __init__(self, workspace, name, spec, secrets, mapped):
        self.name, self.spec, self.mapped = name, spec, mapped
        self.directory = workspace.sub(name)
        self.file = node_file(self.directory, read("container.yaml").replace("/data", os.path.join(self.directory, "data")))
        environment = {**secrets, **spec["environment"]}
        self.environment = {k: self.map(v) for k, v in environment.items()}
        for key, port in (("CLIENT", mapped["client"]), ("PEER", mapped["peer"]), ("ADMIN", mapped["admin"])):
            self.environment["CAIRN_%s__LISTEN" % key] = "0.0.0.0:%d" % port
            if key != "PEER":
                self.environment["CAIRN_%s__ADVERTISE" % key] = "127.0.0.1:%d" % port
        self.process = None

    def map(self, text):
        for address, port in self.mapped["addresses"].items():
            text = text.replace(address, "127.0.0.1:%d" % port)
        return text

    def start(self):
        entry = [w for w in ["start", "--config", self.file]]
        self.out = open(os.path.join(self.directory, "out"), "ab")
        self.process = subprocess.Popen([BINARY, *entry, *[self.map(w) for w in self.spec["command"]]], env=self.environment,
                                        stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out)
        self.out.close()

    def healthy(self):
        test = self.spec["healthcheck"]["test"]
        expect(test[:2] == ["CMD", "cairnd"], "the health check")
        if self.process.poll() is not None:
            raise Failure("%s ended with %d" % (self.name, self.process.returncode))
        words = [self.file if w == "/etc/cairn/cairn.yaml" else w for w in test[2:]]
        return run([BINARY, *words], env=self.environment).returncode == 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        expect(code == 0, "%s ends with %d on SIGTERM" % (self.name, code))


def compose(workspace):
    document = yaml.safe_load(read("compose.yaml"))
    services = document["services"]
    expect(len(services) == 3 and set(document["volumes"]) == set(services), "services and volumes")
    seen = set()
    for name, spec in services.items():
        for port in spec["ports"]:
            expect(re.fullmatch(r"127\.0\.0\.1:\d+:(6379|8379)", port) and port.rsplit(":", 1)[0] not in seen, "%s publishes %s" % (name, port))
            seen.add(port.rsplit(":", 1)[0])
        expect(spec["volumes"] == ["%s:/data" % name] and spec["read_only"] and spec["cap_drop"] == ["ALL"] and spec["env_file"] == "cairn.env", name)
        expect(spec["stop_grace_period"] == "10s" and spec["restart"] == "unless-stopped", name)
        published = dict((p.split(":")[2], ":".join(p.split(":")[:2])) for p in spec["ports"])
        expect(spec["environment"]["CAIRN_CLIENT__ADVERTISE"] == published["6379"] and spec["environment"]["CAIRN_ADMIN__ADVERTISE"] == published["8379"], name)
    secrets = make_secrets(workspace)
    base = free_base(3)
    addresses = {spec["environment"]["CAIRN_PEER__ADVERTISE"]: base + 1000 + i for i, spec in enumerate(services.values())}
    processes = [Service(workspace, name, spec, secrets, {"client": base + i, "peer": base + 1000 + i, "admin": base + 2000 + i, "addresses": addresses})
                 for i, (name, spec) in enumerate(services.items())]
    password = secrets["CAIRN_REQUIREPASS"]
    try:
        def up():
            for service in processes:
                service.start()
            began = time.monotonic()
            for service in processes:
                wait_for(service.healthy, "%s is healthy" % service.name, 30, 0.1)
            return time.monotonic() - began
        first = up()
        with Client(base + 1) as client:
            expect(str(client("GET", "a")).startswith("NOAUTH"), "a client without the password")
            expect(client("AUTH", password) == b"OK", "AUTH")
            for i in range(200):
                expect(client("SET", "k%d" % i, "v%d" % i) == b"OK", "SET")
        expect(ask(base + 2000, "GET", "/v1/cluster").status == 401, "the admin API without the token")
        answer = ask(base + 2002, "GET", "/v1/cluster", headers={"Authorization": "Bearer " + secrets["CAIRN_ADMIN__TOKEN"]})
        expect(answer.json()["nodes"] == {"total": 3, "reachable": 3} and answer.json()["status"] == "ok", "the cluster: %s" % answer.body)
        for service in processes:
            service.stop()
        second = up()
        with Client(base + 2) as client:
            client("AUTH", password)
            expect(all(client("GET", "k%d" % i) == b"v%d" % i for i in range(200)), "the data after down and up")
        for service in processes:
            service.stop()
        print("  healthy after %.1f s, again after %.1f s" % (first, second))
    finally:
        for service in processes:
            if service.process and service.process.poll() is None:
                service.process.kill()
                service.process.wait()


def main():
    runner = Runner(__doc__)
    for check in (unit, notify, health_command, image, compose):
        runner.check("deploy_" + check.__name__, check)
    runner.finish()


if __name__ == "__main__":
    main()
