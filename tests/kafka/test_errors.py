"""Kafka's errors: the outcome of each for its record, and the text for the operator."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from gateway.certificate import FILES_UNDER_SERVERS
from gateway.kafka.errors import (
    ClientErrors,
    Outcome,
    cause,
    is_collateral,
    is_consequence,
    no_answer,
    outcome,
    sentence,
)
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from tests.conftest import FreePort

CHECK_CERTIFICATE = f"check tls.cert_file and tls.key_file {FILES_UNDER_SERVERS}"
NO_TOKEN = "Kafka: no token from the token endpoint:"
HANDSHAKE = "ssl://h:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::"


@pytest.mark.parametrize(
    ("code", "expected", "is_innocent"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, Outcome.REFUSE, False),
        (KafkaError.INVALID_TIMESTAMP, Outcome.REFUSE, False),
        (KafkaError._GAPLESS_GUARANTEE, Outcome.REQUEUE, True),  # noqa: SLF001 - librdkafka's own names, here and below
        (KafkaError._PURGE_QUEUE, Outcome.RETRY, True),  # noqa: SLF001 - as above
        (KafkaError.NOT_ENOUGH_REPLICAS, Outcome.RETRY, False),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Outcome.RETRY, False),
        (KafkaError.UNKNOWN, Outcome.RETRY, False),
    ],
)
def test_outcome_sorts_every_error(code: int, expected: Outcome, is_innocent: bool) -> None:  # noqa: FBT001 - a column
    assert (outcome(KafkaError(code)), is_collateral(KafkaError(code))) == (expected, is_innocent)


SSL, AUTHENTICATION, TRANSPORT = KafkaError._SSL, KafkaError._AUTHENTICATION, KafkaError._TRANSPORT  # noqa: SLF001 - as above


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (
            SSL,
            f"{HANDSHAKE}certificate verify failed: broker certificate could not be verified (after 1ms in state X)",
            (
                "Kafka at h:9093: certificate rejected: certificate verify failed; "
                "run `gateway doctor -c FILE` for the cause"
            ),
        ),
        (
            SSL,
            f"{HANDSHAKE}tlsv13 alert certificate required",
            f"Kafka at h:9093: client certificate rejected or missing; {CHECK_CERTIFICATE}",
        ),
        (
            AUTHENTICATION,
            "sasl_ssl://h:9093/1: SASL authentication error: Invalid username or password",
            (
                "Kafka at h:9093: user name or password rejected; "
                f"check sasl.username, password_file and mechanism {FILES_UNDER_SERVERS}"
            ),
        ),
        (
            AUTHENTICATION,
            'sasl_ssl://h:9093/1: SASL authentication error: {"status":"invalid_token"} (after 3ms in state AUTH_REQ)',
            (
                "Kafka at h:9093: token rejected: expired, or of another issuer, audience or scope; compare sasl.oauth "
                f"{FILES_UNDER_SERVERS} and this machine's clock with what Kafka expects"
            ),
        ),
        (
            AUTHENTICATION,
            (
                'Failed to acquire SASL OAUTHBEARER token: {"error":"invalid_scope","error_description":"AADSTS70011; '
                'Trace ID: 7"}'
            ),
            f"{NO_TOKEN} invalid_scope; check sasl.oauth.scope {FILES_UNDER_SERVERS}",
        ),
        (
            AUTHENTICATION,
            "Failed to acquire SASL OAUTHBEARER token: Failed to connect to h:1 after 12 ms: Could not connect; x",
            (
                f"{NO_TOKEN} Failed to connect to h:1: Could not connect, x; "
                f"does the endpoint run? check sasl.oauth.token_url {FILES_UNDER_SERVERS}"
            ),
        ),
        (
            TRANSPORT,
            "h:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
            (
                "Kafka at h:9092: connection refused; "
                "check the address (a new one needs a restart), and that Kafka listens there"
            ),
        ),
        (
            KafkaError._RESOLVE,  # noqa: SLF001 - as above
            "kafka.internal:9092/1: Failed to resolve 'kafka.internal:9092': Name or service not known",
            (
                "Kafka at kafka.internal:9092: its name cannot be resolved: name or service not known; start that "
                "broker, or correct its advertised.listeners: this machine must reach the address"
            ),
        ),
    ],
)
def test_sentence_has_place_cause_and_fix_of_a_connection_error(code: int, text: str, expected: str) -> None:
    assert sentence(KafkaError(code, text)) == expected


ALL = {
    code: name
    for name, code in vars(KafkaError).items()
    if name.strip("_").isupper() and isinstance(code, int) and code != KafkaError.NO_ERROR
}
DEAD_LETTERS = {
    "MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_MSG", "INVALID_MSG_SIZE", "INVALID_RECORD",
    "INVALID_TIMESTAMP", "_INVALID_DIFFERENT_RECORD",
}  # fmt: skip


@pytest.mark.parametrize("code", [*ALL, 30_000])
def test_every_error_has_an_outcome_and_a_fix(code: int) -> None:
    """Also one that librdkafka does not know; only an error of the record itself leads to a dead letter."""
    name = ALL.get(code, "")
    expected = Outcome.REFUSE if name in DEAD_LETTERS else Outcome.RETRY
    assert outcome(KafkaError(code)) is (Outcome.REQUEUE if name == "_GAPLESS_GUARANTEE" else expected)
    place, _, text = sentence(KafkaError(code), "doors").partition(": ")
    cause, _, fix = text.partition("; ")
    assert place == "doors"
    assert cause
    assert re.match(r"[a-z]|Kafka ", fix)


@pytest.mark.parametrize("code", [KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT, KafkaError.UNSUPPORTED_COMPRESSION_TYPE])
def test_refused_compression_is_named_with_the_setting(code: int) -> None:
    assert "set producer: {compression.type: gzip} under servers in gateway.yaml" in sentence(KafkaError(code))


def test_sentence_of_a_records_error_begins_with_its_topic() -> None:
    error = KafkaError(KafkaError.NOT_ENOUGH_REPLICAS, "Broker: Not enough in-sync replicas")
    assert sentence(error, "doors") == (
        "doors: Not enough in-sync replicas; too few in-sync replicas: start the missing Kafka brokers"
    )


def test_cause_is_the_error_that_produce_raised() -> None:
    error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    assert cause(KafkaException(error)) is error
    assert cause(BufferError()).code() == KafkaError._QUEUE_FULL  # noqa: SLF001 - as above


def test_client_errors_explain_a_request_that_times_out(free_port: FreePort) -> None:
    """The first connection error is the cause; without one, it is what the caller knows."""
    port = free_port()
    errors = ClientErrors({"bootstrap.servers": f"127.0.0.1:{port}"})
    admin = AdminClient(errors.properties)
    assert str(errors.no_answer(admin, "no metadata")).startswith("Kafka does not answer: ")

    def text() -> str:
        return str(errors.no_answer(admin))

    wait_for(lambda: f"Kafka at 127.0.0.1:{port}: connection refused. Check the address" in text(), 30, text)
    assert str(no_answer("no metadata")).startswith("Kafka does not answer: no metadata. Check the address")


def test_is_consequence_of_a_missing_token_is_that_an_old_one_is_rejected() -> None:
    """Without a former error, and after another one, it is the cause itself."""
    rejected = KafkaError(AUTHENTICATION, 'h:1/1: SASL authentication error: {"status":"invalid_token"}')
    old = KafkaError(AUTHENTICATION, "h:1/1: SASL OAUTHBEARER mechanism handshake failed: Broker: Request not valid")
    down = KafkaError(KafkaError._ALL_BROKERS_DOWN)  # noqa: SLF001 - as above
    cases = {f"{NO_TOKEN} x": [True, True, True], "Kafka at h:1: x": [False, False, True], "": [False, False, False]}
    for former, expected in cases.items():
        assert [is_consequence(one, former) for one in (rejected, old, down)] == expected
