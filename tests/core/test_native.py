"""Without the module in C, Python does the same: the tests of what C does run again where it cannot be imported.

They are a pytest of their own, because a process imports the module or does not. Paho's reader has nothing in C, nor
has what some files test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 1200
SHOWN = 10_000  # characters of the report of a failure
NOTHING_IN_C = ("scale", "pattern", "telegram", "local_time", "json_text")
PURE = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | {"GATEWAY_PURE": "1"}


@pytest.mark.parametrize("tests", ["tests/core/codec", "tests/mqtt/test_reader.py"])
def test_python_alone_passes_the_tests_of_the_module_in_c(tests: str) -> None:
    ignored = [f"--ignore=tests/core/codec/test_{name}.py" for name in NOTHING_IN_C]
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not PahoReader", *ignored, tests)
    assert done.returncode == 0, done.stdout[-SHOWN:]


def test_the_environment_selects_python() -> None:
    assert python("-c", "from gateway.core.native import RUNS; print(RUNS)").stdout == "pure Python\n"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, *arguments]
    return subprocess.run(call, cwd=ROOT, env=PURE, capture_output=True, text=True, timeout=SECONDS, check=False)
