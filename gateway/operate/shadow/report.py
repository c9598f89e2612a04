"""The result of a shadow run: text and Markdown for people, who see the same rows, and JSON.

The shape of the JSON is kept compatible: members may be added, none is changed or removed.

    {"format": 1, "exit_code": 1, "present": "asyncapi.yaml", "new": "next/asyncapi.yaml", "source": "traffic.db",
     "note": "", "readings": 600, "same": 540,
     "streams": [{"stream": "receiveDoors", "readings": 300, "same": 240}],
     "differences": [{"stream": "receiveDoors", "kind": "dead", "where": "not_allowed /state", "readings": 60,
                      "moved": 0, "addition": false, "expected": false,
                      "samples": [{"topic": "doors/a", "before": "door-sensors", "after": "...", "payload": "..."}]}],
     "schemas": [], "unmatched": ["value:/temperature"]}

`schemas` has the reviews of `gateway schemas check`, `unmatched` the `--expect` that named no difference.
"""

from __future__ import annotations

from dataclasses import asdict
from os.path import relpath
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.errors import ExitCode
from gateway.operate.shadow.comparison import ADDITIONS, KINDS
from gateway.operate.table import table
from gateway.page import markdown
from gateway.page.blocks import Bullets, Code, Heading, Paragraph, Table
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.operate.schemas.review import Review
    from gateway.operate.shadow.shadow import Shadow
    from gateway.operate.shadow.tally import Group, Sample

STREAMS = ("stream", "readings", "same")
HEADS = ("stream", "difference", "where", "readings", "from", "to", "sample")


class Report(NamedTuple):
    """What a shadow run has found out."""

    present: str
    new: str
    source: str  # of the readings
    note: str  # on messages that may be missing
    streams: tuple[tuple[str, int, int], ...]  # with readings, and those that stay the same
    groups: tuple[Group, ...]
    reviews: tuple[Review, ...]
    unmatched: tuple[str, ...]  # expectations

    @property
    def exit_code(self) -> ExitCode:
        """A failure when something differs that is no addition and was not expected."""
        differs = any(not (one.is_addition or one.is_expected) for one in self.groups)
        return ExitCode.FAILURE if differs else ExitCode.SUCCESS

    def as_json(self) -> dict[str, Any]:
        """The members that the module's docstring lists."""
        return {
            "format": 1, "exit_code": self.exit_code, "present": self.present, "new": self.new, "source": self.source,
            "note": self.note, "readings": self._readings, "same": self._same,
            "streams": [dict(zip(STREAMS, one, strict=True)) for one in self.streams],
            "differences": [_as_json(one) for one in self.groups],
            "schemas": [one.as_json() for one in self.reviews], "unmatched": self.unmatched,
        }  # fmt: skip

    def as_text(self) -> str:
        """Tables, and below them the outcome in a line."""
        parts = [table(STREAMS, self.streams)] if self.streams else []
        parts += [table(HEADS, self._rows())] if self.groups else []
        parts += ["\n".join(one.as_text() for one in self.reviews)] if self.reviews else []
        return "\n\n".join([*parts, "\n".join(self._outcome())])

    def as_markdown(self) -> str:
        """The same for a pull request."""
        blocks: list[Any] = [Heading(1, "Shadow run"), Paragraph((self._outcome()[0],))]
        for caption, heads, rows in (("Readings", STREAMS, self.streams), ("Differences", HEADS, [*self._rows()])):
            cells = tuple(tuple((Code(str(cell)),) if str(cell) else ("",) for cell in row) for row in rows)
            blocks += [Table(caption, heads, cells)] if rows else []
        reviews = [line for one in self.reviews for line in one.as_text().split("\n")]
        blocks += [Bullets(tuple((line,) for line in lines)) for lines in (reviews, self._outcome()[1:]) if lines]
        return markdown.write(blocks)

    @property
    def _readings(self) -> int:
        return sum(readings for _, readings, _ in self.streams)

    @property
    def _same(self) -> int:
        return sum(same for _, _, same in self.streams)

    def _rows(self) -> Iterator[tuple[object, ...]]:
        """Write each group with its first sample, and the other samples below it."""
        names = KINDS | ADDITIONS
        for one in self.groups:
            kind = f"{names[one.kind]}{' (expected)' if one.is_expected else ''}"
            where = f"{one.where}, {one.moved:,} to another partition" if one.moved else one.where
            first, *more = map(_cells, one.samples) if one.samples else [("", "", "")]
            yield one.stream, kind, where, f"{one.readings:,}", *first
            yield from (("", "", "", "", *cells) for cells in more)

    def _outcome(self) -> list[str]:
        by = f"({self.source}) by {self.present} and {self.new}"
        counts = f"{self._same:,} are the same, {self._readings - self._same:,} differ"
        lines = [f"{self._readings:,} readings {by}: {counts}.", *([self.note] if self.note else [])]
        lines += [f"--expect {one} names no difference." for one in self.unmatched]
        return [printable(one) for one in (*lines, _VERDICTS[bool(self.exit_code), bool(self.groups)])]


_VERDICTS = {
    (False, False): "Consumers notice nothing.",
    (False, True): "Only additions, or what was expected.",
    (True, True): "Consumers notice differences. Those that are meant: --expect KIND:WHERE.",
}


def _cells(sample: Sample) -> tuple[str, str, str]:
    return sample.before, sample.after, f"{sample.topic} {sample.payload}"


def _as_json(group: Group) -> dict[str, Any]:
    members = asdict(group)
    expected, samples = members.pop("is_expected"), [one._asdict() for one in members.pop("samples")]
    return {**members, "addition": group.is_addition, "expected": expected, "samples": samples}


def report(shadow: Shadow, source: str, note: str, expectations: list[str]) -> Report:
    """Write the result of a run, in which some differences were expected."""
    tally = shadow.tally
    unmatched = tally.expect(expectations)
    streams = tuple((name, count, tally.same[name]) for name, count in sorted(tally.readings.items()))
    present, new = (relpath(one.contract.path) for one in (shadow.installation, shadow.new))
    return Report(present, new, source, note, streams, tuple(tally.groups), tuple(shadow.reviews), tuple(unmatched))
