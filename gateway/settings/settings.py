"""gateway.yaml -> Settings: what one installation adds to the contract, checked before anything connects.

The keys are stable from the first release on. `deploy/gateway.yaml` is their reference, and a test loads it.

- All findings are reported at once, each with file, line, place and fix. The checks of `load` run on the raw data, so
  that an invalid duration in one section hides no finding in another.
- The environment overrides the file: `GATEWAY_SPOOL__LIMIT`, `GATEWAY_SERVERS__FACTORYBROKER__HOST`. Names of
  servers, streams and producer properties match the file's keys regardless of case, dots and underscores. A variable
  that matches no setting is an error, so that a misspelt override is noticed.
- Secrets are files of their own (`secret.py`). Settings hold their names only, so no repr, log line or error can show
  a secret. Errors never quote a value of free text.
- Producer properties that would break a guarantee, or are set elsewhere, are rejected (`producer_properties.py`).

Rejected: pydantic-settings, which stops at the first source and reports no lines.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import shlex
import types
import typing
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self, TypeGuard

import pydantic
from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr, ValidationError

from gateway.core.model import Choice
from gateway.documents import yaml_file
from gateway.documents.source import Place, Source, dotted, explain, read_bytes, refuse, remedy
from gateway.documents.spelling import nearest, suggestion
from gateway.errors import ConfigurationError, FileError, Finding
from gateway.settings import pem, producer_properties, secret, values
from gateway.settings.secret import UnfitFileError
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic_core import ErrorDetails

    from gateway.core.model import Stream

PREFIX: Final = "GATEWAY_"
PURE: Final = "GATEWAY_PURE"  # is no setting: it leaves the module in C out (core/native.py)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class TlsSettings(_Settings):
    """Certificates, as PEM files; without `ca_file` the system's authorities are trusted."""

    ca_file: values.FileName | None = None
    cert_file: values.FileName | None = None
    key_file: values.FileName | None = None
    key_password_file: values.FileName | None = None


class BrokerTlsSettings(TlsSettings):
    """Also the names of the protocol that a broker may expect (ALPN, RFC 7301)."""

    alpn: values.Alpn = ()


class WebSocketSettings(_Settings):
    """MQTT over WebSocket: without `path` the contract's is used; the files hold values of further headers."""

    path: values.WebSocketPath | None = None
    headers: values.Headers = {}
    header_files: values.HeaderFiles = {}


class OAuthSettings(_Settings):
    """Where a token comes from (RFC 6749, client credentials); `_check_oauth` knows what is required."""

    token_url: values.Url | None = None
    client_id: str | None = None
    client_secret_file: values.FileName | None = None
    scope: str | None = None
    extensions: values.Extensions = {}
    ca_file: values.FileName | None = None


class KafkaOAuthSettings(OAuthSettings):
    """Also a JWT that `key_file` signs instead of the secret (RFC 7523), or an identity of Azure or AWS."""

    key_file: values.FileName | None = None
    key_password_file: values.FileName | None = None
    audience: str | None = None
    subject: str | None = None
    azure_resource: values.Url | None = None
    aws_region: values.AwsRegion | None = None
    aws_profile: str | None = None


class SaslSettings(_Settings):
    """The login at Kafka: a user and password, or for OAUTHBEARER a token."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
    username: str | None = None
    password_file: values.FileName | None = None
    oauth: KafkaOAuthSettings | None = None


with warnings.catch_warnings():  # `register` is the public key; a method of ABCMeta has this name, which is harmless
    warnings.filterwarnings("ignore", message='Field name "register"')

    class RegistrySettings(_Settings):
        """The schema registry; without `url` the contract's is used."""

        url: values.Url | None = None
        register: bool = True
        username: str | None = None
        password_file: values.FileName | None = None
        token_file: values.FileName | None = None
        oauth: OAuthSettings | None = None
        ca_file: values.FileName | None = None
        cert_file: values.FileName | None = None
        key_file: values.FileName | None = None
        key_password_file: values.FileName | None = None

        @property
        def tls(self) -> TlsSettings:
            """The certificates, as those of a server."""
            return TlsSettings(**{key: getattr(self, key) for key in TlsSettings.model_fields})


