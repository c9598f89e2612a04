"""How a gateway is doing, asked from outside: peers, books, spool and lag.

A running gateway is asked over its own HTTP port. The figures of `/metrics` are read while the loop goes on, so books
that do not balance are asked for again a few times: only figures that stand still can be wrong.

Where nobody answers, the books are those in the spool's file, read without writing: as of the last write, which is the
stop, or the last time that readings went to disk. Whether a process holds the spool is read from the kernel's table of
locks. Trying the lock would keep out a gateway that starts at that moment.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from prometheus_client.parser import text_string_to_metric_families

from gateway.core.ledger import BY_NAME, Books
from gateway.errors import GatewayError
from gateway.observe.figures import NOTHING, PLAIN, Snapshot, figures, settled
from gateway.observe.peer_state import PeerState
from gateway.observe.status_page import VERDICTS, balance
from gateway.operate.table import table
from gateway.settings.values import split_hosts
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.core.sequence import Figure

ANSWER_SECONDS = 5.0
MAXIMUM_ANSWER_BYTES = 8 * 2**20
PAUSE_SECONDS = 0.2
LOCKS = Path("/proc/locks")

State = Literal["ready", "not_ready", "silent", "stopped"]
EXIT_CODES: dict[State, int] = {"ready": 0, "not_ready": 1, "silent": 69, "stopped": 69}  # EX_UNAVAILABLE in sysexits.h

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not listened on


@dataclass(frozen=True, slots=True)
class Status:
    """How a gateway is doing.

    Args:
        state: `ready`, `not_ready`, `silent` (a process holds the spool and does not answer), `stopped`.
        told: one sentence, with the next step.
        peers: with their states; empty when nobody answers.
        figures: as far as known.
    """

    state: State
    told: str
    peers: tuple[PeerState, ...] = ()
    figures: Snapshot = NOTHING

    @property
    def exit_code(self) -> int:
        """0 ready, 1 not ready, 69 nobody answers."""
        return EXIT_CODES[self.state]

    @property
    def books(self) -> dict[str, Books]:
        """By stream."""
        return self.figures.books

    @property
    def gauges(self) -> dict[str, float]:
        """What is no account of a stream: lag, spool."""
        return self.figures.gauges

    def as_json(self) -> dict[str, Any]:
        """Facts for machines."""
        return {
            "state": self.state,
            "told": self.told,
            "peers": [{"peer": one.peer, "state": one.state, "next_step": one.detail} for one in self.peers],
            "streams": {name: _of_stream(book, self.figures.lags.get(name)) for name, book in self.books.items()},
            "balanced": self.figures.missing == 0,
            **self.gauges,
        }

    def as_text(self) -> str:
        """Lines for people; what comes from outside is escaped."""
        parts = [printable(self.told)]
        if self.peers:
            rows = [(one.peer, one.state, one.detail) for one in self.peers]
            parts.append(table(("peer", "state", "next step"), rows))
        if self.books:
            parts += [table(_HEADS, [_row(name, book) for name, book in self.books.items()]), balance(self.figures)]
        if watched := [_continuity_row(name, book) for name, book in self.books.items() if _is_watched(book)]:
            parts.append(table(("stream", *_FIGURES, "silent keys"), watched))
        if self.gauges:
            parts.append("\n".join(f"{name.replace('_', ' ')}: {value:g}" for name, value in self.gauges.items()))
        return "\n\n".join(parts)


_HEADS = ("stream", "received", "delivered", "dead-lettered", "spooled", "in flight", "dropped", "by reason")


def _row(name: str, book: Books) -> tuple[str | int, ...]:
    letters, dropped = book.dead_lettered, book.dropped
    reasons = [f"{reason} {count}" for counts in (letters, dropped) for reason, count in counts.items()]
    return (
        name, book.received, book.delivered, letters.total(), book.spooled, book.in_flight, dropped.total(),
        ", ".join(reasons),
    )  # fmt: skip


_FIGURES = ("gaps", "missing", "repeated", "out of order", "restarts", "forgotten")


def _is_watched(book: Books) -> bool:
    return bool(book.continuity) or book.silent_keys is not None


def _continuity_row(name: str, book: Books) -> tuple[str | int, ...]:
    found = [book.continuity.get(cast("Figure", figure.replace(" ", "_")), "-") for figure in _FIGURES]
    return (name, *found, "-" if book.silent_keys is None else book.silent_keys)


def _of_stream(book: Books, lag_seconds: float | None) -> dict[str, Any]:
    return {
        "received": book.received,
        "delivered": book.delivered,
        "dead_lettered": dict(book.dead_lettered),
        "spooled": book.spooled,
        "in_flight": book.in_flight,
        "dropped": dict(book.dropped),
        "repeated": book.repeated,
        "missing": book.missing,
        "continuity": dict(book.continuity),
        "silent_keys": book.silent_keys,
        "lag_seconds": lag_seconds,
        "last_reading_at": book.last_reading_at or None,
        "last_dead_letter_at": dict(book.last_dead_letter_at),
    }


def status(listen: str | None, spool_path: Path) -> Status:
    """Ask how a gateway is doing.

    Args:
        listen: where it serves HTTP, or None when that is switched off.
        spool_path: of its spool.

    Returns:
        How it is doing; with nobody there, what its spool tells.

    Raises:
        GatewayError: when something else answers, or the spool cannot be read.
    """
    if listen:
        try:
            return _running(listen)
        except OSError as error:
            where = f"Nobody answers on {listen} ({error.strerror or type(error).__name__})"
    else:
        where = "This gateway serves no HTTP (http.listen is off)"
    return _from_disk(where, spool_path)


# --- a running gateway ------------------------------------------------------------------------------------------------


def _running(listen: str) -> Status:
    try:
        ready = json.loads(_get(listen, "/readyz"))
        peers = tuple(PeerState(str(s["peer"]), str(s["state"]), str(s["detail"])) for s in ready["states"])
        found = settled(lambda: _figures_of(listen), PAUSE_SECONDS)
        is_ready = ready["ready"] is True
    except (ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException):
        raise GatewayError(
            f"What answers on {listen} is no gateway of this version.", "Check http.listen in gateway.yaml."
        ) from None
    return Status("ready" if is_ready else "not_ready", VERDICTS[is_ready], peers, found)


def _figures_of(listen: str) -> Snapshot:
    return figures(text_string_to_metric_families(_get(listen, "/metrics").decode()))


def _get(listen: str, path: str) -> bytes:
    [(host, port)] = split_hosts(listen)
    connection = http.client.HTTPConnection(_WILDCARDS.get(host, host), port, timeout=ANSWER_SECONDS)
    with closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read(MAXIMUM_ANSWER_BYTES)


# --- nobody answers ---------------------------------------------------------------------------------------------------


def _from_disk(where: str, spool_path: Path) -> Status:
    saved = _saved_books(spool_path)
    books = {name: _book(told) for name, told in saved.items() if isinstance(told, dict)}
    size = {"spool_disk_bytes": float(spool_path.stat().st_size)} if spool_path.exists() else {}
    figures_are = "the figures are those it wrote to its spool last" if books else "its spool holds no figures"
    if holder := _holder(spool_path):
        told = f"{where}, but process {holder} holds the spool. It may hang: see its log. Here {figures_are}."
        return Status("silent", told, figures=Snapshot(books, gauges=size))
    told = f"{where}: the gateway is stopped. Start it with `gateway run`. Here {figures_are}."
    return Status("stopped", told, figures=Snapshot(books, gauges=size))


def _saved_books(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
            row = database.execute("SELECT value FROM facts WHERE name = 'ledger'").fetchone()
        saved = json.loads(row[0]) if row else {}
    except (sqlite3.Error, ValueError, TypeError) as error:
        told = f"Nobody answers, and the spool {printable(str(path))} cannot be read: {printable(cut(str(error)))}."
        raise GatewayError(
            told, "Run this as the gateway's user; a damaged spool is mended by `gateway run`."
        ) from None
    return saved if isinstance(saved, dict) else {}


def _book(told: dict[str, Any]) -> Books:
    plain = (*PLAIN.values(), "last_reading_at")
    numbers: dict[str, Any] = {name: value for name in plain if isinstance(value := told.get(name), int)}
    named: Any = {name: _counts(told.get(member)) for name, (member, _) in BY_NAME.items()}  # may hold unknown names
    return Books(**numbers, **named)


def _counts(told: object) -> Counter[str]:
    return Counter({name: n for name, n in told.items() if isinstance(n, int)} if isinstance(told, dict) else {})


def _holder(spool_path: Path) -> int:
    """Find the process that holds the spool; 0 when none does, or the kernel does not tell."""
    try:
        wanted = spool_path.with_name(spool_path.name + ".lock").stat().st_ino
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return 0
    return next(_pids(lines, wanted), 0)


def _pids(lines: Iterable[str], wanted: int) -> Iterator[int]:
    for line in lines:
        parts = line.split()  # "1: FLOCK ADVISORY WRITE 4711 fd:01:131085 0 EOF", proc_locks(5)
        if len(parts) > 5 and parts[1] == "FLOCK" and parts[5].rpartition(":")[2] == str(wanted):
            yield int(parts[4])
