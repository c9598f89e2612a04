"""The status page and its blocks: what they tell, that outside text stays text, and what a browser makes of them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.ledger import Books
from gateway.core.reading import Reason
from gateway.observe.figures import Rates, Snapshot
from gateway.observe.peer_state import PeerState
from gateway.observe.status_page import VERDICTS, StatusPage, delivery, overview
from gateway.operate.top import write
from gateway.page import html
from gateway.page.blocks import Heading
from tests.operate.test_docs import HOSTILE, TAGS, Parsed, flat
from tests.stack.browser import Browser
from tests.stack.gateway import Gateway
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.page.blocks import Block
    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

NOW = 1_791_547_200.0
MS = int(NOW * 1000)


def status(peers: tuple[PeerState, ...] = (), book: Books | None = None, rates: Rates | None = None) -> list[Block]:
    """Blocks about one stream that has waited for ten minutes."""
    gauges = {"spool_disk_bytes": 3 * 2**20, "spool_room_bytes": 7_200_000.0, "spool_memory_bytes": 512.0}
    found = Snapshot({"doors": book or Books()}, {"doors": 600.0}, gauges)
    return overview(VERDICTS[not peers], peers, found, rates or Rates(30.0, {"doors": 2.5}, 1000.0), NOW)


def rows(blocks: list[Block]) -> list[list[str]]:
    """Cells of what a terminal shows."""
    return [re.split(r" {2,}|: ", line) for line in write(blocks).splitlines() if line]


def test_a_start_asks_no_peer_for_the_page() -> None:
    StatusPage("meters", lambda: pytest.fail("health"), lambda: pytest.fail("figures"), {"doors": Books()})


def test_stream_tells_rate_lag_and_what_came_last() -> None:
    book = Books(
        received=1_250, in_flight=50, spooled=1_000, delivered=190, dead_lettered=Counter({Reason.EMPTY: 10}),
        last_reading_at=MS - 4_000, last_dead_letter_at={Reason.EMPTY: MS - 90_000, Reason.NO_KEY: MS - 99_000},
    )  # fmt: skip
    found = rows(status(book=book))
    assert "per second, in the last 30 s" in found[1]
    last, dead_letter = "2026-10-09 11:59:56 UTC, 4 s ago", "empty, 2026-10-09 11:58:30 UTC, 90 s ago"
    assert found[2] == ["doors", "2.5", "1,050", "10 min", last, dead_letter]
    assert found[4] == ["doors", "1,250", "190", "10", "1,000", "50", "0"]
    assert found[5] == ["The ledger balances."]


def test_spool_tells_how_long_it_lasts() -> None:
    """7.2 MB at 1,000 bytes a second are two hours; an unknown rate gives no estimate."""
    text = write(status())
    assert "Spool on disk: 3.0 MiB" in text
    assert "Free for the spool: 6.9 MiB, enough for about 2.0 hours without Kafka at this rate" in text
    assert "no readings arrive now" in write(status(rates=Rates(30.0, {"doors": 0.0}, 0.0)))
    unknown = write(status(rates=Rates()))
    assert "hours" not in unknown
    assert "arrive" not in unknown


def test_delivery_tells_mode_transactions_and_repeats() -> None:
    book = {"doors": Books(dropped=Counter(repeated=1_200)), "meters": Books(dropped=Counter(repeated=34, retained=5))}
    once = {"transactions_committed": 5_000.0, "transactions_aborted": 2.0, "last_commit_at": NOW - 3}
    assert dict(delivery(Snapshot(book, {}, once), NOW)) == {
        "Delivery": "exactly once",
        "Transactions": "5,000 committed, the last at 2026-10-09 11:59:57 UTC, 3 s ago; 2 aborted",
        "Recognised repeats": "1,234",
    }
    assert dict(delivery(Snapshot(book), NOW))["Delivery"] == "at least once"
    assert "Delivery: at least once" in write(status())


def test_books_that_do_not_balance_stand_out() -> None:
    page = html.write_live(titled(status(book=Books(received=3))), (), 3).text
    assert "<strong>The ledger does NOT balance: 3 reading(s) are unaccounted for." in page


def titled(blocks: list[Block]) -> list[Block]:
    """With a title."""
    return [Heading(1, HOSTILE), *blocks]


def test_outside_text_stays_text() -> None:
    """A broker may answer what it likes: no tag, no attribute, nothing that a terminal would obey."""
    blocks = status((PeerState("factoryBroker", "down", HOSTILE),))
    page = html.write_live(titled(blocks), (), 3).text
    assert {tag for tag, _ in Parsed(page).tags} <= TAGS
    assert "<script>alert(1)</script>" in Parsed(page).text
    for text in (page, write(blocks)):
        assert "\x1b" not in text
        assert "\u202e" not in text


# --- in a browser, with a running gateway -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def cells(browser: Browser, stream: str) -> dict[str, str]:
    """A stream's cells in all tables, by their column's head."""
    found: Any = browser.ask(
        f"""Object.fromEntries([...document.querySelectorAll('tbody tr')]
            .filter(row => row.cells[0].innerText === {stream!r}).flatMap(row => [...row.cells])
            .filter(cell => cell.dataset.head).map(cell => [cell.dataset.head.split(',')[0], cell.innerText]))"""
    )
    return dict(found)


def test_browser_shows_what_happens(
    browser: Browser, away_kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """On a phone and on a desk, light and dark; with Kafka away the state is red and what waits grows, by itself."""
    broker = mosquitto()
    contract = Topics(away_kafka, tmp_path).contract
    with Gateway(servers(broker, away_kafka, registry), contract, spool={"after": "100ms"}) as gateway:
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish([("doors/secret-dock", b'{"state":"open"}')] * 5 + [("doors/d", b'{"state":7}')] * 2)
            gateway.wait_settled(7)
            address = f"http://127.0.0.1:{gateway.port}/"
            for width, scheme in ((360, "dark"), (1280, "light")):
                look_at(browser, address, width, scheme)
            doors = cells(browser, "receiveDoors")
            figures = [doors[head] for head in ("waiting", "received", "delivered", "dead letters")]
            assert figures == ["0", "7", "5", "2"]
            assert doors["last reading"].endswith(" ago")
            assert doors["last dead letter"].startswith("wrong_type, ")

            away_kafka.freeze()
            try:
                watch_an_outage(browser, publisher)
                loaded = browser.load(address, width=360)
                assert (loaded.complaints, set(loaded.requests)) == ([], {address})
            finally:
                away_kafka.thaw()
            gateway.wait_settled(57)
        wait_for_waiting(browser, "0")
        assert gateway.stop_and_read_ledger()["balanced"]


def look_at(browser: Browser, address: str, width: int, scheme: str) -> None:
    """Nothing is complained of, nothing else is asked for, nothing is cut off, and all is well."""
    loaded = browser.load(address, width=width, scheme=scheme)
    assert (loaded.complaints, set(loaded.requests)) == ([], {address})
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    is_dark = browser.ask("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert is_dark == (scheme == "dark")
    text = flat(browser.ask("document.body.innerText"))
    for shown in ("Running and ready.", "The ledger balances.", "kafka", "hours without Kafka at this rate"):
        assert shown in text
    assert "secret-dock" not in text
    assert browser.ask("document.querySelectorAll('strong').length + document.scripts.length") == 0


def watch_an_outage(browser: Browser, publisher: Publisher) -> None:
    """The page that is open is loaded anew by itself, and tells how it goes."""
    for count, waiting in ((20, "20"), (30, "50")):
        publisher.publish([("doors/d", b'{"state":"open"}')] * count)
        wait_for_waiting(browser, waiting)
    wait_for(lambda: "unreachable" in trouble(browser), 60, lambda: str(trouble(browser)))
    wait_for(lambda: VERDICTS[False] in trouble(browser), 30, "the verdict")
    color = "getComputedStyle(document.querySelector('strong') ?? document.body).color"
    wait_for(lambda: browser.ask(color) == "rgb(179, 20, 29)", 30, "red")
    wait_for(lambda: cells(browser, "receiveDoors").get("age of oldest"), 30, "the age of what waits")
    wait_for(lambda: "The ledger balances." in browser.ask("document.body?.innerText ?? ''"), 30, "the books")


def wait_for_waiting(browser: Browser, waiting: str) -> None:
    """Wait until the open page says so."""
    found: dict[str, str] = {}

    def is_shown() -> bool:
        found.update(cells(browser, "receiveDoors"))
        return found.get("waiting") == waiting

    wait_for(is_shown, 60, lambda: f"{waiting} waiting: {found} {trouble(browser)}")


def trouble(browser: Browser) -> list[str]:
    """What stands out."""
    return list(browser.ask("[...document.querySelectorAll('strong')].map(one => one.innerText)"))
