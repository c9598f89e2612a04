"""A finished HTML page, as the HTTP server sends it."""

from __future__ import annotations

from typing import NamedTuple


class Page(NamedTuple):
    """A self-contained HTML page, and the source `'sha256-...'` that its Content-Security-Policy allows for styles."""

    text: str
    style: str
