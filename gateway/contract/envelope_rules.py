"""What fields read of the message around a record inside it (`x-records`), and what none reads there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.payload_place import describes
from gateway.contract.records import EXAMPLE, RECORDS
from gateway.core.codec.validation_error import pointer, tokens
from gateway.core.message_schema import keywords, schema_at, unread_around
from gateway.core.record_path import PARAMETER, common, envelope_path, is_around, reads, unread_after
from gateway.documents.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.contract.schema import Record


def check(payload: Payload, record: Record, parameters: Sequence[str], findings: Findings) -> bool:
    """Report fields that read what the message around the records does not have, and members that no field reads.

    `parameters` are those of the address. It returns True when the fields can be read.
    """
    is_readable = True
    taken: dict[tuple[str, ...], str] = {}
    for place, name, expression in _stated(record):
        fault, fix = _fault(expression, payload, record, parameters)
        path = tokens(expression)
        other = next((field for known, field in taken.items() if _overlap(known, path)), None)
        if not fault and other is not None and other != name:
            fault, fix = f"Field {other!r} also reads {expression} or a part of it.", "Let one field read each place."
        taken[path] = name
        if fault:
            findings.error(place, fault, fix)
            is_readable = False
    _check_unread(payload, record, findings)
    return is_readable


def check_alike(stated: Node, targets: Sequence[Record | None], findings: Findings) -> None:
    """The records of a reading's topics read the same of the message around it: each text of a record is made once."""
    if len({frozenset(reads(one.schema.record)) for one in targets if one is not None}) > 1:
        message = "The records of these topics read different places of the message around them."
        findings.error(stated, message, "Let the records read the same places.")


def _stated(record: Record) -> Iterator[tuple[Node, str, str]]:
    """Each expression for what is around a record, with its place and the field's name."""
    for index, (name, sources) in enumerate(record.sources.items()):
        place = record.node.at("fields", str(index), "x-source")
        for source in sources:
            expression = (tokens(source) or ("",))[0]
            if is_around((expression,)):
                yield place, name, expression


def _fault(expression: str, payload: Payload, record: Record, parameters: Sequence[str]) -> tuple[str, str]:
    if expression.startswith(PARAMETER):
        return _fault_of_parameter(expression.removeprefix(PARAMETER), payload, record, parameters)
    if not any(step.kind == "member" or step.name for step in payload.steps):
        return (
            f"{expression} is around the records inside a message, but the message has none.",
            f"Add {RECORDS}: {EXAMPLE}.",
        )
    path = envelope_path(expression)
    shared = common(payload.steps, path)
    if shared == len(path) or (shared < len(payload.steps) and payload.steps[shared].kind != "member"):
        return f"{expression} holds the records, or is one of them.", "Point at a member beside them."
    if shared == len(payload.steps):
        return f"{expression} is inside the record.", f"Write $message.payload#{pointer(path[shared:])}."
    if not describes(schema_at(payload.around, payload.steps[:shared]), path[shared:]):
        return (
            f"{expression} is not described by the MQTT message's schema.",
            "Correct x-source, or describe the member.",
        )
    return "", ""


def _fault_of_parameter(name: str, payload: Payload, record: Record, parameters: Sequence[str]) -> tuple[str, str]:
    """What is wrong with a field that reads a parameter of `x-records` or of the address."""
    inside = [step.name for step in payload.steps if step.kind == "members" and step.name]
    if name in inside:
        return "", ""
    field = record.field_at(pointer((PARAMETER + name,)))
    if name in parameters:
        is_level = field is None or field.takes_level
        text = f"The field that reads the parameter {name!r} is not text, but a topic level is."
        return ("", "") if is_level else (text, 'Read a number, for example: "parse": "number".')
    names = [*inside, *parameters]
    near = nearest(name, names) or (names[0] if len(names) == 1 else None)
    fix = f"Did you mean {PARAMETER + near!r}?" if near else f"Use {' or '.join(names)}." if names else ""
    where = f"Neither {RECORDS} nor the address has" if payload.is_array else "The address has no"
    text = f"{where} a parameter {name!r}." if payload.is_array else f"{where} parameter {name!r}."
    return text, fix or f"Add {{{name}}} to the address."


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return one[: len(other)] == other or other[: len(one)] == one


def _check_unread(payload: Payload, record: Record, findings: Findings) -> None:
    """Report described members beside the way to the records that no field reads."""
    node, above, unread = payload.around_node, tuple[str, ...](), unread_around(payload.around)
    read = list(map(envelope_path, reads(record.schema.record)))
    for step in payload.steps:
        for name, member in node.at("properties").members() if node and step.kind == "member" else ():
            if (
                unread.refuses
                and name != step.name
                and not any(path[: len(above) + 1] == (*above, name) for path in read)
            ):
                text = (
                    f"No field of {record.schema.fullname} reads {name!r}; messages that have it would be dead letters."
                )
                findings.error(member, text, "Add a field to the record, or remove the member.")
        node, above, unread = node and node.at(*keywords(step)), (*above, str(step)), unread_after(step, unread)
