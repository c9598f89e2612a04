"""Channel addresses: `factory/{machine}/{sensor}` as a subscription filter, and topics matched back to parameters.

Rules (MQTT 5.0 section 4.7): a parameter is exactly one level. The level that a parameter takes must not be empty,
because an empty machine name would be an empty key. An address cannot contain `#` or `$share/`; shared subscriptions
belong to the settings of an installation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES = 65_535  # an MQTT string carries its length in two bytes


class AddressError(DataError):
    """An address that no MQTT filter can express."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed channel address."""

    text: str  # as the contract writes it
    levels: tuple[str | None, ...]  # the literal text of each level, or None for a parameter
    names: tuple[str, ...]  # of the parameters, in order

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse levels separated by `/`, each literal text or `{name}`; raises AddressError, whose text says why."""
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise AddressError("the address holds half of a surrogate pair, which is not a character") from None
        if not 1 <= size <= MAX_BYTES:
            raise AddressError(f"an address has 1 to {MAX_BYTES:,} bytes")
        levels = tuple(_level(level) for level in text.split("/"))
        names = tuple(level[1:-1] for level in text.split("/") if level.startswith("{"))
        if len(set(names)) < len(names):
            raise AddressError("the address has two parameters of one name")
        if levels[0] is not None and levels[0].startswith("$"):
            raise AddressError(f"{levels[0]!r} is reserved for the broker")
        return cls(text, levels, names)

    @property
    def filter(self) -> str:
        """The subscription filter: `factory/+/+`."""
        return "/".join("+" if level is None else level for level in self.levels)

    def match(self, topic: str) -> tuple[str, ...] | None:
        """Match a topic: give the parameters' values in the address's order, which may be empty; None for no match."""
        parts = topic.split("/")
        if len(parts) != len(self.levels):
            return None
        values = []
        for part, level in zip(parts, self.levels, strict=True):
            if level is None:
                values.append(part)
            elif part != level:
                return None
        if self.levels[0] is None and topic.startswith("$"):
            return None  # wildcards at the start do not match $-topics [MQTT-4.7.2-1]
        return tuple(values)

    def topic(self, values: Sequence[str]) -> str:
        """Make the topic that has these values of the parameters, in the address's order."""
        left = iter(values)
        return "/".join(next(left) if level is None else level for level in self.levels)

    def overlaps(self, other: Address) -> bool:
        """Tell whether some topic matches both addresses."""
        return len(self.levels) == len(other.levels) and all(
            a is None or b is None or a == b for a, b in zip(self.levels, other.levels, strict=True)
        )


def _level(level: str) -> str | None:
    """Read one level: its literal text, or None for a parameter."""
    if level.startswith("{") and level.endswith("}") and level.count("{") == level.count("}") == 1 and level != "{}":
        return None
    if "{" in level or "}" in level:
        raise AddressError(f"level {level!r} is not a parameter: write a whole level as {{name}}")
    if "+" in level or "#" in level:
        raise AddressError(f"level {level!r} holds an MQTT wildcard: use a {{parameter}}")
    if "\0" in level:
        raise AddressError("the address holds a NUL character")
    return level
