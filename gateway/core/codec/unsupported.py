"""Why the compiled encoder is not used: for one payload, or for a schema as a whole."""

from __future__ import annotations

from gateway.errors import CodecLimit


class FallBack(CodecLimit):
    """The fast path does not take this payload."""


class UnsupportedSchemaError(CodecLimit):
    """The schema has a shape that no code is generated for; the text names it."""
