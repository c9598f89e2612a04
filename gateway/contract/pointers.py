"""The runtime expressions of the contract, each checked against what it points into.

- `location` of a parameter: the place in the payload that repeats a level of the topic. A text field must read it.
- `x-sequence` of a receive operation: the place of a sequence number in the payload. A field must read it as int or
  long, so that a payload without a valid number becomes a dead letter.
- `x-location` of a Kafka key: a field of the record, a parameter of the MQTT address or the whole topic; or several of
  these, of which the first that is not empty is taken, or which `x-separator` joins. The key is text; a field without
  an alternative must not be nullable, because records without a key have no order.
- `x-timestamp` of a Kafka message: see `timestamps.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.contract.document import quoted
from gateway.contract.expression import Expression, read
from gateway.contract.message import unread
from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.validation_error import pointer
from gateway.core.dead_letter import TOPIC_HEADER
from gateway.core.model import OfTopic
from gateway.core.record_path import EACH_ITEM, ENVELOPE, PARAMETER, common
from gateway.documents.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.contract.channel import Channel
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.contract.schema import Record
    from gateway.core.avro_schema import AvroType

INTEGRAL = {"boolean", "int", "long"}


class Keys(NamedTuple):
    """The key of a record, as the contract states it."""

    parts: tuple[str | OfTopic, ...] = ()  # a text is a pointer into the record
    separator: str | None = None


def location(node: Node, payload: Payload, record: Record, findings: Findings) -> str | None:
    """Read the `location` of a parameter: a pointer into the payload; None, with a finding, when it is invalid.

    With `x-records` it points into the whole message, and what is read here points into the text of a record.
    """

    def fault(expression: Expression) -> str:
        if absent := _unread(_in_record(expression, payload), payload, record):
            return absent if payload.steps == EACH_ITEM else f"No field of the record reads {expression.pointer}."
        field = record.field_at(_in_record(expression, payload).pointer)
        takes_level = field is not None and field.takes_level
        return "" if takes_level else f"The field that reads {expression.pointer} is not text, but a topic level is."

    fix = 'Point at a text member that a field of the record reads, or read a number: "x-source": {"parse": "number"}.'
    stated = (node.text or "").removeprefix(PAYLOAD)
    if payload.steps != EACH_ITEM and stated in _sources(record):
        fix = f'Let the field read the message around the record: "x-source": "{ENVELOPE}{stated}".'
    checked = _expression(node, _sources(record), fault, fix, findings)
    return None if checked is None else _in_record(checked, payload).pointer


def _in_record(expression: Expression, payload: Payload) -> Expression:
    """The place in the JSON text of a record that stands for one of the message."""
    shared = common(payload.steps, expression.tokens)
    if payload.steps == EACH_ITEM or expression.part != "payload" or not expression.pointer:
        return expression
    if shared == len(payload.steps):
        return Expression("payload", pointer(expression.tokens[shared:]))
    return Expression("payload", pointer((ENVELOPE + expression.pointer,)))


def sequence(operation: Node, payload: Payload, record: Record, findings: Findings) -> str | None:
    """Read `x-sequence` of a receive operation: a pointer into the payload; None when absent or invalid."""

    def fault(expression: Expression) -> str:
        if absent := _unread(expression, payload, record):
            return absent
        is_integer = bool(_kinds_at(expression.pointer, record) & {"int", "long"})
        return "" if is_integer else f"The field that reads {expression.pointer} is neither int nor long."

    stated = operation.at("x-sequence")
    fix = "Point at a number that a field of the record reads as int or long."
    return None if stated.is_absent else checked(stated, _sources(record), fault, fix, findings)


def keys(binding: Node, record: Record, findings: Findings) -> Keys:
    """Read the key of a message's Kafka binding."""
    key = binding.at("key")
    stated = key.at("x-location")
    if key.is_absent or stated.is_absent:
        fix = "Add key: {type: string, x-location: $message.payload#/field} to the message's Kafka binding."
        findings.error(binding if key.is_absent else key, "The record has no key, so it would have no order.", fix)
        return Keys()
    if not key.at("type").is_absent and key.at("type").value != "string":
        findings.error(key.at("type"), "The key must be text.", "Write type: string.")
    entries = stated.entries() if isinstance(stated.value, list) else [stated]
    if not entries:
        findings.error(stated, "The list of key fields is empty.", "Add a field, as in [$message.payload#/field].")
    separator = _separator(key.at("x-separator"), len(entries), findings)

    def fault(expression: Expression) -> str:
        return _key_fault(expression, record, has_alternative=len(entries) > 1 and separator is None)

    fix = "Point at a field of the record that is text, a whole number or a boolean."
    parts = [_expression(one, fields(record), fault, fix, findings) for one in entries]
    return Keys(tuple(_part(one) for one in parts if one is not None), separator)


