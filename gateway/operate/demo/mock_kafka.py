"""Kafka without Java: the mock cluster of librdkafka.

    with MockCluster({"machine-sensors": 3}) as kafka:
        Producer({"bootstrap.servers": kafka.bootstrap})

It runs in C threads of this process, on loopback ports that the kernel chooses; other processes can connect to it.
The Python API of confluent-kafka does not offer it, so the functions of the wheel's librdkafka are called with ctypes;
they exist since version 1.3.

Limits: it keeps about 5 MB per partition and drops older records; it has no CreateTopics request (an unknown topic
gets four partitions when a client produces to it) and no transaction isolation. Its data ends with it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import confluent_kafka  # noqa: F401 - loads the wheel's librdkafka into this process

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_ERRORS_ONLY = b"3"

_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {  # result and arguments, as rdkafka.h and rdkafka_mock.h declare them
    "rd_kafka_conf_new": (ctypes.c_void_p, []),
    "rd_kafka_conf_set": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
    ),
    "rd_kafka_new": (ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_new": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [ctypes.c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (ctypes.c_char_p, [ctypes.c_void_p]),
    "rd_kafka_mock_topic_create": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
}


class MockCluster:
    """A mock cluster of one broker; a context manager. RuntimeError when librdkafka reports an error.

    `topics` gives the number of partitions, `bootstrap` is `127.0.0.1:PORT`, for clients' `bootstrap.servers`.
    """

    def __init__(self, topics: Mapping[str, int]) -> None:
        self.library = _library()
        self._client = self._new_client()
        self.handle = self.library.rd_kafka_mock_cluster_new(self._client, 1)  # `rd_kafka_mock_cluster_t *`
        self.bootstrap: str = self.library.rd_kafka_mock_cluster_bootstraps(self.handle).decode()
        for name, partitions in topics.items():
            self.create_topic(name, partitions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic; RuntimeError when it exists, or librdkafka reports an error."""
        error = self.library.rd_kafka_mock_topic_create(self.handle, name.encode(), partitions, 1)
        if error:
            raise RuntimeError(f"mock topic {name} with {partitions} partitions: librdkafka's error {error}")

    def close(self) -> None:
        """Stop the cluster and delete its data; may be called again."""
        if self._client is not None:
            self.library.rd_kafka_mock_cluster_destroy(self.handle)
            self.library.rd_kafka_destroy(self._client)
            self._client = None

    def _new_client(self) -> int | None:
        error = ctypes.create_string_buffer(512)
        configuration = self.library.rd_kafka_conf_new()
        self.library.rd_kafka_conf_set(configuration, b"log_level", LOG_ERRORS_ONLY, error, len(error))
        client: int | None = self.library.rd_kafka_new(0, configuration, error, len(error))  # 0: a producer
        if not client:
            raise RuntimeError(error.value.decode(errors="replace"))
        return client


def _library() -> ctypes.CDLL:
    """Find the librdkafka that this process has loaded, and declare the functions that are called."""
    mapped = (line.split()[-1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines())
    path = next((path for path in mapped if "/librdkafka" in path), None)
    if path is None:
        raise RuntimeError("confluent-kafka was not installed as a wheel: its librdkafka was not found")
    library = ctypes.CDLL(path)
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
