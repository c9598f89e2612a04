"""Runs -> the tables of docs/bench/README.md, each figure beside what it is compared with, and the one of README.md.

Each file of `docs/bench/runs/` is one run of `make bench` on some host and day. A figure is the range over all runs
that measured it, and a goal is met only if each of these runs meets it. A figure of no run is "not measured".
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import confluent_kafka

from bench.runs import WARM_UPS
from gateway.core.native import RUNS as HOT_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "bench"
RUNS = FOLDER / "runs"
NOT_MEASURED = "not measured"
KAFKA_JARS = ROOT / ".cache" / "kafka" / "lib"
PEERS = {
    "gateway": "this gateway",
    "ceiling-by-runs": "(a) librdkafka alone, ready-made records",
    "ceiling": "(a) the same, a call for each record",
    "plain-python": "(b) paho + AvroSerializer",
    "plain-go": "(c) paho for Go + franz-go + hamba/avro",
    "plain-java": "(d) paho for Java + kafka-clients, forwards bytes",
    "plain-rust": "(e) rumqttc + rdkafka + apache-avro",
    "tuned-rust": "(f) Rust, tuned",
}

Results = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One line of the table of goals.

    Args:
        title: what is compared.
        figure: computes it from the results of a run; a KeyError means that the run did not measure a part.
        form: how to write it, a number and its unit.
        goal: what it should be at most, or at least; None for none.
        at_least: True when more is better.
    """

    title: str
    figure: Callable[[Results], float]
    form: str
    goal: float | None
    at_least: bool = False

    def cells(self, runs: Sequence[Results]) -> tuple[str, str, str]:
        """Write the range, the goal, and whether each run meets it."""
        found = values(runs, self.figure)
        bound = "at least" if self.at_least else "at most"
        goal = "none" if self.goal is None else f"{bound} {self.form.format(self.goal)}"
        if self.goal is None or not found:
            return spread(found, self.form), goal, ""
        is_met = min(found) >= self.goal if self.at_least else max(found) <= self.goal
        return spread(found, self.form), goal, "yes" if is_met else "**no**"


def values(runs: Sequence[Results], figure: Callable[[Results], float]) -> list[float]:
    """Compute a figure of each run that measured it."""
    found = []
    for results in runs:
        with suppress(KeyError, TypeError):
            found.append(figure(results))
    return found


