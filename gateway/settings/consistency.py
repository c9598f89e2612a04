"""Settings against contract: whether they name the same things, and whether the logins satisfy the contract.

Nothing is connected and no name is resolved. One scheme of an AsyncAPI `security` list must be satisfied
(AsyncAPI 3.0, Server Object).

Settings may be stricter than the contract: TLS and SASL that the contract does not require are accepted. They may be
weaker only for servers on this machine and its private network, where brokers without passwords are common; that is a
warning.

MQTT and passwords over plain TCP are accepted only to this machine and its private network, decided by the host's name.
Elsewhere `allow_plain: true` is needed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from gateway.documents.spelling import suggestion
from gateway.settings.values import GATEWAY_ID, UNIX, is_local, split_hosts
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.core.model import Contract, KafkaServer, MqttServer
    from gateway.errors import Finding
    from gateway.settings.settings import OAuthSettings, Settings

Severity = Literal["error", "warning"]

_MECHANISMS: Final = {
    "plain": "PLAIN",
    "userPassword": "PLAIN",
    "scramSha256": "SCRAM-SHA-256",
    "scramSha512": "SCRAM-SHA-512",
    "oauth2": "OAUTHBEARER",
    "openIdConnect": "OAUTHBEARER",
}
_CREATED_BY_UNITS: Final = Path("/var/lib")  # systemd's StateDirectory=, and the volumes of containers
_MQTT_ONLY: Final = ("username", "password_file", "receive_maximum", "websocket")
_KAFKA_ONLY: Final = ("sasl", "producer", "registry")


def check_consistency(settings: Settings, contract: Contract) -> list[Finding]:
    """Compare settings with their contract; returns the findings, in no order."""
    findings = [
        *_unknown(settings, "servers", settings.servers, (*contract.mqtt_servers, contract.kafka.name), contract),
        *_unknown(settings, "streams", settings.streams, contract.streams, contract),
        *_lowered(settings, contract),
    ]
    findings += _spool(settings)
    findings += [*_repeats(settings), *_status(settings, contract)]
    for broker in contract.mqtt_servers.values():
        findings += _Server(settings, broker).check_mqtt()
    return findings + list(_Server(settings, contract.kafka).check_kafka(contract.kafka))


def _repeats(settings: Settings) -> Iterator[Finding]:
    if settings.delivery == "exactly_once" and settings.workers.split == "shared":
        message = "A broker may redeliver a message of a shared subscription to another worker, which does not drop it."
        yield settings.finding(("workers", "split"), message, "Write split: streams.")


def _status(settings: Settings, contract: Contract) -> Iterator[Finding]:
    given, servers = settings.status, contract.mqtt_servers
    if given.publish is not None and given.publish not in servers:
        fix = suggestion(given.publish, list(servers)) or f"Name one of {', '.join(servers)}."
        yield settings.finding(("status", "publish"), "The contract has no MQTT server of this name.", fix)
    elif given.publish and not given.id and not GATEWAY_ID.fullmatch(servers[given.publish].client_id):
        message = "The client id at this server cannot be the id of a gateway, which is a level of a topic."
        fix = "Write status.id: 1 to 64 of A-Z, a-z, 0-9, dash, underscore."
        yield settings.finding(("status", "publish"), message, fix)


def _spool(settings: Settings) -> Iterator[Finding]:
    spool, folder = settings.spool, settings.resolve(settings.spool.path).absolute().parent
    is_created = settings.workers.count > 1 or _CREATED_BY_UNITS in folder.parents
    with suppress(PermissionError):  # whether it exists is not known
        if not folder.exists() and not is_created:
            message = f"The folder {printable(str(folder))} does not exist, and the gateway does not create it."
            yield settings.finding(("spool", "path"), message, "Create it for the gateway's user.", "warning")
    if spool.limit < spool.memory:
        message = f"The limit is below spool.memory ({spool.memory:,} bytes), all of which goes to disk without Kafka."
        fix = "Raise it to several times spool.memory, or lower spool.memory."
        yield settings.finding(("spool", "limit"), message, fix, "warning")


def _unknown(
    settings: Settings, section: str, names: Iterable[str], known: Iterable[str], contract: Contract
) -> Iterator[Finding]:
    for name in names:
        if name not in (listed := list(known)) and name not in contract.elsewhere:
            fix = suggestion(name, listed) or f"Known names are {', '.join(listed)}."
            message = f"The contract has no {section.removesuffix('s')} of this name."
            yield settings.finding((section, name), message, fix)


def _lowered(settings: Settings, contract: Contract) -> Iterator[Finding]:
    for name, stream in contract.streams.items():
        if settings.is_enabled(name) and settings.qos_of(stream) == 0 < stream.qos:
            message = "At QoS 0 the broker drops messages that are published while the gateway is disconnected."
            fix = f"Remove it: the contract says QoS {stream.qos}."
            yield settings.finding(("streams", name, "qos"), message, fix, "warning")


class _Server:
    """One server of the contract with its settings."""

    def __init__(self, settings: Settings, server: MqttServer | KafkaServer) -> None:
        self._all = settings
        self._contract = server
        self._settings = settings.server(server.name)

    def check_mqtt(self) -> Iterator[Finding]:
        yield from self._misplaced(_KAFKA_ONLY, "This setting is for Kafka; in the contract this is an MQTT server.")
        satisfied = {"userPassword": self._settings.username is not None, "X509": self._has_certificate()}
        yield from self._security(satisfied, _MQTT_NEEDS)
        if self._settings.username is not None:
            yield from self._plain(("username",), "The password" if self._settings.password_file else "The user name")
        else:
            yield from self._plain((), "Readings")
        if self._is_unix():
            text = "A Unix socket carries MQTT itself."
            yield from self._misplaced(("tls", "websocket"), text)
        if self._settings.host is not None and len(split_hosts(self._settings.host)) > 1:
            yield self._finding(
                ("host",), "An MQTT server has one host.", "Keep one host; the contract needs a server for each broker."
            )

    def check_kafka(self, kafka: KafkaServer) -> Iterator[Finding]:
        yield from self._misplaced(_MQTT_ONLY, "This setting is for MQTT; in the contract this is the Kafka server.")
        if self._is_unix():
            yield self._finding(("host",), "A Unix socket is for an MQTT server.", "Write name:port.")
        if self._settings.tls and self._settings.tls.alpn:
            yield self._finding(("tls", "alpn"), "This setting is for MQTT, not for Kafka.", "Remove it.")
        sasl = self._settings.sasl
        mechanism = sasl.mechanism if sasl else None
        expected = {_MECHANISMS[scheme] for scheme in kafka.security if scheme in _MECHANISMS}
        if mechanism is not None and mechanism not in expected:
            yield self._mechanism(expected)
        else:
            satisfied = {scheme: _MECHANISMS[scheme] == mechanism for scheme in _MECHANISMS}
            yield from self._security(satisfied | {"X509": self._has_certificate()}, _KAFKA_NEEDS)
        if mechanism is not None:
            yield from self._plain(("sasl",), "The token" if mechanism == "OAUTHBEARER" else "The password")
        yield from self._token_url(("sasl", "oauth", "token_url"), sasl.oauth if sasl else None)
        yield from self._registry(kafka)

    def _mechanism(self, expected: set[str]) -> Finding:
        place = ("sasl", "mechanism")
        if not expected:  # stricter than the contract
            fix = "Add the mechanism to the server's `security` in the contract, so that it is documented."
            return self._finding(place, "The contract does not require SASL.", fix, "warning")
        message = f"The contract requires {' or '.join(sorted(expected))}."
        return self._finding(place, message, "Change this setting, or the server's `security` in the contract.")

    def _misplaced(self, names: tuple[str, ...], message: str) -> Iterator[Finding]:
        for name in names:
            if name in self._settings.model_fields_set:
                fix = "Move it into the section sasl." if name in {"username", "password_file"} else "Remove it."
                yield self._finding((name,), message, fix)

    def _has_certificate(self) -> bool:
        return self._settings.tls is not None and self._settings.tls.cert_file is not None

    def _security(self, satisfied: Mapping[str, bool], needs: Mapping[str, str]) -> Iterator[Finding]:
        schemes = self._contract.security
        if schemes and not any(satisfied.get(scheme, False) for scheme in schemes):
            needed = dict.fromkeys(needs[scheme] for scheme in schemes if scheme in needs)
            fix = f"Add {' or '.join(needed)}." if needed else f"Use {' or '.join(needs)} in the contract's `security`."
            severity: Severity = "warning" if self._is_local() else "error"
            message = "The login that the contract requires is missing."
            yield self._finding((), message, fix, severity)

    def _is_unix(self) -> bool:
        return (self._settings.host or "").startswith(UNIX)

    def _is_local(self) -> bool:
        return all(is_local(host) for host, _ in split_hosts(self._settings.host or self._contract.host))

    def _plain(self, place: tuple[str, ...], what: str) -> Iterator[Finding]:
        is_encrypted = self._contract.tls or self._settings.tls is not None
        if not is_encrypted and not self._settings.allow_plain and not self._is_local():
            yield self._finding(place, f"{what} would cross a public network unencrypted.", _PLAIN_FIX)

    def _registry(self, kafka: KafkaServer) -> Iterator[Finding]:
        registry = self._settings.registry
        url = registry.url or kafka.registry_url
        if url is None:
            yield self._finding(("registry", "url"), "No schema registry is configured.", "Add its url.")
            return
        has_secret = bool(registry.username or registry.token_file or registry.oauth)
        if has_secret and self._is_open(url):
            message = "The registry's password would cross a public network unencrypted."
            yield self._finding(("registry",), message, _OPEN_FIX)
        yield from self._token_url(("registry", "oauth", "token_url"), registry.oauth)

    def _token_url(self, place: tuple[str, ...], given: OAuthSettings | None) -> Iterator[Finding]:
        if given and given.token_url and self._is_open(given.token_url):
            yield self._finding(place, "The token would cross a public network unencrypted.", _OPEN_FIX)

    def _is_open(self, url: str) -> bool:
        is_public = not is_local(urlsplit(url).hostname or "")
        return url.startswith("http:") and is_public and not self._settings.allow_plain

    def _finding(self, place: tuple[str, ...], message: str, fix: str, severity: Severity = "error") -> Finding:
        return self._all.finding(("servers", self._contract.name, *place), message, fix, severity)


_PLAIN_FIX: Final = "Add `tls: {}` to use TLS, or add `allow_plain: true` to this server."
_OPEN_FIX: Final = "Use https, or add `allow_plain: true` to this server."
_CERTIFICATE: Final = "tls with cert_file and key_file"
_MQTT_NEEDS: Final = {"userPassword": "username, and password_file unless the broker takes none", "X509": _CERTIFICATE}
_KAFKA_NEEDS: Final = {"X509": _CERTIFICATE} | {
    scheme: f"sasl with mechanism {mechanism}" for scheme, mechanism in _MECHANISMS.items()
}
