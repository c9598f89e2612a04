"""What is an Avro schema: the verdicts of `tests/golden/avro_schemas.txt`, ours and those of Apache Avro for Java."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract.avro_rules import AvroRules
from gateway.contract.document import Document
from gateway.contract.findings import Findings
from gateway.documents import json_file
from tests.stack.software import fetched, java

if TYPE_CHECKING:
    from gateway.errors import Finding

TESTS = Path(__file__).parents[1]


def table() -> dict[str, list[str]]:
    """The schemas of the file, by their verdicts."""
    groups: dict[str, list[str]] = {}
    for line in (TESTS / "golden" / "avro_schemas.txt").read_text().splitlines():
        if line.startswith("[") and line[1:].rstrip("]").replace(" ", "").isalpha() and line != "[]":
            schemas = groups.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            schemas.append(line)
    return groups


VALID, INVALID, BY_SPECIFICATION = table().values()


def findings_of(text: str, *, is_strict: bool) -> list[Finding]:
    path, findings = Path("made-up.avsc"), Findings()
    source = json_file.parse(text, path, path.name)
    AvroRules(findings, is_strict=is_strict).check(Document(path, source).root)
    return findings.ordered(path.name)


def is_valid(text: str) -> bool:
    return not any(one.severity == "error" for one in findings_of(text, is_strict=False))


def test_check_gives_the_verdicts_of_the_specification() -> None:
    assert [text for text in VALID if not is_valid(text)] == []
    assert [text for text in INVALID + BY_SPECIFICATION if is_valid(text)] == []


def test_apache_avro_gives_the_same_verdicts() -> None:
    """Except on the last group, where its parser is more lenient than the specification."""
    schemas = VALID + INVALID + BY_SPECIFICATION
    libraries = f"{fetched('reader') / 'lib'}/*"
    program = java("reader", "-Dfile.encoding=UTF-8", "-cp", libraries, TESTS / "stack" / "java" / "Verdicts.java")
    done = subprocess.run(program, input="\n".join(schemas), text=True, capture_output=True, check=True, timeout=120)
    verdicts = dict(zip(schemas, done.stdout.split(), strict=True))
    assert [text for text in VALID + BY_SPECIFICATION if verdicts[text] != "true"] == []
    assert [text for text in INVALID if verdicts[text] != "false"] == []


STRICT: list[tuple[str, Any]] = [
    ("no branches", "[]"),
    ("no symbols", '{"type": "enum", "name": "E", "symbols": []}'),
    ("0 bytes", '{"type": "fixed", "name": "F", "size": 0}'),
    ("without end", '{"type": "record", "name": "R", "fields": [{"name": "f", "type": "R"}]}'),
    ("without end", '{"type": "record", "name": "R", "fields": [{"name": "f", "type": ["R"]}]}'),
    ("does not match", '{"type": "record", "name": "R", "fields": [{"name": "f", "type": "float", "default": 1e39}]}'),
    ("not of 'string'", '{"type": "string", "logicalType": "date"}'),
    ("needs a precision", '{"type": "bytes", "logicalType": "decimal"}'),
]


@pytest.mark.parametrize(("message", "text"), STRICT)
def test_check_is_stricter_for_a_contract(message: str, text: str) -> None:
    """What is Avro and does not work is an error of the contract alone."""
    assert is_valid(text)
    assert any(message in one.message for one in findings_of(text, is_strict=True))


def test_check_does_not_take_a_name_for_a_primitive() -> None:
    """`ns.int` is a record of its own, and `int` in it the primitive."""
    fields = '[{"name": "one", "type": "int"}, {"name": "next", "type": ["null", "ns.int"]}]'
    assert findings_of(f'{{"type": "record", "name": "ns.int", "fields": {fields}}}', is_strict=True) == []
