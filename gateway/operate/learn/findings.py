"""All that was received -> what is proposed, what is not and why; and the report of it for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.address import Address
from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.operate.learn.devices import Recognised, addresses_of, in_zone, recognised
from gateway.operate.learn.evidence import LIMITS
from gateway.operate.learn.extension import Extension, extension
from gateway.operate.learn.proposal import Names, Note, Stream, streams
from gateway.operate.learn.record import describe, notes_of_times
from gateway.operate.learn.types import pascal
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gateway.core.reading import Reading
    from gateway.operate.learn.descriptions import Described
    from gateway.operate.learn.evidence import Shape, Topic, Traffic
    from gateway.operate.learn.extension import Existing
    from gateway.operate.learn.score import StreamScore

SHOWN = 10  # of a list in the report
MAX_BYTES = 100  # of a topic in it
MAX_IGNORED = 50
ATTRIBUTES = "attributes of devices, as Homie marks them by a $"
COMMAND = "a command to a device, by its name"
DESCRIPTION, AVAILABILITY = "a description of devices", "says only whether a device is connected"
NOT_READINGS, RETAINED = "no readings, by a description", "only a retained message, and nothing else looks like it"
NOTHING_FITS = "nothing of which a record could be made"
COMMANDS = {"set", "get", "command", "commands", "cmd", "cmnd"}  # levels of topics to which devices listen
WHAT = "{what}"


class Proposal(NamedTuple):
    """What is proposed."""

    streams: list[Stream]
    families: list[Recognised]
    ignored: list[Address]  # of messages that are not wanted
    left_out: dict[str, str]  # topic -> why it has no stream
    more: Extension  # of an existing contract

    def without(self, unfit: Mapping[str, str]) -> Proposal:
        """Leave streams out, each with its reason."""
        kept = [one for one in self.streams if one.name not in unfit]
        gone = {topic.name: unfit[one.name] for one in self.streams if one.name in unfit for topic in one.topics}
        return self._replace(streams=kept, left_out={**self.left_out, **gone})


def propose(
    traffic: Traffic, existing: Existing | None, readings: Iterable[Reading] = (), *, shows_values: bool
) -> Proposal:
    """Propose streams and families for topics that an existing contract does not describe; extend it by readings."""
    descriptions = {one.topic: one for one in traffic.descriptions.merged()}
    known = existing.contract.addresses() if existing else []
    stream_of = topic_index(known)
    topics = {name: topic for name, topic in sorted(traffic.topics.items()) if stream_of(name) == UNMAPPED}
    found = recognised(topics)
    taken = frozenset[bytes]().union(*(one.topics for one in found))
    left = [topic for name, topic in topics.items() if name not in taken]
    left_out = _left_out(left, descriptions)
    names = existing.names if existing else Names(["dead_letters"])
    others = [one.filter for each in found for one in addresses_of(each.family)] + [one.filter for _, one in known]
    proposed = streams([one for one in left if one.name not in left_out], descriptions, names, others)
    for stream in proposed:
        for message in stream.messages:
            describe(stream, message, shows_values=shows_values)
        if cut := max(topic.cut for topic in stream.topics):
            stream.notes.append(Note("", f"{cut:,} members of a payload were not looked at: {LIMITS}."))
    found = [_noted(one, [topics[name] for name in sorted(one.topics)], traffic.span[1]) for one in found]
    ignored = sorted(set(_ignored(proposed, left_out, descriptions)), key=lambda each: each.text)[:MAX_IGNORED]
    more = extension(existing, readings, shows_values=shows_values) if existing else Extension({}, {})
    made = Proposal(proposed, found, ignored, {**left_out, **traffic.unfit}, more)
    return made.without({one.name: NOTHING_FITS for one in proposed if len(one.empty) == len(one.messages)})


def _noted(family: Recognised, topics: list[Topic], now: int) -> Recognised:
    """Add notes on the clocks of its devices to a family."""
    return in_zone(family._replace(notes=list(notes_of_times(topics))), topics, now)


def _left_out(topics: Iterable[Topic], descriptions: Mapping[str, Described]) -> dict[str, str]:
    """Give the reason for each topic that gets no stream."""
    filters = {each for one in descriptions.values() for each in one.ignored}
    is_ignored, left = topic_index((), sorted(filters)), dict[str, str]()
    live = {each for topic in topics for shape in topic.shapes[False] for each in _looks(shape)}
    for topic in topics:
        if topic.is_description:
            left[topic.name] = DESCRIPTION
        elif is_ignored(topic.name.encode()) != UNMAPPED:
            left[topic.name] = NOT_READINGS
        elif not topic.learned:
            left[topic.name] = ", ".join(sorted(topic.unread)) or "empty"
        elif any(level.startswith("$") for level in topic.levels):
            left[topic.name] = ATTRIBUTES
        elif topic.is_availability:
            left[topic.name] = AVAILABILITY
        elif _command(topic.levels) is not None and topic.name not in descriptions:
            left[topic.name] = COMMAND
        elif live and not topic.shapes[False] and not any(live & _looks(shape) for shape in topic.learned):
            left[topic.name] = RETAINED
    return left


def _command(levels: Sequence[str]) -> int | None:
    """The place of the level that says that a topic is a command: the first, or one of the last two."""
    places = (place for place in (0, len(levels) - 2, len(levels) - 1) if len(levels) > 1)
    return next((place for place in places if levels[place].lower() in COMMANDS), None)


def _looks(shape: Shape) -> set[frozenset[Any]]:
    """What another shape must have to look like it: its members with their kinds, or the same members."""
    return {shape.features, *([shape.names] if isinstance(shape.names, frozenset) else [])}


def _ignored(
    proposed: Iterable[Stream], left_out: Mapping[str, str], descriptions: Mapping[str, Described]
) -> Iterator[Address]:
    """Find the addresses of messages that a proposed stream would bring, and that are no readings."""
    reasons = {DESCRIPTION, AVAILABILITY, NOT_READINGS, COMMAND, ATTRIBUTES}
    unwanted = [name for name, why in left_out.items() if why in reasons]
    bridges = [each[:-2] for each in (descriptions[""].ignored if "" in descriptions else ()) if each.endswith("/#")]
    for stream in proposed:
        address = stream.parsed
        brought = topic_index([(stream.name, address)])
        every = {f"{each}/{WHAT}" for each in bridges if address.match(f"{each}/what") is not None}
        for topic in stream.topics if address.is_multi else ():
            for each in descriptions[topic.name].ignored if topic.name in descriptions else ():
                every.add(each.replace(topic.name, stream.address).removesuffix("/#"))
        multi = [WHAT[1:-1], *(one.name for one in stream.parameters if one.is_multi)]
        found = [Address.parse(each, multi) for each in sorted(every)]
        for name in unwanted:
            if brought(name.encode()) != UNMAPPED and all(one.match(name) is None for one in found):
                found.append(_like(address, name, multi))
        yield from found


def _like(address: Address, topic: str, multi: Sequence[str]) -> Address:
    """Give the address of all topics that say by the same level that they are no readings."""
    levels = topic.split("/")
    command = _command(levels)
    marks = {place for place, text in enumerate(levels) if text.startswith("$")}
    marks = marks or {len(levels) - 1 if command is None else command}
    if len(levels) != len(address.levels) or address.is_multi or {*"{}"} & {*topic}:
        ends = address.is_multi and address.levels[-1].is_multi and marks == {len(levels) - 1}
        return Address.parse(f"{address.text}/{levels[-1]}" if ends else topic, multi)
    parts = zip(address.text.split("/"), levels, strict=True)
    alike = "/".join(text if place in marks else part for place, (part, text) in enumerate(parts))
    return Address.parse(topic if alike == address.text else alike, multi)


# --- for people --------------------------------------------------------------------------------------------------


def lines(traffic: Traffic, proposal: Proposal, scores: Mapping[str, StreamScore], shown: int = SHOWN) -> Iterator[str]:
    """Report what was received and what is proposed; `shown` is how much of a list."""
    count, fit = (sum(getattr(one, name) for one in scores.values()) for name in ("received", "fit"))
    taken = count - scores[UNMAPPED].received
    yield f"Received {count:,} messages on {len(traffic.topics):,} topics."
    yield f"The proposal has streams for {taken:,} of them; {fit:,} of these fit ({share(fit, taken)})."
    if traffic.others:
        yield f"  {len(traffic.others):,} more topics were received and not learned; narrow them with --topics."
    for one in proposal.families:
        yield f"Family {one.family.name}: {count_of(len(one.topics), 'topic')}, {one.wanted:,} of them with readings."
        yield from _note_lines(one.notes)
    by_name = {f"receive{pascal(one.name)}": one for one in proposal.streams}
    for name, its in scores.items():
        if name != UNMAPPED and its.received:
            yield from _stream_lines(name, its, by_name.get(name))
            yield from _note_lines(proposal.more.notes.get(name, ()))
    yield from _note_lines(proposal.more.notes.get("", ()))
    yield from _left_lines(traffic, proposal, scores[UNMAPPED], shown)


def _stream_lines(name: str, its: StreamScore, stream: Stream | None) -> Iterator[str]:
    address = f" {stream.address}" if stream else ""
    yield printable(f"{name}{address}: {its.fit:,} of {its.received:,} messages fit ({share(its.fit, its.received)})")
    if stream and len(stream.messages) > 1:
        yield printable(f"  messages: {', '.join(one.name for one in stream.messages)}")
    for (reason, pointer), count in its.reasons.most_common(SHOWN):
        yield printable(f"  {count:,} would be dead letters: {reason} {pointer}: {its.details[reason, pointer]}")
    yield from _note_lines(stream.notes if stream else ())


def _note_lines(notes: Iterable[Note]) -> Iterator[str]:
    yield from (printable(f"  {one.pointer or 'payload'}: {one.text}") for one in notes)


def _left_lines(traffic: Traffic, proposal: Proposal, unmapped: StreamScore, shown: int) -> Iterator[str]:
    if not proposal.left_out:
        return
    yield f"{len(proposal.left_out):,} topics have no stream; no stream takes {unmapped.received:,} of their messages."
    every: dict[str, list[str]] = {}
    for name, why in proposal.left_out.items():
        every.setdefault(why, []).append(name)
    for why, names in sorted(every.items()):
        received = sum(topic.messages for one in names if (topic := traffic.topics.get(one.encode())))
        count = f" ({count_of(received, 'message')})" if received else ""
        more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
        yield printable(f"  {why}{count}: {', '.join(cut(one, MAX_BYTES) for one in names[:shown])}{more}")


def share(part: int, whole: int) -> str:
    """Write a share in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def count_of(number: int, what: str) -> str:
    """Write a number with what it counts."""
    return f"{number:,} {what}{'s' * (number != 1)}"
