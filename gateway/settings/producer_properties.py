"""Which of librdkafka's producer properties an installation may set.

A refused property has one of three reasons: it would break a guarantee, the gateway sets it from another key of
gateway.yaml, or the gateway does not offer it. librdkafka checks all others, one by one, so that `gateway check` finds
a misspelt one. A list of valid properties in this file would be outdated with librdkafka's next release.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

_ALWAYS: Final = "The gateway sets it, because a reading is acknowledged only when it is stored safely."
_ORDER: Final = "The gateway sets it, because the order of records with the same key depends on it."
_ORDER_IN_FLIGHT: Final = "Kafka keeps the order of at most five requests in flight."
_RETRIES: Final = "The gateway keeps a reading until Kafka has stored it, however long that takes."
_REPORTS: Final = "The gateway needs its own delivery reports and events to settle readings."
_VERIFIED: Final = "TLS always verifies the broker's certificate and host name."
_CODE: Final = "It would load other code into the gateway."
_BREAKS_A_GUARANTEE: Final = {
    **dict.fromkeys(("acks", "request.required.acks"), _ALWAYS),
    **dict.fromkeys(("enable.idempotence", "queuing.strategy"), _ORDER),
    **dict.fromkeys(("message.timeout.ms", "delivery.timeout.ms", "retries", "message.send.max.retries"), _RETRIES),
    **dict.fromkeys(("delivery.report.only.error", "enabled_events", "on_delivery", "logger", "opaque"), _REPORTS),
    **dict.fromkeys(("enable.ssl.certificate.verification", "ssl.endpoint.identification.algorithm"), _VERIFIED),
    **dict.fromkeys(("plugin.library.paths", "ssl.engine.location", "ssl.providers"), _CODE),
    "enable.gapless.guarantee": "It stops the producer where the gateway would retry.",
    "partitioner": "The gateway partitions keys like Java's producers do; joins depend on it.",
    "allow.auto.create.topics": "Topics are created only as the contract describes them.",
    "topic.blacklist": "Readings of these topics would wait for ever.",
}
_UNSAFE_PATTERNS: Final = (
    (re.compile(r".*_cb"), _REPORTS),
    (re.compile(r"test\..*"), "Readings would go to a mock cluster in memory."),
)
_HOST: Final = "host: HOST:PORT"
_CA: Final = "tls: {ca_file: FILE}"
_PAIR: Final = "tls: {cert_file: FILE, key_file: FILE}"
_LOCKED_PAIR: Final = "tls: {cert_file: FILE, key_file: FILE, key_password_file: FILE}"
_LOGIN: Final = "sasl: {mechanism: SCRAM-SHA-512, username: NAME, password_file: FILE}"
_OAUTH: Final = "sasl: {mechanism: OAUTHBEARER, oauth: {token_url: URL, client_id: NAME, client_secret_file: FILE}}"
_MSK: Final = "sasl: {mechanism: OAUTHBEARER, oauth: {aws_region: REGION}}"
_SET_ELSEWHERE: Final = {  # with what to write beside `producer` instead
    **dict.fromkeys(("bootstrap.servers", "metadata.broker.list"), _HOST),
    "security.protocol": "tls: {}",
    "schema.registry.url": "registry: {url: URL}",
    **dict.fromkeys(("ssl.ca.location", "ssl.ca.pem", "ssl_ca", "ssl.truststore.location"), _CA),
    **dict.fromkeys(("ssl.certificate.location", "ssl.certificate.pem", "ssl_certificate"), _PAIR),
    **dict.fromkeys(("ssl.key.location", "ssl.key.pem", "ssl_key", "ssl.keystore.location"), _PAIR),
    **dict.fromkeys(("ssl.key.password", "ssl.keystore.password"), _LOCKED_PAIR),
    **dict.fromkeys(
        ("sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password", "sasl.jaas.config"), _LOGIN
    ),
}
_OF_OAUTH: Final = re.compile(r"(enable\.)?sasl\.oauthbearer\..*|https\..*")
_KERBEROS: Final = "The gateway does not offer Kerberos, for which the packages of the Kafka library are not built."
_NOT_OFFERED: Final = (  # the first that matches, with reason and fix
    (re.compile(r"sasl\.kerberos\..*"), _KERBEROS, f"Remove it; write {_LOGIN} beside producer."),
    (
        re.compile(r"(ssl|sasl)\..*"),
        "The gateway does not offer this property yet.",
        "Remove it; librdkafka's default holds.",
    ),
)
_OF_TRANSACTIONS: Final = (
    "The gateway sets it with delivery: exactly_once.",
    "Remove it; write `delivery: exactly_once` for transactions.",
)
_REFUSED: Final = {
    **dict.fromkeys(("transactional.id", "transaction.timeout.ms"), _OF_TRANSACTIONS),
    "sticky.partitioning.linger.ms": ("This property would have no effect: every record has a key.", "Remove it."),
    "default.topic.config": ("This property hides others.", "Write its members beside it, and remove it."),
}
_JAVA: Final = "Remove it: Java's producers have it, and nothing here needs it."
_OF_OTHERS: Final = {  # what to write instead of names that librdkafka does not have
    **dict.fromkeys(("key.serializer", "value.serializer", "max.block.ms", "interceptor.classes"), _JAVA),
    "buffer.memory": "Did you mean 'queue.buffering.max.kbytes'?",
    "compression": "Did you mean 'compression.type'?",
    "max.request.size": "Did you mean 'message.max.bytes'?",
}
MECHANISMS_NOT_OFFERED: Final = {  # of SASL, and what to write instead
    "AWS_MSK_IAM": ("IAM of Amazon MSK is OAUTHBEARER here.", _MSK),
    "GSSAPI": (_KERBEROS, _LOGIN),
}
LONGEST_LINGER_MILLISECONDS: Final = 100  # as `bridge/pacing.py` applies it
SMALLEST_RECORD_BYTES: Final = 16_384  # of which `kafka/sink.py` keeps 4 KiB for headers
_UNKNOWN: Final = "librdkafka has no such property."
_IN_FLIGHT: Final = {"max.in.flight", "max.in.flight.requests.per.connection"}
_ORDERED: Final = {"1", "2", "3", "4", "5"}  # requests in flight whose order Kafka keeps
_LINGER: Final = {"linger.ms", "queue.buffering.max.ms"}  # two names of one property
_MILLISECONDS: Final = re.compile(r"[0-9]+(\.[0-9]*)?")  # librdkafka also accepts forms such as 0x10 and nan


def _refusal(name: str) -> tuple[str, str] | None:
    """Why the gateway refuses a property whatever its value, and the fix; None when it does not."""
    unsafe = next((reason for pattern, reason in _UNSAFE_PATTERNS if pattern.fullmatch(name)), None)
    if reason := _BREAKS_A_GUARANTEE.get(name, unsafe):
        return f"This property would break a guarantee. {reason}", "Remove it."
    is_oauth = _OF_OAUTH.fullmatch(name) and not _librdkafka_has_no(name)
    if instead := _OAUTH if is_oauth else _SET_ELSEWHERE.get(name):
        return "The gateway sets this property from another setting.", f"Remove it; write {instead} beside producer."
    for pattern, reason, fix in _NOT_OFFERED:
        if pattern.fullmatch(name) and not _librdkafka_has_no(name):
            return reason, fix
    return _REFUSED.get(name)


def _not_offered(name: str, value: object) -> tuple[str, str] | None:
    mechanism = str(value).upper()
    if name not in {"sasl.mechanism", "sasl.mechanisms"} or mechanism not in MECHANISMS_NOT_OFFERED:
        return None
    reason, instead = MECHANISMS_NOT_OFFERED[mechanism]
    return reason, f"Remove it; write {instead} beside producer."


def refuse(name: str, value: object) -> tuple[str, str] | None:
    """What is wrong with a producer property, named as in librdkafka's CONFIGURATION.md, and the fix; or None."""
    plain = name.strip().lower()
    if refusal := _not_offered(plain, value) or _refusal(plain):
        return refusal
    if plain in _IN_FLIGHT and str(value) not in _ORDERED:
        return f"This value would break a guarantee. {_ORDER_IN_FLIGHT}", "Write a number from 1 to 5, or remove it."
    if not isinstance(value, str | int | float):
        return None  # the check of its type rejects it
    if plain in _LINGER and not _MILLISECONDS.fullmatch(str(value)):
        return "Expected a number of milliseconds.", "Write a number such as 5."
    if reason := _librdkafka_refuses(name, value):
        return reason, _OF_OTHERS.get(plain, "See the producer's properties in librdkafka's CONFIGURATION.md.")
    return _has_no_use(plain, float(value)) if _MILLISECONDS.fullmatch(str(value)) else None


