"""Which stream a topic belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.address import Address

UNMAPPED = "unmapped"  # the bucket of topics that no stream describes; no operation may be called so
MAX_TOPICS = 65_536  # remembered; beyond that the memory is started anew


class Routes:
    """Finds the stream of a topic.

    Args:
        addresses: name of the stream and its address; the contract makes sure that no two overlap.
    """

    def __init__(self, addresses: Iterable[tuple[str, Address]]) -> None:
        self._addresses = list(addresses)
        self._known: dict[bytes, str] = {}

    def __call__(self, topic: bytes) -> str:
        """Find the stream.

        Args:
            topic: of an MQTT message; may be anything.

        Returns:
            The stream's name, or UNMAPPED.
        """
        return self._known.get(topic) or self._learn(topic)

    def _learn(self, topic: bytes) -> str:
        if len(self._known) >= MAX_TOPICS:
            self._known.clear()
        # Levels with invalid UTF-8 still match parameters: the transform then refuses the topic by name.
        text = topic.decode(errors="replace")
        name = next((name for name, address in self._addresses if address.match(text) is not None), UNMAPPED)
        self._known[topic] = name
        return name
