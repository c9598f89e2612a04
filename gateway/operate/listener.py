"""Listens to brokers as one more client: `gateway learn`, `record` and `shadow` use it.

It has client ids of its own, clean sessions and QoS 0 (`mqtt/probe.py`), so a gateway's session stays as it is. A
broker drops what such a client does not take in time, so messages may be missing.

Several brokers take turns, which are so short that the buffers of the kernel hold what comes meanwhile. A thread for
each was rejected: SQLite and the handlers of signals belong to the main thread.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.reading import Reading
from gateway.errors import GatewayError
from gateway.mqtt.probe import BrokerProbe
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gateway.mqtt.broker import Broker
    from gateway.signals import Stopping

TURN_SECONDS = 0.2


class Terminal(NamedTuple):
    """Where the progress is shown."""

    say: Callable[[str], None]  # shows a line
    progress: Callable[[str], None]  # replaces the line that is shown
    stop: Callable[[], Stopping]  # ends the listening early


class Channel(NamedTuple):
    """What is received at a broker."""

    broker: Broker
    filters: Sequence[str]
    stream_of: Callable[[bytes], str]  # what the stream of a topic's readings is called
    fix: str = "Let the broker's ACL grant them to this user."  # when filters are denied


@dataclass
class Listener:
    """Gives the messages of brokers as they come, until the time is over or the user ends it."""

    channels: Sequence[Channel]
    seconds: float
    terminal: Terminal
    result: str  # what is done in the end, such as `the report is written`
    progress: Callable[[], str]  # what was received so far, in words
    is_over: Callable[[], bool] = lambda: False  # no more is wanted

    def readings(self) -> Iterator[Reading]:
        """Give the messages; after some a lost connection only ends the listening, else it is a GatewayError."""
        has_any = False
        try:
            for one in self._readings():
                has_any = True
                yield one
        except GatewayError as error:
            if not has_any:
                raise
            self.terminal.say(f"{error.message} The listening ends here: {self.result}.")

    def _readings(self) -> Iterator[Reading]:
        stop, until = self.terminal.stop(), time.monotonic() + self.seconds
        with ExitStack() as stack:
            probes = [(stack.enter_context(BrokerProbe(one.broker, session_expiry=0)), one) for one in self.channels]
            for probe, channel in probes:
                self._subscribe(probe, channel)
            self.terminal.say(f"Listening for {self.seconds:g} s; Ctrl-C ends it, and {self.result}.")
            while (left := until - time.monotonic()) > 0 and not stop.is_set() and not self.is_over():
                for probe, channel in probes:
                    yield from _turn(probe, channel, min(TURN_SECONDS, left), stop)
                self.terminal.progress(f"{self.progress()}, {left:.0f} s left")

    def _subscribe(self, probe: BrokerProbe, channel: Channel) -> None:
        granted = probe.subscribe(dict.fromkeys(channel.filters, 0), is_retained_wanted=True)
        denied = [printable(f"{name} ({reason})") for name, reason in granted.items() if reason.is_failure]
        message = f"The broker denies the subscription to {', '.join(denied)}."
        if len(denied) == len(channel.filters):
            raise GatewayError(message, channel.fix)
        if denied:
            self.terminal.say(f"{message} {channel.fix}")


def _turn(probe: BrokerProbe, channel: Channel, seconds: float, stop: Stopping) -> list[Reading]:
    received: list[Reading] = []

    def take(topic: bytes, payload: bytes) -> None:
        now, stream = time.time_ns() // 1_000_000, channel.stream_of(topic)
        received.append(Reading(stream, topic, payload, now, retain=probe.is_retained, properties=probe.properties()))

    probe.listen(take, seconds, stop)
    return received
