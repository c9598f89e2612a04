"""The operations of the document, with what they refer to looked up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.contract.server import protocol

if TYPE_CHECKING:
    from gateway.contract.document import Document, Node

FORWARD = "x-forward-to"
DEAD_LETTER = "x-dead-letter-to"


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation.

    Args:
        name: its key in the document.
        node: with its traits.
        channel: where it receives or sends.
        servers: names of those that have the channel.
    """

    name: str
    node: Node
    channel: Node
    servers: tuple[str, ...]

    @property
    def anchor(self) -> str:
        """Where the page tells about it."""
        return f"operation-{self.name}"

    @property
    def address(self) -> str:
        """The MQTT address, or the topic."""
        topic = self.channel.at("bindings", "kafka", "topic").text
        return topic or self.channel.at("address").text or "(no address)"

    @property
    def title(self) -> str:
        """A short title, or nothing."""
        return self.node.at("title").text or self.channel.at("title").text or ""

    @cached_property
    def messages(self) -> list[Node]:
        """Its messages, with their traits."""
        stated = self.node.at("messages")
        found = [one for _, one in self.channel.at("messages").members()] if stated.is_absent else stated.entries()
        return [one.with_traits() for one in found]

    def leads_to(self, extension: str) -> list[str]:
        """Names of the operations that an extension refers to; one or a list of references."""
        stated = self.node.stated(extension)
        if isinstance(stated.value, list):
            return [_key(stated.own(str(index))) for index in range(len(stated.value))]
        return [] if stated.is_absent else [_key(stated)]


def operations(document: Document) -> dict[str, Operation]:
    """Look up all operations, in the document's order."""
    found = document.root.at("operations").members()
    return {name: _operation(document, name, node.with_traits()) for name, node in found}


def _operation(document: Document, name: str, node: Node) -> Operation:
    channel = node.at("channel")
    stated = channel.at("servers")
    if stated.entries():
        servers = [_key(stated.own(str(index))) for index in range(len(stated.entries()))]
    else:
        servers = [key for key, _ in document.root.at("servers").members()]
    return Operation(name, node, channel, tuple(servers))


def is_on(document: Document, operation: Operation, wanted: str) -> bool:
    """Whether an operation's servers speak `mqtt` or `kafka`."""
    return any(protocol(document.root.at("servers", name)) == wanted for name in operation.servers)


def _key(node: Node) -> str:
    return node.hop().tokens[-1] if node.reference else ""
