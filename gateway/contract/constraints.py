"""Keywords of a payload's JSON Schema that have no effect: each is a warning, because what is stated should be true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.document import quoted
from gateway.core.codec.keywords import ENCODINGS, TESTS
from gateway.core.codec.pattern import Pattern, UnsupportedPatternError
from gateway.core.codec.payload_schema import ENFORCED, UNENFORCED, Place, outermost, unenforced
from gateway.documents.spelling import suggestion

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
ANNOTATIONS = frozenset({
    "$comment", "$id", "$schema", "contentMediaType", "default", "definitions", "deprecated", "description", "examples",
    "externalDocs", "readOnly", "title", "writeOnly",
})  # fmt: skip


def check(message: Node, payload: Payload, record: Record, findings: Findings) -> None:
    """Warn of keywords that are not enforced, and of those that are misspelt."""
    if payload.record is not None:
        return
    if isinstance(payload.around, dict):
        own = {key: value for key, value in payload.around.items() if key != "items"}
        _check(message.at("payload"), own, Place(), payload, findings)
    _check(payload.node, payload.json_schema, outermost(record.schema.record), payload, findings)


def _check(node: Node, schema: Any, place: Place, payload: Payload, findings: Findings) -> None:
    for path, keyword, inner in unenforced(schema, place):
        stated = node.at(*path, keyword)
        if keyword == "type" and not JSON_TYPES.issuperset([stated.text, *(one.text for one in stated.entries())]):
            continue  # reported as a violation of the specification
        if explained := _explained(keyword, stated, inner):
            # in the outermost schema, true and false are the switch for all members that no field reads
            is_switch = keyword == "additionalProperties" and not path and stated.boolean is not None
            if not is_switch and (keyword != "additionalProperties" or payload.unknown == "reject"):
                findings.warning(stated, *explained)


def _is_checked(stated: Node, place: Place) -> bool:
    """Tell whether the types of a field check its format."""
    labels = FORMATS.get(stated.text or "")
    types = [each for each in place.types if each.kind != "null"]
    return labels is not None and bool(types) and all(each.label.startswith(labels) for each in types)


def _explained(keyword: str, stated: Node, place: Place) -> tuple[str, str] | None:
    """What is wrong with a keyword that the codec does not enforce, and the fix; None when nothing is."""
    match keyword:
        case "additionalProperties":
            return (
                "additionalProperties has no effect here: readings with members that no field reads are dead letters.",
                "Write additionalProperties: true in the outermost schema of the payload to ignore all such members.",
            )
        case "contentEncoding":
            return f"The gateway does not know the encoding {quoted(stated.value)}.", f"Use {', '.join(ENCODINGS)}."
        case "pattern" if reason := _reason(stated.text or ""):
            return f"The gateway does not enforce this pattern; it does not support {reason}.", "Write it without that."
        case "format":
            fix = "Give the field an Avro type that checks it, or write a pattern."
            is_checked = _is_checked(stated, place)
            return (
                None if is_checked else (f"The gateway does not enforce the format {quoted(stated.value)} here.", fix)
            )
    if keyword in UNENFORCED | TESTS.keys():
        text = f"The gateway does not enforce {keyword!r}: values that violate it pass."
        return OF_OPENAPI.get(keyword, (text, "Use other keywords, or remove it."))
    near = "" if keyword in ANNOTATIONS or keyword.startswith("x-") else suggestion(keyword, ENFORCED, SIMILAR)
    return (f"JSON Schema has no keyword {keyword!r}.", near) if near else None


def _reason(pattern: str) -> str:
    try:
        Pattern(pattern)
    except UnsupportedPatternError as error:
        return str(error)
    return ""
