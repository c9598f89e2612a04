"""What Kafka's errors mean: for the record they concern, and for the operator.

Every error has one outcome, and a text with its fix:

    retry    the cluster or the rights of this user are at fault: the lane waits, then starts again in order; `/readyz`
             has the text meanwhile
    refuse   this record, or another of its batch, is at fault: it is sent again by itself, then dead-lettered
    again    a record before this one failed: the lane starts again in order, at once
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException

from gateway.certificate import FILES_UNDER_SERVERS, UNDER_SERVERS, rejected
from gateway.errors import GatewayError
from gateway.text import cut, printable, sentences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient


SHOWN_BYTES = 200  # of what a token endpoint says


class Outcome(Enum):
    """What to do with a record that Kafka did not store."""

    RETRY = "retry"
    REFUSE = "refuse"
    REQUEUE = "again"


def _codes(names: str) -> frozenset[int]:
    """The codes of librdkafka's errors; a name that begins with an underscore is an error of the client itself."""
    return frozenset(getattr(KafkaError, name) for name in names.split())


REFUSED = _codes(
    "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_MSG INVALID_MSG_SIZE INVALID_RECORD INVALID_TIMESTAMP"
    " _INVALID_DIFFERENT_RECORD"
)
# Of a reader that is in no group: librdkafka asks for the coordinator of its group all the same.
OF_NO_GROUP = KafkaError.GROUP_AUTHORIZATION_FAILED
# What a fatal producer reports for records that are not at fault.
COLLATERAL = _codes("_FATAL _PURGE_QUEUE _PURGE_INFLIGHT OUT_OF_ORDER_SEQUENCE_NUMBER")
ADVERTISED = re.compile(r"(?:\w+://)?(\S+:\d+)/\d+: ")  # begins an error about a broker; the number is its id
ADVERTISED_FIX = "start that broker, or correct its advertised.listeners: this machine must reach the address"
# What the time differs in, in each report of the same error; and what is said to programmers.
_CLIENT_STATE = re.compile(r" \(after \d+ms in state .*\)$|, retry call to resume$")
_SERVER = re.compile(r"(?:\w+://)?([^/ ]+:\d+)/\w+: ")
# gateway.yaml is not named: `tail` also takes the address from its command line.
_REACH = "check the address (a new one needs a restart), and that Kafka listens there"
_LOGIN = f"check sasl.username, password_file and mechanism {FILES_UNDER_SERVERS}"
_OAUTH = f"compare sasl.oauth {FILES_UNDER_SERVERS} and this machine's clock with what Kafka expects"
_AWS = f"sasl.oauth.aws_profile {UNDER_SERVERS}, and the credentials of this user and machine"
_REJECTED_TOKEN = re.compile(r'"status" ?: ?"(invalid_token|insufficient_scope)"')
_CONNECTION_FAULTS = (  # librdkafka, OpenSSL and Java report these at length, each in its own words
    (re.compile("certificate verify failed"), rejected("certificate verify failed")),
    (
        re.compile(r"alert (bad certificate|certificate |unknown ca|handshake failure)"),
        f"client certificate rejected or missing; check tls.cert_file and tls.key_file {FILES_UNDER_SERVERS}",
    ),
    (
        re.compile(r"invalid (credentials|username or password)", re.IGNORECASE),
        f"user name or password rejected; {_LOGIN}",
    ),
    (
        _REJECTED_TOKEN,
        f"token rejected: expired, or of another issuer, audience or scope; {_OAUTH}",
    ),
    (
        re.compile(r"SSL connection closed by peer"),
        f"connection closed during the TLS handshake; check host {UNDER_SERVERS}: does that port use TLS?",
    ),
)
_UNREACHED = (  # with the server and the reason
    (re.compile(r"(?:\w+://)?([^/ ]+:\d+)/\w+: Connect to \S+ failed: (.+)"), "{}"),
    (re.compile(r"(?:\w+://)?([^/ ]+:\d+)/\w+: Failed to resolve '[^']*': (.+)"), "its name cannot be resolved: {}"),
)
# librdkafka signs in again and again with the old token; Kafka refuses that.
_NOT_RENEWED = re.compile("OAUTHBEARER mechanism handshake failed")
_TOKEN = re.compile(r"(?:acquire SASL OAUTHBEARER token|no token available; last error): (.+)", re.DOTALL)
_DURATION = re.compile(r" after \d+ ms")
_UNSERVED = "Kafka: no token from"
_OAUTH_ERROR = re.compile(r'"error"\s*:\s*"(\w+)"')  # RFC 6749 section 5.2; what stands beside it varies
_OF_TOKENS = (  # why there is no token, and the fix
    (re.compile("invalid_scope"), "{}", "check sasl.oauth.scope"),
    (
        re.compile("invalid_client|invalid_grant|unauthorized_client|access_denied"),
        "{}",
        "check sasl.oauth.client_id, and client_secret_file or key_file",
    ),
    (re.compile("unexpired token"), "it had expired when it came", "set this machine's clock, or the endpoint's"),
    (re.compile("SSL|certificate|trust anchor"), "{}", "check sasl.oauth.ca_file"),
    (re.compile(""), "{}", "does the endpoint run? check sasl.oauth.token_url"),
)
_PREFIX = re.compile("^(Broker|Local): ")  # where librdkafka has the error from
_FIXES_BY_TEXT = (
    (re.compile(r"SSL|ssl\."), f"check ca_file, cert_file and key_file {FILES_UNDER_SERVERS}"),
    (re.compile("Connect to .* failed|Failed to resolve"), _REACH),
)
_FIXES_OF_CODES = {
    "UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC _UNKNOWN_PARTITION": (
        "the topic does not exist: `gateway topics apply -c FILE` creates it as the contract describes it"
    ),
    "TOPIC_EXCEPTION": "correct the topic's name in the contract",
    "TOPIC_AUTHORIZATION_FAILED": "grant the gateway's user WRITE and DESCRIBE on the topic",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": (
        "grant the gateway's user WRITE and DESCRIBE on its transactional id: the client ids of the contract's "
        "brokers, separated by commas"
    ),
    "_FENCED PRODUCER_FENCED INVALID_PRODUCER_EPOCH": "another gateway with the same client ids runs: stop one of them",
    "CLUSTER_AUTHORIZATION_FAILED": "grant the gateway's user IDEMPOTENT_WRITE on the cluster",
    "_AUTHENTICATION SASL_AUTHENTICATION_FAILED UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE": _LOGIN,
    "_ALL_BROKERS_DOWN": f"check host {UNDER_SERVERS}, and whether that port requires TLS",
    "_RESOLVE _TRANSPORT _TIMED_OUT _TIMED_OUT_QUEUE _MSG_TIMED_OUT NETWORK_EXCEPTION REQUEST_TIMED_OUT": _REACH,
    "LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE": (
        "the partition has no leader: start the missing Kafka brokers"
    ),
    "NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND _ISR_INSUFF": (
        "too few in-sync replicas: start the missing Kafka brokers"
    ),
    # UNSUPPORTED_FOR_MESSAGE_FORMAT: the answer of Azure Event Hubs to every compression but gzip.
    "UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_COMPRESSION_TYPE _BAD_COMPRESSION": (
        f"Kafka does not accept the compression: set producer: {{compression.type: gzip}} {UNDER_SERVERS}, or none"
    ),
    "_UNSUPPORTED_FEATURE UNSUPPORTED_VERSION": "the gateway needs Kafka 0.11 or newer, with idempotent producers",
    "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_MSG_SIZE": (
        f"raise max.message.bytes of the topic, or set a smaller producer: {{batch.size: BYTES}} {UNDER_SERVERS}"
    ),
    "INVALID_TIMESTAMP": (
        "check this machine's clock, and the topic's message.timestamp.before.max.ms and message.timestamp.after.max.ms"
    ),
    "KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND": "a disk of the Kafka broker fails: see the broker's log",
    "POLICY_VIOLATION": "a policy of the cluster forbids it: ask its administrator",
    "THROTTLING_QUOTA_EXCEEDED": "the quota of the gateway's user is used up: ask the cluster's administrator",
}
_FIXES = {code: fix for names, fix in _FIXES_OF_CODES.items() for code in _codes(names)}
_SEE_LOG = "see the log of the Kafka broker"  # of errors that only a fault of Kafka or of librdkafka explains


