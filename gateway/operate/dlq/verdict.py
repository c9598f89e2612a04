"""A dead letter before today's contract: does it fit now, and if not, what would.

Which stream judges: the operation that refused it, if the contract still has it and the topic still belongs to it; else
whatever stream has the topic today. So a letter finds its way after an operation was renamed, and an `unmapped_topic`
after the stream was added.

Of a stream's topics the first judges, and takes the record: an old reading is not the latest.

A cut payload is not judged: half a reading that happens to fit would be a lie.

The verdict does not depend on the schema's id, so explaining asks no registry; the id is wanted for producing only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.core.reading import DeadLetter, Reason, Record
from gateway.core.stream_transform import transform_of
from gateway.core.topic_index import UNMAPPED, routes
from gateway.operate.dlq.dead_letters import FOREIGN

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.array import ArrayTransform
    from gateway.core.fan_out import FanOut
    from gateway.core.model import Contract, Stream
    from gateway.core.transform import Transform
    from gateway.operate.dlq.dead_letters import Letter

NO_ID = 0


@dataclass(frozen=True, slots=True)
class Fits:
    """The letter fits today.

    Args:
        stream: that takes it.
        records: what is produced for it, one for each reading of an array.
    """

    stream: str
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The letter does not fit today.

    Args:
        stream: that refuses it, or `unmapped`.
        letter: why.
    """

    stream: str
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class Undecidable:
    """The letter cannot be judged, or not yet.

    Args:
        outcome: `cut`, `foreign` or `no_schema_id`.
        told: one sentence.
    """

    outcome: str
    told: str


Verdict = Fits | Rejected | Undecidable


class Judge:
    """Judges letters by a contract.

    Args:
        contract: today's.
        payload_limit: bytes a record may hold.
        schema_id: gives the id of a stream's schema, or why there is none; without it records carry the id 0 and must
            not be produced.
    """

    def __init__(
        self, contract: Contract, payload_limit: int, schema_id: Callable[[Stream], int | str] = lambda _: NO_ID
    ) -> None:
        self._streams = contract.streams
        self._routes = routes((stream.name, stream.address) for stream in contract.streams.values())
        self._payload_limit = payload_limit
        self._schema_id = schema_id
        self._transforms: dict[str, Transform | FanOut | ArrayTransform | str] = {}

    def __call__(self, letter: Letter) -> Verdict:
        """Judge one letter. It never raises on data."""
        if letter.reason == FOREIGN:
            return Undecidable("foreign", "No gateway wrote this record: it lacks error.reason or mqtt.topic.")
        name = self.stream_of(letter)
        if name == UNMAPPED:
            return Rejected(name, DeadLetter(Reason.UNMAPPED_TOPIC, "", "no stream of the contract has this topic"))
        if letter.is_cut:
            return Undecidable(
                "cut", "Only the payload's beginning was kept, so it is never judged and never replayed."
            )
        transform = self._transform(name)
        if isinstance(transform, str):
            return Undecidable("no_schema_id", transform)
        result = transform(letter.reading)
        if isinstance(result, DeadLetter):
            return Rejected(name, result)
        return Fits(name, tuple(result) if isinstance(result, list) else (result,))

    def stream_of(self, letter: Letter) -> str:
        """Name the stream that judges a letter today, or `unmapped`."""
        former = self._streams.get(letter.reading.stream)
        topic = letter.reading.topic
        if former and former.address.match(topic.decode(errors="replace")) is not None:
            return former.name
        return self._routes(topic)

    def _transform(self, name: str) -> Transform | FanOut | ArrayTransform | str:
        if name not in self._transforms:
            stream = replace(self._streams[name], also=())
            schema_id = self._schema_id(stream)
            self._transforms[name] = (
                schema_id if isinstance(schema_id, str) else transform_of(stream, [schema_id], self._payload_limit)
            )
        return self._transforms[name]
