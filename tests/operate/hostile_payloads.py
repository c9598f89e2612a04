"""More defects than `gateway simulate --broken` publishes: what devices, adapters and people also send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.operate.simulate.breakage import DEFECTS, TO_BYTES, Case, Defect, Shape, json_types
from gateway.operate.simulate.plausible import FieldPlace, value_at
from gateway.operate.simulate.written import RANGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.operate.simulate.plausible import Path

MARK = "\x02mark\x03"  # replaced by text that no JSON library writes


def with_text(case: Case, path: Path, text: bytes) -> bytes:
    """Write the sample with other JSON text at a path."""
    return case.with_value(path, MARK).replace(TO_BYTES(MARK), text).replace(MARK.encode(), text)


def first_place(case: Case, is_suitable: Callable[[FieldPlace], bool]) -> tuple[FieldPlace, Path] | None:
    return next(((place, path) for place, path in case.places() if is_suitable(place)), None)


def text_at(is_suitable: Callable[[FieldPlace], bool], *texts: bytes) -> Callable[[Case], bytes | None]:
    """Write one of these JSON texts at a suitable place."""

    def make(case: Case) -> bytes | None:
        found = first_place(case, is_suitable)
        return with_text(case, found[1], case.random.choice(texts)) if found else None

    return make


def number_as_text(case: Case) -> bytes | None:
    found = first_place(case, lambda place: "number" in (types := json_types(place)) and "text" not in types)
    return case.with_value(found[1], str(value_at(case.sample.value, found[1]))) if found else None


def too_deep(case: Case) -> bytes:
    rest = case.payload[1:]
    return b'{"deep": ' + b"[" * 500 + b"]" * 500 + (b"," if rest != b"}" else b"") + rest


def always(payload: bytes) -> Callable[[Case], bytes]:
    return lambda _case: payload


HOSTILE = DEFECTS | {
    "number as text": Defect(Shape.JSON_VALUE, number_as_text),
    "null": Defect(Shape.JSON_VALUE, text_at(lambda place: not place.type.is_nullable, b"null")),
    "not a number": Defect(
        Shape.LITERAL,
        text_at(lambda place: "number" in json_types(place), b"NaN", b"-Infinity", b"+1", b"01", b".5", b"0x1F"),
    ),
    "bare word": Defect(Shape.LITERAL, always(b"ON")),
    "bare number": Defect(Shape.OBJECT, always(b"23.5")),
    "HTML": Defect(Shape.LITERAL, always(b"<html><body>502 Bad Gateway</body></html>")),
    "fraction in integer": Defect(
        Shape.TEXT,
        text_at(lambda place: not place.is_converted and place.only_kind in RANGES, b"21.5"),
    ),
    "in an array": Defect(Shape.OBJECT, lambda case: b"[" + case.payload + b"]"),
    "byte order mark": Defect(Shape.TEXT, lambda case: b"\xef\xbb\xbf" + case.payload),
    "lone surrogate": Defect(Shape.JSON_VALUE, text_at(lambda place: "text" in json_types(place), rb'"oven \ud800"')),
    "trailing text": Defect(Shape.LITERAL, lambda case: case.payload + b"}"),
    "of many digits": Defect(
        Shape.TEXT,
        text_at(lambda place: place.only_kind in {*RANGES, "float", "double"}, b"9" * 5000),
    ),
    "too deep": Defect(Shape.OBJECT, too_deep),
    "single quotes": Defect(
        Shape.OBJECT, lambda case: case.payload.replace(b'"', b"'") if b'"' in case.payload else None
    ),
    "null alone": Defect(Shape.OBJECT, always(b"null")),
    "binary": Defect(Shape.TEXT, always(bytes(range(256)))),
    "two at once": Defect(Shape.LITERAL, lambda case: case.payload + b"\n" + case.payload),
}
