"""The seven compatibility modes of schema registries: who must be able to read whose records.

    BACKWARD  readers with the new schema read old records: readers change first
    FORWARD   readers with the old schema read new records: writers change first
    FULL      both
    NONE      nothing is promised

Plain modes look at the version before, their _TRANSITIVE forms at all versions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

from gateway.errors import ConfigurationError, Finding
from gateway.operate.schemas.resolution import Fault, faults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.operate.schemas.avsc import Schema

Direction = Literal["backward", "forward"]


class Mode(StrEnum):
    """A compatibility mode, by the name that registries use."""

    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"
    NONE = "NONE"

    @property
    def is_transitive(self) -> bool:
        """Whether all earlier versions count."""
        return self.value.endswith("_TRANSITIVE")

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Which sides must be able to read the other's records."""
        plain = self.value.removesuffix("_TRANSITIVE")
        directions: dict[str, tuple[Direction, ...]] = {
            "BACKWARD": ("backward",),
            "FORWARD": ("forward",),
            "FULL": ("backward", "forward"),
            "NONE": (),
        }
        return directions[plain]


class Problem(NamedTuple):
    """A fault between two versions.

    Args:
        direction: backward when the new schema reads, forward when the old one does.
        fault: what the reader cannot do.
        new: the version that is judged.
        old: the earlier version.
    """

    direction: Direction
    fault: Fault
    new: Schema
    old: Schema


def judge(new: Schema, earlier: Sequence[Schema], mode: Mode) -> list[Problem]:
    """Judge a new version of a schema.

    Args:
        new: the version.
        earlier: versions before it, the oldest first; may be empty.
        mode: who must be able to read whose records.

    Returns:
        Faults and cautions, those against the newest version first.

    Raises:
        ConfigurationError: when the types are nested hundreds of levels deep.
    """
    counted = earlier[::-1] if mode.is_transitive else earlier[-1:]
    try:
        return [
            Problem(direction, fault, new, old)
            for old in counted
            for direction in mode.directions
            for fault in (faults(new.type, old.type) if direction == "backward" else faults(old.type, new.type))
        ]
    except RecursionError:
        raise ConfigurationError([Finding(new.label, 0, "", "It is nested too deep to be compared.")]) from None
