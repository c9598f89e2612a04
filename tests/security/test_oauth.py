"""OAuth at a real Kafka, which verifies tokens with a JWKS file, and at the registry's client.

Tokens live for seconds here, so that they are renewed and expire within a test.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.errors import ConfigurationError
from gateway.installation import open_installation
from gateway.kafka.msk import MskTokens
from gateway.kafka.sink import KafkaSink
from tests.security.site import TOPICS
from tests.stack.gateway import ROOT, Gateway
from tests.stack.identity import JWT_BEARER, IdentityProvider
from tests.stack.kafka import Kafka
from tests.stack.mosquitto import OPEN_AND_PERSISTENT, Mosquitto
from tests.stack.publisher import Publisher
from tests.stack.reading_records import record_count
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack.registry import Registry

CLIENT, SECRET = "gateway", "canary-of-oauth"
COUNT = 20


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with IdentityProvider(tmp_path_factory.mktemp("identity"), (CLIENT, SECRET)) as started:
        yield started


@pytest.fixture
def identity(provider: IdentityProvider) -> Iterator[IdentityProvider]:
    """Give the provider, and have it grant again afterwards."""
    yield provider
    provider.stop()
    provider.lifetime_seconds, provider.audience, provider.scope, provider.fault = 60.0, "kafka", "kafka", 0
    provider.start()


@pytest.fixture(scope="module")
def cluster(provider: IdentityProvider) -> Iterator[Kafka]:
    with Kafka(jwks=provider.jwks) as started:
        for topic in TOPICS:
            started.create_topic(topic)
        yield started


def servers(identity: IdentityProvider, cluster: Kafka, registry: Registry, **oauth: str) -> dict[str, Any]:
    """Write the `servers` section; the registry lets everybody in."""
    given = {"token_url": identity.url, "client_id": CLIENT, "client_secret_file": "secret", "scope": "kafka"}
    sasl = {"mechanism": "OAUTHBEARER", "oauth": {key: value for key, value in (given | oauth).items() if value}}
    return {
        "kafka": {
            "host": cluster.servers("SASL_PLAINTEXT"), "sasl": sasl, "registry": {"url": registry.url, "oauth": given},
        }
    }  # fmt: skip


def secret_file(folder: Path, name: str = "secret", content: str = SECRET) -> None:
    (folder / name).touch(0o600)
    (folder / name).write_text(content)


def publish(broker: Mosquitto) -> None:
    with Publisher(broker.port) as publisher:
        publisher.publish(("factory/a/b", json.dumps({"value": n, "units": "C"}).encode()) for n in range(COUNT))


def test_run_renews_its_token_and_waits_while_the_endpoint_is_down(
    identity: IdentityProvider, cluster: Kafka, registry: Registry
) -> None:
    """Readings wait and the state names the cause; then they arrive without a restart. No log shows a token."""
    identity.lifetime_seconds = 5
    with Mosquitto(OPEN_AND_PERSISTENT) as broker:
        at = servers(identity, cluster, registry)
        at["kafka"]["producer"] = {"debug": "all", "log_level": 7}
        here = {"host": f"127.0.0.1:{broker.port}"}
        with Gateway(
            at | {"factoryBroker": here, "meterBroker": here}, log={"level": "debug", "format": "json"}
        ) as gateway:
            secret_file(gateway.folder)
            gateway.start()
            publish(broker)
            gateway.wait_settled(COUNT)
            identity.stop()
            wait_for(lambda: "no token" in gateway.states()["kafka"]["detail"], 30, lambda: str(gateway.states()))
            publish(broker)
            wait_for(lambda: gateway.metric("gateway_received_total") == 2 * COUNT, 10, "all readings")
            assert gateway.metric("gateway_spooled") + gateway.metric("gateway_in_flight") == COUNT
            assert "does the endpoint run? check sasl.oauth.token_url" in gateway.states()["kafka"]["detail"]
            identity.start()
            gateway.wait_settled(2 * COUNT)
            wait_for(gateway.is_ready, 30, lambda: str(gateway.states()))
            assert gateway.stop_and_read_ledger()["balanced"]
            log = gateway.log
    assert record_count(cluster.bootstrap, "machine-sensors") == 2 * COUNT
    assert len(identity.issued) > 3
    assert not [one for one in (SECRET, *identity.issued) if one in log]


def made(folder: Path, given: dict[str, Any]) -> KafkaSink:
    """Make the producer of an installation."""
    settings = {"contract": str(ROOT / "asyncapi.yaml"), "servers": given}
    (folder / "gateway.yaml").write_text(json.dumps(settings))
    return KafkaSink(open_installation(folder / "gateway.yaml", {}).kafka(producing=True))


def complaint(sink: KafkaSink) -> str:
    """Wait until the client says what is wrong."""

    def said() -> str:
        sink.poll(0.05)
        return sink.blocked_reason

    try:
        return str(wait_for(said, 60, "the client to complain"))
    finally:
        sink.close(0)


WRONG: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "secret": ({"client_secret_file": "other"}, {}, "endpoint: invalid_client; check sasl.oauth.client_id, and"),
    "scope": ({"scope": "nonsense"}, {}, "endpoint: invalid_scope; check sasl.oauth.scope"),
    "audience": ({}, {"audience": "other"}, "token rejected: expired, or of another issuer, audience or scope; "),
    "clock": ({}, {"lifetime_seconds": -10.0}, "it had expired when it came; set this machine's clock"),
    "host": (
        {"token_url": "https://nobody.invalid/token"},
        {},
        "not resolve host: nobody.invalid; does the endpoint run? check sasl.oauth.to",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_kafka_names_what_is_wrong_with_the_token(
    identity: IdentityProvider, cluster: Kafka, registry: Registry, tmp_path: Path, case: str
) -> None:
    oauth, provided, expected = WRONG[case]
    for name, value in provided.items():
        setattr(identity, name, value)
    secret_file(tmp_path)
    secret_file(tmp_path, "other", "canary-other")
    reason = complaint(made(tmp_path, servers(identity, cluster, registry, **oauth)))
    assert expected in reason
    assert "canary" not in reason


def pem(key: Any, phrase: str = "") -> str:
    encryption = serialization.BestAvailableEncryption(phrase.encode()) if phrase else serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return str(key.private_bytes(serialization.Encoding.PEM, form, encryption).decode())


@pytest.mark.parametrize("kind", ["RS256", "ES256"])
def test_kafka_signs_in_with_a_key_instead_of_a_secret(
    identity: IdentityProvider, cluster: Kafka, registry: Registry, tmp_path: Path, kind: str
) -> None:
    """RFC 7523: the JWT is signed with what the key can, and says who asks whom."""
    key = rsa.generate_private_key(65537, 2048) if kind == "RS256" else ec.generate_private_key(ec.SECP256R1())
    for name, content in (("secret", SECRET), ("key", pem(key, "phrase")), ("phrase", "phrase")):
        secret_file(tmp_path, name, content)
    signed = {"key_file": "key", "key_password_file": "phrase", "audience": "https://as.example", "subject": "line-4"}
    sink = made(tmp_path, servers(identity, cluster, registry, client_secret_file="", **signed))
    assert sink.missing_topics({"machine-sensors"}, 30) == set()
    sink.close(0)
    form = identity.forms[-1]
    header, claims, _ = form["assertion"].split(".")
    assert form["grant_type"] == JWT_BEARER
    assert decoded(header)["alg"] == kind
    assert {"iss": CLIENT, "sub": "line-4", "aud": "https://as.example"}.items() <= decoded(claims).items()


def test_kafka_gets_the_token_of_a_machine_in_azure(
    identity: IdentityProvider, cluster: Kafka, registry: Registry, tmp_path: Path
) -> None:
    secret_file(tmp_path)
    azure = {"azure_resource": "https://plant.servicebus.windows.net", "client_secret_file": "", "scope": ""}
    sink = made(tmp_path, servers(identity, cluster, registry, **azure))
    assert sink.missing_topics({"machine-sensors"}, 30) == set()
    sink.close(0)
    assert identity.forms[-1] == {
        "api-version": "2018-02-01", "resource": azure["azure_resource"], "client_id": CLIENT,
    }  # fmt: skip


def test_kafka_takes_the_tokens_of_a_callback_as_those_of_aws_come(
    identity: IdentityProvider, cluster: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka verifies no token of AWS: it refuses one, and takes one of its issuer that comes in the same way."""
    properties = {
        "bootstrap.servers": cluster.servers("SASL_PLAINTEXT"),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
    }

    def token(_: str | None) -> tuple[str, float]:
        return identity.answer({"resource": "kafka"}, "")[1]["access_token"], time.time() + 5

    sink = KafkaSink(properties | {"oauth_cb": token})
    assert sink.missing_topics({"machine-sensors"}, 30) == set()
    count = len(identity.issued)
    wait_for(lambda: sink.poll(0.05) >= 0 and len(identity.issued) > count, 30, "a new token")
    assert sink.missing_topics({"machine-sensors"}, 30) == set()
    assert not sink.blocked_reason
    sink.close(0)
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    refused = KafkaSink(properties | {"oauth_cb": MskTokens("eu-central-1")})
    assert "token rejected: expired, or of another issuer" in complaint(refused)


