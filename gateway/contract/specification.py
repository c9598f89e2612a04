"""The official JSON Schema of AsyncAPI, applied to the document and to the targets of its references.

The schemas are in `official/`. They separate references from objects, so that a validator reports the exact member that
is wrong. Where the schema allows a reference instead of an object, the keyword `x-target` holds the schema of that
object, and the target of the reference is checked against it, in whatever file it is.

This module needs jsonschema, which takes 7 MB. It is imported only while a contract is loaded.
"""

from __future__ import annotations

import json
import re
from functools import cache, reduce
from importlib.resources import files
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
from jsonschema.validators import extend
from referencing import Registry

from gateway.contract.document import Node, explained, quoted
from gateway.contract.findings import Findings
from gateway.core.codec.pattern import why_broken
from gateway.documents.source import Place
from gateway.documents.spelling import nearest, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Document

VERSION = re.compile(r"3\.([01])\.\d+\Z")
FORMATS = jsonschema.FormatChecker(formats=[])
FORMATS.checks("regex")(lambda text: not why_broken(text))
OTHERS = {"openapi": "OpenAPI", "swagger": "OpenAPI"}  # by the member that only their documents have
LONG = 60  # characters of a value that a message quotes


def check_version(document: Document, findings: Findings) -> str | None:
    """The version of the specification, `3.0` or `3.1`; None, with a finding, for any other."""
    stated = document.root.own("asyncapi")
    match = VERSION.match(stated.text or "")
    if match:
        return f"3.{match[1]}"
    other = next((name for key, name in OTHERS.items() if not document.root.own(key).is_absent), None)
    if stated.is_absent and other:
        text = f"The file is an {other} document, not an AsyncAPI document."
        findings.error(document.root, text, "Name the AsyncAPI document, or describe the streams in one.")
    elif not document.root.is_mapping or stated.is_absent:
        findings.error(document.root, "The file is not an AsyncAPI document.", "Add `asyncapi: 3.1.0` at the top.")
    elif stated.text is None:
        findings.error(stated, "The version of AsyncAPI must be text.", "Write '3.1.0', in quotes.")
    else:
        name = document.path.name
        convert = f"Convert it with AsyncAPI's own tool: `asyncapi convert {name} -t 3.0.0 -o {name}`."
        fix = convert if stated.text.startswith(("1.", "2.")) else "Write 3.0.0 or 3.1.0."
        findings.error(stated, f"AsyncAPI {quoted(stated.value)} is not supported.", fix)
    return None


def check(document: Document, version: str, findings: Findings) -> None:
    """Report what the official JSON Schema of a version (`3.0` or `3.1`) does not allow.

    A misspelt member is one finding: it is corrected in memory, and the document is checked again.
    """
    while True:
        found, misspelt = Findings(), Misspelt()
        _check(document, version, found, misspelt)
        if not misspelt:
            break
        for (_, key), (node, name) in misspelt.items():
            findings.error(node.own(key), f"Unknown member {key!r}.", f"Did you mean {name!r}?")
            node.correct(key, name)
    findings.extend(found)


Misspelt = dict[tuple[tuple[Path, Place], str], tuple[Node, str]]  # a place and a member -> the node, the right name


def _check(document: Document, version: str, findings: Findings, misspelt: Misspelt) -> None:
    references: list[tuple[str, Any]] = []
    validator = _validator(version, references)
    pending: list[tuple[Node, Any]] = [(document.root, None)]
    seen: set[Any] = set()
    while pending:
        node, target = pending.pop()
        identity = (node.place, json.dumps(target))
        if identity in seen or node.is_absent:
            continue
        seen.add(identity)
        for error in validator.descend(node.value, validator.schema if target is None else target):
            _report(node, error, findings, misspelt)
        pending += [(_referred(node, reference), wanted) for reference, wanted in references]
        references.clear()


@cache
def _official(version: str) -> Any:
    return json.loads((files("gateway.contract") / "official" / f"asyncapi-{version}.json").read_text("utf-8"))


