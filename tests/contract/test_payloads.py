"""Payloads that are not one object of the record's own members: what the contract may say of them, and what not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import REPOSITORY, Copy

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = "#/components/messages"
PLUG = ', "x-source": "$message.payload#"}\n  ]'  # the field that takes the payload
TIED = ", location: $message.payload#/plug"
TEXT = "plugText:\n      contentType: text/plain"


@pytest.fixture
def steps(tmp_path: Path) -> Copy:
    """A copy of the last step of `docs/contract.md`."""
    folder = tmp_path / "steps"
    shutil.copytree(max((REPOSITORY / "docs" / "steps").iterdir(), key=lambda one: int(one.name)), folder)
    return Copy(folder)


def test_load_takes_one_value_in_plain_text_or_json(steps: Copy) -> None:
    streams = steps.contract().streams
    assert [streams[name].content for name in ("receivePlugs", "receiveDoors", "receiveOvens")] == [
        "text", "text", "json",
    ]  # fmt: skip
    steps.edit(TEXT, TEXT.replace("text/plain", "text/plain; charset=UTF-8"))
    assert steps.contract().streams["receivePlugs"].content == "text"
    steps.edit("text/plain; charset=UTF-8", "application/json")
    assert steps.contract().streams["receivePlugs"].content == "json"


def test_load_takes_avro_on_both_sides_of_one_value(steps: Copy) -> None:
    steps.edit("payload: {type: number, description: Watts.}", "payload: {$ref: '#/components/schemas/plug'}")
    assert steps.contract().streams["receivePlugs"].content == "text"


@pytest.mark.parametrize(
    ("old", "new", "file", "path", "told"),
    [
        (TIED, "", "asyncapi.yaml", "#/fields/0", "nothing is left for 'plug'"),
        (TIED, TIED.replace("plug", "power"), "asyncapi.yaml", "#/channels/plugs/parameters/plug/location",
         "No field of example.ovens.PlugPower reads /power"),
        ('"fields": [', '"fields": [{"name": "y", "type": "int", "x-source": "$message.payload#/a/b"},', "plug.avsc",
         "#/fields/0", "nothing is left for 'y'"),
        ('"$message.payload#"', '["$message.payload#"]', "plug.avsc", "#/fields/1/x-source", "reads nothing else"),
        ('"doc": "The plug."', '"x-source": "$message.payload#"', "plug.avsc", "#/fields/1/x-source",
         "Field 'plug' reads the whole payload, too"),
        (', "x-source": "$message.payload#"', "", "plug.avsc", f"{MESSAGES}/plugText/contentType",
         "Plain text is one value, and example.ovens.PlugPower has no field for it"),
        ('"type": "double"', '"type": {"type": "array", "items": "double"}', "plug.avsc",
         f"{MESSAGES}/plugText/contentType", "has no field for it"),
        (TEXT, f"{TEXT}; charset=latin-1", "asyncapi.yaml", f"{MESSAGES}/plugText/contentType", "plain text in UTF-8"),
        ("payload: 43.5}]\n    plugAvro", "payload: hot}]\n    plugAvro", "asyncapi.yaml",
         f"{MESSAGES}/plugText/examples/0/payload", "not of type 'number'"),
        ("payload: open}]", "payload: ajar}]", "asyncapi.yaml", f"{MESSAGES}/doorText/examples/0/payload",
         "is not one of"),
        ("power: 43.5", "power: 43.6", "asyncapi.yaml", f"{MESSAGES}/plugAvro/examples/0/payload/power",
         "gives 43.5 here; expected 43.6"),
    ],
)  # fmt: skip
def test_examine_finds_what_is_wrong_with_one_value(  # noqa: PLR0917 - the edit, and what is found
    steps: Copy, old: str, new: str, file: str, path: str, told: str
) -> None:
    steps.edit(old, new, file)
    errors = [one for one in steps.findings() if one.severity == "error"]
    assert any(one.path == path and told in one.message for one in errors), "\n".join(map(str, errors))
    assert all(one.line > 0 and one.fix for one in errors)
