"""A finished HTML page, as the HTTP server sends it."""

from __future__ import annotations

from typing import NamedTuple


class Page(NamedTuple):
    """A page to serve.

    Args:
        text: HTML, whole in itself.
        style: the source that a Content-Security-Policy must allow for its styles, `'sha256-...'`.
    """

    text: str
    style: str
