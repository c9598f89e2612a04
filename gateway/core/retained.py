"""Which retained messages are readings, and which repeat one.

A broker keeps the last retained message of each topic and sends it to every new subscriber, so it may come at each
reconnect. MQTT 5.0 can restrict it to new subscriptions; MQTT 3.1.1 brokers send it every time. With the policy `once`
a retained message with the same content as the previous retained one of its topic is not a reading.

- The last content of a topic is remembered as a digest, for the life of this process: after a restart it may be taken
  again.
- A message with DUP is never a duplicate here: the broker resends what was not acknowledged, and it may be the only
  copy.
- Only retained messages are compared: a digest of every reading would cost more than an occasional repeat.
- The memory is bounded: 65,536 topics in 15 MB. When there are more it is cleared, and some repeats pass as readings.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from gateway.core.reading import Reading

MAX_TOPICS = 65_536
DIGEST_BYTES = 16
Policy = Literal["once", "always", "never"]


class RetainedMessages:
    """Decides about retained messages: takes each content once, takes them all, or none."""

    def __init__(self, policy: Policy, max_topics: int = MAX_TOPICS) -> None:
        self._policy = policy
        self._max_topics = max_topics
        self._last: dict[bytes, bytes] = {}  # digest of the topic -> digest of its last content

    def is_duplicate(self, reading: Reading) -> bool:
        """Tell whether the policy drops a message, and remember it. A message that is not retained is never dropped."""
        if not reading.retain or self._policy == "always":
            return False
        return self._policy == "never" or (self._repeats(reading) and not reading.dup)

    def _repeats(self, reading: Reading) -> bool:
        topic, content = _digest(reading.topic), _digest(reading.sha256 or reading.payload)
        if self._last.get(topic) == content:
            return True
        if topic not in self._last and len(self._last) >= self._max_topics:
            self._last.clear()
        self._last[topic] = content
        return False


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST_BYTES).digest()
