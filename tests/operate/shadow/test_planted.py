"""Each change of a contract is named in its class, with the exact number of messages, and nothing else is."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.operate.shadow.comparison import ADDITIONS
from tests.operate.shadow.planted import PLANTED
from tests.operate.shadow.rig import Bakery, messages

MESSAGES = 300


@pytest.fixture(scope="module")
def bakery(tmp_path_factory: pytest.TempPathFactory) -> Bakery:
    return Bakery(tmp_path_factory.mktemp("bakery"))


def check(bakery: Bakery, name: str, count: int) -> None:
    """Compare what `shadow` counts with what the change makes of so many messages."""
    planted = PLANTED[name]
    result = bakery.shadow(bakery.changed(*planted.edits), count)
    sent = list(messages(count))
    expected = {place: sum(which(one) for one in sent) if which else 0 for place, which in planted.differences.items()}
    counted = Counter[tuple[str, str]]()
    for one in result.groups:
        counted[one.kind, one.where] += one.readings  # of several streams
    assert counted == expected
    changed = {one.number for which in planted.differences.values() if which for one in sent if which(one)}
    assert (result.as_json()["readings"], result.as_json()["same"]) == (count, count - len(changed))
    assert bool(result.exit_code) == any(kind not in ADDITIONS for kind, _ in planted.differences)
    assert all(len(one.samples) == min(3, one.readings) for one in result.groups if one.stream.startswith("receive"))


@pytest.mark.parametrize("name", PLANTED)
def test_a_change_is_counted_exactly(bakery: Bakery, name: str) -> None:
    check(bakery, name, MESSAGES)
