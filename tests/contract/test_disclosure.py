"""A contract is published: what looks like a secret in it is a warning, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.contract.conftest import Copy

KEY = "-----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMGByqGSM49\\n-----END PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJnYXRld2F5In0.c2lnbmF0dXJl"
SERVER = "    title: Kafka cluster\n"
PLACE = "#/servers/kafka"


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ("x-password: hunter2", "x-password"),
        ("x-password: 12345", "x-password"),
        ("x-api-key: 3f9a", "x-api-key"),
        ("x-apiKey: 3f9a", "x-apiKey"),
        ("x-clientSecret: 3f9a", "x-clientSecret"),
        ("x-sasl: {user: gateway, pass: hunter2}", "x-sasl/pass"),
        ("x-auth: {tokens: [3f9a]}", "x-auth/tokens/0"),
        ("variables: {password: {default: hunter2}}", "variables/password/default"),
        (f'x-tls: "{KEY}"', "x-tls"),
        (f"description: Log in with {JWT}.", "description"),
        ("description: 'See http://gateway:hunter2@wiki.example/kafka.'", "description"),
        ("x-proxy: http://gateway:hunter2@proxy.example:3128", "x-proxy"),
        ('x-jaas: \'ScramLoginModule required username="g" password="hunter2";\'', "x-jaas"),
        ("x-headers: {Authorization: Basic Z2F0ZXdheTpodW50ZXIyMg==}", "x-headers/Authorization"),
        ("x-aws: AKIAIOSFODNN7EXAMPLE", "x-aws"),
        ("x-hub: 'Endpoint=sb://n.example/;SharedAccessKeyName=g;SharedAccessKey=hunter2hunter2hunter2='", "x-hub"),
        ("x-sas: SharedAccessSignature sr=n.example&sig=hunter2%3D&se=1767592800&skn=g", "x-sas"),
        (f"description: 'token ghp_{'3f9a' * 9}'", "description"),
    ],
)
def test_check_warns_of_what_looks_like_a_secret_and_does_not_quote_it(copy: Copy, members: str, path: str) -> None:
    copy.edit(SERVER, f"    {members}\n")
    (finding,) = copy.findings()
    assert (finding.path, finding.severity) == (f"{PLACE}/{path}", "warning")
    assert finding.fix == "Remove it, and put secrets into files that gateway.yaml names."
    for secret in ("hunter2", "3f9a", "12345", "MIGH", "eyJ", "Z2F0", "AKIA"):
        assert secret not in str(finding)


@pytest.mark.parametrize(
    "members",
    [
        "x-password-file: kafka-password",
        "description: 'SharedAccessKeyName=gateway; SharedAccessKey={key}'",
        "x-password: ${KAFKA_PASSWORD}",
        "x-password: '{password}'",
        "x-password: '***'",
        "x-token-url: https://login.example/token",
        "x-token: true",
        "x-secret-name: kafka-login",
        "x-passed: all",
        "description: 'A user and a password; the token is in http://wiki.example/password.'",
        "description: 'As in mqtt://user:password@host.'",
        "security: [{type: userPassword}]",
        "tags: [{name: secret}]",
    ],
)
def test_check_does_not_warn_of_other_members(copy: Copy, members: str) -> None:
    copy.edit(SERVER, f"    {members}\n")
    assert copy.findings() == []


def test_check_does_not_warn_of_fields_and_examples_of_a_payload(copy: Copy) -> None:
    """A field may be called token, and its examples are data."""
    text = copy.document.read_text().replace("sensor_id: {type: string}", "token: {type: string, default: abc}")
    copy.document.write_text(text.replace("sensor_id", "token"))
    copy.edit('"name": "sensor_id"', '"name": "token"', "schemas/widget_reading.avsc")
    assert copy.findings() == []


def test_check_warns_of_secrets_in_other_files(copy: Copy) -> None:
    copy.edit('"name": "location"', '"x-password": "hunter2", "name": "location"', "schemas/door_sensor.avsc")
    (finding,) = copy.findings()
    assert finding.path == "#/fields/0/x-password"
