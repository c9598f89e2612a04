"""JSON files are read strictly, and every value has its line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.documents.json_file import read
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.documents.source import Source


def read_json(folder: Path, text: str) -> Source:
    path = folder / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return read(path, "x.json")


def test_read_gives_the_line_of_every_value(tmp_path: Path) -> None:
    source = read_json(tmp_path, '{\n"a": [1,\n  {"b":\n"x, y: {"}],\n"": {}, "c\\n":\n null}')
    assert source.lines == {
        (): 1, ("a",): 2, ("a", "0"): 2, ("a", "1"): 3, ("a", "1", "b"): 3, ("",): 5, ("c\n",): 5,
    }  # fmt: skip


def test_read_takes_what_yaml_parsers_refuse_in_json(tmp_path: Path) -> None:
    assert read_json(tmp_path, '{\n\t"a":"\\ud83d\\ude00\\/"}').data == {"a": "\U0001f600/"}


def test_read_finds_a_key_that_stands_twice(tmp_path: Path) -> None:
    (finding,) = read_json(tmp_path, '{"a": {"b": 1,\n"b": 2}}').findings
    assert (finding.line, finding.path) == (2, "#/a/b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": 1e400}', "The JSON is invalid"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ("[" * 100_000, "nested"),
        ('{"a": ' + "1" * 5_000 + "}", "The JSON is invalid"),
        ('{"a": 1,}', "The JSON is invalid"),
        ("", "The JSON is invalid"),
        ("\ud800", "not UTF-8"),
    ],
    ids=lambda text: text[:12],
)
def test_read_refuses(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_json(tmp_path, text)
    assert message in raised.value.findings[0].message


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


def paths(value: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return {path}.union(*(paths(value[key], (*path, str(key))) for key in keys))


@given(VALUES, st.sampled_from([None, 1]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_read_knows_a_line_for_each_value_of_any_json(tmp_path: Path, value: Any, indent: int | None) -> None:
    source = read_json(tmp_path, json.dumps(value, indent=indent))
    assert source.data == value
    assert source.lines.keys() == paths(value)
    assert source.findings == []
