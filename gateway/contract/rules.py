"""Rules between parts of the document that are valid alone."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from gateway.contract import stage
from gateway.contract.message import DEAD_LETTER, FORWARD, IGNORED
from gateway.core.filters import overlap, plan
from gateway.documents.spelling import nearest

if TYPE_CHECKING:
    from gateway.contract.build import Built
    from gateway.contract.document import Document
    from gateway.contract.findings import Findings
    from gateway.core.model import Ignored, Route, Stream

EXTENSIONS = (
    FORWARD, DEAD_LETTER, IGNORED, "x-records", "x-location", "x-separator", "x-source", "x-timestamp",
    "x-sequence", "x-silent-after", "x-additional-properties", "x-multi-level", "x-counter",
)  # fmt: skip
SIMILAR = 0.8
SHOWN = 4  # subscriptions in a message
LEARNED = "learned"  # the tag of channels that `gateway learn` proposed


def check(document: Document, built: Built, findings: Findings) -> None:
    """Report parts that contradict each other."""
    _check_servers(document, built, findings)
    _check_client_ids(document, built, findings)
    _check_ambiguous(built, findings)
    _check_widened(built, findings)
    _check_ignored(built, findings)
    _check_topics(built, findings)
    _check_any(document, built, findings)


def _check_any(document: Document, built: Built, findings: Findings) -> None:
    """There is a stream, or an error that prevented one."""
    operations = document.root.at("operations")
    receiving = [one for _, one in operations.members() if one.at("action").text == "receive"]
    if not built.streams and not (receiving and findings.has_errors):
        fix = "Add an operation with action: receive on an MQTT channel."
        findings.error(operations, "The contract has no stream: no operation receives over MQTT.", fix)


def _check_servers(document: Document, built: Built, findings: Findings) -> None:
    servers = document.root.at("servers")
    if not built.kafka_servers:
        findings.error(servers, "The contract has no Kafka server.", "Add one with protocol kafka or kafka-secure.")
    if len(built.kafka_servers) > 1 and not built.mqtt_servers:
        text = f"The contract has Kafka servers only: {', '.join(built.kafka_servers)}."
        findings.error(servers, text, "Write protocol: mqtt at the one that is the MQTT broker.")
    elif len(built.kafka_servers) > 1:
        findings.error(*stage.choose(document))
    used = {name for stream in built.streams.values() for name in stream.servers}
    for name in built.mqtt_servers.keys() - used:
        if not findings.has_errors:
            findings.warning(servers.own(name), f"No stream uses the server {name!r}.", "Remove it, or add a stream.")


def _check_client_ids(document: Document, built: Built, findings: Findings) -> None:
    for one, other in combinations(built.mqtt_servers.values(), 2):
        if (one.host, one.client_id) == (other.host, other.client_id):
            place = document.root.at("servers", other.name, "bindings", "mqtt", "clientId")
            message = f"The servers {one.name!r} and {other.name!r} have the same host and clientId."
            findings.error(
                place,
                message,
                "Use different ones: a broker closes the older of two connections with the same client id.",
            )


def _check_ambiguous(built: Built, findings: Findings) -> None:
    """Of the addresses that match a topic one must be the most specific; at most one finding per operation."""
    same_form: dict[Any, list[Stream | Ignored]] = {}  # by literal texts and specificity
    every: list[Stream | Ignored] = [*built.streams.values(), *built.ignored.values()]
    for other in every:
        form = (level.before if level.name is None else level.specificity for level in other.address.levels)
        earlier = same_form.setdefault(tuple(form), [])
        one = next((one for one in earlier if _shared(one, other) and one.address.overlaps(other.address)), None)
        if one is not None:
            place = built.operations[one.name].at("channel", "address")
            message = (
                f"The addresses of {one.name!r} ({one.address.text}, {place.source.path.name}:{place.line}) and "
                f"{other.name!r} ({other.address.text}) are equally specific and overlap on "
                f"{_shared(one, other)[0]!r}: a message could belong to both."
            )
            fix = "Make the addresses differ in a level that is plain text."
            findings.error(built.operations[other.name], message, fix)
        earlier.append(other)


def _check_widened(built: Built, findings: Findings) -> None:
    """Warn of a subscription that is wider than those of the contract, because two of these overlap."""
    for server in built.mqtt_servers:
        served = {each.name: each.address.filter for each in built.streams.values() if server in each.servers}
        for wider, own in plan(served.values()).items():
            if wider not in own:
                last = [name for name, each in served.items() if each in own][-1]
                first, *others = sorted(own)  # those that begin with a wildcard are the first
                others.sort(key=lambda each: (not overlap(first, each), each))
                more = f" and {len(own) - SHOWN} more" * (len(own) > SHOWN)
                message = (
                    f"The subscriptions {' and '.join([first, *others][:SHOWN])}{more} overlap on {server!r}, so the "
                    f"gateway subscribes to {wider} instead. It drops what no address describes."
                )
                fix = "If that is much, make the addresses differ in a level that is plain text."
                findings.warning(built.operations[last], message, fix)


def _check_ignored(built: Built, findings: Findings) -> None:
    """Messages to ignore are not subscribed to, so another stream's subscription must bring them."""
    for one in built.ignored.values():
        streams = [stream for stream in built.streams.values() if _shared(stream, one)]
        planned = plan(stream.address.filter for stream in streams)
        if not findings.has_errors and not any(overlap(each, one.address.filter) for each in planned):
            message = f"No subscription of a stream brings messages of {one.address.text}, so there is none to ignore."
            findings.warning(built.operations[one.name], message, "Remove it.")


