"""Where this installation's servers are: said by a flag, else found or asked.

A question always offers an answer, and an answer that cannot be is asked for again. Without a terminal there are only
flags, what can be found, and what the contract says.
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
    from collections.abc import Iterable

    from gateway.core.model import Contract

HERE = f"localhost:{PORT}"
USUAL_REGISTRY = "http://localhost:8081"
KNOCK_SECONDS = 2.0
HOSTS: TypeAdapter[Any] = TypeAdapter(Hosts)
URL: TypeAdapter[Any] = TypeAdapter(Url)


class Ask(Protocol):
    """Asks a question at the terminal."""

    def __call__(self, question: str, default: str) -> str:
        """Give the answer, or the default where nothing was typed."""


class Flags(NamedTuple):
    """What the command line says; None for what it leaves open.

    Args:
        broker: host and port of the MQTT broker.
        kafka: bootstrap servers.
        registry: address of the schema registry.
        username: for the broker, or "".
        password_file: goes with it.
    """

    broker: str | None = None
    kafka: str | None = None
    registry: str | None = None
    username: str = ""
    password_file: Path | None = None


class Answers(NamedTuple):
    """Where the servers are, and who we are to the broker.

    Args:
        broker: host and port of the MQTT broker.
        kafka: bootstrap servers.
        registry: address of the schema registry.
        username: for the broker, or "".
        password_file: goes with it.
    """

    broker: str
    kafka: str
    registry: str
    username: str
    password_file: Path | None


def gather(flags: Flags, contract: Contract, ask: Ask | None) -> Answers:
    """Find out where the servers are.

    Args:
        flags: come first.
        contract: its addresses are offered.
        ask: or None where nobody can be asked.

    Raises:
        GatewayError: when a flag cannot be, or no broker is found and nobody can be asked.
    """
    kafka, url = contract.kafka.host, contract.kafka.registry_url or USUAL_REGISTRY
    return Answers(
        flags_or(flags.broker, "--broker", HOSTS) or _broker(contract, ask),
        flags_or(flags.kafka, "--kafka", HOSTS) or asked("Kafka", kafka, HOSTS, ask),
        flags_or(flags.registry, "--registry", URL) or asked("Schema registry", url, URL, ask),
        flags.username,
        flags.password_file,
    )


def with_login(answers: Answers, ask: Ask) -> Answers:
    """Ask who we are to the broker."""
    return answers._replace(
        username=ask("The broker wants to know who we are. User", "gateway"),
        password_file=Path(ask("File that holds the password alone, mode 600", "mqtt-password")),
    )


def flags_or(given: str | None, flag: str, kind: TypeAdapter[Any]) -> str | None:
    """Check what a flag says; None when it says nothing.

    Raises:
        GatewayError: when it cannot be.
    """
    if given is not None and (told := _wrong(given, kind)):
        raise GatewayError(f"{flag}: {told}")
    return given


def asked(question: str, default: str, kind: TypeAdapter[Any], ask: Ask | None) -> str:
    """Ask until the answer can be; the default where nobody can be asked."""
    answer = ask(question, default) if ask else default
    while ask and (told := _wrong(answer, kind)):
        answer = ask(f"{told} {question}", default)
    return answer


def _broker(contract: Contract, ask: Ask | None) -> str:
    places = dict.fromkeys([*(server.host for server in contract.mqtt_servers.values()), HERE])
    found = _listening(places)
    if not found and not ask:
        raise GatewayError(f"No broker answers on {', '.join(places)}.", "Say where it is: --broker HOST:PORT.")
    return asked("MQTT broker" if found else f"No broker on {HERE}. MQTT broker", found or HERE, HOSTS, ask)


def _listening(places: Iterable[str]) -> str:
    """The first place where somebody listens, or ""."""
    for place in places:
        host, port = split_hosts(place)[0]
        try:
            socket.create_connection((host, port or PORT), KNOCK_SECONDS).close()
        except OSError:
            continue
        return place
    return ""


def _wrong(answer: str, kind: TypeAdapter[Any]) -> str:
    try:
        kind.validate_python(answer)
    except ValidationError as error:
        context = error.errors(include_url=False)[0].get("ctx", {})
        return f"{context.get('told', 'This cannot be.')} {context.get('fix', '')}".rstrip()
    return ""
