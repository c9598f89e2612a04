"""This machine, and what the gateway runs on: word size, Python, librdkafka."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import confluent_kafka

from gateway.operate.doctor.diagnosis import Diagnosis, State

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACE = "machine"
BITS_32 = 2**31 - 1  # sys.maxsize there
OLDEST_PYTHON, FIRST_UNTRIED_PYTHON = (3, 11), (3, 14)  # requires-python
OLDEST_LIBRDKAFKA = (2, 16)  # goes with the oldest confluent-kafka that is asked for


def examine(
    maximum: int = sys.maxsize,
    python: tuple[int, ...] = sys.version_info[:3],
    librdkafka: str = confluent_kafka.libversion()[0],
) -> Iterator[Diagnosis]:
    """Look at the machine.

    Args:
        maximum: the largest size of a container here.
        python: its version.
        librdkafka: its version.
    """
    if maximum <= BITS_32:
        fix = "Install a 64-bit system; on a Raspberry Pi from model 3 on."
        yield Diagnosis(PLACE, "system", State.WRONG, "32-bit", fix)
    else:
        yield Diagnosis(PLACE, "system", State.OK, "64-bit")
    is_tried = OLDEST_PYTHON <= python[:2] < FIRST_UNTRIED_PYTHON
    fix = "" if is_tried else "Use Python 3.11, 3.12 or 3.13."
    yield Diagnosis(PLACE, "Python", State.OK if is_tried else State.WARNING, ".".join(map(str, python)), fix)
    is_new = tuple(int(part) for part in librdkafka.split(".")[:2] if part.isdecimal()) >= OLDEST_LIBRDKAFKA
    fix = "" if is_new else "Install the locked wheel of confluent-kafka instead of the distribution's librdkafka."
    yield Diagnosis(PLACE, "librdkafka", State.OK if is_new else State.WARNING, librdkafka, fix)
