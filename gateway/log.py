"""Logging: one event is one line, as text for people or as JSON for machines.

Modules log through the standard library:

    log = logging.getLogger(__name__)
    log.info("Connected to the MQTT broker.", extra={"server": "factoryBroker"})

    2026-01-05T06:00:00.123Z INFO mqtt: Connected to the MQTT broker. server=factoryBroker
    {"time": "2026-01-05T06:00:00.123Z", "level": "info", "logger": "mqtt", "message": "Connected to the MQTT broker.",
     "server": ...}

Rules:

- Every member of `extra` becomes a field. structlog was rejected: it would be a second logging system beside the one
  that the client libraries use.
- Topics, client ids and broker answers come from outside. In both formats, characters that move a cursor, end a line,
  change the writing direction or cannot be encoded are escaped. Values are cut at 256 bytes, messages at 1,024.
- An exception becomes the fields `exception` and `trace`, innermost call last. No traceback spans several lines.
- Lines of other libraries are shown from WARNING on: paho at DEBUG would print user names and payloads.

This module alone decides which events are repeated:

- `RateLimit` writes the same event once in ten seconds: a bad sensor may fail ten thousand times a second. The next
  line carries `suppressed=9999`; if none comes, the last event is written then (`write_due`). Once the log is closed,
  the number of lines plus the sum of `suppressed` is the number of events. Two events are the same if logger, level,
  message template and the fields of `IDENTITY` are equal. So an event of one broker never hides one of another, and one
  cause (`detail`) of a broken link never the next. The `detail` of an event that names a `key` does not count, because
  devices send as many keys as they like. DEBUG is never rate-limited: it is only used to read the output of librdkafka.
- `Conditions` is for states that last for hours, such as an unreachable peer: each is logged once, when it begins.
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

from gateway.text import cut, printable, with_config

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

MAXIMUM_MESSAGE_BYTES: Final = 1_024
MAXIMUM_FRAMES: Final = 8
IDENTITY: Final = ("server", "stream", "reason", "peer", "state", "detail")

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]
Scalar = str | int | float | bool | None

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OWN_KEYS = frozenset({"time", "level", "logger", "message"})


def configure(
    level: Level,
    format: Format,  # noqa: A002 - the setting's name
    stream: TextIO | None = None,
    config: Path | None = None,
) -> None:
    """Send every log line to one stream, standard error by default; the level is that of the gateway's own loggers.

    Commands that a line quotes get the name of `config`, the gateway.yaml of this process.
    """
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(LineHandler(stream or sys.stderr, (TextFormatter if format == "text" else JsonFormatter)(config)))
    root.setLevel(logging.WARNING)
    logging.getLogger("gateway").setLevel(level.upper())
    logging.captureWarnings(capture=True)


def write_due() -> None:
    """Write the events that the rate limit has held back long enough, though no other comes."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            handler.write_due()


class Conditions:
    """Conditions that are present now; each is logged when it begins, and again only after it has ended."""

    def __init__(self) -> None:
        self._present: set[str] = set()

    def begins(self, condition: str) -> bool:
        """Note a condition; true if it was not present."""
        if condition in self._present:
            return False
        self._present.add(condition)
        return True

    def end(self, but: Collection[str] = ()) -> None:
        """End all conditions except those in `but`."""
        self._present.intersection_update(but)


@dataclass(slots=True)
class _Window:
    """The state of one event: when it was last written, and what was suppressed since."""

    written_at: float
    suppressed: int = 0
    latest: logging.LogRecord | None = None

    def last_record(self) -> logging.LogRecord | None:
        """The last suppressed record, with the number of suppressed records before it."""
        if self.latest and self.suppressed > 1:
            self.latest.suppressed = self.suppressed - 1
        return self.latest


