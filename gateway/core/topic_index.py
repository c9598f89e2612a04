"""Which stream a topic belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.address import Address

UNMAPPED = "unmapped"  # the bucket of topics that no stream describes; no operation may be called so
MAX_TOPICS = 65_536  # remembered; beyond that the memory is started anew


def routes(addresses: Iterable[tuple[str, Address]]) -> Callable[[bytes], str]:
    """Make the function that finds the stream of a topic: its name, or UNMAPPED; a topic may be any bytes.

    Args:
        addresses: name of the stream and its address; the contract makes sure that no two overlap.

    Returns:
        The look-up of a dict: a topic that was seen before costs no Python at all.
    """
    return _Routes(addresses).__getitem__


class _Routes(dict[bytes, str]):
    """The streams of the topics seen so far."""

    def __init__(self, addresses: Iterable[tuple[str, Address]]) -> None:
        super().__init__()
        self._addresses = list(addresses)

    def __missing__(self, topic: bytes) -> str:
        if len(self) >= MAX_TOPICS:
            self.clear()
        # Levels with invalid UTF-8 still match parameters: the transform then refuses the topic by name.
        text = topic.decode(errors="replace")
        name = next((name for name, address in self._addresses if address.match(text) is not None), UNMAPPED)
        self[topic] = name
        return name
