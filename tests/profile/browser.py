"""Headless Chromium over its debugging pipe, with the standard library: commands in, answers and events out.

The protocol is Chrome's DevTools Protocol; on --remote-debugging-pipe a message is JSON with a NUL behind it, read by
the browser from its descriptor 3 and written to 4.
"""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")


def find():
    """The browser's program, or None. RF_CHROMIUM names another."""
    if os.environ.get("RF_CHROMIUM"):
        return os.environ["RF_CHROMIUM"]
    return next((path for path in map(shutil.which, NAMES) if path), None)


def flags(profile):
    # No sandbox: the pages are our own, and containers cannot have one. The rest keeps the browser to itself.
    return ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
            "--user-data-dir=" + profile, "--no-first-run", "--disable-extensions", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "about:blank"]


def place_pipes(to_browser, from_browser):
    """In the child: the pipe's ends at 3 and 4, whichever numbers they had."""
    high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]
    os.dup2(high[0], 3, inheritable=True)
    os.dup2(high[1], 4, inheritable=True)


class Browser:
    """One browser with one page. What the page complained of and asked for is in `complaints` and `requests`."""

    def __init__(self, program):
        self.profile = tempfile.mkdtemp(prefix="refusion-page-")
        read_here, write_there = os.pipe()
        read_there, self.out = os.pipe()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([program] + flags(self.profile), pass_fds=(3, 4, read_there, write_there),
                                        preexec_fn=lambda: place_pipes(read_there, write_there),
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env={**os.environ, "HOME": self.profile})
        os.close(read_there)
        os.close(write_there)
        self.read_end, self.buffer = read_here, b""
        self.last, self.session = 0, None
        self.complaints, self.requests, self.loaded = [], [], 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def close(self):
        try:
            self.session = None
            self.call("Browser.close", timeout=10)
            self.process.wait(10)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        os.close(self.read_end)
        self.log.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def receive(self, deadline):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read_end], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.read_end, 1 << 16) if ready else b""
            if not data:
                self.log.seek(0)
                said = self.log.read().decode(errors="replace")[-2000:]
                raise RuntimeError("the browser %s; it said:\n%s" % ("ended" if ready else "does not answer", said))
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, timeout=60, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data):]
        deadline = time.monotonic() + timeout
        while True:
            answer = self.receive(deadline)
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise RuntimeError("%s: %s" % (method, answer["error"]["message"]))
                return answer["result"]
            self.note(answer.get("method"), answer.get("params", {}))

    def note(self, method, params):
        if method == "Runtime.consoleAPICalled":
            self.complaints.append("console.%s: %s" % (params["type"], [a.get("value") for a in params["args"]]))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append("exception: %s" % details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded":
            self.complaints.append("log: %s" % params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded += 1

    def open(self, path, width, height, scheme, touch=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.complaints, self.requests, before = [], [], self.loaded
        self.call("Page.navigate", url="file://" + path)
        deadline = time.monotonic() + 60
        while self.loaded == before:
            answer = self.receive(deadline)
            self.note(answer.get("method"), answer.get("params", {}))
        self.settle()

    def settle(self):
        """Until two frames were drawn: observers of sizes have run by then."""
        self.value("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError("%s: %s" % (expression, result["exceptionDetails"].get("exception", {}).get("description")))
        return result["result"].get("value")

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)
        self.settle()

    def click(self, x, y, count=1):
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=count)
        self.mouse("mouseReleased", x, y, button="left", clickCount=count)

    def key(self, name, modifiers=0):
        text = {"text": name} if len(name) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, modifiers=modifiers,
                      **(text if kind == "keyDown" else {}))
        self.settle()

    def screenshot(self, path, whole=False):
        result = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(result["data"]))