def _has_no_use(name: str, number: float) -> tuple[str, str] | None:
    """What is wrong with a number that librdkafka takes, but the gateway cannot use, and the fix; or None."""
    if name in _LINGER and number > LONGEST_LINGER_MILLISECONDS:
        return "The gateway holds readings back for at most 100 ms.", "Write a number from 0 to 100, such as 5."
    if name == "message.max.bytes" and number < SMALLEST_RECORD_BYTES:
        return "Hardly a reading fits into a record of this size.", "Write at least 16384 bytes, such as 1000000."
    return None


def take_linger(properties: dict[str, Any]) -> float | None:
    """Remove the linger from a producer's properties, and return its seconds if given: the bridge delays records."""
    given = [properties.pop(name) for name in list(properties) if name.strip().lower() in _LINGER]
    return float(given[-1]) / 1000 if given else None


def _librdkafka_has_no(name: str) -> bool:
    return _librdkafka_refuses(name, "") == _UNKNOWN  # an empty value loads and opens nothing


def _librdkafka_refuses(name: str, value: str | float) -> str | None:
    import confluent_kafka  # noqa: PLC0415 - 6 MB, for the few installations that set a property

    silent = logging.Logger("unused", logging.CRITICAL + 1)  # noqa: LOG001  (never registered, and drops all records)
    try:
        confluent_kafka.Producer({name: value}, logger=silent)  # connects to nothing, because it has no broker
    except (confluent_kafka.KafkaException, ValueError, TypeError, AttributeError) as error:
        return _UNKNOWN if "No such" in str(error) else "librdkafka rejects this value."
    return None