class ServerSettings(_Settings):
    """What this installation adds to a server of the contract, MQTT or Kafka; `consistency.py` compares the two."""

    host: values.Hosts | None = None
    username: str | None = None
    password_file: values.FileName | None = None
    allow_plain: bool = False
    receive_maximum: values.ReceiveMaximum | None = None
    tls: Annotated[BrokerTlsSettings | None, values.Section] = None
    websocket: Annotated[WebSocketSettings | None, values.Section] = None
    sasl: SaslSettings | None = None
    producer: Annotated[dict[str, values.Property], values.Section] = {}
    registry: Annotated[RegistrySettings, values.Section] = RegistrySettings()


class StreamSettings(_Settings):
    """Whether a receive operation subscribes, and at which QoS when not at the contract's."""

    enabled: bool = True
    qos: values.Qos = None


class SpoolSettings(_Settings):
    """Where readings wait until they are settled."""

    path: values.FileName = "spool.db"
    when: Literal["outage", "always"] = "outage"
    after: values.After = 5.0
    memory: values.Size = 32 * 2**20
    limit: values.Size = 2 * 2**30
    on_full: Literal["block", "drop_oldest"] = "block"


class HttpSettings(_Settings):
    """Where metrics and health are served; None turns them off."""

    listen: values.Listen = "127.0.0.1:9464"


class ClockSettings(_Settings):
    """For how many seconds readings wait while the clock is not synchronised; None: 120 without a real-time clock."""

    wait: values.Wait | None = None


class LogSettings(_Settings):
    """The level and format of the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class MqttSettings(_Settings):
    """The packet reader (both give the same guarantees), and which retained messages become readings."""

    reader: Literal["fast", "paho"] = "fast"
    retained: Literal["once", "always", "never"] = "once"


class StatusSettings(_Settings):
    """Where the status of the gateway is published; without `publish` nowhere."""

    publish: str | None = None  # an MQTT server of the contract
    id: values.GatewayId | None = None  # default: the client id at that server
    every: values.Every = 30.0
    home_assistant: bool = False


class UpdateSettings(_Settings):
    """Where `gateway update` gets the contract, and how it knows that it is genuine."""

    url: values.Url | None = None
    folder: values.FileName | None = None
    sha256: values.Sha256 | None = None
    allowed_signers: values.FileName | None = None
    identity: str | None = None
    recording: values.FileName | None = None
    expect: values.Names = ()
    ca_file: values.FileName | None = None


class WorkersSettings(_Settings):
    """The number of processes, and how the streams are divided among them (`service/split.py`)."""

    count: values.WorkerCount = 1
    split: Literal["streams", "shared"] = "streams"
    share: values.ShareName = "gateway"
    apart: bool = False


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where the settings come from, for findings and relative paths."""

    document: Source
    credentials: Path | None = None
    variables: dict[Place, str] = field(default_factory=dict)

    def finding(self, place: Place, message: str, fix: str, severity: Literal["error", "warning"]) -> Finding:
        variable = self.variables.get(place)
        file, line = (variable, 0) if variable else (self.document.name, self.document.line(place))
        return Finding(file, line, dotted(place), message, fix, severity)

    def contract_path(self, name: str) -> Path:
        path = self.document.path.parent / name
        try:
            read_bytes(path, 0)
        except (OSError, ValueError) as error:
            reason = explain(error) if isinstance(error, OSError) else "has a NUL character in its name"
            message = f"The contract {printable(str(path))} {reason}."
            fix = "Write the path of the contract, relative to the folder of gateway.yaml."
            if isinstance(error, OSError):
                fix = f"{remedy(error, path)} A relative path starts at the folder of gateway.yaml."
            raise ConfigurationError([self.finding(("contract",), message, fix, "error")]) from None
        return path

    def locate(self, file: str) -> Path:
        return secret.locate(file, self.document.path.parent, self.credentials)

    def tls_files(self, given: Mapping[str, Any]) -> pem.TlsFiles:
        names = {key: given.get(key) for key in pem.SETTINGS}
        paths = {key: self.locate(name) for key, name in names.items() if _is_file_name(name)}
        return pem.read(paths, self.credentials)


