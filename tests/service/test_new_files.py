"""Another process reads the files of a reload: what it says, and how it may fail."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from gateway.errors import ConfigurationError, GatewayError
from gateway.service.new_files import command_of, read
from tests.stack.gateway import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_read_gives_contract_settings_and_page(tmp_path: Path) -> None:
    """They are those of the files, with the overrides of the environment."""
    config = tmp_path / "gateway.yaml"
    config.write_text(json.dumps({"contract": str(ROOT / "asyncapi.yaml")}))
    found = read(command_of(config), {**os.environ, "GATEWAY_LOG__LEVEL": "debug"})
    assert list(found.contract.streams)[:2] == ["receiveFactorySensors", "receiveDoors"]
    assert found.settings.log.level == "debug"
    assert found.settings.file == config
    assert found.page.text.startswith("<!doctype html>")


def test_read_raises_what_is_wrong_with_the_files(tmp_path: Path) -> None:
    """Each finding has its file, line and fix."""
    config = tmp_path / "gateway.yaml"
    config.write_text("contract: there-is-none.yaml\nspol: {}\n")
    with pytest.raises(ConfigurationError) as raised:
        read(command_of(config), os.environ)
    assert [(each.line, each.path) for each in raised.value.findings] == [(2, "spol")]


FAILURES = {
    "takes too long": ("exec sleep 60", 0.3, "took more than 0.3 s."),
    "is killed": ("kill -9 $$", 30, "was ended by SIGKILL."),
    "fails": ("echo first >&2; echo 'OSError: no' >&2; exit 1", 30, "failed: OSError: no"),
    "says nothing": ("exit 3", 30, "failed"),
    "writes no pickle": ("echo hello", 30, "gave no result"),
    "writes half of one": (r"printf '\200\004\225'", 30, "gave no result"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_read_says_why_there_is_no_result(what: str) -> None:
    """The process is ended when it takes too long."""
    script, seconds, message = FAILURES[what]
    with pytest.raises(GatewayError) as raised:
        read(["/bin/sh", "-c", script], os.environ, seconds)
    assert str(raised.value).startswith(f"The process that reads the new files {message}")


def test_read_says_that_no_process_can_be_started(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="cannot be started: No such file or directory"):
        read([str(tmp_path / "none")], os.environ)
