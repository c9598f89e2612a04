"""The transform of a stream: one topic, several topics, arrays of readings, or several messages of all these kinds."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from gateway.core.array import ArrayTransform
from gateway.core.choice_transform import ChoiceTransform, Kind
from gateway.core.encoded_transform import EncodedTransform
from gateway.core.encoding import JSON, MESSAGEPACK
from gateway.core.fan_out import FanOut
from gateway.core.transform import NO_LIMITS, Transform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.core.codec.event_time import RecordTime
    from gateway.core.model import Stream

PlainTransform = Transform | FanOut | ArrayTransform | ChoiceTransform


def transform_of(
    stream: Stream,
    schema_ids: Sequence[int],
    payload_limit: int,
    record_times: Mapping[str, RecordTime] = NO_LIMITS,
) -> EncodedTransform:
    """Make the transform of a stream from the schema ids of its routes, in their order, and a limit in bytes.

    `record_times` choose the timestamps, by topic.
    """
    is_messagepack = stream.encoding == MESSAGEPACK and not (stream.messages or stream.is_array)
    made = replace(stream, content="msgpack") if is_messagepack else stream
    transform = _transform_of(made, schema_ids, payload_limit, record_times)
    is_direct = is_messagepack or stream.encoding == JSON
    return EncodedTransform(transform, stream.encoding, payload_limit, is_direct=is_direct)


def _transform_of(
    stream: Stream, schema_ids: Sequence[int], payload_limit: int, record_times: Mapping[str, RecordTime]
) -> PlainTransform:
    ids = iter(schema_ids)
    if not stream.messages:
        return _transform_of_one(stream, _route_transforms(stream, ids, payload_limit, record_times), payload_limit)
    kinds = []
    for one in stream.messages:
        topics = _route_transforms(one.stream, ids, payload_limit, record_times) if one.stream else []
        transform = _transform_of_one(one.stream, topics, payload_limit) if one.stream else None
        kinds.append(Kind(one.name, one.demands, transform, topics))
    return ChoiceTransform(kinds, payload_limit)


def _route_transforms(
    stream: Stream, ids: Iterator[int], payload_limit: int, record_times: Mapping[str, RecordTime]
) -> list[Transform]:
    """Make a transform for each route of a stream; they take the next schema ids."""
    return [
        Transform(stream, list(islice(ids, len(route.each))), payload_limit, route, record_times)
        for route in stream.own_routes
    ]


def _transform_of_one(
    stream: Stream, topics: Sequence[Transform], payload_limit: int
) -> Transform | FanOut | ArrayTransform:
    one = FanOut(topics) if stream.also else topics[0]
    return ArrayTransform(one, payload_limit, stream) if stream.is_array else one
