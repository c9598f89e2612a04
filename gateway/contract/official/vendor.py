"""Reduce a JSON Schema of the package @asyncapi/specs to the form kept in this folder.

Run by maintainers when a new specification version is taken in; the README beside this file has the commands.
Four changes; only the last one alters what is valid:

- Annotations (descriptions, examples, titles) go: they are three quarters of the file.
- `oneOf: [Reference, X]`, in which nearly every object of the original sits, becomes `if` it has a `$ref` `then`
  Reference `else` X. A validator then reports the member that is wrong instead of "not valid under any of the
  given schemas". `x-target` beside the Reference keeps X, so that `specification.py` can check what the
  reference leads to; other validators ignore it.
- The definition of Avro accepts anything: it cannot tell a misspelt type from a named one, and what it says of a
  wrong schema is "not valid under any". `schema.py` does better.
- The exact version (`const: 3.1.0`) goes: patch versions do not change the format, and `specification.py` looks at it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ANNOTATIONS = frozenset({"title", "description", "examples", "example", "$comment"})
NAMED = frozenset({"properties", "patternProperties", "definitions", "dependencies"})
REFERENCE = {"$ref": "#/definitions/Reference"}


def without_annotations(schema: Any) -> Any:
    """Return the schema without what a validator does not read."""
    if isinstance(schema, list):
        return [without_annotations(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _kept(key, value) for key, value in schema.items() if key not in ANNOTATIONS}


def _kept(key: str, value: Any) -> Any:
    """Members of `properties` and its like are names, so `title` there is no annotation."""
    if key in NAMED and isinstance(value, dict):
        return {name: without_annotations(one) for name, one in value.items()}
    return without_annotations(value)


def with_exact_errors(schema: Any) -> Any:
    """Return the schema with every choice between a Reference and something else made by looking for `$ref`."""
    if isinstance(schema, list):
        return [with_exact_errors(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    members = {key: with_exact_errors(value) for key, value in schema.items()}
    choices = schema.get("oneOf")
    if not isinstance(choices, list) or REFERENCE not in choices:
        return members
    # Arrays as an alternative to a trait are a left-over of version 1 that no text of version 3 allows.
    others = [one for one in members.pop("oneOf") if one != REFERENCE and one.get("type") != "array"]
    meant = others[0] if len(others) == 1 else {"oneOf": others}
    has_reference = {"type": "object", "required": ["$ref"]}
    return {**members, "if": has_reference, "then": {"allOf": [REFERENCE, {"x-target": meant}]}, "else": meant}


def reduce(schema: dict[str, Any]) -> str:
    """Return the reduced schema as JSON, one definition a line so that versions can be compared.

    Args:
        schema: the JSON of `schemas/3.x.0-without-$id.json`.

    Returns:
        JSON text that ends in a line feed.
    """
    reduced = with_exact_errors(without_annotations(schema))
    reduced["properties"]["asyncapi"] = {"type": "string"}
    definitions = reduced.pop("definitions")
    definitions["avroSchema_v1"] = {}
    head = json.dumps(reduced, separators=(",", ":"))
    lines = [
        f"{json.dumps(name)}:{json.dumps(one, separators=(',', ':'))}" for name, one in sorted(definitions.items())
    ]
    return head[:-1] + ',"definitions":{\n' + ",\n".join(lines) + "\n}}\n"


if __name__ == "__main__":
    sys.stdout.write(reduce(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
