"""The Kubernetes manifests: held against Kubernetes's own schemas, and run as processes with what they say.

No cluster is here: what a scheduler, a network plug-in or a volume driver does with them is not tried.
"""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import kubernetes_validate
import pytest
import yaml

from gateway.contract import load
from release import image
from tests.faults.site import exit_code
from tests.stack.mosquitto import hashed_passwords
from tests.stack.pod import MANIFESTS, Pod, config_map, manifest
from tests.stack.publisher import Publisher
from tests.stack.reading_records import record_count
from tests.stack.wait import wait_for
from tests.test_end_to_end import TOPICS

if TYPE_CHECKING:
    from tests.conftest import FreePort, StartKafka, StartMosquitto
    from tests.stack.certificates import Certificates
    from tests.stack.registry import Registry

DEPLOY = MANIFESTS.parent
RESOURCES = [name.removesuffix(".yaml") for name in manifest("kustomization")["resources"]]
OPERATORS = {"servicemonitor"}  # of the Prometheus operator, not of Kubernetes
FIRST_VERSION, LAST_VERSION = "1.31", "1.37"
SET = manifest("statefulset")["spec"]
POD = SET["template"]["spec"]
(CONTAINER,) = POD["containers"]
SETTINGS = manifest("gateway")
SECRETS = {"mqtt-password": b"secret", "kafka-password": b"secret\n"}
USERS = {"gateway": "secret", "device": "secret"}
BROKER = """\
listener 8883
cafile ca.crt
certfile broker.crt
keyfile broker.key
listener 1883
allow_anonymous false
password_file passwd
max_queued_messages 0
max_inflight_messages 0
"""


# --- what they say ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [FIRST_VERSION, LAST_VERSION])
@pytest.mark.parametrize("name", sorted({*RESOURCES} - OPERATORS))
def test_every_manifest_fits_the_schema_of_kubernetes(name: str, version: str) -> None:
    """Strictly: a field that Kubernetes does not know is an error."""
    assert kubernetes_validate.validate(manifest(name), version, strict=True) == version


