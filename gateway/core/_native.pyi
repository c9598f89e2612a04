from collections.abc import Callable
from typing import Any

FORMAT: int

def make_encoder(
    code: bytes, doubles: bytes, integers: bytes, texts: tuple[bytes, ...], constants: tuple[Any, ...],
    fallback: Callable[..., Any], /
) -> Callable[..., Any]: ...  # fmt: skip
def read_publishes(
    buffer: bytes, position: int, limit: int, is_v5: bool, keeps: Callable[[str, bytes], bool], most_properties: int,
    stream_of: Callable[[bytes], str], now: int, connection: object, reading: type, entry: type, arrived: list[Any], /
) -> int: ...  # fmt: skip
def use_librdkafka(record: type, /, *addresses: int) -> None: ...
def take_client() -> object | None: ...
def produce(client: object, topic: str, partition: int, records: list[Any], /) -> int: ...
