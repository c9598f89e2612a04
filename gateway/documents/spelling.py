"""Suggestions for misspelt names."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The most similar of the known names, in either case; None when none has the least similarity (0 to 1)."""
    names = {each.lower(): each for each in known}
    similar = get_close_matches(word.lower(), names, n=1, cutoff=cutoff)
    return names[similar[0]] if similar else None


def suggestion(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The most similar of the known names as a question, or ""."""
    name = nearest(word, known, cutoff)
    return "" if name is None else f"Did you mean {name!r}?"
