"""Messages that hold several readings: the inverse of `core/record_path.py`, which cuts the readings out."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.record_path import PARAMETER, beside, is_around
from gateway.operate.simulate.breakage import TO_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.record_path import Step

_read = msgspec.json.Decoder(float_hook=Decimal).decode


def split(payload: bytes, value: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Take what a sample reads of the message around it out of its payload; `value` has it where that is no object."""
    try:
        parsed = _read(payload)
    except ValueError:  # a broken sample
        parsed = None
    if not isinstance(parsed, dict):
        return payload, {name: one for name, one in value.items() if is_around((name,))}
    around = {name: parsed.pop(name) for name in list(parsed) if is_around((name,))}
    return (TO_BYTES(parsed) if around else payload), around


def joined(steps: Sequence[Step], texts: Sequence[bytes], around: Mapping[str, Any], depth: int = 0) -> bytes:
    """Write a message that holds readings, given as JSON texts, and what they read around them."""
    step = steps[depth]
    inside = texts if depth + 1 == len(steps) else [joined(steps, texts, around, depth + 1)]
    if step.kind == "items":
        return b"[%b]" % b",".join(inside)
    if step.kind == "members":
        last = str(around.get(PARAMETER + step.name, "last"))
        names = [f"{last}-{number}" for number in range(1, len(inside))] + [last]
        return _object(dict(zip(names, inside, strict=True)))
    return _object(
        {name: TO_BYTES(value) for name, value in beside(steps, depth, around).items()} | {step.name: inside[0]}
    )


def _object(members: Mapping[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(b"%b:%b" % (TO_BYTES(name), text) for name, text in members.items())