def _validator(version: str, references: list[tuple[str, Any]]) -> Any:
    """A validator that collects references with the schemas of their targets.

    It looks up the definitions of the official schema itself, and makes one validator for each part of the schema:
    the library's resolver, and its new validator for each value, take three quarters of the time.
    """
    official = _official(version)
    validators: dict[int, Any] = {}  # by the identity of their part

    @cache
    def target(reference: str) -> Any:
        return reduce(getitem, reference.split("/")[1:], official)

    def refer(validator: Any, reference: str, instance: Any, _schema: Any) -> Iterator[Any]:
        yield from validator.descend(instance, target(reference))

    def note(_validator: Any, target: Any, instance: Any, _schema: Any) -> None:
        if isinstance(instance, dict) and isinstance(instance.get("$ref"), str):
            references.append((instance["$ref"], target))

    def descend(validator: Any, instance: Any, schema: Any, path: Any = None, schema_path: Any = None) -> Iterator[Any]:
        if (known := validators.get(id(schema))) is None:
            known = validators[id(schema)] = validator.evolve(schema=schema)
        for error in known.iter_errors(instance):
            if path is not None:
                error.path.appendleft(path)
            if schema_path is not None:
                error.schema_path.appendleft(schema_path)
            yield error

    kind = extend(jsonschema.Draft7Validator, {"x-target": note, "$ref": refer})
    kind.descend = descend
    validators[id(official)] = kind(official, format_checker=FORMATS, registry=Registry())
    return validators[id(official)]


def _referred(node: Node, reference: str) -> Node:
    return Node(node.document, node.source, node.tokens, {"$ref": reference}).followed()


def _report(node: Node, error: Any, findings: Findings, misspelt: Misspelt) -> None:
    """Report an error of the validator at the member that is wrong; collect misspelt members."""
    for cause in _causes(error):
        place = node
        for key in cause.absolute_path:
            place = place.own(str(key))
        if cause.validator == "additionalProperties" and isinstance(cause.instance, dict):
            known = list(cause.schema.get("properties", {}))
            for key in _unknown(cause, known):
                name = nearest(key, known)
                if name and name not in cause.instance:
                    misspelt[place.place, key] = place, name
                else:
                    findings.error(place.own(key), f"Unknown member {key!r}.", suggestion(key, known) or "Remove it.")
        elif cause.validator != "type" or "enum" not in cause.schema:  # else it is none of the allowed values either
            findings.error(place, *_explained(cause))


def _causes(error: Any) -> Iterator[Any]:
    """The error itself; for a choice of schemas, the errors of the branch that matched deepest."""
    if error.context and error.validator in {"oneOf", "anyOf"}:
        deepest = max(error.context, key=lambda one: (len(one.absolute_path), one.validator != "type"))
        if len(deepest.absolute_path) > len(error.absolute_path):
            yield from _causes(deepest)
            return
    yield error


def _unknown(error: Any, known: list[str]) -> list[str]:
    patterns = error.schema.get("patternProperties", {})
    return [
        key for key in error.instance if key not in known and not any(re.search(pattern, key) for pattern in patterns)
    ]


