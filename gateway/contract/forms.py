"""Forms that documents of others use, and the place that AsyncAPI 3 gives them.

They come from AsyncAPI 2, from OpenAPI, from the settings of clients, and from the view of the devices. Each has one
finding, whose fix is what to write. The document in memory is then changed to say that, so that the later checks find
what else is wrong, and not the same cause again. A document with such an error is never used.

- `MOVED`: members that belong elsewhere.
- `REPLACED`: members whose value belongs into others; the function gives these.
- `CORRECTED`: members whose value has another form; the function gives the right one.

Protocols and actions are right or wrong together with what uses them (`uses.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.contract.document import ABSENT, Node
from gateway.contract.route import SETTINGS
from gateway.contract.server import protocol
from gateway.documents.source import pointer
from gateway.documents.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.contract.document import Document
    from gateway.contract.findings import Findings

# --- what is in what --------------------------------------------------------------------------------------------------

SECTIONS = {
    "servers": "server*", "channels": "channel*", "operations": "operation*", "messages": "message*",
    "parameters": "parameter*", "securitySchemes": "scheme*", "operationTraits": "operation*",
    "messageTraits": "message*", "serverBindings": "server bindings*", "channelBindings": "channel bindings*",
    "operationBindings": "operation bindings*", "messageBindings": "message bindings*",
}  # fmt: skip
PARTS = {  # members of an object, and the kinds of the objects in them; * for several
    "root": {"servers": "server*", "channels": "channel*", "operations": "operation*", "components": "components"},
    "components": SECTIONS,
    "server": {"bindings": "server bindings", "security": "scheme*"},
    "channel": {"bindings": "channel bindings", "messages": "message*", "parameters": "parameter*"},
    "operation": {"bindings": "operation bindings", "traits": "operation*"},
    "message": {"bindings": "message bindings", "traits": "message*"},
    "scheme": {"flows": "flow*"},
    **{
        f"{kind} bindings": {name: f"{kind} {name}" for name in ("mqtt", "kafka")}
        for kind in ("server", "channel", "operation", "message")
    },
}

# --- members that belong elsewhere ------------------------------------------------------------------------------------


class Moved(NamedTuple):
    """Where AsyncAPI 3 has a member."""

    to: tuple[str, ...] = ()  # from the object that has it; () when it is in another object, or nowhere
    fix: str = ""  # "" to make it from the place


_SESSION = ("clientId", "cleanSession", "keepAlive", "lastWill", "maximumPacketSize", "sessionExpiryInterval")
_REGISTRY = ("schemaRegistryUrl", "schemaRegistryVendor")
_TOPIC = ("partitions", "replicas", "topicConfiguration")
_OF_OPERATION = Moved(fix="Move it to the operation: bindings: {{mqtt: {{{member}: {value}}}}}.")
_OF_CONSUMER = Moved(fix="Remove it; the gateway only sends to this topic.")
_LOGIN = Moved(fix="Remove it; gateway.yaml has the login of each installation.")
_NAMED = Moved(fix="Remove it; the key of the {kind} is its name.")
_TEXT = Moved(fix="Remove it; a parameter is text, and always there.")

MOVED: dict[tuple[str, str], Moved] = {
    ("root", "tags"): Moved(("info", "tags")),
    ("root", "externalDocs"): Moved(("info", "externalDocs")),
    **{("server", name): Moved(("bindings", "mqtt", name)) for name in _SESSION},
    **{("server", name): Moved(("bindings", "kafka", name)) for name in _REGISTRY},
    **{("server", name): _LOGIN for name in ("username", "user", "password", "token", "sasl")},
    **{("server bindings", name): Moved(("mqtt", name)) for name in _SESSION},
    **{("server bindings", name): Moved(("kafka", name)) for name in _REGISTRY},
    ("server mqtt", "cleanStart"): Moved(("cleanSession",)),
    ("channel", "topic"): Moved(("address",)),
    **{("channel", name): Moved(("bindings", "kafka", name)) for name in _TOPIC},
    **{("channel bindings", name): Moved(("kafka", name)) for name in _TOPIC},
    **{("channel kafka", name): Moved(("topicConfiguration",)) for name in ("config", "configs", "configuration")},
    **{("channel kafka", name): Moved(("topicConfiguration", name)) for name in SETTINGS},
    ("channel kafka", "replicationFactor"): Moved(("replicas",)),
    ("channel kafka", "numPartitions"): Moved(("partitions",)),
    **{("channel kafka", name): _OF_CONSUMER for name in ("clientId", "groupId")},
    **{
        (kind, name): _OF_OPERATION
        for kind in ("server", "server mqtt", "channel", "channel mqtt", "message", "message mqtt")
        for name in ("qos", "retain")
    },
    **{("operation", name): Moved(("bindings", "mqtt", name)) for name in ("qos", "retain")},
    **{("operation bindings", name): Moved(("mqtt", name)) for name in ("qos", "retain")},
    ("operation", "operationId"): _NAMED,
    ("message", "messageId"): _NAMED,
    ("message", "key"): Moved(("bindings", "kafka", "key")),
    ("message", "schema"): Moved(("payload",)),
    **{("parameter", name): _TEXT for name in ("format", "in", "name", "required", "type")},
    ("flow", "scopes"): Moved(("availableScopes",)),
}
WITHOUT_EFFECT = {("channel mqtt", "qos"), ("channel mqtt", "retain")}  # which the specification allows


# --- members whose value belongs into others --------------------------------------------------------------------------


def _port(server: Node, port: Any) -> dict[str, Any]:
    hosts = [one.strip() for one in (server.own("host").text or "").split(",")]
    has_port = any(":" in one.rpartition("]")[2] for one in hosts)
    return {} if has_port or hosts == [""] else {"host": ",".join(f"{one}:{port}" for one in hosts)}


def _url(server: Node, url: Any) -> dict[str, Any]:
    return {} if "host" in server.value else {"host": _host(server, url)}


def _tls(server: Node, _value: Any) -> dict[str, Any]:
    encrypted = {"mqtt": "secure-mqtt", "kafka": "kafka-secure"}.get(server.own("protocol").text or "")
    return {"protocol": encrypted} if encrypted else {}


def _servers(_channel: Node, server: Any) -> dict[str, Any]:
    return {"servers": [server]}


def _messages(channel: Node, message: Any) -> dict[str, Any]:
    several = message.get("oneOf") if isinstance(message, dict) else None
    return {} if "messages" in channel.value else {"messages": _named(several or [message], "message")}


def _operation(channel: Node, operation: Any) -> dict[str, Any]:
    message = operation.get("message") if isinstance(operation, dict) else None
    return {} if message is None else _messages(channel, message)


def _message(operation: Node, message: Any) -> dict[str, Any]:
    channel = operation.at("channel")
    if channel.is_mapping:
        channel.value.update(_messages(channel, message))
    return {}


def _schema_format(message: Node, form: Any) -> dict[str, Any]:
    payload = message.own("payload").value
    is_stated = payload is ABSENT or not message.at("payload", "schema").is_absent
    return {} if is_stated else {"payload": {"schemaFormat": form, "schema": payload}}


def _example(message: Node, example: Any) -> dict[str, Any]:
    return {} if "examples" in message.value else {"examples": _examples(message, [example])}


def _parameter_schema(parameter: Node, schema: Any) -> dict[str, Any]:
    kept = ("default", "description", "enum", "examples")
    return {key: schema[key] for key in kept if isinstance(schema, dict) and key in schema.keys() - parameter.value}


Replacement = Callable[[Node, Any], dict[str, Any]]
_AS_OPERATION = "Write it in `operations`, with action: receive for MQTT or send for Kafka, and channel: {{$ref: ...}}."
REPLACED: dict[tuple[str, str], tuple[Replacement, str]] = {  # and the fix, "" to make it from the members
    ("server", "port"): (_port, ""),
    ("server", "url"): (_url, ""),
    ("server", "tls"): (_tls, ""),
    ("server", "ssl"): (_tls, ""),
    ("channel", "server"): (_servers, ""),
    ("channel", "message"): (_messages, ""),
    ("channel", "publish"): (_operation, _AS_OPERATION),
    ("channel", "subscribe"): (_operation, _AS_OPERATION),
    ("operation", "message"): (_message, "Write it in `messages` of the channel, under a name."),
    ("message", "schemaFormat"): (_schema_format, ""),
    ("message", "example"): (_example, ""),
    ("parameter", "schema"): (_parameter_schema, ""),
}


# --- members whose value has another form -----------------------------------------------------------------------------


Correction = Callable[[Node, Any], Any]


def _named(items: Iterable[Any], kind: str) -> dict[str, Any]:
    """Items of a list under the names that they have, or that their references end with."""
    named: dict[str, Any] = {}
    for number, item in enumerate(items, start=1):
        members = item if isinstance(item, dict) else {}
        names = [members.get(key) for key in NAMES] + [str(members.get("$ref", "")).rpartition("/")[2]]
        name = next((one for one in names if isinstance(one, str) and one), f"{kind}{number}")
        named[name] = {key: one for key, one in members.items() if key not in NAMES} if members else item
    return named


def _by_name(_node: Node, items: Any) -> Any:
    return _named(items, "part") if isinstance(items, list) else items


def _listed(items: Any) -> Any:
    """One item alone, or items by name, as a list."""
    if isinstance(items, dict) and "$ref" not in items:
        return list(items.values())
    return items if isinstance(items, list) else [items]


def _host(_server: Node, host: Any) -> Any:
    text = ",".join(map(str, host)) if isinstance(host, list) else host
    return ADDRESS.sub(lambda match: match[1], text) if isinstance(text, str) else text


def _version(server: Node, version: Any) -> Any:
    if not isinstance(version, int | float):
        return version
    return ("5.0" if version >= 5 else "3.1.1") if protocol(server) == "mqtt" else str(version)


def _security(server: Node, security: Any) -> Any:
    """AsyncAPI 2 has names of schemes, each with a list of scopes."""
    known = server.document.root.at("components", "securitySchemes")
    several = [security] if isinstance(security, dict) else security
    if not isinstance(several, list):
        return security
    return [_scheme(one, known) for one in several]


def _scheme(entry: Any, known: Node) -> Any:
    if isinstance(entry, dict) and (len(entry) != 1 or "type" in entry or "$ref" in entry):
        return entry
    name = next(iter(entry)) if isinstance(entry, dict) else str(entry)
    is_known = known.is_mapping and name in known.value
    return _reference("components", "securitySchemes", name) if is_known else {"type": "userPassword"}


def _reference(*tokens: str) -> dict[str, str]:
    return {"$ref": pointer(tokens)}


def _referred(node: Node, text: Any, *section: str) -> Any:
    """A name or pointer in a section of the document as a reference; other values, and unknown names, as they are."""
    if not isinstance(text, str):
        return text
    if text.startswith("#/"):
        return {"$ref": text}
    known = node.document.root.at(*section)
    near = nearest(text, known.value, 0.8) if known.is_mapping else None
    return text if near is None else _reference(*section, near)


def _references(*section: str) -> Correction:
    """The correction of a list of references into a section."""

    def correct(node: Node, items: Any) -> Any:
        is_some = isinstance(items, str | list | dict)
        return [_referred(node, one, *section) for one in _listed(items)] if is_some else items

    return correct


def _operation_channel(operation: Node, channel: Any) -> Any:
    channels = operation.document.root.at("channels").members()
    by_address = {node.at("address").text: name for name, node in channels}
    return _referred(operation, by_address.get(channel, channel) if isinstance(channel, str) else channel, "channels")


def _operation_messages(operation: Node, messages: Any) -> Any:
    return _references(*operation.at("channel").tokens, "messages")(operation, messages)


def _target(operation: Node, target: Any) -> Any:
    if isinstance(target, list):
        return [_referred(operation, one, "operations") for one in target]
    return _referred(operation, target, "operations")


def _examples(_message: Node, examples: Any) -> Any:
    def whole(one: Any) -> Any:
        is_whole = isinstance(one, dict) and ({"payload", "headers"} & one.keys() or one.keys() <= {"name", "summary"})
        return one if is_whole else {"payload": one}

    return [whole(one) for one in _listed(examples)] if isinstance(examples, list | dict) else examples


def _text_schema(_operation: Node, value: Any) -> Any:
    return {"type": "string", "enum": [value]} if isinstance(value, str) else value


def _key(_binding: Node, key: Any) -> Any:
    if isinstance(key, str):
        place = key if key.startswith("$") else f"$message.payload#/{key}"
        return {"type": "string", "x-location": place}
    if isinstance(key, dict) and "location" in key and "x-location" not in key:
        return {"x-location" if one == "location" else one: value for one, value in key.items()}
    return key


def _headers(_message: Node, headers: Any) -> Any:
    """Schemas of headers without the schema of the object that has them."""
    if not isinstance(headers, dict) or not headers or KEYWORDS & headers.keys():
        return headers
    is_schemas = all(isinstance(one, dict) and {"type", "$ref"} & one.keys() for one in headers.values())
    return {"type": "object", "properties": headers} if is_schemas else headers


_AS_NAMES = "Expected a mapping of names, not a list."
_AS_REFERENCES = "{member} is not a list of references."
CORRECTED: dict[tuple[str, str], tuple[Correction, str]] = {  # and what is wrong
    **{("root", section): (_by_name, _AS_NAMES) for section in ("servers", "channels", "operations")},
    ("channel", "messages"): (_by_name, _AS_NAMES),
    ("channel", "parameters"): (_by_name, _AS_NAMES),
    ("server", "host"): (_host, "This is not a host and port."),
    ("server", "protocolVersion"): (_version, "Expected text, such as '5.0'."),
    ("server", "security"): (_security, "Expected a list of security schemes, or references to them."),
    ("operation", "security"): (_security, "Expected a list of security schemes, or references to them."),
    ("channel", "servers"): (_references("servers"), _AS_REFERENCES),
    ("operation", "channel"): (_operation_channel, "{member} is not a reference."),
    ("operation", "messages"): (_operation_messages, _AS_REFERENCES),
    ("operation", "traits"): (_references("components", "operationTraits"), _AS_REFERENCES),
    ("message", "traits"): (_references("components", "messageTraits"), _AS_REFERENCES),
    ("operation", "x-forward-to"): (_target, "{member} is not a reference."),
    ("operation", "x-dead-letter-to"): (_target, "{member} is not a reference."),
    ("message", "examples"): (_examples, "Expected a list of examples, each with a payload."),
    ("message", "headers"): (_headers, "These are not headers, but unknown keywords of a schema."),
    ("message kafka", "key"): (_key, "Expected a schema with x-location, which names the field that is the key."),
    ("operation kafka", "groupId"): (_text_schema, "Expected a schema, not text."),
    ("operation kafka", "clientId"): (_text_schema, "Expected a schema, not text."),
}
NAMES = ("name", "id", "operationId", "messageId")
KEYWORDS = {
    "$ref", "additionalProperties", "allOf", "anyOf", "description", "oneOf", "patternProperties", "properties",
    "required", "schema", "schemaFormat", "title", "type",
}  # fmt: skip
BINDING = re.compile(r"(?i)(?:secure-)?(mqtt|kafka)(?:s|5|-secure|-ssl)?\Z")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*://(?:[^/@,]*@)?([^/?#,]*)[^,]*")
PLAIN = re.compile(r"(?!(?i:true|false|null|yes|no|on|off)\Z)[A-Za-z$./][\w$./#-]*(?:(?: |:)[\w./-]+)*\Z")
LONGEST = 160  # characters of the values that a fix shows


# --- the pass ---------------------------------------------------------------------------------------------------------


def check(document: Document, findings: Findings) -> None:
    """Report the forms that AsyncAPI 3 does not have, and put their values where it has them."""
    for kind, node in _objects(document.root, "root", set()):
        for member in list(node.value):
            _check_member(kind, node, member, findings)


def _objects(node: Node, kind: str, seen: set[Any]) -> Iterator[tuple[str, Node]]:
    """An object and those in it, with their kinds; the parts of an object are looked up after it was changed."""
    if not node.is_mapping or (kind, node.place) in seen:
        return
    seen.add((kind, node.place))
    yield kind, node
    for member, inner in PARTS.get(kind, {}).items():
        part = node.at(member)
        several = [one for _, one in part.members()] + part.entries() if inner.endswith("*") else [part]
        for one in several:
            yield from _objects(one, inner.removesuffix("*"), seen)


def _check_member(kind: str, node: Node, member: str, findings: Findings) -> None:
    place, value = node.own(member), node.value[member]
    if kind.endswith(" bindings") and (match := BINDING.match(member)) and member != match[1].lower():
        findings.error(place, f"AsyncAPI has no bindings of {member!r}.", f"Write {match[1].lower()}.")
        node.value.setdefault(match[1].lower(), node.value.pop(member))
    elif moved := MOVED.get((kind, member)):
        _move(kind, node, member, moved, findings)
    elif (kind, member) in REPLACED:
        replace, fix = REPLACED[kind, member]
        del node.value[member]
        added = replace(node, value)
        node.value.update(added)
        findings.error(place, f"AsyncAPI 3 has no {member!r} here.", _fix(fix, kind, member, value, added))
    elif (kind, member) in CORRECTED:
        correct, wrong = CORRECTED[kind, member]
        if (corrected := correct(node, value)) != value or type(corrected) is not type(value):
            findings.error(place, wrong.format(member=member), f"Write {_fields({member: corrected})}")
            node.value[member] = corrected


def _move(kind: str, node: Node, member: str, moved: Moved, findings: Findings) -> None:
    place, value = node.own(member), node.value[member]
    added = value
    for key in reversed(moved.to):
        added = {key: added}
    fix = _fix(moved.fix, kind, member, value, added if moved.to else {})
    if (kind, member) in WITHOUT_EFFECT:
        findings.warning(place, f"{member!r} has no effect here.", fix)
        return
    findings.error(place, f"AsyncAPI 3 has no {member!r} here.", fix)
    target = node.value
    del target[member]
    for key in moved.to[:-1]:
        target = target.setdefault(key, {}) if isinstance(target, dict) else {}
    if moved.to and isinstance(target, dict) and "$ref" not in target:
        target.setdefault(moved.to[-1], value)


def _fix(fix: str, kind: str, member: str, value: Any, added: dict[str, Any]) -> str:
    if fix:
        return fix.format(kind=kind, member=member, value=_flow(value))
    return f"Instead, write {_fields(added)}" if added else "Remove it."


def _fields(members: dict[str, Any]) -> str:
    """Members as they stand in a block of YAML, on one line; the end of a sentence."""
    text = ", ".join(f"{key}: {_flow(one)}" for key, one in members.items())
    return f"{text}." if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _flow(value: Any) -> str:
    """A value in the flow style of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and not PLAIN.match(value):
        return "'" + value.replace("'", "''") + "'"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
