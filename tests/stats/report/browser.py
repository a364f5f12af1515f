"""A headless Chromium, driven over a pipe by its own protocol (DevTools): JSON messages that end in a zero byte.

Nothing but the standard library: the page under test is a file, and what is asked of the browser is little.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMEOUT_S = 60.0
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


def chromium() -> str:
    """The browser. Fails the test without one: whether a page works is not to be guessed."""
    found = shutil.which("chromium")
    assert found, "chromium is missing, which ./doit check installs: apt-get install --no-install-recommends chromium"
    return found


@dataclass
class Page:
    """One tab. ``events`` are all that the browser told since it was opened, in order."""

    send_fd: int
    receive_fd: int
    session: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    _last: int = 0
    _unread: bytes = b""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result; what happens meanwhile is kept in ``events``."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.send_fd, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait_for(self, method: str) -> dict[str, Any]:
        """The first event of that name since the page was opened."""
        while True:
            for event in self.events:
                if event.get("method") == method:
                    return event
            self.events.append(self._receive())

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key of the keyboard, down and up. ``code``: its Windows virtual key code."""
        common = {"key": key, "windowsVirtualKeyCode": code, "code": key}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def resize(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """What the reader's system says of light and dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path, *, top: float = 0, height: float = 0) -> None:
        """The whole page, or that part of it, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "height": height or size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def of(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of all events of these names."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self.receive_fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"the browser said nothing for {TIMEOUT_S} s"
            data = os.read(self.receive_fd, 1 << 20)
            assert data, "the browser ended"
            self._unread += data
        message, _, self._unread = self._unread.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextmanager
def opened(profile: Path, extra: Sequence[str] = ()) -> Iterator[Page]:
    """A browser with one empty tab that tells of network, console and log."""
    to_browser, from_us = os.pipe()
    to_us, from_browser = os.pipe()
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [chromium(), *FLAGS, *sandbox, f"--user-data-dir={profile}", *extra, "about:blank"]

    def pipes() -> None:  # the browser reads 3 and writes 4
        reading, writing = os.dup(to_browser), os.dup(from_browser)
        os.dup2(reading, 3)
        os.dup2(writing, 4)

    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=pipes,
        close_fds=False,
        start_new_session=True,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        page = Page(from_us, to_us)
        targets = page.call("Target.getTargets")["targetInfos"]
        (tab,) = [target["targetId"] for target in targets if target["type"] == "page"]
        page.session = page.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.events.clear()
        yield page
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        os.close(from_us)
        os.close(to_us)


def load(page: Page, file: Path) -> float:
    """Open a file and wait until it is whole; gives the seconds from the request to the end of the load event."""
    page.events.clear()
    page.call("Page.navigate", url=file.as_uri())
    page.wait_for("Page.loadEventFired")
    return float(page.run("performance.getEntriesByType('navigation')[0].loadEventStart")) / 1000
