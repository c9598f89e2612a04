"""A bakery whose contract is that of `docs/steps/12`: what it publishes, and what a changed contract would change.

Every message has a number, and its parts depend on that alone, so a test can say how many have which difference.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.reading import Reading
from gateway.installation import open_installation
from gateway.operate.recording import STREAM
from gateway.operate.shadow.report import Report, report
from gateway.operate.shadow.shadow import Shadow
from tests.stack.gateway import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NOW = 1_796_000_000_000
STEP = ROOT / "docs" / "steps" / "12"


class Message(NamedTuple):
    """A message of the bakery."""

    number: int
    kind: str  # oven, broken, door, plug, scales, motor, lamp
    topic: str
    payload: Any
    properties: bytes = b""

    @property
    def reading(self) -> Reading:
        """The message as it was heard."""
        text = self.payload if isinstance(self.payload, str) else json.dumps(self.payload)
        at = NOW + 1_000 * self.number
        return Reading(STREAM, self.topic.encode(), text.encode(), at, properties=self.properties)


def _property(name: str, value: str) -> bytes:
    parts = (len(part).to_bytes(2) + part for part in (name.encode(), value.encode()))
    return b"\x26" + b"".join(parts)


def message(number: int) -> Message:  # noqa: PLR0911 - one return a kind
    """Make the message of a number."""
    turn, place = divmod(number, 10)
    at = NOW // 1_000 + number - 5
    match place:
        case 2 | 9:
            return Message(
                number, "door", f"doors/{('hall', 'yard')[turn % 2]}/state", ("open", "shut", "ajar")[turn % 3]
            )
        case 3:
            return Message(number, "plug", f"plugs/{('mixer', 'fridge')[turn % 2]}/power", str(turn * 7 % 80 / 2))
        case 4:
            each = [{"at": 1_000 * at + n, "weight": 500 + turn % 7 + n} for n in range(2)]
            return Message(number, "scales", f"scales/s{turn % 3}", each)
        case 5:
            payload = {"measured_at": 1_000 * at, "radial": {"rms": 2.1, "peak": 7 + turn % 5}, "axial": {"rms": 0.8}}
            properties = _property("traceparent", f"00-{turn:032x}-01") + _property("firmware", f"2.{turn % 2}")
            return Message(number, "motor", f"motors/fan-{turn % 4}/vibration", payload, properties)
        case 6:
            return Message(number, "lamp", f"lamps/l{turn % 2}", {"lux": turn})
        case 7:
            return Message(number, "broken", "ovens/bread-9", {"probe": {"dC": "hot"}, "at": at})
        case _:
            named = {"oven": f"bread-{turn % 4}"} if turn % 2 else {}
            sent = {**named, "probe": {"dC": 2_000 + number * 7 % 500}, "at": at, "firmware": "1.0.3"}
            return Message(number, "oven", f"ovens/bread-{turn % 4}", sent)


def messages(count: int) -> Iterator[Message]:
    """Make so many messages."""
    return map(message, range(count))


Edit = tuple[str, str, str]  # file, text, what it is replaced by


class Bakery:
    """The present contract and the settings, in a folder; `changed` makes the next version."""

    def __init__(self, folder: Path, step: Path = STEP) -> None:
        self.folder = folder
        self.present = shutil.copytree(step, folder / "present")
        self.settings = folder / "gateway.yaml"
        servers = {"kafka": {"registry": {"url": "http://127.0.0.1:1"}}}
        self.settings.write_text(json.dumps({"contract": str(self.present / "asyncapi.yaml"), "servers": servers}))
        self.installation = open_installation(self.settings, {})

    def changed(self, *edits: Edit) -> Path:
        """Copy the contract, with edits, each of which must apply."""
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        new = shutil.copytree(self.present, self.folder / "new")
        for name, old, text in edits:
            before = (new / name).read_text()
            assert old in before, f"{name} has no {old}"
            (new / name).write_text(before.replace(old, text))
        return new / "asyncapi.yaml"

    def shadow(self, contract: Path, count: int, *expectations: str, shows_values: bool = True) -> Report:
        """Let both contracts take so many messages."""
        readings = (one.reading for one in messages(count))
        return self.shadow_of(readings, contract, *expectations, shows_values=shows_values)

    def shadow_of(
        self, readings: Iterable[Reading], contract: Path, *expectations: str, shows_values: bool = True
    ) -> Report:
        """Let both contracts take readings."""
        run = Shadow(self.installation, contract, shows_values=shows_values)
        run.take(readings)
        return report(run, "made", "", list(expectations))
