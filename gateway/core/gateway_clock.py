"""The gateway's own clock: when a reading arrived, where the clock may have been wrong then.

A machine without a battery-backed clock starts with the time of its last shutdown, until a time service sets it. Each
reading is therefore dated twice: by the clock, and by the milliseconds since the machine was booted, which no service
changes. Their difference is the clock's *offset*. It is constant while the clock runs, because a service that corrects
the clock slowly changes the speed of both; only a step changes it. So the offset of today gives the right time of every
reading of this boot, however long ago it arrived.

In memory all readings of this boot are dated by the present offset (`now`): after a step the bridge moves those that
are not settled. On disk a row keeps the boot's id and the milliseconds, and is dated when it is read back. Of earlier
boots only the offset that they had in the end is known, and whether the clock was synchronised then: the spool file
keeps both for the last `MAX_BOOTS` that used it. A reading of an earlier boot that was never synchronised keeps the
time it has.

While the clock is not synchronised, nothing is sent for some time, in which the readings wait in the spool. After that
they are sent with a mark: the header `gateway.clock`. What is sent is not called back when the clock is set later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import structs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.entry import Entry
    from gateway.core.reading import Reading

STEP = 1_100  # milliseconds; readings that are nearer to the present offset keep their time, as with a leap second
NOISE = 20  # milliseconds; the two clocks are not read at the same moment, so smaller differences are no step
MAX_BOOTS = 16


class Boot(NamedTuple):
    """What is known of the clock of an earlier boot."""

    offset: int  # milliseconds, at the end
    is_synchronised: bool


class GatewayClock:
    """Dates readings. The bridge's loop calls it; any thread may set `is_synchronised`, once it is.

    Args:
        boot: the id of this boot; b"" when there is none, and then readings on disk keep the time they have.
        read: gives the time since 1970 and since the boot, in milliseconds.
        wait: for how many milliseconds readings wait while the clock is not synchronised.
        is_synchronised: False when it is not yet.
    """

    def __init__(
        self,
        boot: bytes = b"",
        read: Callable[[], tuple[int, int]] = lambda: (0, 0),
        wait: int = 0,
        *,
        is_synchronised: bool = True,
    ) -> None:
        now, uptime = read()
        self.boot = boot
        self.offset = now - uptime
        self.wait = wait
        self.is_synchronised = is_synchronised
        self.is_waiting = wait > 0 and not is_synchronised
        self.is_set_by_service = False  # a time service says when the clock is synchronised; else the first step does
        self.asked = ""  # who says whether it is synchronised
        self.steps = 0
        self.has_doubts = not is_synchronised  # readings may need the mark
        self._read = read
        self._wait_until = uptime + wait
        self._earlier: dict[bytes, Boot] = {}

    def now(self) -> int:
        """Return the time since 1970 in milliseconds, by the clock as it was at the last `step`."""
        return self._read()[1] + self.offset

    def step(self) -> int:
        """Compare the clock with the time since the boot; return by how many milliseconds it has been set, or 0."""
        now, uptime = self._read()
        step = now - uptime - self.offset
        if -NOISE < step < NOISE:
            step = 0
        self.offset += step
        is_step = not -STEP < step < STEP
        if is_step:
            self.steps += 1
            self.is_synchronised = self.is_synchronised or not self.is_set_by_service
        if self.is_waiting:
            self.is_waiting = not self.is_synchronised and uptime < self._wait_until
        return step if is_step else 0

    def mark(self, entries: Iterable[Entry]) -> None:
        """Mark readings of this boot that are sent while the clock is not synchronised, and only those."""
        for entry in entries if self.has_doubts else ():
            if not entry.is_earlier and entry.reading.is_unsynchronised == self.is_synchronised:
                entry.reading = structs.replace(entry.reading, is_unsynchronised=not self.is_synchronised)

    # --- readings on disk --------------------------------------------------------------------------------------------

    def stamp(self, reading: Reading, *, is_earlier: bool = False) -> tuple[bytes, int, bool]:
        """Give what a row keeps: boot, milliseconds since it, and whether the time is in doubt."""
        if is_earlier or not self.boot:
            return b"", 0, reading.is_unsynchronised
        return self.boot, reading.received_at - self.offset, reading.is_unsynchronised or not self.is_synchronised

    def dated(self, reading: Reading, boot: bytes, uptime: int) -> tuple[Reading, bool]:
        """Date a reading of a row; the flag is True when it is of an earlier boot."""
        is_earlier = not boot or boot != self.boot
        known = self._earlier.get(boot) if is_earlier else Boot(self.offset, is_synchronised=True)
        if known is None:
            self.has_doubts |= reading.is_unsynchronised
            return reading, is_earlier
        self.has_doubts |= not known.is_synchronised
        at, is_unsynchronised = uptime + known.offset, not known.is_synchronised
        if -STEP < at - reading.received_at < STEP:
            at = reading.received_at
        if at != reading.received_at or is_unsynchronised != reading.is_unsynchronised:
            reading = structs.replace(reading, received_at=at, is_unsynchronised=is_unsynchronised)
        return reading, is_earlier

    # --- boots, as the spool file keeps them -------------------------------------------------------------------------

    def saved(self) -> dict[str, list[Any]]:
        """Return the boots as JSON values, the newest last."""
        boots = self._earlier | ({self.boot: Boot(self.offset, self.is_synchronised)} if self.boot else {})
        return {boot.hex(): list(each) for boot, each in list(boots.items())[-MAX_BOOTS:]}

    def restore(self, saved: dict[str, Any]) -> None:
        """Continue with what `saved` returned; raises ValueError or TypeError for anything else."""
        boots = {bytes.fromhex(boot): Boot(int(offset), bool(is_set)) for boot, (offset, is_set) in saved.items()}
        own = boots.pop(self.boot, None)
        self.is_synchronised = self.is_synchronised or (own is not None and own.is_synchronised)
        self._earlier = boots
