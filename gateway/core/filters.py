"""The filters that are subscribed at one broker: none overlaps another, so each message arrives once.

MQTT leaves open whether a broker sends a message twice that matches two filters of one session (MQTT 5.0 section
3.3.4), and at which QoS. So a filter that another covers is not subscribed, and two that overlap are replaced by the
narrowest filter that covers both: `a/+/c` and `a/b/+` by `a/+/+`.

That may bring topics that no address has. They are expected, and dropped as `not_addressed` (`topic_index.py`).

Rejected: subscription identifiers, by which a gateway could ignore the second copy. MQTT 3.1.1 has none, and Mosquitto
sends one copy with several identifiers, where other brokers send several copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ONE, ANY = "+", "#"


def plan(filters: Iterable[str]) -> dict[str, frozenset[str]]:
    """Find the filters to subscribe: each with those of the given ones that it covers, in the order of these."""
    planned: dict[tuple[str, ...], frozenset[str]] = {}
    for one in dict.fromkeys(filters):
        levels, covered = tuple(one.split("/")), frozenset([one])
        while (met := next((other for other in planned if _overlap(levels, other)), None)) is not None:
            levels, covered = _join(levels, met), covered | planned.pop(met)
        planned[levels] = covered
    return {"/".join(levels): covered for levels, covered in planned.items()}


def overlap(one: str, other: str) -> bool:
    """Tell whether some topic matches both filters."""
    return _overlap(one.split("/"), other.split("/"))


def _overlap(one: Iterable[str], other: Iterable[str]) -> bool:
    left, right = tuple(one), tuple(other)
    for mine, others in zip(left, right, strict=False):
        if ANY in {mine, others}:
            return True
        if mine != others and ONE not in {mine, others}:
            return False
    shorter, longer = sorted((left, right), key=len)
    return longer[len(shorter) :] in {(), (ANY,)}  # a/# matches a [MQTT 5.0 section 4.7.1.2]


def _join(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """Find the narrowest filter that covers two that overlap."""
    joined: list[str] = []
    for mine, others in zip(one, other, strict=False):
        if ANY in {mine, others}:
            return (*joined, ANY)
        joined.append(mine if mine == others else ONE)
    return tuple(joined) if len(one) == len(other) else (*joined, ANY)
