"""Chromium without a window, driven through Debian's chromium-driver over the WebDriver protocol.

Needs nothing but the standard library. What the page logs is kept: an error there is an error of the page.
"""
import base64
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request

# Keys by the numbers WebDriver has for them.
ENTER, ESCAPE, TAB, SHIFT = "\ue007", "\ue00c", "\ue004", "\ue008"
LEFT, UP, RIGHT, DOWN, PAGE_UP, PAGE_DOWN = "\ue012", "\ue013", "\ue014", "\ue015", "\ue00e", "\ue00f"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
LIMIT_S = 120


class Browser:
    def __init__(self, folder):
        """The folder takes the browser's profile, and is gone when it is closed."""
        self.folder = folder
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        self.session = None
        port = None
        for line in self.driver.stdout:
            if port := re.search(r"started successfully on port (\d+)", line):
                break
        assert port, "chromedriver did not start"
        self.url = f"http://127.0.0.1:{port[1]}"
        # Without a sandbox, because tests may run as root; shared memory may be small in containers.
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                     "--force-device-scale-factor=1", f"--user-data-dir={folder}"]
        made = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments}}}})
        self.session = f"/session/{made['sessionId']}"

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method,
                                         data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def post(self, path, **body):
        return self.ask("POST", self.session + path, body)

    def close(self):
        # By itself, so that nothing of what it keeps in TMPDIR is left.
        urllib.request.urlopen(self.url + "/shutdown", timeout=LIMIT_S).close()
        self.driver.wait(LIMIT_S)
        self.driver.stdout.close()
        # What the browser has started may write a little longer than it runs.
        deadline = time.monotonic() + LIMIT_S
        while os.path.exists(self.folder) and time.monotonic() < deadline:
            shutil.rmtree(self.folder, ignore_errors=True)

    def devtools(self, command, **parameters):
        return self.post("/goog/cdp/execute", cmd=command, params=parameters)

    def look(self, width, height, scheme):
        """The size of the window, and what the system prefers: light or dark."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                      mobile=False)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path):
        """Returns when the page is loaded and painted."""
        self.post("/url", url=path.as_uri())
        self.painted()

    def painted(self):
        """Waits until what was asked for is on the screen."""
        self.post("/execute/async", args=[], script="requestAnimationFrame(() => setTimeout(arguments[0]))")

    def script(self, text, *args):
        return self.post("/execute/sync", script=text, args=list(args))

    def logged(self):
        """What the page wrote to the console since the last call."""
        return self.post("/se/log", type="browser")

    def find(self, selector):
        return self.post("/element", using="css selector", value=selector)[ELEMENT]

    def click(self, selector):
        self.post(f"/element/{self.find(selector)}/click")
        self.painted()

    def text(self, selector):
        """As it is shown: nothing where it is hidden."""
        return self.ask("GET", f"{self.session}/element/{self.find(selector)}/text")

    def texts(self, selector):
        return self.script("return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", selector)

    def attribute(self, selector, name):
        return self.script("return document.querySelector(arguments[0]).getAttribute(arguments[1])", selector, name)

    def focused(self):
        return self.script("return document.activeElement.id")

    def keys(self, text, shift=False):
        """Typed into whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        if shift:
            actions = [{"type": "keyDown", "value": SHIFT}, *actions, {"type": "keyUp", "value": SHIFT}]
        self.post("/actions", actions=[{"type": "key", "id": "keys", "actions": actions}])
        self.painted()

    def mouse(self, x, y, *then):
        """Moves to a point of the window; then: "click", "double", or another point to drag to."""
        move = {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        actions = [move]
        for what in then:
            if what in ("click", "double"):
                actions += [down, up] * (2 if what == "double" else 1)
            else:
                actions += [down, {**move, "x": round(what[0]), "y": round(what[1])}, up]
        self.post("/actions", actions=[{"type": "pointer", "id": "mouse", "actions": actions}])
        self.painted()

    def wheel(self, x, y, delta, shift=False):
        turn = [{"type": "scroll", "x": round(x), "y": round(y), "deltaX": 0, "deltaY": delta, "duration": 0}]
        sources = [{"type": "wheel", "id": "wheel", "actions": turn}]
        if shift:
            sources = [{"type": "key", "id": "keys", "actions": [{"type": "keyDown", "value": SHIFT}]},
                       {"type": "wheel", "id": "wheel", "actions": [{"type": "pause", "duration": 0}, *turn]}]
        self.post("/actions", actions=sources)
        self.ask("DELETE", self.session + "/actions")
        self.painted()

    def choose(self, selector, text):
        """An option of a list, by what it says."""
        self.script("""
            const list = document.querySelector(arguments[0]);
            list.value = [...list.options].find((option) => option.text === arguments[1]).value;
            list.dispatchEvent(new Event("change"));""", selector, text)
        self.painted()

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.ask("GET", self.session + "/screenshot")))
