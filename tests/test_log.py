"""One event is one line, whatever stands in it, and however often it happens."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.log import Conditions, JsonFormatter, LineHandler, RateLimit, TextFormatter, configure
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.log import Format

INJECTIONS = [
    "two\nlines",
    "two\r\nlines",
    "return\rto the start",
    "2026-01-05T06:00:00.123Z ERROR kafka: forged",
    "\n2026-01-05T06:00:00.123Z ERROR kafka: forged",
    '{"level": "error"}',
    '"}\n{"level": "error", "message": "forged"}',
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "nul\0byte",
    "backspace\x08\x08\x08",
    "del\x7f",
    "next line\x85",
    "vertical\x0btab\x0cfeed",
    "separators\x1c\x1d\x1e",
    "line\u2028separator",
    "paragraph\u2029separator",
    "right\u202eto left",
    "isolate\u2066\u2069",
    "mark\u200f",
    "zero\u200bwidth\ufeff",
    "lone \ud800 surrogate",
    "lone \udcff surrogate",
    "noncharacter \uffff",
    "private \ue000",
    "tag \U000e0041",
    "%s %d %(name)s",
    "{0} {name}",
    "x" * 1_000_000,
    "é" * 300,
    "",
    " ",
    "a=b c=d",
    'quote"s and back\\slashes',
]
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Log:
    """A logger of its own that writes to memory."""

    def __init__(self, formatter: logging.Formatter, stream: io.TextIOBase | None = None, capacity: int = 256) -> None:
        self.clock = Clock()
        self.stream = stream or io.StringIO()
        self.handler = LineHandler(self.stream, formatter, RateLimit(10.0, self.clock, capacity))  # type: ignore[arg-type]  # TextIO is a protocol by name only
        self.logger = logging.Logger("gateway.test", logging.DEBUG)  # noqa: LOG001  (not shared with other tests)
        self.logger.addHandler(self.handler)

    @property
    def text(self) -> str:
        """All that was written."""
        assert isinstance(self.stream, io.StringIO)
        return self.stream.getvalue()

    @property
    def lines(self) -> list[str]:
        """The lines, split at newlines alone."""
        return self.text.split("\n")[:-1]


@pytest.fixture
def text_log() -> Log:
    return Log(TextFormatter())


@pytest.fixture
def json_log() -> Log:
    return Log(JsonFormatter())


@pytest.fixture
def root_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("gateway")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)
    ours.setLevel(our_level)
    logging.captureWarnings(capture=False)


def make_record(message: str = "connected", **fields: object) -> logging.LogRecord:
    record = logging.makeLogRecord(
        {"name": "gateway.mqtt", "levelname": "INFO", "levelno": 20, "msg": message, **fields}
    )
    record.created = 1767592800.123
    return record


# --- the two formats -------------------------------------------------------------------------------------------------


def test_text_line() -> None:
    line = TextFormatter().format(make_record(server="factoryBroker", attempt=2, after=0.5, kept=True, last=None))
    fields = "server=factoryBroker attempt=2 after=0.5 kept=true last=null"
    assert line == f"2026-01-05T06:00:00.123Z INFO mqtt: connected {fields}"


def test_json_line() -> None:
    line = JsonFormatter().format(make_record(server="factoryBroker", attempt=2, level="mine"))
    assert line.startswith(
        '{"time": "2026-01-05T06:00:00.123Z", "level": "info", "logger": "mqtt", "message": "connected"'
    )
    assert json.loads(line)["server"] == "factoryBroker"
    assert (json.loads(line)["level"], json.loads(line)["level_"]) == ("info", "mine")


def test_text_values_that_are_not_one_word_are_quoted() -> None:
    line = TextFormatter().format(make_record(a="b c", b="", c='d"e', d="f=g", e="h\\i"))
    assert line.endswith(r'a="b c" b="" c="d\"e" d="f=g" e="h\\i"')


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_every_injection_is_one_line(formatter: logging.Formatter) -> None:
    """As message, as argument, as field and as field of the identity: one event, one line, nothing unseen in it."""
    log = Log(formatter)
    for number, injection in enumerate(INJECTIONS):
        log.logger.info(f"{number} {injection}")  # noqa: G004  (what careless code does)
        log.logger.info(f"{number} %s", injection)  # noqa: G004  (each its own event)
        log.logger.info(f"{number} bytes %s", injection.encode("utf-8", "surrogatepass"))  # noqa: G004  (as above)
        log.logger.info("field", extra={"topic": injection, "stream": str(number)})
        log.logger.info("identity", extra={"reason": f"{number}{injection}"})
    assert len(log.lines) == 5 * len(INJECTIONS)
    assert [line for line in log.lines if UNSEEN.search(line) or len(line.splitlines()) != 1] == []
    log.text.encode()
    assert max(map(len, log.lines)) < 2_500


def test_json_keeps_what_was_said() -> None:
    """A JSON reader gets the injected text back, but for half surrogates and what was cut."""
    log = Log(JsonFormatter())
    for number, injection in enumerate(INJECTIONS):
        log.logger.info("field", extra={"topic": injection, "stream": str(number)})
    for injection, line in zip(INJECTIONS, log.lines, strict=True):
        if len(injection) < 100 and not re.search("[\ud800-\udfff]", injection):
            assert json.loads(line)["topic"] == injection
        assert json.loads(line)["level"] == "info"


def test_text_fields_cannot_be_forged(text_log: Log) -> None:
    text_log.logger.info("refused", extra={"topic": 'a" reason="b'})
    assert text_log.lines[0].endswith(r'refused topic="a\" reason=\"b"')


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 1 << 9_999, object(), b"\xff", {"a": "\n"}, [1], 2**63],
    ids=lambda value: type(value).__name__,
)
def test_json_of_odd_values_can_be_read(json_log: Log, value: object) -> None:
    json_log.logger.info("odd", extra={"value": value})
    json.loads(json_log.lines[0], parse_constant=pytest.fail)


class Unprintable:
    """An object that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value", [Unprintable()])
