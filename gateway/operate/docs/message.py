"""The contents of a message: payload and headers field by field, bindings, examples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.contract import avro_files
from gateway.contract.message import ADDITIONAL
from gateway.contract.records import RECORDS
from gateway.operate.docs import avro, json_schema
from gateway.operate.docs.details import facts, plain
from gateway.operate.docs.prose import blocks, phrase, sentence
from gateway.page.blocks import Block, Code, Heading, Listing, Paragraph

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.page.blocks import Phrase

_SHOWN = {
    "payload", "headers", "examples", "name", "contentType", "x-timestamp", "x-forward-to", "x-ignored", ADDITIONAL,
    RECORDS,
}  # fmt: skip


def message(node: Node, default_content_type: str, target: Phrase = ()) -> list[Block]:
    """Describe a message, given with its traits; `target` is where its readings go, if it differs by message."""
    name = node.at("name").text
    content_type = node.at("contentType").text or default_content_type
    rows: list[tuple[str, Phrase]] = [("content type", (Code(content_type),))] if content_type else []
    rows += [("name", (Code(name),))] if name else []
    rows += [("members that no field reads", ("ignored",))] if node.at(ADDITIONAL).boolean else []
    rows += [("valid readings", target)] if target else []
    return [
        Heading(4, f"Message: {node.at('title').text or name or node.tokens[-1]}"),
        *summary(node),
        *facts(node, _SHOWN, rows),
        *_payload(node.at("payload")),
        *_headers(node.at("headers")),
        *map(_example, node.at("examples").entries()),
    ]


def summary(node: Node) -> list[Block]:
    """The summary and the description of any part of the document."""
    text = phrase(node.at("summary").text)
    return [*([Paragraph(text)] if text else []), *blocks(node.at("description").text)]


def elements(payload: Node) -> Node | None:
    """The schema of one element, if the payload is an array of readings."""
    schema = _schema(payload)
    items = schema.at("items")
    return items if schema.is_mapping and schema.value.get("type") == "array" and items.is_mapping else None


def record(node: Node) -> dict[str, Any] | None:
    """The Avro record of a message's payload, or None if it has another schema format."""
    payload = node.at("payload")
    schema_format = payload.at("schemaFormat").text or ""
    schema = payload.at("schema").value
    return schema if "avro" in schema_format and isinstance(schema, dict) and schema.get("type") == "record" else None


def _schema(node: Node) -> Node:
    """The schema of a payload or of headers, which may be wrapped in an object that states its format."""
    return node if node.at("schema").is_absent and node.at("schemaFormat").is_absent else node.at("schema")


def _payload(payload: Node) -> list[Block]:
    schema_format, schema = payload.at("schemaFormat").text or "", _schema(payload)
    if "avro" in schema_format and schema.is_mapping:
        items = elements(payload)
        lead: Phrase = ("An array; the fields of each element are:",) if items else ()
        schema = items or schema
        text = sentence(lead, phrase(schema.at("doc").text), ("Schema format ", Code(schema_format), "."))
        return [Paragraph(text), avro.table(avro_files.beside(schema).complete(schema.value))]
    data = plain(schema)
    table = json_schema.table("Members of the JSON payload", data)
    return [Paragraph(("Payload: ", *json_schema.words(data))), *([table] if table else [])]


def _headers(headers: Node) -> list[Block]:
    table = None if headers.is_absent else json_schema.table("Headers", plain(_schema(headers)))
    return [table] if table else []


def _example(node: Node) -> Listing:
    words = [one for one in (node.at("name").text, node.at("summary").text) if one]
    data = plain(node)
    parts = [f"{name}: {header}" for name, header in data.get("headers", {}).items()]
    if "payload" in data:
        parts += [""] * bool(parts)
        payload = data["payload"]
        parts.append(payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, indent=2))
    return Listing(": ".join(["Example", *words]), "\n".join(parts))
