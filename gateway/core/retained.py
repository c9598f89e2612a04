"""Which retained messages are readings, and which are only the broker's reminder of one.

A broker keeps the last retained message of each topic and sends it to whoever subscribes, so it may come at every
reconnect. MQTT 5.0 lets us ask for it at new subscriptions only; MQTT 3.1.1 brokers send it every time. Once per
content means: a retained message that says the same as the retained one before it of its topic is no reading.

- What a topic said last is remembered as a digest, for this process's life: a restart may take one in again.
- DUP makes no repeat: the broker sends again what was not acknowledged, and it may be the only copy there is.
- Only retained messages are compared: digesting every reading would cost more than a reminder now and then.
- Memory has a bound: 65,536 topics in 15 MB; beyond that it is started anew, and some reminders pass as readings.
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
    """Decides about retained messages.

    Args:
        policy: take each content once, take them always, or never.
        max_topics: how many to remember.
    """

    def __init__(self, policy: Policy, max_topics: int = MAX_TOPICS) -> None:
        self._policy = policy
        self._max_topics = max_topics
        self._last: dict[bytes, bytes] = {}  # digest of the topic -> digest of what it said

    def refuses(self, reading: Reading) -> bool:
        """Tell whether a message is no reading, and remember it.

        Args:
            reading: any; what is not retained is never refused.
        """
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
