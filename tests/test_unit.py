"""The systemd unit says what the program does: exit codes, watchdog, one place for its state; and it works under it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import ConfigurationError, SpoolBrokenError, SpoolTakenError
from tests.stack.confined import CONFINED, read
from tests.stack.software import command

DEPLOY = Path(__file__).parent.parent / "deploy"
UNIT = DEPLOY / "gateway.service"
UPDATE, TIMER = DEPLOY / "gateway-update.service", DEPLOY / "gateway-update.timer"
UNITS = (UNIT, DEPLOY / "gateway@.service", UPDATE)


def settings() -> dict[str, list[str]]:
    """Read the unit: values by setting."""
    return read(UNIT)


def test_unit_does_not_restart_what_cannot_start() -> None:
    """Exit codes of wrong files and of a taken spool end it; a broken disk and everything else start it anew."""
    codes = {int(code) for code in settings()["RestartPreventExitStatus"][0].split()}
    assert codes == {ConfigurationError.exit_code, SpoolTakenError.exit_code}
    assert SpoolBrokenError.exit_code not in codes
    assert settings()["Restart"] == ["always"]
    assert settings()["StartLimitIntervalSec"] == ["0"]


def test_unit_waits_for_ready_and_watches() -> None:
    """The unit waits for READY=1, and systemd ends a gateway whose loop hangs."""
    assert (settings()["Type"], settings()["WatchdogSec"]) == (["notify"], ["60"])


def test_unit_reloads_by_the_command_that_waits_for_the_outcome() -> None:
    """Systemd 252 of Debian 12 has no Type=notify-reload; a file with an error fails `systemctl reload`."""
    (start,), (reload,) = settings()["ExecStart"], settings()["ExecReload"]
    assert reload == start.replace(" run ", " reload ")


def test_unit_keeps_state_in_its_own_directory() -> None:
    """The spool is in the directory that systemd makes for the unit, and that no other user can read."""
    (directory,) = settings()["StateDirectory"]
    assert settings()["Environment"] == [f"GATEWAY_SPOOL__PATH=%S/{directory}/spool.db"]
    assert settings()["StateDirectoryMode"] == ["0700"]
    assert settings()["UMask"] == ["0077"]


def test_unit_pauses_longer_between_restarts() -> None:
    """From 5 s to a minute where systemd can; older ones pass over what they do not know and stay at 5 s."""
    said = settings()
    assert (said["RestartSec"], said["RestartSteps"], said["RestartMaxDelaySec"]) == (["5"], ["5"], ["60"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_is_exposed_as_little_as_a_network_service_can_be(unit: Path) -> None:
    """The exposure level of `systemd-analyze` is 1.1 of 10: the gateway needs the network."""
    command_line = [command("systemd-analyze", "systemd"), "security", "--offline=true", "--no-pager", str(unit)]
    analysis = subprocess.run(command_line, check=True, capture_output=True, text=True)
    exposure = re.search(r"Overall exposure level for \S+: (\S+)", analysis.stdout)
    assert exposure, analysis.stdout
    assert float(exposure[1]) <= 1.1, analysis.stdout


def test_update_runs_as_the_gateway_with_its_restrictions() -> None:
    """The same user may send SIGHUP; the same state directory has the spool, whose lock names the process."""
    given, own = read(UPDATE), settings()
    assert given["User"] == [UNIT.stem]
    assert given["ExecStart"] == [own["ExecStart"][0].replace(" run ", " update ")]
    same = {"StateDirectory", "StateDirectoryMode", "Environment", "DynamicUser", "UMask", "SystemCallFilter"}
    same |= {name for name in own if name.startswith(("Protect", "Private", "Restrict"))}
    assert {name: given.get(name) for name in same} == {name: own[name] for name in same}


def test_timer_starts_the_update_and_is_not_enabled_by_installing() -> None:
    assert TIMER.stem == UPDATE.stem
    assert read(TIMER)["WantedBy"] == ["timers.target"]
    assert TIMER.stem not in (DEPLOY / "debian" / "postinst").read_text()


FORBIDDEN = {
    "a raw socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "memory to write and execute": "import mmap; mmap.mmap(-1, 4096, prot=7)",
    "another processor": "import os; os.sched_setaffinity(0, [0])",
    "a mount": "import ctypes, os; ctypes.CDLL(None, use_errno=True).mount(0, b'/', 0, 0, 0) and os.abort()",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_filters_of_the_unit_forbid(what: str) -> None:
    """The filters under which `test_end_to_end.py` runs a gateway are in force."""
    tried = [*CONFINED, str(UNIT), sys.executable, "-c"]
    assert subprocess.run([*tried, "pass"], check=False).returncode == 0
    assert subprocess.run([*tried, FORBIDDEN[what]], check=False, capture_output=True).returncode != 0
