"""The registry's errors: which may pass by themselves, and the sentence for the operator."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from gateway.errors import FileError
from gateway.registry.api import InvalidResponseError, NoTokenError, NoUrlError, RefusedError, UnreachableError
from gateway.registry.errors import ForeignIdError, explain, without_login
from gateway.registry.lock_file import Pin

if TYPE_CHECKING:
    from gateway.errors import PeerError

NO_TOKEN = "no token from the token endpoint:"


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError()
    error.reason = reason
    return error


PIN = Pin(7, "", registry="https://old:8081", cluster="kafka-cluster=k")


@pytest.mark.parametrize(
    ("error", "is_retryable", "text"),
    [
        (UnreachableError("timed out"), True, "no answer: timed out. Check its address, and that it runs."),
        (
            UnreachableError("x", alert("TLSV13_ALERT_CERTIFICATE_REQUIRED")), True,
            "the registry requires a client certificate. Check registry.cert_file and registry.key_file.",
        ),
        (
            UnreachableError("x", alert("TLSV1_ALERT_INTERNAL_ERROR")), True,
            "TLS failed: tlsv1 alert internal error. Check registry.cert_file",
        ),
        (
            UnreachableError("x", ssl.SSLEOFError()), True,
            "the registry closed the connection. Does it require registry.cert_file and registry.key_file?",
        ),
        (InvalidResponseError("it has no schema id"), True, "invalid response: it has no schema id. A captive portal"),
        (RefusedError(401, None, ""), True, "HTTP 401 without JSON. Check registry.username"),
        (RefusedError(302, None, ""), True, "HTTP 302 with a redirect, which is not followed."),
        (RefusedError(401, 40101, "No."), False, "No (HTTP 401, code 40101). Check registry.username"),
        (RefusedError(503, 50301, "Busy"), True, "Busy (HTTP 503, code 50301)."),
        (RefusedError(404, 404, "No path"), False, "No path (HTTP 404, code 404). registry.url must be the base"),
        (NoUrlError(), False, "No registry is configured, and the lock file has no id"),
        (FileError("ca.pem is empty.", "Write its content."), False, "ca.pem is empty. Write its content."),
        *[
            (NoTokenError(code, code), True, f"{NO_TOKEN} {code}. Check registry.oauth.{fix}")
            for code, fix in (("invalid_scope", "scope."), ("invalid_client", "client_id and client_secret_file"))
        ],
        (NoTokenError("connection refused"), True, f"{NO_TOKEN} connection refused. Check registry.oauth.token_url"),
        (
            ForeignIdError(PIN, is_used=True, is_registered=True), False,
            "schema id 7 of the lock file belongs to another schema here. It was given by https://old:8081 (kafka-clus",
        ),
        (
            ForeignIdError(Pin(7, ""), is_used=False, is_registered=False), False,
            "schema id 7 of the lock file is unknown here. The lock file does not say who gave it. Run `gateway schem",
        ),
    ],
)  # fmt: skip
def test_explain_says_whether_to_retry_and_what_to_do(
    error: PeerError | FileError, is_retryable: bool, text: str  # noqa: FBT001 - a column
) -> None:  # fmt: skip
    retryable, reason = explain(error, register=True)
    assert retryable is is_retryable
    assert reason.startswith(text)


@pytest.mark.parametrize(("register", "fix"), [(True, "registry.url must be"), (False, "Register it with `gateway")])
def test_explain_names_the_command_for_a_schema_that_is_only_looked_up(register: bool, fix: str) -> None:  # noqa: FBT001 - a column
    assert fix in explain(RefusedError(404, 40403, "Schema not found"), register)[1]


def test_a_url_is_shown_without_user_and_password() -> None:
    assert without_login("https://me:secret@registry:8081/apis/ccompat/v7") == "https://registry:8081/apis/ccompat/v7"
