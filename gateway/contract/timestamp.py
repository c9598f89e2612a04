"""`x-timestamp` on a Kafka message: which field of the record is its time in Kafka.

It stands beside the key, which Kafka keeps outside of the record as well, and points into the record like the key's
`x-location`: `$message.payload#/measured_at`. AsyncAPI and its Kafka binding have no word for it. The field is one of
Avro's timestamps, and may be null. A bare `long` is refused, because nobody has said whether it counts seconds: taken
for milliseconds they would date the record to 1970, where retention deletes it. A local timestamp names no moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.expression import ExpressionError, join, parse
from gateway.contract.findings import proposal
from gateway.core.codec.event_time import PER_MILLISECOND

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.schema import Record
    from gateway.core.model import Topic

EXAMPLE = '{"type": "long", "logicalType": "timestamp-millis"}'


def pointer(message: Node, record: Record, topic: Topic, channel: Node, findings: Findings) -> str | None:
    """Read `x-timestamp`.

    Args:
        message: the Kafka message, with its traits.
        record: its payload.
        topic: that it goes to.
        channel: where the topic's settings stand.
        findings: told what is wrong.

    Returns:
        A pointer into the record; None when the message has none, or a wrong one.
    """
    stated = message.at("x-timestamp")
    if stated.is_absent:
        return None
    try:
        expression = parse(stated.text or "")
    except ExpressionError as error:
        findings.error(stated, f"{error}.", "Write $message.payload#/field.")
        return None
    if fault := _fault(expression.part, expression.tokens, record):
        near = proposal(expression.tokens[0], record.sources) if "no field" in fault else ""
        findings.error(stated, fault, near or f"Point at a field whose type is {EXAMPLE}.")
        return None
    if topic.configuration.get("message.timestamp.type") == "LogAppendTime":
        setting = channel.at("bindings", "kafka", "topicConfiguration", "message.timestamp.type")
        told = "With LogAppendTime Kafka dates records itself, and x-timestamp has no effect."
        findings.warning(setting, told, "Write CreateTime.")
    return join(*expression.tokens)


def _fault(part: str, tokens: tuple[str, ...], record: Record) -> str:
    """Why this is no time of the record, or nothing."""
    if part != "payload" or not tokens:
        return "The time of a record is one of its fields: $message.payload#/field."
    place, around = join(*tokens), record.walk(tokens[:-1])
    fields = around["fields"] if isinstance(around, dict) and around["type"] == "record" else []
    kind = next((one["type"] for one in fields if one["name"] == tokens[-1]), None)
    if kind is None:
        return f"{record.schema.fullname} has no field at {place!r}."
    return "" if _is_timestamp(kind) else f"The field at {place!r} is no timestamp, or not surely one."


def _is_timestamp(kind: Any) -> bool:
    """Whether a type is a timestamp, or that or null."""
    if isinstance(kind, list):
        others = [one for one in kind if one != "null"]
        return len(kind) == 2 and len(others) == 1 and _is_timestamp(others[0])
    return isinstance(kind, dict) and kind.get("logicalType") in PER_MILLISECOND
