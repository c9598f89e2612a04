"""Checks that the payload of an MQTT message and the record that it becomes have the same members."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.contract import pointers
from gateway.contract.payload_place import describes
from gateway.contract.schema import WHOLE
from gateway.contract.source_advice import OF_A_METER
from gateway.core.avro_schema import LOCATION, PAYLOAD, SOURCE
from gateway.core.codec.keywords import listed, schemas_at
from gateway.core.codec.telegram import IDENTIFICATION, MEMBERS
from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.core.codec.validation_error import tokens
from gateway.core.codec.value_reader import DECODED
from gateway.core.model import Parameter
from gateway.core.record_path import PARAMETER, is_around

if TYPE_CHECKING:
    from gateway.contract.channel import Channel
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.contract.schema import Record
    from gateway.core.avro_schema import AvroType

OF_OBJECTS = {"allOf", "anyOf", "oneOf", "properties"}  # one of them describes the members of a payload
NESTING = {"array", "map", "record"}


def parameters(
    source: Channel, names: tuple[str, ...], payload: Payload, record: Record | None, findings: Findings
) -> tuple[Parameter, ...] | None:
    """The parameters of an address; None when the location of one is invalid."""
    read = []
    for name in names:
        stated = source.node.at("parameters", name, "location")
        pointer = None
        itself = pointer_of((PARAMETER + name,))
        names_step = any(step.kind == "members" and step.name == name for step in payload.steps)
        reader = record.field_at(itself) if record is not None and not names_step else None
        if stated.text is not None and record is not None:
            pointer = pointers.location(stated, payload, record, findings)
            if reader is not None:
                what = f"Field {reader.name!r} reads the parameter {name!r} itself"
                findings.error(stated, f"{what}, so no member can have its value too.", "Remove it.")
        elif reader is not None:
            pointer = itself
        shown = [one.text for one in source.node.at("parameters", name, "examples").entries() if one.text]
        field = record.field_at(pointer) if record is not None and pointer else None
        if not shown and field is not None and "text" not in field.type.json_kinds:  # which does not take the name
            shown = field.texts or ["true" if field.words.get("parse") == "boolean" else "1"]
        read.append((stated, Parameter(name, pointer, tuple(shown))))
    if record is not None and any(stated.text is not None and one.pointer is None for stated, one in read):
        return None
    return tuple(one for _, one in read)


def check(message: Node, payload: Payload, record: Record, findings: Findings) -> None:
    """Every field of the record reads a member that the payload's schema describes, and every member is read."""
    if payload.record is not None:
        if payload.record.schema.definition != record.schema.definition:
            fix = "Use the same Avro schema on both sides, or describe the MQTT payload in JSON Schema."
            what = "an array of another Avro record" if payload.is_array else "another Avro schema"
            text = f"The MQTT message has {what} than the record {record.schema.fullname}."
            findings.error(message.stated("payload"), text, fix)
        return
    for index, (name, sources) in enumerate(record.sources.items()):
        place = record.node.at("fields", str(index))
        stated = place.at("x-source")
        for pointer in sources:
            path = tokens(pointer)
            if path and record.whole is None and not is_around(path) and not describes(payload.json_schema, path):
                text = f"Field {name!r} reads {pointer}, which the MQTT message's schema does not describe."
                fix = "Correct x-source, or describe the member."
                findings.error(place if stated.is_absent else stated, text, fix)
    _check_unread(payload, record, findings)
    _check_encodings(payload, record, findings)


def _check_encodings(payload: Payload, record: Record, findings: Findings) -> None:
    """A text is decoded once: by the field that reads it, or by the payload's schema."""
    for field in record.schema.record.fields:
        for path in field.paths if field.words.get("parse") in DECODED else ():
            keys = () if record.whole else (key for token in path for key in ("properties", token))
            stated = payload.node.at(*keys, "contentEncoding")
            if not stated.is_absent:
                text = f"The text is already decoded by x-source of field {field.name!r}."
                findings.error(stated, text, "Remove it.")


def _check_unread(payload: Payload, record: Record, findings: Findings) -> None:
    if WHOLE in record.sources.values() or payload.unknown == "ignore":
        return
    read = {tokens(pointer)[0] for sources in record.sources.values() for pointer in sources}
    for key, node in payload.node.at("properties").members():
        if key not in read:
            text = f"No field of {record.schema.fullname} reads {key!r}; readings that have it would be dead letters."
            findings.error(node, text, "Add a field to the record, or remove the member.")


def warn_of_open(payload: Payload, record: Record, findings: Findings) -> None:
    """Warn of a JSON Schema that does not say whether there are other members: they are allowed, and rejected."""
    if payload.unknown != "ignore" and WHOLE not in record.sources.values():
        _warn_of_open(payload.node, payload.json_schema, findings)
    if payload.around_node and payload.steps[0].kind == "member":
        _warn_of_open(payload.around_node, payload.around, findings)


