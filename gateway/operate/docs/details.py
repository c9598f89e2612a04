"""What any part of the document may have: bindings, security, tags, links, and members that no section knows.

A section names the members that it shows itself; `facts` shows all the others. So a member of a later AsyncAPI version
or an extension is on the page at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.document import TooLargeError
from gateway.operate.docs.prose import phrase, sentence, span, value
from gateway.page.blocks import Block, Code, Facts, Link, Phrase, joined

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gateway.contract.document import Node

_SHOWN = {"title", "summary", "description", "traits", "bindings", "security", "tags", "externalDocs"}
_IN_SECONDS = {"keepAlive", "sessionExpiryInterval", "messageExpiryInterval"}


def facts(node: Node, shown: Collection[str], first: Sequence[tuple[str, Phrase]] = ()) -> list[Block]:
    """List, after the first rows, what every part may have, and all members that its section has not `shown` itself.

    The part is a server, operation, channel or message, with its traits.
    """
    rows = [*first, *_security(node), *_bindings(node), *_tags(node), *_external(node)]
    rows += [(key, value(plain(one))) for key, one in node.members() if key not in _SHOWN and key not in shown]
    return [Facts(tuple(rows))] if rows else []


def plain(node: Node) -> Any:
    """The value of a node, with its references resolved where they are finite."""
    try:
        return node.written_out()
    except TooLargeError:
        return node.value


def _flat(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Members of members, each with its path; lists stay whole."""
    if isinstance(data, dict) and data:
        for key, member in data.items():
            yield from _flat(member, (*path, str(key)))
    else:
        yield path, data


def _setting(name: str, data: Any) -> Phrase:
    """A value of a binding; a number of seconds or milliseconds also as days, hours or minutes."""
    if isinstance(data, list) and all(isinstance(one, str) for one in data):
        return joined([value(one) for one in data])
    factor = 0.001 if name.endswith(".ms") else float(name in _IN_SECONDS)
    is_number = isinstance(data, int) and not isinstance(data, bool)
    duration = span(round(data * factor, 3)) if factor and is_number else ""
    return (*value(data), f" ({duration})") if duration else value(data)


def _bindings(node: Node) -> Iterator[tuple[str, Phrase]]:
    for protocol, binding in node.at("bindings").members():
        for path, data in _flat(plain(binding)):
            if "key" not in path[:1]:  # of a Kafka record; `sections.py` has a sentence for it
                yield f"{protocol}: {' / '.join(path)}", _setting(path[-1] if path else "", data)


def _security(node: Node) -> Iterator[tuple[str, Phrase]]:
    schemes = [_scheme(one) for one in node.at("security").entries()]
    if schemes:
        yield "security", joined(schemes, " or ")


def _scheme(node: Node) -> Phrase:
    others = {key: one for key, one in node.members() if key not in {"type", "description"}}
    members = [(f"{key}: ", *value(plain(one))) for key, one in others.items()]
    return sentence(value(node.at("type").value), phrase(node.at("description").text), joined(members))


def _tags(node: Node) -> Iterator[tuple[str, Phrase]]:
    tags = node.at("tags").entries()
    if tags:
        names = [(value(one.at("name").value), phrase(one.at("description").text)) for one in tags]
        yield "tags", joined([sentence(*one) for one in names])


def _external(node: Node) -> Iterator[tuple[str, Phrase]]:
    docs = node.at("externalDocs")
    if docs.is_mapping:
        yield "more", sentence((link(docs.at("url").text or ""),), phrase(docs.at("description").text))


def link(url: str, text: str = "") -> Link | Code:
    """A link if the URL is one of the web or of mail, otherwise the URL as text: never `javascript:`."""
    if url.startswith(("https://", "http://", "mailto:")):
        return Link(text or url.removeprefix("mailto:"), url)
    return Code(url)
