"""Several workers: who takes what, and that together they lose nothing, stop in order and take up their spools."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.core.topic_index import NOT_ADDRESSED, UNMAPPED
from gateway.errors import ConfigurationError
from gateway.installation import topics_at
from gateway.registry.lock_file import LOCK_FILE
from gateway.service.split import examine, numbers, prepare_worker, worker
from gateway.service.workers import run_workers
from gateway.settings.settings import Settings, load
from tests.contract_values import contract, record, stream
from tests.stack.gateway import ROOT, ConfinedGateway, Gateway
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for
from tests.test_end_to_end import TOPICS, Topics, mixed, sequence_of, servers, topics

if TYPE_CHECKING:
    from tests.conftest import FreePort, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto
    from tests.stack.registry import Registry

__all__ = ["topics"]  # the fixture

STOP_SECONDS = 40
UNITS = ROOT / "deploy"


class Workers(Gateway):
    """A parent with its workers; asked over HTTP, they answer together.

    Args:
        servers: the `servers` section of gateway.yaml.
        contract: an asyncapi.yaml.
        count: of workers.
        split: how they split the work.
    """

    def __init__(self, servers: dict[str, Any], contract: Path, count: int = 2, split: str = "streams") -> None:
        port = _free_ports(count)
        self.count = count
        listen = {"listen": f"127.0.0.1:{port}"}
        super().__init__(servers, contract, workers={"count": count, "split": split}, http=listen)
        self.port = port

    def get(self, path: str) -> tuple[int, str]:
        """Ask all workers; the status is the first that is not 200, the text is that of all."""
        answers = [self.ask(number, path) for number in range(1, self.count + 1)]
        return next((status for status, _ in answers if status != 200), 200), "".join(text for _, text in answers)

    def ask(self, number: int, path: str) -> tuple[int, str]:
        """Ask one worker; status 0 when it does not answer."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port + number - 1}{path}", timeout=5)
        except httpx.TransportError:
            return 0, ""
        return answer.status_code, answer.text

    def is_subscribed(self) -> bool:
        """Whether all workers have their subscriptions at both brokers."""
        states_of_all = [json.loads(self.ask(number, "/readyz")[1])["states"] for number in range(1, self.count + 1)]
        return all(
            each["state"] == "ok" for states in states_of_all for each in states if each["peer"].endswith("Broker")
        )

    def change(self, **settings: Any) -> None:
        """Change sections of gateway.yaml for the next start."""
        given = json.loads(self.settings_file.read_text())
        self.settings_file.write_text(json.dumps(given | settings))

    def events(self, message: str) -> list[dict[str, Any]]:
        """Read the lines of the log that tell an event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == message]

    def stop_and_read_ledgers(self) -> list[dict[str, Any]]:
        """Stop it as systemd does and read the ledgers of this life, by worker."""
        before = len(self.events("ledger"))
        self.stop_and_read_ledger(STOP_SECONDS)
        return sorted(self.events("ledger")[before:], key=lambda line: line["worker"])

    def pid_of(self, number: int) -> int:
        """Process id of a worker."""
        return int(
            [line for line in self.events("A worker has started.") if line["peer"] == f"worker {number}"][-1]["pid"]
        )

    def wait_for_end(self) -> int:
        """Wait until the parent ends and give its exit code."""
        assert self._process is not None
        return self._process.wait(STOP_SECONDS)


class ConfinedWorkers(ConfinedGateway, Workers):
    """The same, with no system call but those that their unit allows."""


def _free_ports(count: int) -> int:
    """Find the first of so many free ports in a row, below those that the kernel gives to others at any moment."""
    return next(
        first
        for first in iter(lambda: random.randrange(20_000, 32_000), 0)
        if all(map(_is_free, range(first, first + count)))
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def publish(port: int, readings: list[tuple[str, bytes, str]]) -> None:
    """Publish what `mixed` made."""
    with Publisher(port) as publisher:
        publisher.publish((topic, payload) for topic, payload, _ in readings)


def expected(readings: list[tuple[str, bytes, str]]) -> dict[str, int]:
    """Count what each Kafka topic has to get."""
    return {name: sum(target == name for _, _, target in readings) for name in TOPICS}


# --- who takes what, and calls what its own ---------------------------------------------------------------------------

OTHERS = record({"name": "place", "type": "string"})
FIVE = contract(
    *(stream(name, OTHERS, address=f"{name}/{{place}}", keys=("/place",)) for name in ("a", "b", "c", "d", "e"))
)


def settings(folder: Path, **sections: Any) -> Settings:
    """Load a gateway.yaml with these sections."""
    file = folder / "gateway.yaml"
    file.write_text(json.dumps({"contract": "asyncapi.yaml"} | sections))
    return load(file, {})


def test_streams_are_split_so_that_each_has_one_worker(tmp_path: Path) -> None:
    """With `split: streams` every stream that is switched on is subscribed to by exactly one worker."""
    given = settings(tmp_path, workers={"count": 3}, streams={"c": {"enabled": False}})
    taken = [worker(FIVE, given, number).filters["broker"] for number in (1, 2, 3)]
    assert taken == [{"a/+": 1, "e/+": 1}, {"b/+": 1}, {"d/+": 1}]


def test_streams_of_one_kafka_topic_have_one_worker(tmp_path: Path) -> None:
    """What a topic gets comes from one worker, so that order per key holds over its streams, too."""
    given = settings(tmp_path, workers={"count": 2})
    one, two, three = (stream(name, OTHERS, address=f"{name}/{{place}}", keys=("/place",)) for name in "abc")
    joined = contract(one, two, type(three)(**{**_fields(three), "route": one.route}))
    assert [set(worker(joined, given, number).streams) for number in (1, 2)] == [{"a", "c"}, {"b"}]


def test_streams_that_share_a_topic_through_another_have_one_worker(tmp_path: Path) -> None:
    """A stream that goes to two topics keeps the streams of both with it."""
    given = settings(tmp_path, workers={"count": 2})
    one, two, three, four = (stream(name, OTHERS, address=f"{name}/{{place}}", keys=("/place",)) for name in "abcd")
    both = type(four)(**{**_fields(four), "route": one.route, "also": (three.route,)})
    joined = contract(one, two, three, both)
    workers = [worker(joined, given, number) for number in (1, 2)]
    assert [sorted(one.streams) for one in workers] == [["a", "c", "d"], ["b"]]


def test_streams_of_one_subscription_have_one_worker(tmp_path: Path) -> None:
    """A worker that is subscribed to `a/+` gets the messages of `a/b` too, so it has both streams."""
    given = settings(tmp_path, workers={"count": 2})
    addresses = {"a": "a/{place}", "b": "b", "c": "a/b"}
    streams = [stream(name, OTHERS, address=text, keys=("/place",)) for name, text in addresses.items()]
    workers = [worker(contract(*streams), given, number) for number in (1, 2)]
    assert [(one.streams, one.filters) for one in workers] == [
        (["a", "c"], {"broker": {"a/+": 1}}),
        (["b"], {"broker": {"b": 1}}),
    ]


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def test_a_stream_that_is_switched_off_takes_no_topic_of_another(tmp_path: Path) -> None:
    """What the subscription of another stream brings of it is dropped; it does not become that stream's."""
    given = settings(tmp_path, streams={"b": {"enabled": False}, "c": {"qos": 0}})
    addresses = {"a": "a/{place}", "b": "a/b", "c": "a/c", "d": "b/{place}"}
    made = contract(*[stream(name, OTHERS, address=text, keys=("/place",)) for name, text in addresses.items()])
    assert worker(made, given, 1).filters == {"broker": {"a/+": 1, "b/+": 1}}
    stream_of = topics_at(made, given, ["broker"])
    assert [stream_of(topic) for topic in (b"a/x", b"a/b", b"a/c", b"b/b", b"c")] == [
        "a", NOT_ADDRESSED, "c", "d", UNMAPPED,
    ]  # fmt: skip


