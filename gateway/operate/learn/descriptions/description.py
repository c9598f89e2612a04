"""What a device publishes, in its own words, and the values that the readers of such descriptions share.

A description is a hint: limits are often those of a command, words may be missing, and a template may hide what the
payload has. What was heard decides; the description adds what no sample shows, such as units.

Descriptions come from devices, so any value in them may have any type and any size. Readers take what they understand
and leave out the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_DEVICES = 10_000  # in one message
MAX_MEMBERS = 1_000  # of one device
MAX_TEXT = 200  # characters of a name or a text
MAX_WORDS = 100
MAX_TOPIC_BYTES = 65_535  # MQTT 5.0 section 1.5.4

Value = TypeVar("Value", "Described", "DescribedMember")
Kind = Literal["", "number", "boolean", "text", "list"]  # "" if it is not said


@dataclass(frozen=True, slots=True)
class DescribedMember:
    """What a description says of one member of a payload.

    Args:
        kind: of its value. A boolean whose `on` is "" is JSON's; otherwise it is one of two words.
        unit: as the device writes it: `°C`, `kWh`.
        minimum: of a number.
        maximum: of a number.
        step: of a number.
        words: all values of a text, as far as they are known.
        on: the word of a boolean that is true; a number is written as text.
        off: the other word.
        text: what it means.
        is_counter: it never falls, except when it is reset.
    """

    kind: Kind = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    words: tuple[str, ...] = ()
    on: str = ""
    off: str = ""
    text: str = ""
    is_counter: bool = False


@dataclass(frozen=True, slots=True)
class Described:
    """A topic to which a device publishes readings.

    Args:
        source: the kind of description.
        topic: without wildcards; "" when a description says only what is ignored, or has the members of another topic.
        device: its name.
        model: devices of one model publish the same members; "" if it is not known.
        members: by JSON pointer; "" is the whole payload. Others may come.
        ignored: filters of topics that have no readings: commands, availability, descriptions.
        id: of the device, the same in all of its descriptions of one source.
    """

    source: str
    topic: str = ""
    device: str = ""
    model: str = ""
    members: Mapping[str, DescribedMember] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    id: str = ""

    def with_more(self, other: Described) -> Described:
        """Add what another description of the same topic says; where both say something, this one counts."""
        both = {pointer: _filled(one, other.members.get(pointer, one)) for pointer, one in self.members.items()}
        return replace(
            _filled(self, other),
            members={**other.members, **both},
            ignored=tuple(sorted({*self.ignored, *other.ignored})),
        )


def _filled(one: Value, other: Value) -> Value:
    return replace(one, **{each.name: getattr(other, each.name) for each in fields(one) if _is_open(one, each.name)})


def _is_open(one: Described | DescribedMember, name: str) -> bool:
    value = getattr(one, name)
    return value is None or value is False or value in ("", ())


def text(value: Any) -> str:
    """Give a text, shortened; "" for all else."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def texts(value: Any) -> tuple[str, ...]:
    """Give a list of different texts; () for all else, and when there are too many."""
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    different = tuple(dict.fromkeys(map(text, value))) if is_list else ()
    return different if len(different) <= MAX_WORDS else ()


def number(value: Any) -> float | None:
    """Give a finite number; None for all else."""
    try:
        found = None if isinstance(value, bool | str | list | dict | None) else float(value)
    except (TypeError, OverflowError):
        return None
    return found if found is not None and isfinite(found) else None


def mapping(value: Any) -> dict[str, Any]:
    """Give an object; an empty one for all else."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Give the objects of a list, or of the members of an object."""
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(one, dict):
            yield one


def topic_name(value: Any) -> str:
    """Give a topic to which one can publish; "" for all else."""
    is_topic = isinstance(value, str) and not set(value) & set("+#\0") and len(value.encode()) <= MAX_TOPIC_BYTES
    return value if is_topic else ""