class Settings(_Settings):
    """gateway.yaml with the environment's overrides, checked."""

    contract: values.FileName
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    use_servers: values.Names = ()
    servers: Annotated[dict[str, Annotated[ServerSettings, values.Section]], values.Section] = {}
    streams: Annotated[dict[str, Annotated[StreamSettings, values.Section]], values.Section] = {}
    spool: Annotated[SpoolSettings, values.Section] = SpoolSettings()
    http: Annotated[HttpSettings, values.Section] = HttpSettings()
    clock: Annotated[ClockSettings, values.Section] = ClockSettings()
    log: Annotated[LogSettings, values.Section] = LogSettings()
    mqtt: Annotated[MqttSettings, values.Section] = MqttSettings()
    workers: Annotated[WorkersSettings, values.Section] = WorkersSettings()
    status: Annotated[StatusSettings, values.Section] = StatusSettings()
    update: Annotated[UpdateSettings, values.Section] = UpdateSettings()

    _origin: _Origin = PrivateAttr(default_factory=lambda: _Origin(Source(Path("gateway.yaml"), "gateway.yaml", {})))

    def server(self, name: str) -> ServerSettings:
        """The settings of a server of the contract, or the defaults."""
        return self.servers.get(name, ServerSettings())

    def elsewhere(self, name: str) -> dict[str, Any]:
        """What is set of a server, as a gateway.yaml in another folder has to say it."""

        def moved(section: dict[str, Any], *, has_files: bool = False) -> dict[str, Any]:
            return {
                key: moved(value, has_files=key == _HEADER_FILES[-1]) if isinstance(value, dict)
                else str(self.locate(value).absolute()) if (has_files or key.endswith("_file")) and value
                else value
                for key, value in section.items()
            }  # fmt: skip

        return moved(self.server(name).model_dump(mode="json", exclude_unset=True))

    def with_workers(self, count: int | None, split: Literal["streams", "shared"] | None) -> Settings:
        """Return these settings with another count or split of workers; None keeps the present one."""
        given = {"count": ("--workers", count), "split": ("--split", split)}
        changed = {key: value for key, (_, value) in given.items() if value is not None}
        options = {("workers", key): given[key][0] for key in changed}
        origin = dataclasses.replace(self._origin, variables=self._origin.variables | options)
        copied = self.model_copy(update={"workers": self.workers.model_copy(update=changed)})
        return copied._with(origin)  # noqa: SLF001  (our own class; pydantic's name for private)

    def is_enabled(self, stream: str) -> bool:
        """Whether a receive operation of the contract subscribes in this installation."""
        return self.streams.get(stream, StreamSettings()).enabled

    def qos_of(self, stream: Stream) -> int:
        """The QoS of a stream's subscription: the installation's, else the contract's."""
        given = self.streams.get(stream.name)
        return stream.qos if given is None or given.qos is None else given.qos

    def contract_path(self) -> Path:
        """The path of the contract; ConfigurationError names this setting when the file cannot be read."""
        return self._origin.contract_path(self.contract)

    @property
    def choice(self) -> Choice:
        """The servers of the contract that this installation uses."""
        return Choice(self.use_servers, self.finding(("use_servers",), ""))

    @property
    def file(self) -> Path:
        """The path of gateway.yaml, for commands that messages quote."""
        return self._origin.document.path.absolute()

    def resolve(self, path: str) -> Path:
        """The path of the spool, relative to gateway.yaml's folder."""
        return self._origin.document.path.parent / path

    def locate(self, file: str) -> Path:
        """The path of a `*_file`: in systemd's credentials directory, else in gateway.yaml's folder."""
        return self._origin.locate(file)

    def certificate_files(self) -> list[tuple[Place, str]]:
        """The files of certificates that the settings name, each with its place."""
        return [(place, file) for place, file in _files(self.model_dump()) if place[-1] in _CERTIFICATES]

    def secret(self, file: str) -> SecretStr:
        """Read a secret, named as in the settings, or raise ConfigurationError; its last newline is removed."""
        try:
            return secret.read_secret(self.locate(file), self._origin.credentials)
        except UnfitFileError as error:
            raise self.unfit(file, error) from None

    def tls_files(self, given: TlsSettings | OAuthSettings) -> pem.TlsFiles:
        """Read the certificates and the key of a section, or raise ConfigurationError."""
        try:
            return self._origin.tls_files(given.model_dump())
        except UnfitFileError as error:
            raise self.unfit(getattr(given, error.setting), error) from None

    def unfit(self, file: str, error: UnfitFileError) -> ConfigurationError:
        """Make the error of a file, named as in the settings, that cannot be used."""
        place = next((place for place, name in _files(self.model_dump()) if name == file), ())
        return ConfigurationError([self.finding(place, error.message, error.hint)])

    def finding(
        self, place: Place, message: str, fix: str = "", severity: Literal["error", "warning"] = "error"
    ) -> Finding:
        """Make a finding about a setting, with its line or environment variable."""
        return self._origin.finding(place, message, fix, severity)

    def _with(self, origin: _Origin) -> Self:
        self._origin = origin
        return self


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Load gateway.yaml and apply the environment: `GATEWAY_` variables, and systemd's `CREDENTIALS_DIRECTORY`.

    ConfigurationError has all findings, also those about the files that the settings name; the contract is read later.
    """
    settings, _, found = _read(path, environ)
    if settings is None or found:
        raise ConfigurationError(sorted(set(found)))
    return settings


class Examined(NamedTuple):
    """What could be read of a gateway.yaml."""

    settings: Settings | None  # None when a key or a value is wrong
    contract: Path | None  # None when gateway.yaml names no file that can be read
    findings: list[Finding]


def examine(path: Path, environ: Mapping[str, str]) -> Examined:
    """Load gateway.yaml as `load` does, and find its contract, whatever else is wrong; all findings are reported."""
    settings, contract = None, None
    found: list[Finding] = []
    try:
        settings, (name, origin), found = _read(path, environ)
        contract = origin.contract_path(name) if name and isinstance(name, str) else None
    except ConfigurationError as error:
        found += error.findings
    return Examined(settings, contract, list(set(found)))


def _read(path: Path, environ: Mapping[str, str]) -> tuple[Settings | None, tuple[Any, _Origin], list[Finding]]:
    """Read gateway.yaml: the settings, the contract's name as it stands there, and the findings."""
    document = yaml_file.read(path)
    if "asyncapi" in document.data:
        message, fix = "This is a contract, not a gateway.yaml.", "Name a gateway.yaml whose `contract` is this file."
        refuse(document.name, document.line(("asyncapi",)), message, fix)
    found = list(document.findings)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    origin = _Origin(document, Path(directory) if directory else None)
    data = _override(document.data, environ, origin, found)
    settings = _validate(data, origin, found)
    for check in (_check_needs, _check_logins, _check_producers, _check_files, _check_tls):
        found += [origin.finding(place, message, fix, "error") for place, message, fix in check(data, origin)]
    return settings, (data.get("contract"), origin), found