def test_shared_streams_are_subscribed_to_by_all(tmp_path: Path) -> None:
    """With `split: shared` each worker subscribes to all streams, as a member of the group."""
    given = settings(tmp_path, workers={"count": 2, "split": "shared", "share": "ours"})
    one, two = worker(FIVE, given, 1), worker(FIVE, given, 2)
    assert one.filters == two.filters
    assert one.filters["broker"]["$share/ours/a/+"] == 1


def test_first_worker_calls_its_own_what_a_lone_gateway_does(tmp_path: Path) -> None:
    """A session and a backlog go on when workers come and go; the others have names beside them."""
    given = settings(tmp_path, workers={"count": 2}, http={"listen": "[::1]:9464"})
    first, second = worker(FIVE, given, 1), worker(FIVE, given, 2)
    assert (first.contract, first.settings) == (FIVE, given)
    assert second.contract.mqtt_servers["broker"].client_id == "gateway-broker-2"
    assert second.settings.resolve(second.settings.spool.path) == tmp_path / "worker-2" / "spool.db"
    assert second.settings.http.listen == "[::1]:9465"


def test_worker_above_the_count_is_started_while_it_has_a_spool(tmp_path: Path) -> None:
    """A retired worker takes nothing new; what it has is delivered, because it is started."""
    given = settings(tmp_path, workers={"count": 2})
    for name in ("worker-2", "worker-4", "worker-x", "worker-5"):
        (tmp_path / name).mkdir()
    for name in ("worker-2", "worker-4", "worker-x"):
        (tmp_path / name / "spool.db").touch()
    assert numbers(given) == [1, 2, 4]
    assert worker(FIVE, given, 4).streams == []


