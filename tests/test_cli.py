"""The commands as a person runs them: help that reads well, sentences and exit codes, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from gateway import __version__
from gateway.cli import make_app
from gateway.core.native import RUNS
from gateway.errors import ConfigurationError
from gateway.spool.file import SpoolFile
from tests.stack.gateway import ROOT, Gateway
from tests.stack.preloaded import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import FreePort

WRONG = ConfigurationError.exit_code
WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
USAGE = 2  # what click answers to a command line that it does not understand


def command(*arguments: str | Path, folder: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, for a wide terminal without colours."""
    return run(*arguments, folder=folder, environment=WIDE | environment)


def in_one_line(text: str) -> str:
    """Take the frame and the line breaks out of what is shown."""
    return " ".join("".join(" " if character in "│╭╮╰╯─" else character for character in text).split())


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listen where a test's gateway.yaml says that servers are."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)  # noqa: FBT003 - the standard library's signature
        yield listening


def settings(folder: Path, listener: socket.socket | None = None, **sections: Any) -> Path:
    """Write a gateway.yaml whose servers are all at one address."""
    port = listener.getsockname()[1] if listener else 1
    here = {"host": f"127.0.0.1:{port}"}
    kafka = here | {"registry": {"url": f"http://127.0.0.1:{port}"}}
    servers = {"factoryBroker": here, "meterBroker": here, "kafka": kafka}
    path = folder / "gateway.yaml"
    path.write_text(json.dumps({"contract": str(ROOT / "asyncapi.yaml"), "servers": servers} | sections, indent=1))
    return path


def test_help_names_every_command_with_a_sentence() -> None:
    """`gateway --help` says what this is, and each command what it does."""
    done = command("--help")
    assert done.returncode == 0
    text = in_one_line(done.stdout)
    assert "MQTT to Kafka for smart meters and factory sensors" in text
    for sentence in (
        "run Run the gateway until SIGTERM or Ctrl-C.",
        "check Find everything that would stop `gateway run`",
        "simulate Publish plausible readings",
        "tail Show decoded records of a topic",
        "demo See readings cross from MQTT to Kafka",
    ):
        assert sentence in text
    assert "--version" in text
    assert "no-version" not in text


@pytest.mark.parametrize("name", ["run", "check", "simulate", "tail", "demo"])
def test_help_of_a_command_tells_its_options(name: str) -> None:
    """Each command explains itself, and each of its options."""
    done = command(name, "-h")
    assert done.returncode == 0
    assert f"{name} [OPTIONS]" in done.stdout
    assert "exit code" in done.stdout.lower() or name == "tail"
    options = [line for line in done.stdout.splitlines() if line.lstrip("│* ").startswith("--")]
    assert options
    assert all(len(in_one_line(line).split()) > 2 for line in options)


def test_commands_do_the_same_in_a_python_of_their_own(tmp_path: Path) -> None:
    """Nothing that was loaded before a fork hides that a command lacks it; no server answers here."""
    file = str(settings(tmp_path))
    commands = [
        ["check"], ["docs", "absent.yaml"], ["init", "--yes", "-o", file], ["status", "-c", file],
        ["top", "--once", "-c", file], ["simulate", "--count", "1", "-c", file], ["tail", "doors", "-c", file],
        ["dlq", "list", "-c", file], ["schemas", "list", "-c", file], ["topics", "plan", "-c", file],
        ["drift", "--seconds", "0", "-c", file], ["doctor", "-c", file], ["demo", "--contract", "absent.yaml"],
    ]  # fmt: skip
    with ThreadPoolExecutor(len(commands)) as threads:
        forked = threads.map(lambda arguments: outcome(command(*arguments)), commands)
        executed = threads.map(lambda arguments: outcome(execute(*arguments)), commands)
        assert list(executed) == list(forked)


def execute(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as users do, otherwise as `command` runs it."""
    call = [sys.executable, "-m", "gateway.cli", *arguments]
    environment = os.environ | WIDE
    return subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, bool, bool]:
    """Give the exit code, and which outputs have text; the text changes with time and load."""
    assert "Traceback" not in done.stderr
    return done.returncode, bool(done.stdout), bool(done.stderr)


def test_a_command_line_loads_no_other_command() -> None:
    program = """
import sys
from gateway.cli import main
sys.argv = ["gateway", "status", "--help"]
try:
    main()
finally:
    print("loaded", [name for name in ("run", "status", "topics") if f"gateway.cli.{name}" in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "loaded ['status']"), done.stderr


def test_no_command_shows_the_help() -> None:
    """`gateway` alone is a question, answered with the help."""
    done = command()
    assert "Usage:" in done.stdout + done.stderr


def test_version_tells_what_runs() -> None:
    """`gateway --version` prints one line, with what does the work of the hot path."""
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"gateway {__version__} ({RUNS})\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rum"], "No such command 'rum'."),
        (["run"], "Missing option '--config' / '-c'."),
        (["run", "--confg", "x"], "No such option: --confg"),
        (["check", "--config"], "requires an argument"),
        (["check", "-c", "one", "--config", "two"], "Invalid value for '--config' / '-c': It is given more than once."),
        (["schemas", "list", "-c", "x", "--format", "json", "--format", "text"], "It is given more than once."),
        (["simulate", "--rate", "fast"], "Invalid value for '--rate'"),
    ],
)
def test_a_command_line_that_is_not_understood_says_why(arguments: list[str], sentence: str) -> None:
    """Exit code 2, and a sentence that says what was not understood."""
    done = command(*arguments)
    assert done.returncode == USAGE
    assert sentence in in_one_line(done.stderr)