def test_all_manifests_are_part_of_what_is_applied_and_belong_together() -> None:
    files = {path.stem for path in MANIFESTS.glob("*.yaml")}
    assert files == {*RESOURCES, "gateway", "kustomization"}
    labels = SET["template"]["metadata"]["labels"]
    service, monitor = manifest("service"), manifest("servicemonitor")
    assert SET["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert manifest("poddisruptionbudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == [
        port["name"] for port in service["spec"]["ports"]
    ]
    assert SET["serviceName"] == service["metadata"]["name"] == "gateway", "the job of the alert rules"


def test_pods_are_as_many_as_workers_and_listen_where_the_probes_ask() -> None:
    assert SET["replicas"] == SETTINGS["workers"]["count"]
    assert SETTINGS["workers"]["apart"]
    assert SET["ordinals"]["start"] == 1, "workers count from 1"
    (port,) = CONTAINER["ports"]
    assert SETTINGS["http"]["listen"] == f"0.0.0.0:{port['containerPort']}"
    assert {CONTAINER[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} == {"http"}


def test_a_pod_may_do_no_more_than_the_restricted_standard_allows() -> None:
    """Pod Security Standards, level restricted, and a file system that cannot be written."""
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not POD["automountServiceAccountToken"]
    assert not POD["enableServiceLinks"], "the settings would refuse a variable that Kubernetes made of a service"


def test_a_pod_is_given_the_time_and_memory_that_the_unit_gives() -> None:
    unit = (DEPLOY / "gateway.service").read_text()
    assert f"TimeoutStopSec={POD['terminationGracePeriodSeconds']}\n" in unit
    assert f"MemoryMax={CONTAINER['resources']['limits']['memory'].removesuffix('i')}\n" in unit


def test_the_config_map_holds_the_contract_and_all_that_it_names() -> None:
    (volume,) = [volume for volume in POD["volumes"] if "configMap" in volume]
    (generator,) = manifest("kustomization")["configMapGenerator"]
    assert volume["configMap"]["name"] == generator["name"]
    assert {item["key"] for item in volume["configMap"]["items"]} == config_map().keys()
    named = set(re.findall(r"schemas/\w+\.avsc", config_map()["asyncapi.yaml"].read_text()))
    assert named == {item["path"] for item in volume["configMap"]["items"]} - {"asyncapi.yaml", "gateway.yaml"}


def test_the_network_policy_lets_out_to_every_server_of_the_settings_and_to_nothing_else() -> None:
    servers = SETTINGS["servers"]
    urls = (servers["factoryBroker"]["host"], servers["kafka"]["host"], servers["kafka"]["registry"]["url"])
    wanted = {tuple(url.rpartition("/")[2].split(":")) for url in urls}
    allowed = {
        (each["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], str(each["ports"][0]["port"]))
        for each in manifest("networkpolicy")["spec"]["egress"]
        if "namespaceSelector" not in each["to"][0]  # name servers
    }
    assert allowed == wanted


def test_the_image_runs_as_the_user_of_the_pods() -> None:
    user = POD["securityContext"]
    assert f"{user['runAsUser']}:{user['runAsGroup']}" == image.USER
    assert user["fsGroup"] == user["runAsGroup"]
    assert POD["containers"][0]["args"][:3] == image.CONFIGURATION["Cmd"]


def test_the_alert_rules_become_an_object_of_the_operator_with_the_documented_command() -> None:
    readme = (MANIFESTS / "README.md").read_text()
    found = re.search(r"\(printf.*?\) (?=\| kubectl)", readme, re.DOTALL)
    assert found
    made = subprocess.run(["/bin/sh", "-c", found[0]], cwd=DEPLOY.parent, capture_output=True, timeout=30, check=True)
    rules = yaml.safe_load(made.stdout)
    assert (rules["kind"], rules["metadata"]) == ("PrometheusRule", {"name": "gateway"})
    assert rules["spec"] == yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())


# --- what they do -----------------------------------------------------------------------------------------------------


def test_two_pods_share_the_readings_of_a_broker(
    kafka_cluster: StartKafka,
    mosquitto: StartMosquitto,
    registry: Registry,
    certificates: Certificates,
    free_port: FreePort,
) -> None:
    """As the manifests run them: over TLS, with passwords from the secret, a session and a spool each."""
    cluster = kafka_cluster(certificates=certificates, users=USERS)
    for name in TOPICS:
        cluster.create_topic(name, 3)
    keys = {
        f"{name}.{kind}": certificates.folder / f"{name}.{kind}" for name in ("broker", "ca") for kind in ("crt", "key")
    }
    broker = mosquitto(BROKER, keys | {"passwd": hashed_passwords(USERS)})
    port = free_port()
    secrets = SECRETS | {"ca.pem": certificates.ca.read_bytes()}
    variables = {
        "GATEWAY_SERVERS__FACTORYBROKER__HOST": f"localhost:{broker.port_of(8883)}",
        "GATEWAY_SERVERS__KAFKA__HOST": cluster.servers("SASL_SSL"),
        "GATEWAY_SERVERS__KAFKA__REGISTRY__URL": registry.url,
    }
    with ExitStack() as running:
        pods = []
        for number in range(1, SET["replicas"] + 1):
            host = f"127.0.0.{number + 1}"  # an address for each, as in a cluster, and one port for all
            given = variables | {"GATEWAY_HTTP__LISTEN": f"{host}:{port}"}
            pods.append(running.enter_context(Pod(number, secrets, given, (host, port))).start())
        with Publisher(broker.port_of(1883), credentials=("device", "secret")) as device:
            device.publish((f"factory/machine-{n % 50}/s", b'{"value":%d,"units":"C"}' % n) for n in range(2_000))
        delivered = [0.0, 0.0]

        def all_delivered() -> bool:
            delivered[:] = [pod.metric("gateway_delivered_total") for pod in pods]
            return sum(delivered) == 2_000

        wait_for(all_delivered, 60, lambda: f"2000 readings; {delivered}")
        assert min(delivered) > 500, delivered
        assert record_count(cluster.bootstrap, "machine-sensors") == 2_000
        assert {"iot-gateway", "iot-gateway-2"} <= set(re.findall(r" as (\S+) ", broker.log))
        assert [pod.stop_and_read_ledger()["balanced"] for pod in pods] == [True, True]


def test_a_pod_whose_secrets_others_can_read_does_not_start(certificates: Certificates, free_port: FreePort) -> None:
    """Kubernetes's own default mode for them, 0644, would be refused: the manifest has to say another."""
    secrets = SECRETS | {"ca.pem": certificates.ca.read_bytes()}
    address = ("127.0.0.1", free_port())
    with Pod(1, secrets, {}, address, secret_mode=0o644) as pod:
        with pytest.raises(AssertionError, match="ended while starting"):
            pod.start()
        assert exit_code(pod) == 78
        assert pod.log.count("Users other than its owner can access the secret") == 2


def test_the_settings_fit_the_contract_they_are_shipped_with() -> None:
    contract = load(config_map()["asyncapi.yaml"])
    assert SETTINGS["servers"].keys() <= {*contract.mqtt_servers, contract.kafka.name}
    assert SETTINGS["streams"].keys() <= contract.streams.keys()
