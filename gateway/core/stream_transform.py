"""The transform of a stream: one topic, several topics, or arrays of readings."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from gateway.core.array import ArrayTransform
from gateway.core.fan_out import FanOut
from gateway.core.transform import NO_LIMITS, Transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.codec.event_time import RecordTime
    from gateway.core.model import Stream


def transform_of(
    stream: Stream,
    schema_ids: Sequence[int],
    payload_limit: int,
    record_times: Mapping[str, RecordTime] = NO_LIMITS,
) -> Transform | FanOut | ArrayTransform:
    """Make the transform of a stream from the schema ids of its routes, in their order, and a limit in bytes.

    `record_times` choose the timestamps, by topic.
    """
    ids = iter(schema_ids)
    transforms = [
        Transform(stream, list(islice(ids, len(route.each))), payload_limit, route, record_times)
        for route in (stream.route, *stream.also)
    ]
    one = FanOut(transforms) if stream.also else transforms[0]
    return ArrayTransform(one, payload_limit, stream.array_schema) if stream.is_array else one