@pytest.mark.parametrize("name", ["run", "check"])
def test_a_missing_gateway_yaml_is_named(name: str, tmp_path: Path) -> None:
    """Exit code 78, the file, and what to do."""
    done = command(name, "-c", "nowhere.yaml", folder=tmp_path)
    assert done.returncode == WRONG
    assert "nowhere.yaml" in done.stderr
    assert "The file does not exist. Check the path" in done.stderr


@pytest.mark.parametrize("name", ["run", "check"])
def test_all_errors_are_shown_before_anything_connects(name: str, tmp_path: Path, listener: socket.socket) -> None:
    """Three mistakes, three lines with file, line and place, exit code 78, and no server was asked."""
    path = settings(tmp_path, listener, spool={"after": "soon", "memry": "1MiB"}, log={"level": "loud"})
    done = command(name, "-c", path)
    assert done.returncode == WRONG
    for place in ("spool.after", "spool.memry", "log.level"):
        (line,) = [line for line in done.stderr.splitlines() if f" {place}: " in line]
        assert f"{path}:" in line
    assert "memory" in done.stderr, "the nearest key is proposed"
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("text", ["servers: [", "a: 1\na: 2\n", "- 1", "", "\0", "contract: &a [*a]"])
def test_a_file_that_is_no_yaml_of_ours_is_refused(text: str, tmp_path: Path) -> None:
    """Whatever stands in gateway.yaml, the answer is a sentence with the file's name."""
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    done = command("run", "-c", path)
    assert done.returncode == WRONG
    assert "gateway.yaml" in done.stderr


@pytest.mark.parametrize("name", ["run", "check"])
def test_a_wrong_contract_is_reported(name: str, tmp_path: Path, listener: socket.socket) -> None:
    """Findings in the contract name its file and the document's path, and nothing connects."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    text = (ROOT / "asyncapi.yaml").read_text()
    (tmp_path / "asyncapi.yaml").write_text(text.replace("address: doors/{location}", "address: doors/#", 1))
    path = settings(tmp_path, listener, contract="asyncapi.yaml")
    done = command(name, "-c", path)
    assert done.returncode == WRONG
    assert "asyncapi.yaml" in done.stderr
    assert "#/channels/" in done.stderr
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_run_names_a_missing_secret(tmp_path: Path) -> None:
    """A password file that is not there is found before anything connects, with the file's name."""
    server = {"host": "127.0.0.1:1", "username": "gateway", "password_file": "mqtt-password"}
    done = command("run", "-c", settings(tmp_path, servers={"factoryBroker": server}))
    assert done.returncode == WRONG
    assert "mqtt-password" in done.stderr
    assert not [*tmp_path.glob("spool.db*")], "the spool is opened once all files are accepted"


def test_check_of_our_files_is_fine(tmp_path: Path) -> None:
    """The contract of this repository, alone and with a gateway.yaml, is fit to run: exit code 0."""
    for done in (command("check"), command("check", "-c", settings(tmp_path))):
        assert done.returncode == 0, done.stderr
        assert "fit to run" in done.stdout


def test_check_in_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    """Without a contract there is nothing to check: exit code 78, and the file's name."""
    done = command("check", folder=tmp_path)
    assert done.returncode == WRONG
    assert "asyncapi.yaml" in done.stderr


def test_the_environment_is_checked_as_well(tmp_path: Path) -> None:
    """An override that fits nothing is an error that names the variable."""
    done = command("check", "-c", settings(tmp_path), GATEWAY_SPOOL__LIMTI="1GiB")
    assert done.returncode == WRONG
    assert "GATEWAY_SPOOL__LIMTI" in done.stderr


