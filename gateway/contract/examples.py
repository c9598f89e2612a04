"""Examples of messages fit their schemas: they are what the simulator starts from and what readers of the docs try.

Examples of MQTT messages are JSON, those of Kafka messages are records as Avro readers see them: names of fields,
numbers for times. An MQTT example of an Avro payload lies in between: it is JSON as a device sends it, so a logical
type may be text there, and what the topic says may be left out. Whether the codec takes it is the codec's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
from fastavro import parse_schema
from fastavro.validation import ValidationError, validate
from referencing import Registry

from gateway.contract.document import TooLargeError
from gateway.contract.expression import split

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.contract.schema import Record

MISSING = object()


def payloads(message: Node) -> tuple[Any, ...]:
    """The payloads of a message's examples."""
    found = (one.own("payload") for one in message.at("examples").entries())
    return tuple(one.value for one in found if not one.is_absent)


def check_mqtt(message: Node, payload: Payload, filled: list[str], findings: Findings) -> None:
    """Check what a device would send.

    Args:
        message: the MQTT message.
        payload: its schema.
        filled: pointers into the payload that the topic fills in.
        findings: where to.
    """
    record = payload.record
    for one in _payloads(message):
        if record is None:
            _check_json(one, payload.json_schema, findings)
        elif isinstance(one.value, dict):
            _check_members(one, record, findings)
            value = {**{split(pointer)[0]: "x" for pointer in filled}, **one.value}
            read = {name: found for name in record.sources if (found := _read(value, record, name)) is not MISSING}
            _check_avro(one, read, _as_sent(record.schema.definition), findings)
        else:
            findings.error(one, "The example is no object.")


def check_kafka(message: Node, payload: Payload, findings: Findings) -> None:
    """Check what a reader of the topic would see, headers included.

    Args:
        message: the Kafka message.
        payload: its schema.
        findings: where to.
    """
    for one in _payloads(message):
        if payload.record is None:
            _check_json(one, payload.json_schema, findings)
        else:
            _check_avro(one, one.value, payload.record.schema.definition, findings)
    _check_headers(message, findings)


def _payloads(message: Node) -> list[Node]:
    return [found for one in message.at("examples").entries() if not (found := one.own("payload")).is_absent]


def _check_headers(message: Node, findings: Findings) -> None:
    try:
        described = message.at("headers").written_out()
    except TooLargeError:
        return
    for one in message.at("examples").entries():
        headers = one.own("headers")
        if headers.is_mapping:
            _check_json(headers, described, findings)


def _check_json(node: Node, described: Any, findings: Findings) -> None:
    checker = jsonschema.Draft7Validator
    try:
        checker.check_schema(described, format_checker=jsonschema.FormatChecker(formats=["regex"]))
    except jsonschema.SchemaError:
        return  # against the specification, which is reported as such
    for error in checker(described, registry=Registry()).iter_errors(node.value):
        place = node
        for step in error.absolute_path:
            place = place.own(str(step))
        findings.error(place, f"The example does not fit the message's schema: {_cut(error.message)}.")


def _check_members(node: Node, record: Record, findings: Findings) -> None:
    """Members of an example that no field reads would make a dead letter of it."""
    if ("",) in record.sources.values():
        return
    read = {split(pointer)[0] for pointers in record.sources.values() for pointer in pointers}
    for key in node.value:
        if key not in read:
            findings.error(node.own(key), "No field of the record reads this member of the example.", "Remove it.")


def _read(value: Any, record: Record, name: str) -> Any:
    """What a field reads from an example; a collecting field is left out."""
    for pointer in record.sources[name]:
        found = value
        for token in split(pointer):
            found = found.get(token, MISSING) if isinstance(found, dict) else MISSING
        if pointer and found is not MISSING:
            return found
    return {} if record.sources[name] == ("",) else MISSING


def _check_avro(node: Node, value: Any, definition: Any, findings: Findings) -> None:
    if _holds_bytes(definition):
        return
    try:
        validate(value, parse_schema(definition, _write_hint=False), strict=False)
        _check_fields(node, value, definition, findings)
    except ValidationError as error:
        for one in error.errors:
            told = getattr(one, "field", None) or definition["name"]
            findings.error(node, f"The example does not fit the Avro schema at {told}: {_cut(str(one))}.")
    except (TypeError, ValueError, AttributeError, KeyError, ArithmeticError) as error:
        # fastavro's conversions of logical types raise what they like on values of another type
        findings.error(node, f"The example does not fit the Avro schema: {_cut(str(error))}.")


def _holds_bytes(definition: Any) -> bool:
    """Bytes are text in JSON and YAML, which fastavro refuses; such examples are left to the codec."""
    if isinstance(definition, list):
        return any(map(_holds_bytes, definition))
    if isinstance(definition, dict):
        return any(_holds_bytes(definition.get(key)) for key in ("type", "items", "values", "fields"))
    return definition in {"bytes", "fixed"}


def _check_fields(node: Node, value: dict[str, Any], definition: Any, findings: Findings) -> None:
    """Fastavro takes records with members that are no fields."""
    names = {one["name"] for one in definition["fields"]}
    for key in value:
        if key not in names:
            findings.error(node.own(key), f"{definition['name']} has no field {key!r}.", "Remove it.")


def _as_sent(avro_type: Any) -> Any:
    """The schema as JSON may say it: a logical type as text or number."""
    if isinstance(avro_type, list):
        return _flat([_as_sent(one) for one in avro_type])
    if not isinstance(avro_type, dict):
        return avro_type
    if "logicalType" in avro_type and not (avro_type.get("name") or isinstance(avro_type["type"], (dict, list))):
        return ["long", "double", "string"]
    inner = {key: _as_sent(avro_type[key]) for key in ("type", "items", "values") if key in avro_type}
    if isinstance(avro_type.get("fields"), list):
        inner["fields"] = [_field(one) for one in avro_type["fields"]]
    return {**avro_type, **inner}


def _field(field: dict[str, Any]) -> dict[str, Any]:
    return {**field, "type": _as_sent(field["type"])}


def _flat(branches: list[Any]) -> list[Any]:
    """A union without unions in it and without a branch twice."""
    found: list[Any] = []
    for branch in branches:
        found += [one for one in (branch if isinstance(branch, list) else [branch]) if one not in found]
    return found


def _cut(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]} ..."
