"""What a reload changes: a table of old and new contract and settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract import load
from gateway.core.address import Address
from gateway.service.reload_plan import reloadable, stream_changes
from gateway.service.split import worker
from gateway.settings.settings import Settings
from tests.contract_values import contract, record, stream
from tests.stack.gateway import ROOT

if TYPE_CHECKING:
    from gateway.core.model import Contract

SCHEMA = record(("key", "string"))
DOORS = stream("doors", SCHEMA, address="doors/{key}", keys=("/key",))
LAMPS = stream("lamps", SCHEMA, address="lamps/{key}", keys=("/key",))
OTHER = replace(DOORS, route=replace(DOORS.route, keys=("/other",)))
MOVED = replace(DOORS, address=Address.parse("gates/{key}"))
BOTH = contract(DOORS, LAMPS)


def settings(**given: Any) -> Settings:
    return Settings.model_validate({"contract": "asyncapi.yaml", **given})


def with_server(**changes: Any) -> Contract:
    return replace(BOTH, mqtt_servers={"broker": replace(BOTH.mqtt_servers["broker"], **changes)})


def with_kafka(**changes: Any) -> Contract:
    return replace(BOTH, kafka=replace(BOTH.kafka, **changes))


SASL = {"mechanism": "PLAIN", "username": "a", "password_file": "p"}
NEEDS: dict[str, tuple[Settings, Contract, Settings, list[str]]] = {
    "nothing": (settings(), BOTH, settings(), []),
    "another title": (settings(), replace(BOTH, title="new", version="2"), settings(), []),
    "a stream off": (settings(), BOTH, settings(streams={"doors": {"enabled": False}}), []),
    "the broker's host": (settings(), BOTH, settings(servers={"broker": {"host": "b:1"}}), []),
    "the broker's login": (settings(), BOTH, settings(servers={"broker": {"username": "u", "password_file": "p"}}), []),
    "the broker's TLS": (settings(), BOTH, settings(servers={"broker": {"tls": {"ca_file": "ca"}}}), []),
    "the broker's host in the contract": (settings(), with_server(host="b:1", tls=True), settings(), []),
    "the registry": (settings(), with_kafka(registry_url="http://r"), settings(), []),
    "Kafka's password": (
        settings(servers={"kafka": {"sasl": SASL}}),
        BOTH,
        settings(servers={"kafka": {"sasl": SASL | {"username": "b", "password_file": "q"}}}),
        [],
    ),
    "receive maximum": (
        settings(),
        BOTH,
        settings(servers={"broker": {"receive_maximum": 9}}),
        ["servers.broker.receive_maximum"],
    ),
    "delivery": (settings(), BOTH, settings(delivery="exactly_once"), ["delivery"]),
    "the spool": (settings(), BOTH, settings(spool={"path": "x.db", "after": 1}), ["spool.path", "spool.after"]),
    "the port": (settings(), BOTH, settings(http={"listen": "127.0.0.1:1"}), ["http.listen"]),
    "workers": (settings(), BOTH, settings(workers={"count": 2}), ["workers.count"]),
    "log and clock": (
        settings(),
        BOTH,
        settings(log={"level": "debug"}, clock={"wait": 1}),
        ["clock.wait", "log.level"],
    ),
    "retained": (settings(), BOTH, settings(mqtt={"retained": "never"}), ["mqtt.retained"]),
    "use_servers": (settings(), BOTH, settings(use_servers=["broker", "kafka"]), ["use_servers"]),
    "Kafka's host": (settings(), BOTH, settings(servers={"kafka": {"host": "k:1"}}), ["servers.kafka.host"]),
    "a producer's property": (
        settings(),
        BOTH,
        settings(servers={"kafka": {"producer": {"compression.type": "zstd"}}}),
        ["servers.kafka.producer.compression.type"],
    ),
    "a login at Kafka": (settings(), BOTH, settings(servers={"kafka": {"sasl": SASL}}), ["servers.kafka.sasl"]),
    "no CA at Kafka": (
        settings(servers={"kafka": {"tls": {"ca_file": "ca"}}}),
        BOTH,
        settings(servers={"kafka": {"tls": {}}}),
        ["servers.kafka.tls"],
    ),
    "the client id": (settings(), with_server(client_id="x"), settings(), ["clientId of MQTT server broker"]),
    "the session": (
        settings(),
        with_server(session_expiry=1, keep_alive=1),
        settings(),
        ["keepAlive of MQTT server broker", "sessionExpiryInterval of MQTT server broker"],
    ),
    "the Kafka server": (
        settings(),
        with_kafka(name="other", host="k:1"),
        settings(),
        ["name of the Kafka server", "host of the Kafka server"],
    ),
    "another broker": (
        settings(),
        contract(replace(DOORS, servers=("second",)), LAMPS, servers=("broker", "second")),
        settings(),
        ["the connection to MQTT server second"],
    ),
    "no broker": (
        settings(),
        contract(servers=("second",)),
        settings(),
        ["the end of MQTT server broker"],
    ),
}


@pytest.mark.parametrize("what", NEEDS)
def test_reloadable_names_what_needs_a_restart(what: str) -> None:
    """It stays as it was at the start; the rest is as in the new files."""
    old, new_contract, new, names = NEEDS[what]
    made = reloadable(new_contract, new, (BOTH, old), ["broker"])
    assert sorted(made.needs_restart) == sorted(names)
    again = reloadable(made.contract, made.settings, (BOTH, old), ["broker"])
    assert again.needs_restart == (("the connection to MQTT server second",) if what == "another broker" else ())
    assert made.contract.kafka.host == BOTH.kafka.host
    assert made.settings.spool == old.spool
    assert made.contract.title == new_contract.title
    if not names:
        assert (made.contract, made.settings) == (new_contract, made.settings)
        assert made.settings.server("broker") == new.server("broker")
        assert made.settings.server("kafka") == new.server("kafka")


CHANGES: dict[str, tuple[Contract, dict[str, Any], dict[str, set[str]]]] = {
    "the same": (BOTH, {}, {}),
    "one more": (
        contract(DOORS, LAMPS, stream("new", SCHEMA, address="new/{key}", keys=("/key",))),
        {},
        {"added": {"new"}},
    ),
    "one less": (contract(DOORS), {}, {"removed": {"lamps"}, "former": {"lamps"}}),
    "one off": (BOTH, {"streams": {"lamps": {"enabled": False}}}, {"removed": {"lamps"}, "former": {"lamps"}}),
    "another key": (contract(OTHER, LAMPS), {}, {"changed": {"doors"}}),
    "another address": (contract(MOVED, LAMPS), {}, {"changed": {"doors"}, "former": {"doors"}}),
    "another name": (
        contract(replace(DOORS, name="gates"), LAMPS),
        {},
        {"added": {"gates"}, "removed": {"doors"}, "former": {"doors"}},
    ),
    "another QoS here": (BOTH, {"streams": {"lamps": {"qos": 0}}}, {}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_stream_changes_tells_what_becomes_of_streams(what: str) -> None:
    new, given, expected = CHANGES[what]
    changes = stream_changes(worker(BOTH, settings(), 1), worker(new, settings(**given), 1))
    found = {name: set(getattr(changes, name)) for name in ("added", "removed", "changed", "former")}
    assert {name: names for name, names in found.items() if names} == expected


def test_stream_changes_finds_none_between_two_readings_of_a_contract() -> None:
    """Two processes read the same files: no stream is exchanged for nothing."""
    one, other = (worker(load(ROOT / "asyncapi.yaml"), settings(), 1) for _ in range(2))
    assert stream_changes(one, other) == (frozenset(), frozenset(), frozenset(), {})
    assert one.contract.digest == other.contract.digest
