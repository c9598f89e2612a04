"""Readings whose counters broke a rule, and what is known of counters, kept over restarts and crashes.

`core/counters.py` compares the readings. What it knows is noted in the spool's file, a row for each stream: at the end,
and once a minute if there is something new, so that on a healthy link an SD card gets one small write a minute. It is
noted as of a moment at which all readings that it knows are safe. A reading that was not safe when the gateway was
killed comes again, from the broker, and meets a base from before: the rules allow more then, never less. Only a base
from before a reset would refuse what follows it, until it is confirmed again; so a reset is noted within a second.

That a reading is quarantined is known here only, because its transform takes it. So each of them that is not settled is
noted too, by its offset, in the commit that writes it to disk, or before its dead letter is sent if it is on disk
already. A reading on disk that was compared before is good unless it is noted.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from gateway.core.reading import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.counters import CounterMonitor
    from gateway.core.entry import Entry
    from gateway.core.reading import Record
    from gateway.spool.spool import Spool

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
RESET_SECONDS = 1.0  # after a reset
COUNTERS, QUARANTINED = "counters/", "quarantined/"  # begin the names of notes: of a stream, of an offset


class Quarantine:
    """Keeps what the monitors of counters know; only the bridge's loop calls it. `now` is in monotonic seconds."""

    def __init__(self, monitors: Mapping[str, CounterMonitor], spool: Spool) -> None:
        self._monitors = monitors
        self._spool = spool
        self._held: dict[int, DeadLetter] = {}  # by the offset of a quarantined reading that is not settled
        self._next_save = 0.0
        for name, text in spool.notes.items():
            try:
                self._restore(name, text)
            except ValueError as error:
                extra = {"detail": f"{name}: {error}"}
                log.warning("The saved state of counters is damaged, and is not used.", extra=extra)
        self._noted = {stream: monitor.until for stream, monitor in monitors.items()}
        self._unsafe: dict[str, tuple[int, str]] = {}  # stream -> what to note once readings up to an offset are safe

    def _restore(self, name: str, text: str) -> None:
        if name.startswith(QUARANTINED):
            offset = int(name.removeprefix(QUARANTINED))
            if self._spool.has_row(offset):
                self._held[offset] = msgspec.json.decode(text, type=DeadLetter)
            else:  # it was settled after this was written
                self._spool.note(name, None)
        elif monitor := self._monitors.get(name.removeprefix(COUNTERS)):
            monitor.restore(text)
            # offsets of a damaged file may come again
            monitor.until = min(monitor.until, self._spool.first_unsafe - 1)

    def adopt(self, monitors: Mapping[str, CounterMonitor]) -> None:
        """Compare by other monitors from now on, which continue what is known; those of other streams stay."""
        for stream, monitor in monitors.items():
            former = self._monitors.get(stream)
            text = former.save() if former else self._spool.notes.get(f"{COUNTERS}{stream}")
            if text and former is not monitor:
                with suppress(ValueError):  # it is damaged
                    monitor.restore(text)
            self._noted.setdefault(stream, monitor.until)
        self._monitors = {**self._monitors, **monitors}

    def check(
        self, stream: str, entries: Sequence[Entry], made: Sequence[Record | list[Record]], now: float
    ) -> dict[int, DeadLetter]:
        """Compare the readings that became records; give the dead letters of those that are wrong, by their place."""
        monitor = self._monitors.get(stream)
        if monitor is None:
            return {}
        held = {place: self._held[entry.offset] for place, entry in enumerate(entries) if entry.offset in self._held}
        rest = [place for place in range(len(entries)) if place not in held] if held else range(len(entries))
        found = monitor.check([entries[place] for place in rest], [made[place] for place in rest])
        wrong = {rest[number]: dead_letter for number, dead_letter in found.items()}
        for place, dead_letter in wrong.items():
            self._hold(entries[place].offset, dead_letter)
        if any(entries[place].is_stored for place in wrong):
            self._spool.write_notes(now)
        if not all(event.is_swap for event in monitor.events):
            self._next_save = min(self._next_save, now + RESET_SECONDS)
        _report(stream, monitor)
        return held | wrong

    def _hold(self, offset: int, dead_letter: DeadLetter) -> None:
        self._held[offset] = dead_letter
        self._spool.note(f"{QUARANTINED}{offset}", msgspec.json.encode(dead_letter).decode())

    def dead_letter(self, entry: Entry) -> DeadLetter | None:
        """Give the dead letter of a reading that is quarantined."""
        return self._held.get(entry.offset)

    def settle(self, entries: Sequence[Entry]) -> None:
        """Forget readings that are settled."""
        for entry in entries if self._held else ():
            if self._held.pop(entry.offset, None):
                self._spool.note(f"{QUARANTINED}{entry.offset}", None)

    def save_due(self, now: float) -> None:
        """Write what is known, if it is time."""
        if self._monitors and now >= self._next_save:
            self._next_save = now + SAVE_SECONDS
            changed = [(stream, self._monitors[stream]) for stream in self._changed()]
            self._unsafe = {stream: (monitor.until, monitor.save()) for stream, monitor in changed}
        safe = [stream for stream, (until, _) in self._unsafe.items() if until < self._spool.first_unsafe]
        for stream in safe:
            self._note(stream, *self._unsafe.pop(stream))
        if safe:
            self._spool.write_notes(now)

    def save(self) -> None:
        """Note what is known, for the last write."""
        for stream in self._changed():
            self._note(stream, self._monitors[stream].until, self._monitors[stream].save())

    def _changed(self) -> list[str]:
        return [stream for stream, monitor in self._monitors.items() if monitor.until > self._noted[stream]]

    def _note(self, stream: str, until: int, text: str) -> None:
        self._spool.note(f"{COUNTERS}{stream}", text)
        self._noted[stream] = until


def _report(stream: str, monitor: CounterMonitor) -> None:
    for event in monitor.events:
        extra = {"stream": stream, "key": event.key, "detail": event.detail}
        if event.is_swap:
            log.warning("A meter was replaced. The counters of the new meter are used from now on.", extra=extra)
        else:
            log.warning("A counter was reset. Consecutive readings confirmed the new value.", extra=extra)
    monitor.events.clear()
