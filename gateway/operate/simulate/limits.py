"""Values within the constraints of a payload's JSON Schema: what a sample's value becomes where it is outside."""

from __future__ import annotations

from base64 import b16encode, b64encode, urlsafe_b64encode
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.keywords import TESTS, exact, one_or_more, schemas_at
from gateway.core.codec.pattern import Anchor, Characters, Choice, Pattern, Repeat, Sequence, UnsupportedPatternError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from gateway.core.codec.pattern import Node

ATTEMPTS = 50  # at a text that matches a pattern and has a length
MORE = 3  # repetitions beyond the least, of a pattern that allows any number
ENCODERS = {"base64": b64encode, "base64url": urlsafe_b64encode, "base16": b16encode}
PRINTABLE = range(0x20, 0x7F)


class Limits:
    """The constraints of one place of a payload."""

    def __init__(self, schema: Any, path: tuple[str, ...]) -> None:
        self._schemas = list(schemas_at(schema, path[path[:1] == (PAYLOAD,) :]))
        keywords = [(key, argument) for each in self._schemas for key, argument in each.items() if key in TESTS]
        self._tests = [test for key, argument in keywords if (test := TESTS[key](key, argument))]

    def of(self, *keywords: str) -> list[Any]:
        """The arguments of keywords."""
        return [schema[keyword] for keyword in keywords for schema in self._schemas if keyword in schema]

    def requires(self, name: str) -> bool:
        """Tell whether an object must have a member."""
        return any(name in names for names in self.of("required"))

    def allows_type(self, name: str) -> bool:
        """Tell whether a value may be of a type of JSON Schema."""
        return all(name in one_or_more(stated) for stated in self.of("type"))

    def size(self, count: int, least: str, most: str) -> int:
        """Give a size within the limits, near another one."""
        return int(max([min([count, *self.of(most)]), *self.of(least)]))

    def allow(self, value: Any) -> bool:
        """Tell whether a value itself, without what is in it, is within the constraints."""
        return not any(test.error(value) for test in self._tests)

    def fitted(self, value: Any, random: Random) -> Any:
        """Change a number or a text so that it is within the constraints, if that is simple."""
        if self.allow(value):
            return value
        choices = [one for choices in (*self.of("enum"), self.of("const")) for one in choices if self.allow(one)]
        if choices:
            return random.choice(choices)
        if isinstance(value, str):
            return next((text for text in self._texts(value, random) if self.allow(text)), value)
        is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        return self._number(value) if is_number else value

    def beyond(self) -> int | None:
        """Give a number outside, if numbers have limits."""
        highs, lows = self.of("maximum", "exclusiveMaximum"), self.of("minimum", "exclusiveMinimum")
        return int(max(highs)) + 1 if highs else int(min(lows)) - 1 if lows else None

    def _texts(self, text: str, random: Random) -> Iterator[str]:
        for name in self.of("contentEncoding"):
            yield ENCODERS[name](text.encode()).decode() if name in ENCODERS else text
        length = self.size(len(text), "minLength", "maxLength")
        yield text[:length].ljust(length, "x")
        for pattern in self.of("pattern"):
            for _ in range(ATTEMPTS):
                try:
                    yield sample(Pattern(pattern).tree, random)
                except UnsupportedPatternError:
                    break

    def _number(self, value: float | Decimal) -> int | float:
        is_whole = isinstance(value, int) or not self.allows_type("number")
        number = Decimal(exact(value))
        lows, highs = self._decimals("minimum", "exclusiveMinimum"), self._decimals("maximum", "exclusiveMaximum")
        low, high = max(lows, default=None), min(highs, default=None)
        steps = self._decimals("multipleOf") or ([Decimal(1)] if is_whole else [])
        step = steps[0] if steps else Decimal("0.1") if low is None or high is None else (high - low) / 8
        if low is not None and number <= low:
            number = self._multiple(low, step, ROUND_CEILING, "exclusiveMinimum")
        elif high is not None and number >= high:
            number = self._multiple(high, step, ROUND_FLOOR, "exclusiveMaximum")
        else:
            number = self._multiple(number, step, ROUND_FLOOR, "")
            number += step if low is not None and number < low else 0
        return int(number) if number == int(number) else float(number)

    def _multiple(self, limit: Decimal, step: Decimal, rounding: str, exclusive: str) -> Decimal:
        """Give the multiple of a step that is nearest to a limit, which itself may be excluded."""
        number = (limit / step).to_integral_value(rounding) * step
        if limit in self._decimals(exclusive) and number == limit:
            number += step if rounding == ROUND_CEILING else -step
        return number

    def _decimals(self, *keywords: str) -> list[Decimal]:
        return [Decimal(exact(one)) for one in self.of(*keywords)]


def sample(node: Node, random: Random) -> str:
    """Make a text that matches a pattern."""
    match node:
        case Characters(ranges):
            printable = [point for low, high in ranges for point in PRINTABLE if low <= point <= high]
            return chr(random.choice(printable or [low for low, _ in ranges]))
        case Sequence(parts):
            return "".join(sample(part, random) for part in parts)
        case Choice(options):
            return sample(random.choice(options), random)
        case Repeat(part, low, high):
            return "".join(
                sample(part, random) for _ in range(random.randint(low, low + MORE if high is None else high))
            )
        case Anchor():
            return ""
