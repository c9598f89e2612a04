"""What Kafka's errors mean: for the record they are about, and in the words of an operator; and why no answer comes.

Every error class has one outcome:

    retry    the cluster or its rights are the trouble: the lane waits and starts again in order
    refuse   this very record (or one of its batch) is the trouble: sent again by itself, then a dead letter
    again    it only stood behind a record that failed: the lane starts again in order, at once
"""

from __future__ import annotations

import re
import ssl
from enum import Enum
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException

from gateway.certificate import UNDER_SERVERS, Peer, greet
from gateway.errors import GatewayError
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient


class Outcome(Enum):
    """What to do with a record that Kafka did not take."""

    RETRY = "retry"
    REFUSE = "refuse"
    REQUEUE = "again"


REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
    }
)
COLLATERAL = frozenset(  # what a fatal producer says of records that did nothing wrong
    {
        KafkaError._FATAL,  # noqa: SLF001 - librdkafka's own names, here and below
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - as above
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001 - as above
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    }
)
_CLIENT_STATE = re.compile(r" \(after \d+ms in state .*\)$")  # differs each time, and helps nobody
DISTRUSTED = re.compile(r"(\w+://)?(?P<host>.*):(?P<port>\d+)/.*certificate verify failed")
_HINTS_BY_TEXT = (
    (re.compile("SSL"), f"check ca_file, cert_file and key_file {UNDER_SERVERS}"),
    # No word of gateway.yaml: `tail` is told the address on its command line, too.
    (re.compile("Connect to .* failed|Failed to resolve"), "check the address, and that Kafka listens there"),
)
_SERVER = re.compile(r"(?:\w+://)?([^/ ]+:\d+)/\w+: ")
_WORDS = (  # for what librdkafka, OpenSSL and Java say at length, each in another way
    (
        re.compile(r"alert (bad certificate|certificate |unknown ca|handshake failure)"),
        f"refuses our certificate, or misses one; check tls.cert_file and tls.key_file {UNDER_SERVERS}",
    ),
    (
        re.compile(r"invalid (credentials|username or password)", re.IGNORECASE),
        f"does not take our user and password; check sasl.username, password_file and mechanism {UNDER_SERVERS}",
    ),
    (
        re.compile(r"SSL connection closed by peer"),
        f"ends the connection where TLS begins; check host {UNDER_SERVERS}: does that port speak TLS?",
    ),
)
_NO_TOPIC = "the topic does not exist: `gateway topics apply` creates it as the contract describes it"
_HINTS = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: _NO_TOPIC,
    KafkaError._UNKNOWN_TOPIC: _NO_TOPIC,  # noqa: SLF001 - librdkafka's own name
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant the gateway's user WRITE and DESCRIBE on the topic",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant the gateway's user IDEMPOTENT_WRITE on the cluster",
    KafkaError._AUTHENTICATION: f"check sasl.username, password_file and mechanism {UNDER_SERVERS}",  # noqa: SLF001 - as above
    KafkaError._ALL_BROKERS_DOWN: f"check host {UNDER_SERVERS}, and whether that port wants TLS",  # noqa: SLF001 - as above
    KafkaError.NOT_ENOUGH_REPLICAS: "too few in-sync replicas: the cluster needs its brokers back",
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND: "too few in-sync replicas: the cluster needs its brokers back",
}


def outcome(error: KafkaError) -> Outcome:
    """Look up what an error means for its record."""
    if error.code() == KafkaError._GAPLESS_GUARANTEE:  # noqa: SLF001 - librdkafka's own name
        return Outcome.REQUEUE
    return Outcome.REFUSE if error.code() in REFUSED else Outcome.RETRY


def sentence(error: KafkaError, topic: str = "") -> str:
    """Tell an operator what Kafka said and what to do."""
    told = _CLIENT_STATE.sub("", error.str())
    if words := next((words for pattern, words in _WORDS if pattern.search(told)), ""):
        server = _SERVER.match(told)
        return f"Kafka{f' at {server[1]}' if server else ''} {words}"
    hint = _HINTS.get(error.code()) or next((hint for pattern, hint in _HINTS_BY_TEXT if pattern.search(told)), "")
    place = f"{topic}: " if topic else ""
    return f"{place}{told}{'; ' + hint if hint else ''}"


def explained(error: KafkaError, ca_file: str | None) -> str:
    """Tell what is wrong with a connection; where librdkafka does not say, the server is greeted, which blocks.

    Args:
        error: as librdkafka reports it.
        ca_file: the authorities that are trusted, or None for the system's.
    """
    return diagnose_certificate(error, ca_file) or sentence(error)


def diagnose_certificate(error: KafkaError, ca_file: str | None) -> str:
    """Greet a server whose certificate librdkafka refused, which blocks, and tell what is wrong with it.

    Args:
        error: as librdkafka reports it.
        ca_file: the authorities that are trusted, or None for the system's.

    Returns:
        What is wrong, or "" when it is another error, the server does not answer, or shows a good one by now.
    """
    server = DISTRUSTED.match(error.str())
    if not server:
        return ""
    peer = Peer("Kafka's", server["host"].strip("[]"), int(server["port"]))
    try:
        return greet(peer, ssl.create_default_context(cafile=ca_file))
    except OSError:  # the file is gone, or holds no certificates
        return ""


class ClientErrors:
    """What librdkafka says of the connections of a client while that waits for an answer: why none comes.

    Args:
        properties: the client's.
    """

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self.properties = {**properties, "log_level": 0, "error_cb": self._listen}
        self._ca_file = properties.get("ssl.ca.location")
        self._first: KafkaError | None = None  # those that follow only say that all brokers are down

    def no_answer(self, client: AdminClient | Consumer, told: str = "") -> GatewayError:
        """Tell why Kafka does not answer; to find out, a server may be greeted, which blocks.

        Args:
            client: made with `properties`; it is not consuming yet.
            told: what else is known.
        """
        client.poll(0)  # brings what was said meanwhile
        if self._first:
            return GatewayError(printable(f"Kafka does not answer: {explained(self._first, self._ca_file)}."))
        return no_answer(told)

    def _listen(self, error: KafkaError) -> None:
        self._first = self._first or error


def no_answer(told: str = "") -> GatewayError:
    """Say that Kafka does not answer, and what is known of it."""
    known = f": {printable(told)}" if told else ""
    return GatewayError(f"Kafka does not answer{known}.", "Check the address and the login, then try again.")


def is_bystander(error: KafkaError) -> bool:
    """True for what a record hears that did nothing wrong."""
    return error.code() in COLLATERAL or outcome(error) is Outcome.REQUEUE


def cause(error: BufferError | KafkaException) -> KafkaError:
    """Name the error that kept a record from being handed over."""
    return error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._QUEUE_FULL)  # noqa: SLF001 - librdkafka's own name
