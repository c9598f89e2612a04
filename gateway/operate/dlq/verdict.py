"""The verdict on a dead letter under the current contract: it fits, it is rejected, or neither can be said.

The stream is the one that the topic belongs to now, on the servers of the operation that rejected the reading, if the
contract still has it; otherwise on all servers. This also covers an operation that was renamed, and an `unmapped_topic`
whose stream was added later. A topic that the contract ignores now has no verdict.

Only the first topic of a stream is checked and gets the record: an old reading is not the latest, which is what a
compacted topic holds.

A cut payload has no verdict: the beginning of a reading may fit by chance.

The verdict does not depend on the schema id, so `explain` needs no registry; only producing needs the id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.core.headers import marked
from gateway.core.reading import DeadLetter, IgnoredReading, Reason, Record
from gateway.core.stream_transform import transform_of
from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.core.transform import NO_LIMITS
from gateway.operate.dlq.dead_letters import FOREIGN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.codec.event_time import RecordTime
    from gateway.core.encoded_transform import EncodedTransform
    from gateway.core.model import Contract, Stream
    from gateway.operate.dlq.dead_letters import StoredDeadLetter

NO_ID = 0


@dataclass(frozen=True, slots=True)
class Fits:
    """The reading is valid now."""

    stream: str  # that accepts it
    records: tuple[Record, ...]  # to produce, one for each reading of an array


@dataclass(frozen=True, slots=True)
class Rejected:
    """The reading is still invalid."""

    stream: str  # that rejects it, or `unmapped`
    dead_letter: DeadLetter  # under the current contract


@dataclass(frozen=True, slots=True)
class Undecidable:
    """There is no verdict, or not yet."""

    outcome: str  # `cut`, `foreign`, `ignored` or `no_schema_id`
    reason: str  # one sentence


CUT = Undecidable("cut", "Only the beginning of the payload was kept, so it is never replayed.")
Verdict = Fits | Rejected | Undecidable


class Revalidator:
    """Checks dead letters against a contract.

    `schema_ids` gives the ids of the topics of a stream's first route, or the reason why there is none; without it
    records carry the id 0 and must not be produced. `payload_limit` is how many bytes a record may hold; `record_times`
    choose timestamps.
    """

    def __init__(
        self,
        contract: Contract,
        payload_limit: int,
        schema_ids: Callable[[Stream], list[int] | str] = lambda stream: [NO_ID] * len(stream.routes),
        record_times: Mapping[str, RecordTime] = NO_LIMITS,
    ) -> None:
        self._contract = contract
        self._indexes: dict[str, Callable[[bytes], str]] = {}  # by the operation that rejected the reading
        self._payload_limit = payload_limit
        self._schema_ids = schema_ids
        self._record_times = record_times
        self._transforms: dict[str, EncodedTransform | Undecidable] = {
            name: Undecidable("ignored", f"The contract ignores messages of this topic ({name}).")
            for name in contract.ignored
        }

    def __call__(self, dead_letter: StoredDeadLetter) -> Verdict:  # noqa: PLR0911 - one return an outcome
        """Check a dead letter. It never raises on data."""
        if dead_letter.reason == FOREIGN:
            return Undecidable(
                "foreign", "The gateway did not write this record: error.reason or mqtt.topic is absent."
            )
        stream = self._stream_of(dead_letter)
        if stream == UNMAPPED:
            return Rejected(stream, DeadLetter(Reason.UNMAPPED_TOPIC, "", "no stream of the contract has this topic"))
        transform = CUT if dead_letter.is_cut and stream not in self._contract.ignored else self._transform(stream)
        if isinstance(transform, Undecidable):
            return transform
        match transform(dead_letter.reading):
            case DeadLetter() as rejected:
                return Rejected(stream, rejected)
            case IgnoredReading():
                return Undecidable("ignored", "The contract ignores such messages now.")
            case Record() as record:
                return Fits(stream, tuple(marked([record], dead_letter.reading)))
            case records:
                return Fits(stream, tuple(marked(records, dead_letter.reading)))

    def _stream_of(self, dead_letter: StoredDeadLetter) -> str:
        topic, former = dead_letter.reading.topic, self._contract.streams.get(dead_letter.reading.stream)
        found = self._index(former)(topic)
        return self._index(None)(topic) if found == UNMAPPED else found

    def _index(self, former: Stream | None) -> Callable[[bytes], str]:
        name = former.name if former else ""
        if name not in self._indexes:
            self._indexes[name] = topic_index(self._contract.addresses(former.servers if former else None))
        return self._indexes[name]

    def _transform(self, name: str) -> EncodedTransform | Undecidable:
        if name not in self._transforms:
            stream = _with_first_topics(self._contract.streams[name])
            ids = self._schema_ids(stream)
            self._transforms[name] = (
                Undecidable("no_schema_id", ids)
                if isinstance(ids, str)
                else transform_of(stream, ids, self._payload_limit, self._record_times)
            )
        return self._transforms[name]


def _with_first_topics(stream: Stream) -> Stream:
    messages = [replace(one, stream=one.stream and _with_first_topics(one.stream)) for one in stream.messages]
    return replace(stream, also=(), messages=tuple(messages))
