"""The compiled path gives what the precise path gives, also for changed payloads of all families.

The seed is fixed, so that a difference comes again; with `TIMES` at 1000 this is a search of some minutes.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from gateway import contract as contracts
from gateway.core.codec.codec import Codec
from gateway.core.codec.unread import IGNORED
from gateway.core.codec.validation_error import ValidationError
from gateway.core.record_path import RecordPath
from gateway.core.transform import conversion
from tests.families.test_families import HERE, NAMES, contract_of, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.model import Stream

TIMES = 5  # that each payload is changed
NUMBERS = ["0", "-0", "1.0", "1e0", "0.30000000000000000000001", "1e400", "-1e-400", "1" + "0" * 500, "2147483648",
           "9007199254740993", "9223372036854775808", "1767592801.3215", "NaN", "01", "1."]  # fmt: skip
TEXTS = ["", " ", "0", "00412", "+1", "21,5", "nan", "1_000", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 400, "true", "ON",
         "aAQI", "aAQ", "fe0", "2026-03-29T02:30:00", "2026-10-25T02:30:00", "0001-01-01T00:00:00+14:00",
         "9999-12-31T23:59:59.999999999", "2016-12-31T23:59:60Z", "1969-12-31T23:59:59.9999Z", "\0", "a/b"]  # fmt: skip
VALUES = [*NUMBERS, *map(json.dumps, TEXTS), r'"\ud800"', "null", "true", "[]", "{}", "[null]", '{"a":1}', "[" * 40]
MEMBERS = ["", "a", "value", "time", "$message.envelope#/timestamp", "$message.payload#", "$message.parameter#/device"]
MARK = "\N{OBJECT REPLACEMENT CHARACTER}"  # stands for a value that is no value of Python's


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every object or array in a value, with each of its keys."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def changed(payload: str, choose: random.Random) -> str:
    """Put another value somewhere, take a member away, or add one, which may be there already."""
    try:
        around = [json.loads(payload)]
    except json.JSONDecodeError:
        return choose.choice([*NUMBERS, *TEXTS])
    inside, key = choose.choice(list(places(around)))
    if isinstance(inside[key], dict) and choose.random() < 0.5:
        name = choose.choice([*MEMBERS, *inside[key]])
        inside[key] = {f"{MARK}{name}": MARK, **inside[key]} if choose.random() < 0.5 else {**inside[key], name: MARK}
    elif choose.random() < 0.2 and inside is not around:
        del inside[key]
    else:
        inside[key] = MARK
    text = json.dumps(around[0], ensure_ascii=False)
    return text.replace(f'"{MARK}"', choose.choice(VALUES)).replace(MARK, "")


def readings(stream: Stream, payload: bytes) -> list[bytes]:
    """What the codec gets of a message: the whole payload, or the text of each record inside."""
    if not stream.is_array:
        return [payload]
    try:
        groups = RecordPath(stream.steps, stream.route.avro.record, IGNORED).cut(payload)
    except ValidationError:
        return []
    return [text for group in groups for text in group.texts]


@pytest.mark.parametrize("name", NAMES)
def test_both_paths_agree(name: str) -> None:
    contract, _ = contracts.examine(contract_of(name))
    assert contract is not None
    codecs = [
        (one, Codec(conversion(one, one.route))) for stream in contract.streams.values() for one in stream.by_message
    ]
    choose = random.Random(19)
    for row in table(HERE / f"{name}.yaml"):
        payloads = [row.payload, *(changed(row.payload, choose) for _ in range(TIMES))]
        for stream, codec in codecs:
            texts = stream.address.match(row.topic)
            for payload in payloads if texts else ():
                for reading in readings(stream, payload.encode()):
                    values = (*(texts or ()), row.topic)
                    assert codec.encode(reading, values) == codec.encode_precisely(reading, values), reading
