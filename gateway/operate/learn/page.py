"""The report as a page, with the rates of the streams, the evidence of their fields, and all topics.

It is one file without script, which opens offline. Rates are drawn with characters, so the page needs no images.
"""

from __future__ import annotations

import json
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from gateway.core.topic_index import UNMAPPED
from gateway.operate.learn.findings import lines, share
from gateway.operate.learn.score import BUCKETS
from gateway.operate.learn.types import pascal
from gateway.page.blocks import Block, Bullets, Code, Heading, Listing, Table
from gateway.page.html import write
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.operate.learn.evidence import Traffic
    from gateway.operate.learn.findings import Proposal
    from gateway.operate.learn.proposal import Message
    from gateway.operate.learn.score import StreamScore
    from gateway.page.blocks import Phrase

LEVELS = "▁▂▃▄▅▆▇█"
MAX_LINES = 2_000  # of the tree of topics
MAX_BYTES = 100  # of a level, and of a topic in a list
SHOWN = 50  # of a list in the report


def page(traffic: Traffic, proposal: Proposal, scores: Mapping[str, StreamScore]) -> str:
    """Write the page."""
    report = [(line.strip(),) for line in lines(traffic, proposal, scores, shown=SHOWN)]
    title = Heading(1, "What gateway learn received")
    return write([title, Bullets(tuple(report)), *_streams(proposal, scores), *_topics(traffic)]).text


def _streams(proposal: Proposal, scores: Mapping[str, StreamScore]) -> Iterator[Block]:
    by_name = {f"receive{pascal(one.name)}": one for one in proposal.streams}
    used = {name: one for name, one in scores.items() if one.received and name != UNMAPPED}
    yield Heading(2, "Streams", "streams")
    rows: list[tuple[Phrase, ...]] = [
        ((Code(name),), (Code(by_name[name].address),) if name in by_name else ("of the contract or a family",),
         (f"{one.received:,}",), (share(one.fit, one.received),), (sparkline(one),))
        for name, one in used.items()
    ]  # fmt: skip
    head = ("stream", "address", "messages", "fit", "rate")
    yield Table("What was received of each, and how much of it fits", head, tuple(rows))
    for name in filter(by_name.get, used):
        yield Heading(3, name, name, is_code=True)
        yield from map(_fields, by_name[name].messages)


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


def _topics(traffic: Traffic) -> Iterator[Block]:
    yield Heading(2, "Topics", "topics")
    tree, shown = list[str](), list[str]()
    for name, topic in sorted(traffic.topics.items(), key=lambda each: each[1].levels):
        same = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(topic.levels, shown, strict=False)))
        for place in range(min(same, len(topic.levels) - 1), len(topic.levels)):
            is_last = place == len(topic.levels) - 1
            count = f"  {topic.messages:,}" if is_last else ""
            tree.append(f"{'  ' * place}{printable(cut(topic.levels[place], MAX_BYTES))}{count}")
        shown = list(topic.levels)
        if len(tree) > MAX_LINES:
            tree.append(f"... up to {printable(cut(name, MAX_BYTES))}; there are more")
            break
    yield Listing("Topics by level, with the number of their messages", "\n".join(tree))


def sparkline(one: StreamScore) -> str:
    """Draw messages over time as text."""
    counts = [one.times[bucket] for bucket in range(BUCKETS)]
    return "".join(LEVELS[round((len(LEVELS) - 1) * count / max(*counts, 1))] for count in counts)
