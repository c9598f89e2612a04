"""The HTTP port under attack from this machine, all attacks at once, while readings flow: nobody notices.

The answers to single requests are tested in `tests/observe/test_http.py`; here, that the readings do not suffer.
"""

from __future__ import annotations

import resource
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from tests.security.site import DEVICE
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from tests.security.site import Site

CONNECTIONS = 10_000
THREADS = 4  # that flood; twice as many drip
READINGS = 5_000
SECONDS = 30.0
STRANGE = (
    b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%2e%2e/%2e%2e/gateway.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n",  # the file with a password lies in its working directory
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200,
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ffffffff\r\n" * 1_000,
    bytes(range(256)) * 100,
)
NOT_FOR_ANYBODY = (b"root:", b"mqtt-secret", b"password_file")


class Attack:
    """Everything bad that can be done to an HTTP port, until told to stop.

    Args:
        port: of 127.0.0.1.

    Attributes:
        answers: the first lines of what came back to strange requests.
        leaks: answers that hold what is not for anybody.
    """

    def __init__(self, port: int) -> None:
        self.answers: set[bytes] = set()
        self.leaks: list[bytes] = []
        self._port = port
        self._is_over = threading.Event()

    def flood(self, count: int) -> int:
        """Open so many connections and leave them all open; give how many were made."""
        with ExitStack() as held:
            for _ in range(count):
                held.enter_context(self._connect()).sendall(b"GET /metrics HTTP/1.1\r\n")
            return count

    def drip(self) -> None:
        """Take a place and send a head byte by byte, until sent away; then again."""
        while not self._is_over.is_set():
            with suppress(OSError), self._connect() as connection:
                while not self._is_over.wait(0.05):
                    connection.sendall(b"x")

    def ask_strangely(self) -> None:
        """Ask for what is not there, at the wrong name, at the wrong length."""
        for request in STRANGE * 20:
            with suppress(OSError), self._connect() as connection:
                with suppress(OSError):
                    connection.sendall(request)
                answer = b""
                while received := connection.recv(65_536):
                    answer += received
                self.answers.add(answer.split(b"\r\n", 1)[0])
                self.leaks += [answer for word in NOT_FOR_ANYBODY if word in answer]

    def end(self) -> None:
        """Let the slow ones go."""
        self._is_over.set()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), SECONDS)


def allowed_connections() -> int:
    """Tell how many connections this process may hold, of those that the attack wants."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(CONNECTIONS, most - 1_000)


def test_run_is_undisturbed_by_an_attack_on_its_http_port(site: Site) -> None:
    """Slow clients, 10,000 connections, strange requests: readings flow, no link breaks, nothing leaks."""
    with site.gateway(site.with_passwords()) as gateway:
        gateway.start()
        attack, count = Attack(gateway.port), allowed_connections()
        lines = len(gateway.log.splitlines())
        with ThreadPoolExecutor(4 * THREADS) as pool, Publisher(site.broker.port, credentials=DEVICE) as publisher:
            for _ in range(2 * THREADS):
                pool.submit(attack.drip)
            floods = [pool.submit(attack.flood, count // THREADS) for _ in range(THREADS)]
            strange = pool.submit(attack.ask_strangely)
            try:
                publisher.publish(("doors/d", b'{"state":"open"}') for _ in range(READINGS))
                assert sum(flood.result(4 * SECONDS) for flood in floods) == count // THREADS * THREADS
                strange.result(4 * SECONDS)
            finally:
                attack.end()
        gateway.wait_settled(READINGS)
        wait_for(gateway.is_ready, SECONDS, lambda: gateway.log[-4000:])
        assert gateway.metric("gateway_mqtt_connects_total", server="factoryBroker") == 1
        assert len(gateway.log.splitlines()) - lines < 10
        ledger = gateway.stop_and_read_ledger()
    assert (ledger["received"], ledger["delivered"], ledger["balanced"]) == (READINGS, READINGS, True)
    assert attack.leaks == []
    assert b"HTTP/1.1 503 Service Unavailable" in attack.answers
