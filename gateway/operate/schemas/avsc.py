"""A version of an Avro schema: its types, and their lines in the file.

`read` is for files: they must follow Avro's rules, and every error is reported with its line. `parse` is for versions
in a registry or in git, which cannot be corrected any more: it takes all that can be compared.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.contract import avro_files
from gateway.contract.avro_files import NO_FILES
from gateway.contract.avro_rules import AvroRules
from gateway.contract.document import Document
from gateway.contract.findings import Findings
from gateway.core import avro_names
from gateway.core.avro_schema import build
from gateway.documents import json_file
from gateway.errors import ConfigurationError, Finding
from gateway.registry import canonical_form
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.contract.avro_files import Beside
    from gateway.contract.document import Node
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
    """Read a schema file, which may be a pipe, with all its errors in one ConfigurationError."""
    source = json_file.parse(_text(path), Path(os.path.normpath(path.absolute())), str(path))
    root = Document(source.path, source).root
    others = avro_files.beside(root)
    if errors := _errors(root, others, str(path)):
        raise ConfigurationError(errors)
    return Schema(str(path), build(others.complete(source.data)), source.lines)


def _errors(root: Node, others: Beside, label: str) -> list[Finding]:
    findings = Findings()
    for finding in root.source.findings:
        findings.add(finding)
    for one in others.files:
        AvroRules(findings, is_strict=False, others=others.without(one)).check(one)
    rules = AvroRules(findings, is_strict=False, others=others)
    for fault in others.faults:
        rules.wrong(*fault)
    rules.check(root)
    return [one for one in findings.ordered(label) if one.severity == "error"]


def parse_with(text: str, label: str, beside: Callable[[], Iterable[str]]) -> Schema:
    """Parse a former version of a file, which may use types of the files that were beside it."""
    try:
        schema = json.loads(text)
        others = [_json(one) for one in beside()] if avro_names.unknown(schema) else []
    except ValueError:
        return parse(text, label)  # which says what is wrong
    return parse(json.dumps(avro_names.with_definitions(schema, avro_names.definitions_in(others))), label)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def parse(text: str, label: str, references: Sequence[str] = ()) -> Schema:
    """Parse the JSON of a schema, which may refer to types of others (`registry/canonical_form.py`)."""
    try:
        return Schema(label, canonical_form.parse(text, references), {})
    except Exception:  # noqa: BLE001 - malformed schemas raise exceptions of many types
        first = _first_error(text, label, references)
        message = f"This is not an Avro schema: {first.message}"
        raise ConfigurationError([Finding(label, first.line, first.path, message)]) from None


def _first_error(text: str, label: str, references: Sequence[str]) -> Finding:
    try:
        source = json_file.parse(text, Path(label), label)
        errors = [] if references else _errors(Document(source.path, source).root, NO_FILES, label)
    except ConfigurationError as error:
        errors = [*error.findings]
    return next(
        iter(errors), Finding(label, 0, "", "The Avro schema has an error, or a schema that it refers to has one.")
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigurationError([Finding(str(path), 0, "", printable(f"It cannot be read: {reason}."))]) from None
