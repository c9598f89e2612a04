"""Channel addresses: `factory/{machine}/{sensor}` as a subscription filter, and topics matched back to parameters.

A level of an address is one of these, the most specific first:

    factory           literal text; the filter has the same
    shelly-{id}       literal text around a parameter; the filter has `+`
    {machine}         a parameter: one level; the filter has `+`
    {path}            a parameter of one or more levels, at most one in an address; the filter ends there with `#`

**Several addresses may match a topic: the most specific one has it.** Two addresses are compared level by level from
the left; one that goes on is more specific than one that ends there. Of two levels that are partly literal, the one
with more literal text is more specific. Two addresses of equal specificity that some topic matches are ambiguous;
`gateway check` refuses them.

Matching follows MQTT 5.0 section 4.7, and is narrower than the filter in some ways. The address `a/{path}` does not
match the topic `a`, although the filter `a/#` does; `shelly-{id}` matches only levels with its literal text; and what
stands behind `{path}` is not in the filter. What a parameter takes may be empty, or only slashes: the transform refuses
such a topic, because an empty machine name would be an empty key. An address cannot contain `#` or `$share/`; shared
subscriptions belong to the settings of an installation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from gateway.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

END = 4, 0  # the specificity of the end of an address
MAX_BYTES = 65_535  # an MQTT string carries its length in two bytes


class AddressError(DataError):
    """An address that no MQTT filter can express."""


class Level(NamedTuple):
    """One level of an address, or several."""

    before: str  # literal text; all of it when there is no parameter
    name: str | None = None  # of the parameter
    after: str = ""
    is_multi: bool = False  # the parameter takes one or more levels

    @property
    def filter(self) -> str:
        """The level of the subscription filter; it does not take several."""
        return self.before if self.name is None else "+"

    @property
    def specificity(self) -> tuple[int, int]:
        """Compare levels by this: the more specific one has the smaller value."""
        if self.name is None:
            return 0, 0
        literal = len(self.before) + len(self.after)
        return (1, -literal) if literal else (3 if self.is_multi else 2, 0)

    def value(self, text: str) -> str | None:
        """What the parameter takes of a level of a topic; None when the level does not match."""
        end = len(text) - len(self.after)
        fits = len(self.before) <= end and text.startswith(self.before) and text.endswith(self.after)
        return text[len(self.before) : end] if fits else None

    def matches(self, text: str) -> bool:
        """Tell whether a level of a topic matches."""
        value = self.value(text)
        return value is not None and (self.name is not None or not value)

    def overlaps(self, other: Level) -> bool:
        """Tell whether some level matches both; neither takes several."""
        if self.name is None or other.name is None:
            literal, level = (self, other) if self.name is None else (other, self)
            return level.matches(literal.before)
        befores, afters = sorted((self.before, other.before), key=len), sorted((self.after, other.after), key=len)
        return befores[1].startswith(befores[0]) and afters[1].endswith(afters[0])


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed channel address."""

    text: str  # as the contract writes it
    levels: tuple[Level, ...]

    @classmethod
    def parse(cls, text: str, multi_level: Collection[str] = ()) -> Address:
        """Parse levels separated by `/`; raises AddressError, whose text says why.

        Each is literal text, or has one `{name}`. The parameters in `multi_level` take several levels.
        """
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise AddressError("the address holds half of a surrogate pair, which is not a character") from None
        if not 1 <= size <= MAX_BYTES:
            raise AddressError(f"an address has 1 to {MAX_BYTES:,} bytes")
        levels = tuple(_level(level, multi_level) for level in text.split("/"))
        names = [level.name for level in levels if level.name is not None]
        if len(set(names)) < len(names):
            raise AddressError("the address has two parameters of one name")
        if levels[0].before.startswith("$"):
            raise AddressError(f"{levels[0].before!r} is reserved for the broker")
        if sum(level.is_multi for level in levels) > 1:
            raise AddressError("only one parameter of an address can take several levels of a topic")
        return cls(text, levels)

    @property
    def is_multi(self) -> bool:
        """True when a parameter takes several levels."""
        return any(level.is_multi for level in self.levels)

    @property
    def _head(self) -> tuple[Level, ...]:
        """The levels before the parameter that takes several; all when there is none."""
        return tuple(takewhile(lambda level: not level.is_multi, self.levels))

    @property
    def _tail(self) -> tuple[Level, ...]:
        """The levels behind it; all when there is none."""
        return tuple(takewhile(lambda level: not level.is_multi, self.levels[::-1]))[::-1]

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in order."""
        return tuple(level.name for level in self.levels if level.name is not None)

    @property
    def filter(self) -> str:
        """The subscription filter: `factory/+/+`."""
        return "/".join([*(level.filter for level in self._head), *(["#"] if self.is_multi else [])])

    @property
    def specificity(self) -> tuple[tuple[int, int], ...]:
        """How specific it is, level by level; of the addresses that match a topic, the smallest has it."""
        return (*(level.specificity for level in self.levels), END)

    def match(self, topic: str) -> tuple[str, ...] | None:
        """Match a topic: give the parameters' values in the address's order, which may be empty; None for no match."""
        if topic.startswith("$"):
            return None  # wildcards at the start do not match $-topics [MQTT-4.7.2-1], and no address begins with $
        parts = topic.split("/")
        if self.is_multi and len(parts) > len(self.levels):
            first, end = len(self._head), len(parts) - len(self._tail)
            parts[first:end] = ["/".join(parts[first:end])]
        if len(parts) != len(self.levels):
            return None
        values = []
        for part, level in zip(parts, self.levels, strict=True):
            if not level.matches(part):
                return None
            if level.name is not None:
                values.append(level.value(part) or "")
        return tuple(values)

    def topic(self, values: Sequence[str]) -> str:
        """Make the topic that has these values of the parameters, in the address's order."""
        left = iter(values)
        return "/".join(
            level.before if level.name is None else f"{level.before}{next(left)}{level.after}" for level in self.levels
        )

    def overlaps(self, other: Address) -> bool:
        """Tell whether some topic matches both addresses."""
        mine, others = len(self.levels), len(other.levels)
        if (mine < others and not self.is_multi) or (mine > others and not other.is_multi):
            return False
        heads = zip(self._head, other._head, strict=False)
        tails = zip(reversed(self._tail), reversed(other._tail), strict=False)
        return all(one.overlaps(two) for one, two in (*heads, *tails))


def _level(text: str, multi_level: Collection[str]) -> Level:
    """Read one level of an address."""
    before, brace, rest = text.partition("{")
    name, end, after = rest.partition("}")
    if (brace and (not end or not name)) or any(mark in f"{before}{name}{after}" for mark in "{}"):
        raise AddressError(f"level {text!r} is not one {{parameter}} with text around it")
    if "+" in text or "#" in text:
        fix = "use a {parameter} with x-multi-level: true" if "#" in text else "use a {parameter}"
        raise AddressError(f"level {text!r} holds an MQTT wildcard: {fix}")
    if "\0" in text:
        raise AddressError("the address holds a NUL character")
    if not brace:
        return Level(text)
    if name in multi_level and (before or after):
        raise AddressError(f"level {text!r} has text beside a parameter that takes several levels")
    return Level(before, name, after, name in multi_level)
