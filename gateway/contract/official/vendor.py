"""Reduces a JSON Schema of the package @asyncapi/specs to the form in this folder.

Maintainers run it for a new version of the specification; the README in this folder has the commands.
It makes four changes, of which only the last changes what is valid:

- It removes annotations (descriptions, examples, titles), three quarters of the file.
- `oneOf: [Reference, X]`, the form of nearly every object in the original, becomes `if` it has a `$ref` `then`
  Reference `else` X. A validator then reports the exact member instead of "not valid under any of the given schemas".
  `x-target` next to the Reference keeps X, so that `specification.py` can check the target of the reference; other
  validators ignore it.
- The definition of Avro accepts anything, because it cannot tell a misspelt type from a named one. `schema.py` checks
  Avro schemas.
- It removes the exact version (`const: 3.1.0`), because patch versions do not change the format; `specification.py`
  checks the version.
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
    """Return the schema without annotations."""
    if isinstance(schema, list):
        return [without_annotations(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _kept(key, value) for key, value in schema.items() if key not in ANNOTATIONS}


def _kept(key: str, value: Any) -> Any:
    """Members of `properties` and similar keywords are names, so `title` is not an annotation there."""
    if key in NAMED and isinstance(value, dict):
        return {name: without_annotations(one) for name, one in value.items()}
    return without_annotations(value)


def with_exact_errors(schema: Any) -> Any:
    """Return the schema with every choice between a Reference and something else decided by `$ref`."""
    if isinstance(schema, list):
        return [with_exact_errors(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    members = {key: with_exact_errors(value) for key, value in schema.items()}
    choices = schema.get("oneOf")
    if not isinstance(choices, list) or REFERENCE not in choices:
        return members
    # Arrays as an alternative to a trait remain from version 1; the text of version 3 does not allow them.
    others = [one for one in members.pop("oneOf") if one != REFERENCE and one.get("type") != "array"]
    meant = others[0] if len(others) == 1 else {"oneOf": others}
    has_reference = {"type": "object", "required": ["$ref"]}
    return {**members, "if": has_reference, "then": {"allOf": [REFERENCE, {"x-target": meant}]}, "else": meant}


def reduce(schema: dict[str, Any]) -> str:
    """Return the JSON of a `schemas/3.x.0-without-$id.json`, reduced, one definition per line for comparison."""
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
