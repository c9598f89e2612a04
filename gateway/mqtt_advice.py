"""What went wrong between us and a broker, in a sentence for the operator with what to do about it.

Tables first: the same fault has one text wherever it shows. The left side is what paho, OpenSSL or the system say.
"""

from __future__ import annotations

import socket
import ssl

UNDER_SERVERS = "under servers in gateway.yaml"
REFUSAL_ADVICE = {
    "Not authorized": f"check username and password_file {UNDER_SERVERS}",
    "Bad user name or password": f"check username and password_file {UNDER_SERVERS}",
    "Client identifier not valid": "check clientId in the contract's MQTT binding",
    "Unsupported protocol version": "set protocolVersion of this server in the contract",
    "Use another server": f"check host {UNDER_SERVERS}",
    "Server moved": f"check host {UNDER_SERVERS}",
}
NO_AUTHORITY = f"name the authority that signed it as tls.ca_file {UNDER_SERVERS}"
OTHER_NAME = f"write the name that it is made for as host {UNDER_SERVERS}"
CERTIFICATE_ADVICE = {  # by OpenSSL's X509_V_ERR_ codes
    9: "is this machine's clock right?",
    10: "renew it on the broker, or set this machine's clock",
    18: NO_AUTHORITY,
    19: NO_AUTHORITY,
    20: NO_AUTHORITY,
    21: NO_AUTHORITY,
    62: OTHER_NAME,
    64: OTHER_NAME,
}
OWN_CERTIFICATE = f"check tls.cert_file and tls.key_file {UNDER_SERVERS}"
NO_TLS = f"is this a TLS port? check host {UNDER_SERVERS}"
TLS_ADVICE = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": f"name a client certificate as tls.cert_file and tls.key_file {UNDER_SERVERS}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": OWN_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": OWN_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": OWN_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": OWN_CERTIFICATE,
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


def sentence(error: OSError | ValueError) -> str:
    """Say what an error of the network or of TLS means, and what to do.

    Args:
        error: from dialling or from a socket; a ValueError is a host name that IDNA cannot encode.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        told = f"the broker's certificate is refused: {error.verify_message.rstrip('.')}"
        return _advised(told, CERTIFICATE_ADVICE.get(error.verify_code))
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "UNKNOWN"
        return _advised(f"TLS failed: {reason.lower().replace('_', ' ')}", TLS_ADVICE.get(reason))
    if isinstance(error, OSError):
        advice = next((advice for kind, advice in NETWORK_ADVICE.items() if isinstance(error, kind)), None)
        return _advised(error.strerror or str(error) or type(error).__name__, advice)
    return _advised(str(error), NETWORK_ADVICE[socket.gaierror])


def _advised(told: str, advice: str | None) -> str:
    return f"{told}; {advice}" if advice else told
