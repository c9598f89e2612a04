"""The report as a page: what was heard, the streams with their evidence and their rates, and what was not understood.

It is one file without script, which opens offline. Rates are characters, so that they are text like all else.
"""

from __future__ import annotations

import json
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from gateway.core.topic_index import UNMAPPED
from gateway.operate.learn.findings import by_reason, share
from gateway.operate.learn.score import BUCKETS
from gateway.operate.learn.types import pascal
from gateway.page.blocks import Block, Bullets, Code, Facts, Heading, Listing, Paragraph, Table
from gateway.page.html import write
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.operate.learn.evidence import Traffic
    from gateway.operate.learn.findings import Proposal
    from gateway.operate.learn.proposal import Message, Note, Stream
    from gateway.operate.learn.score import StreamScore
    from gateway.page.blocks import Phrase

LEVELS = "▁▂▃▄▅▆▇█"
MAX_LINES = 2_000  # of the tree of topics
MAX_BYTES = 100  # of a level, and of a topic in a list
SHOWN = 50  # topics for each reason


def page(traffic: Traffic, proposal: Proposal, scores: Mapping[str, StreamScore]) -> str:
    """Write the page."""
    return write([*_summary(traffic, scores), *_streams(proposal, scores), *_rest(proposal), *_topics(traffic)]).text


def _summary(traffic: Traffic, scores: Mapping[str, StreamScore]) -> Iterator[Block]:
    heard, fit = (sum(getattr(one, name) for one in scores.values()) for name in ("heard", "fit"))
    taken = heard - scores[UNMAPPED].heard
    yield Heading(1, "What gateway learn heard")
    yield Facts((
        ("Messages", (f"{heard:,} on {len(traffic.topics):,} topics",)),
        ("With a stream", (f"{taken:,}, of which {fit:,} fit ({share(fit, taken)})",)),
        ("Topics that were not learned", (f"{len(traffic.others):,}",)),
    ))  # fmt: skip


def _streams(proposal: Proposal, scores: Mapping[str, StreamScore]) -> Iterator[Block]:
    by_name = {f"receive{pascal(one.name)}": one for one in proposal.streams}
    used = {name: one for name, one in scores.items() if one.heard and name != UNMAPPED}
    yield Heading(2, "Streams", "streams")
    rows: list[tuple[Phrase, ...]] = [
        ((Code(name),), (Code(by_name[name].address),) if name in by_name else ("of the contract or a family",),
         (f"{one.heard:,}",), (share(one.fit, one.heard),), (sparkline(one),))
        for name, one in used.items()
    ]  # fmt: skip
    yield Table(
        "What was heard of each, and how much of it fits", ("stream", "address", "messages", "fit", "rate"), tuple(rows)
    )
    for name, one in used.items():
        stream, more = by_name.get(name), proposal.more.notes.get(name, [])
        if stream or one.reasons or more:
            yield Heading(3, name, name, is_code=True)
            yield from _stream(stream, one, [*(stream.notes if stream else ()), *more])


def _stream(stream: Stream | None, its: StreamScore, notes: list[Note]) -> Iterator[Block]:
    unfit = [
        (f"{count:,} would be dead letters: {reason} {pointer}: {its.details[reason, pointer]}",)
        for (reason, pointer), count in its.reasons.most_common()
    ]
    if unfit or notes:
        yield Bullets((*unfit, *((Code(one.pointer or "payload"), f" {one.text}") for one in notes)))
    for message in stream.messages if stream else ():
        yield _fields(message)


def _fields(message: Message) -> Table:
    rows: list[tuple[Phrase, ...]] = [
        ((Code(one["name"]),), (Code(_type(one["type"])),), (one.get("unit", ""),), (one["doc"],),
         (Code(json.dumps(one["x-source"], ensure_ascii=False)),) if "x-source" in one else ())
        for one in message.definition["fields"]
    ]  # fmt: skip
    return Table(f"Record {message.definition['name']}", ("field", "type", "unit", "evidence", "x-source"), tuple(rows))


def _type(avro: Any) -> str:
    """Write a type in short."""
    if isinstance(avro, list):
        return " | ".join(map(_type, avro))
    if not isinstance(avro, dict):
        return str(avro)
    inner = avro.get("items", avro.get("values"))
    name = avro.get("logicalType") or avro.get("name") or avro["type"]
    return f"{name} of {_type(inner)}" if inner else str(name)


def _rest(proposal: Proposal) -> Iterator[Block]:
    if proposal.families:
        yield Heading(2, "Families", "families")
        heads = ("family", "topics", "with readings", "to know")
        rows: list[tuple[Phrase, ...]] = [
            ((Code(one.family.name),), (f"{len(one.topics):,}",), (f"{one.wanted:,}",),
             (" ".join(f"{note.pointer}: {note.text}" for note in one.notes),))
            for one in proposal.families
        ]  # fmt: skip
        yield Table("Devices whose contract comes with the gateway", heads, tuple(rows))
    if proposal.left_out:
        yield Heading(2, "Topics without a stream", "without-stream")
        for why, names in by_reason(proposal).items():
            yield Paragraph((f"{why}: {len(names):,}",))
            yield Bullets(tuple((Code(cut(name, MAX_BYTES)),) for name in names[:SHOWN]))


def _topics(traffic: Traffic) -> Iterator[Block]:
    yield Heading(2, "Topics", "topics")
    lines, shown = list[str](), list[str]()
    for name, topic in sorted(traffic.topics.items(), key=lambda each: each[1].levels):
        same = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(topic.levels, shown, strict=False)))
        for place in range(min(same, len(topic.levels) - 1), len(topic.levels)):
            is_last = place == len(topic.levels) - 1
            count = f"  {topic.messages:,}" if is_last else ""
            lines.append(f"{'  ' * place}{printable(cut(topic.levels[place], MAX_BYTES))}{count}")
        shown = list(topic.levels)
        if len(lines) > MAX_LINES:
            lines.append(f"... up to {printable(cut(name, MAX_BYTES))}; there are more")
            break
    yield Listing("Topics by level, with the number of their messages", "\n".join(lines))


def sparkline(one: StreamScore) -> str:
    """Draw messages over time as text."""
    counts = [one.times[bucket] for bucket in range(BUCKETS)]
    return "".join(LEVELS[round((len(LEVELS) - 1) * count / max(*counts, 1))] for count in counts)
