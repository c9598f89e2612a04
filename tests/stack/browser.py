"""Chromium without a window, told what to do over a pipe (Chrome DevTools Protocol): what a person would see.

No driver and no WebSocket: with `--remote-debugging-pipe` the browser reads commands from its file descriptor 3 and
writes answers and events to 4, JSON with a NUL after each. It has a new profile, and flags that keep it from asking its
maker for anything, so what it asks for is what the page asks for.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tests.stack.software import command
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 60.0
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a page did while it was loaded.

    Args:
        requests: addresses it asked for, its own first.
        complaints: console messages, exceptions and what the browser logged about it.
    """

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class Browser:
    """One browser with one page."""

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="gateway-test-browser-")
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        arguments = [command("chromium", "chromium"), *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        redirect = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", redirect, "bash", *arguments],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer = b""
        self._events: list[dict[str, Any]] = []
        self._count = 0
        self._session: dict[str, str] = {}
        [target] = [one for one in self.tell("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        attached = self.tell("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command and return its answer."""
        answer = self._answer(method, parameters)
        assert "result" in answer, f"{method}: {answer}"
        return dict(answer["result"])

    def _answer(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters} | self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        return self._read(lambda one: one.get("id") == self._count)

    def load(self, address: str, *, width: int = 1280, scheme: str = "light") -> Loaded:
        """Load a page in a window so wide, for somebody who prefers a light or a dark scheme."""
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._events.clear()
        self.tell("Page.navigate", url=address)
        self._read(lambda one: one.get("method") == "Page.loadEventFired")
        self.ask("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")  # drawn, and what followed
        found = Loaded()
        for event in self._events:
            match event["method"], event["params"]:
                case "Network.requestWillBeSent", {"request": {"url": url}}:
                    found.requests.append(url)
                case (("Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded"), told):
                    found.complaints.append(json.dumps(told))
        return found

    def ask(self, expression: str) -> Any:
        """Evaluate JavaScript in the page; a promise is waited for. A page that is just being loaded is asked again."""
        parameters = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer: Any = wait_for(
            lambda: self._answer("Runtime.evaluate", parameters).get("result"), SECONDS, f"an answer to {expression}"
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def close(self) -> None:
        """End the browser and remove its profile."""
        self._session = {}
        try:
            self.tell("Browser.close")
            self._process.wait(SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._to)
            os.close(self._from)
            shutil.rmtree(self._profile, ignore_errors=True)

    def _read(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a message; events met on the way are kept."""
        deadline = time.monotonic() + SECONDS
        while True:
            message = self._next(deadline)
            if "method" in message:
                self._events.append(message)
            if is_wanted(message):
                return message

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            readable, _, _ = select.select([self._from], [], [], max(deadline - time.monotonic(), 0))
            assert readable, f"the browser said nothing for {SECONDS:g} s"
            chunk = os.read(self._from, 1 << 20)
            assert chunk, "the browser went away"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
