"""Which record timestamps each Kafka topic accepts and retains, from topic settings that a thread looks up.

- The settings of the cluster apply, because its defaults or an operator may differ from the contract. Where Kafka does
  not show them, those of the contract apply, or else Kafka's defaults.
- The transform of a stream with `x-timestamp` is handed over only when the settings of its topics are known. So no
  record gets a timestamp for which Kafka would delete it at once.
- They are looked up again each minute: they may change, and an age limit moves with the clock.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from gateway.core.codec.event_time import RecordTime
from gateway.errors import GatewayError
from gateway.kafka.topic_settings import actual_settings
from gateway.log import Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.bridge.bridge import Transform
    from gateway.core.model import Stream

    _Item = tuple[str, Transform | None]

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0  # while Kafka does not answer, or a topic does not exist
REFRESH_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0
HIDDEN = (
    "retention.ms counts as in the contract, else as 7 days; grant the gateway's user DESCRIBE_CONFIGS on the topic"
)


class RecordTimes(dict[str, RecordTime]):
    """The timestamps by topic. `hand_over` takes a stream's transform from any thread, and passes it on in time.

    After a reload they continue the `former` ones, which transforms that stay use.
    """

    def __init__(
        self,
        streams: Iterable[Stream],
        properties: Callable[[], Mapping[str, Any]],
        refresh_seconds: float = REFRESH_SECONDS,
        former: RecordTimes | None = None,
    ) -> None:
        streams = list(streams)
        routes = [route for stream in streams for route in (*stream.routes, stream.dead_letters)]
        self._settings: dict[str, Mapping[str, str]] = {one.topic.name: one.topic.configuration for one in routes}
        known = {name: each for name, each in (former.known if former else {}).items() if name in self._settings}
        self._settings |= known
        self._needs = {
            stream.name: {route.topic.name for route in stream.routes if route.timestamp} for stream in streams
        }
        shared: Mapping[str, RecordTime] = former or {}
        super().__init__({name: shared.get(name) or RecordTime() for name in self._settings})
        self._properties = properties
        self._refresh_seconds = refresh_seconds
        self._known = set(known)
        self._transforms: SimpleQueue[_Item | None] = SimpleQueue()  # None: stop
        self._conditions = Conditions()
        self._limit({})

    @property
    def known(self) -> dict[str, Mapping[str, str]]:
        """The settings of the topics that have been looked up."""
        return {name: self._settings[name] for name in [*self._known] if name in self._settings}

    def start(self, pass_on: Callable[[_Item], None]) -> None:
        """Start the thread; transforms go to `pass_on`."""
        threading.Thread(target=self._run, args=(pass_on,), name="record times", daemon=True).start()

    def stop(self) -> None:
        """End the thread after the lookup in progress."""
        self._transforms.put(None)

    def hand_over(self, stream: str, transform: Transform | None) -> None:
        """Pass a stream's transform on as soon as the settings of its topics are known, None to take it back."""
        self._transforms.put((stream, transform))

    def _run(self, pass_on: Callable[[_Item], None]) -> None:
        waiting: list[_Item] = []
        look_up_at = time.monotonic() + self._refresh_seconds if self._known.issuperset(self._settings) else 0.0
        while True:
            try:
                item = self._transforms.get(timeout=max(0.0, look_up_at - time.monotonic()))
                if item is None:
                    return
                waiting.append(item)
            except Empty:
                self.look_up()
                is_complete = self._known.issuperset(self._settings)
                look_up_at = time.monotonic() + (self._refresh_seconds if is_complete else RETRY_SECONDS)
            due = [item for item in waiting if self._needs[item[0]] <= self._known]
            waiting = [item for item in waiting if item not in due]
            for item in due:
                pass_on(item)

    def look_up(self) -> None:
        """Look up the settings of all topics, and limit the timestamps by them."""
        with suppress(GatewayError):  # a secret that cannot be read now; the sink reports it
            self._limit(actual_settings(self._properties(), self._settings, TIMEOUT_SECONDS))

    def _limit(self, actual: Mapping[str, Mapping[str, str] | None]) -> None:
        """Limit the timestamps by the settings that Kafka shows or showed last, else by the contract's."""
        now = time.time_ns() // 1_000_000
        self._settings.update({name: settings for name, settings in actual.items() if settings is not None})
        for name, settings in self._settings.items():
            self[name].limit(settings, now)
        self._known.update(actual)
        dated = set().union(*self._needs.values())
        hidden = sorted(name for name in dated if name in actual and actual[name] is None)
        if hidden and self._conditions.begins(detail := f"{', '.join(hidden)}: {HIDDEN}"):
            log.warning("Kafka does not show the settings of topics to this user.", extra={"detail": detail})
