"""Runs the fuzzers on a build of the module in C that stops at each wrong access to memory: `make fuzz-native`.

The package is copied, so that the module of the installation stays. Python gets its memory from malloc, where
AddressSanitizer sees the end of each object.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from native.build import MODULE, compile_module

REPOSITORY = Path(__file__).parents[2]
FUZZERS = ("tests.fuzz.encoder", "tests.fuzz.packets", "tests.fuzz.records", "tests.fuzz.entries")
CHECKS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def sanitized() -> tuple[Path, dict[str, str]]:
    """Build the module; give the folder of the package that has it, and the environment to run it in."""
    folder = REPOSITORY / "build" / "sanitized"
    shutil.copytree(REPOSITORY / "gateway", folder / "gateway", dirs_exist_ok=True)
    compile_module(folder / MODULE, flags=CHECKS)
    library = subprocess.run(["cc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True)
    return folder, os.environ | {
        "LD_PRELOAD": library.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps memory until it ends
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": f"{folder}:{REPOSITORY}",
    }


def main() -> int:
    """Run each fuzzer with the arguments of the command line."""
    folder, environment = sanitized()
    runs = ([sys.executable, "-m", fuzzer, *sys.argv[1:]] for fuzzer in FUZZERS)
    return max(subprocess.run(run, check=False, cwd=folder, env=environment).returncode for run in runs)


if __name__ == "__main__":
    sys.exit(main())
