"""The official JSON Schema of AsyncAPI, applied to the document and to all that its references lead to.

The schemas are kept in `official/`, with references told apart from objects so that a validator reports the very
member that is wrong. Where the schema allows a reference instead of an object, what the reference leads to is
checked against the schema of that object, in whatever file it is: the keyword `x-target` carries it.

This is the one module of the contract that needs jsonschema for the document itself; it is imported only while a
contract is loaded, because jsonschema takes 7 MB that a running gateway has better use for.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
from jsonschema.validators import extend
from referencing import Registry

from gateway.contract.document import Node
from gateway.contract.findings import proposal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Document
    from gateway.contract.findings import Findings

VERSION = re.compile(r"3\.([01])\.\d+\Z")
LONG = 60  # characters of a value that a message repeats


def check_version(document: Document, findings: Findings) -> str | None:
    """Find out which schema the document is to follow.

    Args:
        document: the contract.
        findings: told when the version is missing or not one of ours.

    Returns:
        `3.0` or `3.1`, or None.
    """
    stated = document.root.own("asyncapi")
    match = VERSION.match(stated.text or "")
    if match:
        return f"3.{match[1]}"
    if not document.root.is_mapping or stated.is_absent:
        findings.error(document.root, "This is no AsyncAPI document.", "Start it with `asyncapi: 3.1.0`.")
    elif stated.text is None:
        findings.error(stated, "The version of AsyncAPI must be text.", "Put it in quotes: '3.1.0'.")
    else:
        fix = "Convert it with `asyncapi convert`." if stated.text.startswith("2.") else "Write 3.1.0."
        findings.error(stated, f"AsyncAPI {stated.text!r} is not supported; 3.0 and 3.1 are.", fix)
    return None


def check(document: Document, version: str, findings: Findings) -> None:
    """Report all that the official JSON Schema does not allow.

    Args:
        document: the contract.
        version: `3.0` or `3.1`.
        findings: where to.
    """
    schema = json.loads((files("gateway.contract") / "official" / f"asyncapi-{version}.json").read_text("utf-8"))
    found: list[tuple[str, Any]] = []
    validator = _validator(schema, found)
    pending: list[tuple[Node, Any]] = [(document.root, None)]
    seen: set[Any] = set()
    while pending:
        node, target = pending.pop()
        identity = (node.place, json.dumps(target))
        if identity in seen or node.is_absent:
            continue
        seen.add(identity)
        for error in validator.iter_errors(node.value) if target is None else validator.descend(node.value, target):
            _report(node, error, findings)
        pending += [(_referred(node, reference), wanted) for reference, wanted in found]
        found.clear()


def _validator(schema: Any, found: list[tuple[str, Any]]) -> Any:
    """A validator that notes down references and what they ought to lead to."""

    def note(_validator: Any, target: Any, instance: Any, _schema: Any) -> None:
        if isinstance(instance, dict) and isinstance(instance.get("$ref"), str):
            found.append((instance["$ref"], target))

    formats = jsonschema.FormatChecker(formats=["regex"])
    kind = extend(jsonschema.Draft7Validator, {"x-target": note})
    return kind(schema, format_checker=formats, registry=Registry())


def _referred(node: Node, reference: str) -> Node:
    return Node(node.document, node.source, node.tokens, {"$ref": reference}).followed()


def _report(node: Node, error: Any, findings: Findings) -> None:
    """Say it in our words, at the member that is wrong."""
    for cause in _causes(error):
        place = node
        for step in cause.absolute_path:
            place = place.own(str(step))
        if cause.validator == "additionalProperties" and isinstance(cause.instance, dict):
            for key, known in _unknown(cause):
                findings.error(
                    place.own(key), f"There is no member {key!r} here.", proposal(key, known) or "Remove it."
                )
        else:
            findings.error(place, *_told(cause))


def _causes(error: Any) -> Iterator[Any]:
    """The error itself, or of a choice the branch that went deepest."""
    if error.context and error.validator in {"oneOf", "anyOf"}:
        deepest = max(error.context, key=lambda one: (len(one.absolute_path), one.validator != "type"))
        if len(deepest.absolute_path) > len(error.absolute_path):
            yield from _causes(deepest)
            return
    yield error


def _unknown(error: Any) -> list[tuple[str, list[str]]]:
    known = list(error.schema.get("properties", {}))
    patterns = list(error.schema.get("patternProperties", {}))
    return [
        (key, known)
        for key in error.instance
        if key not in known and not any(re.search(pattern, key) for pattern in patterns)
    ]


KINDS = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "empty"}
WANTED = {
    "object": "a mapping", "array": "a list", "string": "text", "boolean": "true or false", "null": "empty",
    "number": "a number", "integer": "a whole number",
}  # fmt: skip


def _told(error: Any) -> tuple[str, str]:
    """A sentence, and what to do."""
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        return f"{' and '.join(map(repr, missing))} must stand here.", "Add it."
    if error.validator == "type":
        wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        is_number = isinstance(error.instance, (int, float)) and not isinstance(error.instance, bool)
        kind = KINDS.get(type(error.instance), f"the number {error.instance}")
        quoted = (
            "Put it in quotes."
            if "string" in wanted and (is_number or isinstance(error.instance, bool))
            else "Correct it."
        )
        return f"It must be {' or '.join(WANTED[one] for one in wanted)}, not {kind}.", quoted
    if error.validator in {"enum", "const"}:
        values = error.validator_value if error.validator == "enum" else [error.validator_value]
        near = proposal(error.instance, map(str, values)) if isinstance(error.instance, str) else ""
        if isinstance(error.instance, str) and error.instance in [str(one) for one in values if type(one) is int]:
            near = "Take the quotes away."
        return f"{_short(error.instance)} is none of {', '.join(map(str, values))}.", near or "Write one of them."
    if error.validator in {"oneOf", "anyOf"}:
        return (
            "It fits none of the forms that the specification allows here.",
            "Compare it with the AsyncAPI specification.",
        )
    return f"{_short(error.message)}.", "Correct it."


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONG * 2 else f"{text[:LONG]} ... {text[-LONG:]}"
