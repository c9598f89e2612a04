"""The head of the state that `delivery: exactly_once` keeps in Kafka: which process wrote last, by transactional id.

Each transaction writes this record. So after a commit whose outcome is unknown, it shows whether the transaction was
committed, and whether another process has taken over since.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway.errors import GatewayError, TakenOverError

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADS = "head/"  # prefix of the record keys
FOREIGN = "The topic gateway-state has a record that no gateway has written, under the key "
FIX = "Write a record with this key and without a value to the topic; what it should have said may arrive twice."


def parsed(records: Mapping[str, bytes], key: str, *members: str) -> dict[str, Any]:
    """Parse a record of the state, {} when there is none; GatewayError when it does not have these members."""
    if key not in records:
        return {}
    with suppress(ValueError):
        value = json.loads(records[key])
        if isinstance(value, dict) and value.keys() >= set(members):
            return value
    raise GatewayError(f"{FOREIGN}{key!r}.", FIX)


class StateHead:
    """The head record of one transactional id; `instance` is a random name of this process.

    `rivals` describes the other process that may have the same id, and gives the fix, for the error message.
    """

    def __init__(self, transactional_id: str, instance: str, rivals: tuple[str, str]) -> None:
        self.transactional_id = transactional_id
        self.instance = instance
        self._rivals = rivals
        self._found: bytes | None = None  # the record that the first call of `has` found

    def record(self, version: int, transactional_id: str = "") -> dict[str, bytes]:
        """Make the record for a transaction of this process, under its own id or another."""
        value = {"instance": self.instance, "version": version}
        return {f"{HEADS}{transactional_id or self.transactional_id}": json.dumps(value).encode()}

    def is_ours(self, records: Mapping[str, bytes], transactional_id: str) -> bool:
        """Tell whether this process has written last under an id."""
        return bool(parsed(records, f"{HEADS}{transactional_id}").get("instance") == self.instance)

    def has(self, records: Mapping[str, bytes], version: int) -> bool:
        """Tell whether Kafka has the transaction of this process with that version.

        TakenOverError when another process has written since the first call.
        """
        found = records.get(f"{HEADS}{self.transactional_id}", b"{}")
        if self._found is None:
            self._found = found
        if self.is_ours(records, self.transactional_id):
            return bool(parsed(records, f"{HEADS}{self.transactional_id}", "version")["version"] == version)
        if found != self._found:
            other, fix = self._rivals
            raise TakenOverError(f"{other} has taken over: its transactions came after ours.", fix)
        return False
