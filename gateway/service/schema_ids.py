"""Schema ids of the streams, looked up and confirmed in a background thread.

A stream without an id has no transform: its readings wait in the spool. A stream loses its transform when the registry
answers that the id is unknown or another schema's: the registry was rebuilt, or is another one. While the registry
does not answer, ids stay in use as they are.

- **All ids are confirmed at the start, and after each time without an answer.** In between, one stream in turn is
  confirmed every 30 s: so the cost does not grow with the streams, and a registry that was replaced in the meantime
  shows. When the one does not hold, all are checked at once.
- Password, token and CA file are read each time, as they may have been renewed.
- The lock file is read each time: `gateway schemas lock` takes effect without a reload.
- A reload makes a new resolver, which continues the former one for the streams that have not changed.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.stream_transform import transform_of
from gateway.errors import ConfigurationError
from gateway.log import Conditions
from gateway.observe.peer_state import PeerState
from gateway.registry.registry import SchemaIds, Unresolved
from gateway.service import memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gateway.core.model import Route, Stream
    from gateway.registry.registry import SchemaRegistry
    from gateway.service.record_times import RecordTimes

log = logging.getLogger(__name__)

RETRY = "Will retry."
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
RELOAD = "A change of gateway.yaml, the contract or a schema file needs `gateway reload -c FILE`."


class Former(NamedTuple):
    """The resolver before a reload, and the streams that are new or changed."""

    resolver: SchemaIdResolver
    changed: Collection[str]


class SchemaIdResolver:
    """Finds the schema id of every stream, and hands each stream's transform over to the bridge, or takes it back.

    It has its own thread, because lookups block. `states` may be called from any thread. `read_registry` makes a client
    with the secrets as they are now, or raises ConfigurationError.
    """

    def __init__(
        self,
        read_registry: Callable[[], SchemaRegistry],
        streams: list[Stream],
        record_times: RecordTimes,
        payload_limit: int,
        former: Former | None = None,
    ) -> None:
        self._refusals = {stream.name: "The schema id is being looked up." for stream in streams}
        self._unverified = ""  # why the registry does not confirm the ids in use; empty when it does
        self._ids: dict[str, list[int]] = {}  # in use, by stream
        self._read_registry = read_registry
        self._registry = read_registry()
        self._streams = streams
        self._record_times = record_times
        self._payload_limit = payload_limit
        self._conditions = Conditions()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="schema ids", daemon=True)
        self._is_confirmed: bool | None = None  # None: nothing has been looked up yet
        self._was_reloaded = former is not None
        if former:
            self._continue(*former)

    def _continue(self, former: SchemaIdResolver, changed: Collection[str]) -> None:
        """Use the ids that are in use for streams that have not changed, and look up those of the others."""
        names = {stream.name for stream in self._streams}.difference(changed)
        self._ids = {name: ids for name, ids in former._ids.items() if name in names}
        self._refusals = {name: reason for name, reason in self._refusals.items() if name not in self._ids}
        self._unverified = former._unverified
        self._is_confirmed = not self._unverified
        if missing := [stream for stream in self._streams if stream.name not in self._ids]:
            self._is_confirmed = self._check(missing)

    def refused(self, streams: Collection[str]) -> dict[str, str]:
        """Say why streams have no schema id."""
        plain = {name: reason.removesuffix(RETRY).removesuffix(RELOAD) for name, reason in self._refusals.items()}
        return {name: reason.strip() for name, reason in plain.items() if name in streams}

    def start(self) -> None:
        """Start the thread; ids in the lock file are in use once the registry has confirmed them, or not answered."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the lookup in progress."""
        self._stopping.set()

    def states(self) -> list[PeerState]:
        """The registry as a peer: `no_schema_id` while readings wait, `pinned` while it does not confirm the ids."""
        if waiting := _by_reason(self._refusals):
            details = [f"{reason} Waiting: {', '.join(streams)}." for reason, streams in waiting.items()]
            return [PeerState("registry", "no_schema_id", detail) for detail in details]
        if self._unverified:
            detail = f"The schema ids are those of the lock file, and not confirmed. {self._unverified}"
            return [PeerState("registry", "pinned", detail)]
        return [PeerState("registry", "ok")]

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        turns = cycle(self._streams)
        retry_seconds, is_compiled = FIRST_RETRY_SECONDS, False
        is_confirmed = self._check(self._streams) if self._is_confirmed is None else self._is_confirmed
        while self._streams:
            if not (is_compiled or self._refusals):
                is_compiled = True
                memory.release_unused(was_reloaded=self._was_reloaded)
            pause_seconds = LONGEST_RETRY_SECONDS if is_confirmed else retry_seconds
            if self._stopping.wait(pause_seconds):
                return
            retry_seconds = FIRST_RETRY_SECONDS if is_confirmed else min(2 * retry_seconds, LONGEST_RETRY_SECONDS)
            is_confirmed = (is_confirmed and self._check([next(turns)])) or self._check(self._streams)

    def _check(self, streams: Sequence[Stream]) -> bool:
        """Look up or confirm the ids of streams; whether the registry confirms them all."""
        answer = self._ask([route for stream in streams for route in stream.routes])
        # First, or `states` would show `ok` in between.
        self._unverified = answer.unverified and f"{answer.unverified} {RETRY}"
        refusals = {refusal.subject: refusal for refusal in answer.refusals}
        for stream in streams:
            self._adopt(stream, answer.ids, refusals)
        self._report(answer.notes)
        return not (self._refusals or self._unverified)

    def _ask(self, routes: Sequence[Route]) -> SchemaIds:
        try:
            registry = self._read_registry()
        except ConfigurationError as error:
            refusals = [Unresolved(route.subject, retryable=True, reason=str(error)) for route in routes]
            return SchemaIds({}, tuple(refusals), ())
        # After a success the client stays, unless its secrets have changed: a new one would read all CAs.
        if registry.endpoint != self._registry.endpoint or self._refusals or self._unverified:
            self._registry = registry
        return self._registry.ids(routes)

    def _adopt(self, stream: Stream, ids: Mapping[str, int], refusals: Mapping[str, Unresolved]) -> None:
        """Let a stream use its ids, or none; without an answer, those that it uses."""
        refusal = next((refusals[route.subject] for route in stream.routes if route.subject in refusals), None)
        if refusal is None:
            self._use(stream, [ids[route.subject] for route in stream.routes])
            self._refusals.pop(stream.name, None)
        elif refusal.retryable and stream.name in self._ids:  # the lock file is gone, or could never be written
            self._unverified = f"{refusal.reason} {RETRY}"
        else:
            self._refusals[stream.name] = f"{refusal.reason} {RETRY if refusal.retryable else RELOAD}"
            if self._ids.pop(stream.name, None):
                self._record_times.hand_over(stream.name, None)

    def _use(self, stream: Stream, ids: list[int]) -> None:
        if self._ids.get(stream.name) != ids:
            transform = transform_of(stream, ids, self._payload_limit, self._record_times)
            self._record_times.hand_over(stream.name, transform)
            self._ids[stream.name] = ids

    def _report(self, notes: Sequence[str]) -> None:
        waiting = _by_reason(self._refusals)
        for detail, streams in waiting.items():
            if self._conditions.begins(detail):
                extra = {"stream": ", ".join(streams), "detail": detail}
                log.warning("Readings wait, because their schema has no id.", extra=extra)
        for detail in notes:
            if self._conditions.begins(detail):
                log.warning("The schema registry or the lock file has a problem.", extra={"detail": detail})
        if self._unverified and self._conditions.begins(self._unverified):
            text = "The registry does not confirm the schema ids of the lock file."
            log.warning(text, extra={"detail": self._unverified})
        self._conditions.end(but={*waiting, *notes, self._unverified})


def _by_reason(refusals: Mapping[str, str]) -> dict[str, list[str]]:
    waiting = defaultdict[str, list[str]](list)
    for stream, reason in list(refusals.items()):  # another thread may change it
        waiting[reason].append(stream)
    return waiting
