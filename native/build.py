"""Compiles the extension module while hatchling builds the package: for a wheel, and for a folder that is installed.

Without a C compiler, or without Python's headers, the module is left out and the gateway runs in Python: an
installation needs neither. GATEWAY_MACHINE names the machine of a wheel, `aarch64`, for which a cross compiler
compiles, or `none` for a wheel without the module, which runs everywhere. What is named must succeed.

The stable ABI needs of Python's configuration only the sizes of C's types, which native.h compares. So the headers of
this machine serve the other one. Debian keeps the configuration in a folder of the machine's name, which is copied.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path(__file__).parent
MODULE = "gateway/core/_native.abi3.so"
NOBODY = "none"
HERE = platform.machine()
# The oldest glibc that both machines have symbols of. The module needs none that is newer; a test reads that from it.
PLATFORM = "manylinux_2_17"
FLAGS = (
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Werror",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
)
RELEASE = ("-O2", "-s", "-Wl,-z,relro,-z,now")


class NativeHook(BuildHookInterface[Any]):
    """What hatchling calls."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the module, and name the machine in the wheel's name."""
        wanted = os.environ.get("GATEWAY_MACHINE", "")
        if self.target_name != "wheel" or wanted == NOBODY:
            return
        is_editable = version == "editable"
        target = Path(self.root, *([] if is_editable else ["build"]), MODULE)
        try:
            compile_module(target, wanted or HERE)
        except (OSError, subprocess.CalledProcessError) as error:
            if wanted:
                raise
            sys.stderr.write(f"The module in C is left out, and the gateway runs in Python: {error}\n")
            return
        if is_editable:
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{PLATFORM}_{wanted or HERE}"
        build_data["force_include"][str(target)] = MODULE


def compile_module(target: Path, machine: str = HERE, flags: tuple[str, ...] = RELEASE) -> None:
    """Compile the module for a machine; raises OSError without a compiler, CalledProcessError when it fails."""
    compiler = os.environ.get("CC", "cc") if machine == HERE else f"{machine}-linux-gnu-gcc"
    if not (found := shutil.which(compiler)):
        raise FileNotFoundError(f"there is no C compiler, {compiler}")
    headers = Path(sysconfig.get_path("include"))
    sources = sorted(path.name for path in SOURCES.glob("*.c"))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, f"{machine}-linux-gnu", headers.name, "pyconfig.h")
        configuration.parent.mkdir(parents=True)
        shutil.copyfile(sysconfig.get_config_h_filename(), configuration)
        include = (f"-I{headers}", f"-I{folder}")
        fresh = target.absolute().with_suffix(".new")  # a running gateway keeps the old one
        subprocess.run(  # noqa: S603 - the compiler that is installed
            [found, *FLAGS, *flags, *include, "-o", fresh, *sources], check=True, cwd=SOURCES
        )
    fresh.replace(target)