def outcome(error: KafkaError) -> Outcome:
    """Look up what an error means for its record."""
    if error.code() == KafkaError._GAPLESS_GUARANTEE:  # noqa: SLF001 - librdkafka's own name
        return Outcome.REQUEUE
    return Outcome.REFUSE if error.code() in REFUSED else Outcome.RETRY


def client_sentence(error: KafkaError, properties: Mapping[str, Any]) -> str:
    """Write an error of a client that was made with `properties`; without a token, that is the cause of all."""
    reason = getattr(properties.get("oauth_cb"), "reason", "")  # of `MskTokens`
    return f"{_UNSERVED} AWS: {reason}; check {_AWS}" if reason else sentence(error)


def sentence(error: KafkaError, topic: str = "") -> str:
    """Write the place, the cause and the fix of an error."""
    message = _CLIENT_STATE.sub("", error.str())
    if token := _TOKEN.search(message):
        return _without_token(token[1])
    if _NOT_RENEWED.search(message):
        return _without_token("the last one is about to expire")
    if fault := next((fault for pattern, fault in _CONNECTION_FAULTS if pattern.search(message)), ""):
        server = _SERVER.match(message)
        return f"Kafka{f' at {server[1]}' if server else ''}: {fault}"
    fix = ADVERTISED_FIX if ADVERTISED.match(message) else _REACH
    for pattern, fault in _UNREACHED:
        if match := pattern.match(message):
            return f"Kafka at {match[1]}: {fault.format(match[2][:1].lower() + match[2][1:])}; {fix}"
    by_text = next((fix for pattern, fix in _FIXES_BY_TEXT if pattern.search(message)), _SEE_LOG)
    place = f"{topic}: " if topic else ""
    return f"{place}{_PREFIX.sub('', message)}; {_FIXES.get(error.code(), by_text)}"


