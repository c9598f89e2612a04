"""Local times of a zone: how far one is ahead of UTC.

Of the hour that repeats in autumn a local time names two moments: the first, in summer time, or the second. In spring
an hour is missing: what claims to be in it is invalid. A meter writes a letter after the time, S in summer time and W
in standard time, so that all its times name one moment. The letter counts and not the date, because in some countries
meters have standard time all the year. The rules of a zone come from the time zone database of the
system (`zoneinfo`), which is read when a stream's codec is made.

Nearly every hour has one offset, which is remembered: a look-up in the database costs more than reading the text.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason

REMEMBERED = 1_024  # hours


class LocalTime:
    """Gives the offsets of one zone, by its name in the IANA database; an unknown one raises what `ZoneInfo` raises."""

    def __init__(self, zone: str, *, is_second: bool = False) -> None:
        self._zone = ZoneInfo(zone)
        self._name = zone
        self._fold = int(is_second)
        self._hours: dict[datetime, timedelta | None] = {}  # None for an hour in which the clocks are changed

    def offset(self, moment: datetime, season: str = "") -> timedelta:
        """Give the offset of a local time without zone; raises ValidationError, BAD_FORMAT, when there is none."""
        if season:
            offsets = [self._at(moment.replace(month=month, day=1), 0) for month in (1, 7)]
            return max(offsets) if season == "S" else min(offsets)
        hour = moment.replace(minute=0, second=0)
        if hour not in self._hours:
            if len(self._hours) >= REMEMBERED:
                self._hours.clear()
            self._hours[hour] = self._of_hour(hour)
        offset = self._hours[hour]
        return self._of_moment(moment) if offset is None else offset

    def _of_hour(self, hour: datetime) -> timedelta | None:
        ends = (hour, hour.replace(minute=59, second=59))
        first, *others = [self._at(moment, fold) for moment in ends for fold in (0, 1)]
        return first if all(other == first for other in others) else None

    def _of_moment(self, moment: datetime) -> timedelta:
        offset = self._at(moment, self._fold)
        there = (moment - offset).replace(tzinfo=UTC).astimezone(self._zone)
        if there.replace(tzinfo=None, fold=0) != moment:
            detail = f"{moment} does not exist in {self._name}, because the clocks are put forward there then"
            raise ValidationError(Reason.BAD_FORMAT, detail)
        return offset

    def _at(self, moment: datetime, fold: int) -> timedelta:
        offset = moment.replace(tzinfo=self._zone, fold=fold).utcoffset()
        assert offset is not None, "a zone of the database has an offset at all times"
        return offset