def _separator(stated: Node, parts: int, findings: Findings) -> str | None:
    """Read `x-separator` of a Kafka key; None when it is absent or invalid."""
    if not stated.is_absent and not stated.text:
        findings.error(stated, f"{quoted(stated.value)} cannot separate the parts of a key.", "Write x-separator: '/'.")
    elif not stated.is_absent and parts == 1:
        findings.error(stated, "x-separator joins several parts, but x-location has one.", "Remove it.")
    return stated.text or None


def _part(expression: Expression) -> str | OfTopic:
    if expression.part == "payload":
        return expression.pointer
    return OfTopic() if expression.part == "header" else OfTopic(expression.tokens[0])


def check_key(
    binding: Node, keys: Sequence[str | OfTopic], source: Channel, names: Sequence[str], findings: Findings
) -> bool:
    """Tell whether an address has the parameters that a key needs; report those that it has not."""
    needed = [part.parameter for part in keys if isinstance(part, OfTopic) and part.parameter is not None]
    missing = [name for name in needed if name not in names]
    for name in missing:
        address = source.node.at("address")
        text = f"The key needs the parameter {name!r}, which {address.path} ({address.text}) does not have."
        near = nearest(name, names)
        fix = f"Did you mean {PARAMETER + near!r}?" if near else f"Use {' or '.join(names)}." if names else ""
        findings.error(binding.at("key", "x-location"), text, fix or f"Add {{{name}}} to the address.")
    return not missing


def checked(
    node: Node, known: Iterable[str], fault_of: Callable[[Expression], str], fix: str, findings: Findings
) -> str | None:
    """The pointer of an expression; None, with a finding, when it is invalid."""
    expression = _expression(node, known, fault_of, fix, findings)
    return None if expression is None else expression.pointer


def _expression(
    node: Node, known: Iterable[str], fault_of: Callable[[Expression], str], fix: str, findings: Findings
) -> Expression | None:
    """Read an expression; None, with a finding, when it is invalid.

    `fault_of` gives what is wrong with an expression, or "". `fix` is used when none of the known pointers is similar.
    """
    expression = read(node, findings.error, f"{PAYLOAD}/member")
    fault = fault_of(expression) if expression else ""
    if expression is None or not fault:
        return expression
    pointers = [one for one in known if one]
    near = None if expression.pointer in pointers else nearest(expression.pointer, pointers)
    findings.error(node, fault, f"Did you mean {PAYLOAD + near!r}?" if near else fix)
    return None


def _sources(record: Record) -> Iterable[str]:
    return (pointer for pointers in record.sources.values() for pointer in pointers)


def fields(record: Record) -> Iterable[str]:
    """The pointers to the fields of a record."""
    return (f"/{name}" for name in record.sources)


def _unread(expression: Expression, payload: Payload, record: Record) -> str:
    """Why no field of the record reads the place in the payload; "" when one does."""
    if expression.part != "payload" or not expression.pointer:
        return f"It must point at a member of the payload: {PAYLOAD}/member."
    return unread(expression.pointer, payload, record)


def _kinds_at(pointer: str, record: Record) -> set[str]:
    """The types of the field that reads a place in the payload."""
    field = record.field_at(pointer)
    return {branch.kind for branch in field.type.branches} if field else set()


def _key_fault(expression: Expression, record: Record, *, has_alternative: bool) -> str:
    match expression.part:
        case "header":
            return (
                "" if expression.tokens == (TOPIC_HEADER,) else f"The only header that can be a key is {TOPIC_HEADER}."
            )
        case "parameter":
            return "" if len(expression.tokens) == 1 else f"A parameter of the address has one name: {PARAMETER}name."
    if not expression.tokens or expression.part == "envelope":
        return f"A key must be a field of the record: {PAYLOAD}/field."
    avro_type = record.type_at(expression.tokens)
    return no_field(record, expression) if avro_type is None else _field_fault(expression, avro_type, has_alternative)


def _field_fault(expression: Expression, avro_type: AvroType, has_alternative: bool) -> str:  # noqa: FBT001 - a word of the caller
    if len(avro_type.non_null) != 1 or not _is_text(avro_type.non_null[0]):
        return f"The field at {expression.pointer!r} is not text, a whole number or a boolean, so it cannot be a key."
    if avro_type.is_nullable and not has_alternative:
        return f"The field at {expression.pointer!r} may be null, so it needs an alternative."
    return ""


def _is_text(avro_type: AvroType) -> bool:
    """Whether values of a type are text, or have one text in the record's JSON and in the payload's."""
    return avro_type.kind in {"string", "enum"} or (avro_type.kind in INTEGRAL and not avro_type.logical)


def no_field(record: Record, expression: Expression) -> str:
    """Say that an expression leads to no field of a record."""
    return f"{record.schema.fullname} has no field at {expression.pointer!r}."
