from collections.abc import Callable, Iterator
from typing import Any

FORMAT: int

def use_class(number: int, sample: object, words: int, marks: tuple[object, ...], /) -> bool: ...
def measure(entries: list[Any], /) -> tuple[int, int]: ...
def settle(entries: list[Any], /) -> int: ...
def take_settled(entries: Iterator[Any], /) -> tuple[list[Any], int, Any]: ...
def number(entries: list[Any], first: int, entry_bytes: int, /) -> int: ...
def split(
    records: list[Any], entries: list[Any], known: dict[bytes, int], others: int, /
) -> dict[int, tuple[list[Any], list[Any]]]: ...  # fmt: skip
def encode_run(
    topics: dict[bytes, Any], readings: list[Any], place: int, limit: int, records: list[Any], /
) -> int: ...  # fmt: skip
def make_encoder(
    code: bytes, doubles: bytes, integers: bytes, texts: tuple[bytes, ...], constants: tuple[Any, ...],
    fallback: Callable[..., Any], /
) -> Callable[..., Any]: ...  # fmt: skip
def read_publishes(
    buffer: bytes, position: int, limit: int, is_v5: bool, keeps: Callable[[str, bytes], bool], most_properties: int,
    stream_of: Callable[[bytes], str], now: int, connection: object, arrived: list[Any], streams: set[str], /
) -> int: ...  # fmt: skip
def use_librdkafka(*addresses: int) -> None: ...
def take_client() -> object | None: ...
def produce(client: object, topic: str, partition: int, records: list[Any], /) -> int: ...