def test_run_names_an_http_port_that_is_taken(
    tmp_path: Path, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process listens on the metrics' port: a sentence with the address, and no traceback."""
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    done = command("run", "-c", settings(tmp_path, http={"listen": address}))
    assert done.returncode != 0
    assert address in done.stderr
    with SpoolFile(tmp_path / "spool.db"):
        assert not caplog.records, "the next start sees no crash"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_with_0_on_a_signal(number: signal.Signals, free_port: FreePort) -> None:
    """With no server there at all the gateway lives, and SIGTERM or Ctrl-C ends it cleanly, the ledger printed."""
    nowhere = {"host": f"127.0.0.1:{free_port()}"}
    servers = {"factoryBroker": nowhere, "meterBroker": nowhere, "kafka": nowhere}
    with Gateway(servers) as gateway:
        gateway.start(ready=False)
        os.kill(gateway.pid, number)
        assert gateway._process is not None  # noqa: SLF001 - the class tells no exit code
        assert gateway._process.wait(20) == 0, gateway.log[-2000:]  # noqa: SLF001 - as above
        assert '"message": "ledger"' in gateway.log
        assert "Traceback" not in gateway.log


# --- which file a command line means ----------------------------------------------------------------------------------


def here(*arguments: str | Path) -> tuple[int, str]:
    """Run a command in this process; give its exit code and all that it printed, in one line."""
    done = CliRunner().invoke(make_app(), [*map(str, arguments)], env={"COLUMNS": "300", "NO_COLOR": "1"})
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, in_one_line(done.output)


def document(folder: Path, **sections: Any) -> Path:
    """Write gateway.yaml and a copy of our contract beside it."""
    shutil.copytree(ROOT / "schemas", folder / "schemas")
    shutil.copy(ROOT / "asyncapi.yaml", folder / "asyncapi.yaml")
    return settings(folder, None, contract="asyncapi.yaml", **sections)


def test_check_takes_either_file_in_every_form(tmp_path: Path) -> None:
    """A contract or a gateway.yaml, as the argument, with -c or with --contract: the content says which it is."""
    config = document(tmp_path)
    for path in (config, tmp_path / "asyncapi.yaml"):
        for form in ((path,), ("-c", path), ("--contract", path)):
            code, text = here("check", *form)
            assert (code, text.startswith(f"{path}: fit to run")) == (0, True), text
    code, text = here("check", config, "--contract", tmp_path / "asyncapi.yaml")
    assert (code, "Name one file" in text) == (USAGE, True)


def test_docs_takes_a_gateway_yaml(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert here("docs", document(tmp_path), "-o", page)[0] == 0
    assert "receiveDoors" in page.read_text()


def test_run_says_that_a_contract_is_no_gateway_yaml(tmp_path: Path) -> None:
    document(tmp_path)
    code, text = here("status", "-c", tmp_path / "asyncapi.yaml")
    assert code == WRONG
    assert "This is a contract, not a gateway.yaml. Name a gateway.yaml whose `contract` is this file." in text


def test_check_shows_the_errors_of_both_files_in_one_run(tmp_path: Path) -> None:
    """An error in the settings hides none in the contract."""
    config = document(tmp_path, spool={"limt": "1GiB"})
    contract = tmp_path / "asyncapi.yaml"
    contract.write_text(contract.read_text().replace("address: doors/{location}", "address: doors/#", 1))
    code, text = here("check", "-c", config)
    assert code == WRONG
    assert "spool.limt: There is no such setting." in text
    assert "#/channels/doors/address: No MQTT subscription can express this address" in text


@pytest.mark.parametrize(
    "command_line", [("check", "-c"), ("drift", "-c"), ("docs",), ("simulate", "-c"), ("tail", "t", "-c")]
)
def test_a_contract_that_is_missing_is_reported_at_the_line_that_names_it(
    tmp_path: Path, command_line: tuple[str, ...]
) -> None:
    config = document(tmp_path)
    (tmp_path / "asyncapi.yaml").rename(tmp_path / "async-api.yaml")
    code, text = here(*command_line, config)
    assert code == WRONG
    missing = f"{config}:2 contract: The contract {tmp_path / 'asyncapi.yaml'} does not exist."
    assert f"{missing} Did you mean 'async-api.yaml'?" in text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty."),
        (b"- a\n", "The top of the file is a list, not a mapping."),
        (b"text", "The top of the file is one value, not a mapping."),
        (
            b"\x7fELF\x02\xff",
            "Byte 5 is not UTF-8: the file is no text, or has another encoding. Check that it is the right",
        ),
        (None, "is a directory, not a file. Name a file in it."),
    ],
)
@pytest.mark.parametrize("form", [(), ("-c",)], ids=["argument", "option"])
def test_check_of_a_wrong_file_says_what_it_is(
    tmp_path: Path, form: tuple[str, ...], content: bytes | None, sentence: str
) -> None:
    path = tmp_path / "gateway.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    code, text = here("check", *form, path)
    assert code == WRONG
    assert f"{path}" in text
    assert sentence in text


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "gateway.yaml"], "run -c gateway.yaml`"),
        (["status", "gateway.yaml"], "status -c gateway.yaml`"),
        (["check", "--config"], "Write `-c gateway.yaml`"),
        (["dlq", "show", "-c", "gateway.yaml"], "As `gateway dlq list` shows it."),
        (["tail"], "The Kafka topic."),
    ],
)
def test_a_wrong_command_line_is_answered_with_a_line_that_works(arguments: list[str], hint: str) -> None:
    code, text = here(*arguments)
    assert (code, hint in text) == (USAGE, True), text
