"""What a message holds: payload and headers field by field, bindings, examples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.operate.docs import avro, json_schema
from gateway.operate.docs.details import facts, plain
from gateway.operate.docs.prose import blocks, phrase, sentence
from gateway.page.blocks import Block, Code, Heading, Listing, Paragraph

if TYPE_CHECKING:
    from gateway.contract.document import Node
    from gateway.page.blocks import Phrase

_TOLD = {"payload", "headers", "examples", "name", "contentType", "x-timestamp"}


def message(node: Node, *, fallback: str) -> list[Block]:
    """Tell a message.

    Args:
        node: the message, with its traits.
        fallback: its content type when it states none; the document's default.
    """
    name = node.at("title").text or node.at("name").text or node.tokens[-1]
    content_type = node.at("contentType").text or fallback
    found: list[Block] = [Heading(4, f"Message: {name}"), *summary(node)]
    rows: list[tuple[str, Phrase]] = [("content type", (Code(content_type),))] if content_type else []
    if node.at("name").text:
        rows.append(("name", (Code(node.at("name").text or ""),)))
    found += facts(node, _TOLD, rows)
    return [*found, *_payload(node.at("payload")), *_headers(node.at("headers")), *_examples(node)]


def summary(node: Node) -> list[Block]:
    """Summary and description of any part of the document."""
    told = phrase(node.at("summary").text)
    return [*([Paragraph(told)] if told else []), *blocks(node.at("description").text)]


def elements(payload: Node) -> Node | None:
    """The schema of one element, where the payload is an array of readings."""
    schema = payload if payload.at("schema").is_absent else payload.at("schema")
    items = schema.at("items")
    return items if schema.is_mapping and schema.value.get("type") == "array" and items.is_mapping else None


def record(node: Node) -> dict[str, Any] | None:
    """The Avro record of a message's payload, or None when it is described otherwise."""
    payload = node.at("payload")
    form = payload.at("schemaFormat").text or ""
    found = payload.at("schema").value
    return found if "avro" in form and isinstance(found, dict) and found.get("type") == "record" else None


def _payload(payload: Node) -> list[Block]:
    form, schema = payload.at("schemaFormat").text, payload
    if form or not payload.at("schema").is_absent:
        schema = payload.at("schema")
    if "avro" in (form or "") and schema.is_mapping:
        items = elements(payload)
        lead: Phrase = ("An array; each element is as follows.",) if items else ()
        schema = items or schema
        own = phrase(schema.at("doc").text)
        return [Paragraph(sentence(lead, own, ("Schema format ", Code(form or ""), "."))), avro.table(schema.value)]
    data = plain(schema)
    table = json_schema.table("Members of the JSON payload", data)
    told = Paragraph(("Payload: ", *json_schema.words(data)))
    return [told, table] if table else [told]


def _headers(headers: Node) -> list[Block]:
    if headers.is_absent:
        return []
    schema = headers if headers.at("schema").is_absent else headers.at("schema")
    table = json_schema.table("Headers", plain(schema))
    return [table] if table else []


def _examples(node: Node) -> list[Block]:
    return [_example(one) for one in node.at("examples").entries()]


def _example(node: Node) -> Listing:
    words = [one for one in (node.at("name").text, node.at("summary").text) if one]
    data = plain(node)
    parts = [f"{name}: {header}" for name, header in data.get("headers", {}).items()]
    if "payload" in data:
        parts += [""] * bool(parts)
        payload = data["payload"]
        parts.append(payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False, indent=2))
    return Listing(": ".join(["Example", *words]), "\n".join(parts))
