"""The families that come with the gateway are contracts that pass their check, and convert real payloads.

The tables beside this file have the payloads, and the records or dead letters that they become.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gateway.operate.init import family as families
from tests.families.harness import Outcomes, Published, check

if TYPE_CHECKING:
    from gateway.documents.source import Place

HERE = Path(__file__).parent
NAMES = families.names()
MOST_LINES = 40
LONG = {"shelly-gen2": 160, "dsmr-p1": 60}  # a message for each of 16 components; the units of 30 codes
EXAMPLES = re.compile(r"^( *)examples:.*\n(?:(?:\1 +.*)?\n)*", re.MULTILINE)


def table(path: Path) -> list[Published]:
    return [Published(**row) for row in yaml.load(path.read_text(), yaml.CSafeLoader)]


@cache
def parts() -> dict[str, dict[Place, str]]:
    """The parts of each family, made when a test needs them."""
    return {name: dict(families.family(name).parts()) for name in NAMES}


def contract_of(name: str) -> Path:
    return families.FOLDER / name / families.CONTRACT


OUTCOMES: dict[Path, Outcomes] = {}


def outcomes_of(path: Path) -> Outcomes:
    """The transforms of a contract, made once: most of the time of a test is their compilation."""
    return OUTCOMES.setdefault(path, OUTCOMES.get(path) or Outcomes(path))


def rows(paths: list[Path]) -> list[Any]:
    return [pytest.param(path.stem, row, id=f"{path.stem}: {row.name}") for path in paths for row in table(path)]


def test_every_family_has_a_table() -> None:
    assert sorted(path.stem for path in HERE.glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_check_finds_nothing_in_a_family(name: str) -> None:
    """Its examples are tests of their own: those of MQTT and Kafka messages of the same name agree."""
    assert outcomes_of(contract_of(name)).findings == []


@pytest.mark.parametrize(("name", "message"), rows(sorted(HERE.glob("*.yaml"))))
def test_real_payloads_become_records(name: str, message: Published) -> None:
    check(outcomes_of(contract_of(name)), message)


@pytest.mark.parametrize("name", NAMES)
def test_a_family_is_short(name: str) -> None:
    """Lines of contract for each type of record, without examples, which are tests."""
    chosen = families.family(name)
    own = [text for place, text in parts()[name].items() if place not in families.SHARED | families.DEAD_LETTERS]
    lines = sum(EXAMPLES.sub("", text).count("\n") for text in own)
    assert lines <= LONG.get(name, MOST_LINES * len(chosen.schemas))


def test_families_share_the_same_text() -> None:
    """What all have in common is the same everywhere, so that one family can be added after another."""
    shared = {place: {one.get(place) for one in parts().values()} for place in families.SHARED | families.DEAD_LETTERS}
    assert {place: len(texts) for place, texts in shared.items()} == dict.fromkeys(shared, 1)


def test_no_two_families_use_the_same_name() -> None:
    """All of them fit into one contract."""
    common = families.SHARED | families.DEAD_LETTERS
    own = [place for one in parts().values() for place in one if place not in common]
    files = [file for name in NAMES for file in families.family(name).schemas]
    assert len(own) == len(set(own))
    assert len(files) == len(set(files))


@pytest.mark.parametrize("name", NAMES)
def test_every_field_has_a_description(name: str) -> None:
    """Fields and records say what they are; `unit` is the UCUM code where there is one."""
    for text in families.family(name).schemas.values():
        assert [field["name"] for field in _fields(yaml.safe_load(text)) if not field.get("doc")] == []


def _fields(schema: Any) -> list[Any]:
    if isinstance(schema, list):
        return [field for each in schema for field in _fields(each)]
    if not isinstance(schema, dict):
        return []
    inside = [schema.get(key) for key in ("type", "items", "values") if not isinstance(schema.get(key), str)]
    own = schema.get("fields", [])
    return [*own, *_fields(inside), *(field for one in own for field in _fields(one))]
