"""Rules that hold between parts of the document: what is right alone and wrong together."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from gateway.contract.findings import proposal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.build import Built
    from gateway.contract.document import Document, Node
    from gateway.contract.findings import Findings
    from gateway.core.model import Route, Stream

EXTENSIONS = (
    "x-forward-to", "x-dead-letter-to", "x-location", "x-source", "x-timestamp", "x-sequence", "x-silent-after",
)  # fmt: skip
SPELT_NEARLY = 0.8


def check(document: Document, built: Built, findings: Findings) -> None:
    """Report parts that contradict each other.

    Args:
        document: the contract's files.
        built: what was made of them.
        findings: where to.
    """
    _check_servers(document, built, findings)
    _check_client_ids(document, built, findings)
    _check_overlaps(built, findings)
    _check_topics(built, findings)
    _check_spelling(document, findings)
    _check_any(document, built, findings)


def _check_any(document: Document, built: Built, findings: Findings) -> None:
    """There is a stream, or something wrong that kept one from being read."""
    operations = document.root.at("operations")
    receiving = [one for _, one in operations.members() if one.at("action").text == "receive"]
    if not built.streams and not (receiving and findings.has_errors):
        fix = "Add an operation with action: receive on an MQTT channel."
        findings.error(operations, "There is no stream: no operation receives over MQTT.", fix)


def _check_servers(document: Document, built: Built, findings: Findings) -> None:
    servers = document.root.at("servers")
    if not built.kafka_servers:
        findings.error(servers, "There is no Kafka server.", "Add one with protocol kafka or kafka-secure.")
    for name in list(built.kafka_servers)[1:]:
        message = f"There is more than one Kafka server: {', '.join(built.kafka_servers)}."
        findings.error(servers.own(name), message, "List the hosts of one cluster in one server, comma-separated.")
    used = {name for stream in built.streams.values() for name in stream.servers}
    for name in built.mqtt_servers.keys() - used:
        if not findings.has_errors:
            findings.warning(servers.own(name), f"No stream comes from the server {name!r}.")


def _check_client_ids(document: Document, built: Built, findings: Findings) -> None:
    for one, other in combinations(built.mqtt_servers.values(), 2):
        if (one.host, one.client_id) == (other.host, other.client_id):
            place = document.root.at("servers", other.name, "bindings", "mqtt", "clientId")
            message = f"The servers {one.name!r} and {other.name!r} are one broker with one client id."
            findings.error(place, message, "Give each its own: the broker ends the older of two equal sessions.")


def _check_overlaps(built: Built, findings: Findings) -> None:
    for other, earlier in _with_earlier(built):
        one = next((one for one in earlier if _shared(one, other) and one.address.overlaps(other.address)), None)
        if one is not None:
            message = (
                f"The subscriptions of {one.name!r} ({one.address.text}) and {other.name!r} ({other.address.text}) "
                f"overlap on {_shared(one, other)[0]!r}: a message could belong to both."
            )
            findings.error(built.operations[other.name], message, "Make the addresses differ in a level that is text.")


def _with_earlier(built: Built) -> Iterator[tuple[Stream, list[Stream]]]:
    """Each stream with those before it: one finding a stream is enough, however many it clashes with."""
    streams = list(built.streams.values())
    for index, stream in enumerate(streams):
        yield stream, streams[:index]


def _shared(one: Stream, other: Stream) -> list[str]:
    return [name for name in one.servers if name in other.servers]


def _check_topics(built: Built, findings: Findings) -> None:
    for other, earlier in _with_earlier(built):
        for route in other.routes:
            _check_topic(other, route, earlier, built.operations[other.name].stated("x-forward-to"), findings)
    _check_dead_letter_topics(built, findings)
    _check_colliding_names(built, findings)


def _check_topic(other: Stream, route: Route, earlier: list[Stream], place: Node, findings: Findings) -> None:
    met = ((one, each) for one in earlier for each in one.routes if each.topic.name == route.topic.name != "")
    one, meets = next(met, (None, None))
    if one is None or meets is None:
        return
    message = f"{one.name!r} and {other.name!r} go to the same topic {route.topic.name!r}"
    if meets.schema == route.schema:
        findings.warning(place, f"{message}.", "Is it meant? Their keys must not clash.")
    else:
        findings.error(place, f"{message} with different schemas.", "Use a topic for each.")


def _check_colliding_names(built: Built, findings: Findings) -> None:
    """Kafka makes metrics of topic names with . written as _, and creates no topic whose metrics exist."""
    topics = {route.topic.name for one in built.streams.values() for route in (*one.routes, one.dead_letters)}
    for one, other in combinations(sorted(topics), 2):
        if one != other and one.replace(".", "_") == other.replace(".", "_"):
            stream = next(
                stream
                for stream in built.streams.values()
                if other in {route.topic.name for route in (*stream.routes, stream.dead_letters)}
            )
            told = f"The topics {one!r} and {other!r} collide: Kafka takes . and _ for the same."
            findings.error(built.operations[stream.name], told, "Rename one.")


def _check_dead_letter_topics(built: Built, findings: Findings) -> None:
    readings = {route.topic.name: stream.name for stream in built.streams.values() for route in stream.routes}
    readings.pop("", None)  # a topic whose name was found wrong
    for name, stream in built.streams.items():
        topic = stream.dead_letters.topic.name
        if topic in readings:
            message = f"Dead letters of {name!r} go to {topic!r}, where the readings of {readings[topic]!r} go."
            findings.error(built.operations[name].stated("x-dead-letter-to"), message, "Use a topic of their own.")


def _check_spelling(document: Document, findings: Findings) -> None:
    """An extension spelt wrong is legal and means nothing, so nobody else would notice."""
    pending = [document.root, *document.other_roots()]
    while pending:
        node = pending.pop()
        if isinstance(node.value, dict):
            for key in node.value:
                _check_extension(node, key, findings)
        keys = node.value if isinstance(node.value, dict) else map(str, range(len(node.value)))
        children = (node.own(key) for key in keys)
        pending += [one for one in children if isinstance(one.value, dict | list)]


def _check_extension(node: Node, key: str, findings: Findings) -> None:
    near = proposal(key, EXTENSIONS, SPELT_NEARLY) if key.startswith("x-") and key not in EXTENSIONS else ""
    if near:
        findings.error(node.own(key), f"The gateway knows no extension {key!r}.", near)
