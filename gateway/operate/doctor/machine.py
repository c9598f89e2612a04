"""This machine and its software: word size, Python, librdkafka."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import confluent_kafka

from gateway.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = "machine"
BITS_32 = 2**31 - 1  # sys.maxsize of a 32-bit Python
OLDEST_PYTHON, FIRST_UNTESTED_PYTHON = (3, 11), (3, 14)  # requires-python
OLDEST_LIBRDKAFKA = (2, 16)  # of the oldest confluent-kafka in pyproject.toml


def examine(
    maximum: int = sys.maxsize,
    python: tuple[int, ...] = sys.version_info[:3],
    librdkafka: str = confluent_kafka.libversion()[0],
) -> Iterator[Finding]:
    """Check the machine: the largest size of a container in Python, and two versions."""
    if maximum <= BITS_32:
        fix = "Install a 64-bit system; on a Raspberry Pi this needs model 3 or later."
        yield Finding.at(PLACE, "system", "error", "32-bit", fix)
    else:
        yield Finding.at(PLACE, "system", "ok", "64-bit")
    is_tested = OLDEST_PYTHON <= python[:2] < FIRST_UNTESTED_PYTHON
    fix = "Use Python 3.11, 3.12 or 3.13."
    yield _version("Python", ".".join(map(str, python)), fix, is_fit=is_tested)
    is_new = tuple(int(part) for part in librdkafka.split(".")[:2] if part.isdecimal()) >= OLDEST_LIBRDKAFKA
    fix = "Install the locked wheel of confluent-kafka instead of the distribution's librdkafka."
    yield _version("librdkafka", librdkafka, fix, is_fit=is_new)


def _version(what: str, version: str, fix: str, *, is_fit: bool) -> Finding:
    return Finding.at(PLACE, what, "ok", version) if is_fit else Finding.at(PLACE, what, "warning", version, fix)
