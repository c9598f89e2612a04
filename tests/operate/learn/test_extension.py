"""The next version of a contract: each change is compatible in the mode of its subject, or said not to be."""

from __future__ import annotations

import json
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract import load
from gateway.installation import open_installation
from gateway.operate.learn import learn as learning
from gateway.operate.learn.contract_file import Site
from gateway.operate.learn.extension import Existing, read
from gateway.operate.listener import Terminal
from gateway.operate.recording import readings
from gateway.operate.schemas.subjects import Subjects
from tests.operate.test_learn import fields, recorded
from tests.stack.scripted_http import Scripted

if TYPE_CHECKING:
    from pathlib import Path

Messages = list[tuple[str, Any]]


def learn(folder: Path, messages: Messages, existing: Existing | None = None, registry: str = "") -> str:
    """Learn from messages; give the report."""
    lines: list[str] = []
    terminal = Terminal(lines.append, lambda _: None, Event)
    site = Site(registry=registry) if registry else Site()
    given = readings(recorded(folder.parent / f"{folder.name}-heard", messages))
    learning.learn(learning.Options(folder / "proposal", None, site=site, existing=existing), terminal, given)
    return "\n".join(lines)


def extended(folder: Path, before: Messages, after: Messages, mode: str) -> str:
    """Learn a contract, and extend it, with a registry whose subjects have a mode."""
    with Scripted(200, json.dumps({"compatibilityLevel": mode})) as registry:
        learn(folder / "first", before, registry=registry.url)
        installation = open_installation(folder / "first" / "proposal" / "gateway.yaml", {})
        existing = read(installation.settings.contract_path(), subjects=Subjects(installation.registry()))
        report = learn(folder / "next", after, existing)
    assert load(folder / "next" / "proposal" / "asyncapi.yaml").streams
    return report


BEFORE: Messages = [
    ("pumps/a", {"n": number, "mode": ("run", "stop")[number % 2], "t": 1.5, "text": 3}) for number in range(80)
]
AFTER: Messages = [
    *BEFORE, ("pumps/a", {"n": 1.5, "mode": "idle", "t": None, "text": "4", "rare": True}),
]  # fmt: skip
WIDER = {
    "n": "double", "mode": {"type": "enum", "name": "PumpsAMode", "symbols": ["run", "stop", "idle"]},
    "t": ["null", "double"], "text": "long", "rare": ["null", "boolean"],
}  # fmt: skip


@pytest.mark.parametrize("mode", ["BACKWARD", "BACKWARD_TRANSITIVE", "NONE"])
def test_fields_are_widened_where_the_mode_allows_it(tmp_path: Path, mode: str) -> None:
    report = extended(tmp_path, BEFORE, AFTER, mode)
    assert {name: one["type"] for name, one in fields(tmp_path / "next", "pumps_a").items()} == WIDER
    assert fields(tmp_path / "next", "pumps_a")["text"]["x-source"] == {"parse": "number"}
    assert f"Compatible in mode {mode} of the subject pumps-a-value." in report
    assert "81 of 81 messages fit (100.0 %)" in report


@pytest.mark.parametrize("mode", ["FORWARD", "FULL_TRANSITIVE"])
def test_what_the_mode_does_not_allow_is_said_and_not_changed(tmp_path: Path, mode: str) -> None:
    report = extended(tmp_path, BEFORE, AFTER, mode)
    found = fields(tmp_path / "next", "pumps_a")
    before = fields(tmp_path / "first", "pumps_a")
    assert {name: found[name]["type"] for name in ("n", "mode", "t")} == {
        name: before[name]["type"] for name in ("n", "mode", "t")
    }
    assert found["rare"]["type"] == ["null", "boolean"]
    assert f"/n: long becomes double: incompatible in mode {mode}, so it is not changed." in report
    assert "80 of 81 messages fit" in report


def test_arrays_and_several_messages_are_extended(tmp_path: Path) -> None:
    def messages(more: dict[str, Any]) -> Messages:
        flows = [("line/a", {"flow": 1.5, **more} if number % 2 else {"position": 3}) for number in range(60)]
        return [*flows, *[("lists/a", [{"v": 1.5, **more}, {"v": 2.5}])] * 9]

    report = extended(tmp_path, messages({}), messages({"new": 7}), "FULL")
    assert fields(tmp_path / "next", "lists_a")["new"]["type"] == ["null", "long"]
    assert fields(tmp_path / "next", "line_a_flow")["new"]["type"] == ["null", "long"]
    assert "new" not in fields(tmp_path / "next", "line_a_position")
    assert "9 of 9 messages fit (100.0 %)" in report


def test_examples_of_the_contract_still_fit_the_next_version(tmp_path: Path) -> None:
    """A member that no field reads may have anything in them."""
    before = [("rooms/a", {"t": 20.5, "odd": [1] if number % 2 else 3}) for number in range(9)]
    report = extended(tmp_path, before, [("rooms/a", {"t": 20.5, "odd": 3})] * 9, "BACKWARD")
    assert "/odd: No field reads it; not modelled" in report
    assert "odd" not in fields(tmp_path / "next", "rooms_a")


def test_limits_of_the_contract_are_widened(tmp_path: Path) -> None:
    """Without a registry the mode is taken to be that of most."""
    learn(tmp_path / "first", [("rooms/a", {"t": 20.5 + number}) for number in range(9)])
    path = tmp_path / "first" / "proposal" / "asyncapi.yaml"
    text = path.read_text()
    assert "    required: [t]" in text
    limits = "properties:\n          t: {type: number, minimum: 20, maximum: 30}\n        required: [t]"
    path.write_text(text.replace("required: [t]", limits, 1))
    report = learn(tmp_path / "next", [("rooms/a", {"t": 19.5, "h": 1})] * 3, read(path))
    assert "t: {type: number, minimum: 19.5, maximum: 30}" in (tmp_path / "next/proposal/asyncapi.yaml").read_text()
    assert "Compatible in mode BACKWARD, which is taken for granted" in report
    assert "3 of 3 messages fit (100.0 %)" in report
