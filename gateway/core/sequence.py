"""Whether the readings of a stream are all there: by the number they carry, by how often they come. Per key.

The contract says of a stream which number counts its readings (`x-sequence`) and after how many seconds without one a
key counts as silent (`x-silent-after`). Both are facts about the devices, the same wherever the gateway runs, and the
first must fit the schema: so they are the contract's, not gateway.yaml's. A stream that says neither has no
`SequenceMonitor`, and its readings pay nothing.

What is noted is what becomes a record, when it is transformed and in that order: that is what a consumer of the topic
will see. A reading that becomes a dead letter is missing there, and counted so. Nothing is ever dropped because of
what is found here.

Numbers are results with the sliding window that RFC 4303 (3.4.3) has against replayed packets: the newest number, and a
bit for each of the 64 up to it.

    one ahead of the newest      as it should be
    further ahead                a gap; all between are missing
    within the window            its bit is set: repeated. Not set: out of order; one of the missing has come after all
    behind the window, DUP       repeated: brokers send again what we had not acknowledged
    behind it, or far ahead      the device began anew, or its counter ran over: a restart

Not promised. Memory is this process's: what went missing while the gateway was off is not noticed, nor is a key that
has not been heard since it started. A device that begins anew before it has counted to 64 looks like one that repeats.
At most `MAX_KEYS` are remembered, those heard last; what was forgotten is counted, and begins anew. A key longer than
a digest is remembered as one. Keys are for the log, never labels.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from gateway.core.codec.validation_error import tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.reading import Reading

Figure = Literal["gaps", "missing", "repeated", "out_of_order", "restarts", "forgotten"]

MAX_KEYS = 65_536
DIGEST_BYTES = 32
WINDOW = 64
MASK = (1 << WINDOW) - 1
LONGEST_GAP = 1_000_000  # further ahead is no loss: one wild number must not spoil the count of what is missing


class KeyState(Struct):
    """What is known of a key.

    Args:
        at: when a reading of it came last, monotonic seconds.
        newest: the highest number since the device began to count; -1 when none has come.
        seen: bit n is set when `newest` - n has come.
    """

    at: float
    newest: int = -1
    seen: int = 1


class SequenceMonitor:
    """Watches one stream.

    Args:
        sequence: JSON pointer into the payload, to the number; None when it has none.
        silent_after: seconds; None when keys may be silent for as long as they like.
        figures: to add to.
        max_keys: how many to remember.
    """

    def __init__(
        self, sequence: str | None, silent_after: int | None, figures: Counter[Figure], max_keys: int = MAX_KEYS
    ) -> None:
        self.figures = figures
        self.news: tuple[bytes, str] | None = None  # the latest: key, and what is wrong with it
        self._number_in = _number_reader(sequence) if sequence is not None else None
        self._silent_after = silent_after
        self._max_keys = max_keys
        self._heard: OrderedDict[bytes, KeyState] = OrderedDict()  # longest ago first
        self._silent: OrderedDict[bytes, KeyState] = OrderedDict()
        self._noted_until = -1
        counted: tuple[Figure, ...] = ("gaps", "missing", "repeated", "out_of_order", "restarts") if sequence else ()
        for figure in (*counted, "forgotten"):
            figures[figure] += 0  # shown from the start

    @property
    def silent_keys(self) -> int | None:
        """How many keys are silent now; None when the stream does not ask."""
        return None if self._silent_after is None else len(self._silent)

    def note(self, offset: int, reading: Reading, key: bytes, now: float) -> None:
        """Note a reading that has become a record; only once, however often it is sent.

        Args:
            offset: its place in the log; within a stream they rise.
            reading: as it arrived.
            key: of its record.
            now: monotonic seconds.
        """
        if offset <= self._noted_until:
            return
        self._noted_until = offset
        heard = self._hear(key if len(key) <= DIGEST_BYTES else blake2b(key, digest_size=DIGEST_BYTES).digest(), now)
        if self._number_in is None or (number := self._number_in(reading.payload)) is None:
            return
        if number == heard.newest + 1:
            heard.newest, heard.seen = number, (heard.seen << 1 | 1) & MASK
        elif heard.newest < 0:
            heard.newest = number
        else:
            self._judge(heard, number, reading.dup, key)

    def look(self, now: float) -> None:
        """Note which keys have become silent; to be asked while no reading of the stream waits.

        Args:
            now: monotonic seconds.
        """
        while self._silent_after is not None and self._heard:
            key, heard = next(iter(self._heard.items()))
            if now - heard.at <= self._silent_after:
                return
            self._silent[key] = self._heard.pop(key)
            self.news = key, f"nothing has come for {self._silent_after} s"

    def _hear(self, key: bytes, now: float) -> KeyState:
        """Find what is known of a key, and put it last."""
        if heard := self._heard.get(key):
            self._heard.move_to_end(key)
            heard.at = now
            return heard
        self._heard[key] = heard = self._silent.pop(key, None) or KeyState(now)
        heard.at = now
        if len(self._heard) + len(self._silent) > self._max_keys:
            (self._silent or self._heard).popitem(last=False)
            self.figures["forgotten"] += 1
        return heard

    def _judge(self, heard: KeyState, number: int, is_dup: bool, key: bytes) -> None:  # noqa: FBT001 - the reading's flag
        ahead = number - heard.newest
        bit = 1 << -ahead if -WINDOW < ahead <= 0 else 0
        if 1 < ahead <= LONGEST_GAP:
            self.figures["gaps"] += 1
            self.figures["missing"] += ahead - 1
            self.news = key, f"after number {heard.newest} came {number}"
            heard.newest, heard.seen = number, (heard.seen << min(ahead, WINDOW) | 1) & MASK
        elif heard.seen & bit or (ahead < 0 and not bit and is_dup):
            self.figures["repeated"] += 1
            self.news = key, f"number {number} came again"
        elif bit:
            self.figures["out_of_order"] += 1
            self.news = key, f"number {number} came after {heard.newest}"
            heard.seen |= bit
        else:
            self.figures["restarts"] += 1
            self.news = key, f"after number {heard.newest} its count began anew with {number}"
            heard.newest, heard.seen = number, 1


def _number_reader(pointer: str) -> Callable[[bytes], int | None]:
    """Make a function that finds the number in a payload, or None; everything else in there is passed over."""
    kind: Any = int
    for token in reversed(tokens(pointer)):
        kind = msgspec.defstruct("Level", [("member", kind | None, None)], rename={"member": token}, gc=False)
    decode = msgspec.json.Decoder(kind).decode

    def number_in(payload: bytes) -> int | None:
        try:
            found = decode(payload)
            while found is not None and not isinstance(found, int):
                found = found.member
        except msgspec.DecodeError:  # it is a union's other branch
            return None
        return found if found is not None and found >= 0 else None

    return number_in
