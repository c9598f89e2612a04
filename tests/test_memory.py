"""What is needed once is given back."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from gateway import contract, memory
from gateway.errors import ConfigurationError, Finding
from tests.stack.gateway import Gateway

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT, ROOT / "docs/steps/11", ROOT / "tests/documented"]


def test_work_in_a_fork_gives_its_result_and_leaves_nothing_else() -> None:
    def work() -> int:
        import this  # noqa: F401, PLC0415 - a module that nobody else imports

        return os.getpid()

    assert memory.forked(work)() != os.getpid()
    assert "this" not in sys.modules


def test_work_that_fails_in_the_fork_raises_its_own_error() -> None:
    def work() -> NoReturn:
        raise ConfigurationError([Finding("asyncapi.yaml", 1, "", "It is wrong.")])

    with pytest.raises(ConfigurationError, match=r"asyncapi\.yaml:1: It is wrong\."):
        memory.forked(work)()


def test_work_whose_fork_is_killed_is_done_here() -> None:
    own = os.getpid()

    def work() -> int:
        if os.getpid() != own:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    assert memory.forked(work)() == own


def test_result_that_cannot_be_pickled_is_made_here() -> None:
    assert memory.forked(lambda: lambda: 1)()() == 1


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_contract_is_the_same_after_pickling(folder: Path) -> None:
    """So `gateway run` gets it out of the fork, rather than load it again."""
    loaded = contract.load(folder / "asyncapi.yaml")
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_running_gateway_has_not_loaded_what_checks_a_contract() -> None:
    """`rpds` is an extension module of jsonschema's; the kernel lists it where it is loaded."""
    nobody = {"host": "127.0.0.1:1"}
    kafka = nobody | {"registry": {"url": "http://127.0.0.1:1"}}
    with Gateway({"factoryBroker": nobody, "meterBroker": nobody, "kafka": kafka}) as gateway:
        gateway.start(ready=False)
        mapped = Path(f"/proc/{gateway.pid}/maps").read_text()
    assert "pydantic_core" in mapped
    assert "rpds" not in mapped
