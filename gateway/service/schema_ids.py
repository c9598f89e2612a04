"""Schema ids of the streams, looked up in a background thread; readings of a stream without one wait in the spool."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from gateway.core.stream_transform import transform_of
from gateway.log import Conditions
from gateway.service import memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.model import Stream
    from gateway.registry.registry import SchemaRegistry
    from gateway.service.record_times import RecordTimes

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0


class SchemaIdResolver:
    """Looks up schema ids until every stream has its own, and hands each stream's transform over to the bridge.

    It has its own thread, because lookups block. `refusals` says why a stream has no schema id.
    """

    def __init__(
        self, registry: SchemaRegistry, streams: list[Stream], record_times: RecordTimes, payload_limit: int
    ) -> None:
        self.refusals: dict[str, str] = {stream.name: "The schema id is being looked up." for stream in streams}
        self._registry = registry
        self._streams = streams
        self._record_times = record_times
        self._payload_limit = payload_limit
        self._needs_operator = False
        self._conditions = Conditions()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schema ids", daemon=True)

    def start(self) -> None:
        """Start the thread; ids in the lock file are available at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the lookup in progress."""
        self._stopping.set()

    def _run(self) -> None:
        pause_seconds = FIRST_RETRY_SECONDS
        missing = list(self._streams)
        while missing := self._look_up(missing):
            # Retried even if the registry refused: an operator may have registered the schema since.
            if self._stopping.wait(LONGEST_RETRY_SECONDS if self._needs_operator else pause_seconds):
                return
            pause_seconds = min(2 * pause_seconds, LONGEST_RETRY_SECONDS)
        memory.release_unused()  # the transforms are compiled

    def _look_up(self, streams: list[Stream]) -> list[Stream]:
        """Look up the ids of streams and return the streams that are still without one."""
        answer = self._registry.ids([route for stream in streams for route in stream.routes])
        for note in answer.notes:
            log.warning("schema registry", extra={"detail": note})
        self._needs_operator = bool(answer.refusals) and not any(refusal.retryable for refusal in answer.refusals)
        reasons = {refusal.subject: refusal.reason for refusal in answer.refusals}
        missing, waiting = [], defaultdict[str, list[str]](list)
        for stream in streams:
            unknown = [route.subject for route in stream.routes if route.subject not in answer.ids]
            if unknown:
                missing.append(stream)
                self.refusals[stream.name] = reasons[unknown[0]]
                waiting[reasons[unknown[0]]].append(stream.name)
            else:
                schema_ids = [answer.ids[route.subject] for route in stream.routes]
                transform = transform_of(stream, schema_ids, self._payload_limit, self._record_times)
                self._record_times.hand_over(stream.name, transform)
                del self.refusals[stream.name]
        self._report(waiting)
        return missing

    def _report(self, waiting: Mapping[str, list[str]]) -> None:
        for detail, streams in waiting.items():
            if self._conditions.begins(detail):
                log.warning("no schema id; readings wait", extra={"stream": ", ".join(streams), "detail": detail})
        self._conditions.end(but=waiting)