def _without_token(reason: str) -> str:
    code = _OAUTH_ERROR.search(reason)
    cause, fix = next((cause, fix) for pattern, cause, fix in _OF_TOKENS if pattern.search(reason))
    reason = cause.format(code[1] if code else cut(_DURATION.sub("", reason).replace("; ", ", "), SHOWN_BYTES))
    return f"{_UNSERVED} the token endpoint: {reason}; {fix} {FILES_UNDER_SERVERS}"


class ClientErrors:
    """The connection errors of a client that is made with `properties`: they explain a request that times out."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self.properties = {**properties, "log_level": 0, "error_cb": self._on_error}
        self._first: KafkaError | None = None  # those that follow only report that all brokers are down

    def first(self, client: AdminClient | Consumer) -> str:
        """The first error that the client has reported, with its fix; empty if there is none."""
        client.poll(0)  # serves pending error callbacks; a consumer is not consuming yet
        return client_sentence(self._first, self.properties) if self._first else ""

    def no_answer(self, client: AdminClient | Consumer, reason: str = "") -> GatewayError:
        """Make the error of a request that timed out; `reason` counts if the client has reported no error."""
        if first := self.first(client):
            return GatewayError(*sentences(printable(f"Kafka does not answer: {first}")))
        return no_answer(reason)

    def _on_error(self, error: KafkaError) -> None:
        self._first = self._first or error


def no_answer(reason: str = "") -> GatewayError:
    """Make the error of a request that timed out."""
    known = f": {_PREFIX.sub('', printable(reason).removeprefix('Failed to get metadata: '))}" if reason else ""
    return GatewayError(f"Kafka does not answer{known}.", "Check the address and the login, then try again.")


def is_consequence(error: KafkaError, former: str) -> bool:
    """True for an error that follows from the former one, of which the sentence is given."""
    if concerns_token(former):
        return bool(_NOT_RENEWED.search(error.str()) or _REJECTED_TOKEN.search(error.str())) or _is_summary(error)
    return bool(former) and _is_summary(error)


def concerns_token(text: str) -> bool:
    """True for the sentence of an error that means: there is no token."""
    return text.startswith(_UNSERVED)


def _is_summary(error: KafkaError) -> bool:
    return error.code() == KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - librdkafka's own name


def is_collateral(error: KafkaError) -> bool:
    """True when the record itself is not at fault."""
    return error.code() in COLLATERAL or outcome(error) is Outcome.REQUEUE


def cause(error: BufferError | KafkaException) -> KafkaError:
    """Give the error with which `produce` rejected a record."""
    return error.args[0] if isinstance(error, KafkaException) else KafkaError(KafkaError._QUEUE_FULL)  # noqa: SLF001 - librdkafka's own name
