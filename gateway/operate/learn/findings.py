"""All that was heard -> what is proposed, what is not and why; and the report of it for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.address import Address
from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.operate.learn.devices import Recognised, recognised
from gateway.operate.learn.extension import Extension, extension
from gateway.operate.learn.proposal import Names, Note, Stream, streams
from gateway.operate.learn.record import describe, notes_of_times
from gateway.operate.learn.types import pascal
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from gateway.errors import Finding
    from gateway.operate.learn.descriptions import Described
    from gateway.operate.learn.evidence import Shape, Topic, Traffic
    from gateway.operate.learn.extension import Existing
    from gateway.operate.learn.score import StreamScore

SHOWN = 10  # of a list in the report
MAX_IGNORED = 50
ATTRIBUTES = "attributes of devices, as Homie marks them by a $"
DESCRIPTION, AVAILABILITY = "a description of devices", "says only whether a device is connected"
NOT_READINGS, RETAINED = "no readings, by a description", "only a retained message, and nothing else looks like it"


class Proposal(NamedTuple):
    """What is proposed."""

    streams: list[Stream]
    families: list[Recognised]
    ignored: list[str]  # addresses whose messages are not wanted
    left_out: dict[str, str]  # topic -> why it has no stream
    more: Extension  # of an existing contract

    def without(self, unfit: Mapping[str, Finding]) -> Proposal:
        """Leave streams out, each with its reason."""
        kept = [one for one in self.streams if one.name not in unfit]
        gone = [one for one in self.streams if one.name in unfit]
        reasons = {topic.name: f"{unfit[one.name]}" for one in gone for topic in one.topics}
        return self._replace(streams=kept, left_out={**self.left_out, **reasons})


def propose(traffic: Traffic, existing: Existing | None, *, shows_values: bool) -> Proposal:
    """Propose streams and families, for topics that an existing contract does not describe."""
    descriptions = {one.topic: one for one in traffic.descriptions.merged()}
    stream_of = topic_index(existing.contract.addresses() if existing else ())
    topics = {name: topic for name, topic in sorted(traffic.topics.items()) if stream_of(name) == UNMAPPED}
    found = recognised(topics)
    taken = frozenset[bytes]().union(*(one.topics for one in found))
    left = [topic for name, topic in topics.items() if name not in taken]
    left_out = _left_out(left, descriptions)
    names = existing.names if existing else Names(["dead_letters"])
    proposed = streams([one for one in left if one.name not in left_out], descriptions, names)
    for stream in proposed:
        for message in stream.messages:
            describe(stream, message, shows_values=shows_values)
    for one in found:
        its = [topic for name, topic in traffic.topics.items() if name in one.topics]
        one.notes.extend(notes_of_times(its))
    ignored = sorted(_ignored(proposed, left_out, descriptions))[:MAX_IGNORED]
    more = extension(existing, traffic.topics, shows_values=shows_values) if existing else Extension({}, {})
    return Proposal(proposed, found, ignored, left_out, more)


def _left_out(topics: Iterable[Topic], descriptions: Mapping[str, Described]) -> dict[str, str]:
    """Say of each topic without a stream why."""
    filters = {each for one in descriptions.values() for each in one.ignored}
    is_ignored, left = topic_index((), sorted(filters)), dict[str, str]()
    live = {each for topic in topics for shape in topic.shapes[False] for each in _looks(shape)}
    for topic in topics:
        if topic.is_description:
            left[topic.name] = DESCRIPTION
        elif is_ignored("/".join(topic.levels).encode()) != UNMAPPED:
            left[topic.name] = NOT_READINGS
        elif not topic.learned:
            left[topic.name] = ", ".join(f"{why} ({count:,})" for why, count in sorted(topic.unread.items()))
        elif any(level.startswith("$") for level in topic.levels):
            left[topic.name] = ATTRIBUTES
        elif topic.is_availability:
            left[topic.name] = AVAILABILITY
        elif live and not topic.shapes[False] and not any(live & _looks(shape) for shape in topic.learned):
            left[topic.name] = RETAINED
    return left


def _looks(shape: Shape) -> set[frozenset[Any]]:
    """What another shape must have to look like it: its members with their kinds, or the same members."""
    return {shape.features, *([shape.names] if isinstance(shape.names, frozenset) else [])}


def _ignored(
    proposed: Iterable[Stream], left_out: Mapping[str, str], descriptions: Mapping[str, Described]
) -> Iterator[str]:
    """Find the addresses of messages that a proposed stream would bring, and that are no readings."""
    plain = {name: why for name, why in left_out.items() if not {*"{}"} & {*name}}  # no address has braces
    unwanted = [name for name, why in plain.items() if why in {DESCRIPTION, AVAILABILITY, NOT_READINGS}]
    every = set[str]()
    for stream in proposed:
        address = Address.parse(stream.address, [one.name for one in stream.parameters if one.is_multi])
        for topic in stream.topics if address.is_multi else ():
            one = descriptions.get(topic.name)
            for each in one.ignored if one else ():
                every.add(each.replace(topic.name, stream.address).removesuffix("/#"))
        every |= {f"{each}/{{what}}" for each in _bridges(descriptions) if address.match(f"{each}/what") is not None}
        every |= {name for name in unwanted if address.match(name) is not None and not _is_covered(name, every)}
        if not address.is_multi:
            marked = (name for name, why in plain.items() if why == ATTRIBUTES and address.match(name) is not None)
            every |= {_like(stream.address, name) for name in marked}
    return iter(every)


def _like(address: str, topic: str) -> str:
    """Give the address of all attributes of a name, which are at a place of readings."""
    levels = zip(address.split("/"), topic.split("/"), strict=True)
    return "/".join(text if text.startswith("$") else level for level, text in levels)


def _bridges(descriptions: Mapping[str, Described]) -> Iterator[str]:
    """Find what stands before `/#`."""
    return (each[:-2] for each in (descriptions[""].ignored if "" in descriptions else ()) if each.endswith("/#"))


def _is_covered(name: str, every: Collection[str]) -> bool:
    names = {each: [part[1:-1] for part in each.split("/") if part.startswith("{")] for each in every}
    parsed = (Address.parse(each, its if len(its) == 1 else ()) for each, its in names.items())
    return any(one.match(name) is not None for one in parsed)


# --- for people --------------------------------------------------------------------------------------------------


def lines(traffic: Traffic, proposal: Proposal, scores: Mapping[str, StreamScore]) -> Iterator[str]:
    """Report what was heard and what is proposed."""
    count, fit = (sum(getattr(one, name) for one in scores.values()) for name in ("heard", "fit"))
    taken = count - scores[UNMAPPED].heard
    yield f"Heard {count:,} messages on {len(traffic.topics):,} topics."
    yield f"The proposal has streams for {taken:,} of them; {fit:,} of these fit ({share(fit, taken)})."
    if traffic.others:
        yield f"  {len(traffic.others):,} topics more were heard and not learned; narrow them with --topics."
    if traffic.unreadable:
        yield f"  {traffic.unreadable:,} messages came on topics that no address can have."
    for one in proposal.families:
        yield f"Family {one.family.name}: {len(one.topics):,} topics, {one.wanted:,} of them with readings."
        yield from _note_lines(one.notes)
    by_name = {f"receive{pascal(one.name)}": one for one in proposal.streams}
    for name, its in scores.items():
        if name != UNMAPPED and its.heard:
            yield from _stream_lines(name, its, by_name.get(name))
            yield from _note_lines(proposal.more.notes.get(name, ()))
    yield from _note_lines(proposal.more.notes.get("", ()))
    yield from _left_lines(proposal, scores[UNMAPPED])


def _stream_lines(name: str, its: StreamScore, stream: Stream | None) -> Iterator[str]:
    address = f" {stream.address}" if stream else ""
    yield printable(f"{name}{address}: {its.fit:,} of {its.heard:,} messages fit ({share(its.fit, its.heard)})")
    if stream and len(stream.messages) > 1:
        yield printable(f"  messages: {', '.join(one.name for one in stream.messages)}")
    for (reason, pointer), count in its.reasons.most_common(SHOWN):
        yield printable(f"  {count:,} would be dead letters: {reason} {pointer}: {its.details[reason, pointer]}")
    yield from _note_lines(stream.notes if stream else ())


def _note_lines(notes: Iterable[Note]) -> Iterator[str]:
    yield from (printable(f"  {one.pointer or 'payload'}: {one.text}") for one in notes)


def _left_lines(proposal: Proposal, unmapped: StreamScore) -> Iterator[str]:
    if not proposal.left_out:
        return
    yield f"{len(proposal.left_out):,} topics have no stream; no stream takes {unmapped.heard:,} of their messages."
    by_reason: dict[str, list[str]] = {}
    for name, why in proposal.left_out.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in sorted(by_reason.items()):
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        yield printable(f"  {why}: {', '.join(names[:SHOWN])}{more}")


def share(part: int, whole: int) -> str:
    """Write a share in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"
