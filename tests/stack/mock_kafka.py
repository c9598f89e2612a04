"""The demo's mock cluster with faults that are hard to cause in a real one."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from gateway.operate.demo import mock_kafka

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRODUCE = 0  # Kafka's API key, for `push_errors`
BROKER = 1  # id of the only broker


class MockCluster(mock_kafka.MockCluster):
    """A mock cluster whose broker can fail."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        super().__init__(topics)
        cluster, broker, number = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int  # as rdkafka_mock.h declares them
        self.library.rd_kafka_mock_broker_set_down.argtypes = [cluster, broker]
        self.library.rd_kafka_mock_broker_set_up.argtypes = [cluster, broker]
        self.library.rd_kafka_mock_broker_set_rtt.argtypes = [cluster, broker, number]
        push = self.library.rd_kafka_mock_push_request_errors_array
        push.restype, push.argtypes = None, [cluster, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(number)]

    def down(self) -> None:
        """Close the broker's connections and accept no new ones, until `up`."""
        self.library.rd_kafka_mock_broker_set_down(self.handle, BROKER)

    def up(self) -> None:
        """Accept connections again; the records are still there."""
        self.library.rd_kafka_mock_broker_set_up(self.handle, BROKER)

    def rtt(self, milliseconds: int) -> None:
        """Answer every request this much later."""
        self.library.rd_kafka_mock_broker_set_rtt(self.handle, BROKER, milliseconds)

    def answer_late(self, api_key: int, milliseconds: int) -> None:
        """Answer the next request of an API this much later, and after it what its connection asks; all take effect."""
        push = self.library.rd_kafka_mock_broker_push_request_error_rtts
        push(ctypes.c_void_p(self.handle), BROKER, ctypes.c_int16(api_key), ctypes.c_size_t(1), 0, milliseconds)

    def push_errors(self, api_key: int, codes: Sequence[int]) -> None:
        """Answer the next requests of an API with one of Kafka's protocol error codes each."""
        array = (ctypes.c_int * len(codes))(*codes)
        self.library.rd_kafka_mock_push_request_errors_array(self.handle, api_key, len(codes), array)
