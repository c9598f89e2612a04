"""What any part of the document may have: bindings, security, tags, links, and members that no section knows.

A section names the members that it tells itself; `facts` tells all the rest. So what a later AsyncAPI or a person adds
is on the page before anybody teaches it to a section.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.document import TooLargeError
from gateway.operate.docs.prose import phrase, sentence, span, value
from gateway.page.blocks import Block, Code, Facts, Link, Phrase, joined

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gateway.contract.document import Node

_TOLD = {"title", "summary", "description", "traits", "bindings", "security", "tags", "externalDocs"}
_SECONDS = {"keepAlive": 1.0, "sessionExpiryInterval": 1.0, "messageExpiryInterval": 1.0}


def facts(node: Node, told: Collection[str], first: Sequence[tuple[str, Phrase]] = ()) -> list[Block]:
    """Tell what every part may have, and all members that are not told elsewhere.

    Args:
        node: a server, operation, channel or message, with its traits.
        told: members that the section tells itself.
        first: what it tells in the same list, before the others.
    """
    rows = [*first, *_security(node), *_bindings(node), *_tags(node), *_external(node)]
    for key, member in node.members():
        if key not in _TOLD and key not in told:
            rows.append((key, value(plain(member))))
    return [Facts(tuple(rows))] if rows else []


def plain(node: Node) -> Any:
    """What stands there, references written out where that has an end."""
    try:
        return node.written_out()
    except TooLargeError:
        return node.value


def flat(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Members of members, each with its path; lists stay whole."""
    if isinstance(data, dict) and data:
        for key, member in data.items():
            yield from flat(member, (*path, str(key)))
    else:
        yield path, data


def setting(name: str, data: Any) -> Phrase:
    """A value of a binding; how long it is when it is a time."""
    if isinstance(data, list) and all(isinstance(one, str) for one in data):
        return joined([value(one) for one in data])
    factor = 0.001 if name.endswith(".ms") else _SECONDS.get(name, 0.0)
    is_number = isinstance(data, int) and not isinstance(data, bool)
    told = span(round(data * factor, 3)) if factor and is_number else ""
    return (*value(data), f" ({told})") if told else value(data)


def _bindings(node: Node) -> Iterator[tuple[str, Phrase]]:
    for protocol, binding in node.at("bindings").members():
        for path, data in flat(plain(binding)):
            if "key" not in path[:1]:  # of a Kafka record; `topics.py` says it in a sentence
                yield f"{protocol}: {' / '.join(path)}", setting(path[-1] if path else "", data)


def _security(node: Node) -> Iterator[tuple[str, Phrase]]:
    ways = [_scheme(one) for one in node.at("security").entries()]
    if ways:
        yield "security", joined(ways, " or ")


def _scheme(node: Node) -> Phrase:
    rest = {key: one for key, one in node.members() if key not in {"type", "description"}}
    told = [(f"{key}: ", *value(plain(one))) for key, one in rest.items()]
    return sentence(value(node.at("type").value), phrase(node.at("description").text), joined(told))


def _tags(node: Node) -> Iterator[tuple[str, Phrase]]:
    tags = node.at("tags").entries()
    if tags:
        yield "tags", joined([_tag(one) for one in tags])


def _tag(node: Node) -> Phrase:
    return sentence(value(node.at("name").value), phrase(node.at("description").text))


def _external(node: Node) -> Iterator[tuple[str, Phrase]]:
    docs = node.at("externalDocs")
    if docs.is_mapping:
        yield "more", sentence((link(docs.at("url").text or ""),), phrase(docs.at("description").text))


def link(url: str, text: str = "") -> Link | Code:
    """A link when it is one of the web or of mail, else the text alone: `javascript:` is no place to go to."""
    if url.startswith(("https://", "http://", "mailto:")):
        return Link(text or url.removeprefix("mailto:"), url)
    return Code(url)
