"""The texts of MQTT connection errors: cause and fix."""

from __future__ import annotations

import socket
import ssl

import pytest

from gateway.certificate import FILES_UNDER_SERVERS, UNDER_SERVERS
from gateway.mqtt.errors import CHECK_TLS_PORT, refusal, sentence


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def rejected_certificate(reason: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 62, reason
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused; does the broker run"),
        (TimeoutError("timed out"), "timed out; is the broker up"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known; check host under servers"),
        (
            ValueError("label too long"),
            f"label too long; check host {UNDER_SERVERS}",
        ),
        (OSError(113, "No route to host"), "No route to host"),
        (tls_error("WRONG_VERSION_NUMBER"), f"TLS failed: wrong version number; {CHECK_TLS_PORT}"),
        (tls_error("TLSV1_ALERT_INTERNAL_ERROR"), "TLS failed: tlsv1 alert internal error"),
        (tls_error("SSLV3_ALERT_CERTIFICATE_REVOKED"), "the client certificate is revoked; check tls.cert_file"),
        (
            rejected_certificate("Hostname mismatch, certificate is not valid for 'b'."),
            "certificate rejected: Hostname mismatch, certificate is not valid for 'b'; run `gateway doctor -c FILE`",
        ),
    ],
)
def test_sentence_has_cause_and_fix(error: OSError | ValueError, text: str) -> None:
    assert sentence(error).startswith(text)


def test_a_reset_means_the_wrong_port_only_while_connecting() -> None:
    reset = ConnectionResetError(104, "Connection reset by peer")
    assert sentence(reset, is_connecting=True) == f"Connection reset by peer; {CHECK_TLS_PORT}"
    assert sentence(reset) == "Connection reset by peer"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            "Not authorized",
            f"Not authorized; check username and password_file {FILES_UNDER_SERVERS}",
        ),
        ("Quota exceeded", "Quota exceeded"),
    ],
)
def test_refusal_has_the_reason_of_the_broker(reason: str, text: str) -> None:
    assert refusal(reason) == f"the broker refused the connection: {text}"
