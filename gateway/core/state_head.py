"""The head of the state that `delivery: exactly_once` keeps in Kafka: which process wrote last, by transactional id.

Each transaction writes this record. So after a commit whose outcome is unknown, it shows whether the transaction was
committed, and whether another process has taken over since.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.errors import TakenOverError

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADS = "head/"  # prefix of the record keys


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
        return bool(json.loads(records.get(f"{HEADS}{transactional_id}", b"{}")).get("instance") == self.instance)

    def has(self, records: Mapping[str, bytes], version: int) -> bool:
        """Tell whether Kafka has the transaction of this process with that version.

        TakenOverError when another process has written since the first call.
        """
        found = records.get(f"{HEADS}{self.transactional_id}", b"{}")
        if self._found is None:
            self._found = found
        if self.is_ours(records, self.transactional_id):
            return bool(json.loads(found)["version"] == version)
        if found != self._found:
            other, fix = self._rivals
            raise TakenOverError(f"{other} has taken over: its transactions came after ours.", fix)
        return False
