"""The status of a gateway, from outside: peers, ledger, spool and lag.

A running gateway is queried over its own HTTP port. `/metrics` is read while the loop runs, so a ledger that does not
balance is read again a few times before it is reported.

If there is no answer, the ledger is that of the spool file, opened read-only: as of the last write, which is the stop,
or the last time that readings went to disk. The kernel's table of locks shows whether a process holds the spool; taking
the lock instead would keep out a gateway that starts at that moment.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from prometheus_client.parser import text_string_to_metric_families

from gateway.core.counters import COUNTER_FIGURES
from gateway.core.ledger import BY_NAME, Books
from gateway.errors import ExitCode, GatewayError
from gateway.observe.figures import NOTHING, PLAIN, TRANSACTIONS, Snapshot, figures, settled
from gateway.observe.peer_state import PeerState
from gateway.observe.status_page import VERDICTS, balance, delivery
from gateway.operate.table import table
from gateway.settings.settings import load
from gateway.settings.values import split_hosts
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.core.sequence import Figure

ANSWER_SECONDS = 5.0
MAXIMUM_ANSWER_BYTES = 8 * 2**20
PAUSE_SECONDS = 0.2
LOCKS = Path("/proc/locks")

State = Literal["ready", "not_ready", "silent", "stopped"]
EXIT_CODES: dict[State, ExitCode] = {
    "ready": ExitCode.SUCCESS,
    "not_ready": ExitCode.FAILURE,
    "silent": ExitCode.UNAVAILABLE,
    "stopped": ExitCode.UNAVAILABLE,
}

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a gateway."""

    state: State  # `silent`: a process holds the spool and does not answer
    text: str  # one sentence, with the next step
    peers: tuple[PeerState, ...] = ()
    figures: Snapshot = NOTHING

    @property
    def exit_code(self) -> ExitCode:
        """Of `gateway status`."""
        return EXIT_CODES[self.state]

    def as_json(self) -> dict[str, Any]:
        """The status as data."""
        return {
            "state": self.state,
            "text": self.text,
            "peers": [{"peer": one.peer, "state": one.state, "next_step": one.detail} for one in self.peers],
            "streams": {
                name: _of_stream(book, self.figures.lags.get(name)) for name, book in self.figures.books.items()
            },
            "balanced": self.figures.missing == 0,
            "delivery": self._delivery,
            "contract": self.figures.contract,
            **self.figures.gauges,
        }

    @property
    def _delivery(self) -> str | None:
        """The mode of a gateway that runs and answers."""
        return ("exactly_once" if self.figures.delivers_once else "at_least_once") if self.peers else None

    def as_text(self) -> str:
        """Lines for people; text from outside is escaped."""
        books, gauges, parts = self.figures.books, self.figures.gauges, [printable(self.text)]
        if contract := self.figures.contract:
            parts.append(printable(f"Contract: version {contract['version']}, digest {contract['digest']}"))
        if self.peers:
            rows = [(one.peer, one.state, one.detail) for one in self.peers]
            parts.append(table(("peer", "state", "next step"), rows))
        if books:
            parts += [table(_HEADS, [_row(name, book) for name, book in books.items()]), balance(self.figures)]
        if watched := [_continuity_row(name, book) for name, book in books.items() if _is_watched(book)]:
            parts.append(table(("stream", *_FIGURES, "silent keys"), watched))
        if counting := [_counters_row(name, book) for name, book in books.items() if book.counters]:
            parts.append(table(("stream", *COUNTER_FIGURES), counting))
        lines = [f"{name.lower()}: {text}" for name, text in delivery(self.figures, time.time())] if self.peers else []
        plain = {name: value for name, value in gauges.items() if name not in TRANSACTIONS}
        lines += [f"{name.replace('_', ' ')}: {value:g}" for name, value in plain.items()]
        if lines:
            parts.append("\n".join(lines))
        return "\n\n".join(parts)


_HEADS = ("stream", "received", "delivered", "dead-lettered", "spooled", "in flight", "dropped", "by reason")


def _row(name: str, book: Books) -> tuple[str | int, ...]:
    dead_lettered, dropped = book.dead_lettered, book.dropped
    reasons = [f"{reason} {count}" for counts in (dead_lettered, dropped) for reason, count in counts.items()]
    return (
        name, book.received, book.delivered, dead_lettered.total(), book.spooled, book.in_flight, dropped.total(),
        ", ".join(reasons),
    )  # fmt: skip


_FIGURES = ("gaps", "missing", "repeated", "out of order", "restarts", "forgotten")


def _is_watched(book: Books) -> bool:
    return bool(book.continuity) or book.silent_keys is not None


def _continuity_row(name: str, book: Books) -> tuple[str | int, ...]:
    counts = [book.continuity.get(cast("Figure", figure.replace(" ", "_")), "-") for figure in _FIGURES]
    return (name, *counts, "-" if book.silent_keys is None else book.silent_keys)


