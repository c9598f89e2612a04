"""Why a certificate is rejected, where it cannot be fetched; where it can, see `tests/security/test_logins.py`."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from gateway.operate.doctor.rejection import Peer, explain

if TYPE_CHECKING:
    from tests.conftest import FreePort


@pytest.mark.parametrize(
    ("code", "reason", "fix"),
    [
        (9, "certificate is not yet valid", "Check that this machine's clock is set."),
        (10, "certificate has expired", "Renew it on the server, or set this machine's clock."),
        (20, "unable to get local issuer certificate", "Set registry.ca_file to the certificate of that CA."),
        (64, "IP address mismatch.", "Set registry.url to a name that the certificate is issued for."),
        (23, "certificate revoked", ""),
    ],
)
def test_explain_gives_the_reason_of_openssl_when_the_server_is_gone(
    free_port: FreePort, code: int, reason: str, fix: str
) -> None:
    """With what to do about this kind of error."""
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, reason
    peer = Peer("127.0.0.1", free_port(), "registry.ca_file", "registry.url")
    assert explain(peer, error) == (f"its certificate is rejected: {reason.rstrip('.')}", fix)