def _validate(data: dict[str, Any], origin: _Origin, found: list[Finding]) -> Settings | None:
    try:
        return Settings.model_validate(data)._with(origin)  # noqa: SLF001  (our own class; pydantic's name for private)
    except ValidationError as error:
        found += [_from_pydantic(each, origin) for each in error.errors(include_url=False)]
        return None


_KINDS: Final = {
    "string_type": ("Expected text.", "Put quotes around it."),
    "bool_type": ("Expected true or false.", "Write true or false; in YAML 1.2 on, off, yes and no are text."),
    "int_type": ("Expected a whole number.", "Write it in digits, without quotes."),
    "model_type": ("Expected a section.", "Write indented `key: value` lines below it."),
    "dict_type": ("Expected a section.", "Write indented `key: value` lines below it."),
}
_UNVERIFIED: Final = "Remove it: TLS always verifies the server's certificate. Name the file of its CA in ca_file."
_IN_CONTRACT: Final = "Remove it: the contract has it, in `bindings` of the server."
_ELSEWHERE: Final = {  # what other clients have, and this file has not
    **dict.fromkeys(("insecure", "skip_verify", "verify", "verify_hostname", "check_hostname"), _UNVERIFIED),
    **dict.fromkeys(("client_id", "clientid", "clean_session", "keep_alive", "keepalive"), _IN_CONTRACT),
    "port": "Remove it: write host: NAME:PORT.",
    "proxy": "Remove it: brokers are reached without a proxy, because the MQTT library needs PySocks for one.",
}
_INLINE: Final = {"password": "password_file", "token": "token_file", "key": "key_file", "secret": "password_file"}


