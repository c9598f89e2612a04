"""How a gateway does, as blocks that a browser and a terminal both show: peers, streams, books, spool.

`StatusPage` is what `/` of a running gateway answers: HTML without a script, made when somebody asks, and loaded anew
by the browser every few seconds. A script that polls lost. It would be nicer to the eye, but needs a second description
of the page, a format between the two, and a Content-Security-Policy that lets a script run and ask; a page that is made
whole each time works wherever a link works. Its price: text that was marked is no longer marked after a few seconds,
and once the gateway is stopped the browser says so in its own words.

What stands out (`Strong`) is in trouble.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from gateway.observe.figures import Rates, RateTracker, Snapshot, figures, settled
from gateway.page import html
from gateway.page.blocks import Block, Facts, Heading, Link, Paragraph, Phrase, Strong, Table
from gateway.page.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import Metric

    from gateway.core.ledger import Books
    from gateway.observe.peer_state import Health, PeerState

REFRESH_SECONDS: Final = 3
KEPT_SECONDS: Final = 1.0  # a page serves all who ask within it
PAUSE_SECONDS: Final = 0.02
VERDICTS: Final = {
    True: "Running and ready.",
    False: "Running, not ready: readings may wait. See the next steps.",
}
_LINKS: Final = (
    Link("contract", "/docs"),
    Link("metrics", "/metrics"),
    Link("readyz", "/readyz"),
    Link("livez", "/livez"),
)


class StatusPage:
    """Makes the page; one call at a time.

    Args:
        title: of the contract.
        health: judges the gateway.
        collect: gives its metrics.
    """

    def __init__(self, title: str, health: Callable[[], Health], collect: Callable[[], Iterable[Metric]]) -> None:
        self._title = title
        self._health = health
        self._collect = collect
        self._pace = RateTracker()
        self._pace(self._look(), time.monotonic())  # so that the first page has rates
        self._page = Page("", html.STYLE_SOURCE)
        self._made_at = float("-inf")

    def __call__(self) -> Page:
        """Make the page of this moment."""
        if time.monotonic() - self._made_at > KEPT_SECONDS:
            health, found = self._health(), settled(self._look, PAUSE_SECONDS)
            self._made_at = time.monotonic()
            told = overview(VERDICTS[health.ready], health.states, found, self._pace(found, self._made_at), time.time())
            blocks = [Heading(1, self._title), *told]
            self._page = Page(html.write_live(blocks, _LINKS, REFRESH_SECONDS), html.STYLE_SOURCE)
        return self._page

    def _look(self) -> Snapshot:
        return figures(self._collect())


def overview(told: str, peers: Sequence[PeerState], found: Snapshot, rates: Rates, now: float) -> list[Block]:
    """Tell how a gateway does.

    Args:
        told: the verdict, one of VERDICTS when the gateway runs.
        peers: their states, as `/readyz` has them.
        found: the figures.
        rates: up to now.
        now: seconds since 1970.
    """
    verdict = told if told == VERDICTS[True] else Strong(told)
    return [
        Paragraph((verdict, f" As of {_clock(now)}.")),
        Table("Peers", ("peer", "state", "next step"), tuple(map(_peer, peers))),
        Table(
            "Streams",
            ("stream", _per_second(rates), "waiting", "oldest waits for", "last reading", "last dead letter"),
            tuple(_stream(name, book, found, rates, now) for name, book in found.books.items()),
        ),
        Table("Books, in readings", ("stream", *_ACCOUNTS), tuple(_account(*one) for one in found.books.items())),
        Paragraph((Strong(balance(found)) if found.missing else balance(found),)),
        Facts(tuple(_spool(found.gauges, rates))),
    ]


def balance(found: Snapshot) -> str:
    """Say whether the books balance."""
    if not found.missing:
        return "The books balance."
    return f"The books do NOT balance: {found.missing} reading(s) unexplained. Please report this with the log."


def _peer(state: PeerState) -> tuple[Phrase, ...]:
    return (state.peer,), (state.state if state.state == "ok" else Strong(state.state),), _shown(state.detail)


def _shown(text: str) -> Phrase:
    return (text,) if text else ()


# --- streams ----------------------------------------------------------------------------------------------------------


def _per_second(rates: Rates) -> str:
    return f"per second, in the last {_duration(rates.seconds)}" if rates.seconds else "per second"


def _stream(name: str, book: Books, found: Snapshot, rates: Rates, now: float) -> tuple[Phrase, ...]:
    rate = f"{rates.readings.get(name, 0.0):,.1f}" if rates.seconds else "-"
    waiting = book.in_flight + book.spooled
    age = _duration(found.lags.get(name, 0.0)) if waiting else ""
    last = _when(book.last_reading_at, now) if book.last_reading_at else ""
    return (name,), (rate,), (f"{waiting:,}",), _shown(age), _shown(last), _shown(_last_letter(book, now))


def _last_letter(book: Books, now: float) -> str:
    if not book.last_dead_letter_at:
        return ""
    reason, at = max(book.last_dead_letter_at.items(), key=lambda one: one[1])
    return f"{reason}, {_when(at, now)}"


_ACCOUNTS = ("received", "delivered", "dead letters", "on disk", "in flight", "dropped")


def _account(name: str, book: Books) -> tuple[Phrase, ...]:
    letters, dropped = book.dead_lettered, book.dropped
    counts = (book.received, book.delivered, letters.total(), book.spooled, book.in_flight, dropped.total())
    return (name,), *((f"{count:,}",) for count in counts)


# --- spool ------------------------------------------------------------------------------------------------------------


def _spool(gauges: dict[str, float], rates: Rates) -> Iterable[tuple[str, Phrase]]:
    yield "Spool on disk", (_size(gauges.get("spool_disk_bytes", 0.0)),)
    if "spool_room_bytes" in gauges:
        yield "It may grow by", (f"{_size(gauges['spool_room_bytes'])}{_survival(gauges['spool_room_bytes'], rates)}",)
    if "spool_memory_bytes" in gauges:
        yield "Spool in memory", (_size(gauges["spool_memory_bytes"]),)


def _survival(room: float, rates: Rates) -> str:
    if not rates.seconds:
        return ""
    if not rates.disk_bytes:
        return ": nothing comes now"
    return f": without Kafka about {room / rates.disk_bytes / 3600:,.1f} hours at this rate"


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
