"""Fixtures: real servers, started when the first test asks for them, stopped when the last one is done.

Tests of the pure part ask for none and take seconds. The servers themselves are described in `tests/stack/`.
`kafka` and `registry` are shared by all jobs of a run, so a test takes new topics from `topic` and leaves the servers
as they are. A test that stops, kills or freezes takes `away_kafka`, which its job has for such tests and which runs
again after each, or its own from `kafka_cluster` or `own_registry`. Mosquitto starts in 20 ms: every test has its own.
"""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from tests.stack.certificates import Certificates, make_certificates
from tests.stack.kafka import Kafka
from tests.stack.mosquitto import OPEN_AND_PERSISTENT, Mosquitto
from tests.stack.ports import HeldPort
from tests.stack.registry import Registry
from tests.stack.shared import SharedServers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from xdist.remote import Producer


# The files that take longest, the longest first. A job takes a whole file, so one that begins last is waited for.
LONG = (
    "test_native.py", "test_source.py", "test_bridge.py", "test_logins.py", "test_mqtt_faults.py", "test_deb.py",
    "test_doctor.py", "test_workers.py", "test_registries.py", "test_examine.py", "test_simulate.py", "test_update.py",
    "test_schema_ids.py",
    "test_transactional_sink.py", "test_reload.py", "test_findings.py", "test_mosquitto_files.py", "test_demo.py",
    "test_cli.py", "test_learn.py", "test_renewal.py", "test_sink.py", "test_drift.py", "test_transactions.py",
    "test_canary.py", "test_servers.py", "test_schemas.py", "test_reader.py", "test_soak.py",
    "test_oauth.py", "test_all_families.py", "test_prometheus.py", "test_dead_letters.py", "test_kubernetes.py",
    "test_forms.py", "test_leaders.py", "test_status_page.py", "test_surface.py", "test_process_faults.py",
    "test_compose.py", "test_headers.py", "test_value_reader.py", "test_init.py", "test_payloads.py",
    "test_retained.py", "test_adopt.py", "test_access.py", "test_spool.py", "test_unit.py", "test_kafka_faults.py",
    "test_topics.py", "test_payload_schema.py", "test_exactly_once.py", "test_installations.py",
    "test_documentation.py", "test_carriers.py", "test_scale.py", "test_codec.py", "test_warnings.py",
    "test_mapping.py", "test_status_publisher.py", "test_status.py", "test_load_broker.py", "test_record.py",
    "test_quarantine.py", "test_broker.py", "test_shadow.py",
)  # fmt: skip

# One job takes all of such files, because they need servers of their job: a Kafka that they break, a plant with logins.
TOGETHER = (
    ("tests/bridge/test_bridge.py", "tests/kafka/test_transactional_sink.py", "tests/test_end_to_end.py"),
    ("tests/faults/", "tests/stack/test_servers.py"),
    ("tests/security/",),
)

# How long an example takes says how loaded the machine is, not whether the code is right.
settings.register_profile("loaded", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded")


class WholeFiles(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives whole files to the jobs, some together."""

    def _split_scope(self, nodeid: str) -> str:
        return next((files[0] for files in TOGETHER if nodeid.startswith(files)), super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> WholeFiles:
    """Choose how `-n` divides the tests."""
    return WholeFiles(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files; `make test` keeps this order."""
    rank = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


class StartMosquitto(Protocol):
    """Starts brokers."""

    def __call__(self, configuration: str = ..., files: Mapping[str, str | bytes | Path] | None = ...) -> Mosquitto:
        """Start a broker: `mosquitto()` or `mosquitto(configuration, files)`."""


class StartKafka(Protocol):
    """Starts clusters."""

    def __call__(
        self,
        nodes: int = ...,
        certificates: Certificates | None = ...,
        users: Mapping[str, str] | None = ...,
        settings: Mapping[str, object] | None = ...,
    ) -> Kafka:
        """Start a cluster of the test's own: `kafka_cluster(nodes=3)`."""


class NewTopic(Protocol):
    """Makes topics."""

    def __call__(self, word: str = ..., partitions: int = ..., settings: Mapping[str, str] | None = ...) -> str:
        """Make a topic in the shared Kafka: `topic("doors", partitions=3)` is the name of a new `doors-...`."""


class FreePort(Protocol):
    """Holds ports."""

    def __call__(self) -> int:
        """Hold a port of 127.0.0.1 for the test; what listens on it must set SO_REUSEADDR, as most servers do."""


@pytest.fixture(scope="session")
def shared_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServers]:
    """Share servers with the other jobs of this run."""
    folder = tmp_path_factory.getbasetemp()
    with SharedServers(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) as servers:
        yield servers


@pytest.fixture(scope="session")
def kafka(shared_servers: SharedServers) -> Kafka:
    """Give one Kafka node without TLS or passwords for the whole run."""
    return shared_servers.get(Kafka)


@pytest.fixture(scope="session")
def registry(shared_servers: SharedServers) -> Registry:
    """Give one schema registry for the whole run."""
    return shared_servers.get(Registry)


@pytest.fixture(scope="session")
def breakable_kafka() -> Iterator[Kafka]:
    """Start one Kafka node for the tests of this job that break it."""
    with Kafka(users={"gateway": "secret"}) as cluster:
        yield cluster


@pytest.fixture
def away_kafka(breakable_kafka: Kafka) -> Iterator[Kafka]:
    """Give that node to a test that freezes, stops or kills it; afterwards it runs again."""
    yield breakable_kafka
    with suppress(AssertionError):  # it was killed
        breakable_kafka.thaw()
    breakable_kafka.start()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make an authority and its certificates, good and bad."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def topic(kafka: Kafka) -> NewTopic:
    """Make topics that no other test uses."""

    def new(word: str = "readings", partitions: int = 3, settings: Mapping[str, str] | None = None) -> str:
        return kafka.create_topic(f"{word}-{uuid.uuid4().hex[:8]}", partitions, settings=settings)

    return new


@pytest.fixture
def kafka_cluster() -> Iterator[StartKafka]:
    """Start clusters that the test may stop, kill and freeze, or that ask for TLS and passwords."""
    with ExitStack() as started:

        def start(
            nodes: int = 1,
            certificates: Certificates | None = None,
            users: Mapping[str, str] | None = None,
            settings: Mapping[str, object] | None = None,
        ) -> Kafka:
            return started.enter_context(Kafka(nodes, certificates, users, settings))

        yield start


@pytest.fixture
def own_registry() -> Iterator[Registry]:
    """Start a registry that the test may stop, kill and freeze."""
    with Registry() as server:
        yield server


@pytest.fixture
def mosquitto() -> Iterator[StartMosquitto]:
    """Start MQTT brokers; they end with the test."""
    with ExitStack() as started:

        def start(
            configuration: str = OPEN_AND_PERSISTENT, files: Mapping[str, str | bytes | Path] | None = None
        ) -> Mosquitto:
            return started.enter_context(Mosquitto(configuration, files))

        yield start


@pytest.fixture
def free_port() -> Iterator[FreePort]:
    """Hold ports for servers that the test starts itself."""
    held: list[HeldPort] = []

    def new() -> int:
        held.append(HeldPort())
        return held[-1].number

    yield new
    for port in held:
        port.release()