def test_value_that_cannot_be_printed_is_named(text_log: Log, value: object) -> None:
    text_log.logger.info("odd", extra={"value": value})
    text_log.logger.info("argument %s", value)
    assert text_log.lines[0].endswith("odd value=<Unprintable>")
    assert text_log.lines[1].endswith("argument %s")


def test_wrong_template_is_still_an_event(text_log: Log) -> None:
    text_log.logger.info("%d records", "many")
    assert text_log.lines[0].endswith("%d records")


def test_exception_is_one_line_with_its_trace(text_log: Log) -> None:
    try:
        int("x\ny")
    except ValueError:
        text_log.logger.exception("failed")
    [line] = text_log.lines
    assert 'failed exception="ValueError: invalid literal for int() with base 10:' in line
    assert re.search(r'trace="test_log.py:\d+ test_exception_is_one_line_with_its_trace"$', line)


def test_cut_keeps_256_bytes_and_tells_the_length() -> None:
    assert cut("a" * 256) == "a" * 256
    assert cut("a" * 257) == "a" * 256 + "… (257 bytes)"
    assert cut("é" * 129) == "é" * 128 + "… (258 bytes)"
    assert cut("a" + "é" * 128) == "a" + "é" * 127 + "… (257 bytes)"
    assert cut(b"\xff" + b"a" * 300).endswith("… (301 bytes)")
    assert cut("\ud800" * 200).endswith("… (600 bytes)")


def test_printable_leaves_readable_text_alone() -> None:
    assert printable("Öl 21.5 °C 油 🙂") == "Öl 21.5 °C 油 🙂"
    assert printable("a\x1b[31m\n\U000e0041") == r"a\u001b[31m\n\U000e0041"


# --- the rate limit --------------------------------------------------------------------------------------------------


def test_rate_limit_of_ten_thousand_events(text_log: Log) -> None:
    """10,000 equal events in 20 seconds are three lines, and the counts add up."""
    for _ in range(10_000):
        text_log.logger.warning("reading refused", extra={"reason": "not_json"})
        text_log.clock.now += 0.002
    text_log.handler.close()
    counts = [int(match[1]) for line in text_log.lines if (match := re.search(r"suppressed=(\d+)", line))]
    assert len(text_log.lines) == 3
    assert len(text_log.lines) + sum(counts) == 10_000


def test_rate_limit_reports_the_count_on_the_next_line(text_log: Log) -> None:
    for _ in range(4):
        text_log.logger.warning("lost")
    text_log.clock.now += 10.0
    text_log.logger.warning("lost")
    text_log.handler.close()
    assert [line.partition("test: ")[2] for line in text_log.lines] == ["lost", "lost suppressed=3"]


def test_rate_limit_tells_events_apart(text_log: Log) -> None:
    """Another level, template, server or reason is another event; other fields and arguments are not."""
    text_log.logger.info("connected", extra={"server": "a"})
    text_log.logger.info("connected", extra={"server": "b"})
    text_log.logger.warning("connected", extra={"server": "a"})
    text_log.logger.info("connected to %s", "x")
    assert len(text_log.lines) == 4
    text_log.logger.info("connected to %s", "y")
    text_log.logger.info("connected", extra={"server": "a", "attempt": 2})
    assert len(text_log.lines) == 4