def _shared(one: Stream | Ignored, other: Stream | Ignored) -> list[str]:
    return [name for name in one.servers if name in other.servers]


def _check_topics(built: Built, findings: Findings) -> None:
    leading: dict[str, dict[str, Route]] = {}
    for stream in built.streams.values():
        for route in stream.routes:
            leading.setdefault(route.topic.name, {})[stream.name] = route
    leading.pop("", None)  # an invalid name, which is reported
    reported = set()
    for topic, routes in leading.items():
        pairs = tuple((name, route.operation) for name, route in routes.items())
        if pairs not in reported:  # operations with a choice of topics share all of them
            _check_topic(topic, routes, built, findings)
        reported.add(pairs)
    _check_messages(built, findings)
    _check_dead_letter_topics(built, findings)
    _check_colliding_names(built, findings)


def _check_topic(topic: str, routes: dict[str, Route], built: Built, findings: Findings) -> None:
    """Several streams may send to a topic only with the same schema, and should not use the same keys."""
    one = next(iter(routes))
    alike = [other for other, route in routes.items() if route.schema == routes[one].schema]
    if alike[1:]:
        names = " and ".join(map(repr, alike[:2])) + (f" and {len(alike) - 2} more streams" if alike[2:] else "")
        place = built.operations[alike[1]].stated(FORWARD)
        fix = "If this is intended, make sure that their keys differ."
        findings.warning(place, f"{names} go to the same topic {topic!r}.", fix)
    for other in routes.keys() - alike:
        message = f"{one!r} and {other!r} go to the same topic {topic!r} with different schemas."
        findings.error(built.operations[other].stated(FORWARD), message, "Use a topic for each.")


def _check_messages(built: Built, findings: Findings) -> None:
    """Messages of one stream may share a topic only with the same schema."""
    for name, stream in built.streams.items():
        for one, other in combinations(stream.routes, 2):
            if one.topic.name == other.topic.name and one.schema != other.schema:
                message = f"Two messages go to the same topic {one.topic.name!r} with different schemas."
                findings.error(built.operations[name], message, "Use a topic for each.")


def _check_colliding_names(built: Built, findings: Findings) -> None:
    """Kafka writes . as _ in the names of a topic's metrics, and rejects a topic whose metrics would collide."""
    streams = {
        route.topic.name: name
        for name, stream in reversed(built.streams.items())
        for route in (*stream.routes, stream.dead_letters)
    }
    seen: dict[str, str] = {}
    for other in sorted(streams):
        if (one := seen.setdefault(other.replace(".", "_"), other)) != other:
            message = f"The topics {one!r} and {other!r} collide, because Kafka treats . and _ as the same character."
            findings.error(built.operations[streams[other]], message, "Rename one.")


def _check_dead_letter_topics(built: Built, findings: Findings) -> None:
    readings = {route.topic.name: stream.name for stream in built.streams.values() for route in stream.routes}
    readings.pop("", None)  # an invalid name, which is reported
    for name, stream in built.streams.items():
        topic = stream.dead_letters.topic.name
        if topic in readings:
            message = f"Dead letters of {name!r} go to {topic!r}, the topic of the readings of {readings[topic]!r}."
            findings.error(built.operations[name].stated(DEAD_LETTER), message, "Use a separate topic.")


def check_spelling(document: Document, findings: Findings) -> None:
    """Report misspelt extensions, which AsyncAPI allows and which would have no effect; correct them in memory."""
    for node in (one for root in (document.root, *document.other_roots()) for one in root.inside()):
        for key in list(node.value) if node.is_mapping else ():
            is_unknown = key.startswith("x-") and key not in EXTENSIONS
            if is_unknown and (name := nearest(key, EXTENSIONS, SIMILAR)):
                findings.error(node.own(key), f"Unknown extension {key!r}.", f"Did you mean {name!r}?")
                if name not in node.value:
                    node.correct(key, name)


def check_learned(document: Document, findings: Findings) -> None:
    """Warn of channels that `gateway learn` proposed, until a person has read them."""
    channels = document.root.at("channels").members()
    tags = {name: tag for name, one in channels for tag in one.at("tags").entries() if tag.at("name").text == LEARNED}
    if tags:
        message = f"`gateway learn` proposed this, and no person has said that it is right: {', '.join(tags)}."
        findings.warning(
            next(iter(tags.values())), message, f"Read it, then remove the tag {LEARNED!r} of each channel."
        )
