"""`gateway learn` as users run it, at a real Mosquitto that has several installations at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.operate.learn.campaign import run
from tests.operate.learn.installations import Installation, homes, meters

if TYPE_CHECKING:
    from pathlib import Path

TOGETHER = (homes.zigbee, homes.tasmota, homes.esphome, meters.heishamon, meters.venus_os)


def test_several_installations_are_learnt_from_a_broker(tmp_path: Path) -> None:
    """Ten minutes in two seconds: streams of families and others, and what is retained, each as if it were alone."""
    together = Installation(
        "together",
        [source for one in TOGETHER for source in one.sources],
        {address for one in TOGETHER for address in one.addresses},
        {topic: payload for one in TOGETHER for topic, payload in one.retained.items()},
        {family for one in TOGETHER for family in one.families},
        ignored=tuple(part for one in TOGETHER for part in one.ignored),
    )
    outcome = run(together, tmp_path, seconds=2, hour=600)
    assert outcome.learnt.addresses == together.addresses, outcome.learnt.report
    assert outcome.are_families_right
    assert outcome.check == 0
    assert outcome.accepted == 1, outcome.fates
