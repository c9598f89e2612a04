"""The steps of `gateway shadow`: both contracts take every reading, and what differs is counted.

Nothing is produced or registered, and no session is touched: readings come from a recording or a spool, which is only
read, from dead-letter topics, without a consumer group, or from the brokers, over a client of its own at QoS 0. How
many such a client has not got is estimated from what the running gateway counts meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paho.mqtt.client import topic_matches_sub

from gateway import contract as contracts
from gateway.core.filters import plan
from gateway.errors import GatewayError
from gateway.installation import installation_of, subscriptions
from gateway.operate.listener import Listener
from gateway.operate.record import channels_of
from gateway.operate.schemas.mode import Mode
from gateway.operate.schemas.review import as_version, compare, schemas
from gateway.operate.shadow.comparison import Comparison
from gateway.operate.shadow.pipeline import Pipeline, Placeholders
from gateway.operate.shadow.tally import Tally
from gateway.operate.status import status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from gateway.core.model import Contract
    from gateway.core.reading import Reading
    from gateway.installation import Installation
    from gateway.operate.listener import Terminal
    from gateway.operate.schemas.review import Review
    from gateway.operate.shadow.tally import Group

PROGRESS = 10_000  # readings between two lines of progress


class Shadow:
    """Two contracts under the settings of one installation; ConfigurationError when the new one does not fit them."""

    def __init__(self, installation: Installation, contract: Path, *, shows_values: bool = True) -> None:
        self.installation = installation
        self.new = installation_of(installation.settings, contracts.load(contract, installation.settings.choice))
        placeholders = Placeholders()
        self._pipelines = Pipeline(installation, placeholders), Pipeline(self.new, placeholders)
        comparison = Comparison(installation.contract, self.new.contract, placeholders.schemas)
        self.tally = Tally(comparison, shows_values=shows_values)
        self.reviews = _reviews(installation.contract, self.new.contract)
        for one in self.reviews:
            self.tally.add("", "evolved" if one.is_passed else "schema", one.subject)
        self._servers = {name: one.servers for name, one in installation.contract.streams.items()}
        self._lost = [*self._only(installation, self.new, "subscription")]
        self._won = [*self._only(self.new, installation, "subscribed")]
        self.received = 0  # readings that the gateway receives too: not retained ones, which it has already

    def take(self, readings: Iterable[Reading], progress: Callable[[str], None] = lambda _: None) -> None:
        """Take readings in the order of their arrival."""
        for count, reading in enumerate(readings, start=1):
            self._take(reading)
            if count % PROGRESS == 0:
                progress(f"{count:,} readings")
        progress("")

    def _take(self, reading: Reading) -> None:
        servers = self._servers.get(reading.stream, ())
        old, new = (each(reading, servers) for each in self._pipelines)
        was_received = old[0].is_received
        self.received += was_received and not reading.retain
        self.tally.take(reading, old, new)
        if was_received != new[0].is_received:
            topic = reading.topic.decode(errors="replace")
            for each, group in self._lost if was_received else self._won:
                group.readings += topic_matches_sub(each, topic)

    def _only(self, one: Installation, other: Installation, kind: str) -> Iterator[tuple[str, Group]]:
        """Find the filters of an installation that bring what those of another do not."""
        for server in one.contract.mqtt_servers:
            others = [*_filters(other, server)]
            for each in _filters(one, server):
                if plan([*others, each]).keys() != plan(others).keys():
                    yield each, self.tally.add(server, kind, each)

    # --- from the brokers --------------------------------------------------------------------------------------------

    def listen(self, seconds: float, terminal: Terminal) -> str:
        """Take what the brokers of both contracts publish; say how many messages may be missing."""
        before = _received(self.installation)
        servers = self.new.contract.mqtt_servers | self.installation.contract.mqtt_servers
        channels = channels_of(servers.values(), self._filters, self.installation)
        listener = Listener(channels, seconds, terminal, "the report is written", self._progress)
        self.take(listener.readings())
        terminal.progress("")
        after = _received(self.installation)
        if before is None or after is None or after < before:
            return "How many messages the brokers did not send to this run (QoS 0) is not known: no gateway runs here."
        count = after - before
        return (
            f"The running gateway received {count:,} readings meanwhile, and this run {self.received:,}: "
            f"at most {max(0, count - self.received):,} are missing here (QoS 0)."
        )

    def _filters(self, server: str) -> Collection[str]:
        return plan([*_filters(self.installation, server), *_filters(self.new, server)])

    def _progress(self) -> str:
        return f"{self.tally.readings.total():,} readings, {self.tally.same.total():,} the same"


def _filters(installation: Installation, server: str) -> Iterable[str]:
    return subscriptions(installation.contract, installation.settings.is_enabled, server)


def _reviews(present: Contract, new: Contract) -> list[Review]:
    """Compare the schemas of subjects that the new contract changes or adds."""
    before = schemas(present)
    changed = {
        subject: schema
        for subject, schema in schemas(new).items()
        if subject not in before or before[subject].text != schema.text
    }
    return [
        compare(as_version(one), [as_version(before[subject])] if subject in before else [], Mode.BACKWARD, subject)
        for subject, one in changed.items()
    ]


def _received(installation: Installation) -> int | None:
    """Ask the running gateway how many readings it has received; None when none answers."""
    settings = installation.settings
    try:
        found = status(settings.http.listen, installation.spool_path)
    except GatewayError:
        return None
    return sum(one.received for one in found.figures.books.values()) if found.peers else None
