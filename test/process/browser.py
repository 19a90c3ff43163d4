"""A headless Chromium, driven over its DevTools protocol: WebSocket frames over a socket, nothing else needed."""
import base64
import json
import os
import socket
import struct
import subprocess

from cluster import Failure, expect, wait_for


class Browser:
    def __init__(self, directory, width=1280, height=900):
        self.profile = os.path.join(directory, "profile")
        self.log = open(os.path.join(directory, "chromium.log"), "wb")
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
             "--remote-debugging-port=0", "--user-data-dir=" + self.profile, "--window-size=%d,%d" % (width, height), "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.number, self.events, self.socket, self.pending = 0, [], None, b""
        try:
            self.connect()
        except Exception:
            self.close()
            raise

    def connect(self):
        port_file = os.path.join(self.profile, "DevToolsActivePort")
        def port():
            expect(self.process.poll() is None, "chromium ended")
            with open(port_file) as f:
                lines = f.read().split("\n")
            return len(lines) >= 2 and lines
        lines = wait_for(port, "chromium's port", 40)
        self.open_socket(int(lines[0]), lines[1])
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = None
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")

    def open_socket(self, port, path):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (path, port, key)).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.socket.recv(1)
        expect(b" 101 " in head, "chromium refuses the WebSocket")

    session = None

    def send(self, text):
        data, mask = text.encode(), os.urandom(4)
        size = struct.pack("!B", 0x80 | len(data)) if len(data) < 126 else struct.pack("!BH", 0x80 | 126, len(data)) if len(data) < 65536 \
            else struct.pack("!BQ", 0x80 | 127, len(data))
        self.socket.sendall(b"\x81" + size + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(data)))

    def exactly(self, count):
        while len(self.pending) < count:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise Failure("chromium closed the connection")
            self.pending += piece
        data, self.pending = self.pending[:count], self.pending[count:]
        return data

    def receive(self):
        message = b""
        while True:
            first, second = self.exactly(2)
            length = second & 127
            if length == 126:
                length = struct.unpack("!H", self.exactly(2))[0]
            elif length == 127:
                length = struct.unpack("!Q", self.exactly(8))[0]
            message += self.exactly(length)
            if first & 0x80:
                return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        self.send(json.dumps(request))
        while True:
            message = self.receive()
            if message.get("id") == self.number:
                expect("error" not in message, "%s: %s" % (method, message.get("error")))
                return message["result"]
            self.events.append(message)

    # What a test does

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.until("location.href === %s && document.readyState === 'complete'" % json.dumps(url), "the page " + url)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        expect("exceptionDetails" not in result, "%s: %s" % (expression, result.get("exceptionDetails")))
        return result["result"].get("value")

    def text(self, selector):
        return self.value("(document.querySelector(%s) || {}).innerText || ''" % json.dumps(selector))

    def until(self, expression, what, limit=40):
        return wait_for(lambda: self.value(expression), what, limit, 0.1)

    def size(self, width, height, dark=False, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def screenshot(self, path, whole=True):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        with open(path, "wb") as out:
            out.write(base64.b64decode(data))
        return os.path.getsize(path)

    def complaints(self):
        """Errors of the console, exceptions, and violations of the page's policy."""
        found = []
        for event in self.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))
            elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
                found.append("%s: %s" % (parameters["type"], [a.get("value") for a in parameters["args"]]))
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"]["text"] + " " + parameters["entry"].get("url", ""))
        return found

    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def close(self):
        if self.socket:
            try:
                self.session = None
                self.call("Browser.close")
            except (OSError, Failure, ValueError):
                pass
            self.socket.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