def test_aws_needs_no_endpoint_but_its_package(
    identity: IdentityProvider, cluster: Kafka, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_file(tmp_path)
    given = servers(identity, cluster, registry)
    given["kafka"]["sasl"]["oauth"] = {"aws_region": "eu-central-1", "aws_profile": "plant"}
    (tmp_path / "gateway.yaml").write_text(json.dumps({"contract": str(ROOT / "asyncapi.yaml"), "servers": given}))
    properties = open_installation(tmp_path / "gateway.yaml", {}).kafka(producing=False)
    assert properties["oauth_cb"] == MskTokens("eu-central-1", "plant")
    monkeypatch.setitem(sys.modules, "botocore", None)  # which Python takes for a package that is not there
    with pytest.raises(ConfigurationError, match="needs the package botocore, which is not installed") as raised:
        open_installation(tmp_path / "gateway.yaml", {})
    (finding,) = raised.value.findings
    folder = Path(pydantic.__file__).parents[1]
    assert finding.fix == f"Run `python3 -m pip install --target {folder} botocore`, or install iot-gateway[msk]."


def test_open_refuses_a_key_that_cannot_sign(
    identity: IdentityProvider, cluster: Kafka, registry: Registry, tmp_path: Path
) -> None:
    for content, reason in (
        ("no key", "holds no private key in PEM"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "neither RSA nor of the elliptic curve P-256"),
        (pem(ec.generate_private_key(ec.SECP256R1()), "phrase"), "cannot be loaded with this pass phrase"),
    ):
        secret_file(tmp_path, "key", content)
        secret_file(tmp_path)
        given = servers(identity, cluster, registry, client_secret_file="", key_file="key", audience="a")
        with pytest.raises(ConfigurationError, match=reason):
            made(tmp_path, given)


def decoded(part: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))
