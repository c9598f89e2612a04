"""Kafka's credentials, renewed while the gateway runs: a password, the CA file, a certificate and its key.

MQTT sources and the registry client read their files whenever they connect. librdkafka keeps what its producer was made
with, also when it connects again. So the files are read every few seconds, in a thread of their own, and a change of
their contents replaces the producer. Times and links of files do not matter, so it is the same whether they are written
in place, renamed into place, or behind a link that is swapped, as in Kubernetes.

A file that is missing, empty or half-written changes nothing: the producer stays, and the file is read again.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from gateway.errors import GatewayError
from gateway.log import Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.kafka.sink import KafkaSink

log = logging.getLogger(__name__)

READ_SECONDS = 5.0


class KafkaCredentials:
    """Reads Kafka's credentials again and again, and gives the sink those that changed."""

    def __init__(self, server: str, read: Callable[[], Mapping[str, Any]], sink: KafkaSink) -> None:
        self._server = server
        self._read = read
        self._sink = sink
        self._used = read()
        self._conditions = Conditions()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kafka credentials", daemon=True)

    def start(self) -> None:
        """Start the thread, if there are credentials."""
        if self._used:
            self._thread.start()

    def use(self, read: Callable[[], Mapping[str, Any]]) -> None:
        """Read in another way from now on, after a reload."""
        self._read = read
        self._renew()
        if self._used and not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(READ_SECONDS):
            self._renew()

    def _renew(self) -> None:
        try:
            credentials = self._read()
            if credentials != self._used:
                self._sink.renew(credentials)
                self._used = credentials
                log.info("New credentials are in use.", extra={"server": self._server})
            self._conditions.end()
        except GatewayError as error:
            if self._conditions.begins(str(error)):
                fields = {"server": self._server, "detail": str(error)}
                log.warning("New credentials cannot be read; the former ones stay in use.", extra=fields)
