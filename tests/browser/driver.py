"""A real Chromium, driven through chromedriver (W3C WebDriver) with nothing but the standard library.

Invariant: a browser has a profile directory of its own, reaches no network (every name resolves to nowhere), and is gone with its
`with` block, whatever happened in it.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"     # the key of an element's id (WebDriver, section "Elements")
KEYS = {"ArrowDown": "\ue015", "ArrowUp": "\ue013", "End": "\ue010", "Home": "\ue011", "PageDown": "\ue00f", "Enter": "\ue007",
        "Tab": "\ue004", "ArrowRight": "\ue014", "ArrowLeft": "\ue012"}


class DriverError(Exception):
    """What chromedriver answered instead of a result."""


class Browser:
    """One window of `width` x `height` CSS pixels.  `is_dark` is what the system is said to prefer."""

    def __init__(
        self, width: int = 1280, height: int = 900, *, is_dark: bool = False, scale: float = 1, is_phone: bool = False
    ) -> None:
        self.size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone}
        self.is_dark = is_dark

    def __enter__(self) -> Browser:
        assert CHROMEDRIVER is not None
        self._profile = tempfile.mkdtemp(prefix="ring3-browser-")
        self._driver = subprocess.Popen(
            [CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
            env={**os.environ, "HOME": self._profile},
        )
        try:
            self._session = ""
            self._base = f"http://127.0.0.1:{self._port()}"
            self._session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": self._wishes()}})["sessionId"]
            self.devtools("Emulation.setDeviceMetricsOverride", **self.size)
            scheme = "dark" if self.is_dark else "light"
            self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._session:
                self._ask("DELETE", f"/session/{self._session}")
        except (OSError, DriverError):
            pass                        # it is gone already
        finally:
            assert self._driver.stdout is not None
            self._driver.kill()
            self._driver.wait()
            self._driver.stdout.close()
            shutil.rmtree(self._profile, ignore_errors=True)

    def _port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port " in line:
                return int(line.rpartition("port ")[2].strip(" .\n"))
        raise DriverError("chromedriver did not start")

    def _wishes(self) -> dict[str, Any]:
        options = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-extensions", "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={self._profile}",
        ]
        return {
            "goog:chromeOptions": {"args": options, "binary": CHROMIUM},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=90) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise DriverError(json.load(error)["value"]["message"]) from None

    def _do(self, path: str, body: object = None) -> Any:
        return self._ask("POST", f"/session/{self._session}/{path}", body)

    # --- what tests use
    def devtools(self, command: str, **parameters: object) -> Any:
        """One command of the Chrome DevTools protocol."""
        return self._do("goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url: str) -> None:
        """Go there and wait until it has loaded.  What was said and asked for before is forgotten."""
        self._do("url", {"url": "about:blank"})
        self.console()
        self.requests()
        self._do("url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a JavaScript function's body."""
        return self._do("execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script: str, *arguments: object) -> Any:
        """The value a script gives to its last argument, a function."""
        return self._do("execute/async", {"script": script, "args": list(arguments)})

    def wait_for(self, expression: str, seconds: float = 20) -> Any:
        """The value of an expression once it is true.  Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(f"return {expression}")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {expression}")
            time.sleep(0.02)
        return value

    def _find(self, selector: str) -> str:
        element: str = self._do("element", {"using": "css selector", "value": selector})[ELEMENT]
        return element

    def click(self, selector: str) -> None:
        """Click the first element a selector finds, as a person would: it must be in sight."""
        self._do(f"element/{self._find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """Type into an element."""
        self._do(f"element/{self._find(selector)}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press a key of KEYS, or a letter, wherever the focus is."""
        letter = KEYS.get(key, key)
        actions = [{"type": "keyDown", "value": letter}, {"type": "keyUp", "value": letter}]
        self._do("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def text(self, selector: str) -> str:
        """What an element says, shown or not."""
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def console(self) -> list[str]:
        """What the console said since last asked."""
        return [str(entry["message"]) for entry in self._do("se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """The addresses that were asked for since last asked."""
        events = [json.loads(entry["message"])["message"] for entry in self._do("se/log", {"type": "performance"})]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]

    def picture(self, path: str, *, is_whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        answer = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(answer["data"]))