def _from_pydantic(error: ErrorDetails, origin: _Origin) -> Finding:
    place = tuple(str(each) for each in error["loc"] if each != "[key]")  # where the key is wrong
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        message, fix = _unknown_key(place)
    elif kind == "missing":
        message, fix = "This setting is missing.", f"Add `{place[-1]}:` with its value."
    elif kind == "literal_error":
        message, fix = f"Expected {context['expected']}.", _choice(error)
        if not_offered := producer_properties.MECHANISMS_NOT_OFFERED.get(str(error["input"]).upper()):
            message, fix = not_offered[0], f"Write {not_offered[1]}."
    elif kind == "gateway":
        message, fix = context["message"], context["fix"]
    elif place[-1] == "tls" and error["input"] is True:
        message, fix = "Expected a section, which may be empty.", "Write tls: {}."
    else:
        message, fix = _KINDS.get(kind, (f"{error['msg']}.", ""))
    return origin.finding(place, message, fix, "error")


def _unknown_key(place: Place) -> tuple[str, str]:
    model = _shape(place[:-1])
    keys = list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
    key = str(place[-1])
    if _INLINE.get(key) in keys:
        return (
            "A secret is not allowed here.",
            f"Put it into a file that only the gateway can read, and name that file in {_INLINE[key]}.",
        )
    return "There is no such setting.", _ELSEWHERE.get(key) or _spelled(key, keys)


def _choice(error: ErrorDetails) -> str:
    choices = re.findall("'([^']*)'", error["ctx"]["expected"])
    return suggestion(str(error["input"]), choices) or "Write one of these."


def _spelled(name: str, known: list[str]) -> str:
    """The fix of an unknown name: the most similar known one, else all; "" when there is none."""
    return suggestion(name, known) or (f"Known names are {', '.join(known)}." if known else "")


def _shape(place: Place) -> Any:
    """The type of the settings at a place: a model, `dict[str, ...]`, another type, or None when there is none."""
    shape: Any = Settings
    for key in place:
        if typing.get_origin(shape) is dict:
            shape = typing.get_args(shape)[1]
        elif isinstance(shape, type) and issubclass(shape, BaseModel) and key in shape.model_fields:
            shape = shape.model_fields[key].annotation
        else:
            return None
        shape = _bare(shape)
    return shape


def _bare(shape: Any) -> Any:
    """A type without `Annotated` and `| None`."""
    while True:
        if typing.get_origin(shape) is Annotated:
            shape = typing.get_args(shape)[0]
        elif typing.get_origin(shape) in {types.UnionType, typing.Union}:
            shape = next(each for each in typing.get_args(shape) if each is not types.NoneType)
        else:
            return shape


# --- the environment -------------------------------------------------------------------------------------------------


class UnknownVariableError(FileError):
    """An environment variable that names no setting; carries message and fix."""


def _override(
    data: dict[str, Any], environ: Mapping[str, str], origin: _Origin, found: list[Finding]
) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    for variable in sorted(name for name in environ if name.startswith(PREFIX) and name != PURE):
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
    segments = variable.removeprefix(PREFIX).split("__")
    for index, segment in enumerate(segments):
        shape, value = _shape(place), _at(data, place)
        place = (*place, _match(segment, shape, value, _Renamed(segments, index)))
    shape = _shape(place)
    if typing.get_origin(shape) is dict or (isinstance(shape, type) and issubclass(shape, BaseModel)):
        raise UnknownVariableError("This names a section, not a setting.", "Add __ and the setting's name.")
    return place


class _Renamed(NamedTuple):
    """The parts of a variable's name, and which of them is to be replaced."""

    segments: list[str]
    at: int

    def __call__(self, name: str) -> str:
        """The variable with another name in this place."""
        own = re.sub("[^A-Z0-9]", "_", name.upper())
        return PREFIX + "__".join([*self.segments[: self.at], own, *self.segments[self.at + 1 :]])


def _match(segment: str, shape: Any, value: Any, renamed: _Renamed) -> str:
    known: list[str]
    if typing.get_origin(shape) is dict:
        known = list(value) if isinstance(value, dict) else []
        if typing.get_args(shape)[1] == values.Property:
            known = [*known, segment.lower().replace("_", ".")]
    elif isinstance(shape, type) and issubclass(shape, BaseModel):
        known = list(shape.model_fields)
    else:
        raise UnknownVariableError("The setting has no members.", "Remove the part after the last __.")
    matching = {name for name in known if _plain(name) == _plain(segment)}
    if len(matching) > 1:
        raise UnknownVariableError(f"The name matches {' and '.join(sorted(matching))}.", "Set the value in the file.")
    if not matching:
        if (inline := _INLINE.get(segment.lower())) in known:
            raise UnknownVariableError(
                "A secret is not allowed in the environment.", f"Put it into a file, and name that file in {inline}."
            )
        raise UnknownVariableError("No setting has this name.", _respelled(segment, known, renamed))
    return matching.pop()


