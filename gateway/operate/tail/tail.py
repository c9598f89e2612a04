"""`gateway tail`: find Kafka, registry and lock file, then follow a topic until the end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway import contract as contracts
from gateway.errors import GatewayError
from gateway.installation import connection_properties, contract_of, lock_path_of, registry_of
from gateway.operate.tail.consumer import Start, TopicConsumer
from gateway.operate.tail.decoder import Decoder, ShownRecord
from gateway.registry.api import Endpoint
from gateway.registry.lock_file import LOCK_FILE
from gateway.registry.registry import SchemaRegistry
from gateway.settings.pem import TlsFiles
from gateway.settings.settings import load
from gateway.signals import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.core.model import Contract
    from gateway.settings.settings import Settings

POLL_SECONDS = 0.2


class _Sources(NamedTuple):
    """Where the records and their schemas are."""

    properties: dict[str, Any]
    contract: Contract | None
    lock_path: Path
    registry: SchemaRegistry | None


def prepare(  # noqa: PLR0913, PLR0917 - each is one option of the command
    config: Path | None,
    contract_path: Path,
    bootstrap: str,
    registry_url: str,
    topic: str,
    start: Start,
    *,
    is_committed: bool,
) -> tuple[TopicConsumer, Decoder]:
    """Open a topic, and make the decoder of its records.

    `bootstrap` and `registry_url` are addresses without login, instead of those of gateway.yaml; "" for none. The
    contract at `contract_path` is used when there is no gateway.yaml, and need not exist when a registry is named. With
    `is_committed` records of open and aborted transactions are left out.
    GatewayError when a file is wrong, Kafka does not answer, or the topic does not exist.
    """
    sources = _of_settings(load(config, os.environ)) if config else _of_contract(contract_path)
    properties = {"bootstrap.servers": bootstrap} if bootstrap else sources.properties
    if not properties:
        raise GatewayError("No Kafka address.", "Pass --bootstrap HOST:PORT or -c gateway.yaml.")
    contract = sources.contract
    registry = _registry(registry_url, sources.lock_path) if registry_url else sources.registry
    streams = {one.name: one.route.topic.name for one in contract.streams.values()} if contract else {}
    properties["isolation.level"] = "read_committed" if is_committed else "read_uncommitted"
    consumer = TopicConsumer(properties, [topic], start, streams=streams)
    return consumer, Decoder(contract, sources.lock_path, registry)


def follow(consumer: TopicConsumer, decoder: Decoder, count: int | None) -> Iterator[ShownRecord]:
    """Give records until the count is reached, or until SIGINT or SIGTERM; then close the consumer."""
    stopping = stop_on_signals()
    seen = 0
    with consumer:
        while not stopping.is_set() and seen != count:
            if (record := consumer.poll(POLL_SECONDS)) is not None:  # a record with an empty value is falsy
                seen += 1
                yield decoder.show(record)


def _of_contract(path: Path) -> _Sources:
    contract = contracts.load(path) if path.exists() else None
    url = contract.kafka.registry_url if contract else None
    lock_path = path.parent / LOCK_FILE
    properties = {"bootstrap.servers": contract.kafka.host} if contract else {}
    return _Sources(properties, contract, lock_path, _registry(url, lock_path) if url else None)


def _of_settings(settings: Settings) -> _Sources:
    contract = contract_of(settings)
    server = settings.server(contract.kafka.name)
    properties = connection_properties(contract.kafka, server.model_copy(update={"producer": {}}), settings)
    return _Sources(properties, contract, lock_path_of(settings), registry_of(contract, settings, may_register=False))


def _registry(url: str, lock_path: Path) -> SchemaRegistry:
    return SchemaRegistry(Endpoint(url, tls=TlsFiles()), lock_path, register=False)