@pytest.mark.parametrize(
    ("workers", "listen", "expected_findings"),
    [
        ({"count": 5}, "127.0.0.1:9464", []),
        ({"count": 6}, "127.0.0.1:9464", [("error", "workers.count")]),
        ({"count": 3}, "127.0.0.1:65534", [("error", "http.listen")]),
        ({"count": 3, "apart": True}, "127.0.0.1:65534", []),
        ({"count": 3}, "off", []),
        ({"count": 6, "split": "shared"}, "127.0.0.1:9464", [("warning", "workers.split")]),
    ],
)
def test_check_tells_what_does_not_fit(
    tmp_path: Path, workers: dict[str, Any], listen: str, expected_findings: list[tuple[str, str]]
) -> None:
    """More workers than topics and ports that do not fit are errors; giving up the order is a warning."""
    given = settings(tmp_path, workers=workers, http={"listen": listen})
    assert [(finding.severity, finding.path) for finding in examine(FIVE, given)] == expected_findings


def test_check_tells_that_shared_streams_are_not_watched(tmp_path: Path) -> None:
    """No worker sees all readings of a key, so a gap would mean nothing."""
    watched = contract(*(replace(one, sequence="/n") for one in FIVE.streams.values()))
    found = examine(watched, settings(tmp_path, workers={"count": 2, "split": "shared"}))
    assert any("x-sequence and x-silent-after have no effect" in finding.message for finding in found)
    assert not list(examine(watched, settings(tmp_path, workers={"count": 2})))


def test_check_refuses_to_share_counters(tmp_path: Path) -> None:
    """No worker would know the last value of a key."""
    schema = record(("key", "string"), {"name": "total", "type": "long", "x-counter": {}})
    counting = contract(stream("meters", schema, address="m", keys=("/key",)))
    found = examine(counting, settings(tmp_path, workers={"count": 2, "split": "shared"}))
    (refused,) = [finding for finding in found if finding.severity == "error"]
    assert (
        refused.message == "x-counter of meters needs all readings of a key, but each worker receives a part of them."
    )
    assert (refused.path, refused.fix) == ("workers.split", "Set split to streams.")


def test_check_refuses_to_share_the_lines_of_telegrams(tmp_path: Path) -> None:
    """No worker would have a whole one."""
    of_lines = contract(*(replace(one, content="telegram", lines="text") for one in FIVE.streams.values()))
    found = examine(of_lines, settings(tmp_path, workers={"count": 2, "split": "shared"}))
    assert [finding.severity for finding in found if "lines of a telegram" in finding.message] == ["error"]
    assert not list(examine(of_lines, settings(tmp_path, workers={"count": 2})))


def test_options_of_run_go_before_the_file(tmp_path: Path) -> None:
    """`--workers` and `--split` win over gateway.yaml, and findings name them."""
    given = settings(tmp_path, workers={"count": 2, "share": "ours"}).with_workers(9, None)
    assert given.workers.model_dump() == {"count": 9, "split": "streams", "share": "ours", "apart": False}
    (finding,) = examine(FIVE, given)
    assert finding.source == "--workers"


def test_workers_that_are_apart_share_a_port_and_are_not_started_together(tmp_path: Path) -> None:
    """In a pod each there is nobody to step aside for; client id and folder stay a worker's own."""
    given = settings(tmp_path, workers={"count": 2, "apart": True}, http={"listen": "0.0.0.0:9464"})
    second = worker(FIVE, given, 2)
    assert second.settings.http.listen == "0.0.0.0:9464"
    assert second.settings.spool.path.endswith("worker-2/spool.db")
    with pytest.raises(ConfigurationError, match="not started together"):
        run_workers(tmp_path / "gateway.yaml", FIVE, given, [], {})


