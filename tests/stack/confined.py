"""Run a program under the system-call filters that a unit asks for, as systemd would set them, without systemd.

    python tests/stack/confined.py UNIT PROGRAM [ARGUMENT...]

libseccomp is there wherever systemd is; what is in a set such as @system-service, systemd itself tells. Covered are
SystemCallFilter, RestrictAddressFamilies, MemoryDenyWriteExecute, RestrictNamespaces and NoNewPrivileges.
Namespaces and cgroups (PrivateTmp, ProtectSystem, DevicePolicy) are not: they take root and a service manager.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFINED = (sys.executable, __file__)

ALLOW = 0x7FFF0000  # SCMP_ACT_ALLOW; the constants of seccomp.h
ERRNO = 0x00050000
EQUAL, MASKED_EQUAL = 4, 7
UNKNOWN_CALL = -1
HIGHEST_FAMILY = 46
SHM_EXEC = 0o100000


class Comparison(ctypes.Structure):
    """scmp_arg_cmp: what a filter compares an argument with."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class Filter:
    """One filter of system calls; filters that are loaded one after the other all apply.

    Args:
        default: what becomes of calls that no rule names.
    """

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._filter = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def rule(self, action: int, call: str, *comparisons: tuple[int, int, int, int]) -> None:
        """Add a rule; a call that this machine does not have needs none."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number == UNKNOWN_CALL:
            return
        array = (Comparison * len(comparisons))(*(Comparison(*each) for each in comparisons))
        code = self._library.seccomp_rule_add_array(
            self._filter, ctypes.c_uint32(action), number, len(comparisons), array
        )
        assert code in {0, -errno.EDOM, -errno.EINVAL}, f"{call}: {os.strerror(-code)}"

    def load(self) -> None:
        """Put it in force, for good."""
        code = self._library.seccomp_load(self._filter)
        assert code == 0, os.strerror(-code)


def system_calls(words: list[str]) -> set[str]:
    """Resolve SystemCallFilter=: later lines take away from the first.

    Args:
        words: one setting each, as `@system-service` and `~@privileged @resources`.
    """
    sets = dict(_sets())
    allowed = {"execve"}

    def members(name: str) -> Iterator[str]:
        for each in sets[name] if name.startswith("@") else [name]:
            yield from members(each) if each.startswith("@") else [each]

    for line in words:
        calls = {call for word in line.removeprefix("~").split() for call in members(word)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls | set(members("@default"))
    return allowed


def _sets() -> Iterator[tuple[str, list[str]]]:
    told = subprocess.run(["systemd-analyze", "syscall-filter"], check=True, capture_output=True, text=True).stdout
    for block in told.split("\n\n"):
        name, *lines = [line.strip() for line in block.splitlines() if line.strip()] or [""]
        if name.startswith("@"):
            yield name, [line for line in lines if not line.startswith("#")]


def confine(settings: dict[str, list[str]]) -> None:
    """Set the filters of a unit for this process and all that it becomes.

    Args:
        settings: values of the unit, by name.
    """
    families = {getattr(socket, name) for name in settings["RestrictAddressFamilies"][0].split()}
    sockets = Filter(ALLOW)
    for family in set(range(HIGHEST_FAMILY)) - families:
        sockets.rule(ERRNO | errno.EAFNOSUPPORT, "socket", (0, EQUAL, family, 0))
    sockets.rule(ERRNO | errno.ENOSYS, "clone3")
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        sockets.rule(ERRNO | errno.EPERM, "clone", (0, MASKED_EQUAL, flag, flag))
    if settings["MemoryDenyWriteExecute"] == ["yes"]:
        both = mmap.PROT_WRITE | mmap.PROT_EXEC
        sockets.rule(ERRNO | errno.EPERM, "mmap", (2, MASKED_EQUAL, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            sockets.rule(ERRNO | errno.EPERM, call, (2, MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
        sockets.rule(ERRNO | errno.EPERM, "shmat", (2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC))
    calls = Filter(ERRNO | errno.EPERM)
    for call in system_calls(settings["SystemCallFilter"]):
        calls.rule(ALLOW, call)
    calls.rule(ALLOW, "seccomp")  # for ourselves: the next load; systemd needs none
    sockets.load()
    calls.load()


def read(unit: Path) -> dict[str, list[str]]:
    """Read a unit: values by setting."""
    settings: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            settings.setdefault(name, []).append(value)
    return settings


if __name__ == "__main__":
    confine(read(Path(sys.argv[1])))
    os.execv(sys.argv[2], sys.argv[2:])
