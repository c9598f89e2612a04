"""`x-records` of an MQTT message: the path to the records in it.

The JSON Schema of the message says whether `*` stands for the items of an array or for the members of an object. A
message cannot be described in Avro here, because its record is another one than that in Kafka.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gateway.contract.expression import read
from gateway.core.codec.validation_error import pointer
from gateway.core.message_schema import schema_at
from gateway.core.record_path import Step

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings

RECORDS = "x-records"
EXAMPLE = "$message.payload#/values/*"
_PARAMETER = re.compile(r"\{([^{}]+)\}\Z")


def steps(stated: Node, schema: Any, findings: Findings) -> tuple[Step, ...] | None:
    """Read `x-records` of a message of this JSON Schema: the steps to its records; None when it is invalid."""
    names = _names(stated, findings)
    return _steps(stated, names, schema, findings) if names else None


def _names(stated: Node, findings: Findings) -> tuple[str, ...]:
    """The names in the expression; nothing, with a finding, when it is invalid."""
    if (expression := read(stated, findings.error, EXAMPLE)) is None:
        return ()
    known = [match[1] for name in expression.tokens if (match := _PARAMETER.match(name))]
    fault = ""
    if expression.part != "payload" or not expression.tokens:
        fault = f"{RECORDS} leads to places inside the payload, with * or {{name}} for each item or member."
    elif len(set(known)) < len(known):
        fault = f"{RECORDS} has two parameters of one name."
    if fault:
        findings.error(stated, fault, f"Write it as in {EXAMPLE}.")
    return () if fault else expression.tokens


def _steps(stated: Node, names: tuple[str, ...], schema: Any, findings: Findings) -> tuple[Step, ...] | None:
    """The steps that the names mean; None, with a finding, when the message's schema does not describe them."""
    found: list[Step] = []
    for name in names:
        found.append(_step(name, schema))
        schema = schema_at(schema, found[-1:])
        if not isinstance(schema, dict):
            text = f"The message's schema describes nothing at {pointer(list(map(str, found)))}."
            fix = "Describe members by `properties`, each of several by `items` or `additionalProperties`."
            findings.error(stated, text, fix)
            return None
    return tuple(found)


def _step(name: str, schema: Any) -> Step:
    if match := _PARAMETER.match(name):
        return Step("members", match[1])
    if name != "*":
        return Step("member", name)
    return Step("items" if isinstance(schema, dict) and "items" in schema else "members")
