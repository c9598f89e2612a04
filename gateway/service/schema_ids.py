"""Schema ids of the streams, resolved in a background thread; a stream without one waits in the spool."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from gateway.core.stream_transform import transform_of
from gateway.service import memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.bridge.bridge import Bridge
    from gateway.core.model import Stream
    from gateway.registry.registry import SchemaRegistry


log = logging.getLogger(__name__)

FIRST_ASK_SECONDS = 1.0


LONGEST_ASK_SECONDS = 60.0


class SchemaIdResolver:
    """Asks for the schema ids, again and again until every stream has its own.

    A thread of its own, because asking blocks. What it finds goes to the bridge through a queue.

    Args:
        registry: lock file first, registry second.
        streams: those that need an id.
        bridge: gets a transform for each stream whose id is known.
        payload_limit: for the transforms.
    """

    def __init__(self, registry: SchemaRegistry, streams: list[Stream], bridge: Bridge, payload_limit: int) -> None:
        self.refusals: dict[str, str] = {stream.name: "The schema id is asked for." for stream in streams}
        self._registry = registry
        self._streams = streams
        self._bridge = bridge
        self._payload_limit = payload_limit
        self._is_final = False
        self._told: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preparation", daemon=True)

    def start(self) -> None:
        """Begin to ask; what the lock file holds is there at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def _run(self) -> None:
        pause_seconds = FIRST_ASK_SECONDS
        missing = list(self._streams)
        while missing := self._ask(missing):
            # What the registry itself refused needs an operator; it is asked again, because one may have come.
            if self._stopping.wait(LONGEST_ASK_SECONDS if self._is_final else pause_seconds):
                return
            pause_seconds = min(2 * pause_seconds, LONGEST_ASK_SECONDS)
        memory.release_unused()  # the transforms are compiled

    def _ask(self, streams: list[Stream]) -> list[Stream]:
        found = self._registry.ids([route for stream in streams for route in stream.routes])
        for note in found.notes:
            log.warning("schema registry", extra={"detail": note})
        self._is_final = bool(found.refusals) and not any(refusal.retryable for refusal in found.refusals)
        reasons = {refusal.subject: refusal.reason for refusal in found.refusals}
        missing, waiting = [], defaultdict[str, list[str]](list)
        for stream in streams:
            unknown = [route.subject for route in stream.routes if route.subject not in found.ids]
            if unknown:
                missing.append(stream)
                self.refusals[stream.name] = reasons[unknown[0]]
                waiting[reasons[unknown[0]]].append(stream.name)
            else:
                schema_ids = [found.ids[route.subject] for route in stream.routes]
                transform = transform_of(stream, schema_ids, self._payload_limit)
                self._bridge.new_transforms.put((stream.name, transform))
                del self.refusals[stream.name]
        self._tell(waiting)
        return missing

    def _tell(self, waiting: Mapping[str, list[str]]) -> None:
        """Log why streams wait: once, until there is another reason."""
        for detail, streams in waiting.items():
            if detail not in self._told:
                log.warning("no schema id; readings wait", extra={"stream": ", ".join(streams), "detail": detail})
        self._told = set(waiting)
