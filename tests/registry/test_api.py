"""The registry's API over HTTP: what is sent, and which error each response is."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING

import pytest

from gateway.errors import FileError
from gateway.registry.api import (
    MAXIMUM_RESPONSE_BYTES,
    Endpoint,
    InvalidResponseError,
    NoTokenError,
    NoUrlError,
    RefusedError,
    RegistryApi,
    TokenEndpoint,
    UnreachableError,
)
from gateway.registry.errors import explain
from gateway.settings import pem
from tests.stack.identity import IdentityProvider
from tests.stack.ports import HeldPort
from tests.stack.scripted_http import Scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.certificates import Certificates


def test_request_sends_method_path_and_login_and_gives_the_json() -> None:
    with Scripted(200, '{"id": 1}') as server:
        api = RegistryApi(Endpoint(f"{server.url}/", username="gateway", password="hunter:2"))
        assert api.request("POST", "subjects/a-value", {"schema": "..."}) == {"id": 1}
        assert server.requests == [("POST", "/subjects/a-value", "Basic Z2F0ZXdheTpodW50ZXI6Mg==")]


def test_an_error_of_the_registry_has_its_code_and_message() -> None:
    with Scripted(409, json.dumps({"error_code": 40901, "message": "incompatible"})) as server:
        with pytest.raises(RefusedError) as raised:
            RegistryApi(Endpoint(server.url)).request("GET", "subjects")
        assert (raised.value.status, raised.value.code, raised.value.message) == (409, 40901, "incompatible")


@pytest.mark.parametrize("body", ["<html>", "{}", '{"error_code": "x", "message": ""}', "[]"])
def test_an_error_that_is_not_a_registrys_has_neither(body: str) -> None:
    with Scripted(404, body) as server:
        with pytest.raises(RefusedError) as raised:
            RegistryApi(Endpoint(server.url)).request("GET", "subjects")
        assert (raised.value.status, raised.value.code, raised.value.message) == (404, None, "")


@pytest.mark.parametrize("body", ["<html>", "", "[" * 100_000, f'"{"x" * MAXIMUM_RESPONSE_BYTES}"'], ids=len)
def test_a_success_that_is_not_json_is_an_invalid_response(body: str) -> None:
    with Scripted(200, body) as server, pytest.raises(InvalidResponseError):
        RegistryApi(Endpoint(server.url)).request("GET", "subjects")


def test_a_closed_port_is_unreachable() -> None:
    port = HeldPort()
    with pytest.raises(UnreachableError, match="connection refused"):
        RegistryApi(Endpoint(f"http://{port}")).request("GET", "subjects")
    port.release()


def test_a_rejected_certificate_is_unreachable_with_the_error_of_openssl(certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate("expired"), certificates.key("expired"))
    with Scripted(200, "{}") as server:
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        with pytest.raises(UnreachableError) as raised:
            RegistryApi(Endpoint(url, tls=pem.read({"ca_file": certificates.ca}, None))).request("GET", "subjects")
    assert isinstance(raised.value.tls, ssl.SSLCertVerificationError)
    assert raised.value.tls.verify_message == "certificate has expired"


def test_without_a_url_or_with_a_bad_ca_file_nothing_is_sent(tmp_path: Path) -> None:
    with pytest.raises(NoUrlError):
        RegistryApi(Endpoint("")).request("GET", "subjects")
    (tmp_path / "ca.pem").write_text("not PEM")
    files = pem.read({"ca_file": tmp_path / "ca.pem"}, None)
    with pytest.raises(FileError, match="no certificate in PEM"):
        RegistryApi(Endpoint("https://127.0.0.1:9", tls=files)).request("GET", "subjects")


def test_an_endpoint_does_not_show_its_secrets() -> None:
    assert "canary" not in repr(Endpoint("http://h", username="u", password="canary", token="canary"))


def test_a_token_is_fetched_before_it_is_needed_and_before_it_expires(tmp_path: Path) -> None:
    with IdentityProvider(tmp_path, ("gateway", "s:3 c")) as identity, Scripted(200, "[]") as server:
        oauth = TokenEndpoint(
            identity.url, "gateway", "s:3 c", "kafka", extensions={"logicalCluster": "lsrc-1", "other": "x"}
        )
        api = RegistryApi(Endpoint(server.url, oauth=oauth))
        api.request("GET", "subjects")
        api.request("GET", "subjects")
        assert [request[2] for request in server.requests] == 2 * [f"Bearer {identity.issued[0]}"]
        assert identity.forms == [{"grant_type": "client_credentials", "scope": "kafka"}]
        identity.lifetime_seconds = 0
        api = RegistryApi(Endpoint(server.url, oauth=oauth))
        api.request("GET", "subjects")
        api.request("GET", "subjects")
        assert [request[2] for request in server.requests[2:]] == [f"Bearer {one}" for one in identity.issued[1:]]
        assert "s:3" not in repr(api._endpoint)  # noqa: SLF001 - a repr is what a log would show


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, '{"error": "invalid_client"}', "HTTP 401 invalid_client"),
        (503, "<html>", "HTTP 503"),
        (200, '{"token": "x"}', "its answer holds no access_token"),
        (200, "[]", "its answer holds no access_token"),
        (200, '{"access_token": "x\\ny"}', "its answer holds no access_token"),
        (200, "hello", "it is not the JSON of a registry"),
    ],
)
def test_without_a_token_nothing_is_sent(status: int, body: str, reason: str) -> None:
    with Scripted(status, body) as identity, Scripted(200, "[]") as server:
        api = RegistryApi(Endpoint(server.url, oauth=TokenEndpoint(f"{identity.url}/token", "gateway", "secret")))
        with pytest.raises(NoTokenError, match=reason):
            api.request("GET", "subjects")
        assert server.requests == []


def test_a_certificate_is_shown_to_a_registry_that_asks_for_one(certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(certificates.ca)
    context.load_cert_chain(certificates.certificate("broker"), certificates.key("broker"))
    context.verify_mode = ssl.CERT_REQUIRED
    own = {"cert_file": certificates.certificate("client"), "key_file": certificates.key("client")}
    with Scripted(200, "[]") as server:
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        url = server.url.replace("http:", "https:")
        files = pem.read({"ca_file": certificates.ca} | own, None)
        assert RegistryApi(Endpoint(url, tls=files)).request("GET", "subjects") == []
        with pytest.raises(UnreachableError) as raised:
            RegistryApi(Endpoint(url, tls=pem.read({"ca_file": certificates.ca}, None))).request("GET", "subjects")
        assert "registry.cert_file" in explain(raised.value, register=True)[1]
