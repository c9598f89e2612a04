"""The extension module in C (`native/`), where it was built: `MODULE` is None where Python alone does the work.

It is left out where there is no C compiler, and cannot be imported with GATEWAY_PURE=1. A module that was built from
other sources may not know what the programs of these mean, so it is not used: `make setup` builds it again.
"""

from __future__ import annotations

FORMAT = 6  # of what Python and C say to each other; native.h has the same

try:
    from gateway.core import _native
except ImportError:
    MODULE = None
else:
    MODULE = _native if _native.FORMAT == FORMAT else None

RUNS = "native" if MODULE else "pure Python"
