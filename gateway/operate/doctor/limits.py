"""Compares an installation with the limits of cloud services, which close the connection beyond them, or do not answer.

The limits are those that the providers document. A service is recognised by its host name, so nothing is checked if
the settings have another name for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.certificate import UNDER_SERVERS
from gateway.errors import Finding
from gateway.installation import subscriptions
from gateway.kafka.sink import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.core.model import MqttServer
    from gateway.errors import Severity
    from gateway.installation import Installation

EVENT_HUBS = ".servicebus."
COMPRESSION = ("compression.type", "compression.codec")  # two names of one property
EVENT_HUBS_BYTES = 1_048_576  # of a record


class Limits(NamedTuple):
    """Of a service that is an MQTT broker."""

    service: str
    host: re.Pattern[str]
    payload: int  # bytes
    client_id: int = 128  # bytes
    levels: int = 8  # of a filter
    filters: int = 50  # of a client
    marks_repeats: bool = True  # by the DUP flag


SERVICES = (
    Limits("AWS IoT Core", re.compile(r"\.iot\.[\w-]+\.amazonaws\.com"), 131_072, marks_repeats=False),
    Limits("Azure Event Grid", re.compile(r"\.ts\.eventgrid\.azure\."), 524_288),
)


def check_broker(installation: Installation, server: MqttServer) -> Iterator[Finding]:
    """Compare what the gateway asks a broker for with the limits of its service."""
    host = installation.settings.server(server.name).host or server.host
    for limits in SERVICES:
        if limits.host.search(host):
            exceeded = list(_exceeded(installation, server, limits))
            for severity, text, fix in exceeded or [("ok", "nothing exceeds them", "")]:
                yield Finding.at(server.name, f"limits of {limits.service}", severity, text, fix)


def _exceeded(installation: Installation, server: MqttServer, limits: Limits) -> Iterator[tuple[Severity, str, str]]:
    settings, contract = installation.settings, installation.contract
    filters = subscriptions(contract, settings.is_enabled, server.name)
    streams = {stream.name: stream for some in filters.values() for stream in some}.values()
    for stream in streams:
        if settings.qos_of(stream) == 2:
            fix = f"Set streams: {{{stream.name}: {{qos: 1}}}} in gateway.yaml, or qos: 1 in the contract."
            yield "error", f"the service has no QoS 2, which the stream {stream.name} needs", fix
        if stream.sequence and not limits.marks_repeats:
            text = f"the service does not set DUP: repeats may count as out of order in x-sequence of {stream.name}"
            yield "warning", text, "Let no alert depend on these counters."
    for each in filters:
        if (levels := each.count("/") + 1) > limits.levels:
            yield "error", f"{each} has {levels} levels; the service allows {limits.levels}", "Shorten the address."
    if len(filters) > limits.filters:
        text = f"{len(filters)} subscriptions; the service allows a client {limits.filters}"
        yield "warning", text, "Let one address with parameters cover several streams, or raise the quota."
    if len(server.client_id.encode()) > limits.client_id:
        text = f"the client id is too long: the service allows {limits.client_id} bytes"
        yield "error", text, "Shorten clientId in the contract."
    if (server.maximum_packet_size or 0) > limits.payload:
        text = f"the service disconnects a client that publishes more than {limits.payload} bytes"
        yield "warning", text, f"Write maximumPacketSize: {limits.payload} in the contract."


def check_kafka(peer: str, properties: Mapping[str, Any], *, delivers_once: bool) -> Iterator[Finding]:
    """Check whether the cluster is known to refuse what the producer does."""
    kind = next((str(properties[name]) for name in COMPRESSION if name in properties), DEFAULTS[COMPRESSION[0]])
    is_event_hubs = EVENT_HUBS in properties["bootstrap.servers"]
    if is_event_hubs and kind not in {"gzip", "none"}:
        fix = f"Set producer: {{compression.type: gzip}} {UNDER_SERVERS}, or none below the premium tier."
        yield Finding.at(peer, "compression", "error", f"Azure Event Hubs does not accept {kind}", fix)
    else:
        yield Finding.at(peer, "compression", "ok", str(kind))
    if is_event_hubs and delivers_once:
        text = "Azure Event Hubs has them as a preview in the premium and dedicated tiers, elsewhere not"
        yield Finding.at(peer, "transactions", "warning", text, "Use such a tier, or delivery: at_least_once.")
    if is_event_hubs and int((DEFAULTS | dict(properties))["message.max.bytes"]) > EVENT_HUBS_BYTES:
        fix = f"Set producer: {{message.max.bytes: {EVENT_HUBS_BYTES}}} {UNDER_SERVERS}."
        yield Finding.at(peer, "record size", "error", f"Azure Event Hubs accepts {EVENT_HUBS_BYTES} bytes", fix)
