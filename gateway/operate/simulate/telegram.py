"""Telegrams as a meter writes them: the inverse of `core/codec/telegram.py`, which reads them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from gateway.core.codec.telegram import IDENTIFICATION, checksum_of
from gateway.operate.simulate.limits import Limits

NAME = "SIM5GATEWAY"  # of a meter whose examples have none
_TIME = re.compile(r"20(\d\d)-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?([SWZ]?)", re.ASCII)


def telegram(value: dict[str, Any]) -> bytes:
    """Write a telegram with its checksum."""
    lines = [_line(code, each) for code, each in value.items() if code != IDENTIFICATION]
    text = "\r\n".join([f"/{value.get(IDENTIFICATION, NAME)}", "", *lines, "!"]).encode("ascii", "replace")
    return b"%b%04X\r\n" % (text, checksum_of(text))


def completed(value: dict[str, Any], example: Any, schema: Any) -> dict[str, Any]:
    """Add what no field reads: from an example, and for numbers the unit that the JSON Schema states."""
    known = example if isinstance(example, dict) else {}
    made = {IDENTIFICATION: known[IDENTIFICATION]} if IDENTIFICATION in known else {}
    for code, one in value.items():
        made[code] = {**known.get(code, {}), **one} if isinstance(one, dict) else one
        if isinstance(one, dict) and isinstance(one.get("value"), int | float | Decimal):
            made[code].setdefault("unit", next(iter(Limits(schema, (code, "unit")).of("const")), "1"))
    return made


def _line(code: str, value: Any) -> str:
    members = value if isinstance(value, dict) else {"value": value}
    texts = "".join([f"({text})" for text in members.get("texts", ())])
    if texts and "value" in members:  # gas of versions 2 and 3
        return f"{code}({_text(members['time'])}){texts}({members['unit']})\r\n({_text(members['value'])})"
    return f"{code}{texts}{''.join(map(_values, members.get('values', [members])))}"


def _values(members: dict[str, Any]) -> str:
    times = [f"({_text(members[name])})" for name in ("period", "time") if name in members]
    unit = f"*{members['unit']}" if "unit" in members else ""
    return "".join([*times, f"({_text(members['value'])}{unit})" if "value" in members else ""])


def _text(value: Any) -> str:
    """Write a number without an exponent, and a time in the form of a meter."""
    if isinstance(value, float | Decimal):
        return f"{Decimal(str(value)):f}"
    match = _TIME.fullmatch(str(value))
    return "".join(match.groups()).replace("Z", "W") if match else str(value)