def test_worker_begins_with_the_schema_ids_of_the_first(tmp_path: Path) -> None:
    """It starts without the registry as well; what it finds out itself stays until the first one knows more."""
    given = settings(tmp_path, workers={"count": 2})
    ours, own = tmp_path / LOCK_FILE, tmp_path / "worker-2" / LOCK_FILE
    ours.write_text("{}")
    prepare_worker(FIVE, given, 2)
    assert own.read_text() == "{}"
    own.write_text('{"its": "own"}')
    prepare_worker(FIVE, given, 2)
    assert own.read_text() == '{"its": "own"}'
    ours.write_text('{"newer": "ids"}')
    os.utime(ours, (own.stat().st_mtime + 1, own.stat().st_mtime + 1))
    prepare_worker(FIVE, given, 2)
    assert own.read_text() == '{"newer": "ids"}'


def test_template_unit_is_the_unit_for_one_worker() -> None:
    """Hardening, credentials and restarts of both units are the same; only what makes an instance differs."""
    own, template = ((UNITS / name).read_text().splitlines() for name in ("gateway.service", "gateway@.service"))
    added = [line for line in template if line not in own and not line.startswith("#")]
    assert added == [
        "Description=MQTT to Kafka gateway for smart meters and factory sensors, worker %i",
        "Conflicts=gateway.service",
        "After=gateway.service",
        "ExecStart=/usr/bin/gateway run -c /etc/gateway/gateway.yaml --worker %i",
        "ExecReload=/usr/bin/gateway reload -c /etc/gateway/gateway.yaml --worker %i",
        "User=gateway",
    ]
    left_out = [line for line in own if line not in template and not line.startswith("#")]
    assert [line.partition("=")[0] for line in left_out] == ["Description", "ExecStart", "ExecReload"]


# --- with real servers ------------------------------------------------------------------------------------------------


@pytest.fixture
def broker(mosquitto: StartMosquitto) -> Mosquitto:
    """Start a broker."""
    return mosquitto()


@pytest.fixture
def reachable(broker: Mosquitto, kafka: Kafka, registry: Registry) -> dict[str, Any]:
    """Write the `servers` section of gateway.yaml."""
    return servers(broker, kafka, registry)


def test_workers_with_streams_of_their_own_keep_order(
    topics: Topics, broker: Mosquitto, reachable: dict[str, Any]
) -> None:
    """Two workers: nothing is lost, each key is in order, and both books balance."""
    readings = list(mixed(4_000, seed=5))
    with Workers(reachable, topics.contract) as gateway:
        gateway.start()
        publish(broker.port, readings)
        gateway.wait_settled(len(readings))
        ledgers = gateway.stop_and_read_ledgers()
    wanted = expected(readings)
    assert {name: topics.count(name) for name in TOPICS} == wanted
    assert [ledger["balanced"] for ledger in ledgers] == [True, True]
    assert sum(ledger["received"] for ledger in ledgers) == len(readings)
    assert all(ledger["delivered"] for ledger in ledgers)
    for topic in ("machine-sensors", "widget-readings", "smart-meter"):
        by_key = defaultdict(list)
        for found in topics.records(topic, wanted[topic]):
            by_key[found.key].append(sequence_of(found, topic))
        assert len(by_key) == 20
        assert all(numbers == sorted(numbers) for numbers in by_key.values())


def test_workers_work_under_the_filters_of_their_unit(
    topics: Topics, broker: Mosquitto, reachable: dict[str, Any]
) -> None:
    """Behind the unit's system-call filters the parent starts its workers, they deliver, and reload in turn."""
    readings = list(mixed(400, seed=6))
    with ConfinedWorkers(reachable, topics.contract) as gateway:
        gateway.change(workers={})
        gateway.launch_command("run", "-c", gateway.settings_file, "--workers", "2")
        gateway.wait_ready(gateway.is_ready, 60)
        publish(broker.port, readings)
        gateway.wait_settled(len(readings))
        status = Path(f"/proc/{gateway.pid_of(1)}/status").read_text()
        parent = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
        os.kill(parent, signal.SIGHUP)
        name = "gateway_reloads_total"
        wait_for(lambda: gateway.metric(name) == gateway.metric(name, outcome="accepted") == 2, 90, lambda: gateway.log)
        assert [each["worker"] for each in gateway.events("The contract was reloaded.")] == [1, 2]
        assert gateway.events("Some changes need a restart.") == [], "the options still go before the file"
        assert [ledger["balanced"] for ledger in gateway.stop_and_read_ledgers()] == [True, True]


