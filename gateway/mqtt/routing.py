"""What a source subscribes to, and how it tells the streams of topics apart; a reload replaces it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.core.topic_index import NOT_ADDRESSED, UNMAPPED, topic_index

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.core.model import Stream

_OF_NONE = {UNMAPPED, NOT_ADDRESSED}


class Routing(NamedTuple):
    """The routing of one source."""

    filters: Mapping[str, int]  # filter -> QoS
    stream_of: Callable[[bytes], str]  # topic -> name of its stream
    property_streams: frozenset[str]  # whose readings carry their MQTT 5 properties

    def beside(self, others: Sequence[Stream]) -> Routing:
        """Add streams, not subscribed, for the topics that no other stream has."""
        own, of_others = self.stream_of, topic_index([(each.name, each.address) for each in others])

        def found(topic: bytes) -> str:
            name = own(topic)
            other = of_others(topic) if name in _OF_NONE else UNMAPPED
            return name if other == UNMAPPED else other

        keeping = self.property_streams.union(each.name for each in others if each.keeps_properties)
        return Routing(self.filters, found, keeping)
