"""Logging: one event, one line, as text for people or as JSON for machines; configured once, by the service.

Modules log through the standard library and need nothing from here:

    log = logging.getLogger(__name__)
    log.info("connected", extra={"server": "factoryBroker"})

    2026-01-05T06:00:00.123Z INFO mqtt: connected server=factoryBroker
    {"time": "2026-01-05T06:00:00.123Z", "level": "info", "logger": "mqtt", "message": "connected", "server": ...}

What this file decides:

- Whatever stands in `extra` is a field. structlog lost: a second logging system beside the one that the client
  libraries already speak.
- Topics, client ids and broker answers come from outside. Characters that move a cursor, end a line, turn the
  direction of writing or cannot be encoded are escaped, in both formats; text and bytes are cut at 256 bytes, the
  whole message at 1,024. One event is one line whatever a device sends.
- An exception is fields too: `exception` and `trace`, innermost call last. No traceback over several lines.
- A bad sensor may fail ten thousand times a second. The same event is written once in ten seconds, then with
  `suppressed=9999`; lines plus the sum of `suppressed` is the number of events, at the latest when the log is closed.
  Two events are the same when logger, level, message template and the fields of `IDENTITY` are: their values come from
  the contract, so that the table stays small and one broker's event never hides another's. At DEBUG every line is
  written: the gateway has none of its own there, and who asks librdkafka what it does wants the answer.
- Other libraries' lines are shown from WARNING on: paho at DEBUG would print user names and payloads.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import traceback
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Callable

MAXIMUM_MESSAGE_BYTES: Final = 1_024
MAXIMUM_FRAMES: Final = 8
IDENTITY: Final = ("server", "stream", "reason", "peer", "state")

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]
Scalar = str | int | float | bool | None

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OWN_KEYS = frozenset({"time", "level", "logger", "message"})


def configure(level: Level, format: Format, stream: TextIO | None = None) -> None:  # noqa: A002  (the setting's name)
    """Send every log line of the process to one stream, and nothing anywhere else.

    Args:
        level: of the gateway's own loggers.
        format: text or JSON.
        stream: where lines go; standard error by default.
    """
    root = logging.getLogger()
    for former in root.handlers[:]:
        root.removeHandler(former)
        former.close()
    root.addHandler(LineHandler(stream or sys.stderr, TextFormatter() if format == "text" else JsonFormatter()))
    root.setLevel(logging.WARNING)
    logging.getLogger("gateway").setLevel(level.upper())
    logging.captureWarnings(capture=True)


@dataclass(slots=True)
class _Window:
    """What is known of one event: when it was last written, and what was held back since."""

    written_at: float
    held_back: int = 0
    latest: logging.LogRecord | None = None


class RateLimit(logging.Filter):
    """Lets the same event through once in `interval_seconds` and counts the others.

    Args:
        interval_seconds: how long an event stays silent after it was written.
        clock: seconds that never go back.
        capacity: how many different events are remembered.
    """

    def __init__(
        self, interval_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic, capacity: int = 256
    ) -> None:
        super().__init__()
        self._interval = interval_seconds
        self._clock = clock
        self._capacity = capacity
        self._windows: OrderedDict[tuple[object, ...], _Window] = OrderedDict()
        self._evicted: list[_Window] = []
        self._lock = threading.Lock()  # handlers call filters before they take their own lock

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is written; if so it carries how many were not, as `suppressed`."""
        if record.levelno <= logging.DEBUG:
            return True
        with self._lock:
            key, now = _identity(record), self._clock()
            window = self._windows.get(key)
            if window is not None and now - window.written_at < self._interval:
                window.held_back += 1
                window.latest = record
                return False
            if window is not None and window.held_back:
                record.suppressed = window.held_back
            self._windows[key] = _Window(now)
            self._windows.move_to_end(key)
            if len(self._windows) > self._capacity:
                self._evicted.append(self._windows.popitem(last=False)[1])
            return True

    def evicted(self) -> list[logging.LogRecord]:
        """Take the last record of each event that had to be forgotten, with its count."""
        with self._lock:
            windows, self._evicted = self._evicted, []
        return _last_records(windows)

    def drain(self) -> list[logging.LogRecord]:
        """Take the last record of each event that was held back, with its count: for the end of the log."""
        with self._lock:
            windows = [*self._evicted, *self._windows.values()]
            self._evicted = []
            self._windows.clear()
        return _last_records(windows)


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes one line an event to a stream that it does not own."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter, rate_limit: RateLimit | None = None) -> None:
        super().__init__(stream)
        self.rate_limit = rate_limit or RateLimit()
        self.setFormatter(formatter)
        self.addFilter(self.rate_limit)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, after those that the rate limit had to forget."""
        for forgotten in self.rate_limit.evicted():
            self._write(forgotten)
        self._write(record)

    def close(self) -> None:
        """Write what was held back; the stream stays open."""
        with self.lock or threading.RLock():
            for record in self.rate_limit.drain():
                self._write(record)
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            encoding = getattr(self.stream, "encoding", None) or "utf-8"
            self.stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            self.flush()
        except Exception:  # noqa: BLE001, S110  (a full disk or a closed pipe must not stop readings; no place to tell it)
            pass


class TextFormatter(logging.Formatter):
    """`2026-01-05T06:00:00.123Z INFO mqtt: connected server=factoryBroker`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line for people."""
        fields = "".join(f" {printable(key)}={_text_value(value)}" for key, value in _fields(record).items())
        return f"{_time(record)} {record.levelname} {_logger(record)}: {printable(_message(record))}{fields}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line, ASCII only, so that no reader trips over what it may hold."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line for machines."""
        told: dict[str, Scalar] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": _logger(record),
            "message": _encodable(_message(record)),
        }
        for key, value in _fields(record).items():
            name = f"{key}_" if key in _OWN_KEYS else key
            told[_encodable(name)] = _encodable(value) if isinstance(value, str) else value
        return json.dumps(told).replace("\x7f", "\\u007f")  # DEL is the one control character JSON lets stand


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _text_value(value: Scalar) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if value and not any(character in value for character in ' "=\\') and printable(value) == value:
        return value
    return '"' + printable(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _logger(record: logging.LogRecord) -> str:
    return printable(record.name.removeprefix("gateway.").partition(".")[0])


def _message(record: logging.LogRecord) -> str:
    template = str(record.msg)
    try:
        text = template % _cut_arguments(record.args) if record.args else template
    except Exception:  # noqa: BLE001  (a wrong template is our fault; the event is told all the same)
        text = template
    return cut(text, MAXIMUM_MESSAGE_BYTES)


def _cut_arguments(arguments: Any) -> Any:
    if isinstance(arguments, dict):
        return {key: _cut_argument(value) for key, value in arguments.items()}
    return tuple(map(_cut_argument, arguments))


def _cut_argument(value: Any) -> Any:
    return cut(value) if isinstance(value, str | bytes) else value


def _fields(record: logging.LogRecord) -> dict[str, Scalar]:
    fields = {key: _scalar(value) for key, value in vars(record).items() if key not in _STANDARD}
    if record.exc_info and record.exc_info[1] is not None:
        fields |= _exception(record.exc_info[1])
    return fields


def _exception(error: BaseException) -> dict[str, Scalar]:
    frames = traceback.extract_tb(error.__traceback__)[-MAXIMUM_FRAMES:]
    trace = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    return {"exception": f"{type(error).__name__}: {_scalar(error)}", "trace": trace}


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and type(value) is int:
        return value if value.bit_length() <= 64 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, float) and value - value == 0:  # neither infinite nor NaN, which JSON cannot say
        return value
    if isinstance(value, str | bytes):
        return cut(value)
    try:
        return cut(str(value))
    except Exception:  # noqa: BLE001  (some object's own __str__)
        return f"<{type(value).__name__}>"


def _identity(record: logging.LogRecord) -> tuple[object, ...]:
    return (record.name, record.levelno, str(record.msg), *(str(getattr(record, key, "")) for key in IDENTITY))


def _last_records(windows: list[_Window]) -> list[logging.LogRecord]:
    records = []
    for window in windows:
        if window.latest is not None:
            if window.held_back > 1:
                window.latest.suppressed = window.held_back - 1  # the record itself is one of them
            records.append(window.latest)
    return records
