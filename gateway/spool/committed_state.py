"""What Kafka knows of the gateway with `delivery: exactly_once`: the state that a transaction writes with its records.

- The *head* of the transactional id (`core/state_head.py`).
- The offsets of the readings that Kafka has and the spool's file may still have; for each file by itself, and for each
  transactional id: copies of a machine have files of the same name. `others` are those of them that are not delivered:
  dead letters with their reason, and what was dropped. While a full disk keeps the rows, this record grows with each
  gap between them; before it is too large for Kafka, no more rows are read back.
- Of each session that has changed, the buckets that have (`core/committed_session.py`), and a head: its number, a
  version, the process that wrote it, and the transactional id of that process.

A new process drops from its spool what Kafka has, and continues the sessions: as Kafka has them; or as the spool's file
has them if it is newer, because it was written while Kafka was away, and no other process has written to Kafka since.
Both have the whole state as of their version. While it is not known whether a transaction was committed, the file is
only written with all readings in memory, those of the transaction included: so a newer file knows everything that the
transaction would have added.

Packet ids and offsets are used again when the gateway delivers at least once in between. Then the spool's file says so,
and what Kafka has is void, until the first commit.

The state of a session is found whatever the transactional id was, which changes when the contract gets another broker
or loses one. A process with the former id may still run, and its last transaction may be open. So before the state is
read, a transaction under the former id says in its head that this process has taken over: that ends the open one, and
the other process stops.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.core.state_head import HEADS, StateHead, parsed
from gateway.spool.spool import of_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.committed_session import CommittedSession
    from gateway.core.entry import Entry
    from gateway.spool.spool import Settled, Spool

SETTLED, SESSIONS, HEAD = "settled/", "session/", "head"
MOST_RANGES = 10_000  # of offsets, in a record: 500 kB
RIVALS = (
    "Another gateway with the same client ids",
    "Run one of them only, or give each its own clientId in the contract.",
)


class CommittedState:
    """The state of one process, with its sessions by key. Only the bridge's loop uses it, except `handover`.

    `transactional_id` and `instance` are as of `StateHead`.
    """

    def __init__(
        self, spool: Spool, sessions: Mapping[str, CommittedSession], transactional_id: str, instance: str
    ) -> None:
        self._spool = spool
        self._sessions = sessions
        self._head = StateHead(transactional_id, instance, RIVALS)
        self._prepared = 0  # the version of the transaction under way
        self._is_restored = False
        self._numbers: dict[str, int] = {}  # of the sessions, as Kafka has them from this process
        self.prefixes = (HEADS, f"{SETTLED}{spool.id}/", *[f"{SESSIONS}{key}/" for key in sessions])

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
        rows = self._spool.settled_rows
        outcomes = {offset: outcome for offset, outcome in rows.items() if outcome}
        outcomes |= {entry.offset: entry.outcome for entry in entries if entry.dead_letter}
        ranges = ranges_of([*rows, *[entry.offset for entry in entries]])
        others = settled_ranges(outcomes)
        self._spool.must_delete = len(ranges) + len(others) > MOST_RANGES
        settled = {"ranges": ranges, "others": others, "next_offset": self._spool.next_offset}
        records = self._head.record(self._prepared) | {self._settled_key(self._head.transactional_id): _text(settled)}
        for key, session in self._sessions.items():
            buckets = session.prepare(of_session(entries, session))
            if buckets or self._numbers.get(key) != session.number:
                records[f"{SESSIONS}{key}/{HEAD}"] = _text(self._head_of(session))
                self._numbers[key] = session.number
            records |= {f"{SESSIONS}{key}/{bucket}": content for bucket, content in buckets.items()}
        return records

    def _settled_key(self, transactional_id: str) -> str:
        return f"{SETTLED}{self._spool.id}/{transactional_id}"

    def _head_of(self, session: CommittedSession) -> dict[str, Any]:
        head = self._head
        by = {"instance": head.instance, "version": self._prepared, "id": head.transactional_id}
        return by | {"number": session.number}

    def commit(self) -> None:
        """Note that the transaction was committed."""
        self._spool.is_uncertain = False
        for key, session in self._sessions.items():
            self._spool.owners[key] = self._head.instance
            session.commit()
        if self._spool.was_at_least_once:  # until now, what Kafka had was void
            self._spool.was_at_least_once = False
            self._spool.note_delivery("exactly_once")

    def discard(self) -> None:
        """Note that the transaction was not committed."""
        self._spool.is_uncertain = False
        self._numbers.clear()
        for session in self._sessions.values():
            session.discard()

    def handover(self, records: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
        """Make the records that take over from processes with former ids, by id. Any thread may call it."""
        if self._is_restored:  # an id that has come since is of a process that takes over from this one
            return {}
        former = {head["id"] for head in self._session_heads(records).values()} - {self._head.transactional_id}
        return {each: self._head.record(0, each) for each in former if not self._head.is_ours(records, each)}

    def _session_heads(self, records: Mapping[str, bytes]) -> dict[str, Any]:
        names = {key: f"{SESSIONS}{key}/{HEAD}" for key in self._sessions}
        members = "id", "instance", "version", "number"
        return {key: parsed(records, name, *members) for key, name in names.items() if name in records}

    def restore(self, records: Mapping[str, bytes]) -> bool:
        """Continue from what Kafka has; return True if that includes the transaction which was under way.

        TakenOverError when another process has written since the first call.
        """
        is_committed = self._head.has(records, self._prepared)
        if not self._is_restored:
            self._is_restored = True
            heads = self._session_heads(records)
            for name in map(self._settled_key, {self._head.transactional_id, *[head["id"] for head in heads.values()]}):
                self._drop_settled(parsed(records, name, "ranges", "next_offset"))
            for key, head in heads.items():
                self._continue(key, head, records)
        return is_committed

    def _drop_settled(self, settled: Mapping[str, Any]) -> None:
        if settled:
            ranges = [("", first, last) for first, last in settled["ranges"]]
            dropped = [] if self._spool.was_at_least_once else [*settled.get("others", ()), *ranges]
            self._spool.drop_settled(dropped, settled["next_offset"])

    def _continue(self, key: str, head: Mapping[str, Any], records: Mapping[str, bytes]) -> None:
        if self._spool.was_at_least_once:
            self._sessions[key].number = head["number"] + 1
        elif head["instance"] != self._spool.owners.get(key) or head["version"] > self._spool.versions[key]:
            own = f"{SESSIONS}{key}"
            names = [name for name in records if name.rpartition("/")[0] == own and name != f"{own}/{HEAD}"]
            self._sessions[key].load(head["number"], [records[name] for name in names])
            self._spool.drop_settled((), self._sessions[key].next_offset)
        self._spool.owners[key] = head["instance"]
        self._spool.version = max(self._spool.version, head["version"])


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()


def ranges_of(offsets: Iterable[int]) -> list[tuple[int, int]]:
    """Write offsets as ranges, first and last included."""
    all_of_them = {*offsets}
    first, last = min(all_of_them, default=0), max(all_of_them, default=-1)
    if last - first == len(all_of_them) - 1:  # nearly always
        return [(first, last)] if all_of_them else []
    return [(first, last) for _, first, last in settled_ranges(dict.fromkeys(all_of_them, ""))]


def settled_ranges(outcomes: Mapping[int, str]) -> list[Settled]:
    """Write the outcomes of offsets as ranges, first and last included."""
    ranges: list[Settled] = []
    for offset, outcome in sorted(outcomes.items()):
        if ranges and ranges[-1][0] == outcome and ranges[-1][2] == offset - 1:
            ranges[-1] = (outcome, ranges[-1][1], offset)
        else:
            ranges.append((outcome, offset, offset))
    return ranges
