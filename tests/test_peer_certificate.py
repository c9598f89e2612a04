"""Why a certificate is refused, where the certificate itself cannot be had; where it can, see `tests/security/`."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from gateway.certificate import Peer, greet, refusal

if TYPE_CHECKING:
    from tests.conftest import FreePort


@pytest.mark.parametrize(
    ("code", "said", "advice"),
    [
        (9, "certificate is not yet valid", "; check that this machine's clock is set"),
        (10, "certificate has expired", "; check that this machine's clock is set"),
        (20, "unable to get local issuer certificate", "; name that authority as registry.ca_file"),
        (64, "IP address mismatch.", "; write a name that it is made for as registry.url"),
        (23, "certificate revoked", ""),
    ],
)
def test_refusal_of_a_server_that_is_gone_says_what_openssl_said(
    free_port: FreePort, code: int, said: str, advice: str
) -> None:
    """OpenSSL's words, with what to do about this kind of fault."""
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, said
    peer = Peer("its", "127.0.0.1", free_port(), "registry.ca_file", "registry.url")
    assert refusal(peer, error) == f"its certificate is refused: {said.rstrip('.')}{advice}"


def test_greet_of_a_server_that_is_gone_says_nothing(free_port: FreePort) -> None:
    """That it cannot be reached is told by whoever wants something of it."""
    assert not greet(Peer("its", "127.0.0.1", free_port()), ssl.create_default_context())
    assert not greet(Peer("its", "a..b", 1), ssl.create_default_context())
