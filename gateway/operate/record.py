"""`gateway record`: what the brokers of an installation publish, in a file for `gateway shadow` and `learn`.

The file has the format of the spool, and goes on where it ended when it is there already. A spool of a gateway is
refused, because what is recorded there would be sent to Kafka. A payload is cut where the gateway would cut it.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from gateway.core.dead_letter import CUT_TO
from gateway.core.topic_index import UNMAPPED
from gateway.errors import ConfigurationError, Finding, SpoolBrokenError
from gateway.installation import broker_of, subscriptions, topics_at
from gateway.operate.listener import Channel, Listener
from gateway.operate.recording import STREAM, Recording, is_recording
from gateway.operate.redaction import Redaction, words_of
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from gateway.core.model import MqttServer
    from gateway.core.reading import Reading
    from gateway.installation import Installation
    from gateway.operate.listener import Terminal


class Options(NamedTuple):
    """What to record, and where."""

    path: Path
    seconds: float
    topics: Sequence[str] = ()  # filters, instead of those of the contract
    redacts: bool = False


def record(installation: Installation, options: Options, terminal: Terminal) -> str:
    """Record until the time is over; say how many messages the file has. SpoolBrokenError when the disk is full."""
    path, count = options.path, 0
    if path.exists() and not is_recording(path):
        message = "The file exists already, and it is not a recording."
        raise ConfigurationError([Finding(str(path), 0, "", message, "Name another file with -o.")])
    redact = Redaction(words_of(installation.contract)) if options.redacts else lambda one: one
    limit = installation.payload_limit
    with Recording(path) as recording:
        result, is_over = "the recording is kept", lambda: bool(recording.end)
        settings, contract = installation

        def filters_of(server: str) -> Collection[str]:
            return options.topics or subscriptions(contract, settings.is_enabled, server)

        channels = channels_of(contract.brokers, filters_of, installation)
        listener = Listener(channels, options.seconds, terminal, result, lambda: f"{count:,} messages", is_over)
        for count, one in enumerate(listener.readings(), start=1):  # noqa: B007 - the progress shows it
            recording.add(redact(_cut(one, limit)))
    terminal.progress("")
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)  # its note would make another file of this name suspect
    name, kept = printable(str(path)), f"{recording.next:,}"
    if recording.lost:
        message = f"{recording.end}. {name} has {kept} messages, {recording.lost:,} are lost."
        raise SpoolBrokenError(message, "Free space, or name a file on another disk with -o.")
    full = f"{recording.end}. " if recording.end else ""
    return f"{full}{count:,} messages recorded. {name} has payloads: only its owner may read it. Delete it when done."


def channels_of(
    servers: Iterable[MqttServer], filters_of: Callable[[str], Collection[str]], installation: Installation
) -> list[Channel]:
    """Find what to listen to at servers, by the filters for each; the installation's contract names the streams."""
    settings, contract = installation
    wanted = ((server, [*filters_of(server.name)]) for server in servers)
    return [
        Channel(broker_of(one, settings), filters, partial(_stream_at, topics_at(contract, settings, [one.name])))
        for one, filters in wanted
        if filters
    ]


def _stream_at(index: Callable[[bytes], str], topic: bytes) -> str:
    """Name the stream of a topic; no gateway has received what no stream describes, so UNMAPPED is not its name."""
    stream = index(topic)
    return STREAM if stream == UNMAPPED else stream


def _cut(reading: Reading, limit: int) -> Reading:
    payload = reading.payload
    if len(payload) <= limit:
        return reading
    return structs.replace(reading, payload=payload[:CUT_TO], size=len(payload), sha256=sha256(payload).digest())
