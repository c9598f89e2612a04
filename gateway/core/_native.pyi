from collections.abc import Callable
from typing import Any

FORMAT: int

def make_encoder(
    code: bytes, doubles: bytes, integers: bytes, texts: tuple[bytes, ...], constants: tuple[Any, ...],
    fallback: Callable[..., Any], /
) -> Callable[..., Any]: ...  # fmt: skip
