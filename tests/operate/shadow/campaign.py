"""The planted changes on 100,000 messages, and the memory of a run over 1,000,000; takes some minutes.

python -m tests.operate.shadow.campaign
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from tests.operate.shadow.planted import PLANTED
from tests.operate.shadow.rig import Bakery, messages
from tests.operate.shadow.test_planted import check

MESSAGES = 100_000
FOR_MEMORY = 1_000_000


def main() -> None:
    """Check every change, then measure a run of many differences."""
    bakery = Bakery(Path(tempfile.mkdtemp()))
    changed = bakery.changed(*PLANTED["another key"].edits, *PLANTED["a symbol added"].edits)
    started, count = time.process_time(), FOR_MEMORY
    result = bakery.shadow_of((one.reading for one in messages(count)), changed)
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"{count:,} readings: {time.process_time() - started:.0f} s, at most {mebibytes:.0f} MiB, ")
    sys.stdout.write(f"{len(result.groups)} groups\n")
    for name in PLANTED:
        check(bakery, name, MESSAGES)
        sys.stdout.write(f"{name}: exact\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