class RateLimit(logging.Filter):
    """Passes the same event once in an interval and counts the others; it remembers `capacity` different events."""

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
        """Decide whether the record is written; if so, `suppressed` says how many were not."""
        if record.levelno <= logging.DEBUG:
            return True
        with self._lock:
            key, now = _identity(record), self._clock()
            window = self._windows.get(key)
            if window is not None and now - window.written_at < self._interval:
                window.suppressed += 1
                window.latest = record
                return False
            if window is not None and window.suppressed:
                record.suppressed = window.suppressed
            self._windows[key] = _Window(now)
            self._windows.move_to_end(key)
            if len(self._windows) > self._capacity:
                self._evicted.append(self._windows.popitem(last=False)[1])
            return True

    def due(self) -> list[logging.LogRecord]:
        """Remove and return the last suppressed record of each event that was evicted or is over, with its count."""
        with self._lock:
            is_over = self._clock() - self._interval
            over = [key for key, each in self._windows.items() if each.latest and each.written_at <= is_over]
            windows, self._evicted = [*self._evicted, *map(self._windows.pop, over)], []
        return [record for window in windows if (record := window.last_record())]

    def drain(self) -> list[logging.LogRecord]:
        """Remove and return the last suppressed record of each event, with its count, before the log is closed."""
        with self._lock:
            self._evicted += self._windows.values()
            self._windows.clear()
        return self.due()


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes one line per event to a stream that it does not own."""

    def __init__(self, stream: TextIO, formatter: logging.Formatter, rate_limit: RateLimit | None = None) -> None:
        super().__init__(stream)
        self.rate_limit = rate_limit or RateLimit()
        self.setFormatter(formatter)
        self.addFilter(self.rate_limit)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, after those that the rate limit has held back long enough."""
        self.write_due()
        self._write(record)

    def write_due(self) -> None:
        """Write the records that the rate limit has held back long enough."""
        with self.lock or threading.RLock():
            for record in self.rate_limit.due():
                self._write(record)

    def close(self) -> None:
        """Write the suppressed records; the stream stays open."""
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
        except Exception:  # noqa: BLE001, S110 - a full disk or a closed pipe must not stop readings
            pass


class _Formatter(logging.Formatter):
    def __init__(self, config: Path | None = None) -> None:
        super().__init__()
        self._config = config

    def fields(self, record: logging.LogRecord) -> dict[str, Scalar]:
        """The fields of a record; commands in them are complete."""
        fields = {key: _scalar(value) for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= _exception(record.exc_info[1])
        return {
            key: with_config(value, self._config) if isinstance(value, str) else value for key, value in fields.items()
        }


class TextFormatter(_Formatter):
    """`2026-01-05T06:00:00.123Z INFO mqtt: Connected to the MQTT broker. server=factoryBroker`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as one line of text."""
        fields = "".join(f" {printable(key)}={_text_value(value)}" for key, value in self.fields(record).items())
        return f"{_time(record)} {record.levelname} {_logger(record)}: {printable(_message(record))}{fields}"


class JsonFormatter(_Formatter):
    """One JSON object per line, ASCII only, so that every reader can decode it."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as one line of JSON."""
        line: dict[str, Scalar] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": _logger(record),
            "message": _encodable(_message(record)),
        }
        for key, value in self.fields(record).items():
            name = f"{key}_" if key in _OWN_KEYS else key
            line[_encodable(name)] = _encodable(value) if isinstance(value, str) else value
        return json.dumps(line).replace("\x7f", "\\u007f")  # the one control character that JSON does not escape


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
    package, _, module = record.name.partition(".")
    return printable(module.partition(".")[0] if package == "gateway" and module else record.name)


def _message(record: logging.LogRecord) -> str:
    template = str(record.msg)
    try:
        text = template % _cut_arguments(record.args) if record.args else template
    except Exception:  # noqa: BLE001 - a wrong template is our defect; the event is written all the same
        text = template
    return cut(text, MAXIMUM_MESSAGE_BYTES)


def _cut_arguments(arguments: Any) -> Any:
    if isinstance(arguments, dict):
        return {key: _cut_argument(value) for key, value in arguments.items()}
    return tuple(map(_cut_argument, arguments))


def _cut_argument(value: Any) -> Any:
    return cut(value) if isinstance(value, str | bytes) else value


def _exception(error: BaseException) -> dict[str, Scalar]:
    frames = traceback.extract_tb(error.__traceback__)[-MAXIMUM_FRAMES:]
    trace = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    return {"exception": f"{type(error).__name__}: {_scalar(error)}", "trace": trace}


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and type(value) is int:
        return value if value.bit_length() <= 64 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, float) and value - value == 0:  # neither infinite nor NaN, which JSON does not have
        return value
    if isinstance(value, str | bytes):
        return cut(value)
    try:
        return cut(str(value))
    except Exception:  # noqa: BLE001 - the object's own __str__
        return f"<{type(value).__name__}>"


def _identity(record: logging.LogRecord) -> tuple[object, ...]:
    fields = IDENTITY[:-1] if hasattr(record, "key") else IDENTITY
    return (record.name, record.levelno, str(record.msg), *(str(getattr(record, key, "")) for key in fields))
