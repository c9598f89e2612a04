"""What Kafka knows of the gateway with `delivery: exactly_once`: the state that a transaction writes with its records.

- The *head*: a version, the process that wrote it, and the number of each session.
- The offsets of the readings that Kafka has and the spool's file may still have; for each file by itself.
- The buckets of the sessions (`core/committed_session.py`) that have changed.

A new process drops from its spool what Kafka has, and continues the sessions: as Kafka has them; or as the spool's file
has them if it is newer, because it was written while Kafka was away, and no other process has written to Kafka since.
Both have the whole state as of their version. While it is not known whether a transaction was committed, the file is
only written with all readings in memory, those of the transaction included: so a newer file knows everything that the
transaction would have added.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.errors import TakenOverError
from gateway.spool.spool import of_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.committed_session import CommittedSession
    from gateway.core.entry import Entry
    from gateway.spool.spool import Spool

HEAD, SETTLED = "head", "settled"


class CommittedState:
    """The state of one process; `instance` is a random name of the process. Only the bridge's loop uses it."""

    def __init__(self, spool: Spool, sessions: Mapping[str, CommittedSession], instance: str) -> None:
        self._spool = spool
        self._sessions = sessions
        self._instance = instance
        self._prepared = 0  # the version of the transaction under way
        self._is_restored = False

    @property
    def is_outdated(self) -> bool:
        """True when a transaction is wanted though there are no readings."""
        return any(session.is_outdated for session in self._sessions.values())

    def prepare(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        """Make the records for a transaction with these readings, by key."""
        entries = list(entries)
        self._spool.is_uncertain = True
        self._spool.version += 1
        self._prepared = self._spool.version
        records = {
            f"{key}/{bucket}": content
            for key, session in self._sessions.items()
            for bucket, content in session.prepare(of_session(entries, session)).items()
        }
        numbers = {key: session.number for key, session in self._sessions.items()}
        head = {"version": self._prepared, "instance": self._instance, "sessions": numbers}
        ranges = _ranges([*self._spool.settled_rows, *[entry.offset for entry in entries]])
        settled = {"ranges": ranges, "next_offset": self._spool.next_offset}
        return {HEAD: _text(head), f"{SETTLED}/{self._spool.id}": _text(settled)} | records

    def commit(self) -> None:
        """Note that the transaction was committed."""
        self._spool.is_uncertain = False
        self._spool.owner = self._instance
        for session in self._sessions.values():
            session.commit()

    def discard(self) -> None:
        """Note that the transaction was not committed."""
        self._spool.is_uncertain = False
        for session in self._sessions.values():
            session.discard()

    def restore(self, records: Mapping[str, bytes]) -> bool:
        """Continue from what Kafka has; return True if that includes the transaction which was under way.

        TakenOverError when another process has written since the last call.
        """
        head = json.loads(records.get(HEAD, b"{}"))
        if self._is_restored:
            if head and head["instance"] != self._instance:
                message = "Another gateway with the same client ids has taken over: its transactions came after ours."
                raise TakenOverError(message, "Run one of them only, or give each its own clientId in the contract.")
            return bool(head.get("version") == self._prepared)
        self._is_restored = True
        if settled := json.loads(records.get(f"{SETTLED}/{self._spool.id}", b"{}")):
            self._spool.drop_settled(settled["ranges"], settled["next_offset"])
        if head:
            self._continue(head, records)
        return False

    def _continue(self, head: Mapping[str, Any], records: Mapping[str, bytes]) -> None:
        if head["instance"] != self._spool.owner or head["version"] > self._spool.version:
            for key, session in self._sessions.items():
                buckets = [content for name, content in records.items() if name.rpartition("/")[0] == key]
                session.load(head["sessions"].get(key, 0), buckets)
        self._spool.owner = head["instance"]
        self._spool.version = max(self._spool.version, head["version"])


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _ranges(offsets: Iterable[int]) -> list[tuple[int, int]]:
    """Write offsets as ranges, first and last included."""
    ranges: list[tuple[int, int]] = []
    for offset in sorted(offsets):
        if ranges and offset <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], offset)
        else:
            ranges.append((offset, offset))
    return ranges
