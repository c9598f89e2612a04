"""Every setting of gateway.yaml with a value that is wrong: one sentence with its line, and what to write instead.

The settings are read off the model, so that a new one is tried here without anybody thinking of it; a new kind of value
fails until the table below says what is wrong for it.
"""

from __future__ import annotations

import json
import types
import typing
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import BaseModel

from gateway.errors import ConfigurationError
from gateway.settings.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.errors import Finding

NAMES = {
    "servers": "kafka",
    "streams": "receiveDoors",
    "producer": "linger.ms",
    "extensions": "logicalCluster",
    "headers": "X-Plant",
    "header_files": "Authorization",
}  # for keys that people choose
Values = tuple[object, ...]
TEXT: Values = (5, True, [], {})
WORD: Values = ("nonsense", 5, True, [])
TRUTH: Values = ("yes", 1, [], {})
NUMBER: Values = ("many", 1.5, True, [], -1)
QUANTITY: Values = ("much", True, [], -1)
SECTION: Values = ("text", 5, True, [])
WRONG: dict[str, Values] = {
    "contract": (*TEXT, ""),
    "servers.kafka": SECTION,
    "servers.kafka.host": (*TEXT, "", "a b", "mqtt://a:1", "a:99999"),
    "servers.kafka.tls.alpn": (5, True, {}, [5], [[]], ["a b"]),
    "servers.kafka.websocket.path": (*TEXT, "", "mqtt", "/a b", "/#a"),
    "servers.kafka.websocket.headers.X-Plant": (*TEXT, "a\nb"),
    "servers.kafka.websocket.header_files.Authorization": (*TEXT, ""),
    "servers.kafka.receive_maximum": (*NUMBER, 0, 65_536),
    "servers.kafka.producer.linger.ms": ("soon", [], {}, None),
    "servers.kafka.sasl.oauth.aws_region": (*TEXT, "", "Frankfurt", "eu.example/", "a b"),
    "servers.kafka.registry.url": (*TEXT, "", "registry", "ftp://a", "http://u:p@a", "http://a:x"),
    "streams.receiveDoors.qos": ("one", 1.5, True, [], -1, 3),
    "http.listen": (5, True, [], {}, "", "localhost", "a:1,b:2", "127.0.0.1:99999"),
    "spool.after": (*QUANTITY, "2h"),
    "clock.wait": (*QUANTITY, "2d"),
    "spool.memory": (*QUANTITY, 0, 1.5, 1, "100KiB"),
    "spool.limit": (*QUANTITY, 0, 1.5, 5, "100KiB"),
    "use_servers": (5, True, {}, [5], [[]]),
    "status.id": (*TEXT, "", "a/b", "+", "#", "a b", "a\0", "ä", "a" * 65),
    "status.every": (*QUANTITY, 0, "0.5s", "2h"),
    "update.url": (*TEXT, "", "bundle", "ftp://a", "https://u:p@a", "https://a:x"),
    "update.sha256": (*TEXT, "", "0" * 63, "g" * 64),
    "update.folder": (*TEXT, ""),
    "update.allowed_signers": (*TEXT, ""),
    "update.recording": (*TEXT, ""),
    "update.expect": (5, True, {}, [5], [[]]),
    "workers.count": (*NUMBER, 0, 65),
    "workers.share": (*TEXT, "", "a/b", "+"),
}


def settings_of(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, Any]]:
    """Give every setting with its type, sections included."""
    for name, field in model.model_fields.items():
        yield from _below(f"{place}{name}", bare(field.annotation), NAMES.get(name))


def _below(place: str, kind: Any, chosen: str | None) -> Iterator[tuple[str, Any]]:
    yield place, kind
    if typing.get_origin(kind) is dict:
        yield from _below(f"{place}.{chosen}", bare(typing.get_args(kind)[1]), None)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from settings_of(kind, f"{place}.")


def bare(kind: Any) -> Any:
    """Take `Annotated` and `| None` off a type."""
    while typing.get_origin(kind) in {Annotated, types.UnionType, typing.Union}:
        kind = next(each for each in typing.get_args(kind) if each is not types.NoneType)
    return kind


def wrong_values(place: str, kind: Any) -> Values:
    """Give values that a setting does not take."""
    if place in WRONG:
        return WRONG[place]
    if typing.get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return SECTION
    if typing.get_origin(kind) is typing.Literal:
        return WORD
    if kind is str:
        return (*TEXT, "") if place.endswith(("_file", "path")) else TEXT
    return {bool: TRUTH}[kind]


ALL = dict(settings_of(Settings))
CASES = [(place, value) for place, kind in ALL.items() for value in wrong_values(place, kind)]


def steps_of(place: str) -> list[str]:
    """Split a place; a producer property has dots of its own."""
    before, found, after = place.partition(".producer.")
    return [*before.split("."), *(["producer", after] if found else [])]


def findings_of(folder: Path, place: str, value: object) -> list[Finding]:
    """Load a file without other errors; the setting is alone on its line."""
    lines, steps = ([] if place == "contract" else ["contract: asyncapi.yaml"]), steps_of(place)
    lines += [f"{'  ' * depth}{step}:" for depth, step in enumerate(steps)]
    lines[-1] += f" {json.dumps(value)}"
    path = folder / "gateway.yaml"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigurationError) as raised:
        load(path, {})
    return [one for one in raised.value.findings if one.message not in INCOMPLETE]


INCOMPLETE = {"This setting is missing."}  # a lone line of a section that has settings without a default


def test_the_table_names_settings_that_there_are() -> None:
    assert set(WRONG) - set(ALL) == set()


@pytest.mark.parametrize(("place", "value"), CASES, ids=[f"{place}={value!r}" for place, value in CASES])
def test_load_of_a_wrong_value_is_one_sentence_with_its_line(tmp_path: Path, place: str, value: object) -> None:
    """It says where, what is wrong, and what to write; the value itself may be a secret, and is not shown."""
    found = [
        one
        for one in findings_of(tmp_path, place, value)
        if not one.message.endswith(" is required with this setting.")
    ]
    assert len({one.path for one in found}) == 1, found
    [finding] = found
    line = len((tmp_path / "gateway.yaml").read_text().splitlines())
    assert (finding.source, finding.line, finding.path) == (str(tmp_path / "gateway.yaml"), line, place)
    assert finding.message.endswith(".")
    assert finding.fix.endswith((".", "?")), "what to do is said"
    assert "nonsense" not in str(finding)


@pytest.mark.parametrize("place", ALL)
def test_load_of_an_unknown_name_says_what_there_is(tmp_path: Path, place: str) -> None:
    """A name with an extra character is an error, and the right name is suggested."""
    *above, last = steps_of(place)
    if above[-1:] and above[-1] in NAMES:
        return  # a name that the contract or librdkafka knows, not this file
    [finding] = findings_of(tmp_path, ".".join([*above, f"{last}x"]), "nonsense")
    assert finding.message == "There is no such setting."
    assert last in finding.fix
    assert finding.line == len((tmp_path / "gateway.yaml").read_text().splitlines())
