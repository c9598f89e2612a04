"""The seven compatibility modes of schema registries: who must be able to read whose records.

    BACKWARD  readers with the new schema read old records: readers are upgraded first
    FORWARD   readers with the old schema read new records: writers are upgraded first
    FULL      both
    NONE      nothing is promised

Plain modes compare with the version before, their _TRANSITIVE forms with all versions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.operate.schemas.avsc import Schema

Direction = Literal["backward", "forward"]
_DIRECTIONS: dict[str, tuple[Direction, ...]] = {
    "BACKWARD": ("backward",),
    "FORWARD": ("forward",),
    "FULL": ("backward", "forward"),
    "NONE": (),
}


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
        return _DIRECTIONS[self.value.removesuffix("_TRANSITIVE")]

    def counted(self, earlier: Sequence[Schema]) -> Sequence[Schema]:
        """The versions to compare with, of all earlier ones, the oldest first."""
        return earlier if self.is_transitive else earlier[-1:]
