"""How the codec reports inside itself that a payload does not fit; `codec.py` turns it into a DeadLetter.

An exception and not a value, because it is raised deep in a walk whose steps then add their part of the place.
It never leaves `core/`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from gateway.core.reading import DeadLetter
from gateway.errors import DataError

if TYPE_CHECKING:
    from gateway.core.reading import Reason

SHOWN = 40  # characters of an offending value that a detail may quote


class ValidationError(DataError):
    """A value that its schema does not take; `tokens` lead from where it was raised down to the value, unescaped."""

    def __init__(self, reason: Reason, detail: str, *tokens: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.tokens = list(tokens)

    def under(self, *tokens: str) -> ValidationError:
        """Add the tokens that lead from the root to the present place."""
        self.tokens[:0] = tokens
        return self

    def dead_letter(self) -> DeadLetter:
        """Make the value that leaves the core."""
        return DeadLetter(self.reason, pointer(self.tokens), self.detail)


def pointer(tokens: list[str] | tuple[str, ...]) -> str:
    """Write tokens as a JSON pointer (RFC 6901)."""
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


def tokens(text: str) -> tuple[str, ...]:
    """Read a JSON pointer (RFC 6901): "" is the whole document."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def shown(value: object) -> str:
    """Quote a value for a detail: printable ASCII, cut to `SHOWN` characters."""
    text = str(value) if isinstance(value, Decimal) else ascii(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
