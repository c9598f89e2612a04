"""Schemas that use types of the files beside them: complete where they are used, with findings where they are wrong."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract import examine
from gateway.core.codec.codec import Codec
from gateway.core.reading import DeadLetter
from gateway.core.transform import conversion
from tests.contract.conftest import REPOSITORY, Copy

if TYPE_CHECKING:
    from pathlib import Path

POSITION, SOURCE, VAN = "position.avsc", "source.avsc", "van.avsc"


@pytest.fixture
def vans(tmp_path: Path) -> Copy:
    """A copy of the step with several files."""
    folder = tmp_path / "vans"
    shutil.copytree(REPOSITORY / "docs" / "steps" / "21", folder)
    return Copy(folder)


def errors(copy: Copy) -> list[tuple[str, str, str]]:
    """File, place and message of each error."""
    found = examine(copy.document)[1]
    assert all(one.line > 0 and one.fix for one in found)
    return [(one.source.rpartition("/")[2], one.path, one.message) for one in found if one.severity == "error"]


def test_a_schema_is_complete(vans: Copy) -> None:
    """In the registry, for the codec and in comparisons."""
    schema = vans.contract().streams["receiveVans"].route.schema
    assert schema is not None
    assert schema.text.count("latitude") == schema.text.count("gps") == 1
    assert str(schema.record.fields[2].type) == "null or record Position"


def test_words_of_x_source_in_such_a_file_count(vans: Copy) -> None:
    vans.edit(
        '"latitude", "type": "double",', '"latitude", "type": "double", "x-source": {"parse": "number"},', POSITION
    )
    stream = vans.contract().streams["receiveVans"]
    codec = Codec(conversion(stream, stream.route))
    payload = b'{"position": {"latitude": "48.2", "longitude": 16.4, "source": "gps"}}'
    assert not isinstance(codec.encode(payload, ("v7", "vans/v7")), DeadLetter)


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "path", "message"),
    [
        (VAN, '"type": "Position"', '"type": "Positon"', VAN, "#/fields/1/type", 'Unknown Avro type "Positon"'),
        (SOURCE, '"namespace": "example.vans", ', "", POSITION, "#/fields/2/type",
         'Unknown Avro type "Source": here it means example.vans.Source.'),
        (POSITION, '"type": "Source"', '"type": "example.Source"', POSITION, "#/fields/2/type", "Unknown Avro type"),
        (POSITION, '"type": "double", "unit"', '"type": "dubble", "unit"', POSITION, "#/fields/0/type",
         'Unknown Avro type "dubble"'),
        (SOURCE, '"gps", "cell"', '"gps", "gps"', SOURCE, "#/symbols/1", "is repeated"),
        (SOURCE, '"Source"', '"Position"', VAN, "#/fields/1/type",
         '"Position" is defined in position.avsc and source.avsc'),
        (POSITION, '"type": "Source"', '"type": ["null", "VanReading"], "default": null', POSITION, "#/fields/2/type/1",
         '"VanReading" is defined in a file that uses this one: van.avsc, position.avsc, van.avsc'),
        (VAN, '"name": "van", "type": "string"',
         '"name": "van", "type": {"type": "enum", "name": "Source", "symbols": ["a"]}', POSITION, "#/fields/2/type",
         '"Source" is defined in source.avsc and van.avsc'),
        (POSITION, '"type": "Source"', '"type": "Source", "x-source": "$message.payload#/s"', POSITION,
         "#/fields/2/x-source", "outermost record only"),
        (POSITION, '"type": "Source"', '"type": "Source", "x-source": {"parse": "number"}', POSITION,
         "#/fields/2/x-source/parse", "parse"),
        (POSITION, '"type": "Source"', '"type": "Source", "x-sorce": {}', POSITION, "#/fields/2/x-sorce",
         "Unknown extension"),
        (POSITION, '"type": "Source"', '"type": "Source", "type": "Source"', POSITION, "#/fields/2/type",
         "is repeated"),
        ("asyncapi.yaml", "source: gps}, last", "source: bus}, last", "asyncapi.yaml",
         "#/components/messages/vanAvro/examples/0/payload/position/source", "none of gps, cell"),
    ],
)  # fmt: skip
def test_a_fault_is_found_in_its_file(  # noqa: PLR0917 - a row of a table
    vans: Copy, file: str, old: str, new: str, place: str, path: str, message: str
) -> None:
    vans.edit(old, new, file)
    found = errors(vans)
    assert any(one[:2] == (place, path) and message in one[2] for one in found), found


def test_a_broken_file_beside_is_no_matter_to_others(vans: Copy) -> None:
    (vans.folder / "broken.avsc").write_text("{")
    (vans.folder / "other.avsc").write_text('{"type": "enum", "name": "Other", "symbols": []}')
    assert errors(vans) == []


def test_a_chain_of_files_has_an_end(vans: Copy) -> None:
    vans.edit('"type": "Source"', '"type": "Link0"', POSITION)
    for number in range(60):
        fields = [{"name": "next", "type": ["null", f"Link{number + 1}"], "default": None}]
        link = {"type": "record", "namespace": "example.vans", "name": f"Link{number}", "fields": fields}
        (vans.folder / f"link{number}.avsc").write_text(json.dumps(link))
    found = "Field 'next': \"Link49\" is more than 50 files away from the schema that needs it."
    assert errors(vans) == [("link48.avsc", "#/fields/0/type/1", found)]
    (vans.folder / "link48.avsc").write_text(json.dumps(link | {"name": "Link48", "fields": []}))
    assert {path.partition("examples")[0] for _, path, _ in errors(vans)} == {
        "#/components/messages/vanJson/", "#/components/messages/vanAvro/",
    }  # fmt: skip


def test_a_document_has_a_limit_of_files(vans: Copy) -> None:
    """It is said of the use of the first that is not read."""
    for number in range(200):
        part = {"type": "fixed", "namespace": "example.vans", "name": f"Part{number}", "size": 1}
        (vans.folder / f"part{number}.avsc").write_text(json.dumps(part))
    parts = ", ".join(f'{{"name": "part{number}", "type": "Part{number}"}}' for number in range(200))
    vans.edit('"type": "Source"}', f'"type": "Source"}}, {parts}', POSITION)
    first, *_ = errors(vans)
    assert first[0] == POSITION
    assert first[2].endswith(" is not read: The contract has more than 200 files.")


def test_a_name_without_namespace_is_not_used_inside_one_although_the_record_uses_it(vans: Copy) -> None:
    vans.edit('"namespace": "example.vans", ', "", SOURCE)
    vans.edit('"name": "VanReading", "namespace": "example.vans"', '"name": "VanReading"', VAN)
    vans.edit('"type": "Position"', '"type": "example.vans.Position"', VAN)
    vans.edit('"fields": [\n', '"fields": [{"name": "s", "type": ["null", "Source"], "default": null},\n', VAN)
    found = "Field 'source': Unknown Avro type \"Source\": here it means example.vans.Source."
    assert errors(vans) == [(POSITION, "#/fields/2/type", found)]


def test_a_misspelt_name_is_told_from_those_of_the_folder(vans: Copy) -> None:
    vans.edit('"type": "Position"', '"type": "Positon"', VAN)
    fixes: list[Any] = [one.fix for one in examine(vans.document)[1]]
    assert "Did you mean 'Position'?" in fixes


def test_a_name_that_is_used_before_its_definition_is_not_proposed_itself(vans: Copy) -> None:
    late = '[{"type": "enum", "name": "A", "symbols": ["a"]}, {"type": "record", "name": "B", "fields": [%s]}, %s]'
    text = late % ('{"name": "c", "type": "C"}', '{"type": "enum", "name": "C", "symbols": ["c"]}')
    (vans.folder / "late.avsc").write_text(text.replace('"name": ', '"namespace": "example.vans", "name": '))
    vans.edit('"type": "Position"', '"type": "B"', VAN)
    (fix,) = [one.fix for one in examine(vans.document)[1] if 'Unknown Avro type "C"' in one.message]
    assert fix == "Define a named type at its first use, and use its name afterwards."
