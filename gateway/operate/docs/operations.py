"""The operations of the document, with the parts that they refer to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gateway.contract.message import FORWARD, IGNORED
from gateway.contract.server import protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contract.document import Document, Node


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of a document."""

    name: str  # its key in the document
    node: Node  # with its traits
    document: Document
    by_name: Mapping[str, Operation]  # all operations

    @property
    def anchor(self) -> str:
        """Link target of its section."""
        return f"operation-{self.name}"

    @property
    def channel(self) -> Node:
        """Where it receives or sends."""
        return self.node.at("channel")

    @property
    def address(self) -> str:
        """The MQTT address, or the Kafka topic."""
        topic = self.channel.at("bindings", "kafka", "topic").text
        return topic or self.channel.at("address").text or "(no address)"

    @cached_property
    def servers(self) -> list[str]:
        """Names of the servers of its channel; all servers if the channel states none."""
        stated = self.channel.at("servers")
        named = [_key(stated.own(str(index))) for index in range(len(stated.entries()))]
        return named or [name for name, _ in self.document.root.at("servers").members()]

    @cached_property
    def messages(self) -> list[Node]:
        """Its messages, with their traits."""
        stated = self.node.at("messages")
        nodes = [one for _, one in self.channel.at("messages").members()] if stated.is_absent else stated.entries()
        return [one.with_traits() for one in nodes]

    @property
    def is_ignored(self) -> bool:
        """Whether its messages are not wanted."""
        return self.node.at(IGNORED).boolean is True

    def targets(self, extension: str) -> list[Operation]:
        """The operations that an extension refers to, by one reference or a list of them, message by message."""
        if extension != FORWARD:
            return self._referred(self.node.stated(extension))
        return list(dict.fromkeys(target for one in self.messages for target in self.message_targets(one)))

    def message_targets(self, message: Node) -> list[Operation]:
        """The operations that readings of one of its messages go to."""
        if message.at(IGNORED).boolean:
            return []
        own = message.stated(FORWARD)
        return self._referred(self.node.stated(FORWARD) if own.is_absent else own)

    def _referred(self, stated: Node) -> list[Operation]:
        if isinstance(stated.value, list):
            return [self.by_name[_key(stated.own(str(index)))] for index in range(len(stated.value))]
        return [] if stated.is_absent else [self.by_name[_key(stated)]]

    def sources(self, extension: str) -> list[Operation]:
        """The operations that refer to this one by an extension."""
        return [one for one in self.by_name.values() if self in one.targets(extension)]

    def uses(self, name: str) -> bool:
        """Whether one of its servers has the protocol `mqtt` or `kafka`."""
        return any(protocol(self.document.root.at("servers", server)) == name for server in self.servers)


def operations(document: Document) -> list[Operation]:
    """Look up all operations, in the order of the document."""
    by_name: dict[str, Operation] = {}
    for name, node in document.root.at("operations").members():
        by_name[name] = Operation(name, node.with_traits(), document, by_name)
    return list(by_name.values())


def _key(node: Node) -> str:
    return node.hop().tokens[-1] if node.reference else ""
