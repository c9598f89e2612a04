"""gateway.yaml -> Settings: what this installation adds to the contract, checked before anything connects.

The shape is a promise from the first release on; `deploy/gateway.yaml` is its reference and a test loads it.

What this file decides:

- Everything found is reported at once, each with file, line, place and what to do: `load` runs all its checks on the
  raw data, so that a wrong duration in one section hides nothing in another.
- The environment overrides the file: `GATEWAY_SPOOL__LIMIT`, `GATEWAY_SERVERS__FACTORYBROKER__HOST`. Names of
  servers, streams and producer properties match the file's keys without regard to case, dots and underscores. A
  variable that fits nothing is an error: a misspelt override must not look like one that works.
- Secrets are files of their own. `*_file` is looked up in systemd's credentials directory first, then in the folder of
  gateway.yaml. Settings hold file names only, so no repr, log line or error can show a secret; errors never
  quote a value of free text.
- Producer properties that would break a promise (acks, retries, partitioner, ...) are refused with the reason;
  librdkafka itself is asked about the others, so that a misspelt one is found here and not on the first start.
- Nothing listens beyond loopback.

Beside it: `yaml_file.py` (text to data), `values.py` (what a single value may be), `producer_properties.py`,
`secret.py`, `check_consistency.py` (settings against contract).

Rejected: pydantic-settings, which stops at the first source and knows no line numbers.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
import types
import typing
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr, ValidationError

from gateway.documents import yaml_file
from gateway.documents.yaml_file import Document, Place, dotted, propose
from gateway.errors import ConfigurationError, FileError, Finding
from gateway.settings import producer_properties, secret
from gateway.settings.values import (
    Duration,
    FileName,
    Hosts,
    Listen,
    Property,
    Qos,
    ReceiveMaximum,
    Section,
    ShareName,
    Size,
    Url,
    WorkerCount,
)
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

    from gateway.core.model import Stream

PREFIX: Final = "GATEWAY_"


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class TlsSettings(_Settings):
    """Certificates, as PEM files; the system's authorities where `ca_file` is not given."""

    ca_file: FileName | None = None
    cert_file: FileName | None = None
    key_file: FileName | None = None


class SaslSettings(_Settings):
    """How the gateway signs in at Kafka."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    username: str
    password_file: FileName


with warnings.catch_warnings():  # `register` is the key we promise; that ABCMeta has a method of this name is harmless
    warnings.filterwarnings("ignore", message='Field name "register"')

    class RegistrySettings(_Settings):
        """The schema registry beside Kafka; `url` is the contract's where it is not given here."""

        url: Url | None = None
        register: bool = True
        username: str | None = None
        password_file: FileName | None = None
        token_file: FileName | None = None
        ca_file: FileName | None = None


class ServerSettings(_Settings):
    """What this installation adds to a server of the contract, MQTT or Kafka; `consistency.py` checks the pairs."""

    host: Hosts | None = None
    username: str | None = None
    password_file: FileName | None = None
    allow_plain: bool = False
    receive_maximum: ReceiveMaximum | None = None
    tls: Annotated[TlsSettings | None, Section] = None
    sasl: SaslSettings | None = None
    producer: Annotated[dict[str, Property], Section] = {}
    registry: Annotated[RegistrySettings, Section] = RegistrySettings()


class StreamSettings(_Settings):
    """A receive operation, switched off or with another subscription QoS than the contract's."""

    enabled: bool = True
    qos: Qos = None


class SpoolSettings(_Settings):
    """Where readings wait until they are safe."""

    path: FileName = "spool.db"
    when: Literal["outage", "always"] = "outage"
    after: Duration = 5.0
    memory: Size = 32 * 2**20
    limit: Size = 2 * 2**30
    on_full: Literal["block", "drop_oldest"] = "block"


class HttpSettings(_Settings):
    """Where metrics and health are served; None when they are not."""

    listen: Listen = "127.0.0.1:9464"


