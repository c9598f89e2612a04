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


class Peer(NamedTuple):
    """A TLS server, as the gateway connects to it."""

    host: str
    port: int
    authority: str = f"tls.ca_file {UNDER_SERVERS}"  # the setting of the CA to trust
    address: str = f"host {UNDER_SERVERS}"  # the setting of the address


def explain(peer: Peer, error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    """Say why a certificate is rejected, and how to fix it; blocks for `FETCH_SECONDS` if the server is silent."""
    cause, fix = _CAUSES.get(error.verify_code, (None, ""))
    certificate = _fetch(peer) if cause else None
    try:
        text = cause(peer, certificate) if cause and certificate else ""
    except Exception:  # noqa: BLE001 - a foreign certificate may contain anything, and is parsed as it is read
        text = ""
    reason = error.verify_message.rstrip(".")
    return text or f"its certificate is rejected: {reason}", fix.format(**peer._asdict())


def _fetch(peer: Peer) -> x509.Certificate | None:
    try:
        text = ssl.get_server_certificate((peer.host, peer.port), timeout=FETCH_SECONDS)
        return x509.load_pem_x509_certificate(text.encode())
    except (OSError, ValueError):  # among others, the server requires a client certificate
        return None


def _not_yet_valid(_peer: Peer, certificate: x509.Certificate) -> str:
    first = certificate.not_valid_before_utc
    is_good = first <= datetime.now(UTC)  # then another certificate of the chain is at fault
    return "" if is_good else f"its certificate is not valid before {_minute(first)}"


def _expired(_peer: Peer, certificate: x509.Certificate) -> str:
    last = certificate.not_valid_after_utc
    is_good = last >= datetime.now(UTC)  # as above
    return "" if is_good else f"its certificate expired on {_minute(last)}"


def _unknown_issuer(_peer: Peer, certificate: x509.Certificate) -> str:
    issuer = printable(cut(certificate.issuer.rfc4514_string(), SHOWN_BYTES))
    return f"its certificate is signed by {issuer}, which is not a trusted CA"


def _other_name(peer: Peer, certificate: x509.Certificate) -> str:
    names = printable(cut(", ".join(_names(certificate)) or "no name", SHOWN_BYTES))
    return f"its certificate is issued for {names}, not for {peer.host}"


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


_ISSUER = _unknown_issuer, "Set {authority} to the certificate of that CA."
_NAME = _other_name, "Set {address} to a name that the certificate is issued for."
_CAUSES: dict[int, tuple[Callable[[Peer, x509.Certificate], str], str]] = {  # by OpenSSL's X509_V_ERR_ codes
    9: (_not_yet_valid, "Check that this machine's clock is set."),
    10: (_expired, "Renew it on the server, or set this machine's clock."),
    **dict.fromkeys((18, 19, 20, 21), _ISSUER),
    **dict.fromkeys((62, 64), _NAME),
}
