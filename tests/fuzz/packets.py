"""Fuzzing of the packet reader: whatever bytes come, in whatever pieces, it reads or it refuses.

    python -m tests.fuzz.packets --seconds 60 --seed 1

A stream is what a broker might say, with a few bytes gone wrong, or no protocol at all. It is fed to a FastReader whole
and to another one in pieces, with the module in C where that was built and without it. Nothing is raised but
MalformedPacketError, nothing takes long, what waits for more bytes is bounded; and all give the same readings and the
same verdict. The seed decides everything, so a failure comes back with it; it is also told as bytes, for a test of its
own.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

from paho.mqtt.enums import CallbackAPIVersion

from gateway.mqtt.reader import LONGEST_HEADER, FastReader, Intake, MalformedPacketError
from tests.fuzz.command import run_fuzzer
from tests.fuzz.wounds import Wounds
from tests.mqtt.test_reader import (
    LIMIT,
    MESSAGES,
    USER_PROPERTY,
    V5,
    V311,
    Fact,
    Message,
    conversation,
    cut,
    facts,
    kept,
)
from tests.stack.publisher import remaining_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

LONGEST_SECONDS = 10  # for one stream; they take a millisecond
WAITING_BYTES = LIMIT + LONGEST_HEADER + 5  # the longest packet that is gathered
TELLING_BYTES = [
    bytes([each]) for each in b"\0\1\2\x7f\x80\xff\x30\x32\x34\x62\xe0"
]  # where lengths and types change their meaning


@dataclass(frozen=True)
class Stream:
    """Bytes from a broker, and the places where they are cut.

    Args:
        version: of MQTT.
        data: all of them.
        places: rising.
    """

    version: int
    data: bytes
    places: list[int]

    def __str__(self) -> str:
        """Tell all that is needed to feed it again."""
        return f"version {self.version}, cut at {self.places}, bytes {self.data.hex()}"


class Outcome(NamedTuple):
    """What a reader made of a stream."""

    readings: list[Fact]
    properties: list[bytes]
    is_refused: bool


def feed(version: int, pieces: Iterable[bytes]) -> Outcome:
    """Feed a new reader until it refuses.

    Args:
        version: of MQTT.
        pieces: bytes.

    Raises:
        Exception: anything but MalformedPacketError is a fault of the reader's.
    """
    callbacks = CallbackAPIVersion.VERSION2
    intake = Intake(lambda _topic: "stream", LIMIT, ["stream"])
    reader = FastReader(intake, callback_api_version=callbacks, protocol=version)
    try:
        is_refused = any(reader.feed(piece) for piece in pieces)
    except MalformedPacketError:
        is_refused = True
    waiting = len(reader._rest)  # noqa: SLF001 - memory is what this is about
    assert is_refused or waiting <= WAITING_BYTES, f"{waiting:,} bytes wait for more"
    return Outcome(facts(reader.arrived), kept(reader.arrived), is_refused)


def try_stream(stream: Stream) -> str:
    """Feed a stream whole and cut, in C where that was built, and in Python; tell what is wrong, or nothing."""
    try:
        whole, pieces = feed_both(stream)
        with patch("gateway.mqtt.reader.MODULE", None):
            python = feed_both(stream)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is found
        return f"{type(error).__name__}: {error}"
    if python != (whole, pieces):
        return f"it gives {whole, pieces}, in Python {python}"
    return "" if whole == pieces else f"whole it gives {whole}, cut it gives {pieces}"


def feed_both(stream: Stream) -> tuple[Outcome, Outcome]:
    """Feed a stream whole and cut."""
    return feed(stream.version, [stream.data]), feed(stream.version, cut(stream.data, stream.places))


# --- making streams --------------------------------------------------------------------------------------------------


class Maker:
    """Makes streams.

    Args:
        seed: decides them all.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._kinds: list[Callable[[int], bytes]] = [self._bytes, self._packets, *[self._conversation] * 4]
        self._wounds = Wounds(self._chance, TELLING_BYTES)

    def make(self) -> Stream:
        """Make the next one."""
        version = self._chance.choice([V311, V5])
        data = self._chance.choice(self._kinds)(version)
        for _ in range(self._chance.choice([0, 1, 1, 2, 3])):
            data = self._wounds.wound(data)
        count = self._chance.choice([1, 2, 5, 20])
        return Stream(version, data, sorted(self._chance.randint(0, len(data)) for _ in range(count)))

    def _bytes(self, _version: int) -> bytes:
        return self._chance.randbytes(self._chance.randrange(100))

    def _packets(self, _version: int) -> bytes:
        bodies = [self._bytes(_version) for _ in range(self._chance.randrange(1, 6))]
        return b"".join(
            self._chance.choice([self._chance.randbytes(1), *TELLING_BYTES]) + remaining_length(len(body)) + body
            for body in bodies
        )

    def _conversation(self, version: int) -> bytes:
        return conversation(version, [self._message() for _ in range(self._chance.randrange(6))])

    def _message(self) -> Message:
        if self._chance.random() < 0.5:
            return self._chance.choice(MESSAGES)
        size = self._chance.choice([0, 10, LIMIT, LIMIT + 1, 2 * LIMIT])
        if self._chance.random() < 0.05:
            size = 2 * LONGEST_HEADER  # is not gathered
        return Message(
            topic=self._chance.randbytes(self._chance.choice([1, 1, 20, 300])),
            payload=self._chance.randbytes(size),
            qos=self._chance.choice([0, 1]),
            packet_id=self._chance.choice([1, 258, 65_535]),
            properties=USER_PROPERTY * self._chance.choice([0, 0, 1, 20, 2_000]),
        )


# --- the run ---------------------------------------------------------------------------------------------------------


def fuzz(seed: int, seconds: float) -> tuple[int, str]:
    """Try streams for so long.

    Args:
        seed: decides the streams.
        seconds: how long; it ends with the first fault.

    Returns:
        How many streams were tried, and the fault with the stream that shows it; empty when none was found.
    """
    maker, until, count = Maker(seed), time.monotonic() + seconds, 0
    before = signal.signal(signal.SIGALRM, _give_up)
    try:
        while time.monotonic() < until:
            stream = maker.make()
            count += 1
            signal.alarm(LONGEST_SECONDS)
            if fault := try_stream(stream):
                return count, f"{fault}\n{stream}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return count, ""


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"a stream takes more than {LONGEST_SECONDS} s")


if __name__ == "__main__":
    sys.exit(run_fuzzer(__doc__, fuzz, "streams"))
