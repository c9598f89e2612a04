"""Why a server's certificate is rejected, from the certificate itself: its dates, its names, its issuer.

OpenSSL names the kind of error; what to do about it depends on the certificate. It is fetched over a second connection
that verifies nothing and sends nothing. What it contains is shown to people, and decides nothing.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from gateway.certificate import UNDER_SERVERS
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Callable

FETCH_SECONDS = 5.0
SHOWN_BYTES = 60
CHECK_CLOCK = "Check that this machine's clock is set."


class Peer(NamedTuple):
    """A TLS server.

    Args:
        host: as the gateway connects to it.
        port: as the gateway connects to it.
        authority: the setting that names the authority to trust, and where it stands.
        address: the setting that says where the server is.
    """

    host: str
    port: int
    authority: str = f"tls.ca_file {UNDER_SERVERS}"
    address: str = f"host {UNDER_SERVERS}"


def explain(peer: Peer, error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    """Say why a certificate is rejected, and how to fix it.

    Args:
        peer: the server. Its certificate is fetched, which blocks for `FETCH_SECONDS` when it does not answer.
        error: from OpenSSL.
    """
    describe, certificate = _CAUSES.get(error.verify_code), _fetch(peer)
    try:
        cause = describe(peer, certificate) if describe and certificate else None
    except Exception:  # noqa: BLE001 - a foreign certificate may contain anything, and is parsed as it is read
        cause = None
    reason = error.verify_message.rstrip(".")
    return cause or (f"its certificate is rejected: {reason}", _fix(peer, error.verify_code))


def _fetch(peer: Peer) -> x509.Certificate | None:
    try:
        text = ssl.get_server_certificate((peer.host, peer.port), timeout=FETCH_SECONDS)
        return x509.load_pem_x509_certificate(text.encode())
    except (OSError, ValueError):  # among others, the server requires a client certificate
        return None


# Each cause is None when this certificate is good: then another one of the chain is at fault.


def _not_yet_valid(_peer: Peer, certificate: x509.Certificate) -> tuple[str, str] | None:
    first = certificate.not_valid_before_utc
    if first <= datetime.now(UTC):
        return None
    return f"its certificate is not valid before {_minute(first)}", CHECK_CLOCK


def _expired(_peer: Peer, certificate: x509.Certificate) -> tuple[str, str] | None:
    last = certificate.not_valid_after_utc
    if last >= datetime.now(UTC):
        return None
    return f"its certificate expired on {_minute(last)}", "Renew it on the server, or set this machine's clock."


def _unknown_issuer(peer: Peer, certificate: x509.Certificate) -> tuple[str, str]:
    issuer = printable(cut(certificate.issuer.rfc4514_string(), SHOWN_BYTES))
    return f"its certificate is signed by {issuer}, which is not a trusted CA", _trust_issuer(peer)


def _other_name(peer: Peer, certificate: x509.Certificate) -> tuple[str, str]:
    names = printable(cut(", ".join(_names(certificate)) or "no name", SHOWN_BYTES))
    return f"its certificate is issued for {names}, not for {peer.host}", _use_name(peer)


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _trust_issuer(peer: Peer) -> str:
    return f"Set {peer.authority} to the certificate of that CA."


def _use_name(peer: Peer) -> str:
    return f"Set {peer.address} to a name that the certificate is issued for."


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


_ISSUER_CODES = {18, 19, 20, 21}
_NAME_CODES = {62, 64}
_CAUSES: dict[int, Callable[[Peer, x509.Certificate], tuple[str, str] | None]] = {  # by OpenSSL's X509_V_ERR_ codes
    9: _not_yet_valid,
    10: _expired,
    **dict.fromkeys(_ISSUER_CODES, _unknown_issuer),
    **dict.fromkeys(_NAME_CODES, _other_name),
}


def _fix(peer: Peer, code: int) -> str:
    """Say what to do where the certificate could not be fetched, or another one of its chain is at fault."""
    if code in {9, 10}:
        return CHECK_CLOCK
    if code in _ISSUER_CODES:
        return _trust_issuer(peer)
    return _use_name(peer) if code in _NAME_CODES else ""