def spread(found: Sequence[float], form: str) -> str:
    """Write the lowest and the highest value, and the unit once."""
    if not found:
        return NOT_MEASURED
    number, end, unit = form.partition("}")
    low, high = ((number + end).format(value) for value in (min(found), max(found)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _cpu(group: str, name: str, other: str) -> Callable[[Results], float]:
    """Compare the CPU per reading of two in a group."""
    return lambda results: float(results[group][name]["microseconds"] / results[group][other]["microseconds"])


def _speed(group: str, name: str, other: str) -> Callable[[Results], float]:
    """Compare the readings a second of two in a group."""
    rate = "readings_per_second"
    return lambda results: float(results[group][name][rate] / results[group][other][rate])


def _figure(*path: str) -> Callable[[Results], float]:
    """Look a figure up."""

    def look_up(results: Results) -> float:
        found: Any = results
        for name in path:
            found = found[name]
        return float(found)

    return look_up


def _above_direct(rate: int, share: str) -> Callable[[Results], float]:
    """Compare the gateway's latency with that of producing directly."""
    return _above(("latency", f"at_{rate}"), "gateway", "direct", share)


def _above(path: tuple[str, ...], name: str, other: str, share: str) -> Callable[[Results], float]:
    """Compare the latencies of two."""
    own, of_other = _figure(*path, name, share), _figure(*path, other, share)
    return lambda results: own(results) - of_other(results)


TIMES, MICROSECONDS, MILLISECONDS, COUNT, SECONDS, MEBIBYTES, PERCENT = (
    "{:.2f} times", "{:.0f} µs", "{:.1f} ms", "{:,.0f}", "{:.2f} s", "{:.0f} MiB", "{:.2f} %",
)  # fmt: skip
HELD = "each held to one core"
MODES = ("exactly_once", "at_least_once")
SHARED_CORES = "on cores that Kafka and the load broker need as well"
ROWS = [
    Row("CPU per reading against (b)", _cpu("versus", "gateway", "plain-python"), TIMES, 0.1),
    Row("CPU per reading against (c)", _cpu("versus", "gateway", "plain-go"), TIMES, 0.2),
    Row(
        "CPU per reading against (d), a Java bridge that forwards bytes",
        _cpu("versus", "gateway", "plain-java"),
        TIMES,
        1 / 3,
    ),
    Row("CPU per reading against (e)", _cpu("versus", "gateway", "plain-rust"), TIMES, 0.4),
    Row("CPU per reading against (f)", _cpu("versus", "gateway", "tuned-rust"), TIMES, 1.6),
    Row("readings/s against (c)", _speed("versus", "gateway", "plain-go"), TIMES, 5, at_least=True),
    Row("readings/s against (e)", _speed("versus", "gateway", "plain-rust"), TIMES, 2, at_least=True),
    Row("readings/s against (f)", _speed("versus", "gateway", "tuned-rust"), TIMES, 0.6, at_least=True),
    *(
        Row(f"readings/s against (a){how}", _speed("versus", "gateway", name), TIMES, 0.5, at_least=True)
        for how, name in (("", "ceiling-by-runs"), (", a call for each record", "ceiling"))
    ),
    Row(f"readings/s against (c), {HELD}", _speed("one_core", "gateway", "plain-go"), TIMES, 4, at_least=True),
    Row(
        f"readings/s against (a), a call for each record, {HELD}",
        _speed("one_core", "gateway", "ceiling"),
        TIMES,
        0.5,
        at_least=True,
    ),
    Row(
        "readings/s, 20 unacknowledged",
        _figure("window", "gateway", "readings_per_second"),
        COUNT,
        8_000,
        at_least=True,
    ),
    Row("the same against (c)", _speed("window", "gateway", "plain-go"), TIMES, 4, at_least=True),
    Row("the same against (c) tuned", _speed("window", "gateway", "plain-go-hasty"), TIMES, 1.1, at_least=True),
    Row("CPU per reading at 1,000/s", _figure("steady", "at_1000", "gateway", "microseconds"), MICROSECONDS, 150),
    Row("latency at 1,000/s, p50", _figure("steady", "at_1000", "gateway", "p50"), MILLISECONDS, 3),
    *(
        Row(f"latency at {rate:,}/s, {share} above producing directly", _above_direct(rate, share), MILLISECONDS, goal)
        for rate, share, goal in ((1_000, "p99", 3.0), (10_000, "p50", 1.0), (10_000, "p99", 3.0))
    ),
    Row("memory, idle", _figure("versus", "gateway", "idle_mebibytes"), MEBIBYTES, 64),
    Row("memory, most at full speed", _figure("versus", "gateway", "peak_mebibytes"), MEBIBYTES, 100),
    Row("CPU per reading, 10,000 machines against 10", _cpu("growth", "machines_10000", "machines_10"), TIMES, 1.1),
    Row("CPU per reading, 200 streams against 5", _cpu("streams", "streams_200", "streams_5"), TIMES, 1.3),
    Row("CPU per reading, two workers against one", _cpu("workers", "two", "one"), TIMES, None),
    Row(f"readings/s, two workers against one, {SHARED_CORES}", _speed("workers", "two", "one"), TIMES, None),
    Row("exactly once, readings/s against at least once", _speed("once", *MODES), TIMES, 0.6, at_least=True),
    Row(
        "exactly once, CPU per reading at 1,000/s against at least once",
        lambda results: _cpu("at_1000", *MODES)(results["once"]),
        TIMES,
        2,
    ),
    Row(
        "exactly once, latency at 1,000/s, p50 above at least once",
        _above(("once", "at_1000"), *MODES, "p50"),
        MILLISECONDS,
        15,
    ),
    Row("CPU per telegram against (b)", _cpu("growth", "telegrams", "telegrams_plain_python"), TIMES, 0.06),
    Row("CPU, one in ten a dead letter against none", _cpu("growth", "one_in_ten_broken", "none_broken"), TIMES, 1.5),
    Row("start to first reading acknowledged", _figure("start", "again_seconds"), SECONDS, 0.8),
    Row("the same, very first start", _figure("start", "first_seconds"), SECONDS, 1.0),
    Row("CPU at one reading a second, share of a core", _figure("rest", "cpu_percent_at_1"), PERCENT, 0.2),
]
SPEED = [("microseconds", "{:.1f} µs"), ("readings_per_second", COUNT)]
STEADY = [("microseconds", MICROSECONDS), ("p50", MILLISECONDS), ("p99", MILLISECONDS)]


def machine() -> dict[str, Any]:
    """Describe what a run ran on: hardware and versions, no names."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    kafka = re.search(r"kafka-clients-([\d.]+)\.jar", " ".join(os.listdir(KAFKA_JARS)))  # noqa: PTH208 - names are all that is wanted
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": re.match(r"[\d.]*\d", platform.release())[0],  # type: ignore[index]  # every release begins with digits
        "python": platform.python_version(),
        "kafka": kafka[1] if kafka else "unknown",
        "librdkafka": confluent_kafka.libversion()[0],
        **{name: version(name) for name in ("confluent-kafka", "paho-mqtt", "msgspec", "fastavro")},
        "go": _version("go", "version"),
        "java": _version("java", "--version"),
        "rust": _version("rustc", "--version"),
        "hot_path": HOT_PATH,
        "commit": _output("git", "rev-parse", "--short", "HEAD").strip(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }


def _version(*command: str) -> str:
    """Ask the program that builds or runs a bridge."""
    found = re.search(r"\d[\d.]*\d", _output(*command))
    return found[0] if found else "none"


def _output(*command: str) -> str:
    """Run a program that may be missing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Write a table in Markdown; all but the first column to the right."""
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def goals(runs: Sequence[Results]) -> str:
    """Write the table of ratios."""
    return table(("figure", "measured", "goal", "met"), [(row.title, *row.cells(runs)) for row in ROWS])


def absolute(runs: Sequence[Results]) -> str:
    """Write what each contestant took at full speed."""
    head = ("at full speed", "CPU per reading", "readings/s", "memory idle", "memory, most")
    forms = [*SPEED, ("idle_mebibytes", MEBIBYTES), ("peak_mebibytes", MEBIBYTES)]
    return table(
        head, [(title, *(_cell(runs, ("versus", name), *form) for form in forms)) for name, title in PEERS.items()]
    )


def grown(runs: Sequence[Results]) -> str:
    """Write what readings of other kinds and numbers cost."""
    titles = {
        ("growth", "machines_10"): "10 machines",
        ("growth", "machines_10000"): "10,000 machines",
        ("streams", "streams_5"): "5 streams, a topic each",
        ("streams", "streams_200"): "200 streams, a topic each",
        ("workers", "one"): "2 streams, a topic each, one worker",
        ("workers", "two"): "the same, two workers",
        ("one_core", "gateway"): "1,000 machines, held to one core",
        ("one_core", "ceiling"): "(a), a call for each record, held to one core",
        ("one_core", "plain-go"): "(c), held to one core",
        ("growth", "doors"): "doors",
        ("growth", "one_in_ten_broken"): "one in ten a dead letter",
        ("growth", "telegrams"): "telegrams of 30 registers",
        ("growth", "telegrams_plain_python"): "the same, (b)",
        ("window", "gateway"): "20 unacknowledged, MQTT 3.1.1",
        ("window", "plain-go"): "the same, (c), MQTT 5",
        ("window", "plain-go-hasty"): "the same, (c) tuned: no linger, acknowledges every millisecond",
    }
    rows = [(title, *(_cell(runs, path, *form) for form in SPEED)) for path, title in titles.items()]
    return table(("the gateway with", "CPU per reading", "readings/s"), rows)


def latencies(runs: Sequence[Results]) -> str:
    """Write the percentiles."""
    shares = ("p50", "p99", "p99.9")
    every = {
        "gateway": "gateway",
        "direct": "produced directly",
        "direct_near": "produced directly, two requests in flight",
    }
    asked = [(rate, name) for rate in ("1000", "10000") for name in every] + [("full_speed", "gateway")]
    rows = []
    for rate, name in asked:
        title = f"{int(rate):,}/s" if rate.isdigit() else "full speed"
        path = ("latency", f"at_{rate}", name)
        rows.append((f"{title}, {every[name]}", *(_cell(runs, path, share, MILLISECONDS) for share in shares)))
    return table(("publish to consumer", *shares), rows)


def steady(runs: Sequence[Results]) -> str:
    """Write what a reading costs at the rates that most installations have."""
    every = {
        "gateway": "this gateway",
        "gateway-lingering": "the same with `linger.ms: 5`",
        "plain-go": "(c)",
        "plain-go-hasty": "(c) tuned",
        "plain-python": "(b)",
    }
    rows = []
    for rate in (100, 1_000):
        rows += [
            (f"{rate:,}/s, {title}", *(_cell(runs, ("steady", f"at_{rate}", name), *form) for form in STEADY))
            for name, title in every.items()
        ]
    return table(("at a steady rate", "CPU per reading", "latency p50", "p99"), rows)


def once(runs: Sequence[Results]) -> str:
    """Write what exactly once costs."""
    rows = [
        (
            f"`delivery: {name}`",
            *(_cell(runs, ("once", name), *form) for form in SPEED),
            *(_cell(runs, ("once", "at_1000", name), *form) for form in STEADY),
        )
        for name in reversed(MODES)
    ]
    return table(("delivery", "CPU per reading", "readings/s", "CPU at 1,000/s", "latency p50", "p99"), rows)


def small(runs: Sequence[Results]) -> str:
    """Write what little work costs."""
    rows = [
        (title, _cell(runs, ("rest",), f"cpu_percent_at_{rate}", PERCENT),
         _cell(runs, ("rest",), f"kafka_bytes_at_{rate}", COUNT))
        for rate, title in (("1_a_minute", "one a minute"), ("1", "one a second"), ("1000", "1,000 a second"),
                            ("10000", "10,000 a second"))
    ]  # fmt: skip
    return table(("readings", "CPU, share of a core", "bytes to Kafka per reading"), rows)


def hosts(runs: Sequence[Results]) -> str:
    """Write what each run ran on, and how fast plain Python was there."""
    rows = []
    for results in runs:
        on = results["machine"]
        loops = results.get("loop_nanoseconds", [])
        rows.append(
            (
                ", ".join(filter(None, [on["date"], on["cpu"], f"{on['cores']} cores", on["hot_path"], on["commit"]])),
                spread(loops, "{:.0f} ns"),
                f"{results['load_before']:.2f}",
                spread(values([results], _figure("versus", "gateway", "microseconds")), SPEED[0][1]),
                spread(values([results], _cpu("versus", "gateway", "plain-go")), TIMES),
            )
        )
    return table(("run", "a loop in plain Python", "load before", "the gateway's CPU per reading", "against (c)"), rows)


TABLES = (goals, absolute, grown, latencies, steady, once, small)


def measured(written: str) -> str:
    """Leave the rows out that nothing was measured for, and the table when it has no others."""
    head, rule, *rows = written.splitlines(keepends=True)
    rows = [row for row in rows if NOT_MEASURED not in row]
    return "".join([head, rule, *rows]) if rows else ""


def _cell(runs: Sequence[Results], path: tuple[str, ...], figure: str, form: str) -> str:
    return spread(values(runs, _figure(*path, figure)), form)


def readme(text: str, runs: Sequence[Results]) -> str:
    """Write the table of speed in the README anew, between the comments that mark it.

    Raises:
        ValueError: when a mark is missing.
    """
    before, begin, rest = text.partition("<!-- make bench: full speed -->\n")
    _, end, after = rest.partition("<!-- end: full speed -->\n")
    if not end:
        raise ValueError("README.md has no table of make bench: full speed")
    names = [name for name in PEERS if name != "ceiling" and values(runs, _figure("versus", name, SPEED[0][0]))]
    titles = {name: PEERS[name].rpartition(") ")[2] for name in names}
    rows = [
        (
            title,
            spread(values(runs, _cpu("versus", name, "gateway")), "{:.1f}"),
            *(_cell(runs, ("versus", name), *form) for form in SPEED),
        )
        for name, title in titles.items()
    ]
    head = ("at full speed", "CPU, relative", "CPU per reading", "readings/s")
    return f"{before}{begin}{table(head, rows)}{end}{after}"


def read_runs() -> list[Results]:
    """Read the runs that are kept, the oldest first."""
    return [json.loads(file.read_text()) for file in sorted(RUNS.glob("*.json"), key=_date_and_number)]


def _date_and_number(file: Path) -> tuple[str, int]:
    year, month, day, *number = file.stem.split("-")
    return f"{year}-{month}-{day}", int(number[0]) if number else 1


def keep(results: Results) -> None:
    """Write a run beside those that are kept: `2026-11-29.json`, `2026-11-29-2.json`, ..."""
    date = results["machine"]["date"]
    number = 1 + len(list(RUNS.glob(f"{date}*.json")))
    name = f"{date}.json" if number == 1 else f"{date}-{number}.json"
    (RUNS / name).write_text(json.dumps(results, indent=1) + "\n")


def page(runs: Sequence[Results]) -> str:
    """Write docs/bench/README.md."""
    on = runs[-1]["machine"]
    names = ("librdkafka", "confluent-kafka", "paho-mqtt", "msgspec", "fastavro")
    versions = ", ".join(f"{name} {on[name]}" for name in names)
    seen = [each for results in runs for each in results.get("versus", {}).values()]
    sent, decoded = (sum(each["records"][what] for each in seen) for what in ("in_kafka", "decoded"))
    return f"""\
# Benchmarks

Each file of [`runs/`](runs) is one run of `make bench`, which adds a file and writes this page and the plot anew. A
range is the lowest and the highest figure of the runs, and a goal is met only if every run meets it. Compare ratios:
they vary less between hosts than microseconds, and they vary, too. `make bench-stages` writes the cost of each
processing stage to `stages.json`. The [notes](notes.md) explain why some goals are missed, and show older runs.

{hosts(runs)}
*Native* means that the gateway ran with its module in C; the commit follows. The plain Python loop is timed between the
groups of rows. A wide range there, or a high load before the run, means that other processes share the cores; Python
slows down most then. The last run had Linux {on["kernel"]}, Python
{on["python"]}, {versions};
Go {on["go"]}, Rust {on.get("rust", "none")}, Java {on["java"]}, Kafka {on["kafka"]}.

![CPU per reading and readings a second](bench.svg)

## Against goals

{goals(runs)}
## At full speed

{absolute(runs)}
{grown(runs)}
## Latency

{latencies(runs)}
## Steady rates

{steady(runs)}
## Exactly once

At full speed, and at 1,000 readings a second, for a reader of committed records:

{once(runs)}
## Little work

{small(runs)}
## How it is measured

- "Held to one core" means that all threads of the bridge, including those of librdkafka, run on one core, which Kafka
  and the load brokers do not use. In all other rows every process may use all {on["cores"]} cores.
- With 20 unacknowledged messages, (c) is limited by paho, which acknowledges every 50 ms unless it is tuned: compare
  with the tuned row. (c) uses MQTT 5 there, because its library supports nothing else.
- A load broker (`bench/load_broker.py`) sends ready-made QoS 1 PUBLISH packets as fast as the bridge's Receive
  Maximum allows, and counts the acknowledgements. So the figures are those of the bridge, not of an MQTT broker.
- The far end is a real Kafka: one node, and topics with six partitions (one where streams are counted). All bridges
  produce with acks=all, idempotence and lz4, and all but (d) write the same records, with the MQTT topic as a header.
- CPU is the user and system time of the bridge's process alone, as the kernel counts it. Readings/s are measured from
  the first PUBLISH to the last PUBACK. Everything runs on the one machine, so all processes share its cores.
- Every record in Kafka is counted, and the first thousand of each topic are decoded: {sent:,} and {decoded:,} in the
  rows at full speed. The records of (d) hold no Avro; they are compared with the JSON that was sent.
- (b) acknowledges readings before Kafka has them, which improves its readings/s. (a) and the direct producer of the
  latency rows are the same program. It has the gateway's producer settings and the most in-flight requests that
  librdkafka allows, five. The gateway uses two where Kafka is as near as here; one row shows the effect of two on
  producing directly. (c) has the defaults of its libraries except for compression and a Receive Maximum of 8,192, the
  same as the gateway's, which is 16,384 with 200 streams. *Tuned* means no linger in the producer, and
  acknowledgements every millisecond instead of every 50.
- At steady rates each iteration of the loop and each request to Kafka holds one or a few readings. A shorter latency
  therefore means more iterations and requests, and more CPU per reading. (c) lets readings wait ten milliseconds for
  others, the gateway 2.5 at most ([notes](notes.md#pacing-of-the-loop)); (c) tuned does not. So there the gateway takes
  more CPU than (c), at a lower latency. Compare rows of similar latency. Latency has a table of its own, which is
  measured separately and longer.
- (d) forwards bytes: it parses no JSON and writes no Avro; it prefixes the payload with a frame and takes the key
  from the MQTT topic. It has the defaults of its libraries and of Java, including memory and garbage collector,
  except for compression, a Receive Maximum of 8,192, and MQTT state in memory instead of files. It acknowledges to
  MQTT in the order of Kafka's acknowledgements, so it need not wait for a slower partition. The defaults do not slow
  it down: with batches of 256 KB and a linger of 20 ms, measured once, it used as much CPU. That CPU is spent on
  passing readings between threads and on a system call for each acknowledgement. {WARM_UPS["plain-java"]:,} readings
  warm up Java's compiler first.
- (e) and (f) are in `bench/rust`. (e) has the defaults of its libraries except for compression and a Receive Maximum of
  8,192. It awaits Kafka's acknowledgements in the order of arrival. (f) reads the packets of a QoS 1 connection itself,
  borrows the strings of the JSON from the packet, encodes with serde_avro_fast into one buffer, and writes all
  acknowledgements of a turn at once. It checks nothing that a gateway must check: no topic, no schema id, no dead
  letter, no other packet than PUBLISH.
- Two workers have one stream each and receive half of the readings each at the same time. Their CPU is that of both
  and of the parent. Kafka and the load broker need the same {on["cores"]} cores, so no doubling can be expected here,
  and the figure does not show the effect of two workers with cores of their own. Each connection has its own Receive
  Maximum, so two workers have twice as many readings in flight; and on a busy machine two processes get a larger
  share of it than one.
- The start is measured from starting the process to the first PUBACK, which follows Kafka's acknowledgement. The very
  first start registers its schemas; later starts have the ids in their lock file.
- A latency is measured from sending, with the time written into the reading, to a consumer that polls all partitions;
  at full speed, one of six partitions. Bytes to Kafka are TCP payload, including keep-alive and metadata requests.
- "One a minute" is three readings in three minutes, measured beside the other rows of little work, and not part of
  QUICK=1. librdkafka requests metadata every five minutes, so its bytes do not include that.
"""
