"""Real Apache Kafka: one to three KRaft nodes, each a broker and a controller, from the jars Maven fetched.

    with Kafka() as kafka:
        kafka.create_topic("machine-sensors", partitions=3)
        Producer({"bootstrap.servers": kafka.bootstrap})

    Kafka(nodes=3)                          replication 3, min.insync.replicas 2
    Kafka(certificates=certificates)        also SSL: a client certificate is required; OPEN_SSL: none is
    Kafka(users={"gateway": "secret"})      also SASL_PLAINTEXT: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
    both                                    also SASL_SSL
    Kafka(jwks=path)                        also SASL_PLAINTEXT: OAUTHBEARER, tokens that a key of this file signed

- Every node has every listener, on ports that stay its own through kill and restart.
- Topics are never made by accident: automatic creation is off.
- A node killed with `kill` may come back after 3 s, when the controller has noticed (Kafka's default is 9 s).
- The data lives in each node's temporary folder until `close`.
"""

from __future__ import annotations

import base64
import struct
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it does not declare its exports
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from confluent_kafka.cimpl import NewTopic

from tests.stack.identity import AUDIENCE, ISSUER
from tests.stack.ports import HeldPort
from tests.stack.process import Server, Started
from tests.stack.software import fetched, java
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stack.certificates import Certificates

