"""`docs/devices.md` is true: its messages become its records, and it has every family."""

from __future__ import annotations

import json
import re

import pytest

from gateway.operate.init import family as families
from tests.families.harness import Published, check
from tests.families.test_families import contract_of, outcomes_of
from tests.stack.gateway import ROOT

PAGE = (ROOT / "docs" / "devices.md").read_text()
SECTIONS = {text.partition("\n")[0]: text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}


def blocks(section: str, language: str) -> list[list[str]]:
    return [body.splitlines() for body in re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)]


def joined(lines: list[str]) -> list[str]:
    """The messages of a block: a telegram has several lines, the last of which begins with `!`."""
    messages: list[str] = []
    for line in lines:
        if messages and " /" in messages[-1] and "\n!" not in messages[-1]:
            messages[-1] += f"\n{line}"
        else:
            messages.append(line)
    return messages


def test_the_page_has_every_family() -> None:
    assert sorted(SECTIONS) == families.names()
    assert re.findall(r"^\| \[`([a-z0-9-]+)`\]", PAGE, re.MULTILINE) == families.names()


@pytest.mark.parametrize("name", SECTIONS)
def test_the_messages_of_a_section_become_its_records(name: str) -> None:
    """The records of all messages of a block, in order, are those of the block below it."""
    published, shown = blocks(SECTIONS[name], "text"), blocks(SECTIONS[name], "json")
    assert len(published) == len(shown) > 0
    outcomes = outcomes_of(contract_of(name))
    for messages, records in zip(published, shown, strict=True):
        expected = [json.loads(line) for line in records]
        for message in joined(messages):
            topic, _, payload = message.partition(" ")
            made = outcomes.of(topic, payload.encode())
            own = [expected.pop(0) for _ in made] if isinstance(made, list) else []
            dropped = made.removeprefix("dropped: ") if isinstance(made, str) else None
            check(outcomes, Published(message, topic, payload, records=own, dropped=dropped))
        assert expected == []


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_names_the_topics(name: str) -> None:
    topics = {route.topic.name for stream in outcomes_of(contract_of(name)).streams.values() for route in stream.routes}
    assert [topic for topic in topics if f"`{topic}`" not in SECTIONS[name]] == []
