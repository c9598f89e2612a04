"""The part of the present surface that only processes show: exit codes, JSON output, metrics, books, log lines."""

from __future__ import annotations

import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.stack.gateway import ROOT, Gateway
from tests.stack.wait import wait_for
from tests.surface import present
from tests.test_cli import command
from tests.test_cli import settings as write_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.surface.record import Surface

STREAM = "receiveWidgetLine"
# Books with something on every account, so that every metric has a sample and shows its labels.
LEDGER = {
    STREAM: {
        "received": 32, "in_flight": 1, "spooled": 1, "delivered": 26, "dead_lettered": {"not_json": 3},
        "dropped": {"spool_full": 1}, "repeated": 1,
        "continuity": {"gaps": 1, "missing": 1, "repeated": 1, "out_of_order": 1, "restarts": 1, "forgotten": 1},
        "counters": {"fell": 1, "jumped": 1, "resets": 1, "swaps": 1, "forgotten": 1},
        "last_reading_at": 1_582_114_965_007, "last_letter_at": {"not_json": 1_582_114_965_007},
    }
}  # fmt: skip
FORWARD = "    x-forward-to: {$ref: '#/operations/sendWidgetReadings'}\n"
WATCHED = "    x-sequence: $message.payload#/reading_ts\n    x-silent-after: 60\n"

JSON = ("--format", "json")
# Commands that need no server, with their exit codes. 74 needs a disk that fails: see `tests/faults/`.
CASES = {
    # The first two wait for Kafka and start early, the others are quick.
    "gateway doctor, no answer": ("doctor", "-c", "gateway.yaml", *JSON),
    "gateway drift, no answer": ("drift", "-c", "gateway.yaml", "--seconds", "0", *JSON),
    "gateway without arguments": (),
    "gateway --version": ("--version",),
    "gateway run, unknown option": ("run", "--unknown"),
    "gateway run, wrong settings": ("run", "-c", "wrong.yaml"),
    "gateway run, another process holds the spool": ("run", "-c", "gateway.yaml"),
    "gateway check, fits": ("check", "-c", "gateway.yaml", *JSON),
    "gateway check, wrong settings": ("check", "-c", "wrong.yaml", *JSON),
    "gateway check, no contract": ("check", *JSON),
    "gateway docs": ("docs", str(ROOT / "asyncapi.yaml")),
    "gateway docs, no contract": ("docs",),
    "gateway docs, cannot write": ("docs", str(ROOT / "asyncapi.yaml"), "-o", "absent/page.html"),
    "gateway init, file exists": ("init", "--yes", "-o", "gateway.yaml"),
    "gateway status, no answer": ("status",),
    "gateway top --once, no answer": ("top", "--once", "-c", "gateway.yaml"),
    "gateway simulate, no broker": ("simulate", "-c", "gateway.yaml", "--count", "1"),
    "gateway tail, no address of Kafka": ("tail", "doors", "--contract", str(ROOT / "asyncapi.yaml")),
    "gateway demo, no contract": ("demo", "--seconds", "1"),
    "gateway dlq show, malformed place": ("dlq", "show", "x", "-c", "gateway.yaml"),
    "gateway record": ("record", "-c", "gateway.yaml", "-o", "traffic.db"),
    "gateway shadow": ("shadow", "gateway.yaml", "-c", "gateway.yaml", "--from", "spool.db", *JSON),
    "gateway schemas check, compatible": ("schemas", "check", "--old", "old.avsc", "--new", "old.avsc", *JSON),
    "gateway schemas check, incompatible": ("schemas", "check", "--old", "old.avsc", "--new", "new.avsc", *JSON),
    "gateway schemas check, not a schema": ("schemas", "check", "--old", "old.avsc", "--new", "gateway.yaml"),
    "gateway schemas check, --old alone": ("schemas", "check", "--old", "old.avsc"),
    "gateway schemas list, no registry": ("schemas", "list", "-c", "gateway.yaml", *JSON),
    "gateway schemas lock, no registry": ("schemas", "lock", "-c", "gateway.yaml", *JSON),
    "gateway schemas register, no registry": ("schemas", "register", "-c", "gateway.yaml", *JSON),
    "gateway schemas diff, no registry": ("schemas", "diff", "-c", "gateway.yaml"),
}


