"""What a device says of itself: the descriptions of its topics and their members.

A description is a hint. The messages that were received decide; it adds what they do not show, such as units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEVICES = 10_000  # in one message
MAX_MEMBERS = 1_000  # of one device


class DescribedMember(NamedTuple):
    """What a description says of one member of a payload."""

    unit: str = ""  # as the device writes it: `°C`, `kWh`
    on: str = ""  # the text that means true; "" for JSON's true, and for values that are not boolean
    off: str = ""
    text: str = ""  # what it means

    def with_more(self, other: DescribedMember) -> DescribedMember:
        """Add what another description says where this one says nothing."""
        return DescribedMember(*(mine or its for mine, its in zip(self, other, strict=True)))


class Described(NamedTuple):
    """A topic to which a device publishes readings."""

    source: str  # the kind of description
    topic: str = ""  # "" when a description says only what is ignored, or has the members of another topic
    device: str = ""  # its name
    members: Mapping[str, DescribedMember] = {}  # by JSON pointer; "" is the whole payload. Others may come.
    ignored: tuple[str, ...] = ()  # filters of topics without readings: commands, availability, descriptions
    id: str = ""  # of the device, where its topic and its members are described apart

    def with_more(self, other: Described) -> Described:
        """Add what another description of the same topic says; where both say something, this one counts."""
        both = {name: one.with_more(other.members[name]) for name, one in self.members.items() if name in other.members}
        ignored = tuple(sorted({*self.ignored, *other.ignored}))
        members = {**other.members, **self.members, **both}
        return self._replace(device=self.device or other.device, members=members, ignored=ignored)
