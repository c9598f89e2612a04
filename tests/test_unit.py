"""The systemd unit says what the program does: exit codes, watchdog, one place for its state."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from gateway.errors import ConfigurationError, SpoolBrokenError, SpoolTakenError

UNIT = Path(__file__).parent.parent / "deploy" / "gateway.service"


def settings() -> dict[str, list[str]]:
    """Read the unit: values by setting."""
    said = defaultdict(list)
    for line in UNIT.read_text().splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            said[name].append(value)
    return said


def test_unit_does_not_restart_what_cannot_start() -> None:
    """Exit codes of wrong files and of a taken spool end it; a broken disk and everything else start it anew."""
    codes = {int(code) for code in settings()["RestartPreventExitStatus"][0].split()}
    assert codes == {ConfigurationError.exit_code, SpoolTakenError.exit_code}
    assert SpoolBrokenError.exit_code not in codes
    assert settings()["Restart"] == ["always"]
    assert settings()["StartLimitIntervalSec"] == ["0"]


def test_unit_waits_for_ready_and_watches() -> None:
    """Systemd is told when the gateway is up, and ends it when its loop hangs."""
    assert (settings()["Type"], settings()["WatchdogSec"]) == (["notify"], ["60"])


def test_unit_keeps_state_in_its_own_directory() -> None:
    """The spool is in the directory that systemd makes for the unit and nobody else can read."""
    (directory,) = settings()["StateDirectory"]
    assert settings()["Environment"] == [f"GATEWAY_SPOOL__PATH=%S/{directory}/spool.db"]
    assert settings()["StateDirectoryMode"] == ["0700"]
    assert settings()["UMask"] == ["0077"]


def test_unit_needs_nothing_newer_than_debian_12() -> None:
    """Settings of systemd 254 are only proposed: 252 would warn about them at each start."""
    assert not settings().keys() & {"RestartSteps", "RestartMaxDelaySec"}
