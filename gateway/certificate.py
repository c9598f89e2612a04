"""Why a server's certificate is refused, in a sentence: whose fault it is, and what to do about it.

OpenSSL tells the kind of fault, librdkafka not even that. What a person needs stands in the certificate itself: from
when to when it is valid, which names it is made for, who signed it. So the server is asked for it once more, by a
client that believes nothing and sends nothing. What it shows is told to people, and decides nothing.
"""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography import x509

GREETING_SECONDS = 5.0
SHOWN_BYTES = 60
UNDER_SERVERS = "under servers in gateway.yaml"
CHECK_CLOCK = "check that this machine's clock is set"


class Peer(NamedTuple):
    """A server, in the words of whoever asks.

    Args:
        whose: `the broker's`, `Kafka's`, `the registry's`.
        host: as it is dialled.
        port: as it is dialled.
        authority: the setting that names the authority to trust, and where it stands.
        address: the setting that says where the server is.
    """

    whose: str
    host: str
    port: int
    authority: str = f"tls.ca_file {UNDER_SERVERS}"
    address: str = f"host {UNDER_SERVERS}"


def greet(peer: Peer, context: ssl.SSLContext) -> str:
    """Ask a server for its certificate and judge it, for a client that does not say why it refuses.

    Args:
        peer: the server. Blocks for some seconds when it does not answer.
        context: with the authorities that the client trusts.

    Returns:
        Why it is refused, or "" when it is not, or does not answer.
    """
    try:
        with (
            socket.create_connection((peer.host, peer.port), GREETING_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=peer.host),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        return refusal(peer, error)
    except (OSError, ValueError):  # ValueError: a host name that IDNA cannot encode
        return ""


def refusal(peer: Peer, error: ssl.SSLCertVerificationError) -> str:
    """Say why a server's certificate is refused, and what to do.

    Args:
        peer: the server. It is asked for its certificate, which blocks for some seconds when it does not answer.
        error: what OpenSSL says.
    """
    reason, shown = _REASONS.get(error.verify_code), _shown(peer)
    try:
        told = reason(peer, shown) if reason and shown else ""
    except Exception:  # noqa: BLE001 - a stranger's certificate may hold anything, and is parsed as it is read
        told = ""
    said = error.verify_message.rstrip(".")
    return told or f"{peer.whose} certificate is refused: {said}{_advice(peer, error.verify_code)}"


def _shown(peer: Peer) -> x509.Certificate | None:
    """Fetch the certificate; a server may want one of ours first."""
    from cryptography import x509  # noqa: PLC0415 - slow to load, and most gateways never need it

    try:
        text = ssl.get_server_certificate((peer.host, peer.port), timeout=GREETING_SECONDS)
        return x509.load_pem_x509_certificate(text.encode())
    except (OSError, ValueError):
        return None


def _too_early(peer: Peer, shown: x509.Certificate) -> str:
    first = shown.not_valid_before_utc
    if first <= datetime.now(UTC):
        return ""  # an authority's, then
    return f"{peer.whose} certificate is not valid before {_minute(first)}; {CHECK_CLOCK}"


def _too_late(peer: Peer, shown: x509.Certificate) -> str:
    last = shown.not_valid_after_utc
    if last >= datetime.now(UTC):
        return ""  # an authority's, then
    return f"{peer.whose} certificate ended on {_minute(last)}; renew it there, or set this machine's clock"


def _signed_by_a_stranger(peer: Peer, shown: x509.Certificate) -> str:
    signer = printable(cut(shown.issuer.rfc4514_string(), SHOWN_BYTES))
    return f"{peer.whose} certificate is signed by {signer}, whom we do not trust; {_name_authority(peer)}"


def _made_for_another(peer: Peer, shown: x509.Certificate) -> str:
    names = printable(cut(", ".join(_names(shown)) or "no name", SHOWN_BYTES))
    return f"{peer.whose} certificate is made for {names}, not for {peer.host}; {_name_address(peer)}"


def _names(shown: x509.Certificate) -> list[str]:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _name_authority(peer: Peer) -> str:
    return f"name that authority as {peer.authority}"


def _name_address(peer: Peer) -> str:
    return f"write a name that it is made for as {peer.address}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


_AUTHORITY_CODES = {18, 19, 20, 21}
_NAME_CODES = {62, 64}
_REASONS: dict[int, Callable[[Peer, x509.Certificate], str]] = {  # by OpenSSL's X509_V_ERR_ codes
    9: _too_early,
    10: _too_late,
    **dict.fromkeys(_AUTHORITY_CODES, _signed_by_a_stranger),
    **dict.fromkeys(_NAME_CODES, _made_for_another),
}


def _advice(peer: Peer, code: int) -> str:
    """What to do where the certificate itself could not be had, or another one in its chain is at fault."""
    if code in {9, 10}:
        return f"; {CHECK_CLOCK}"
    if code in _AUTHORITY_CODES:
        return f"; {_name_authority(peer)}"
    return f"; {_name_address(peer)}" if code in _NAME_CODES else ""
