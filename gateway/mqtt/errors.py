"""What an MQTT connection error means: the cause and the fix, for the operator.

The keys of the tables are the words of paho, OpenSSL and the operating system.
"""

from __future__ import annotations

import socket
import ssl

from gateway.certificate import ALERTS, FILES_UNDER_SERVERS, REQUIRED, UNDER_SERVERS, rejected

REFUSED = "broker refused the connection"
CLOSED = "the broker closed the connection"
REFUSAL_FIXES = {
    "Not authorized": f"check username and password_file {FILES_UNDER_SERVERS}",
    "Bad user name or password": f"check username and password_file {FILES_UNDER_SERVERS}",
    "Client identifier not valid": "change clientId in the contract's MQTT binding, and restart",
    "Unsupported protocol version": "set protocolVersion of this server in the contract, and restart",
    "Use another server": f"check host {UNDER_SERVERS}",
    "Server moved": f"check host {UNDER_SERVERS}",
}
CHECK_CERTIFICATE = f"check tls.cert_file and tls.key_file {FILES_UNDER_SERVERS}"
CHECK_TLS_PORT = f"is this a TLS port? check host {UNDER_SERVERS}"
NO_ALPN = f"the broker has none of the names in tls.alpn; correct it {UNDER_SERVERS}"
TLS_FIXES = {
    **dict.fromkeys(ALERTS, CHECK_CERTIFICATE),
    REQUIRED: f"set tls.cert_file and tls.key_file {UNDER_SERVERS}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": CHECK_CERTIFICATE,
    "WRONG_VERSION_NUMBER": CHECK_TLS_PORT,
    "UNEXPECTED_EOF_WHILE_READING": CHECK_TLS_PORT,
}
NETWORK_FIXES: dict[type[OSError], str] = {
    socket.gaierror: f"check host {UNDER_SERVERS}, and this machine's DNS",
    ConnectionRefusedError: "does the broker run, and is this its port?",
    TimeoutError: "is the broker up, and does a firewall block the connection?",
    FileNotFoundError: "does the broker run, and is this its socket?",
    PermissionError: "does the gateway's user have write access to the socket?",
}


def refusal(reason: str) -> str:
    """Explain a CONNACK with an error; `reason` is its code in paho's words."""
    return _with_fix(f"the {REFUSED}: {reason}", REFUSAL_FIXES.get(reason))


def sentence(error: OSError | ValueError, *, is_connecting: bool = False) -> str:
    """Explain an error of the network or of TLS; with `is_connecting` it came before the connection was open."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return rejected(error.verify_message)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "UNKNOWN"
        if reason == "TLSV1_ALERT_NO_APPLICATION_PROTOCOL":
            return NO_ALPN
        alert = ALERTS.get(reason, f"TLS failed: {reason.lower().replace('_', ' ')}")
        return _with_fix(alert.format(peer="broker"), TLS_FIXES.get(reason))
    if isinstance(error, ConnectionResetError) and is_connecting:  # the port does not use TLS
        return _with_fix(f"{error.strerror}", CHECK_TLS_PORT)
    if isinstance(error, OSError):
        fix = next((fix for kind, fix in NETWORK_FIXES.items() if isinstance(error, kind)), None)
        return _with_fix(error.strerror or str(error) or type(error).__name__, fix)
    # A ValueError is a host name that IDNA cannot encode.
    return _with_fix(str(error), NETWORK_FIXES[socket.gaierror])


def _with_fix(message: str, fix: str | None) -> str:
    return f"{message}; {fix}" if fix else message
