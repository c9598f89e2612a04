"""Keywords of a payload's JSON Schema that have no effect: each is a warning, because what is stated should be true."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.contract.document import quoted
from gateway.core.codec.keywords import ENCODINGS, TESTS
from gateway.core.codec.pattern import Pattern, UnsupportedPatternError, why_broken
from gateway.core.codec.payload_schema import ENFORCED, UNENFORCED, Place, contradiction, outermost, schemas, unenforced
from gateway.core.message_schema import without_records
from gateway.documents.spelling import nearest, suggestion

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.contract.schema import Record

SIMILAR = 0.8
# Formats that an Avro type checks: the logical types, by the beginning of their names, or the types of numbers.
FORMATS: dict[str, str | tuple[str, ...]] = {
    "date-time": "timestamp-", "date": "date", "time": "time-", "uuid": "uuid",
    "int32": "int", "int64": ("int", "long"), "float": "float", "double": ("float", "double"),
}  # fmt: skip
OF_OPENAPI = {
    "nullable": ("JSON Schema has no keyword 'nullable'; it is OpenAPI's.", "Write type: [..., 'null']."),
}
JSON_TYPES = frozenset({None, "array", "boolean", "integer", "null", "number", "object", "string"})
MEANT = {"divisibleBy": "multipleOf", "max": "maximum", "min": "minimum", "regex": "pattern", "regexp": "pattern"}
UNCHANGED = {"7bit", "8bit", "binary"}  # encodings of MIME that leave a text as it is
ANNOTATIONS = frozenset({
    "$comment", "$id", "$schema", "contentMediaType", "default", "definitions", "deprecated", "description", "examples",
    "externalDocs", "readOnly", "title", "writeOnly",
})  # fmt: skip


def check(payload: Payload, record: Record, findings: Findings) -> None:
    """Warn of keywords that are not enforced, and of those that are misspelt."""
    if payload.record is not None:
        return
    if isinstance(payload.around, dict) and payload.around_node:
        _check(payload.around_node, without_records(payload.around, payload.steps), Place(), payload, findings)
    _check(payload.node, payload.json_schema, outermost(record.schema.record), payload, findings)


def _check(node: Node, schema: Any, place: Place, payload: Payload, findings: Findings) -> None:
    for path, below, inner in schemas(schema, place):
        for keyword in unenforced(below, inner):
            stated = node.at(*path, keyword)
            if not _is_violation(keyword, stated) and (explained := _explained(keyword, stated, inner)):
                # in the schema of an object itself, true and false are the switch for all members that no field reads
                is_switch = keyword == "additionalProperties" and "allOf" not in path and stated.boolean is not None
                if not is_switch and (keyword != "additionalProperties" or payload.unknown == "reject"):
                    findings.warning(stated, *explained)
        if keyword := contradiction(below):
            text = "No value passes, because the other keywords here exclude all that this one allows."
            findings.warning(node.at(*path, keyword), text, "Correct one of them.")


def _is_violation(keyword: str, stated: Node) -> bool:
    """Tell whether the value of a keyword is none that JSON Schema allows."""
    match keyword:
        case "type":
            return not JSON_TYPES.issuperset([stated.text, *(one.text for one in stated.entries())])
        case "pattern":
            return stated.text is None or bool(why_broken(stated.text))
        case "contentEncoding":
            return stated.text is None
        case "anyOf":
            return not isinstance(stated.value, list) or not stated.value
    return keyword in TESTS


def _is_checked(stated: Node, place: Place) -> bool:
    """Tell whether the types of a field check its format."""
    labels = FORMATS.get(stated.text or "")
    types = [each for each in place.types if each.kind != "null"]
    return labels is not None and bool(types) and all(each.label.startswith(labels) for each in types)


def _explained(keyword: str, stated: Node, place: Place) -> tuple[str, str] | None:
    """What is wrong with a keyword that the codec does not enforce, and the fix; None when nothing is."""
    if explain := _OF_KEYWORDS.get(keyword):
        return explain(stated, place)
    if keyword in UNENFORCED | TESTS.keys():
        text = f"The gateway does not enforce {keyword!r}: values that violate it pass."
        return OF_OPENAPI.get(keyword, (text, "Use other keywords, or remove it."))
    if keyword in MEANT:
        return f"JSON Schema has no keyword {keyword!r}.", f"Did you mean {MEANT[keyword]!r}?"
    near = "" if keyword in ANNOTATIONS or keyword.startswith("x-") else suggestion(keyword, ENFORCED, SIMILAR)
    return (f"JSON Schema has no keyword {keyword!r}.", near) if near else None


def _fixed(text: str, fix: str) -> _Explain:
    return lambda _stated, _place: (text, fix)


def _unknown_encoding(stated: Node, _place: Place) -> tuple[str, str] | None:
    name = (stated.text or "").lower()
    if name in UNCHANGED:
        return None
    near = {"hex": "base16"}.get(name) or nearest(name, ENCODINGS, SIMILAR)
    fix = f"Did you mean {near!r}?" if near else f"Use {', '.join(ENCODINGS)}."
    return f"The gateway does not know the encoding {quoted(stated.value)}.", fix


def _unchecked_format(stated: Node, place: Place) -> tuple[str, str] | None:
    if _is_checked(stated, place):
        return None
    text = f"The gateway does not enforce the format {quoted(stated.value)} here."
    if stated.text in {"base64", "byte"}:
        return text, "Instead, write contentEncoding: base64."
    return text, "Give the field an Avro type that checks it, or write a pattern."


def _unsupported_pattern(stated: Node, _place: Place) -> tuple[str, str] | None:
    try:
        Pattern(stated.text or "")
    except UnsupportedPatternError as error:
        return f"The gateway does not enforce this pattern; it does not support {error}.", "Write it without that."
    return None


_Explain = Callable[["Node", "Place"], "tuple[str, str] | None"]
_OF_KEYWORDS: dict[str, _Explain] = {
    "anyOf": _fixed(
        "The gateway enforces 'anyOf' only where each of its schemas is a list of required members.",
        "Write it as in anyOf: [{required: [a]}, {required: [b]}], or remove it.",
    ),
    "additionalProperties": _fixed(
        "additionalProperties has no effect here: readings with members that no field reads are dead letters.",
        "Write additionalProperties: true in the schema of the object itself to ignore such members.",
    ),
    "contentEncoding": _unknown_encoding,
    "format": _unchecked_format,
    "items": _fixed(
        "The gateway does not enforce a schema for each item.", "Write one schema for all items, or remove it."
    ),
    "pattern": _unsupported_pattern,
}
