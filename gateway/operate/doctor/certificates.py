"""The dates of certificates: of the files that settings name, and of the servers.

A server is greeted as the gateway greets it, and a certificate that is refused is told with its reason; one that cannot
be greeted is told by whoever asks that peer, so here it is only not seen. Of our own certificate and its chain each
counts, because the first to end breaks the chain; of authorities one that is good is enough: beside it may stand the
old one, which nobody needs any more.
"""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509

from gateway.certificate import Peer, refusal
from gateway.operate.doctor.diagnosis import Diagnosis, State
from gateway.settings.settings import TlsSettings
from gateway.settings.tls import tls_context
from gateway.settings.values import split_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.core.model import KafkaServer, MqttServer
    from gateway.installation import Installation

PLACE, REGISTRY = "certificates", "registry"
SOON = timedelta(days=30)
GREETING_SECONDS = 5.0
MQTT_TLS, KAFKA, HTTPS = 8883, 9092, 443


class _Server(NamedTuple):
    name: str
    host: str
    port: int
    tls: TlsSettings | None

    @property
    def peer(self) -> Peer:
        """The server as its line speaks of it."""
        if self.name == REGISTRY:
            return Peer("its", self.host, self.port, "registry.ca_file", "registry.url")
        return Peer("its", self.host, self.port)


def examine(installation: Installation, now: datetime | None = None) -> Iterator[Diagnosis]:
    """Look at the dates of all certificates of an installation.

    Args:
        installation: its files.
        now: to judge by, instead of this machine's clock.

    Raises:
        ConfigurationError: when a certificate cannot be used.
    """
    now = now or datetime.now(UTC)
    settings = installation.settings
    for name, is_chain in dict.fromkeys(_files(installation)):
        yield judge_file(settings.locate(name), now, is_chain=is_chain)
    for server in _servers(installation):
        yield _greeted(server, tls_context(server.tls, settings), now)


def judge(what: str, certificate: x509.Certificate, now: datetime) -> Diagnosis:
    """Judge a certificate by its dates.

    Args:
        what: whose it is.
        certificate: to be judged.
        now: with time zone.
    """
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < first:
        fix = "Set this machine's clock, or wait."
        return Diagnosis(PLACE, what, State.WRONG, f"not valid before {_day(first)}", fix)
    if now > last:
        return Diagnosis(PLACE, what, State.WRONG, f"ended on {_day(last)}", "Renew it.")
    soon = last - now < SOON
    state, fix = (State.WARNING, "Renew it.") if soon else (State.OK, "")
    return Diagnosis(PLACE, what, state, f"valid until {_day(last)}", fix)


def judge_file(path: Path, now: datetime, *, is_chain: bool) -> Diagnosis:
    """Judge a file of certificates.

    Args:
        path: the file.
        now: with time zone.
        is_chain: each of its certificates is needed; else one that is good is enough.
    """
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return Diagnosis(PLACE, str(path), State.WRONG, "holds no certificate in PEM", "Give PEM files.")
    judged = sorted((judge(str(path), one, now) for one in certificates), key=_gravity)
    return judged[-1 if is_chain else 0]


def _files(installation: Installation) -> Iterator[tuple[str, bool]]:
    """Names of the files, and whether each is a chain."""
    for server in installation.settings.servers.values():
        tls = server.tls or TlsSettings()
        given = ((tls.ca_file, False), (tls.cert_file, True), (server.registry.ca_file, False))
        yield from ((name, is_chain) for name, is_chain in given if name)


def _gravity(diagnosis: Diagnosis) -> int:
    return [State.OK, State.WARNING, State.WRONG].index(diagnosis.state)


def _servers(installation: Installation) -> Iterator[_Server]:
    settings, contract = installation.settings, installation.contract
    peers: list[tuple[MqttServer | KafkaServer, int]] = [(one, MQTT_TLS) for one in contract.mqtt_servers.values()]
    for server, usual in [*peers, (contract.kafka, KAFKA)]:
        given = settings.server(server.name)
        if server.tls or given.tls:
            for host, port in split_hosts(given.host or server.host):
                yield _Server(server.name, host, port or usual, given.tls)
    registry = settings.server(contract.kafka.name).registry
    url = urlsplit(registry.url or contract.kafka.registry_url or "")
    if url.scheme == "https" and url.hostname:
        yield _Server(REGISTRY, url.hostname, url.port or HTTPS, TlsSettings(ca_file=registry.ca_file))


def _greeted(server: _Server, context: ssl.SSLContext, now: datetime) -> Diagnosis:
    what = f"{server.name} at {server.host}:{server.port}"
    try:
        with (
            socket.create_connection((server.host, server.port), GREETING_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=server.host) as connection,
        ):
            shown = connection.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as error:
        told, _, fix = refusal(server.peer, error).partition("; ")
        return Diagnosis(PLACE, what, State.WRONG, told, f"{fix[:1].upper()}{fix[1:]}")
    except (OSError, ValueError) as error:
        told = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
        fix = "See the lines of this peer."
        return Diagnosis(PLACE, what, State.UNSEEN, f"no certificate that we accept: {told}", fix)
    assert shown, "a context that verifies has seen one"
    return judge(what, x509.load_der_x509_certificate(shown), now)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
