"""What a receive operation says of its readings being all there: `x-sequence` and `x-silent-after`.

`x-sequence` points into the payload, as a parameter's `location` does, and at a member that a field of the record
reads as int or long: what does not fit is then a dead letter, and a number that counts has passed the schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.expression import ExpressionError, parse
from gateway.contract.findings import proposal
from gateway.contract.message import unread

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.contract.schema import Record

INTEGERS = {"int", "long"}


def sequence(operation: Node, payload: Payload, record: Record, findings: Findings) -> str | None:
    """Read `x-sequence`.

    Args:
        operation: receive operation, with its traits.
        payload: of its message.
        record: that its readings become.
        findings: told what is wrong.

    Returns:
        A pointer into the payload; None when the operation has none, or a wrong one.
    """
    stated = operation.at("x-sequence")
    if stated.is_absent:
        return None
    try:
        expression = parse(stated.text or "")
    except ExpressionError as error:
        findings.error(stated, f"{error}.", "Write $message.payload#/member.")
        return None
    fault = _fault(expression.part, expression.pointer, payload, record)
    if fault:
        near = proposal(expression.pointer, [one for some in record.sources.values() for one in some if one])
        findings.error(stated, fault, near or "Point at a number that a field of the record reads as int or long.")
        return None
    return expression.pointer


def check_array(operation: Node, payload: Payload, findings: Findings) -> None:
    """Refuse to watch a stream whose messages hold several readings: what is noted is a message and its one key.

    Args:
        operation: receive operation, with its traits.
        payload: of its message.
        findings: told what is wrong.
    """
    for key in ("x-sequence", "x-silent-after") if payload.is_array else ():
        stated = operation.at(key)
        if not stated.is_absent:
            told = f"{key} watches messages of one reading each, and these are arrays of readings."
            findings.error(stated, told, "Remove it, or let devices publish each reading alone.")


def silent_after(operation: Node, findings: Findings) -> int | None:
    """Read `x-silent-after`.

    Args:
        operation: receive operation, with its traits.
        findings: told what is wrong.

    Returns:
        Seconds; None when the operation has none, or a wrong one.
    """
    stated = operation.at("x-silent-after")
    if stated.is_absent:
        return None
    if stated.integer is None or stated.integer < 1:
        told = f"{stated.value!r} is no number of seconds after which a key counts as silent."
        findings.error(stated, told, "Write whole seconds, several times what lies between two readings.")
        return None
    return stated.integer


def _fault(part: str, pointer: str, payload: Payload, record: Record) -> str:
    """Why this place is no number that counts, or nothing."""
    if part != "payload" or not pointer:
        return "The number that counts is a member of the payload: $message.payload#/member."
    if fault := unread(pointer, payload, record):
        return fault
    kind = record.walk((record.reader(pointer) or "",))
    kinds = {one for one in map(record.kind, kind if isinstance(kind, list) else [kind]) if isinstance(one, str)}
    return "" if kinds & INTEGERS else f"The field that reads {pointer} is neither int nor long."
