"""Why the compiled encoder is not used: for one payload, or for a schema as a whole."""

from __future__ import annotations


class FallBack(Exception):  # noqa: N818 - not an error: it says "ask the precise path"
    """The fast path does not take this payload."""


class UnsupportedSchemaError(Exception):
    """The schema has a shape that no code is generated for; the text names it."""
