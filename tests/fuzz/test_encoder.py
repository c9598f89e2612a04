"""The fuzz target itself, and a short run of it with every run of the tests."""

from __future__ import annotations

from gateway.core.native import MODULE
from tests.fuzz.encoder import Maker, fuzz

SECONDS = 3


def test_c_says_what_python_says() -> None:
    count, natively, fault = fuzz(seed=1, seconds=SECONDS)
    assert not fault
    assert natively > count / 2 or MODULE is None


def test_payloads_are_encoded_about_as_often_as_they_are_refused() -> None:
    maker, encoded = Maker(1), []
    for case in (maker.case() for _ in range(60)):
        codec, values = case.codec(is_native=True), ("a",) * len(case.parameters)
        encoded += [isinstance(codec.encode(maker.payload(case), values), tuple) for _ in range(10)]
    assert 0.1 < sum(encoded) / len(encoded) < 0.8