def _respelled(segment: str, known: list[str], renamed: _Renamed) -> str:
    """The fix of an unknown variable: the name of the most similar one, if there is one."""
    if not known:
        return "Add the server or stream to the file; only those in the file can be overridden."
    section = next((name for name in known if segment.upper().startswith(f"{name.upper()}_")), None)
    if section:  # one underscore between the parts, instead of two
        return f"Did you mean {renamed(section)}__{segment[len(section) + 1 :]}?"
    near = nearest(segment, known)
    return f"Did you mean {renamed(near)}?" if near else _spelled(segment, known)


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _at(data: Any, place: Place) -> Any:
    for key in place:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _put(data: dict[str, Any], place: Place, value: object) -> None:
    for key in place[:-1]:
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    data[place[-1]] = value


def _read_variable(text: str, shape: Any) -> object:
    if not text:
        raise UnknownVariableError("The variable is empty.", "Unset it, or set a value.")
    if not text.isprintable():
        raise UnknownVariableError("The variable contains control characters or is not UTF-8.", "Set it to plain text.")
    if shape is str:
        return text
    try:
        return yaml_file.scalar(text)
    except ValueError:
        return text


# --- checks on the raw data, which run whatever else is wrong ---------------------------------------------------------

Problem = tuple[Place, str, str]  # the place, what is wrong, and the fix


def _servers(data: dict[str, Any]) -> Iterator[tuple[Place, dict[str, Any]]]:
    """The servers that are used; the files of others are on other machines."""
    servers, names = data.get("servers"), data.get("use_servers")
    used = [one.strip() for one in names.split(",")] if isinstance(names, str) else names
    for name, server in servers.items() if isinstance(servers, dict) else ():
        if isinstance(server, dict) and (not isinstance(used, list | tuple) or not used or name in used):
            yield ("servers", name), server


# Settings that need another one. A user name of a broker needs no password: some take a token as the user name.
_PAIRS: Final = (("cert_file", "key_file"), ("key_file", "cert_file"), ("key_password_file", "key_file"))
_NEEDS: Final[tuple[tuple[Place, str, str], ...]] = (
    ((), "password_file", "username"),
    *((("tls",), setting, needed) for setting, needed in _PAIRS),
    *((("registry",), setting, needed) for setting, needed in _PAIRS),
    (("registry",), "username", "password_file"),
    (("registry",), "password_file", "username"),
    (("sasl", "oauth"), "key_file", "audience"),
    (("sasl", "oauth"), "key_password_file", "key_file"),
    (("sasl", "oauth"), "audience", "key_file"),
    (("sasl", "oauth"), "subject", "key_file"),
    (("sasl", "oauth"), "aws_profile", "aws_region"),
)


def _check_needs(data: dict[str, Any], _: _Origin) -> Iterator[Problem]:
    for place, server in _servers(data):
        for section, setting, needed in _NEEDS:
            settings = _at(server, section)
            has = {key for key, value in settings.items() if value is not None} if isinstance(settings, dict) else set()
            if setting in has and needed not in has:
                yield (*place, *section, setting), f"{needed} is required with this setting.", f"Add {needed}."


_IDENTITIES: Final = {"azure_resource", "aws_region"}  # they need no token endpoint
_PROOFS: Final = ("client_secret_file", "key_file", *sorted(_IDENTITIES))  # each of them gets a token
_OF_REGISTRY: Final = {"username": "a user", "token_file": "a token", "oauth": "oauth"}


def _check_logins(data: dict[str, Any], _: _Origin) -> Iterator[Problem]:
    """What a login must have depends on its kind."""
    for place, server in _servers(data):
        sasl, registry = _at(server, ("sasl",)), _at(server, ("registry",))
        mechanism = sasl.get("mechanism") if isinstance(sasl, dict) else None
        if mechanism is not None and str(mechanism).upper() not in producer_properties.MECHANISMS_NOT_OFFERED:
            yield from _check_sasl((*place, "sasl"), sasl)
        if (
            isinstance(registry, dict)
            and len(given := [key for key in _OF_REGISTRY if registry.get(key) is not None]) > 1
        ):
            message = f"The registry has both {_OF_REGISTRY[given[1]]} and {_OF_REGISTRY[given[0]]}."
            yield (*place, "registry", given[1]), message, "Remove one of them."
        for at in (("sasl", "oauth"), ("registry", "oauth")):
            if isinstance(oauth := _at(server, at), dict):
                yield from _check_oauth((*place, *at), oauth)


