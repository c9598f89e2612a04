"""A contract with the servers of several stages: an installation uses those that its gateway.yaml names."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gateway.cli.run import _loader
from gateway.contract import examine
from gateway.errors import ConfigurationError
from gateway.installation import open_installation
from gateway.operate.check import check
from gateway.page.html import Page
from gateway.settings.settings import load

if TYPE_CHECKING:
    from gateway.operate.check import Result

STEP = Path(__file__).parents[2] / "docs" / "steps" / "5"
STAGING = {"broker": "stagingBroker", "kafka": "stagingKafka"}


def document() -> Any:
    """Step 5 with another broker and another Kafka cluster, which no channel names yet."""
    read = yaml.safe_load((STEP / "asyncapi.yaml").read_text())
    for name, staging in STAGING.items():
        read["servers"][staging] = {**read["servers"][name], "host": f"{staging.lower()}.lan"}
    return read


def shared() -> Any:
    """Every channel is on the servers of both stages."""
    read = document()
    for channel in read["channels"].values():
        name = channel["servers"][0]["$ref"].removeprefix("#/servers/")
        channel["servers"] = [{"$ref": f"#/servers/{one}"} for one in (name, STAGING[name])]
    return read


def separate() -> Any:
    """Every stage has channels and operations of its own; the topics in Kafka have the same names."""
    read = document()
    staging = json.dumps({section: read[section] for section in ("channels", "operations")})
    for section in ("channels", "operations"):
        staging = re.sub(rf'"#/{section}/(\w+)', rf'"#/{section}/\1Staging', staging)
    for name, other in STAGING.items():
        staging = staging.replace(f"#/servers/{name}", f"#/servers/{other}")
    for section, nodes in json.loads(staging).items():
        read[section] |= {f"{name}Staging": node for name, node in nodes.items()}
    read["operations"]["receiveOvensStaging"]["x-dead-letter-to"] = {"$ref": "#/operations/sendDeadLetterStaging"}
    return read


def write(folder: Path, contract: Any, settings: str = "") -> Path:
    """Write a contract and a gateway.yaml; returns the path of the latter."""
    shutil.copy(STEP / "oven.avsc", folder)
    (folder / "asyncapi.yaml").write_text(json.dumps(contract))
    (folder / "gateway.yaml").write_text(f"contract: asyncapi.yaml\n{settings}")
    return folder / "gateway.yaml"


def checked(config: Path) -> Result:
    """The result of `gateway check -c`."""
    return check(config, Path("none"), {})


@pytest.mark.parametrize("contract", [shared, separate])
@pytest.mark.parametrize("names", [("broker", "kafka"), ("stagingBroker", "stagingKafka")])
def test_an_installation_has_the_streams_of_its_servers(tmp_path: Path, contract: Any, names: tuple[str, str]) -> None:
    config = write(tmp_path, contract(), f"use_servers: [{', '.join(names)}]\n")
    result = checked(config)
    assert result.findings == ()
    assert [one.servers for one in result.streams] == [names[:1]]
    installation = open_installation(config, {})
    assert installation.contract.kafka.name == names[1]
    assert [*installation.contract.mqtt_servers] == [names[0]]
    assert [*installation.contract.streams] == [result.streams[0].name]


def test_the_page_of_an_installation_shows_its_part(tmp_path: Path) -> None:
    settings = load(write(tmp_path, separate(), "use_servers: [broker, kafka]\n"), {})
    _, page = _loader()((settings.resolve(settings.contract), settings.choice))
    assert isinstance(page, Page)
    assert "receiveOvens" in page.text
    assert "taging" not in page.text


def test_settings_of_the_other_stage_may_stay(tmp_path: Path) -> None:
    """One gateway.yaml serves all stages; its other files are on other machines."""
    more = "servers: {stagingKafka: {sasl: {mechanism: PLAIN, username: g, password_file: absent}}}\n"
    more += "streams: {receiveOvensStaging: {qos: 0}}\n"
    config = write(tmp_path, separate(), f"use_servers: [broker, kafka]\n{more}")
    assert checked(config).findings == ()
    with pytest.raises(ConfigurationError, match="absent"):
        load(config, {"GATEWAY_USE_SERVERS": "stagingBroker, stagingKafka"})


@pytest.mark.parametrize(
    ("settings", "message", "fix"),
    [
        ("use_servers: [broker, kafak]", "has no server 'kafak'", "Did you mean 'kafka'?"),
        ("use_servers: [broker]", "names no Kafka server", "Add kafka or stagingKafka."),
        ("use_servers: [kafka]", "names no MQTT server", "Add broker or stagingBroker."),
        ("use_servers: {a: b}", "Expected a list of names", "Write it as in [broker, kafka]."),
        ("use_servers: [broker, kafka, stagingKafka]", "more than one Kafka server", "`use_servers: [broker, kafka]`"),
        ("", "more than one Kafka server: kafka, stagingKafka", "`use_servers: [broker, kafka]`"),
    ],
)
def test_check_says_how_to_choose(tmp_path: Path, settings: str, message: str, fix: str) -> None:
    findings = checked(write(tmp_path, shared(), f"{settings}\n")).findings
    (finding,) = [one for one in findings if one.severity == "error"]
    assert message in finding.message
    assert fix in finding.fix


def test_kafka_servers_only_is_a_protocol_that_is_wrong(tmp_path: Path) -> None:
    """Nothing is to be chosen there: the broker has the wrong protocol."""
    read = document()
    read["servers"] |= {name: server | {"protocol": "kafka"} for name, server in read["servers"].items()}
    errors = [one for one in checked(write(tmp_path, read)).findings if one.path == "#/servers"]
    names = ", ".join(read["servers"])
    assert [one.message for one in errors] == [f"The contract has Kafka servers only: {names}."]


@pytest.mark.parametrize("contract", [shared, separate])
def test_a_contract_alone_is_that_of_all_its_stages(tmp_path: Path, contract: Any) -> None:
    """Each stage is checked; the warning says that an installation must choose."""
    write(tmp_path, contract())
    found, (finding,) = examine(tmp_path / "asyncapi.yaml")
    assert found is not None
    assert (finding.severity, finding.path) == ("warning", "#/servers/stagingKafka")


def test_a_fault_of_any_stage_is_a_fault_of_the_contract_alone(tmp_path: Path) -> None:
    contract = separate()
    contract["channels"]["ovensStaging"]["address"] = "staging/+"
    config = write(tmp_path, contract, "use_servers: [broker, kafka]\n")
    found, findings = examine(tmp_path / "asyncapi.yaml")
    assert found is None
    assert "#/channels/ovensStaging/address" in [one.path for one in findings if one.severity == "error"]
    assert checked(config).findings == ()


def test_dead_letters_need_a_server_in_use(tmp_path: Path) -> None:
    contract = separate()
    contract["operations"]["receiveOvens"]["x-dead-letter-to"] = {"$ref": "#/operations/sendDeadLetterStaging"}
    (finding,) = checked(write(tmp_path, contract, "use_servers: [broker, kafka]\n")).findings
    assert finding.path == "#/operations/receiveOvens/x-dead-letter-to"
    assert "does not use" in finding.message
