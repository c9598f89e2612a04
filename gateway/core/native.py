"""The extension module in C (`native/`), where it was built: `MODULE` is None where Python alone does the work.

It is left out where there is no C compiler, and cannot be imported with GATEWAY_PURE=1. A module that was built from
other sources may not know what the programs of these mean, so it is not used: `make setup` builds it again.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

FORMAT = 7  # of what Python and C say to each other; native.h has the same

try:
    from gateway.core import _native
except ImportError:
    MODULE = None
else:
    MODULE = _native if _native.FORMAT == FORMAT else None
ENTRY, READING, RECORD = range(3)  # classes of structs that the module knows


class _Sample(Struct, gc=False):
    """Shows whether this msgspec keeps members where the module looks for them."""

    first: Any
    second: Any


def show_class(number: int, kind: type[Struct], *names: str) -> bool:
    """Show the module where a class has members, in the order of native.h; return whether it finds them."""
    marks = {name: object() for name in kind.__struct_fields__}
    words = kind.__basicsize__ // 8
    return MODULE is not None and MODULE.use_class(number, kind(**marks), words, tuple(marks[name] for name in names))


if not show_class(ENTRY, _Sample, "second", "first"):
    MODULE = None

RUNS = "native" if MODULE else "pure Python"