def _check_sasl(place: Place, sasl: dict[str, Any]) -> Iterator[Problem]:
    has_token, login = sasl.get("mechanism") == "OAUTHBEARER", ("username", "password_file")
    for key in [key for key in (login if has_token else ("oauth",)) if sasl.get(key) is not None]:
        needed = "another mechanism" if has_token else "mechanism: OAUTHBEARER"
        yield (*place, key), f"{needed} is required with this setting.", "Remove it, or change the mechanism."
    if has_token or not sasl.get("oauth"):
        yield from _missing(place, sasl, ("oauth",) if has_token else login)


def _check_oauth(place: Place, oauth: dict[str, Any]) -> Iterator[Problem]:
    given = [key for key in _PROOFS if oauth.get(key) is not None]
    if len(given) > 1:
        yield (*place, given[1]), f"{given[0]} gets a token, too.", "Remove one of them."
    if "aws_region" in given and not find_spec("botocore"):
        folder = printable(shlex.quote(str(Path(pydantic.__file__).parents[1])))  # of the Debian package, too
        fix = f"Run `python3 -m pip install --target {folder} botocore`, or install iot-gateway[msk]."
        yield (*place, "aws_region"), "It needs the package botocore, which is not installed.", fix
    if _IDENTITIES.isdisjoint(given):
        yield from _missing(place, oauth, ("token_url", "client_id", *(given or _PROOFS)[:1]))


def _missing(place: Place, section: dict[str, Any], keys: Iterable[str]) -> Iterator[Problem]:
    for key in keys:
        if section.get(key) is None:
            yield (*place, key), "This setting is missing.", f"Add `{key}:` with its value."


def _check_producers(data: dict[str, Any], _: _Origin) -> Iterator[Problem]:
    for place, server in _servers(data):
        properties = server.get("producer")
        for name, value in properties.items() if isinstance(properties, dict) else ():
            if refusal := producer_properties.refuse(name, value):
                yield (*place, "producer", name), *refusal


def _file_places(model: type[BaseModel], above: Place = ()) -> Iterator[Place]:
    for name, member in model.model_fields.items():
        inner = _bare(member.annotation)
        if name.endswith("_file"):
            yield (*above, name)
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _file_places(inner, (*above, name))


_FILE_PLACES: Final = tuple(_file_places(ServerSettings))
_TLS_PLACES: Final = tuple(place[:-1] for place in _FILE_PLACES if place[-1] == "ca_file")
_CERTIFICATES: Final = {"ca_file", "cert_file"}  # all other files are secrets
_HEADER_FILES: Final = ("websocket", "header_files")


def _files(data: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    for place, server in _servers(data):
        for inner in _FILE_PLACES:
            file = _at(server, inner)
            if _is_file_name(file):
                yield (*place, *inner), file
        headers = _at(server, _HEADER_FILES)
        for name, file in headers.items() if isinstance(headers, dict) else ():
            if _is_file_name(file):
                yield (*place, *_HEADER_FILES, name), file


def _is_file_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _check_files(data: dict[str, Any], origin: _Origin) -> Iterator[Problem]:
    for place, file in _files(data):
        path, is_secret = origin.locate(file), place[-1] not in _CERTIFICATES
        try:
            if is_secret and place[-1] != "key_file":
                secret.read_secret(path, origin.credentials)
            else:
                secret.read(path, origin.credentials, is_secret=is_secret)
        except UnfitFileError as error:
            yield place, error.message, error.hint


def _check_tls(data: dict[str, Any], origin: _Origin) -> Iterator[Problem]:
    """Load certificates and keys as a connection does; a file that `_check_files` reports has the same finding here."""
    for place, server in _servers(data):
        for section in _TLS_PLACES:
            given = _at(server, section)
            try:
                if isinstance(given, dict) and any(given.get(key) for key in pem.SETTINGS):
                    origin.tls_files(given).check()
            except UnfitFileError as error:
                yield (*place, *section, error.setting), error.message, error.hint
