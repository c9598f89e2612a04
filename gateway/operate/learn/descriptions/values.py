"""Values of descriptions: they come from devices, so any may have any type and any size.

Readers take what they understand and leave out the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TEXT = 200  # characters of a name or a text
MAX_TOPIC_BYTES = 65_535  # MQTT 5.0 section 1.5.4


def text(value: Any) -> str:
    """Give a text, shortened; "" for all else."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def mapping(value: Any) -> dict[str, Any]:
    """Give an object; an empty one for all else."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Give the objects of a list, or of the members of an object."""
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(one, dict):
            yield one


def topic_name(value: Any) -> str:
    """Give a topic to which one can publish; "" for all else."""
    is_topic = isinstance(value, str) and not set(value) & set("+#\0") and len(value.encode()) <= MAX_TOPIC_BYTES
    return value if is_topic else ""
