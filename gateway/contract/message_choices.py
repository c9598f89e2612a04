"""Operations of several messages: any two are told apart by members of their payloads (`core/message_demands.py`).

Two that nothing tells apart are an error, with a payload that fits both where one is found: an example of one, the
members of two examples, or the least that both demand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from gateway.contract import examples
from gateway.core.codec.codec import Codec
from gateway.core.codec.keywords import scalar_of
from gateway.core.codec.validation_error import tokens
from gateway.core.message_choice import MessageChoice, telling
from gateway.core.message_demands import Demand, Demands, demands_of, order, value_at
from gateway.core.model import Message
from gateway.core.reading import DeadLetter
from gateway.core.transform import conversion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.contract.channel import Channel
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.core.address import Address
    from gateway.core.avro_schema import AvroType, Path
    from gateway.core.codec.conversion import Content
    from gateway.core.model import Parameter, Stream

SAMPLES = {"string": "a", "number": 1, "boolean": True, "null": None, "array": [], "object": {}}  # a value of each kind
NAME = re.compile(r"[\w-]+\Z")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message of a receive operation, and where it is published."""

    channel: Channel
    address: Address | None  # None when it is invalid
    name: str  # in the channel
    message: Node
    payload: Payload
    content: Content
    is_ignored: bool
    stream: Stream | None = None  # of this message alone; None when it is ignored, or invalid


def check(messages: Sequence[Incoming], findings: Findings) -> tuple[Message, ...]:
    """Report messages that nothing tells apart; gives all with their demands, or nothing for a single one."""
    if len(messages) < 2:
        return ()
    demands = [_demands(one) for one in messages]
    for one in messages:
        if one.content != "json":
            text = f"The message {one.name!r} is no JSON, whose members tell messages apart."
            findings.error(one.message.at("contentType"), text, "Give it an address of its own.")
    for (one, its), (other, others) in combinations(list(zip(messages, demands, strict=True)), 2):
        if not telling(its, others):
            _report(one, its, other, others, findings)
    if not findings.has_errors:
        _check_ignored(messages, demands, findings)
    return tuple(Message(one.name, its, one.stream) for one, its in zip(messages, demands, strict=True))


def _demands(one: Incoming) -> Demands:
    if one.payload.is_array:  # its records are deeper than what is looked at
        return demands_of({"type": "array"} if one.payload.around is None else one.payload.around, None)
    record: AvroType | None = None
    tied: set[Path] = set()
    if one.stream and one.stream.route.schema:
        record = one.stream.route.schema.record
        tied = {tokens(each.pointer) for each in one.stream.parameters if each.pointer}
    elif one.payload.record:
        record = one.payload.record.schema.record
    schema = None if one.payload.record else one.payload.json_schema
    rejects = one.payload.unknown == "reject"
    return demands_of(schema, record, tied, rejects=rejects)


def _check_ignored(messages: Sequence[Incoming], demands: Sequence[Demands], findings: Findings) -> None:
    """Examples of ignored messages fit these alone; `mapping.py` runs those of all others."""
    choice = MessageChoice(demands)
    for number, (one, its) in enumerate(zip(messages, demands, strict=True)):
        for example in examples.payload_nodes(one.message) if one.is_ignored else ():
            if choice.remaining(example.value) != [number] or its.failed(example.value):
                text = f"The example does not fit the message {one.name!r}, or fits another one."
                findings.error(example, text, "Correct the example or the schema.")


# --- messages that nothing tells apart ---------------------------------------------------------------------------


def _report(one: Incoming, its: Demands, other: Incoming, others: Demands, findings: Findings) -> None:
    candidates = _candidates(one, its, other, others)
    fitting = (value for value in candidates if _fits(one, its, value) and _fits(other, others, value))
    shown = next((f": {examples.shown(value)} fits both" for value in fitting), "")
    text = f"Nothing tells this message apart from {one.name!r} ({one.message.path}){shown}."
    properties = other.payload.node.at("properties")
    if properties.is_mapping and (members := _missing(its, others)):
        findings.error(properties, text, f"Write {members}.")
        return
    fix = "Give a member another `const` in each, or write `member: false` into the `properties` of one."
    findings.error(other.message, text, fix)


def _missing(its: Demands, others: Demands) -> str:
    """Forbid a member, or several, that one message requires and the other does not describe; "" for none."""
    required = [place[0] for place, demand in its.places.items() if len(place) == 1 and "absent" not in demand.kinds]
    lists = [(one,) if isinstance(one, str) else one for one in required]
    free = (names for names in lists if all((name,) not in others.places and NAME.match(name) for name in names))
    return ", ".join(f"{name}: false" for name in next(free, ()))


def _candidates(one: Incoming, its: Demands, other: Incoming, others: Demands) -> Iterator[Any]:
    """Make payloads that may fit two messages."""
    left, right = examples.payloads(one.message), examples.payloads(other.message)
    yield from (*left, *right)
    yield from ({**a, **b} for a, b in product(left, right) if isinstance(a, dict) and isinstance(b, dict))
    yield _least(its, others)


def _least(its: Demands, others: Demands) -> Any:
    """Make the least that both messages demand."""
    value: Any = {}
    for place in sorted({*its.places, *others.places}, key=order):
        demand = its.at(place).both(others.at(place))
        if "absent" in demand.kinds or not isinstance(parent := value_at(value, place[:-1]), dict):
            continue
        for name in place[-1:]:
            parent[name if isinstance(name, str) else name[0]] = _sample(demand)
        if not place:
            value = _sample(demand)
    return value


def _sample(demand: Demand) -> Any:
    if demand.values:
        value = scalar_of(min(demand.values, key=repr))
        return float(value) if isinstance(value, Decimal) else value  # as JSON has it
    kind = next((kind for kind in SAMPLES if kind in demand.kinds), "null")
    sample = SAMPLES[kind]
    return type(sample)() if isinstance(sample, list | dict) else sample


def _fits(one: Incoming, its: Demands, value: Any) -> bool:
    """Tell whether a payload fits a message by its own validation."""
    if one.stream is None or one.payload.is_array:
        return not its.failed(value)
    codec = Codec(conversion(one.stream, one.stream.route), is_fast=False)
    texts = tuple(_text(value, each) for each in one.stream.parameters)
    return not isinstance(codec.encode(examples.as_sent(value), (*texts, "topic")), DeadLetter)


def _text(value: Any, parameter: Parameter) -> str:
    found = value_at(value, tokens(parameter.pointer)) if parameter.pointer else None
    return found if isinstance(found, str) and found else next(iter(parameter.examples), parameter.name)