READY_SECONDS = 180  # a loaded machine starts Java slowly
LOG_SETTINGS = Path(__file__).parent / "java" / "log4j2.properties"
MEBIBYTE = 1 << 20
MECHANISMS = (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
_BATCH_HEADER = struct.Struct(">qi")  # base offset, length of what follows
PROTOCOLS = {"CONTROLLER": "PLAINTEXT", "OPEN_SSL": "SSL"}  # of listeners that are not called by theirs

# Small and quick. The defaults make 50 partitions for each internal topic, wait 3 s for a group's first members,
# take 9 s to notice a killed node, and write a record twice a second while nothing happens.
QUICK: dict[str, object] = {
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    "offsets.topic.segment.bytes": 4 * MEBIBYTE,
    "transaction.state.log.segment.bytes": 4 * MEBIBYTE,
    "log.index.size.max.bytes": MEBIBYTE,
    "log.cleaner.dedupe.buffer.size": 4 * MEBIBYTE,
    "metadata.max.idle.interval.ms": 0,
    "num.network.threads": 1,
    "num.io.threads": 2,
    "background.threads": 2,
    "group.initial.rebalance.delay.ms": 0,
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    "controller.quorum.election.timeout.ms": 500,
    "controller.quorum.fetch.timeout.ms": 1000,
}


class Node(Server):
    """One node of a cluster, with a held port for each listener.

    Args:
        number: its node id, from 1.
        listeners: names of its listeners.
    """

    def __init__(self, number: int, listeners: list[str]) -> None:
        super().__init__(f"kafka-{number}")
        self.number = number
        self.ports = {listener: HeldPort() for listener in listeners}

    @property
    def settings_file(self) -> Path:
        """Its server.properties."""
        return self.folder / "server.properties"

    def close(self) -> None:
        """Kill it, remove its data and give its ports back."""
        self.kill()  # a clean stop would save what is thrown away, and takes 10 s where the quorum is gone
        super().close()
        for port in self.ports.values():
            port.release()


class Kafka(Started):
    """A Kafka cluster; a context manager that starts it and closes it.

    Args:
        nodes: 1 to 3.
        certificates: adds the SSL listener.
        users: passwords by user name; adds the SASL listener.
        jwks: the public keys that sign tokens; adds the SASL listener with OAUTHBEARER.
        settings: more lines of server.properties; they win.
    """

    def __init__(
        self,
        nodes: int = 1,
        certificates: Certificates | None = None,
        users: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
        jwks: Path | None = None,
    ) -> None:
        self._certificates = certificates
        self._jwks = jwks
        self._users = dict(users or {})
        self._settings = dict(settings or {})
        self._nodes = {number: Node(number, self._listeners()) for number in range(1, nodes + 1)}
        self._is_formatted = False

    @property
    def bootstrap(self) -> str:
        """Bootstrap servers of the PLAINTEXT listener."""
        return self.servers("PLAINTEXT")

    def servers(self, listener: str) -> str:
        """Bootstrap servers of a listener.

        Args:
            listener: `PLAINTEXT`, `SSL`, `OPEN_SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.

        Returns:
            `127.0.0.1:PORT`, comma-separated.
        """
        return ",".join(str(node.ports[listener]) for node in self._nodes.values())

    def start(self) -> Self:
        """Start every node that is not running and wait until a client can use them all.

        Raises:
            AssertionError: a node does not come up; with what it wrote.
        """
        is_new = not self._is_formatted
        if is_new:
            self._format()
        for node in self._nodes.values():
            if not node.is_running:
                self._launch(node)
        self._wait_ready()
        for user, password in self._users.items() if is_new else ():
            self.set_password(user, password)
        return self

    def start_node(self, node: int = 1) -> None:
        """Start one node again and wait until it is back in the cluster."""
        self._launch(self._nodes[node])
        self._wait_ready()

    def stop(self, seconds: float = 15) -> None:
        """Stop all nodes cleanly, each in so many seconds; their data stays."""
        for node in self._nodes.values():
            node.stop(seconds)

    def stop_node(self, node: int = 1) -> None:
        """Stop one node cleanly."""
        self._nodes[node].stop()

    def kill(self, node: int = 1) -> None:
        """Kill one node with SIGKILL."""
        self._nodes[node].kill()

    def freeze(self, node: int = 1) -> None:
        """Stop one node in its tracks: connections stay open, nothing answers."""
        self._nodes[node].freeze()

    def thaw(self, node: int = 1) -> None:
        """Let a frozen node go on."""
        self._nodes[node].thaw()

    def pid(self, node: int = 1) -> int:
        """Process id of a node."""
        return self._nodes[node].pid

    def create_topic(
        self, name: str, partitions: int = 1, replicas: int | None = None, settings: Mapping[str, str] | None = None
    ) -> str:
        """Create a topic and wait until every partition has a leader.

        Args:
            name: of the topic.
            partitions: how many.
            replicas: how many; one on each node when None.
            settings: topic configuration, as `max.message.bytes`.

        Returns:
            The name.

        Raises:
            KafkaException: Kafka refuses it.
        """
        admin = self._admin()
        topic = NewTopic(name, partitions, replicas or len(self._nodes), config=dict(settings or {}))
        admin.create_topics([topic])[name].result(30)
        wait_for(lambda: _has_leaders(admin, name, partitions), 30, f"leaders of topic {name}")
        return name

    def ensure_topic(self, name: str, partitions: int = 1, *, settings: Mapping[str, str] | None = None) -> None:
        """Create a topic that tests share, if it is not there.

        Args:
            name: of the topic.
            partitions: how many.
            settings: topic configuration.
        """
        try:
            self.create_topic(name, partitions, settings=settings)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def allow(self, user: str, name: str, operation: str, kind: str = "TOPIC") -> None:
        """Give a user a right on a topic, or on something else, where an authorizer asks for rights.

        Raises:
            KafkaException: Kafka refuses it.
        """
        rule = AclBinding(
            ResourceType[kind], name, ResourcePatternType.LITERAL, f"User:{user}", "*",
            AclOperation[operation], AclPermissionType.ALLOW,
        )  # fmt: skip
        admin = self._admin()
        admin.create_acls([rule])[rule].result(30)

    def delete_topic(self, name: str) -> None:
        """Delete a topic.

        Raises:
            KafkaException: Kafka refuses it.
        """
        admin = self._admin()
        admin.delete_topics([name])[name].result(30)
        wait_for(lambda: name not in admin.list_topics(timeout=5).topics, 30, f"topic {name} to be gone")

    def batches(self, topic: str, partition: int = 0) -> int:
        """Count the record batches in a partition's log: each came in one request."""
        log = self._nodes[1].folder / "log" / f"{topic}-{partition}" / f"{0:020}.log"
        data, position, count = log.read_bytes(), 0, 0
        while position < len(data):
            position += _BATCH_HEADER.size + _BATCH_HEADER.unpack_from(data, position)[1]
            count += 1
        return count

    def leader(self, topic: str, partition: int = 0) -> int:
        """Number of the node that leads a partition."""
        return int(self._admin().list_topics(topic, timeout=10).topics[topic].partitions[partition].leader)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change settings of the running nodes, as a listener's certificate; connections that are open stay.

        Raises:
            KafkaException: Kafka refuses it.
        """
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
        ]
        nodes = [
            ConfigResource(ConfigResource.Type.BROKER, str(node), incremental_configs=entries) for node in self._nodes
        ]
        admin = self._admin()
        for done in admin.incremental_alter_configs(nodes).values():
            done.result(30)

    def set_password(self, user: str, password: str) -> None:
        """Give a user a password for SCRAM; the one for PLAIN stays.

        Raises:
            KafkaException: Kafka refuses it.
        """
        admin = self._admin()
        for mechanism in MECHANISMS:
            change = UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanism, 4096), password.encode())
            admin.alter_user_scram_credentials([change])[user].result(30)

    def close(self) -> None:
        """Kill all nodes, remove their data and give their ports back."""
        for node in self._nodes.values():
            node.close()

    def _admin(self) -> AdminClient:
        # Quiet and impatient: nodes that are down are this cluster's daily business.
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})

    def _launch(self, node: Node) -> None:
        jars = fetched("kafka") / "lib"
        logging = f"-Dlog4j2.configurationFile={LOG_SETTINGS}"
        # Kafka reads keys only from places that are allowed by name.
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self._jwks.as_uri() if self._jwks else ''}"
        node.launch(java("kafka", logging, allowed, "-cp", f"{jars}/*", "kafka.Kafka", node.settings_file))

    def _wait_ready(self) -> None:
        admin = self._admin()
        running = [node for node in self._nodes.values() if node.is_running]
        # A port that listens is not enough: a client needs the node in the metadata.
        for node in running:
            node.wait_ready(lambda number=node.number: number in _brokers(admin), READY_SECONDS)  # type: ignore[misc]  # mypy cannot infer a lambda with a default

    def _format(self) -> None:
        """Write what `kafka-storage format` writes; a JVM for it would take as long as half of the node's start."""
        cluster = _random_uuid()
        for node in self._nodes.values():
            lines = (f"{name}={value}\n" for name, value in self._properties(node).items())
            node.settings_file.write_text("".join(lines))
            (node.folder / "log").mkdir()
            identity = {"version": 1, "cluster.id": cluster, "node.id": node.number, "directory.id": _random_uuid()}
            lines = (f"{name}={value}\n" for name, value in identity.items())
            (node.folder / "log" / "meta.properties").write_text("".join(lines))
        self._is_formatted = True

    def _listeners(self) -> list[str]:
        return [
            "PLAINTEXT",
            "CONTROLLER",
            *(["SSL", "OPEN_SSL"] if self._certificates else []),
            *(["SASL_PLAINTEXT"] if self._users or self._jwks else []),
            *(["SASL_SSL"] if self._certificates and self._users else []),
        ]

    def _properties(self, node: Node) -> dict[str, object]:
        return (
            self._identity(node)
            | self._replication()
            | QUICK
            | (self._tls(self._certificates) if self._certificates else {})
            | (self._sasl() if self._users else {})
            | (_oauth(self._jwks) if self._jwks else {})
            | self._settings
        )

    def _identity(self, node: Node) -> dict[str, object]:
        addresses = {listener: f"{listener}://{port}" for listener, port in node.ports.items()}
        public = [address for listener, address in addresses.items() if listener != "CONTROLLER"]
        voters = (f"{each.number}@{each.ports['CONTROLLER']}" for each in self._nodes.values())
        protocols = [f"{name}:{PROTOCOLS.get(name, name)}" for name in addresses]
        return {
            "process.roles": "broker,controller",
            "node.id": node.number,
            "controller.quorum.voters": ",".join(voters),
            "listeners": ",".join(addresses.values()),
            "advertised.listeners": ",".join(public),
            "listener.security.protocol.map": ",".join(protocols),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": node.folder / "log",
        }

    def _replication(self) -> dict[str, object]:
        replicas = len(self._nodes)
        in_sync = max(1, replicas - 1)
        return {
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": in_sync,
        }

    def _tls(self, certificates: Certificates) -> dict[str, object]:
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": certificates.broker_keystore,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": certificates.ca,
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.allow.dn.changes": "true",  # tests let it show certificates that are made for others
            "ssl.allow.san.changes": "true",
        }

    def _sasl(self) -> dict[str, object]:
        logins = "org.apache.kafka.common.security"
        users = "".join(f' user_{user}="{password}"' for user, password in self._users.items())
        settings: dict[str, object] = {"sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"}
        for listener in ("sasl_plaintext", "sasl_ssl"):
            prefix = f"listener.name.{listener}"
            settings[f"{prefix}.plain.sasl.jaas.config"] = f"{logins}.plain.PlainLoginModule required{users};"
            for digest in ("256", "512"):
                scram = f"{logins}.scram.ScramLoginModule required;"
                settings[f"{prefix}.scram-sha-{digest}.sasl.jaas.config"] = scram
        return settings


def _oauth(jwks: Path) -> dict[str, object]:
    login, prefix = "org.apache.kafka.common.security.oauthbearer", "listener.name.sasl_plaintext.oauthbearer"
    return {
        "sasl.enabled.mechanisms": "OAUTHBEARER",
        f"{prefix}.sasl.jaas.config": f"{login}.OAuthBearerLoginModule required;",
        f"{prefix}.sasl.server.callback.handler.class": f"{login}.OAuthBearerValidatorCallbackHandler",
        f"{prefix}.connections.max.reauth.ms": 3_600_000,  # or when the token expires
        "sasl.oauthbearer.jwks.endpoint.url": jwks.as_uri(),
        "sasl.oauthbearer.expected.audience": AUDIENCE,
        "sasl.oauthbearer.expected.issuer": ISSUER,
    }


def _random_uuid() -> str:
    """Make what `kafka-storage random-uuid` prints."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _brokers(admin: AdminClient) -> set[int]:
    try:
        return set(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return set()


def _has_leaders(admin: AdminClient, topic: str, partitions: int) -> bool:
    metadata = admin.list_topics(topic, timeout=5).topics[topic].partitions
    return len(metadata) == partitions and all(partition.leader > 0 for partition in metadata.values())
