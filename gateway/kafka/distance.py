"""How many requests may be in flight to a Kafka broker, by its distance.

Kafka answers the requests of a connection one after the other. Over a WAN five in-flight requests, the most that keep
their order, hide the round trip. On a LAN two suffice, and more would wait at the broker instead of gathering records
here: with two, latency at 10,000/s was up to 1 ms lower, and at full speed a record cost up to a tenth less CPU. Over
a round trip of 20 ms, two took twice as long as five.

Brokers that speak MQTT 3.1.1 leave few messages unacknowledged, Mosquitto 20. These go to Kafka in a request for each
partition, and nothing gathers meanwhile. So Kafka counts as far away there: with five requests in flight, 20
unacknowledged readings took a seventh less time.

librdkafka fixes the number when a producer is made, so the distance is measured once before that, by connecting. A
broker that does not answer counts as far away.
"""

from __future__ import annotations

import socket
import threading
import time

PORT = 9_092  # librdkafka's default
FAR, NEAR = 5, 2  # requests in flight
NEAR_SECONDS = 0.001  # to connect, on the best of some tries: the others show how busy this machine is
TRIES = 3
MEASURE_SECONDS = 0.1  # for all tries, so that a start does not wait for Kafka


def max_in_flight(
    host: str, port: int | None, near_seconds: float = NEAR_SECONDS, measure_seconds: float = MEASURE_SECONDS
) -> int:
    """Choose librdkafka's `max.in.flight`; a broker that takes less than `near_seconds` to connect is near."""
    times: list[float] = []
    # In a thread, because a DNS look-up has no time limit.
    measuring = threading.Thread(
        target=_measure, args=(host, port or PORT, measure_seconds, times), name="measure kafka", daemon=True
    )
    measuring.start()
    measuring.join(measure_seconds)
    return NEAR if min(times, default=near_seconds) < near_seconds else FAR


def _measure(host: str, port: int, timeout_seconds: float, times: list[float]) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        for _ in range(TRIES):
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(timeout_seconds)
                began = time.monotonic()
                connection.connect(address)
                times.append(time.monotonic() - began)
    except (OSError, ValueError):  # ValueError: a host name that IDNA cannot encode
        times.clear()
