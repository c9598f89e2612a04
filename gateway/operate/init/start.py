"""The order of things: questions, listening, writing, what to do next."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from gateway import contract as contracts
from gateway import files as durable
from gateway.errors import GatewayError
from gateway.installation import broker_of, login
from gateway.mqtt.probe import BrokerProbe
from gateway.operate.init.answers import gather, with_login
from gateway.operate.init.settings_file import text
from gateway.operate.init.traffic_sample import TrafficSample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.core.model import Contract
    from gateway.mqtt.broker import Broker
    from gateway.operate.init.answers import Answers, Ask, Flags
    from gateway.signals import Stopping

EVERYTHING = "#"


class Options(NamedTuple):
    """What is wanted.

    Args:
        output: the gateway.yaml to write.
        contract: asyncapi.yaml; the one beside the output where None.
        seconds: how long to listen; 0 for not at all.
        is_forced: a file that is there may be replaced.
        flags: answers that were given.
    """

    output: Path
    contract: Path | None
    seconds: float
    is_forced: bool
    flags: Flags


def start(wish: Options, ask: Ask | None, say: Callable[[str], None], stop: Callable[[], Stopping]) -> None:
    """Write a gateway.yaml.

    Args:
        wish: what is wanted.
        ask: or None where nobody can be asked.
        say: gets each line for people.
        stop: gives what ends the listening before its time; called once the questions are over.

    Raises:
        GatewayError: when the file is there or cannot be written, or the broker cannot be asked.
    """
    if wish.output.exists() and not wish.is_forced:
        raise GatewayError(f"{wish.output} is there already.", "Name another file with -o, or replace it with --force.")
    contract = contracts.load(wish.contract or wish.output.parent / "asyncapi.yaml")
    answers = gather(wish.flags, contract, ask)
    if wish.seconds:
        answers = _heard(wish.seconds, contract, answers, ask, say, stop)
    try:
        durable.replace(wish.output, text(wish.output, contract, answers))
    except OSError as error:
        raise GatewayError(
            f"{wish.output} cannot be written: {error.strerror}.", "Name another place with -o."
        ) from None
    say(f"Wrote {wish.output}.")


def next_steps(output: Path) -> str:
    """Say what to do once the file is written and checked."""
    return "\n".join(
        [
            "Next:",
            f"  gateway topics apply -c {output}   # the Kafka topics of the contract",
            f"  gateway doctor -c {output}         # the known traps, live",
            f"  gateway run -c {output}            # here, until Ctrl-C",
            "  sudo systemctl enable --now gateway  # as a service, which reads /etc/gateway/gateway.yaml",
        ]
    )


def _heard(  # noqa: PLR0913, PLR0917 - what was wished for, and the ways to talk about it
    seconds: float,
    contract: Contract,
    answers: Answers,
    ask: Ask | None,
    say: Callable[[str], None],
    stop: Callable[[], Stopping],
) -> Answers:
    """Listen, and tell what was heard; give the answers with the login that it took."""
    while True:
        try:
            with BrokerProbe(_broker(contract, answers), session_expiry=0) as visit:
                _listen(visit, seconds, contract, say, stop)
        except GatewayError as error:
            if "refuses us" not in error.message:
                raise GatewayError(error.message, f"{error.hint} Or do not listen: --seconds 0.") from None
            if ask is None or answers.username:
                raise GatewayError(error.message, "Say who we are: --username NAME --password-file FILE.") from None
            answers = with_login(answers, ask)
        else:
            return answers


def _broker(contract: Contract, answers: Answers) -> Broker:
    """The broker as the contract's first server of MQTT describes it, at the place that was answered."""
    server = dataclasses.replace(next(iter(contract.mqtt_servers.values())), host=answers.broker)
    return broker_of(server, None, login=login(answers.username, answers.password_file))


def _listen(
    visit: BrokerProbe, seconds: float, contract: Contract, say: Callable[[str], None], stop: Callable[[], Stopping]
) -> None:
    if (reason := visit.subscribe({EVERYTHING: 0})[EVERYTHING]).is_failure:
        say(f"The broker does not let us listen to {EVERYTHING}: {reason}.")
        return
    say(f"Listening to everything for {seconds:g} s; Ctrl-C ends it.")
    heard = TrafficSample(contract)
    visit.listen(heard.take, seconds, stop())
    for sentence in heard.sentences():
        say(sentence)
    if silent := [name for name in contract.streams if name not in heard.streams]:
        say(f"  not heard just now, and subscribed to all the same: {', '.join(silent)}")
