"""What the gateway reports of a server certificate that its TLS library rejects.

It reports the library's reason and nothing else: that takes no second connection and no thread. `gateway doctor`
fetches the certificate and finds the cause.
"""

from __future__ import annotations

UNDER_SERVERS = "under servers in gateway.yaml (then run `gateway reload -c FILE`)"
REQUIRED = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
ALERTS = {  # of the peer about the client certificate, in OpenSSL's words
    REQUIRED: "the {peer} requires a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the {peer} does not trust the CA of the client certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the client certificate is revoked",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the {peer} rejected the client certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the {peer} rejected the client certificate",
}
FILES_UNDER_SERVERS = "under servers in gateway.yaml (then run `gateway reload -c FILE`; a renewed file needs none)"


def rejected(reason: str) -> str:
    """Write the reason of the TLS library, and how to find the cause."""
    return f"certificate rejected: {reason.rstrip('.')}; run `gateway doctor -c FILE` for the cause"
