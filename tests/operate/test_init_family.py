"""`gateway init --family`: a family becomes part of a contract, and nothing is written when it cannot."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from gateway import contract as contracts
from gateway.errors import GatewayError
from gateway.operate.init import family as families
from tests.stack.gateway import ROOT
from tests.test_cli import command

if TYPE_CHECKING:
    from pathlib import Path

NAME = "shelly-gen1"
SCHEMAS = sorted(families.family(NAME).schemas)
STREAMS = {
    f"receiveShelly{name}"
    for name in ("Emeters", "EnergyDrawn", "EnergyReturned", "RelayPower", "RelayEnergy", "Sensors")
}


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A copy of our contract, which has two brokers."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    shutil.copy(ROOT / "asyncapi.yaml", tmp_path)
    return tmp_path / "asyncapi.yaml"


def step(number: int, folder: Path) -> Path:
    """A copy of a step of docs/contract.md."""
    return shutil.copytree(ROOT / "docs" / "steps" / str(number), folder, dirs_exist_ok=True) / "asyncapi.yaml"


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.*")}


def test_add_to_a_contract_keeps_its_lines_and_uses_its_servers(ours: Path) -> None:
    before = ours.read_text().splitlines()
    created = families.add([families.family(NAME)], ours, ["factoryBroker"])
    assert sorted(path.name for path in created) == SCHEMAS
    after = ours.read_text().splitlines()
    remaining = iter(after)
    assert all(line in remaining for line in before), "every line is still there, in order"
    contract, findings = contracts.examine(ours)
    assert (findings, contract and {n for n, one in contract.streams.items() if one.servers == ("factoryBroker",)}) == (
        [],
        {"receiveFactorySensors", "receiveDoors", "receiveWidgetLine", *STREAMS},
    )
    assert contract
    assert {one.dead_letters.topic.name for one in contract.streams.values()} == {"gateway-dead-letters"}


@pytest.mark.parametrize("number", [1, 3, 4, 13])
def test_add_to_each_kind_of_contract(number: int, tmp_path: Path) -> None:
    """From five lines without channels to a full contract: what is missing is created, what is there is used."""
    path = step(number, tmp_path)
    families.add([families.family(NAME)], path, [])
    contract, _ = contracts.examine(path)
    assert contract is not None
    assert contract.streams.keys() >= STREAMS
    expected = "oven-dead-letters" if number > 1 else "gateway-dead-letters"
    assert {one.dead_letters.topic.name for one in contract.streams.values()} == {expected}


@pytest.mark.parametrize(
    ("find", "replacement", "message"),
    [
        ("  ovens:", "  shellyEmeters:", "#/channels/shellyEmeters: The contract has this name already"),
        ("protocol: kafka", "protocol: amqp", "#/servers: The contract has no kafka server. Add one."),
        ("operations:\n", "operations: {}\nx-operations:\n", "#/operations: This is not in block style"),
        (
            "address: motors/{motor}/vibration",
            "address: shellies/{motor}/sensor/{x}",
            "are equally specific and overlap",
        ),
        ("asyncapi: 3.1.0", "asyncapi: 3.1.0\nasyncapi: 3.1.0", "The key is repeated"),
    ],
)
def test_add_that_is_refused_writes_nothing(find: str, replacement: str, message: str, tmp_path: Path) -> None:
    path = step(13, tmp_path)
    path.write_text(path.read_text().replace(find, replacement))
    before = contents(tmp_path)
    with pytest.raises(GatewayError, match=message):
        families.add([families.family(NAME)], path, [])
    assert contents(tmp_path) == before


def test_add_does_not_overwrite_a_schema(ours: Path) -> None:
    (ours.parent / SCHEMAS[-1]).write_text("{}")
    before = contents(ours.parent)
    with pytest.raises(GatewayError, match=f"{SCHEMAS[-1]} exists already. Rename it"):
        families.add([families.family(NAME)], ours, ["factoryBroker"])
    assert contents(ours.parent) == before


def test_add_uses_the_schemas_that_are_there(ours: Path) -> None:
    for name, text in families.family(NAME).schemas.items():
        (ours.parent / name).write_text(text)
    assert families.add([families.family(NAME)], ours, ["factoryBroker"]) == []


@pytest.mark.parametrize(
    ("servers", "message"),
    [([], "several mqtt servers: .*--server factoryBroker"), (["x"], "The contract has no server 'x'")],
)
def test_add_asks_which_server_is_meant(servers: list[str], message: str, ours: Path) -> None:
    with pytest.raises(GatewayError, match=message):
        families.add([families.family(NAME)], ours, servers)


def test_add_asks_which_dead_letters_are_meant(tmp_path: Path) -> None:
    path = step(3, tmp_path)
    text = path.read_text()
    second = "  sendDeadLetter: {action: send, channel: {$ref: '#/channels/deadLetterTopic'}}\n"
    assert second in text
    path.write_text(
        text.replace(
            second,
            f"{second}  sendOther: {{action: send, channel: {{$ref: '#/channels/deadLetterTopic'}}}}\n"
            "  other:\n    action: receive\n    channel: {$ref: '#/channels/ovens'}\n"
            "    x-dead-letter-to: {$ref: '#/operations/sendOther'}\n",
        )
    )
    with pytest.raises(GatewayError, match="Dead letters go to sendDeadLetter and sendOther"):
        families.add([families.family(NAME)], path, [])


def test_add_of_several_families_is_one_step(tmp_path: Path) -> None:
    """The first begins the contract, and the others use its servers; a path with `..` is the same file."""
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / ".." / "asyncapi.yaml"
    created = families.add([families.family(name) for name in (NAME, "dsmr-reader")], path, [])
    assert sorted(one.name for one in created) == sorted(
        ["asyncapi.yaml", "dsmr_gas.avsc", "dsmr_telegram.avsc", *SCHEMAS]
    )
    contract, findings = contracts.examine(path)
    assert findings == []
    assert contract is not None
    assert contract.streams.keys() == STREAMS | {"receiveDsmrTelegrams", "receiveDsmrGas"}


def test_init_adds_a_family_and_prints_the_check(tmp_path: Path) -> None:
    step(13, tmp_path)
    (tmp_path / "gateway.yaml").write_text("contract: asyncapi.yaml\n")
    done = command("init", "--family", NAME, "-c", "gateway.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Added {NAME} to {tmp_path / 'asyncapi.yaml'}.\n") or done.stdout.startswith(
        f"Added {NAME} to asyncapi.yaml.\n"
    )
    assert "gateway.yaml: fit to run" in done.stdout
    again = command("init", "--family", NAME, folder=tmp_path)
    assert (again.returncode, again.stdout) == (78, "")
    assert "#/channels/shellyEmeters: The contract has this name already" in again.stderr


def test_init_without_a_contract_begins_with_the_family(tmp_path: Path) -> None:
    """Contract, schemas and gateway.yaml; and nothing when the file to write exists already."""
    asked = ("init", "--family", NAME, "--yes", "--broker", "localhost:1", "--seconds", "0")
    (tmp_path / "gateway.yaml").write_text("mine")
    refused = command(*asked, folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert contents(tmp_path) == {"gateway.yaml": "mine"}
    (tmp_path / "gateway.yaml").unlink()
    done = command(*asked, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gateway.yaml: fit to run" in done.stdout
    assert sorted(contents(tmp_path)) == sorted(["asyncapi.yaml", "gateway.yaml", *SCHEMAS])


def test_init_of_an_unknown_family_lists_them(tmp_path: Path) -> None:
    done = command("init", "--family", "shely-gen1", folder=tmp_path)
    assert (done.returncode, contents(tmp_path)) == (1, {})
    assert done.stderr == (
        f"There is no family 'shely-gen1'. Did you mean 'shelly-gen1'? Families: {', '.join(families.names())}.\n"
    )


def test_init_refuses_a_file_without_a_family(tmp_path: Path) -> None:
    done = command("init", "asyncapi.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert "--family" in done.stderr
