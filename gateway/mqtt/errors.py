"""What went wrong between us and a broker, in a sentence for the operator with what to do about it.

Tables first: the same fault has one text wherever it shows. The left side is what paho, OpenSSL or the system say.
"""

from __future__ import annotations

import socket
import ssl

from gateway.certificate import UNDER_SERVERS, Peer
from gateway.certificate import refusal as certificate_refusal

REFUSAL_ADVICE = {
    "Not authorized": f"check username and password_file {UNDER_SERVERS}",
    "Bad user name or password": f"check username and password_file {UNDER_SERVERS}",
    "Client identifier not valid": "check clientId in the contract's MQTT binding",
    "Unsupported protocol version": "set protocolVersion of this server in the contract",
    "Use another server": f"check host {UNDER_SERVERS}",
    "Server moved": f"check host {UNDER_SERVERS}",
}
OWN_CERTIFICATE = f"check tls.cert_file and tls.key_file {UNDER_SERVERS}"
NO_TLS = f"is this a TLS port? check host {UNDER_SERVERS}"
ALERTS = {  # what the broker says of our certificate, by OpenSSL's name for it
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        f"the broker wants a certificate of ours; name one as tls.cert_file and tls.key_file {UNDER_SERVERS}"
    ),
    "TLSV1_ALERT_UNKNOWN_CA": f"the broker does not know who signed our certificate; {OWN_CERTIFICATE}",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": f"the broker says that our certificate has ended; {OWN_CERTIFICATE}",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": f"the broker says that our certificate is revoked; {OWN_CERTIFICATE}",
    "SSLV3_ALERT_BAD_CERTIFICATE": f"the broker refuses our certificate; {OWN_CERTIFICATE}",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": f"the broker refuses our certificate; {OWN_CERTIFICATE}",
}
TLS_ADVICE = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": OWN_CERTIFICATE,
    "WRONG_VERSION_NUMBER": NO_TLS,
    "UNEXPECTED_EOF_WHILE_READING": NO_TLS,
}
NETWORK_ADVICE: dict[type[OSError], str] = {
    socket.gaierror: f"check host {UNDER_SERVERS}, and this machine's DNS",
    ConnectionRefusedError: "does the broker run, and is this its port?",
    TimeoutError: "is the broker up, and does a firewall stand in between?",
}


def refusal(reason: str) -> str:
    """Say why a broker refuses the connection, and what to do.

    Args:
        reason: as the CONNACK has it, in paho's words.
    """
    return _advised(f"the broker refuses us: {reason}", REFUSAL_ADVICE.get(reason))


def sentence(error: OSError | ValueError, host: str = "", port: int = 0) -> str:
    """Say what an error of the network or of TLS means, and what to do.

    Args:
        error: from dialling or from a socket; a ValueError is a host name that IDNA cannot encode.
        host: that was dialled. A certificate that is refused is fetched from there, which may block for some seconds.
        port: that was dialled.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return certificate_refusal(Peer("the broker's", host, port), error)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "UNKNOWN"
        told = f"TLS failed: {reason.lower().replace('_', ' ')}"
        return ALERTS.get(reason) or _advised(told, TLS_ADVICE.get(reason))
    if isinstance(error, ConnectionResetError) and host:  # while we shook hands
        return _advised(f"{error.strerror}", NO_TLS)
    if isinstance(error, OSError):
        advice = next((advice for kind, advice in NETWORK_ADVICE.items() if isinstance(error, kind)), None)
        return _advised(error.strerror or str(error) or type(error).__name__, advice)
    return _advised(str(error), NETWORK_ADVICE[socket.gaierror])


def _advised(told: str, advice: str | None) -> str:
    return f"{told}; {advice}" if advice else told