class LogSettings(_Settings):
    """What is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class MqttSettings(_Settings):
    """Which packet reader is used (both keep the same promises), and which retained messages are readings."""

    reader: Literal["fast", "paho"] = "fast"
    retained: Literal["once", "always", "never"] = "once"


class WorkersSettings(_Settings):
    """Over how many processes the work is split, and how (`split.py`)."""

    count: WorkerCount = 1
    split: Literal["streams", "shared"] = "streams"
    share: ShareName = "gateway"
    apart: bool = False


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where settings come from, for findings and for relative paths."""

    document: Document
    credentials: Path | None = None
    variables: dict[Place, str] = field(default_factory=dict)

    def finding(self, place: Place, message: str, fix: str, severity: Literal["error", "warning"]) -> Finding:
        variable = self.variables.get(place)
        file, line = (variable, 0) if variable else (str(self.document.path), self.document.line(place))
        return Finding(file, line, dotted(place), message, fix, severity)

    def locate(self, file: str) -> Path:
        return secret.locate(file, self.document.path.parent, self.credentials)


class Settings(_Settings):
    """gateway.yaml with the environment's overrides, checked."""

    contract: FileName
    servers: Annotated[dict[str, Annotated[ServerSettings, Section]], Section] = {}
    streams: Annotated[dict[str, Annotated[StreamSettings, Section]], Section] = {}
    spool: Annotated[SpoolSettings, Section] = SpoolSettings()
    http: Annotated[HttpSettings, Section] = HttpSettings()
    log: Annotated[LogSettings, Section] = LogSettings()
    mqtt: Annotated[MqttSettings, Section] = MqttSettings()
    workers: Annotated[WorkersSettings, Section] = WorkersSettings()

    _origin: _Origin = PrivateAttr(default_factory=lambda: _Origin(Document(Path("gateway.yaml"), {})))

    def server(self, name: str) -> ServerSettings:
        """Return what is said about a server of the contract, or the defaults."""
        return self.servers.get(name, ServerSettings())

    def with_workers(self, count: int | None, split: Literal["streams", "shared"] | None) -> Settings:
        """Return these settings with another count or split of workers; None leaves what they say."""
        given = {"count": ("--workers", count), "split": ("--split", split)}
        changed = {key: value for key, (_, value) in given.items() if value is not None}
        options = {("workers", key): given[key][0] for key in changed}
        origin = dataclasses.replace(self._origin, variables=self._origin.variables | options)
        copied = self.model_copy(update={"workers": self.workers.model_copy(update=changed)})
        return copied._with(origin)  # noqa: SLF001  (our own class; pydantic's name for private)

    def is_enabled(self, stream: str) -> bool:
        """Tell whether a receive operation of the contract is subscribed to here."""
        return self.streams.get(stream, StreamSettings()).enabled

    def qos_of(self, stream: Stream) -> int:
        """Tell at which QoS a stream is subscribed to: the installation's, else the contract's."""
        given = self.streams.get(stream.name)
        return stream.qos if given is None or given.qos is None else given.qos

    def resolve(self, path: str) -> Path:
        """Return a path relative to gateway.yaml's folder; for the contract and the spool."""
        return self._origin.document.path.parent / path

    def locate(self, file: str) -> Path:
        """Return where a `*_file` is: systemd's credentials directory first, then gateway.yaml's folder."""
        return self._origin.locate(file)

    def secret(self, file: str) -> SecretStr:
        """Read a secret.

        Args:
            file: as settings name it.

        Returns:
            The content without its last newline.

        Raises:
            ConfigurationError: when it is missing, empty, or others than its owner can read it.
        """
        place = next((place for place, name in _files(self.model_dump()) if name == file), ())
        try:
            return secret.read_secret(self.locate(file), self._origin.credentials)
        except secret.UnfitFileError as error:
            raise ConfigurationError([self.finding(place, error.message, error.hint)]) from None

    def finding(
        self, place: Place, message: str, fix: str = "", severity: Literal["error", "warning"] = "error"
    ) -> Finding:
        """Make a finding about a setting, with the line or the variable that says it."""
        return self._origin.finding(place, message, fix, severity)

    def _with(self, origin: _Origin) -> Self:
        self._origin = origin
        return self


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Load gateway.yaml and apply the environment.

    Args:
        path: the file.
        environ: variables beginning with `GATEWAY_`, and systemd's `CREDENTIALS_DIRECTORY`.

    Returns:
        The settings; every file they name was there and fit to be used.

    Raises:
        ConfigurationError: with everything that is wrong.
    """
    found: list[Finding] = []
    document = yaml_file.read(path, collect=found)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    origin = _Origin(document, Path(directory) if directory else None)
    data = _override(document.data, environ, origin, found)
    settings = _validate(data, origin, found)
    for check in (_check_pairs, _check_producers, _check_files):
        found += [origin.finding(place, message, fix, "error") for place, message, fix in check(data, origin)]
    if settings is None or found:
        raise ConfigurationError(sorted(set(found)))
    return settings


def _validate(data: dict[str, Any], origin: _Origin, found: list[Finding]) -> Settings | None:
    try:
        return Settings.model_validate(data)._with(origin)  # noqa: SLF001  (our own class; pydantic's name for private)
    except ValidationError as error:
        found += [_from_pydantic(each, origin) for each in error.errors(include_url=False)]
        return None


_KINDS: Final = {
    "string_type": ("This wants text.", "Put quotes around it."),
    "bool_type": ("This wants true or false.", "Write true or false; on, off, yes and no are text in YAML 1.2."),
    "int_type": ("This wants a whole number.", "Write it in digits, without quotes."),
    "model_type": ("This wants settings below it.", "Write `key: value` lines, indented."),
    "dict_type": ("This wants settings below it.", "Write `key: value` lines, indented."),
}
_INLINE: Final = {"password": "password_file", "token": "token_file", "key": "key_file", "secret": "password_file"}


def _from_pydantic(error: ErrorDetails, origin: _Origin) -> Finding:
    place: Place = error["loc"]
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        message, fix = _unknown_key(place)
    elif kind == "missing":
        message, fix = "This setting is missing.", f"Add `{place[-1]}:` with its value."
    elif kind == "literal_error":
        message, fix = f"This is none of {context['expected']}.", _nearest_choice(error)
    elif kind == "gateway":
        message, fix = context["told"], context["fix"]
    else:
        message, fix = _KINDS.get(kind, (f"{error['msg']}.", ""))
    return origin.finding(place, message, fix, "error")


def _unknown_key(place: Place) -> tuple[str, str]:
    model = _shape(place[:-1])
    keys = list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
    key = str(place[-1])
    if _INLINE.get(key) in keys:
        return (
            "A secret must not stand here.",
            f"Put it into a file that only the gateway can read and name it as {_INLINE[key]}.",
        )
    return "There is no such setting.", propose(key, keys)


def _nearest_choice(error: ErrorDetails) -> str:
    choices = re.findall("'([^']*)'", error["ctx"]["expected"])
    near = difflib.get_close_matches(str(error["input"]).lower(), [choice.lower() for choice in choices], n=1)
    return next((f"Did you mean {choice}?" for choice in choices if choice.lower() in near), "Write one of them.")


def _shape(place: Place) -> Any:
    """Return what the settings have at a place: a model, `dict[str, ...]`, another type, or None for nothing."""
    shape: Any = Settings
    for step in place:
        if typing.get_origin(shape) is dict:
            shape = typing.get_args(shape)[1]
        elif isinstance(shape, type) and issubclass(shape, BaseModel) and step in shape.model_fields:
            shape = shape.model_fields[str(step)].annotation
        else:
            return None
        shape = _bare(shape)
    return shape


def _bare(shape: Any) -> Any:
    """Take `Annotated` and `| None` off a type."""
    while True:
        if typing.get_origin(shape) is Annotated:
            shape = typing.get_args(shape)[0]
        elif typing.get_origin(shape) in {types.UnionType, typing.Union}:
            shape = next(each for each in typing.get_args(shape) if each is not types.NoneType)
        else:
            return shape


# --- the environment -------------------------------------------------------------------------------------------------


class UnknownVariableError(FileError):
    """No setting has this name; carries message and fix."""


def _override(
    data: dict[str, Any], environ: Mapping[str, str], origin: _Origin, found: list[Finding]
) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        try:
            place = _place_of(variable, changed)
            _put(changed, place, _read_variable(environ[variable], _shape(place)))
            origin.variables[place] = variable
        except UnknownVariableError as error:
            message, fix = error.args
            found.append(Finding(printable(variable), 0, "", message, fix))
    return changed


def _place_of(variable: str, data: dict[str, Any]) -> Place:
    place: Place = ()
    for segment in variable.removeprefix(PREFIX).split("__"):
        place = (*place, _match(segment, _shape(place), _at(data, place)))
    shape = _shape(place)
    if typing.get_origin(shape) is dict or (isinstance(shape, type) and issubclass(shape, BaseModel)):
        raise UnknownVariableError("This names a section, not a setting.", "Add __ and the setting's name.")
    return place


def _match(segment: str, shape: Any, value: Any) -> str:
    known: list[str]
    if typing.get_origin(shape) is dict:
        known = list(value) if isinstance(value, dict) else []
        if typing.get_args(shape)[1] == Property:
            known = [*known, segment.lower().replace("_", ".")]
    elif isinstance(shape, type) and issubclass(shape, BaseModel):
        known = list(shape.model_fields)
    else:
        raise UnknownVariableError("This goes on below a setting.", "Take the last part off its name.")
    matching = {name for name in known if _plain(name) == _plain(segment)}
    if len(matching) > 1:
        raise UnknownVariableError(f"It fits {' and '.join(sorted(matching))}.", "Set it in the file.")
    if not matching:
        if _INLINE.get(segment.lower()) in known:
            raise UnknownVariableError("A secret must not stand in the environment.", "Name a file that holds it.")
        fix = propose(segment, known) or "Only servers and streams that the file names can be overridden: add it there."
        raise UnknownVariableError("No setting has this name.", fix)
    return matching.pop()


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _at(data: Any, place: Place) -> Any:
    for step in place:
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _put(data: dict[str, Any], place: Place, value: object) -> None:
    for step in place[:-1]:
        if not isinstance(data.get(str(step)), dict):
            data[str(step)] = {}
        data = data[str(step)]
    data[str(place[-1])] = value


def _read_variable(text: str, shape: Any) -> object:
    if not text:
        raise UnknownVariableError("The variable is empty.", "Unset it, or give it a value.")
    if not text.isprintable():
        raise UnknownVariableError("The variable holds control characters or is not UTF-8.", "Set it to plain text.")
    if shape is str:
        return text
    try:
        return yaml_file.scalar(text)
    except ValueError:
        return text


# --- checks on the raw data, so that they run whatever else is wrong --------------------------------------------------

Trouble = tuple[Place, str, str]  # where, what, and what to do


def _servers(data: dict[str, Any]) -> Iterator[tuple[Place, dict[str, Any]]]:
    servers = data.get("servers")
    for name, server in servers.items() if isinstance(servers, dict) else ():
        if isinstance(server, dict):
            yield ("servers", name), server


_PAIRS: Final[tuple[tuple[Place, str, str], ...]] = (
    ((), "username", "password_file"),
    (("tls",), "cert_file", "key_file"),
    (("registry",), "username", "password_file"),
)


def _check_pairs(data: dict[str, Any], _: _Origin) -> Iterator[Trouble]:
    for place, server in _servers(data):
        for section, *pair in _PAIRS:
            settings = _at(server, section)
            given = [key for key in pair if isinstance(settings, dict) and settings.get(key) is not None]
            if len(given) == 1:
                [missing] = set(pair) - set(given)
                yield (*place, *section, given[0]), f"This needs {missing} beside it.", f"Add {missing}."
        registry = _at(server, ("registry",))
        if isinstance(registry, dict) and registry.get("token_file") and registry.get("username"):
            yield (*place, "registry", "token_file"), "The registry has a token and a user.", "Keep one of them."


def _check_producers(data: dict[str, Any], _: _Origin) -> Iterator[Trouble]:
    for place, server in _servers(data):
        properties = server.get("producer")
        for name, value in properties.items() if isinstance(properties, dict) else ():
            if told := producer_properties.refuse(name, value):
                yield (*place, "producer", name), *told


_SECRET_PLACES: Final[tuple[Place, ...]] = (
    ("password_file",),
    ("tls", "key_file"),
    ("sasl", "password_file"),
    ("registry", "password_file"),
    ("registry", "token_file"),
)
_CERTIFICATE_PLACES: Final[tuple[Place, ...]] = (("tls", "ca_file"), ("tls", "cert_file"), ("registry", "ca_file"))


def _files(data: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    for place, server in _servers(data):
        for inner in (*_SECRET_PLACES, *_CERTIFICATE_PLACES):
            file = _at(server, inner)
            if isinstance(file, str) and file and "\0" not in file:
                yield (*place, *inner), file


def _check_files(data: dict[str, Any], origin: _Origin) -> Iterator[Trouble]:
    for place, file in _files(data):
        path = origin.locate(file)
        try:
            if place[2:] == ("tls", "key_file"):
                secret.read(path, origin.credentials, is_secret=True)
            elif place[2:] in _SECRET_PLACES:
                secret.read_secret(path, origin.credentials)
            else:
                secret.read(path, origin.credentials, is_secret=False)
        except secret.UnfitFileError as error:
            yield place, error.message, error.hint
