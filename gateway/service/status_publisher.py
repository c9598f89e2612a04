"""Publishes the status of the gateway, retained, to one of its brokers, with a last will that says `offline`.

It has a connection and a client id of its own, `ID-status`, in a thread of its own: the gateway's MQTT session stays as
it is, and a broker that does not answer delays nothing. A status that cannot be published is only logged, and the next
connection publishes the newest one. Nothing is queued.

A broker may replace client ids (Mosquitto: `use_username_as_clientid`); this connection would then end the gateway's.
So each connection begins with a probe's, which finds that out; then nothing is published. It begins after the gateway's
own connection, because the probe sees that the client id is taken by the session that the broker has by then.

What is retained outlives the gateway. `status.json` beside the spool remembers it, written before anything is
published; what the settings no longer ask for is removed at the next start.

Of several workers only the first publishes, its own figures: the parent of the workers has none.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway import __version__, files
from gateway.errors import GatewayError
from gateway.installation import broker_of
from gateway.log import Conditions
from gateway.mqtt.probe import BrokerProbe, ReplacedIdError
from gateway.mqtt.source import Link
from gateway.observe.figures import RateTracker, figures
from gateway.observe.status_document import discovery, document, moment, problems, topic_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from prometheus_client import Metric

    from gateway.core.model import Contract
    from gateway.mqtt.broker import Broker
    from gateway.mqtt.source import MqttSource
    from gateway.observe.peer_state import Health
    from gateway.settings.settings import Settings

log = logging.getLogger(__name__)

FILE_NAME = "status.json"
LOOK_SECONDS = 5.0  # between two looks for a change
RETRY_SECONDS = 15.0
STEP_SECONDS = 0.5  # between two looks whether the gateway is connected
OFFLINE = {"state": "offline", "ready": False}


class Peer(NamedTuple):
    """A broker of the contract."""

    broker: Callable[[], Broker]  # with the login as its file is now
    session_expiry: int  # of the gateway's session, in seconds
    is_up: Callable[[], bool]  # the gateway is connected itself, or does not connect there


class Publication(NamedTuple):
    """What is published, and where."""

    server: str
    gateway_id: str
    every_seconds: float
    fixed: dict[str, Any]  # members of every document, the last will included
    discovers: bool  # by Home Assistant

    @property
    def retained(self) -> dict[str, str]:
        """The retained messages besides the status."""
        topic, message = discovery(self.gateway_id)
        return {topic: json.dumps(message)} if self.discovers else {}

    @property
    def topics(self) -> set[str]:
        """All topics with a retained message."""
        return {topic_of(self.gateway_id), *self.retained}


class StatusPublisher:
    """Publishes while the gateway runs, and removes what a former start has published; both only if there is some."""

    def __init__(
        self,
        peers: Mapping[str, Peer],
        publication: Publication | None,
        health: Callable[[], Health],
        collect: Callable[[], Iterable[Metric]],
        memory: Path,
    ) -> None:
        self._peers = peers
        self._publication = publication
        self._health = health
        self._collect = collect
        self._memory = memory
        self._rates = RateTracker()
        self._conditions = Conditions()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Start the thread, if there is something to do."""
        if self._publication or self._remembered():
            self._thread.start()

    def stop(self, seconds: float) -> None:
        """Publish that the gateway is offline, and end the thread; do not wait longer than this."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._remove_old()
                if self._publication:
                    self._publish(self._publication)
            except (OSError, ValueError, GatewayError) as error:
                self._warn(str(error))
                if isinstance(error, ReplacedIdError):
                    return
                self._stopping.wait(RETRY_SECONDS)
            else:
                return

    def _publish(self, publication: Publication) -> None:
        topic, offline = topic_of(publication.gateway_id), json.dumps(publication.fixed | OFFLINE)
        with self._connection(publication.server, f"{publication.gateway_id}-status", (topic, offline)) as connection:
            self._remember({**self._remembered(), publication.server: sorted(publication.topics)})
            for each, message in publication.retained.items():
                connection.publish(each, message)
            shown, due = None, 0.0
            while not self._stopping.is_set():
                health, now = self._health(), time.monotonic()
                if shown != (health.ready, problems(health)) or now >= due:
                    shown, due = (health.ready, problems(health)), now + publication.every_seconds
                    connection.publish(topic, self._document(publication, health))
                    self._conditions.end()
                connection.listen(_ignore, min(LOOK_SECONDS, publication.every_seconds), self._stopping)
            connection.publish(topic, offline)

    def _document(self, publication: Publication, health: Health) -> str:
        snapshot = figures(self._collect())
        made = document(health, snapshot, self._rates(snapshot, time.monotonic()))
        return json.dumps(publication.fixed | made | {"contract": snapshot.contract, "at": moment(time.time())})

    def _remove_old(self) -> None:
        """Remove the retained messages of former starts that are no longer asked for."""
        kept = {self._publication.server: self._publication.topics} if self._publication else {}
        for server, topics in self._remembered().items():
            old = sorted({*topics} - kept.get(server, set()))
            if old and server in self._peers:
                with self._connection(server, f"{token_hex(8)}-status") as connection:
                    for topic in old:
                        connection.publish(topic, "")
            left = {name: those for name, those in self._remembered().items() if name != server}
            self._remember(left | ({server: sorted(kept[server])} if server in kept else {}))

    def _remembered(self) -> dict[str, list[str]]:
        try:
            found = json.loads(self._memory.read_text(encoding="utf-8"))
            return {str(server): [str(topic) for topic in topics] for server, topics in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _remember(self, topics: dict[str, list[str]]) -> None:
        if topics != self._remembered():
            files.replace(self._memory, json.dumps(topics))

    def _warn(self, detail: str) -> None:
        if self._conditions.begins(detail):
            server = self._publication.server if self._publication else ", ".join(self._remembered())
            log.warning("The status is not published.", extra={"server": server, "detail": detail})

    def _connection(self, server: str, client_id: str, will: tuple[str, str] | None = None) -> BrokerProbe:
        """Make a connection, when the gateway has its own."""
        peer = self._peers[server]
        while not peer.is_up() and not self._stopping.wait(STEP_SECONDS):
            pass
        return BrokerProbe(peer.broker(), peer.session_expiry, client_id=client_id, will=will)


def _ignore(_topic: bytes, _payload: bytes) -> None:
    """Take no messages; nothing is subscribed."""


def _is_up(sources: Sequence[MqttSource], server: str) -> bool:
    return all(source.link == Link.UP for source in sources if source.name == server)


def status_publisher(
    contract: Contract,
    settings: Settings,
    sources: Sequence[MqttSource],
    health: Callable[[], Health],
    collect: Callable[[], Iterable[Metric]],
) -> StatusPublisher:
    """Make the publisher of a gateway, from settings that are consistent with the contract."""
    peers = {
        name: Peer(partial(broker_of, server, settings), server.session_expiry, partial(_is_up, sources, name))
        for name, server in contract.mqtt_servers.items()
    }
    publication, given = None, settings.status
    if given.publish:
        gateway_id = given.id or contract.mqtt_servers[given.publish].client_id
        fixed = {
            "id": gateway_id,
            "version": __version__,
            "title": contract.title,
            "contract": {"version": contract.version, "digest": contract.digest},
            "workers": settings.workers.count,
            "every": given.every,
            "since": moment(time.time()),
        }
        publication = Publication(given.publish, gateway_id, given.every, fixed, given.home_assistant)
    memory = settings.resolve(settings.spool.path).with_name(FILE_NAME)
    return StatusPublisher(peers, publication, health, collect, memory)