def test_rate_limit_hides_no_second_cause(text_log: Log) -> None:
    """A link that is down for another cause is news at once; what differs for each of a device's messages is not."""
    for detail in ("connection refused", "connection refused", "not authorised"):
        text_log.logger.warning("down", extra={"server": "a", "detail": detail})
    for number in range(3):
        text_log.logger.warning("not continuous", extra={"key": f"k{number}", "detail": f"{number} readings missing"})
    assert [line.partition("detail=")[2] for line in text_log.lines] == [
        '"connection refused"', '"not authorised"', '"0 readings missing"'
    ]  # fmt: skip


def test_rate_limit_forgets_the_oldest_and_tells_its_count() -> None:
    log = Log(TextFormatter(), capacity=2)
    for message in ("a", "a", "a", "b", "c"):
        log.logger.info(message)
    log.handler.close()
    assert [line.partition("test: ")[2] for line in log.lines] == ["a", "b", "a suppressed=1", "c"]


def test_rate_limit_writes_the_last_event_when_its_interval_is_over() -> None:
    """Though no other line comes: that a broker is connected again is news, though it was so a moment ago."""
    log = Log(TextFormatter())
    for message in ("connected", "lost", "connected", "lost", "connected"):
        log.logger.info(message)
    log.clock.now += 10.0
    log.handler.write_due()
    log.logger.info("other")
    log.handler.close()
    texts = [line.partition("test: ")[2] for line in log.lines]
    assert texts == ["connected", "lost", "connected suppressed=1", "lost", "other"]


def test_rate_limit_holds_no_debug_line_back(text_log: Log) -> None:
    """Librdkafka writes all of its lines with one template."""
    for text in ("connecting", "connected", "connected"):
        text_log.logger.debug("%s [%s]", text, "broker 1")
    text_log.handler.close()
    assert [line.partition("test: ")[2] for line in text_log.lines] == [
        "connecting [broker 1]", "connected [broker 1]", "connected [broker 1]"
    ]  # fmt: skip


def test_rate_limit_counts_across_threads(text_log: Log) -> None:
    def many() -> None:
        for _ in range(1_000):
            text_log.logger.info("event")

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text_log.handler.close()
    assert [line.partition("test: ")[2] for line in text_log.lines] == ["event", "event suppressed=3998"]


# --- configure -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("root_restored")
@pytest.mark.parametrize("kind", ["text", "json"])
def test_configure_sends_everything_to_the_stream_once(kind: Format) -> None:
    stream = io.StringIO()
    configure("info", kind, io.StringIO())
    configure("info", kind, stream)
    logging.getLogger("gateway.mqtt").info("connected")
    logging.getLogger("gateway.mqtt").debug("not shown")
    logging.getLogger("paho").info("not shown either")
    logging.getLogger("paho").warning("shown")
    warnings.warn("shown\ntoo", stacklevel=1)
    assert len(stream.getvalue().splitlines()) == 3


@pytest.mark.usefixtures("root_restored")
@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_command_in_a_line_names_the_gateway_yaml_of_the_process(kind: Format) -> None:
    stream = io.StringIO()
    configure("info", kind, stream, Path("/etc/my gateway.yaml"))
    logging.getLogger("gateway.kafka").info("x", extra={"detail": "run `gateway topics apply -c FILE`"})
    assert "gateway topics apply -c '/etc/my gateway.yaml'`" in stream.getvalue()


@pytest.mark.usefixtures("root_restored")
def test_configure_again_tells_what_was_held_back() -> None:
    first = io.StringIO()
    configure("debug", "text", first)
    for _ in range(3):
        logging.getLogger("gateway.mqtt").info("event")
    configure("debug", "text", io.StringIO())
    assert first.getvalue().splitlines()[1].endswith("INFO mqtt: event suppressed=1")


def test_stream_that_is_not_utf8_gets_escapes() -> None:
    raw = io.BytesIO()
    log = Log(TextFormatter(), io.TextIOWrapper(raw, encoding="ascii"))
    log.logger.info("Öl")
    assert raw.getvalue().endswith(b"test: \\xd6l\n")


def test_stream_that_is_closed_stops_nothing() -> None:
    stream = io.StringIO()
    log = Log(TextFormatter(), stream)
    stream.close()
    log.logger.info("event")
    log.handler.close()


# --- conditions ------------------------------------------------------------------------------------------------------


def test_condition_begins_once_until_it_ends() -> None:
    conditions = Conditions()
    assert [conditions.begins(text) for text in ("unreachable", "unreachable", "refused", "unreachable")] == [
        True, False, True, False
    ]  # fmt: skip
    conditions.end()
    assert conditions.begins("unreachable")


def test_condition_that_lasts_does_not_begin_again() -> None:
    conditions = Conditions()
    conditions.begins("unreachable")
    conditions.begins("refused")
    conditions.end(but=["refused"])
    assert (conditions.begins("unreachable"), conditions.begins("refused")) == (True, False)
