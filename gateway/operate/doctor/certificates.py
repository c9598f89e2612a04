"""The validity of certificates: of the files that the settings name, and of the servers.

A server is connected to with the gateway's own TLS settings. A rejected certificate is a finding with its reason; a
server that cannot be reached is the finding of its own peer, and only `unknown` here.

Of a chain every certificate counts, because the first to expire breaks it. Of a bundle of authorities one valid
certificate is enough: an expired predecessor may stay beside it.
"""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509

from gateway.errors import Finding
from gateway.installation import broker_of
from gateway.operate.doctor.rejection import Peer, explain
from gateway.settings.tls import tls_context
from gateway.settings.values import split_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.installation import Installation
    from gateway.settings.settings import TlsSettings

PLACE, REGISTRY = "certificates", "registry"
SOON = timedelta(days=30)
CONNECT_SECONDS = 5.0
KAFKA, HTTPS = 9092, 443


class _Server(NamedTuple):
    name: str
    host: str
    port: int
    tls: TlsSettings | None

    @property
    def peer(self) -> Peer:
        """The server with the settings that a finding about it names."""
        if self.name == REGISTRY:
            return Peer(self.host, self.port, "registry.ca_file", "registry.url")
        return Peer(self.host, self.port)


def examine(installation: Installation, now: datetime | None = None) -> Iterator[Finding]:
    """Check all certificates of an installation, at this moment or at another, with time zone."""
    now = now or datetime.now(UTC)
    settings = installation.settings
    for name, setting in dict.fromkeys((name, place[-1]) for place, name in settings.certificate_files()):
        yield check_file(settings.locate(name), now, is_chain=setting == "cert_file")
    for server in _servers(installation):
        yield _presented(server, tls_context(server.tls, settings), now)


def check_dates(what: str, certificate: x509.Certificate, now: datetime) -> Finding:
    """Check the dates of a certificate."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < first:
        fix = "Set this machine's clock, or wait."
        return Finding.at(PLACE, what, "error", f"not valid before {first:%Y-%m-%d}", fix)
    if now > last:
        return Finding.at(PLACE, what, "error", f"expired on {last:%Y-%m-%d}", "Renew it.")
    valid = f"valid until {last:%Y-%m-%d}"
    if last - now < SOON:
        return Finding.at(PLACE, what, "warning", valid, "Renew it.")
    return Finding.at(PLACE, what, "ok", valid)


def check_file(path: Path, now: datetime, *, is_chain: bool) -> Finding:
    """Check a file of certificates: a chain by its worst certificate, a bundle of authorities by its best."""
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return Finding.at(PLACE, str(path), "error", "holds no certificate in PEM", "Use a file in PEM.")
    findings = (check_dates(str(path), one, now) for one in certificates)
    ordered = sorted(findings, key=lambda one: ("ok", "warning", "error").index(one.severity))
    return ordered[-1 if is_chain else 0]


def _servers(installation: Installation) -> Iterator[_Server]:
    settings, contract = installation.settings, installation.contract
    for broker in (broker_of(one, settings) for one in contract.mqtt_servers.values()):
        if broker.tls:
            yield _Server(broker.name, broker.host, broker.port, settings.server(broker.name).tls)
    kafka, given = contract.kafka, settings.server(contract.kafka.name)
    if kafka.tls or given.tls:
        for host, port in split_hosts(given.host or kafka.host):
            yield _Server(kafka.name, host, port or KAFKA, given.tls)
    registry = given.registry
    url = urlsplit(registry.url or contract.kafka.registry_url or "")
    if url.scheme == "https" and url.hostname:
        yield _Server(REGISTRY, url.hostname, url.port or HTTPS, registry.tls)


def _presented(server: _Server, context: ssl.SSLContext, now: datetime) -> Finding:
    what = f"{server.name} at {server.host}:{server.port}"
    try:
        with (
            socket.create_connection((server.host, server.port), CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=server.host) as connection,
        ):
            certificate = connection.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as error:
        return Finding.at(PLACE, what, "error", *explain(server.peer, error))
    except (OSError, ValueError) as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
        return Finding.at(PLACE, what, "unknown", f"no TLS connection: {reason}", "See the findings of this peer.")
    assert certificate, "a context that verifies has received one"
    return check_dates(what, x509.load_der_x509_certificate(certificate), now)
