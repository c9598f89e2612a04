"""What goes wrong with bytes: a few are replaced, deleted, inserted, repeated or cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence


class Wounds:
    """Wounds bytes.

    Args:
        chance: decides how.
        telling: pieces that change the meaning of what is around them.
    """

    def __init__(self, chance: random.Random, telling: Sequence[bytes]) -> None:
        self._chance = chance
        self._telling = telling
        self._kinds: list[Callable[[bytes], bytes]] = [self._replace, self._replace, self._delete, self._insert]
        self._kinds += [self._repeat, self._truncate]

    def wound(self, data: bytes) -> bytes:
        """Wound bytes once."""
        return self._chance.choice(self._kinds)(data)

    def _place(self, data: bytes) -> int:
        """Choose a place, among the first bytes as often as anywhere: that is where the headers are."""
        return self._chance.randint(0, self._chance.choice([min(40, len(data)), len(data)]))

    def _replace(self, data: bytes) -> bytes:
        place, piece = self._place(data), self._chance.choice([self._chance.randbytes(1), *self._telling])
        return data[:place] + piece + data[place + 1 :]

    def _delete(self, data: bytes) -> bytes:
        place = self._place(data)
        return data[:place] + data[place + self._chance.randrange(1, 10) :]

    def _insert(self, data: bytes) -> bytes:
        place, size = self._place(data), self._chance.randrange(1, 10)
        return data[:place] + self._chance.choice([self._chance.randbytes(size), *self._telling]) + data[place:]

    def _repeat(self, data: bytes) -> bytes:
        start, end = sorted((self._place(data), self._place(data)))
        return data[:end] + data[start:end] + data[end:]

    def _truncate(self, data: bytes) -> bytes:
        return data[: self._place(data)]
