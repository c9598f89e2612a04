"""Tokens for Amazon MSK: their parts and their signature, where the credentials come from, and what happens without."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys
import time
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from confluent_kafka.admin import AdminClient

from gateway.kafka.errors import ClientErrors
from gateway.kafka.msk import INVALID, LIFETIME_SECONDS, MskTokens
from gateway.kafka.sink import KafkaSink
from tests.stack.ports import HeldPort
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
KEY, SECRET, SESSION = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "session/token=="
EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture(autouse=True)
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a user without credentials of AWS, on a machine that is not AWS's."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def profile(name: str, key: str) -> str:
    return f"[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n"


def url_of(token: str) -> str:
    assert "=" not in token
    return urlsafe_b64decode(f"{token}{'=' * (-len(token) % 4)}").decode()


def signature(url: str, secret: str, payload: str = EMPTY) -> str:
    """Sign a URL as AWS's documentation of Signature Version 4 says: all of its query but the signature itself."""
    parts = urlsplit(url)
    query = {name: value for name, value in parse_qsl(parts.query) if name != "X-Amz-Signature"}
    canonical = "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))
    request = "\n".join(["GET", parts.path, canonical, f"host:{parts.netloc}", "", "host", payload])
    date, region, service, end = query["X-Amz-Credential"].split("/")[1:]
    scope, digest = f"{date}/{region}/{service}/{end}", hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for each in (date, region, service, end, "\n".join(["AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, digest])):
        key = hmac.digest(key, each.encode(), "sha256")
    return key.hex()


def test_the_signature_of_these_tests_is_that_of_awss_published_example() -> None:
    """From "Authenticating Requests: Using Query Parameters" of the documentation of S3."""
    url = (
        f"https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F"
        "20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
        "X-Amz-SignedHeaders=host"
    )
    expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert signature(url, SECRET, "UNSIGNED-PAYLOAD") == expected


@pytest.mark.parametrize("session", ["", SESSION])
def test_a_token_is_a_signed_url_of_the_action_connect(session: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    if session:
        monkeypatch.setenv("AWS_SESSION_TOKEN", session)
    tokens = MskTokens("eu-central-1")
    token, expires = tokens(None)
    assert expires == pytest.approx(time.time() + LIFETIME_SECONDS, abs=60)
    parts = urlsplit(url_of(token))
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "kafka.eu-central-1.amazonaws.com", "/")
    query = dict(parse_qsl(parts.query))
    assert query.pop("User-Agent") == "iot-gateway"
    signed = url_of(token).removesuffix("&User-Agent=iot-gateway")
    assert query.pop("X-Amz-Signature") == signature(signed, SECRET)
    date = query.pop("X-Amz-Date")
    wanted = {
        "Action": "kafka-cluster:Connect",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{KEY}/{date[:8]}/eu-central-1/kafka-cluster/aws4_request",
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
    }
    assert query == wanted | ({"X-Amz-Security-Token": session} if session else {})
    assert SECRET not in repr(tokens)


def test_credentials_come_from_profiles_and_a_renewed_file_counts(tmp_path: Path) -> None:
    file, tokens = tmp_path / "credentials", MskTokens("eu-central-1", "plant")
    for key in ("AKIAONE", "AKIATWO"):
        file.write_text(profile("default", "AKIADEFAULT") + profile("plant", key))
        assert f"{key}%2F" in url_of(tokens(None)[0])
    assert "AKIADEFAULT%2F" in url_of(MskTokens("eu-central-1")(None)[0])


def test_without_credentials_the_first_token_is_invalid_and_then_there_is_none(tmp_path: Path) -> None:
    tokens = MskTokens("eu-central-1")
    token, expires = tokens(None)
    assert (token, expires < time.time() + 2, tokens.reason) == (INVALID, True, "no credentials found")
    with pytest.raises(LookupError):
        tokens(None)
    (tmp_path / "credentials").write_text(profile("default", KEY))
    assert f"{KEY}%2F" in url_of(tokens(None)[0])
    assert tokens.reason == ""
    assert tokens == MskTokens("eu-central-1"), "the same credentials are not new ones"


def test_the_invalid_token_is_valid_for_librdkafka_however_long_the_search_took(tmp_path: Path) -> None:
    """A token that has ended is refused, and librdkafka asks for the next one after ten seconds."""
    (tmp_path / "config").write_text("[default]\ncredential_process = sh -c 'sleep 1.2; exit 1'\n")
    token, expires = MskTokens("eu-central-1")(None)
    assert (token, expires > time.time()) == (INVALID, True)


def test_a_profile_that_does_not_exist_is_named() -> None:
    tokens = MskTokens("eu-central-1", "plnat")
    tokens(None)
    assert tokens.reason == "The config profile (plnat) could not be found"


def of_sink(properties: dict[str, Any]) -> Iterator[str]:
    sink = KafkaSink(properties)
    while True:
        sink.poll(0.05)
        yield sink.blocked_reason


def of_command(properties: dict[str, Any]) -> Iterator[str]:
    errors = ClientErrors(properties)
    admin = AdminClient(errors.properties)
    while True:
        admin.poll(0.05)
        yield errors.first(admin)


@pytest.mark.parametrize("client", [of_sink, of_command])
def test_clients_name_the_reason_why_there_is_no_token(client: Callable[[dict[str, Any]], Iterator[str]]) -> None:
    """A client comes to be without a token, and says what is missing instead of what follows from it."""
    port = HeldPort()
    properties = {
        "bootstrap.servers": str(port),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
    }
    said = client(properties | {"oauth_cb": MskTokens("eu-central-1")})
    text = "Kafka: no token from AWS: no credentials found; check sasl.oauth.aws_profile under servers in gateway.yaml"
    wait_for(lambda: next(said).startswith(text), 30, lambda: next(said))
    port.release()


ABANDONED = """
import gc, sys, weakref
from gateway.kafka.msk import MskTokens
from gateway.kafka.sink import KafkaSink

login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER", "oauth_cb": MskTokens("eu-central-1")}
sink = KafkaSink(login | {"bootstrap.servers": "127.0.0.1:1"})
reference = weakref.ref(sink)
gc.disable()
del sink
sys.exit("the sink is in a cycle" if reference() else 0)
"""


def test_a_client_is_destroyed_where_it_was_used_because_librdkafka_aborts_when_its_thread_does_it() -> None:
    """A token takes so many objects that the garbage collector runs in that thread."""
    subprocess.run([sys.executable, "-c", ABANDONED], check=True, timeout=60, cwd=ROOT)
