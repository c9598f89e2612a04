"""Runtime expressions such as `$message.payload#/machine`, in the grammar of AsyncAPI's `location`.

AsyncAPI's own `parameters.*.location` uses it (a place in the MQTT payload), and four extensions do: `x-source` on an
Avro field and `x-sequence` on a receive operation (in the MQTT payload), `x-location` in the schema of a Kafka key and
`x-timestamp` on a Kafka message (in the record). After the `#` comes one pointer of RFC 6901, or nothing for the whole.
AsyncAPI has no expression for two places: `$message.parameter#/name`, a parameter of the MQTT address, in a key, or of
`x-records`, in a field of its record; and `$message.envelope#/member`, a place in the message around that record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.contract.document import quoted
from gateway.core.codec.validation_error import pointer, tokens
from gateway.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.contract.document import Node

EXPRESSION = re.compile(r"\$message\.(payload|header|parameter|envelope)#((?:/.*)?)\Z", re.DOTALL)
BAD_ESCAPE = re.compile(r"~(?![01])")


class ExpressionError(DataError):
    """A text that is not a runtime expression; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression."""

    part: str  # `payload`, `header`, `parameter` or `envelope`
    pointer: str  # RFC 6901, "" for the whole

    @property
    def member(self) -> str:
        """The pointer from the record's JSON text: what is around the record is a member there, of the whole name."""
        if self.part == "payload":
            return self.pointer
        return pointer((f"$message.{self.part}#{self.pointer}",))

    @property
    def tokens(self) -> tuple[str, ...]:
        """The pointer's keys, unescaped."""
        return tokens(self.pointer)


def parse(text: str) -> Expression:
    """Parse an expression; raises ExpressionError when it does not follow the grammar."""
    match = EXPRESSION.match(text)
    if not match:
        raise ExpressionError(f"{text!r} is not an expression of the form $message.payload#/member")
    if BAD_ESCAPE.search(match[2]):
        raise ExpressionError(f"In {text!r} a ~ must be written ~0, and a / inside a name ~1")
    return Expression(match[1], match[2])


def read(node: Node, wrong: Callable[[Node, str, str], None], example: str) -> Expression | None:
    """Read the expression at a node; `wrong` is called, and the result is None, when it is not one."""
    try:
        return parse(quoted(node.value) if node.text is None else node.text)
    except ExpressionError as error:
        wrong(node, f"{error}.", f"Write {example}.")
        return None
