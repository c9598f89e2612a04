"""The status of a gateway as blocks, for a browser and a terminal: peers, streams, ledger, spool.

`StatusPage` makes the page at `/` of a running gateway: HTML without a script, made on request and reloaded by the
browser every few seconds. A script that polls was rejected: it would update more smoothly, but needs a second
description of the page, a data format, and a Content-Security-Policy that allows scripts and requests. The price of
reloading: a text selection is lost after a few seconds, and once the gateway has stopped, the browser shows its own
error page.

`Strong` text means trouble.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gateway.core.counters import COUNTER_FIGURES
from gateway.observe.figures import TRANSACTIONS, Rates, RateTracker, Snapshot, figures, hours_left, settled
from gateway.page import html
from gateway.page.blocks import Block, Facts, Heading, Link, Paragraph, Phrase, Strong, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client import Metric

    from gateway.core.ledger import Books
    from gateway.observe.peer_state import Health, PeerState

REFRESH_SECONDS: Final = 3
KEPT_SECONDS: Final = 1.0  # requests within this time get the same page
PAUSE_SECONDS: Final = 0.02
VERDICTS: Final = {
    True: "Running and ready.",
    False: "Running, not ready: readings may wait. See the next steps.",
}
_LINKS: Final = (Link("contract", "/docs"), *(Link(name, f"/{name}") for name in ("metrics", "readyz", "livez")))
_ACCOUNTS: Final = ("received", "delivered", "dead letters", "on disk", "in flight", "dropped")


class StatusPage:
    """Makes the page, titled as the contract; one call at a time.

    `books` are those at the start: from then on, readings are counted for the rates of the first page.
    """

    def __init__(
        self,
        title: str,
        health: Callable[[], Health],
        collect: Callable[[], Iterable[Metric]],
        books: Mapping[str, Books],
    ) -> None:
        self.title = title
        self._health = health
        self._collect = collect
        self._rates = RateTracker()
        self._rates(Snapshot(dict(books)), time.monotonic())  # `collect` would wait for an answer of Kafka
        self._page: html.Page
        self._made_at = float("-inf")

    def __call__(self) -> html.Page:
        """Make the page, or return the last one if it is recent."""
        if time.monotonic() - self._made_at > KEPT_SECONDS:
            health, snapshot = self._health(), settled(self._take, PAUSE_SECONDS)
            self._made_at = time.monotonic()
            rates = self._rates(snapshot, self._made_at)
            blocks = overview(VERDICTS[health.ready], health.states, snapshot, rates, time.time())
            self._page = html.write_live([Heading(1, self.title), *blocks], _LINKS, REFRESH_SECONDS)
        return self._page

    def _take(self) -> Snapshot:
        return figures(self._collect())


def overview(verdict: str, peers: Sequence[PeerState], snapshot: Snapshot, rates: Rates, now: float) -> list[Block]:
    """Describe the status of a gateway at `now`, in seconds since 1970; the verdict is one of VERDICTS if it runs."""
    books = snapshot.books.items()
    return [
        Paragraph((verdict if verdict == VERDICTS[True] else Strong(verdict), f" As of {_clock(now)}.")),
        Table("Peers", ("peer", "state", "next step"), tuple(map(_peer, peers))),
        Table(
            "Streams",
            ("stream", _per_second(rates), "waiting", "age of oldest", "last reading", "last dead letter"),
            tuple(_stream(name, book, snapshot, rates, now) for name, book in books),
        ),
        *_counters(snapshot),
        Table("Ledger (readings)", ("stream", *_ACCOUNTS), tuple(_account(name, book) for name, book in books)),
        Paragraph((Strong(balance(snapshot)) if snapshot.missing else balance(snapshot),)),
        Facts((*[(name, (text,)) for name, text in delivery(snapshot, now)], *_spool(snapshot.gauges, rates))),
    ]


def balance(snapshot: Snapshot) -> str:
    """Say whether the ledger balances."""
    if not snapshot.missing:
        return "The ledger balances."
    missing = f"{snapshot.missing} reading(s) are unaccounted for"
    return f"The ledger does NOT balance: {missing}. Please report this with the log."


def delivery(snapshot: Snapshot, now: float) -> Iterable[tuple[str, str]]:
    """Describe the delivery of a running gateway, at `now` in seconds since 1970."""
    yield "Delivery", "exactly once" if snapshot.delivers_once else "at least once"
    if snapshot.delivers_once:
        committed, aborted, last = (snapshot.gauges.get(name, 0.0) for name in TRANSACTIONS)
        when = f", the last at {_when(int(last * 1000), now)}" if last else ""
        yield "Transactions", f"{committed:,.0f} committed{when}; {aborted:,.0f} aborted"
    yield "Recognised repeats", f"{sum(book.dropped['repeated'] for book in snapshot.books.values()):,}"


def _peer(state: PeerState) -> tuple[Phrase, ...]:
    return (state.peer,), (state.state if state.is_fine else Strong(state.state),), _cell(state.detail)


def _cell(text: str) -> Phrase:
    return (text,) if text else ()


# --- streams ----------------------------------------------------------------------------------------------------------


def _per_second(rates: Rates) -> str:
    return f"per second, in the last {_duration(rates.seconds)}" if rates.seconds else "per second"


def _stream(name: str, book: Books, snapshot: Snapshot, rates: Rates, now: float) -> tuple[Phrase, ...]:
    rate = f"{rates.readings.get(name, 0.0):,.1f}" if rates.seconds else "-"
    waiting = book.in_flight + book.spooled
    age = _duration(snapshot.lags.get(name, 0.0)) if waiting else ""
    last = _when(book.last_reading_at, now) if book.last_reading_at else ""
    return (name,), (rate,), (f"{waiting:,}",), _cell(age), _cell(last), _cell(_last_dead_letter(book, now))


def _counters(snapshot: Snapshot) -> Iterable[Block]:
    rows = [
        ((name,), *((f"{book.counters[figure]:,}",) for figure in COUNTER_FIGURES))
        for name, book in snapshot.books.items()
        if book.counters
    ]
    if rows:
        yield Table("Counters", ("stream", *COUNTER_FIGURES), tuple(rows))


def _last_dead_letter(book: Books, now: float) -> str:
    if not book.last_dead_letter_at:
        return ""
    reason, at = max(book.last_dead_letter_at.items(), key=lambda one: one[1])
    return f"{reason}, {_when(at, now)}"


def _account(name: str, book: Books) -> tuple[Phrase, ...]:
    dead_letters, dropped = book.dead_lettered.total(), book.dropped.total()
    counts = (book.received, book.delivered, dead_letters, book.spooled, book.in_flight, dropped)
    return (name,), *((f"{count:,}",) for count in counts)


# --- spool ------------------------------------------------------------------------------------------------------------


def _spool(gauges: dict[str, float], rates: Rates) -> Iterable[tuple[str, Phrase]]:
    yield "Spool on disk", (_size(gauges.get("spool_disk_bytes", 0.0)),)
    if "spool_room_bytes" in gauges:
        room = gauges["spool_room_bytes"]
        yield "Free for the spool", (f"{_size(room)}{_survival(gauges, rates)}",)
    if "spool_memory_bytes" in gauges:
        yield "Spool in memory", (_size(gauges["spool_memory_bytes"]),)


def _survival(gauges: dict[str, float], rates: Rates) -> str:
    if not rates.seconds:
        return ""
    hours = hours_left(gauges, rates)
    if hours is None:
        return "; no readings arrive now"
    return f", enough for about {hours:,.1f} hours without Kafka at this rate"


# --- numbers for people -----------------------------------------------------------------------------------------------


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


def _when(at: int, now: float) -> str:
    return f"{_clock(at / 1000)}, {_duration(max(0.0, now - at / 1000))} ago"


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    for most, factor, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < most:
            return f"{seconds / factor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
