"""Settings against contract: do they name the same things, and can every server be reached the way the contract asks?

Nothing is connected and no name is resolved. What an AsyncAPI `security` list means: one of its schemes must be
satisfied (AsyncAPI 3.0, Server Object).

An installation may be stricter than its contract: TLS and SASL that the contract does not ask for are taken. It may be
weaker only on this machine and its private network, where a broker without a password is common; that is a warning.

Over plain TCP, MQTT and any password are taken to this machine and to its private network only, judged by the host's
name; elsewhere the operator has to say `allow_plain: true`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from gateway.documents.yaml_file import propose
from gateway.settings.values import is_local, split_hosts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.core.model import Contract, KafkaServer, MqttServer
    from gateway.errors import Finding
    from gateway.settings.settings import Settings

Severity = Literal["error", "warning"]

_MECHANISMS: Final = {
    "plain": "PLAIN",
    "userPassword": "PLAIN",
    "scramSha256": "SCRAM-SHA-256",
    "scramSha512": "SCRAM-SHA-512",
}
_MQTT_ONLY: Final = ("username", "password_file", "receive_maximum")
_KAFKA_ONLY: Final = ("sasl", "producer", "registry")


def check_consistency(settings: Settings, contract: Contract) -> list[Finding]:
    """Compare settings with the contract they are for.

    Args:
        settings: of this installation.
        contract: that they name.

    Returns:
        Everything that does not fit together, in no order; empty when `run` may go on.
    """
    found = [
        *_unknown(settings, "servers", settings.servers, (*contract.mqtt_servers, contract.kafka.name)),
        *_unknown(settings, "streams", settings.streams, contract.streams),
    ]
    for broker in contract.mqtt_servers.values():
        found += _Server(settings, broker).check_mqtt()
    return found + list(_Server(settings, contract.kafka).check_kafka(contract.kafka))


def _unknown(settings: Settings, section: str, names: Iterable[str], known: Iterable[str]) -> Iterator[Finding]:
    for name in names:
        if name not in (listed := list(known)):
            kind = section.removesuffix("s")
            yield settings.finding((section, name), f"The contract has no {kind} of this name.", propose(name, listed))


class _Server:
    """One server of the contract beside what the settings say about it."""

    def __init__(self, settings: Settings, server: MqttServer | KafkaServer) -> None:
        self._all = settings
        self._contract = server
        self._settings = settings.server(server.name)

    def check_mqtt(self) -> Iterator[Finding]:
        yield from self._misplaced(_KAFKA_ONLY, "This is for the Kafka server; the contract says MQTT here.")
        ways = {"userPassword": self._settings.username is not None, "X509": self._has_certificate()}
        yield from self._security(ways, _MQTT_NEEDS)
        if self._settings.username is not None:
            yield from self._plain(("username",), "The password")
        else:
            yield from self._plain((), "Readings")
        if self._settings.host is not None and len(split_hosts(self._settings.host)) > 1:
            yield self._finding(("host",), "An MQTT server is one host.", "Keep one; use a server for each broker.")

    def check_kafka(self, kafka: KafkaServer) -> Iterator[Finding]:
        yield from self._misplaced(_MQTT_ONLY, "This is for MQTT servers; the contract says Kafka here.")
        mechanism = self._settings.sasl.mechanism if self._settings.sasl else None
        expected = {_MECHANISMS[scheme] for scheme in kafka.security if scheme in _MECHANISMS}
        if mechanism is not None and mechanism not in expected:
            yield self._mechanism(expected)
        else:
            ways = {scheme: _MECHANISMS[scheme] == mechanism for scheme in _MECHANISMS}
            yield from self._security(ways | {"X509": self._has_certificate()}, _KAFKA_NEEDS)
        if mechanism is not None:
            yield from self._plain(("sasl",), "The password")
        yield from self._registry(kafka)

    def _mechanism(self, expected: set[str]) -> Finding:
        place = ("sasl", "mechanism")
        if not expected:  # stricter than the contract
            return self._finding(
                place, "The contract asks for no SASL.", "Name it there, so that the documents say it.", "warning"
            )
        message = f"The contract asks for {' or '.join(sorted(expected))}."
        return self._finding(place, message, "Change it here, or the server's security there.")

    def _misplaced(self, names: tuple[str, ...], message: str) -> Iterator[Finding]:
        for name in names:
            if name in self._settings.model_fields_set:
                fix = "Write it below sasl." if name in {"username", "password_file"} else "Remove it."
                yield self._finding((name,), message, fix)

    def _has_certificate(self) -> bool:
        return self._settings.tls is not None and self._settings.tls.cert_file is not None

    def _security(self, ways: Mapping[str, bool], needs: Mapping[str, str]) -> Iterator[Finding]:
        schemes = self._contract.security
        if schemes and not any(ways.get(scheme, False) for scheme in schemes):
            told = " or ".join(
                dict.fromkeys(needs.get(scheme, f"{scheme}, which is not offered") for scheme in schemes)
            )
            severity: Severity = "warning" if self._is_local() else "error"
            yield self._finding((), "What the contract's security asks for is missing.", f"Give it {told}.", severity)

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
            yield self._finding(("registry", "url"), "No schema registry is named.", "Add its url here.")
            return
        has_secret = registry.username is not None or registry.token_file is not None
        host = urlsplit(url).hostname or ""
        if has_secret and url.startswith("http:") and not self._settings.allow_plain and not is_local(host):
            message = "The registry's password would cross a public network unencrypted."
            yield self._finding(("registry",), message, "Use https, or say `allow_plain: true` for this server.")

    def _finding(self, place: tuple[str, ...], message: str, fix: str, severity: Severity = "error") -> Finding:
        return self._all.finding(("servers", self._contract.name, *place), message, fix, severity)


_PLAIN_FIX: Final = "Add `tls: {}` to speak TLS, or say `allow_plain: true` for this server."
_CERTIFICATE: Final = "tls with cert_file and key_file"
_MQTT_NEEDS: Final = {"userPassword": "username and password_file", "X509": _CERTIFICATE}
_KAFKA_NEEDS: Final = {"X509": _CERTIFICATE} | {
    scheme: f"sasl with mechanism {mechanism}" for scheme, mechanism in _MECHANISMS.items()
}
