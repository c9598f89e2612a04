"""What is measured, and how: each function here is one group of rows, and starts and ends its own contestants.

- Those that a row compares take turns, round after round; a figure is the median of its rounds.
- Before a contestant is measured it is warmed up with readings of the same kind.
- Each group ends by counting in Kafka what was sent, and by decoding a sample: a contestant that loses a reading has
  no figure.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Any

from bench import figures
from bench.build import GO_BRIDGE, JAVA_IS_BUILT, RUST_BRIDGES
from bench.contestants import ByteBridge, Ceiling, Contestant, Product, plain_go, plain_python, rust
from bench.far_end import FarEnd, Stopwatch
from bench.figures import Run
from bench.load import Load
from gateway.kafka.state_topic import STATE_PARTITION, STATE_TOPIC
from tests.faults.ledger_verdict import count_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Figures = dict[str, Any]
# Readings in a run: one to three seconds of each contestant's time.
COUNTS = {
    "gateway": 300_000, "ceiling": 500_000, "ceiling-by-runs": 500_000, "plain-go": 120_000, "plain-python": 40_000,
    "plain-java": 120_000, "plain-rust": 200_000, "tuned-rust": 500_000,
}  # fmt: skip
WARM_UPS = {"plain-java": 250_000}  # until Java's own compiler is done; a fifth of a run for the others
STAMPED = Load(is_stamped=True)
OVERHEARD = 0  # the partition that is read at full speed: the consumer shall not be what is measured


class Effort:
    """How much is measured.

    Args:
        is_quick: shorter runs, and no medians.
    """

    def __init__(self, *, is_quick: bool) -> None:
        self.is_quick = is_quick
        self.rounds = 1 if is_quick else 3
        self.latency_rounds = 1 if is_quick else 7
        self.latency_seconds = 3 if is_quick else 5
        self.rest_seconds = 10 if is_quick else 30
        self.rest_minutes = 0 if is_quick else 3

    def count(self, name: str) -> int:
        """Tell how many readings a run at full speed has."""
        return COUNTS[name] // (2 if self.is_quick else 1)


def versus(far_end: FarEnd, effort: Effort) -> Figures:
    """Compare the gateway with the others at full speed, and tell how much memory each takes."""
    with ExitStack() as started:
        product = started.enter_context(Product(far_end))
        others: list[Contestant] = [started.enter_context(Ceiling(far_end, is_by_runs=way)) for way in (False, True)]
        if GO_BRIDGE.exists():
            others.append(started.enter_context(plain_go(far_end)))
        if (RUST_BRIDGES / "tuned").exists():
            others += [started.enter_context(rust(far_end, kind)) for kind in ("plain", "tuned")]
        if JAVA_IS_BUILT.exists():
            others.append(started.enter_context(ByteBridge(far_end)))
        others.append(started.enter_context(plain_python(far_end)))
        idle = {each.name: figures.resident_mebibytes(each.pid) for each in [product, *others]}
        found = _rounds({each.name: (each, Load(), {}) for each in [product, *others]}, effort)
        for each in [product, *others]:
            found[each.name] |= {
                "idle_mebibytes": idle[each.name],
                "peak_mebibytes": figures.peak_mebibytes(each.pid),
                "records": each.verify(),
            }
    return found


def one_core(far_end: FarEnd, effort: Effort) -> Figures:
    """Hold each bridge to a core of its own; Kafka and the load brokers have the others."""
    with ExitStack() as started:
        every: list[Contestant] = [started.enter_context(Product(far_end)), started.enter_context(Ceiling(far_end))]
        if GO_BRIDGE.exists():
            every.append(started.enter_context(plain_go(far_end)))
        with figures.one_core(
            [each.pid for each in every], [far_end.kafka.pid(), *(each.source.pid for each in every)]
        ):
            found = _rounds({each.name: (each, Load(), {}) for each in every}, effort)
        for each in every:
            each.verify()
    return found


def window(far_end: FarEnd, effort: Effort) -> Figures:
    """Let the broker allow 20 unacknowledged readings, as Mosquitto does to MQTT 3.1.1."""
    with ExitStack() as started:
        each: dict[str, Contestant] = {"gateway": started.enter_context(Product(far_end, version="3.1.1"))}
        if GO_BRIDGE.exists():
            each["plain-go"] = started.enter_context(plain_go(far_end))
            each["plain-go-hasty"] = started.enter_context(plain_go(far_end, is_hasty=True))
        count = {"gateway": 15_000, "plain-go": 1_000, "plain-go-hasty": 15_000}
        found = _rounds(
            {name: (one, Load(), {"window": 20, "count": count[name]}) for name, one in each.items()}, effort
        )
        for one in each.values():
            one.verify()
    return found


def growth(far_end: FarEnd, effort: Effort) -> Figures:
    """Let machines, streams, payloads and faults grow; CPU for each reading should not."""
    with Product(far_end) as product, plain_python(far_end) as python:
        telegrams = Load("telegram")
        found = _rounds(
            {
                "machines_10": (product, Load(machines=10), {}),
                "machines_10000": (product, Load(machines=10_000), {}),
                "one_in_ten_broken": (product, Load(broken_every=10), {}),
                "none_broken": (product, Load(), {}),
                "doors": (product, Load("door"), {}),
                "telegrams": (product, telegrams, {"count": effort.count("gateway") // 6}),
                "telegrams_plain_python": (python, telegrams, {"count": effort.count("plain-python") // 4}),
            },
            effort,
        )
        product.verify()
        python.verify()
    return found


def streams(far_end: FarEnd, effort: Effort) -> Figures:
    """Compare 200 streams with 5; each has a Kafka topic of its own with one partition, and keys are as many."""
    with Product(far_end, streams=5, partitions=1) as few, Product(far_end, streams=200, partitions=1) as many:
        found = _rounds({"streams_5": (few, Load(streams=5), {}), "streams_200": (many, Load(streams=200), {})}, effort)
        few.verify()
        many.verify()
    return found


def workers(far_end: FarEnd, effort: Effort) -> Figures:
    """Compare two workers with one; each of two streams has a Kafka topic of its own, and a worker of the two."""
    with Product(far_end, streams=2) as one, Product(far_end, streams=2, workers=2, http={"listen": None}) as two:
        found = _rounds({"one": (one, Load(streams=2), {}), "two": (two, Load(streams=2), {})}, effort)
        one.verify()
        two.verify()
    return found


def latency(far_end: FarEnd, effort: Effort) -> Figures:
    """Measure from publish to consumer, at two rates and at full speed, against producing directly."""
    found: Figures = {}
    with Product(far_end) as product, Ceiling(far_end) as direct, Ceiling(far_end, is_near=True) as near:
        product.run(STAMPED, 20_000)
        every = {"gateway": product, "direct": direct, "direct_near": near}
        for rate in (1_000, 10_000):
            found[f"at_{rate}"] = _timed_rounds(every, rate, effort.latency_rounds, effort)
        found["at_full_speed"] = {"gateway": figures.percentiles(_overheard(product, effort))}
        product.verify()
    return found


def steady(far_end: FarEnd, effort: Effort) -> Figures:
    """Measure what a reading costs, and how long it takes, at the rates that most installations have."""
    with ExitStack() as started:
        every: dict[str, Contestant] = {
            "gateway": started.enter_context(Product(far_end)),
            "gateway-lingering": started.enter_context(Product(far_end, producer={"linger.ms": 5})),
        }
        if GO_BRIDGE.exists():
            every["plain-go"] = started.enter_context(plain_go(far_end))
            every["plain-go-hasty"] = started.enter_context(plain_go(far_end, is_hasty=True))
        every["plain-python"] = started.enter_context(plain_python(far_end))
        found: Figures = {}
        for rate in (100, 1_000):
            found[f"at_{rate}"] = _timed_rounds(every, rate, effort.rounds, effort)
        for each in every.values():
            each.verify()
    return found


def once(far_end: FarEnd, effort: Effort) -> Figures:
    """Compare exactly once with at least once, at a rate and at full speed, for a reader of committed records."""
    far_end.create([STATE_TOPIC], STATE_PARTITION + 1)
    with Product(far_end) as usual, Product(far_end, delivery="exactly_once") as exact:
        every: dict[str, Contestant] = {"at_least_once": usual, "exactly_once": exact}
        found: Figures = {"at_1000": _timed_rounds(every, 1_000, effort.latency_rounds, effort)}
        found |= _rounds({name: (each, Load(), {}) for name, each in every.items()}, effort)
        for each in every.values():
            each.verify()
            assert count_in(far_end.kafka.bootstrap, each.topics[0]) == each.sent, "each reading is there once"
    return found


def start(far_end: FarEnd, effort: Effort) -> Figures:
    """Measure from starting the process to its first reading acknowledged, with all servers up."""
    with Product(far_end) as product:
        again = [product.restart() for _ in range(2 * effort.rounds + 1)]
        return {"first_seconds": product.start_seconds, "again_seconds": median(again)}


def rest(far_end: FarEnd, effort: Effort) -> Figures:
    """Measure what little work costs: CPU and bytes to Kafka at one reading a minute, one a second, and at more."""
    with Product(far_end) as product, Product(far_end) as quiet, ThreadPoolExecutor(1) as beside:
        minutes = beside.submit(_once_a_minute, quiet, effort.rest_minutes)
        product.run(Load(), 10)
        found: Figures = {"idle_mebibytes": figures.resident_mebibytes(product.pid)}
        sent = figures.bytes_sent(product.pid, far_end.port)
        slow = product.run(Load(), effort.rest_seconds, rate=1.0)
        found["cpu_percent_at_1"] = 100 * slow.cpu_seconds / slow.seconds
        found["kafka_bytes_at_1"], sent = _bytes_each(product, sent, slow)
        for rate in (1_000, 10_000):
            run = product.run(Load(), 5 * rate, rate=float(rate))
            found[f"cpu_percent_at_{rate}"] = 100 * run.cpu_seconds / run.seconds
            found[f"kafka_bytes_at_{rate}"], sent = _bytes_each(product, sent, run)
        product.verify()
        return found | minutes.result()


GROUPS: dict[str, Callable[[FarEnd, Effort], Figures]] = {
    each.__name__: each
    for each in (versus, one_core, window, latency, steady, growth, streams, workers, once, start, rest)
}


def _rounds(each: dict[str, tuple[Contestant, Load, dict[str, Any]]], effort: Effort) -> Figures:
    """Let contestants take turns; give the medians."""
    runs: dict[str, list[Run]] = {name: [] for name in each}
    for turn in range(effort.rounds + 1):
        for name, (contestant, load, how) in each.items():
            options = dict(how)
            count = options.pop("count", effort.count(contestant.name))
            warm_up = WARM_UPS.get(contestant.name, count // 5)
            run = contestant.run(load, count if turn else warm_up, **options)
            if turn:  # the first is the warm-up
                runs[name].append(run)
    return {
        name: {
            "microseconds": median(run.microseconds for run in found),
            "readings_per_second": median(run.rate for run in found),
            "runs": [asdict(run) for run in found],
        }
        for name, found in runs.items()
    }


def _once_a_minute(product: Product, minutes: int) -> Figures:
    """Send a reading and then wait out its minute, so many times: what a quiet connection costs belongs to it."""
    if not minutes:
        return {}
    product.run(Load(), 10)
    sent = figures.bytes_sent(product.pid, product.far_end.port)
    began, cpu = time.monotonic(), figures.cpu_seconds(product.pid)
    product.run(Load(), minutes, rate=1 / 60)
    time.sleep(max(0.0, began + 60 * minutes - time.monotonic()))
    run = Run(minutes, time.monotonic() - began, figures.cpu_seconds(product.pid) - cpu)
    each, _ = _bytes_each(product, sent, run)
    product.verify()
    return {"cpu_percent_at_1_a_minute": 100 * run.cpu_seconds / run.seconds, "kafka_bytes_at_1_a_minute": each}


def _timed_rounds(every: Mapping[str, Contestant], rate: int, rounds: int, effort: Effort) -> Figures:
    """Let contestants take turns at a rate; give the medians of CPU and latencies."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in every}
    for _ in range(rounds):
        for name, contestant in every.items():
            runs[name].append(_timed(contestant, rate, effort))
    return {
        name: {figure: median(run[figure] for run in found) for figure in found[0]} | {"runs": found}
        for name, found in runs.items()
    }


def _timed(contestant: Contestant, rate: int, effort: Effort) -> dict[str, float]:
    """Send readings at a rate; give the CPU for each, and how old they were at a consumer."""
    count = rate * effort.latency_seconds
    watch = Stopwatch(contestant.far_end.kafka.bootstrap, contestant.topics[0], list(range(6)))
    contestant.run(STAMPED, rate // 2, rate=float(rate))
    run = contestant.run(STAMPED, count, rate=float(rate))
    watch.wait_for(rate // 2 + count)
    return {"microseconds": run.microseconds} | figures.percentiles(watch.stop()[rate // 2 :])


def _overheard(product: Product, effort: Effort) -> list[float]:
    watch = Stopwatch(product.far_end.kafka.bootstrap, product.topics[0], [OVERHEARD])
    product.run(STAMPED, effort.count("gateway"))
    time.sleep(1)
    found = watch.stop()
    return found[len(found) // 10 :]


def _bytes_each(product: Product, before: int | None, run: Run) -> tuple[float | None, int | None]:
    """Give the bytes to Kafka for each reading of a run, and the count so far."""
    after = figures.bytes_sent(product.pid, product.far_end.port)
    return (None if before is None or after is None else (after - before) / run.readings), after
