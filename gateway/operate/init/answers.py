"""The addresses of this installation's servers: from the command line, else asked at the terminal, else the contract's.

Every question has a default, and is repeated after an invalid answer. Without a terminal there are only the options, a
broker that accepts connections, and the contract.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import TypeAdapter, ValidationError

from gateway.errors import GatewayError
from gateway.installation import PORT
from gateway.settings.values import Hosts, Url, split_hosts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.model import Contract

LOCAL_BROKER = f"localhost:{PORT}"
LOCAL_REGISTRY = "http://localhost:8081"
CONNECT_SECONDS = 2.0
HOSTS: TypeAdapter[Any] = TypeAdapter(Hosts)
URL: TypeAdapter[Any] = TypeAdapter(Url)


class Ask(Protocol):
    """Asks a question at the terminal."""

    def __call__(self, question: str, default: str) -> str:
        """Give the answer, or the default when nothing was typed."""


class Flags(NamedTuple):
    """The answers on the command line; None or "" for those it leaves open."""

    broker: str | None = None  # host and port
    kafka: str | None = None  # bootstrap servers
    registry: str | None = None  # URL
    username: str = ""  # for the broker
    password_file: Path | None = None


class Answers(NamedTuple):
    """All answers; members as in `Flags`."""

    broker: str
    kafka: str
    registry: str
    username: str = ""
    password_file: Path | None = None
    of_broker: Mapping[str, Any] = {}  # further settings, by their keys
    of_kafka: Mapping[str, Any] = {}
    command: str = "gateway init"  # that writes the file


def gather(flags: Flags, contract: Contract, ask: Ask | None) -> Answers:
    """Complete the answers of the command line, with the addresses of the contract as defaults.

    Without a terminal `ask` is None. GatewayError when an option is invalid, or no broker is found without a terminal.
    """
    kafka, url = contract.kafka.host, contract.kafka.registry_url or LOCAL_REGISTRY
    return Answers(
        _checked(flags.broker, "--broker", HOSTS) or _broker(contract, ask),
        _checked(flags.kafka, "--kafka", HOSTS) or _asked("Kafka", kafka, HOSTS, ask),
        _checked(flags.registry, "--registry", URL) or _asked("Schema registry", url, URL, ask),
        flags.username,
        flags.password_file,
    )


def with_login(answers: Answers, ask: Ask) -> Answers:
    """Ask for the login at the broker."""
    return answers._replace(
        username=ask("The broker requires a login. User", "gateway"),
        password_file=Path(ask("File that holds only the password, mode 600", "mqtt-password")),
    )


def _checked(given: str | None, flag: str, kind: TypeAdapter[Any]) -> str | None:
    if given is not None and (problem := _problem(given, kind)):
        raise GatewayError(f"{flag}: {problem}")
    return given


def _asked(question: str, default: str, kind: TypeAdapter[Any], ask: Ask | None) -> str:
    answer = ask(question, default) if ask else default
    while ask and (problem := _problem(answer, kind)):
        answer = ask(f"{problem} {question}", default)
    return answer


def _broker(contract: Contract, ask: Ask | None) -> str:
    addresses = dict.fromkeys([*(server.host for server in contract.mqtt_servers.values()), LOCAL_BROKER])
    address = _first_open(addresses)
    if not address and not ask:
        raise GatewayError(f"No broker answers on {', '.join(addresses)}.", "Name its address: --broker HOST:PORT.")
    question = "MQTT broker" if address else f"No broker answers on {LOCAL_BROKER}. MQTT broker"
    return _asked(question, address or LOCAL_BROKER, HOSTS, ask)


def _first_open(addresses: Iterable[str]) -> str:
    for address in addresses:
        host, port = split_hosts(address)[0]
        try:
            socket.create_connection((host, port or PORT), CONNECT_SECONDS).close()
        except OSError:
            continue
        return address
    return ""


def _problem(answer: str, kind: TypeAdapter[Any]) -> str:
    try:
        kind.validate_python(answer)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False)
        return f"{first['msg']} {first.get('ctx', {}).get('fix', '')}".rstrip()
    return ""
