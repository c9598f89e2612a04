"""The steps of `gateway init`: ask, listen, write the file, name what to do next."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from gateway import contract as contracts
from gateway import files
from gateway.errors import GatewayError
from gateway.installation import broker_of, login
from gateway.mqtt.errors import REFUSED
from gateway.mqtt.probe import EVERYTHING, BrokerProbe
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


class Options(NamedTuple):
    """The options of the command."""

    output: Path  # the gateway.yaml to write
    contract: Path | None  # None for the asyncapi.yaml beside the output
    seconds: float  # how long to listen; 0 for not at all
    is_forced: bool  # replace an existing file
    flags: Flags


class Terminal(NamedTuple):
    """Where `gateway init` talks to its user."""

    ask: Ask | None  # None when there is no terminal
    say: Callable[[str], None]  # shows a line
    stop: Callable[[], Stopping]  # ends the listening early; called after the questions, where Ctrl-C ends the command


def start(options: Options, terminal: Terminal) -> None:
    """Write a gateway.yaml; GatewayError when it exists or cannot be written, or the broker cannot be reached."""
    output = options.output
    if output.exists() and not options.is_forced:
        raise GatewayError(f"{output} exists already.", "Name another file with -o, or replace it with --force.")
    contract = contracts.load(options.contract or output.parent / "asyncapi.yaml")
    answers = gather(options.flags, contract, terminal.ask)
    if options.seconds:
        answers = _sample_traffic(options.seconds, contract, answers, terminal)
    try:
        files.replace(output, text(output, contract, answers))
    except OSError as error:
        raise GatewayError(f"{output} cannot be written: {error.strerror}.", "Name another file with -o.") from None
    terminal.say(f"Wrote {output}.")


def next_steps(output: Path) -> str:
    """Name the commands to run once the file is written and checked."""
    return "\n".join(
        [
            "Next:",
            f"  gateway topics apply -c {output}   # create the contract's Kafka topics",
            f"  gateway doctor -c {output}         # check the servers for known problems",
            f"  gateway run -c {output}            # run here, until Ctrl-C",
            "  sudo systemctl enable --now gateway  # run as a service, which reads /etc/gateway/gateway.yaml",
        ]
    )


def _sample_traffic(seconds: float, contract: Contract, answers: Answers, terminal: Terminal) -> Answers:
    """Listen at the broker and report what is published; give the answers with the login that it required."""
    while True:
        try:
            with BrokerProbe(_broker(contract, answers), session_expiry=0) as probe:
                _listen(probe, seconds, contract, terminal)
        except GatewayError as error:
            if REFUSED not in error.message:
                raise GatewayError(error.message, f"{error.hint} To go on without listening: --seconds 0.") from None
            if terminal.ask is None or answers.username:
                message = "Name a user of the broker: --username NAME --password-file FILE."
                raise GatewayError(error.message, message) from None
            answers = with_login(answers, terminal.ask)
        else:
            return answers


def _broker(contract: Contract, answers: Answers) -> Broker:
    server = dataclasses.replace(next(iter(contract.mqtt_servers.values())), host=answers.broker)
    return broker_of(server, None, login=login(answers.username, answers.password_file))


def _listen(probe: BrokerProbe, seconds: float, contract: Contract, terminal: Terminal) -> None:
    if (reason := probe.subscribe({EVERYTHING: 0})[EVERYTHING]).is_failure:
        terminal.say(f"The broker refused the subscription to {EVERYTHING}: {reason}.")
        return
    terminal.say(f"Listening to all topics for {seconds:g} s; Ctrl-C ends it.")
    sample = TrafficSample(contract)
    probe.listen(sample.take, seconds, terminal.stop())
    for line in sample.lines():
        terminal.say(line)
