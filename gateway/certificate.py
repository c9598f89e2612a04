"""What the gateway reports of a server certificate that its TLS library rejects.

It reports the library's reason and nothing else: that takes no second connection and no thread. `gateway doctor`
fetches the certificate and finds the cause.
"""

from __future__ import annotations

UNDER_SERVERS = "under servers in gateway.yaml (then run `gateway reload -c FILE`)"
FILES_UNDER_SERVERS = "under servers in gateway.yaml (then run `gateway reload -c FILE`; a renewed file needs none)"


def rejected(reason: str) -> str:
    """Write the reason of the TLS library, and how to find the cause."""
    return f"certificate rejected: {reason.rstrip('.')}; run `gateway doctor -c FILE` for the cause"