def test_workers_that_share_take_each_reading_once(
    topics: Topics, broker: Mosquitto, reachable: dict[str, Any]
) -> None:
    """Dealt out by the broker, every reading goes to one worker, both work, and the log says what is given up."""
    readings = list(mixed(4_000, seed=6))
    with Workers(reachable, topics.contract, split="shared") as gateway:
        gateway.start()
        publish(broker.port, readings)
        gateway.wait_settled(len(readings))
        ledgers = gateway.stop_and_read_ledgers()
        warned = gateway.events("Order per key is not guaranteed.")
    assert {name: topics.count(name) for name in TOPICS} == expected(readings)
    assert [ledger["balanced"] for ledger in ledgers] == [True, True]
    assert sum(ledger["received"] for ledger in ledgers) == len(readings)
    assert all(ledger["received"] > len(readings) / 4 for ledger in ledgers)
    assert {line["worker"] for line in warned} == {1, 2}


def test_workers_take_up_their_spools(
    topics: Topics, broker: Mosquitto, reachable: dict[str, Any], free_port: FreePort
) -> None:
    """What two workers left on disk is delivered by the next start, though the second one is retired by then."""
    readings = list(mixed(1_000, seed=7))
    silent = {**reachable["kafka"], "registry": {"url": f"http://127.0.0.1:{free_port()}"}}
    with Workers({**reachable, "kafka": silent}, topics.contract) as gateway:
        gateway.start(ready=False)
        wait_for(gateway.is_subscribed, 30, "subscriptions")
        publish(broker.port, readings)
        wait_for(lambda: gateway.metric("gateway_received_total") == len(readings), 30, "all readings to come in")
        ledgers = gateway.stop_and_read_ledgers()
        assert all(ledger["balanced"] and ledger["spooled"] for ledger in ledgers)
        gateway.change(servers=reachable, workers={"count": 1})
        gateway.start()
        gateway.wait_settled(len(readings))
        ledgers = gateway.stop_and_read_ledgers()
    assert {name: topics.count(name) for name in TOPICS} == expected(readings)
    assert all(ledger["balanced"] and not ledger["spooled"] for ledger in ledgers)


def test_killed_worker_ends_all_and_the_next_start_goes_on(
    topics: Topics, broker: Mosquitto, reachable: dict[str, Any]
) -> None:
    """The other worker stops in order, the parent says who it was and ends with a code that is not 0."""
    readings = list(mixed(500, seed=8))
    with Workers(reachable, topics.contract) as gateway:
        gateway.start()
        os.kill(gateway.pid_of(2), signal.SIGKILL)
        assert gateway.wait_for_end() == 1
        (ended,) = gateway.events("A worker has ended.")
        assert ended["peer"] == "worker 2"
        assert ended["detail"].startswith("signal SIGKILL;")
        assert [ledger["worker"] for ledger in gateway.events("ledger")] == [1]
        publish(broker.port, readings)
        gateway.start()
        gateway.wait_settled(len(readings))
        gateway.stop_and_read_ledgers()
    assert {name: topics.count(name) for name in TOPICS} == expected(readings)


def test_parent_speaks_to_systemd_for_all(topics: Topics, reachable: dict[str, Any]) -> None:
    """One READY=1 when all are ready; WATCHDOG=1 only while all of them turn."""
    with (
        Workers(reachable, topics.contract) as gateway,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.settimeout(30)
        manager.bind(str(gateway.folder / "notify"))
        unit = {"NOTIFY_SOCKET": f"{gateway.folder}/notify", "WATCHDOG_USEC": "600000"}
        gateway.launch_command("run", "-c", gateway.settings_file, **unit)
        assert manager.recv(200).startswith(b"READY=1")
        assert manager.recv(200) == b"WATCHDOG=1"
        os.kill(gateway.pid_of(2), signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            _beats(manager, 100)
        os.kill(gateway.pid_of(2), signal.SIGCONT)
        _beats(manager, 3)
        gateway.stop_and_read_ledgers()


def _beats(manager: socket.socket, count: int) -> None:
    """Receive so many beats of the watchdog."""
    manager.settimeout(2 if count > 10 else 30)
    for _ in range(count):
        assert manager.recv(200) == b"WATCHDOG=1"
