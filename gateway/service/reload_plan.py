"""What a reload changes, as values: what needs a restart stays as it is, and is named; the rest is what streams become.

Pure: it compares contract and settings, and reads nothing.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from gateway.core.model import Contract, KafkaServer, Stream
    from gateway.service.split import Worker
    from gateway.settings.settings import ServerSettings, Settings

SECTIONS = ("delivery", "use_servers", "spool", "http", "clock", "log", "mqtt", "workers", "status")
OF_SESSION = {  # of an MQTT server, as the contract calls it
    "version": "protocolVersion", "client_id": "clientId", "clean_session": "cleanSession", "keep_alive": "keepAlive",
    "session_expiry": "sessionExpiryInterval", "maximum_packet_size": "maximumPacketSize", "last_will": "lastWill",
}  # fmt: skip

OF_KAFKA = {field: field for field in ("name", "host", "tls")}


class Reloadable(NamedTuple):
    """Contract and settings with everything that only a restart changes as at the start."""

    contract: Contract
    settings: Settings
    needs_restart: tuple[str, ...]  # what that is, where the new files say something else


def reloadable(
    contract: Contract, settings: Settings, started: tuple[Contract, Settings], connected: Collection[str]
) -> Reloadable:
    """Find out what may change; `connected` are the MQTT servers that the process connects to."""
    needs: list[str] = []
    old_contract, old = started
    sections: dict[str, Any] = {name: getattr(old, name) for name in SECTIONS}
    for name, section in sections.items():
        needs += _differences(name, _dump(section), _dump(getattr(settings, name)))
    servers = {**settings.servers}
    for name in connected:
        given, maximum = settings.server(name), old.server(name).receive_maximum
        needs += _differences(f"servers.{name}.receive_maximum", maximum, given.receive_maximum)
        servers[name] = given.model_copy(update={"receive_maximum": maximum})
    kafka = _kept(contract.kafka, old_contract.kafka, OF_KAFKA, "the Kafka server", needs)
    servers[kafka.name] = _kafka_settings(settings.server(contract.kafka.name), old.server(kafka.name), kafka, needs)
    mqtt = {}
    for name in connected:
        if new := contract.mqtt_servers.get(name):
            mqtt[name] = _kept(new, old_contract.mqtt_servers[name], OF_SESSION, f"MQTT server {name}", needs)
        else:
            mqtt[name] = old_contract.mqtt_servers[name]
            needs.append(f"the end of MQTT server {name}")
    used = {name for stream in contract.streams.values() if settings.is_enabled(stream.name) for name in stream.servers}
    needs += [f"the connection to MQTT server {name}" for name in sorted(used - mqtt.keys())]
    return Reloadable(
        dataclasses.replace(contract, mqtt_servers=mqtt, kafka=kafka),
        settings.model_copy(update={**sections, "servers": servers}),
        tuple(needs),
    )


def _kept(new: Any, old: Any, fields: Mapping[str, str], of: str, needs: list[str]) -> Any:
    """Give a server with some fields as they were."""
    needs += [f"{word} of {of}" for field, word in fields.items() if getattr(new, field) != getattr(old, field)]
    return dataclasses.replace(new, **{field: getattr(old, field) for field in fields})


def _kafka_settings(new: ServerSettings, old: ServerSettings, kafka: KafkaServer, needs: list[str]) -> ServerSettings:
    """A producer takes other credentials; it does not change its servers, its properties or the kind of its login."""
    place = f"servers.{kafka.name}"
    needs += _differences(f"{place}.host", old.host, new.host)
    needs += _differences(f"{place}.producer", old.producer, new.producer)
    kept: dict[str, Any] = {"host": old.host, "producer": old.producer}
    for name in ("tls", "sasl"):
        former, given = getattr(old, name), getattr(new, name)
        if (former is None) != (given is None) or not _names(_dump(former)) <= _names(_dump(given)):
            needs.append(f"{place}.{name}")
            kept[name] = former
    return new.model_copy(update=kept)


def _dump(value: Any) -> Any:
    return value.model_dump() if hasattr(value, "model_dump") else value


def _names(value: Any) -> set[str]:
    """The names of the settings that are set."""
    if not isinstance(value, dict):
        return set()
    return {f"{key}.{below}" for key, each in value.items() if each is not None for below in (_names(each) or {""})}


def _differences(place: str, old: Any, new: Any) -> Iterator[str]:
    """Name the settings that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(f"{place}.{key}", old.get(key), new.get(key))
    elif old != new:
        yield place


class StreamChanges(NamedTuple):
    """What becomes of the streams, by name."""

    added: frozenset[str]
    removed: frozenset[str]
    changed: frozenset[str]
    former: Mapping[str, Stream]  # those that are gone, or have another address, as they were


def stream_changes(old: Worker, new: Worker) -> StreamChanges:
    """Compare the enabled streams of two contracts."""
    before, now = old.enabled, new.enabled
    return StreamChanges(
        frozenset(now.keys() - before.keys()),
        frozenset(before.keys() - now.keys()),
        frozenset(name for name in now.keys() & before.keys() if before[name] != now[name]),
        {name: one for name, one in before.items() if name not in now or one.address != now[name].address},
    )
