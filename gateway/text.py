"""Text from outside, made safe to show: control characters escaped, long values cut.

Messages quote commands as "gateway topics apply -c FILE", because most modules do not know gateway.yaml. What shows a
message (`cli/`, the log, `/readyz`) puts the file's name there by `with_config`, so that the command can be pasted.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

MAXIMUM_VALUE_BYTES: Final = 256
CONFIG: Final = "-c FILE"
SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}

# Control, format (bidi and zero-width), surrogate, private use, unassigned, line and paragraph separator.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_DURATION = re.compile(rf"([0-9]{{1,15}}(?:\.[0-9]{{1,9}})?) ?({'|'.join(SECONDS)})")
_NAMED_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""Escape what must not reach a terminal or a log line: `"a\x1b[31m"` -> `a\u001b[31m`.

    The result is one line that can be encoded as UTF-8.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escape, text))


def with_config(text: str, config: Path | None) -> str:
    """Name gateway.yaml in the commands that a text quotes; without one the text stays as it is."""
    return text.replace(CONFIG, f"-c {printable(shlex.quote(str(config)))}") if config else text


def sentences(text: str) -> tuple[str, str]:
    """Make the two sentences of a `cause; fix`; the second is "" when there is no fix."""
    cause, _, fix = text.partition("; ")
    return _as_sentence(cause), _as_sentence(fix)


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if not text or text[-1] in '?.' else '.'}"


def cut(value: str | bytes, limit: int = MAXIMUM_VALUE_BYTES) -> str:
    """Shorten a value to `limit` bytes of UTF-8, followed by an ellipsis and the length of the whole value in bytes."""
    if isinstance(value, str):
        if len(value) * 4 <= limit:
            return value
        value = value.encode("utf-8", "surrogatepass")
        kept = value if len(value) <= limit else value[:limit]
        text = kept.decode("utf-8", "surrogatepass" if kept is value else "ignore")
    else:
        text = value[:limit].decode("utf-8", "backslashreplace")
    return text if len(value) <= limit else f"{text}… ({len(value)} bytes)"


def duration(text: object) -> float | None:
    """Read a duration with its unit, such as `250ms`, `5s` or `1d`, in seconds; None when a value is not one."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return round(float(match[1]) * SECONDS[match[2]], 9) if match else None


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    code = ord(character)
    return _NAMED_ESCAPES.get(character) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