OTHER_TYPES = {  # of other languages, and what JSON Schema has
    "float": "number", "double": "number", "decimal": "number", "int": "integer", "long": "integer", "str": "string",
    "text": "string", "date": "string", "datetime": "string", "timestamp": "string", "bool": "boolean", "map": "object",
    "dict": "object", "record": "object", "list": "array", "float32": "number", "float64": "number", "int8": "integer",
    "int16": "integer", "int32": "integer", "int64": "integer", "uint8": "integer", "uint16": "integer",
    "uint32": "integer", "uint64": "integer", "short": "integer", "byte": "integer", "varchar": "string",
    "uuid": "string", "enum": "string", "bytes": "string", "binary": "string", "struct": "object", "json": "object",
}  # fmt: skip
_OF_DRAFT_4 = "Draft 4 of JSON Schema has true or false here, and draft 7 the limit itself."
OF_EARLIER_DRAFTS = {  # of JSON Schema; with true or false
    "exclusiveMaximum": (_OF_DRAFT_4, "If it is true, write the number of `maximum` here, and remove `maximum`."),
    "exclusiveMinimum": (_OF_DRAFT_4, "If it is true, write the number of `minimum` here, and remove `minimum`."),
    "required": (
        "Draft 3 of JSON Schema has true or false here, and draft 7 a list of names in the object around it.",
        "If it is true, write the member's name in `required` of the object around it. Remove it here.",
    ),
}
KINDS = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "empty"}
EXPECTED = {
    "object": "a mapping", "array": "a list", "string": "text", "boolean": "true or false", "null": "empty",
    "number": "a number", "integer": "a whole number",
}  # fmt: skip


def _explained(error: Any) -> tuple[str, str]:
    """What is wrong, and the fix."""
    value, rule = error.instance, error.validator_value
    if known := _known(error):
        return known
    if error.validator == "required":
        missing = [key for key in rule if key not in value]
        names = " and ".join(map(repr, missing))
        return (
            (f"{names} is required here.", "Add it.")
            if len(missing) == 1
            else (f"{names} are required here.", "Add them.")
        )
    if error.validator == "type":
        return _explained_type(value, rule if isinstance(rule, list) else [rule])
    if error.validator in {"enum", "const"}:
        return _explained_choice(value, rule if error.validator == "enum" else [rule])
    if error.validator in {"oneOf", "anyOf"}:
        allowed = [one for each in error.context if each.validator == "enum" for one in each.validator_value]
        right = OTHER_TYPES.get(value) if isinstance(value, str) else None
        near = suggestion(value, map(str, allowed)) if isinstance(value, str) else ""
        fix = f"Write {right}." if right in allowed else near
        message = "It matches none of the forms that the specification allows here."
        return message, fix or "Compare it with the AsyncAPI specification."
    return f"{_short(explained(error))}.", "Correct the value."


def _known(error: Any) -> tuple[str, str] | None:
    """What is wrong with the value of a keyword of JSON Schema, and the fix."""
    key = next(reversed(error.absolute_path), None)
    if isinstance(error.instance, bool) and key in OF_EARLIER_DRAFTS:
        return OF_EARLIER_DRAFTS[key]
    if error.validator == "format":
        return f"The pattern is not a regular expression: it has {why_broken(error.instance)}.", "Correct the pattern."
    return None


def _explained_type(value: Any, types: list[str]) -> tuple[str, str]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fix = "Correct the value."
    if "string" in types and isinstance(value, int | float):
        fix = "Put it in quotes."
    elif "array" in types and isinstance(value, str | int | float):
        fix = "Put it in brackets."
    elif isinstance(value, str) and _is_of(value, types):
        fix = "Remove the quotes."
    expected = " or ".join(EXPECTED[one] for one in types)
    kind = f"the number {value}" if is_number else KINDS[type(value)]
    return f"Expected {expected}, not {kind}.", fix


def _is_of(text: str, types: list[str]) -> bool:
    """Whether a text would be a value of one of the types without its quotes."""
    kinds = {"integer": r"-?\d+", "number": r"-?\d+(\.\d+)?", "boolean": "true|false"}
    return any(re.fullmatch(kinds[one], text) for one in types if one in kinds)


def _explained_choice(value: Any, allowed: list[Any]) -> tuple[str, str]:
    message = f"{_short(value)} is not one of {', '.join(map(_short, allowed))}."
    if isinstance(value, str) and value in [str(one) for one in allowed if type(one) is int]:
        return message, "Remove the quotes."
    near = suggestion(value, map(str, allowed)) if isinstance(value, str) else ""
    return message, near or "Write one of these."


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONG * 2 else f"{text[:LONG]} ... {text[-LONG:]}"
