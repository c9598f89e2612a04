"""How far away Kafka is, which decides how many requests may be under way to a broker.

Kafka answers the requests of a connection one after the other. Those beyond the one that it works on only have to cover
the way there and back. From another town that takes five, as many as keep their order. On the same machine or behind
the same switch it takes two: more would wait there, where they could have gathered records here. With two, 10,000
readings a second were through up to a millisecond earlier, and at full speed each cost up to a tenth less; over a way
of 20 ms two took twice as long as five.

librdkafka's figure stands for the life of a producer, so the way is measured once, before there is one: by connecting.
A broker that does not answer then counts as far away, which costs the gateway beside it what is said above.
"""

from __future__ import annotations

import socket
import threading
import time

PORT = 9_092  # librdkafka's, where none is said
FAR, NEAR = 5, 2  # requests under way
NEAR_SECONDS = 0.001  # to connect, on the best of some tries: the others tell how busy this machine is
TRIES = 3
PATIENCE_SECONDS = 0.1  # for all of it: a start waits for nobody


def max_in_flight(host: str, port: int | None) -> int:
    """Tell how many requests shall be under way to each broker of a cluster.

    Args:
        host: of one of its brokers.
        port: None for librdkafka's own.
    """
    ways: list[float] = []
    # A thread, because nothing ends a look-up of a name that takes its time.
    measuring = threading.Thread(target=_measure, args=(host, port or PORT, ways), name="measure kafka", daemon=True)
    measuring.start()
    measuring.join(PATIENCE_SECONDS)
    return NEAR if min(ways, default=NEAR_SECONDS) < NEAR_SECONDS else FAR


def _measure(host: str, port: int, ways: list[float]) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        for _ in range(TRIES):
            with socket.socket(family, kind, protocol) as plain:
                plain.settimeout(PATIENCE_SECONDS)
                began = time.monotonic()
                plain.connect(address)
                ways.append(time.monotonic() - began)
    except (OSError, ValueError):  # ValueError: a host name that IDNA cannot encode
        ways.clear()
