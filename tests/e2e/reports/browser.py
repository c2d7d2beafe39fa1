"""How does a test ask a real browser what it makes of a page? Over the DevTools protocol, with what is installed."""

from __future__ import annotations

import base64
import json
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
_WITHIN_S = 30.0


def find_browser() -> str | None:
    """Return the path of a Chromium, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """One page that was opened, and what was heard of it."""

    browser: Browser
    session: str
    requests: list[str] = field(default_factory=list)
    """Addresses of everything that it asked for, itself included."""
    said: list[str] = field(default_factory=list)
    """What it wrote to the console, exceptions, and what its policy blocked."""
    dialogs: list[str] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the protocol to the page and return its result."""
        return self.browser.call(method, params, self.session)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")["data"]
        path.write_bytes(base64.b64decode(data))


class Browser:
    """A headless Chromium with a profile of its own, which is gone at the end."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [self._path, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            self._socket = websocket.create_connection(self._address(), timeout=_WITHIN_S, suppress_origin=True)
        except BaseException:
            self._stop()
            raise
        self._number = 0
        self._pages: dict[str, Page] = {}
        self._loaded: set[str] = set()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._profile.cleanup()

    def _address(self) -> str:
        assert self._process.stderr is not None
        deadline = time.monotonic() + _WITHIN_S
        said = b""
        while time.monotonic() < deadline:
            if not select.select([self._process.stderr], [], [], 0.2)[0]:
                continue
            piece = self._process.stderr.read1(4096)
            if not piece:
                break
            said += piece
            for line in said.decode(errors="replace").splitlines(keepends=True):
                if "DevTools listening on " in line and line.endswith("\n"):
                    return line.split("DevTools listening on ", 1)[1].strip()
        msg = f"{self._path} did not offer its DevTools within {_WITHIN_S:g} s; it said: {said[-500:]!r}"
        raise RuntimeError(msg)

    def call(self, method: str, params: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """Send one command and wait for its result; what happens meanwhile is noted at its page."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            heard = json.loads(self._socket.recv())
            if heard.get("id") == self._number:
                assert "error" not in heard, (method, heard["error"])
                return heard["result"]
            self._note(heard)

    def _note(self, heard: dict[str, Any]) -> None:
        page = self._pages.get(heard.get("sessionId", ""))
        if page is None:
            return
        method, params = heard.get("method"), heard.get("params", {})
        if method == "Network.requestWillBeSent":
            page.requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            page.said.append(json.dumps(params["args"]))
        elif method == "Runtime.exceptionThrown":
            page.said.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            page.said.append(params["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            page.dialogs.append(params["message"])
        elif method == "Page.loadEventFired":
            self._loaded.add(page.session)

    def open(self, url: str, *, width: int, height: int = 900, dark: bool = False) -> Page:
        """Open a page and wait until it has loaded.

        Args:
            url: its address.
            width: of the window in CSS pixels.
            height: of the window in CSS pixels.
            dark: whether the reader prefers dark pages.
        """
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Page.navigate", url=url)
        deadline = time.monotonic() + _WITHIN_S
        while session not in self._loaded:
            assert time.monotonic() < deadline, f"{url} did not load within {_WITHIN_S:g} s"
            page.evaluate("document.readyState")
            time.sleep(0.02)
        return page
