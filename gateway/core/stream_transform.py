"""The transform of a stream: one topic, several topics, or arrays of readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.array import ArrayTransform
from gateway.core.fan_out import FanOut
from gateway.core.transform import Transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.model import Stream


def transform_of(stream: Stream, schema_ids: Sequence[int], payload_limit: int) -> Transform | FanOut | ArrayTransform:
    """Make the transform of a stream.

    Args:
        stream: from the contract.
        schema_ids: the registry's ids of its routes' schemas, in the order of the routes.
        payload_limit: bytes; a longer payload is a dead letter TOO_LARGE.
    """
    one = _transform_of_one(stream, schema_ids, payload_limit)
    return ArrayTransform(one, payload_limit) if stream.is_array else one


def _transform_of_one(stream: Stream, schema_ids: Sequence[int], payload_limit: int) -> Transform | FanOut:
    if not stream.also:
        return Transform(stream, schema_ids[0], payload_limit)
    return FanOut(
        [
            Transform(stream, schema_id, payload_limit, route)
            for route, schema_id in zip(stream.routes, schema_ids, strict=True)
        ]
    )