def _counters_row(name: str, book: Books) -> tuple[str | int, ...]:
    return (name, *(book.counters[figure] for figure in COUNTER_FIGURES))


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
        "counters": dict(book.counters),
        "lag_seconds": lag_seconds,
        "last_reading_at": book.last_reading_at or None,
        "last_dead_letter_at": dict(book.last_dead_letter_at),
    }


def query_of(config: Path, environ: Mapping[str, str]) -> Callable[[], Status]:
    """Make the query of the gateway that a gateway.yaml describes."""
    settings = load(config, environ)
    return partial(status, settings.http.listen, settings.resolve(settings.spool.path))


def status(listen: str | None, spool_path: Path) -> Status:
    """Query a gateway at its HTTP address, None when HTTP is off; its spool file is read when there is no answer."""
    if not listen:
        return _from_disk("This gateway has no HTTP port (http.listen is off)", spool_path)
    try:
        return _running(listen)
    except OSError as error:
        return _from_disk(f"No answer on {listen} ({error.strerror or type(error).__name__})", spool_path)


# --- a running gateway ------------------------------------------------------------------------------------------------


def _running(listen: str) -> Status:
    try:
        ready = json.loads(_get(listen, "/readyz"))
        peers = tuple(PeerState(str(s["peer"]), str(s["state"]), str(s["detail"])) for s in ready["states"])
        snapshot = settled(lambda: _figures_of(listen), PAUSE_SECONDS)
        is_ready = ready["ready"] is True
    except (ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException):
        raise GatewayError(
            f"The program that answers on {listen} is not a gateway of this version.",
            "Check http.listen in gateway.yaml.",
        ) from None
    return Status("ready" if is_ready else "not_ready", VERDICTS[is_ready], peers, snapshot)


def _figures_of(listen: str) -> Snapshot:
    return figures(text_string_to_metric_families(_get(listen, "/metrics").decode()))


def _get(listen: str, path: str) -> bytes:
    [(host, port)] = split_hosts(listen)
    connection = http.client.HTTPConnection(_WILDCARDS.get(host, host), port, timeout=ANSWER_SECONDS)
    with closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read(MAXIMUM_ANSWER_BYTES)


# --- no answer --------------------------------------------------------------------------------------------------------


def _from_disk(reason: str, spool_path: Path) -> Status:
    saved = _saved_ledger(spool_path)
    books = {name: _books(values) for name, values in saved.items() if isinstance(values, dict)}
    size = {"spool_disk_bytes": float(spool_path.stat().st_size)} if spool_path.exists() else {}
    snapshot = Snapshot(books, gauges=size)
    shown = "The figures are the last ones in its spool file." if books else "Its spool file has no figures."
    if process := holder(spool_path):
        text = f"{reason}, but process {process} holds the spool. It may hang: see its log. {shown}"
        return Status("silent", text, figures=snapshot)
    return Status(
        "stopped", f"{reason}: the gateway is stopped. Start it with `gateway run -c FILE`. {shown}", figures=snapshot
    )


def _saved_ledger(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as database:
            row = database.execute("SELECT value FROM facts WHERE name = 'ledger'").fetchone()
        saved = json.loads(row[0]) if row else {}
    except (sqlite3.Error, ValueError, TypeError) as error:
        text = f"No answer, and the spool {printable(str(path))} cannot be read: {printable(cut(str(error)))}."
        raise GatewayError(
            text, "Run this as the gateway's user; `gateway run -c FILE` repairs a damaged spool."
        ) from None
    return saved if isinstance(saved, dict) else {}


def _books(values: dict[str, Any]) -> Books:
    plain = (*PLAIN.values(), "last_reading_at")
    numbers: dict[str, Any] = {name: value for name in plain if isinstance(value := values.get(name), int)}
    # A later version may have more names.
    named: Any = {name: _counts(values.get(member)) for name, (member, _) in BY_NAME.items()}
    return Books(**numbers, **named)


def _counts(value: object) -> Counter[str]:
    return Counter({name: n for name, n in value.items() if isinstance(n, int)} if isinstance(value, dict) else {})


def holder(spool_path: Path) -> int:
    """Find the process that holds the spool; 0 when none does, or the kernel does not show it."""
    try:
        inode = str(spool_path.with_name(spool_path.name + ".lock").stat().st_ino)
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return 0
    return next(_holders(lines, inode), 0)


def _holders(lines: Iterable[str], inode: str) -> Iterator[int]:
    for line in lines:
        parts = line.split()  # "1: FLOCK ADVISORY WRITE 4711 fd:01:131085 0 EOF", proc_locks(5)
        if len(parts) > 5 and parts[1] == "FLOCK" and parts[5].rpartition(":")[2] == inode:
            yield int(parts[4])
