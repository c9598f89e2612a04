"""What `gateway tail` does: find Kafka, registry and lock file, then follow a topic until told to stop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway import contract as contracts
from gateway.errors import GatewayError
from gateway.installation import connection_properties, lock_path_of, registry_of
from gateway.operate.tail.records import Decoder, Shown, Start, Tail
from gateway.registry.lock_file import LOCK_FILE
from gateway.registry.registry import SchemaRegistry
from gateway.settings.settings import load
from gateway.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.core.model import Contract
    from gateway.settings.settings import Settings

POLL_SECONDS = 0.2


class _Found(NamedTuple):
    """Where the records and their schemas are."""

    properties: dict[str, Any]
    contract: Contract | None
    lock_path: Path
    registry: SchemaRegistry | None


def prepare(  # noqa: PLR0913, PLR0917 - each is one option of the command
    config: Path | None, contract: Path, bootstrap: str, registry_url: str, topic: str, start: Start
) -> tuple[Tail, Decoder]:
    """Open a topic.

    Args:
        config: gateway.yaml, or None.
        contract: used when there is no gateway.yaml; need not exist when a registry is named.
        bootstrap: Kafka's address instead of gateway.yaml's, spoken to without login, or "".
        registry_url: the registry instead of gateway.yaml's, spoken to without login, or "".
        topic: its name.
        start: from where.

    Returns:
        The open topic, and what decodes it.

    Raises:
        GatewayError: when a file is wrong, or Kafka or the topic is not there.
    """
    found = _of_settings(load(config, os.environ)) if config else _of_contract(contract)
    properties = {"bootstrap.servers": bootstrap} if bootstrap else found.properties
    if not properties:
        raise GatewayError("Where is Kafka?", "Name it: --bootstrap HOST:PORT, or -c gateway.yaml.")
    registry = _registry(registry_url, found.lock_path) if registry_url else found.registry
    return Tail(properties, [topic], start), Decoder(found.contract, found.lock_path, registry)


def follow(tail: Tail, decoder: Decoder, count: int | None) -> Iterator[Shown]:
    """Read until the count is reached, or until SIGINT or SIGTERM; then close the topic.

    Args:
        tail: an open topic.
        decoder: decodes its records.
        count: how many, or None for no end.

    Yields:
        The records in the order in which they come.

    Raises:
        GatewayError: when Kafka refuses.
    """
    stopping = stop_on_signals()
    seen = 0
    with tail:
        while not stopping.is_set() and seen != count:
            if (record := tail.poll(POLL_SECONDS)) is not None:  # a record with an empty value is false
                seen += 1
                yield decoder.show(record)


def _of_contract(path: Path) -> _Found:
    contract = contracts.load(path) if path.exists() else None
    url = contract.kafka.registry_url if contract else None
    lock_path = path.parent / LOCK_FILE
    properties = {"bootstrap.servers": contract.kafka.host} if contract else {}
    return _Found(properties, contract, lock_path, _registry(url, lock_path) if url else None)


def _of_settings(settings: Settings) -> _Found:
    contract = contracts.load(settings.resolve(settings.contract))
    server = settings.server(contract.kafka.name)
    properties = connection_properties(contract.kafka, server.model_copy(update={"producer": {}}), settings)
    return _Found(properties, contract, lock_path_of(settings), registry_of(contract, settings, may_register=False))


def _registry(url: str, lock_path: Path) -> SchemaRegistry:
    return SchemaRegistry(url=url, lock_path=lock_path, register=False)
