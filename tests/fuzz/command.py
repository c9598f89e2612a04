"""What all fuzzers have on the command line: `--seconds` and `--seed`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from gateway.core.native import RUNS

if TYPE_CHECKING:
    from collections.abc import Callable


def run_fuzzer(doc: str | None, fuzz: Callable[[int, float], tuple[Any, ...]], *units: str) -> int:
    """Run a fuzzer, which gives a count of each unit and the first fault, and print that; give the exit status."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    *counts, fault = fuzz(given.seed, given.seconds)
    told = ", ".join(f"{count:,} {unit}" for count, unit in zip(counts, units, strict=True))
    sys.stdout.write(f"{RUNS}, seed {given.seed}: {told}, {fault or 'no fault'}\n")
    return 1 if fault else 0
