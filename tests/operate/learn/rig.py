"""What is learnt from an installation, and how its own messages fare by it; without a broker."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from gateway.core.reading import Reading
from gateway.operate.learn import learn as learning
from gateway.operate.listener import Terminal
from tests.families.harness import Outcomes
from tests.operate.learn.installations.installation import HOUR, Clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.operate.learn.installations import Installation, Message


@dataclass
class Learnt:
    """A proposal, and what was reported about it."""

    folder: Path
    report: str
    outcomes: Outcomes

    @property
    def addresses(self) -> set[str]:
        """Of the streams that are proposed."""
        return {one.address.text for one in self.outcomes.streams.values()}

    @property
    def families(self) -> set[str]:
        """Of devices, that are recognised."""
        return set(re.findall(r"^Family ([\w-]+):", self.report, re.MULTILINE))

    @property
    def errors(self) -> list[str]:
        """What `gateway check` would fail for."""
        return [str(one) for one in self.outcomes.findings if one.severity == "error"]

    @property
    def texts(self) -> str:
        """The report, the contract and the schemas."""
        files = sorted(path for path in self.folder.iterdir() if path.suffix in {".yaml", ".avsc"})
        return "\n".join([self.report, *(path.read_text() for path in files)])

    def fate(self, messages: list[Message], ignored: tuple[str, ...]) -> Counter[str]:
        """Count what becomes of messages, without those that are no readings."""
        fates: Counter[str] = Counter()
        for one in messages:
            if not any(part in one.topic for part in ignored):
                outcome = self.outcomes.of(one.topic, one.payload)
                fates["record" if isinstance(outcome, list) else outcome] += 1
        return fates


def learn(installation: Installation, folder: Path, seconds: int = HOUR) -> Learnt:
    """Learn from what an installation publishes."""
    lines: list[str] = []
    options = learning.Options(folder, None)
    terminal = Terminal(lines.append, lambda _: None, Event)
    learning.learn(options, terminal, readings(installation, seconds))
    return Learnt(folder, "\n".join(lines), Outcomes(folder / "asyncapi.yaml"))


def readings(installation: Installation, seconds: int) -> Iterator[Reading]:
    """Give the messages of an installation as they arrive."""
    for one in installation.messages(seconds):
        received_at = int((Clock.start + one.second) * 1000)
        yield Reading("heard", one.topic.encode(), one.payload, received_at, retain=one.second < 0)


def accepted(fates: Counter[str]) -> float:
    """The share of messages that become records, or that a stream ignores."""
    return (fates["record"] + fates["dropped: ignored"]) / max(fates.total(), 1)