class Observed(NamedTuple):
    """What processes showed."""

    exit_codes: dict[str, str]
    json: dict[str, str]  # members of JSON output, by command
    metrics: dict[str, str]
    log: dict[str, str]
    books: dict[str, str]


def surface(folder: Path) -> Surface:
    """Derive the present surface.

    Args:
        folder: an empty folder for files of the processes.
    """
    spool = present.spool(folder / "running.db", LEDGER)
    observed = Observed({}, {}, {}, {}, {})
    _run_commands(folder, observed)
    _run_gateway(folder, observed)
    observed.exit_codes["gateway, all errors"] = present.codes_of_errors()
    return {
        "commands": present.commands(),
        "dead_letters": present.dead_letters(),
        "exit_codes": observed.exit_codes,
        "http": present.http_answers(),
        "json": observed.json,
        "log": observed.log,
        "metrics": observed.metrics,
        "settings": present.settings(),
        "spool": spool | observed.books,
    }


def _run_commands(folder: Path, observed: Observed) -> None:
    write_settings(folder, http={"listen": "127.0.0.1:1"})
    (folder / "wrong.yaml").write_text("contract: absent.yaml\nspool: {size: 1GiB}\n")
    schema = {"type": "record", "name": "Door", "fields": [{"name": "n", "type": "int"}]}
    (folder / "old.avsc").write_text(json.dumps(schema))
    (folder / "new.avsc").write_text(json.dumps(schema | {"fields": [{"name": "m", "type": "int"}]}))
    with present.hold(folder / "spool.db"), ThreadPoolExecutor(4) as threads:
        results = threads.map(lambda arguments: command(*arguments, folder=folder), CASES.values())
        for name, done in zip(CASES, results, strict=True):
            observed.exit_codes[name] = str(done.returncode)
            if "json" in done.args:
                output = present.members(json.loads(done.stdout), f"{name.partition(',')[0]} --format json ")
                observed.json.update(_merged(observed.json, output))


def _merged(before: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    """Give the types that members have in several outputs."""
    return {
        name: " | ".join(sorted({*before.get(name, kinds).split(" | "), *kinds.split(" | ")}))
        for name, kinds in more.items()
    }


def _run_gateway(folder: Path, observed: Observed) -> None:
    """Run a gateway that reaches no server, ask for its status, and stop it."""
    shutil.copytree(ROOT / "schemas", folder / "schemas")
    contract = folder / "watched.yaml"
    contract.write_text((ROOT / "asyncapi.yaml").read_text().replace(FORWARD, FORWARD + WATCHED))
    absent = {"host": "127.0.0.1:1"}
    kafka = absent | {"registry": {"url": "http://127.0.0.1:1"}}
    servers = {"factoryBroker": absent, "meterBroker": absent, "kafka": kafka}
    with Gateway(servers, contract, spool={"path": str(folder / "running.db")}) as gateway:
        gateway.start(ready=False)
        wait_for(lambda: "gateway_silent_keys{" in gateway.metrics(), 20, "the figures of x-silent-after")
        observed.metrics.update(_metrics(gateway.metrics()))
        status = gateway.command("status", "-c", str(gateway.settings_file), *JSON)
        observed.exit_codes["gateway status, not ready"] = str(status.returncode)
        observed.json.update(present.members(json.loads(status.stdout), "gateway status --format json "))
        ledger = gateway.stop_and_read_ledger()  # asserts exit code 0
        observed.exit_codes["gateway run, SIGTERM"] = "0"
        lines = [json.loads(line) for line in gateway.log.splitlines()]
    observed.log.update(dict.fromkeys((f"every line {name}" for name in set.intersection(*map(set, lines))), "member"))
    observed.log.update(present.members(ledger, "ledger "))
    with closing(sqlite3.connect(folder / "running.db")) as database:
        (books,) = database.execute("SELECT value FROM facts WHERE name = 'ledger'").fetchone()
    observed.books.update(present.members(json.loads(books)[STREAM], "fact ledger "))


def _metrics(page: str) -> dict[str, str]:
    """Describe the metrics of a scrape by name, as Prometheus stores them."""
    found: dict[str, str] = {}
    for family in text_string_to_metric_families(page):
        found.setdefault(family.name, family.type)
        for sample in family.samples:
            labels = ", ".join(sorted(sample.labels))
            found[family.name] = f"{family.type}, sample {sample.name}, labels {labels or 'none'}"
    return found
