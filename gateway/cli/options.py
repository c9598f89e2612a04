"""What several commands share: options, the exit codes in their help, and how results and errors are shown.

Commands that need only a contract take it, or the gateway.yaml that names it, in any of three forms: as the argument
FILE, with `-c` or with `--contract`. Which of the two a file is, its content says (`files_of`).
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from gateway.documents.source import MAXIMUM_BYTES, read_bytes
from gateway.errors import ConfigurationError, ExitCode, Finding, GatewayError
from gateway.text import duration, with_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.installation import Installation
    from gateway.mqtt.broker import Broker

_Command = TypeVar("_Command", bound="Callable[..., None]")

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="This installation's gateway.yaml.")]
FileArgument = Annotated[
    Path | None, typer.Argument(help="A contract or a gateway.yaml; default: asyncapi.yaml in this folder.")
]
EitherOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="A gateway.yaml; it names the contract and the installation.")
]
ContractOption = Annotated[Path, typer.Option(help="A contract, where there is no gateway.yaml.")]
FormatOption = Annotated[Literal["text", "json"], typer.Option("--format", help="Output for people or for programs.")]
BrokenOption = Annotated[float, typer.Option(min=0, max=1, help="Share of readings that are invalid on purpose.")]
SeedOption = Annotated[int, typer.Option(help="The same seed makes the same readings.")]
CONTRACT = Path("asyncapi.yaml")
_FILTER = re.compile(r"(?=.)(?:\+|[^+#\0/]*)(?:/(?:\+|[^+#\0/]*))*(?:/#)?|#")


class Commands(typer.Typer):
    """A group of commands that refuse an option given twice, where typer would take the last without a word."""

    def command(self, name: str | None = None, **more: Any) -> Callable[[_Command], _Command]:
        """Add a function as a command."""
        return super().command(name, cls=_OnceCommand, **more)


class _OnceCommand(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, given = self.make_parser(ctx).parse_args(list(args))
        for option in (one for one in given if isinstance(one, TyperOption)):
            if given.count(option) > 1 and not (option.multiple or option.is_flag):
                raise typer.BadParameter("It is given more than once. Give it once.", ctx, option)
        return super().parse_args(ctx, args)


class Result(Protocol):
    """What a command found out or did."""

    def as_text(self) -> str:
        """Lines for people."""

    def as_json(self) -> Any:
        """Data for programs."""


class Files(NamedTuple):
    """The files of a command line."""

    config: Path | None  # a gateway.yaml
    contract: Path  # which counts without it


def files_of(argument: Path | None, config: Path | None, contract: Path) -> Files:
    """Tell a gateway.yaml from a contract among the files of a command line, however it names them."""
    given = [(argument, False), (config, True), (None if contract == CONTRACT else contract, False)]
    files = [(path, _is_settings(path, is_config)) for path, is_config in given if path]
    if len(files) > 1:
        raise typer.BadParameter("Name one file: a contract, or a gateway.yaml, which names its contract.")
    [(path, is_settings)] = files or [(CONTRACT, False)]
    return Files(path, CONTRACT) if is_settings else Files(None, path)


def contract_of(argument: Path | None, config: Path | None, contract: Path) -> Path:
    """The contract that a command line names, itself or through a gateway.yaml."""
    files = files_of(argument, config, contract)
    if files.config is None:
        return files.contract
    from gateway.settings.settings import load

    return load(files.config, os.environ).contract_path()


_CONTRACT_KEY = re.compile(rb"""(?:^|[{,])\s*["']?asyncapi["']?\s*:""", re.MULTILINE)
_SETTINGS_KEY = re.compile(rb"""^[\s{]{0,2}["']?(contract|streams|spool|http|log|mqtt)["']?\s*:""", re.MULTILINE)


def _is_settings(path: Path, is_config: bool) -> bool:  # noqa: FBT001 - what the option says, for want of content
    try:
        content, _ = read_bytes(path, MAXIMUM_BYTES)
    except (OSError, ValueError):  # the error of the file is reported when it is used
        return is_config
    if _CONTRACT_KEY.search(content):
        return False
    return is_config or _SETTINGS_KEY.search(content) is not None


def show(result: Result, output: str, config: Path | None) -> None:
    """Print a result in the form of `FormatOption`; the commands that it quotes get the name of `config`."""
    if output == "json":
        typer.echo(json.dumps(filled(result.as_json(), config)))
    else:
        typer.echo(with_config(result.as_text(), config))


def progress(output: str) -> Callable[[str], None]:
    """Give a function that shows what a command is doing, on standard error; nothing where the output is JSON."""
    return lambda line: typer.echo(line, err=True) if output == "text" else None


def progress_line() -> Callable[[str], None]:
    """Give a function that replaces the line of a terminal that shows the progress; elsewhere nothing is shown."""
    if not sys.stderr.isatty():
        return lambda _line: None
    return lambda line: typer.echo(f"\r\x1b[K{line}", nl=False, err=True)


def seconds_of(text: str) -> float:
    """Read a duration such as 30s, 10m or 1h; a number alone is in seconds."""
    seconds = duration(f"{text}s" if text.isdecimal() else text)
    if seconds is None:
        raise typer.BadParameter("Write a duration such as 30s, 10m or 1h.")
    return seconds


def filters_of(topics: list[str] | None) -> list[str]:
    """Check the MQTT topic filters that an option names."""
    for one in topics or ():
        if not _FILTER.fullmatch(one):
            raise typer.BadParameter(f"{one!r} is no topic filter: + is a whole level, and # the last one.")
    return topics or []


def filled(value: Any, config: Path | None) -> Any:
    """Name gateway.yaml in the commands that JSON quotes."""
    if isinstance(value, dict):
        return {name: filled(member, config) for name, member in value.items()}
    if isinstance(value, list):
        return [filled(item, config) for item in value]
    return with_config(value, config) if isinstance(value, str) else value


def open_installation(config: Path) -> Installation:
    """Load gateway.yaml, with overrides from the environment, and its contract."""
    from gateway import installation

    return installation.open_installation(config, os.environ)


def broker_at(url: str, username: str, password_file: Path | None, ca_file: Path | None) -> Broker:
    """Find the broker of an URL, with the version of MQTT that it speaks."""
    from gateway.installation import WEBSOCKET_PATH, login, usual_port
    from gateway.mqtt.broker import Broker
    from gateway.mqtt.probe import with_spoken_version
    from gateway.mqtt.websocket import Upgrade
    from gateway.settings.pem import trusting
    from gateway.settings.values import check_path

    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    is_tls, is_web = parts.scheme in {"mqtts", "wss"}, parts.scheme in {"ws", "wss"}
    try:
        port, path = parts.port, check_path(parts.path or WEBSOCKET_PATH)
        host = parts.path if parts.scheme == "unix" else parts.hostname
    except ValueError:
        host = None
    if parts.scheme not in {"mqtt", "mqtts", "ws", "wss", "unix"} or not host or parts.password:
        fix = "Write HOST:PORT, mqtts://HOST:PORT, wss://HOST:PORT/PATH; the password goes into --password-file."
        raise ConfigurationError([Finding("--broker", 0, "", "This is not the address of a broker.", fix)])
    user, upgrade = username or unquote(parts.username or ""), Upgrade(path) if is_web else None
    try:
        context = trusting(ca_file) if is_tls else None
    except OSError as error:
        message = f"The CA cannot be read: {error.strerror or error}."
        raise ConfigurationError(
            [Finding(str(ca_file), 0, "", message, "Name a file of certificates in PEM.")]
        ) from None
    port = port or usual_port(is_web=is_web, is_tls=is_tls)
    broker = Broker("broker", host, port, True, *login(user, password_file), tls=context, websocket=upgrade)  # noqa: FBT003 - MQTT 5.0
    try:
        return with_spoken_version(broker)
    except GatewayError as error:  # there is no gateway.yaml that the fix could be about
        fixes = {"username": "Check --username and --password-file.", "gateway": "Name its CA: --ca-file FILE."}
        raise GatewayError(
            error.message, next((fixes[word] for word in fixes if word in error.hint), error.hint)
        ) from None


def exit_codes(meanings: Mapping[int, str], *more: int) -> Callable[[_Command], _Command]:
    """Add the exit codes to a command's help: with a meaning of its own, or with that of `ExitCode`.

    A `GatewayError` ends the command with its own code, and is printed as a sentence, without a traceback.
    """
    texts = {ExitCode(code): text for code, text in meanings.items()}
    texts |= {ExitCode(code): ExitCode(code).meaning for code in more}

    def document(command: _Command) -> _Command:
        @wraps(command)
        def run(*arguments: Any, **options: Any) -> None:
            try:
                command(*arguments, **options)
            except GatewayError as error:
                typer.echo(with_config(str(error), options.get("config")), err=True)
                raise typer.Exit(error.exit_code) from None

        listed = "; ".join(f"{code.value} {text}" for code, text in texts.items())
        run.__doc__ = f"{inspect.getdoc(command)}\n\nExit codes: {listed}."
        return run  # type: ignore[return-value]  # it takes and returns the same

    return document


_USAGE_ERROR = typer.BadParameter.__mro__[1]  # click's UsageError, which typer does not export


class ExplainingGroup(TyperGroup):
    """The commands; an error in a command line says what is missing, and shows a line that works."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the line names."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(error, _USAGE_ERROR):
                _explain(error)
            raise


def _explain(error: Any) -> None:
    """Add to a usage error the help of its parameter, and an example where gateway.yaml is missing."""
    parameter, context = getattr(error, "param", None), error.ctx
    message = error.message.removeprefix("Value error, ")
    is_about_config = "--config" in [*getattr(parameter, "opts", []), getattr(error, "option_name", "")]
    if not message and parameter:
        message = parameter.help or ""
    if message.startswith("Got unexpected extra argument"):
        is_about_config = not any(one.name == "file" for one in context.command.params)
        message = f"{message}."
    if is_about_config:
        message += f" Write `{f'{context.command_path} ' if context else ''}-c gateway.yaml`."
    error.message = message.strip()
