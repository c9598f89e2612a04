"""A version of an Avro schema: its types, and their lines in the file.

`read` is for files that can still be edited: a fault is reported with its line, by the contract's own checks where the
outermost type is a record. `parse` is for versions in a registry or in git: they only need to be valid Avro.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import fastavro

from gateway.contract import schema as records
from gateway.contract.document import Document
from gateway.contract.findings import Findings
from gateway.core.avro_schema import build
from gateway.errors import ConfigurationError, Finding
from gateway.registry import canonical_form
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.core.avro_schema import AvroType, Place


class Schema(NamedTuple):
    """A version of a schema."""

    label: str  # for people, as `schemas/door.avsc` or `HEAD:schemas/door.avsc`
    type: AvroType  # the outermost
    lines: dict[Place, int]  # 1-based; empty when they are not known

    def line(self, place: Place) -> int:
        """The line of a type or field, or of what encloses it; 0 when lines are not known."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


def read(path: Path) -> Schema:
    """Read a schema file, with all its errors in one ConfigurationError; `.avsc` and `.json` files give lines."""
    if path.suffix not in {".avsc", ".json"}:  # a pipe, for example; the contract's reader would parse it as YAML
        return parse(_text(path), str(path))
    document, findings = Document(path), Findings()
    node = document.root
    if node.is_mapping and node.at("type").text == "record":
        for finding in document.findings:
            findings.add(finding)
        record = records.load(node, findings)
        if record is None or findings.has_errors:
            raise ConfigurationError([one for one in findings.ordered(str(path)) if one.severity == "error"])
    return _built(node.value, str(path), node.source.lines)


def parse(text: str, label: str, references: Sequence[str] = ()) -> Schema:
    """Parse the JSON of a schema, which may refer to types of others (`registry/canonical_form.py`)."""
    try:
        return Schema(label, canonical_form.parse(text, references), {})
    except Exception as error:  # noqa: BLE001 - malformed schemas raise exceptions of many types
        raise _invalid(label, error) from None


def _built(definition: Any, label: str, lines: dict[Place, int]) -> Schema:
    try:
        fastavro.parse_schema(definition)
        return Schema(label, build(definition), lines)
    except Exception as error:  # noqa: BLE001 - fastavro raises many kinds of error on a malformed schema
        raise _invalid(label, error) from None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([Finding(str(path), 0, "", printable(f"It cannot be read: {error}."))]) from None


def _invalid(label: str, error: Exception) -> ConfigurationError:
    message = printable(f"This is not an Avro schema: {error or type(error).__name__}.")
    return ConfigurationError([Finding(label, getattr(error, "lineno", 0), "", message)])
