"""Whether the readings of a stream are complete, per key: by the number they carry, and by how often they come.

The contract declares which number counts the readings of a stream (`x-sequence`) and after how many seconds without a
reading a key counts as silent (`x-silent-after`). Both are facts about the devices, the same wherever the gateway runs,
and the number must fit the schema: so they belong to the contract, not to gateway.yaml. A stream that declares neither
has no `SequenceMonitor` and no cost.

Readings are noted when they become records, in that order: this is what a consumer of the topic will see. A reading
that becomes a dead letter is missing there, and is counted as missing. Nothing is dropped because of what is noted.

Numbers are compared with the sliding window that RFC 4303 (3.4.3) uses against replayed packets: the newest number, and
a bit for each of the 64 numbers up to it.

    one ahead of the newest      in order
    further ahead                a gap; all numbers between are missing
    within the window            its bit is set: repeated. Not set: out of order, and one of the missing has arrived
    behind the window, DUP       repeated: brokers resend what was not acknowledged
    behind it, or far ahead      the device started again, or its counter overflowed: a restart

Limits: the memory is that of the process, so numbers that went missing while the gateway was off are not noticed, nor
is a key that has sent nothing since the start. A device that starts again before it has counted to 64 looks like one
that repeats. At most `MAX_KEYS` keys are remembered, the most recent ones; a forgotten key is counted, and starts
again. A key longer than a digest is remembered as a digest. Keys go to the log and are never labels.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from gateway.core.reading import Reading, Record

Figure = Literal["gaps", "missing", "repeated", "out_of_order", "restarts", "forgotten"]

NUMBERED: tuple[Figure, ...] = ("gaps", "missing", "repeated", "out_of_order", "restarts")
MAX_KEYS = 65_536
DIGEST_BYTES = 32
WINDOW = 64
MASK = (1 << WINDOW) - 1
LONGEST_GAP = 1_000_000  # a number further ahead is not a loss: one wild number must not spoil the count of the missing


class KeyState(Struct):
    """What is known of a key."""

    at: float  # when its latest reading came, monotonic seconds
    newest: int = -1  # highest number since the device began to count; -1 when there was none
    seen: int = 1  # bit n is set when `newest` - n has come


class SequenceMonitor:
    """Monitors one stream.

    Args:
        counters: to add to.
        silent_after: seconds; None when keys may be silent for any time.
        max_keys: how many to remember.
        is_numbered: True when its readings carry a sequence number.
    """

    def __init__(
        self, counters: Counter[Figure], silent_after: int | None, max_keys: int = MAX_KEYS, *, is_numbered: bool
    ) -> None:
        self.counters = counters
        self.last_anomaly: tuple[bytes, str] | None = None  # a key, and what is wrong with it; the caller clears it
        self._silent_after = silent_after
        self._max_keys = max_keys
        self._active: OrderedDict[bytes, KeyState] = OrderedDict()  # the oldest first
        self._silent: OrderedDict[bytes, KeyState] = OrderedDict()
        self._noted_until = -1
        for counter in (*(NUMBERED if is_numbered else ()), "forgotten"):
            counters[counter] += 0  # shown from the start

    @property
    def silent_keys(self) -> int | None:
        """How many keys are silent now; None when the stream declares no `x-silent-after`."""
        return None if self._silent_after is None else len(self._silent)

    def note(self, offset: int, reading: Reading, record: Record, now: float) -> None:
        """Note a reading that has become a record; only once, however often it is sent.

        `offset` is its place in the log, which rises within a stream; `now` is in monotonic seconds.
        """
        if offset <= self._noted_until:
            return
        self._noted_until = offset
        key, number = record.key, record.number
        is_short = len(key) <= DIGEST_BYTES
        state = self._state_of(key if is_short else blake2b(key, digest_size=DIGEST_BYTES).digest(), now)
        if number is None:
            return
        if number == state.newest + 1:
            state.newest, state.seen = number, (state.seen << 1 | 1) & MASK
        elif state.newest < 0:
            state.newest = number
        else:
            self._classify(state, number, key, is_dup=reading.dup)

    def expire(self, now: float) -> None:
        """Note which keys are silent at a monotonic time in seconds; call it while no reading of the stream waits."""
        while self._silent_after is not None and self._active:
            key, state = next(iter(self._active.items()))
            if now - state.at <= self._silent_after:
                return
            self._silent[key] = self._active.pop(key)
            self.last_anomaly = key, f"no reading for {self._silent_after} s"

    def _state_of(self, key: bytes, now: float) -> KeyState:
        """Find the state of a key, and make it the most recent one."""
        if state := self._active.get(key):
            self._active.move_to_end(key)
            state.at = now
            return state
        self._active[key] = state = self._silent.pop(key, None) or KeyState(now)
        state.at = now
        if len(self._active) + len(self._silent) > self._max_keys:
            (self._silent or self._active).popitem(last=False)
            self.counters["forgotten"] += 1
        return state

    def _classify(self, state: KeyState, number: int, key: bytes, *, is_dup: bool) -> None:
        ahead = number - state.newest
        bit = 1 << -ahead if -WINDOW < ahead <= 0 else 0
        if 1 < ahead <= LONGEST_GAP:
            self.counters["gaps"] += 1
            self.counters["missing"] += ahead - 1
            self.last_anomaly = key, f"number {number} arrived after {state.newest}"
            state.newest, state.seen = number, (state.seen << min(ahead, WINDOW) | 1) & MASK
        elif state.seen & bit or (ahead < 0 and not bit and is_dup):
            self.counters["repeated"] += 1
            self.last_anomaly = key, f"number {number} arrived again"
        elif bit:
            self.counters["out_of_order"] += 1
            self.last_anomaly = key, f"number {number} arrived late, after {state.newest}"
            state.seen |= bit
        else:
            self.counters["restarts"] += 1
            self.last_anomaly = key, f"after number {state.newest} the numbers started again at {number}"
            state.newest, state.seen = number, 1
