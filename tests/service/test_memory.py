"""What is needed once is given back."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from gateway import contract
from gateway.errors import ConfigurationError, Finding
from gateway.service import memory
from tests.stack.gateway import ExecutedGateway
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT, ROOT / "docs/steps/11", ROOT / "tests/documented"]


def test_work_in_a_fork_gives_its_result_and_leaves_nothing_else() -> None:
    def prepare() -> Callable[[int], tuple[int, int]]:
        import this  # noqa: F401, PLC0415 - a module that nobody else imports

        return lambda given: (given, os.getpid())

    given, process = memory.run_in_fork(prepare)(7)()
    assert given == 7
    assert process != os.getpid()
    assert "this" not in sys.modules


def test_a_fork_prepares_before_it_knows_what_to_work_on(tmp_path: Path) -> None:
    def prepare() -> Callable[[str], str]:
        (tmp_path / "prepared").touch()
        return str.upper

    begin = memory.run_in_fork(prepare)
    wait_for((tmp_path / "prepared").exists, 30, "the fork to prepare")
    assert begin("a")() == "A"


def test_release_unused_frees_after_a_reload_what_an_earlier_call_has_excluded() -> None:
    """In a fork, because it changes the garbage collector of its process."""

    def is_freed(was_reloaded: bool) -> bool:  # noqa: FBT001 - the one argument of a task
        transform = ReferringToItself()
        reference = weakref.ref(transform)
        memory.release_unused()
        del transform
        memory.release_unused(was_reloaded=was_reloaded)
        return reference() is None

    gc.collect()  # or the fork frees garbage of ours, such as a Kafka client, whose threads it does not have
    assert [memory.run_in_fork(lambda: is_freed)(was_reloaded)() for was_reloaded in (True, False)] == [True, False]


class ReferringToItself:
    """As a compiled transform does."""

    def __init__(self) -> None:
        self.own = self


def test_work_that_fails_in_the_fork_raises_its_own_error() -> None:
    def work(path: str) -> NoReturn:
        raise ConfigurationError([Finding(path, 1, "", "It is wrong.")])

    with pytest.raises(ConfigurationError, match=r"asyncapi\.yaml:1: It is wrong\."):
        memory.run_in_fork(lambda: work)("asyncapi.yaml")()


@pytest.mark.parametrize("dies_at", ["once", "work"])
def test_work_whose_fork_is_killed_is_done_here(dies_at: str) -> None:
    own = os.getpid()

    def die(now: str) -> None:
        if os.getpid() != own and dies_at == now:
            os.kill(os.getpid(), signal.SIGKILL)

    def prepare() -> Callable[[int], tuple[int, int]]:
        die("once")

        def work(given: int) -> tuple[int, int]:
            die("work")
            return given, os.getpid()

        return work

    begin = memory.run_in_fork(prepare)
    if dies_at == "once":
        wait_for(lambda: _is_dead(own), 30, "the fork to be dead before it gets its argument")
    assert begin(7)() == (7, own)


def test_result_that_cannot_be_pickled_is_made_here() -> None:
    def work(given: int) -> Callable[[], int]:
        return lambda: given

    assert memory.run_in_fork(lambda: work)(7)()() == 7


def test_work_is_done_here_where_the_system_allows_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> NoReturn:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def work(given: int) -> tuple[int, int]:
        return given, os.getpid()

    monkeypatch.setattr(os, "fork", refuse)
    assert memory.run_in_fork(lambda: work)(7)() == (7, os.getpid())


def test_a_fork_that_never_gets_an_argument_ends_with_its_process() -> None:
    """As when gateway.yaml is wrong."""
    program = """if True:
        import os
        from gateway.service import memory
        begin = memory.run_in_fork(lambda: len)
        print(open(f"/proc/self/task/{os.getpid()}/children").read())
        """
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stderr == ""
    wait_for(lambda: not Path(f"/proc/{int(run.stdout)}").exists(), 30, "the fork to end")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_contract_is_the_same_after_pickling(folder: Path) -> None:
    """So `gateway run` gets it out of the fork, rather than load it again."""
    loaded = contract.load(folder / "asyncapi.yaml")
    assert pickle.loads(pickle.dumps(loaded)) == loaded


def test_running_gateway_has_not_loaded_what_checks_a_contract() -> None:
    """`rpds` is an extension module of jsonschema's; the kernel lists it where it is loaded."""
    nobody = {"host": "127.0.0.1:1"}
    kafka = nobody | {"registry": {"url": "http://127.0.0.1:1"}}
    with ExecutedGateway({"factoryBroker": nobody, "meterBroker": nobody, "kafka": kafka}) as gateway:
        gateway.start(ready=False)
        mapped = Path(f"/proc/{gateway.pid}/maps").read_text()
    assert "pydantic_core" in mapped
    assert "rpds" not in mapped


def _is_dead(parent: int) -> bool:
    """Tell whether a child of a process has ended and nobody has asked how."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return any(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z" for child in children)