def _warn_of_open(node: Node, described: Any, findings: Findings) -> None:
    is_object = isinstance(described, dict) and not OF_OBJECTS.isdisjoint(described)
    if is_object and "additionalProperties" not in described:
        text = (
            "The schema allows other members, but a reading with a member that no field reads is a dead letter; "
            "true here ignores such members, and false states that there are none."
        )
        findings.warning(node.at("additionalProperties"), text, "Write additionalProperties: true.")


def check_text(stated: Node, payload: Payload, record: Record, findings: Findings) -> None:
    """A payload of plain text is one value, and one field of the record takes it; `stated` is the content type."""
    if payload.is_array:
        text = "The message holds several readings, but plain text is one value."
        findings.error(stated, text, "Write application/json, or describe one value.")
    elif record.whole is None or _nests(record.whole.type):
        text = f"Plain text is one value, but {record.schema.fullname} has no field that takes one."
        fix = f'Write "x-source": "{PAYLOAD}" at a field of the .avsc that is a number, text or an enum.'
        findings.error(stated, text, fix)


def check_telegram(stated: Node, payload: Payload, record: Record, findings: Findings) -> None:
    """Fields read what a telegram has: the members of its codes, and times that are local; `stated` is the type."""
    if payload.is_array:
        text = "The message holds several readings, but a telegram is one."
        findings.error(stated, text, "Write application/json, or describe one reading.")
    for index, field in enumerate(record.schema.record.fields):
        source = record.node.at("fields", str(index), SOURCE)
        places = source.at(LOCATION) if source.is_mapping else source
        for each in places.entries() if isinstance(places.value, list) else [places]:
            _check_member(each, findings)
        is_time = any(one.is_timestamp for one in field.type.non_null)
        if is_time and "zone" not in field.words and (places.text or "").startswith(PAYLOAD):
            said = {**(source.value if source.is_mapping else {LOCATION: source.value}), **OF_A_METER}
            text = f"Field {field.name!r} needs the zone of the meter, because times of a telegram are local."
            findings.error(source, text, f"Write {json.dumps({SOURCE: said})[1:-1]}, with the zone of the meter.")


def _check_member(place: Node, findings: Findings) -> None:
    if not (place.text or "").startswith(f"{PAYLOAD}/"):
        return
    code, *below = tokens(place.text or "")
    if (below[0] not in MEMBERS) if below else (code != IDENTIFICATION):
        text = f"A code of a telegram has the members {', '.join(MEMBERS)}, and a field reads one of these."
        findings.error(place, text, f"Write {PAYLOAD}{pointer_of((code, MEMBERS[0]))}.")


def check_whole(record: Record, tied: tuple[Parameter, ...], findings: Findings) -> None:
    """If one field takes the whole payload, the others get theirs from the address's parameters, or have a default."""
    if record.whole is None:
        return
    from_topic = {parameter.pointer for parameter in tied}
    for index, field in enumerate(record.schema.record.fields):
        sources = record.sources[field.name]
        is_given = field.has_default or any(is_around(tokens(one)) for one in sources)
        if sources != WHOLE and not is_given and not from_topic.intersection(sources):
            text = f"Field {record.whole.name!r} takes the whole payload, so {field.name!r} has no value."
            fix = f"Add location: {PAYLOAD}{sources[0]} to a parameter of the address, or add a default."
            findings.error(record.node.at("fields", str(index)), text, fix)


def _nests(avro_type: AvroType) -> bool:
    """Whether values of a type contain others, so that plain text cannot express them."""
    return any(branch.kind in NESTING for branch in avro_type.branches)


def warn_of_missing(payload: Payload, record: Record, tied: tuple[Parameter, ...], findings: Findings) -> None:
    """Warn of members that the JSON Schema does not require although the record does."""
    if not isinstance(payload.json_schema, dict) or "properties" not in payload.json_schema:
        return
    described = payload.json_schema["properties"]
    required = (name for each in schemas_at(payload.json_schema) for name in listed(each.get("required")))
    sure = {*required, *(one.pointer for one in tied)}
    missing = []
    for field in record.schema.record.fields:
        sources = [pointer for pointer in record.sources[field.name] if pointer]
        sources = [pointer for pointer in sources if not is_around(tokens(pointer))]
        if not field.has_default and sources and not {*sources, *(tokens(one)[0] for one in sources)} & sure:
            missing.append(next((one for one in sources if tokens(one)[0] in described), sources[0]))
    if missing:
        text = f"The schema does not require {', '.join(missing)}, but the fields that read this have no default."
        findings.warning(payload.node, text, "Add it to `required`, or give the fields a default.")
