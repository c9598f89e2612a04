"""`gateway fleet`: what all gateways at a broker publish about themselves (`service/status_publisher.py`), as a table.

It subscribes to `gateway/+/status` with a client id of its own, and needs no other access to the gateways. Any client
that may publish there can write anything, so each member of a document is checked, and what is shown is escaped.

A status is stale when it is older than three of its intervals, by its own time and this machine's clock: the broker
then still has the gateway's connection, but nothing comes over it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live

from gateway.errors import ExitCode, GatewayError
from gateway.mqtt.probe import BrokerProbe
from gateway.observe.status_document import FILTER, id_of
from gateway.operate.table import grid, table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from gateway.mqtt.broker import Broker
    from gateway.signals import Stopping

STALE_INTERVALS, STALE_SECONDS = 3, 15.0
QUIET_SECONDS = 1.0  # without a message: the broker has sent all that it retains
MAXIMUM_GATEWAYS, MAXIMUM_BYTES = 10_000, 65_536
HEADS = ("gateway", "state", "version", "contract", "per second", "delivered", "waiting", "spool lasts",
         "dead letters", "quarantined", "since", "age", "problems")  # fmt: skip


@dataclass
class Fleet:
    """The last status of each gateway."""

    documents: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # by id; an empty one cannot be read

    def take(self, topic: bytes, payload: bytes) -> None:
        """Take a message; an empty one removes its gateway."""
        gateway_id = id_of(topic.decode(errors="replace"))
        if not payload:
            self.documents.pop(gateway_id, None)
        elif gateway_id and (gateway_id in self.documents or len(self.documents) < MAXIMUM_GATEWAYS):
            self.documents[gateway_id] = _read(payload)

    @property
    def exit_code(self) -> ExitCode:
        """Whether all are ready."""
        states = [_state(one, time.time()) for one in self.documents.values()]
        return ExitCode.SUCCESS if all(state == "ready" for state in states) else ExitCode.FAILURE

    def as_json(self) -> dict[str, Any]:
        """The documents as they came, with what this machine makes of each."""
        now, documents = time.time(), sorted(self.documents.items())
        return {"gateways": [{**one, "id": name, "shown_as": _state(one, now)} for name, one in documents]}

    def as_text(self) -> str:
        """Lines for people."""
        return table(HEADS, self.rows()) if self.documents else NO_GATEWAY

    def rows(self) -> list[list[str]]:
        """The cells of the table, which escapes them; the gateways in the order of their ids."""
        now = time.time()
        return [_cells(name, one, now) for name, one in sorted(self.documents.items())]


NO_GATEWAY = "No gateway has published its status at this broker. Set status.publish in its gateway.yaml."


def _read(payload: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(payload, parse_constant=lambda _: None) if len(payload) <= MAXIMUM_BYTES else None
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}


def _state(document: Mapping[str, Any], now: float) -> str:
    state = document.get("state")
    if state == "offline":
        return "offline"
    age, every = _age(document.get("at"), now), _number(document.get("every"))
    if state != "online" or age is None or every is None:
        return "unreadable"
    if age > STALE_INTERVALS * every + STALE_SECONDS:
        return "stale"
    return "ready" if document.get("ready") is True else "not ready"


def _cells(name: str, one: Mapping[str, Any], now: float) -> list[str]:
    contract, reasons, workers = one.get("contract"), one.get("problems"), _number(one.get("workers")) or 1
    version = contract.get("version") if isinstance(contract, dict) else None
    hours, age = _number(one.get("hours_left")), _age(one.get("at"), now)
    return [
        f"{name} (worker 1 of {workers:.0f})" if workers > 1 else name,
        _state(one, now),
        _text(one.get("version")),
        _text(version),
        *(_count(one.get(member)) for member in ("rate", "delivered_rate", "waiting")),
        "" if hours is None else f"{hours:,.1f} h",
        *(_count(one.get(member)) for member in ("dead_letters", "quarantined")),
        _text(one.get("since")),
        "" if age is None else f"{max(age, 0):.0f} s",
        ", ".join(map(_text, reasons)) if isinstance(reasons, list) else "",
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18
    return float(value) if is_number else None  # type: ignore[arg-type]  # the line above checks it


def _count(value: object) -> str:
    number = _number(value)
    return "" if number is None else f"{number:,.0f}" if number.is_integer() else f"{number:,.1f}"


def _age(at: object, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(_text(at))
    except ValueError:
        return None
    return now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- the broker ------------------------------------------------------------------------------------------------------


def once(broker: Broker, stopping: Stopping) -> Fleet:
    """Collect what the broker retains; GatewayError when it does not answer or denies the subscription."""
    fleet, seen = Fleet(), -1
    with BrokerProbe(broker, session_expiry=0) as probe:
        _subscribe(probe)
        while len(fleet.documents) > seen and not stopping.is_set():
            seen = len(fleet.documents)
            probe.listen(fleet.take, QUIET_SECONDS, stopping)
    return fleet


def follow(broker: Broker, stopping: Stopping, interval_seconds: float, screen: TextIO) -> None:
    """Show the table on a terminal again and again, until stopped; GatewayError when the broker is lost."""
    fleet = Fleet()
    console = Console(file=screen, markup=False, highlight=False, emoji=False)
    with BrokerProbe(broker, session_expiry=0) as probe, Live(console=console, screen=True, auto_refresh=False) as live:
        _subscribe(probe)
        while not stopping.is_set():
            probe.listen(fleet.take, interval_seconds, stopping)
            live.update(grid(HEADS, fleet.rows()) if fleet.documents else NO_GATEWAY, refresh=True)


def _subscribe(probe: BrokerProbe) -> None:
    [reason] = probe.subscribe({FILTER: 0}, is_retained_wanted=True).values()
    if reason.is_failure:
        fix = "Grant this user read access to this filter in the broker's ACL."
        raise GatewayError(f"The broker denies the subscription to {FILTER}.", fix)
