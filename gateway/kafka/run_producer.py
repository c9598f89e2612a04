"""confluent-kafka's producer, which also takes a run of records in one call where the module in C runs.

The module (`native/producer.c`) calls the librdkafka that confluent-kafka has loaded. It is used only where librdkafka
loads it as a plugin, as nearly every build does; elsewhere Python hands over each record.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer, cimpl

from gateway.core.native import MODULE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.reading import Record

PLUGIN = "plugin.library.paths"
_FUNCTIONS = (  # in the order of producer.c
    "rd_kafka_producev",
    "rd_kafka_headers_new",
    "rd_kafka_header_add",
    "rd_kafka_headers_destroy",
    "rd_kafka_topic_new",
    "rd_kafka_topic_destroy",
    "rd_kafka_conf_interceptor_add_on_new",
)


def _plugin() -> dict[str, str]:
    """Connect the module in C with librdkafka; give the property by which a producer uses it, if that works."""
    if not MODULE or not (path := MODULE.__file__):
        return {}
    with suppress(OSError, AttributeError):  # another build of confluent-kafka hides librdkafka
        library = ctypes.CDLL(cimpl.__file__)
        MODULE.use_librdkafka(*[ctypes.cast(library[name], ctypes.c_void_p).value or 0 for name in _FUNCTIONS])
        if _loads_plugins(library, path):
            return {PLUGIN: path}
    return {}


def _loads_plugins(library: ctypes.CDLL, path: str) -> bool:
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    result: int = library.rd_kafka_conf_set(configuration, PLUGIN.encode(), path.encode(), None, ctypes.c_size_t(0))
    library.rd_kafka_conf_destroy(configuration)
    return result == 0


_PLUGIN = _plugin()


class RunProducer(Producer):
    """A producer that takes a run of records in one call."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        super().__init__({**properties, **_PLUGIN})
        self._client = MODULE.take_client() if MODULE and _PLUGIN else None

    def produce_run(self, topic: str, partition: int, records: list[Record]) -> int:
        """Hand over records to one partition, without reports; count those that were taken, from the first on.

        `produce` takes the next, or raises what is wrong with it.
        """
        return MODULE.produce(self._client, topic, partition, records) if MODULE and self._client else 0

    def close(self) -> bool:
        """Close the producer, which takes no more runs."""
        self._client = None
        return super().close()

    def __exit__(self, *error: object) -> bool | None:
        """Close the producer, likewise."""
        self._client = None
        return super().__exit__(*error)
