"""Reload: the gateway reads contract and settings anew, and works by them from the next turn of its loop on.

A thread does everything that takes time; the loop only exchanges what the thread has made (`Bridge.adopt`). A reload is
refused, and everything stays as it is, when

- the files have an error, or a secret or certificate that they name cannot be used;
- the registry gives no schema id for a changed stream whose readings flow: they would have to wait.

Sessions, spool, producer and HTTP server stay. A source connects again only when its host, its login or its
certificates have changed; the former session continues. What only a restart changes is named (`reload_plan.py`).

The outcome is in the log, in `/metrics`, and in a file beside the spool that `gateway reload` waits for.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from gateway import files
from gateway.errors import ConfigurationError, Finding, GatewayError
from gateway.installation import broker_of, kafka_credentials
from gateway.service import hangup, split
from gateway.service.parts import change_of, parts_of, rules_of
from gateway.service.reload_plan import reloadable, stream_changes
from gateway.service.systemd import reloading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.bridge.bridge import Bridge, Change
    from gateway.core.ledger import Ledger
    from gateway.mqtt.broker import Broker
    from gateway.mqtt.source import MqttSource
    from gateway.observe.contract_in_use import ContractInUse
    from gateway.observe.health import HealthCheck
    from gateway.observe.http import Pages
    from gateway.observe.status_page import StatusPage
    from gateway.page.html import Page
    from gateway.service.credentials import KafkaCredentials
    from gateway.service.new_files import NewFiles
    from gateway.service.parts import Parts
    from gateway.service.reload_plan import StreamChanges
    from gateway.service.systemd import Notifier

log = logging.getLogger(__name__)

SUBSCRIBE_SECONDS, STEP_SECONDS = 5.0, 0.01
OUTCOME_FILE = "reload.json"  # beside the spool
STAYS = "The reload was {}; the former contract and settings stay in use."


@dataclass(slots=True)
class Running:
    """What a reload changes in a running gateway; the loop writes it."""

    parts: Parts
    payload_limit: int
    ledger: Ledger
    bridge: Bridge
    sources: Sequence[MqttSource]
    credentials: KafkaCredentials
    in_use: ContractInUse
    health: HealthCheck
    status: StatusPage
    pages: Pages


class _Adoption(NamedTuple):
    """What the loop exchanges between two turns."""

    parts: Parts
    change: Change
    brokers: Mapping[str, Callable[[], Broker]]  # by server
    renewed: frozenset[str]  # servers to connect to again
    page: Page


class Reloader:
    """Reloads when SIGHUP asks for it; `read` gives the files as they are now, from another process."""

    def __init__(self, running: Running, read: Callable[[], NewFiles], notifier: Notifier) -> None:
        self._running = running
        self._started = running.parts.own
        self._read = read
        self._notifier = notifier
        self._due: _Adoption | None = None
        self._adopted = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        """Start the thread; what was asked for before is done now."""
        self._thread.start()

    def adopt_due(self) -> None:
        """Work by the new contract from now on, if there is one; the loop calls it between two turns."""
        if self._due:
            due, self._due = self._due, None
            running, contract = self._running, due.parts.own.contract
            running.bridge.adopt(due.change)
            if due.renewed:
                running.bridge.make_safe()
            for source in running.sources:
                source.renew(due.brokers[source.name], reconnects=source.name in due.renewed)
            running.health.registry, running.health.topics = due.parts.schema_ids.states, due.parts.topics
            running.status.title, running.pages.documentation = contract.title, due.page
            running.in_use.version, running.in_use.digest = contract.version, contract.digest
            running.parts = due.parts
            self._adopted.set()

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            hangup.requests.get()
            hangup.are_requested()  # those that came together are one
            began = time.monotonic()
            self._notifier(reloading())
            try:
                outcome, text = "accepted", self._reload()
            except ConfigurationError as error:
                outcome, text = "refused", str(error)
                log.error(STAYS.format(outcome), extra=_first(error.findings))  # noqa: TRY400 - it is for operators
            except GatewayError as error:
                outcome, text = "failed", str(error)
                log.error(STAYS.format(outcome), extra={"detail": text})  # noqa: TRY400 - as above
            except Exception as error:
                outcome, text = "failed", f"the gateway failed, please report it: {error!r}"
                log.exception(STAYS.format(outcome))
            self._running.in_use.reloads[outcome] += 1
            self._running.in_use.reloaded_at = time.time()
            self._write({"began": began, "outcome": outcome, "text": text})
            self._notifier("READY=1")

    def _write(self, outcome: Mapping[str, object]) -> None:
        settings = self._started.settings
        try:
            files.replace(settings.resolve(settings.spool.path).with_name(OUTCOME_FILE), json.dumps(outcome))
        except OSError as error:
            text = "The outcome of a reload cannot be written, so `gateway reload` does not get it."
            log.warning(text, extra={"detail": str(error)})

    def _reload(self) -> str:
        """Read the files, and let the loop work by them; say what has changed."""
        new, running, former = self._read(), self._running, self._running.parts
        connected = [source.name for source in running.sources]
        contract, settings, needs_restart = reloadable(new.contract, new.settings, self._started.of_all, connected)
        split.check(contract, settings)
        own = split.worker(contract, settings, former.own.number)
        changes = stream_changes(former.own, own)
        brokers = {name: partial(broker_of, own.contract.mqtt_servers[name], own.settings) for name in connected}
        renewed = frozenset(one.name for one in running.sources if brokers[one.name]() != one.broker)
        read_credentials = partial(kafka_credentials, settings.server(contract.kafka.name), settings)
        read_credentials()
        # A transform may be on its way to the loop: it would get lost there.
        missing = own.enabled.keys() - running.bridge.transforms.keys()
        parts = parts_of(own, running.payload_limit, former, {*changes.added, *changes.changed, *missing})
        self._refuse_to_stall(parts, changes)
        rules = rules_of(parts, running.ledger, running.bridge.rules, former.own.enabled)
        parts.record_times.start(parts.transforms.put)
        change = change_of(parts, rules, changes, connected)
        for source in running.sources:
            source.prepare(change.routings[source.name].filters)
        self._adopted.clear()
        self._due = _Adoption(parts, change, brokers, renewed, new.page)
        self._adopted.wait()
        self._wait_subscribed()
        former.stop()
        parts.schema_ids.start()
        running.credentials.use(read_credentials)
        return _report(parts, changes, renewed, needs_restart)

    def _wait_subscribed(self) -> None:
        """Wait for the SUBACK of new filters, so that what is published after the outcome arrives."""
        until = time.monotonic() + SUBSCRIBE_SECONDS
        while any(source.is_subscribing for source in self._running.sources) and time.monotonic() < until:
            time.sleep(STEP_SECONDS)

    def _refuse_to_stall(self, parts: Parts, changes: StreamChanges) -> None:
        flowing = [name for name in changes.changed if name in self._running.bridge.transforms]
        if refused := parts.schema_ids.refused(flowing):
            place, fix = "schema registry", "Then reload again."
            raise ConfigurationError([Finding(place, 0, name, reason, fix) for name, reason in refused.items()])


def _first(findings: Sequence[Finding]) -> dict[str, object]:
    """The first finding as fields of the log."""
    first = findings[0]
    place = {"file": first.source, "line": first.line, "place": first.path, "findings": len(findings)}
    return place | {"detail": first.message, "fix": first.fix}


def _report(parts: Parts, changes: StreamChanges, renewed: frozenset[str], needs_restart: Sequence[str]) -> str:
    """Log what has changed, and say it in a sentence."""
    contract = parts.own.contract
    named = {"added": changes.added, "removed": changes.removed, "changed": changes.changed, "reconnected": renewed}
    changed = [f"{word}: {', '.join(sorted(names))}" for word, names in named.items() if names]
    text = "; ".join(changed) or "no stream and no server has changed"
    # `detail` tells two reloads apart for the rate limit of the log.
    extra = {"contract": contract.version, "digest": contract.digest, "detail": text}
    log.info("The contract was reloaded.", extra=extra)
    if needs_restart:
        log.warning("Some changes need a restart.", extra={"detail": ", ".join(needs_restart)})
        text += f". These changes need a restart: {', '.join(needs_restart)}"
    return f"Contract {contract.version} is in use; {text}."
