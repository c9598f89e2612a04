"""Reload: a running gateway works by other files, and no reading is lost, sent twice or out of order."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.kafka.state_topic import STATE_PARTITION, STATE_SETTINGS, STATE_TOPIC
from tests.service.reload_site import Flow, Load, ReloadSite
from tests.stack.gateway import ExecutedGateway
from tests.stack.mosquitto import hashed_passwords
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from tests.conftest import FreePort, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

ONE, TWO = Flow("a/{machine}/one", "one"), Flow("a/{machine}/two", "two")
WIDER = Flow("a/{machine}/one", "one", {"extra": "string"})  # another schema, so another id
OLD = {"one": ONE, "two": TWO}
IN_MEMORY = "listener 1883\nallow_anonymous true\n"  # one that writes each change to disk takes seconds for the PUBACKs
LOGIN = "listener 1883\nallow_anonymous false\npassword_file passwd\n"


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_reload_changes_streams_under_load(
    tmp_path: Path, mosquitto: StartMosquitto, kafka: Kafka, registry: Registry, delivery: str
) -> None:
    """Streams come, go, are renamed, get another schema: each reading arrives once, in order, on one connection."""
    kafka.ensure_topic(STATE_TOPIC, STATE_PARTITION + 1, settings=STATE_SETTINGS)
    with ReloadSite(tmp_path, mosquitto(), kafka, registry, OLD, delivery=delivery) as site:
        with Load(site.broker.port, ["a/{}/one", "a/{}/two"], 300) as load:
            load.wait_for(100)
            site.change({"renamed": WIDER, "two": TWO, "three": Flow("a/{machine}/three", "three")})
            load.topics.append("a/{}/three")
            load.topics.remove("a/{}/two")
            load.wait_for(100)
            site.change({"one": ONE, "three": Flow("a/{machine}/three", "three", {"extra": "long"})})
            load.wait_for(100)
        site.gateway.wait_settled(load.sent.total())
        assert site.numbers_of_all() == {machine: list(range(count)) for machine, count in load.sent.items()}
        for topic in ("one", "two", "three"):
            assert all(each == sorted(each) for each in site.numbers(topic).values()), f"order in {topic}"
        assert site.gateway.metric("gateway_mqtt_connects_total") == 1
        received = site.gateway.metric("gateway_received_total", stream="two")
        assert received == site.gateway.metric("gateway_delivered_total", stream="two") > 0
        ledger = site.gateway.stop_and_read_ledger()
        assert (ledger["balanced"], ledger["contract"], ledger["received"]) == (True, "3.0.0", load.sent.total())


def test_reload_leaves_everything_as_it_is_when_the_files_are_wrong(
    tmp_path: Path, mosquitto: StartMosquitto, kafka: Kafka, registry: Registry
) -> None:
    """A contract with an error, one that is gone, a schema that the registry refuses: the log names place and fix."""
    with ReloadSite(tmp_path, mosquitto(), kafka, registry, OLD) as site:
        good, digest = site.contract.read_text(), site.digest()
        site.contract.write_text(good.replace('"action": "receive"', '"action": "recieve"', 1))
        done = site.gateway.command("reload", "-c", str(site.gateway.settings_file))
        assert (done.returncode, "asyncapi.yaml:" in done.stderr, "recieve" in done.stderr) == (78, True, True), done
        site.contract.unlink()
        site.reload("refused")
        site.contract.write_text(good.replace('"type": "long"', '"type": "int"'))
        url = {"url": registry.url}
        site.set_server("kafka", registry=url | {"register": False})
        site.reload("refused")
        site.set_server("kafka", registry=url)
        events = site.events("The reload was refused; the former contract and settings stay in use.")
        assert [bool(each["file"] and each["detail"]) for each in events] == [True] * 3
        assert [bool(each["line"] and each["fix"]) for each in events] == [True, True, False]
        assert events[2]["file"] == "schema registry"
        assert site.digest() == digest
        assert site.gateway.is_ready()
        site.contract.write_text(good)
        done = site.gateway.command("reload", "-c", str(site.gateway.settings_file))
        assert done.returncode == 0, done
        assert "no stream and no server has changed" in done.stdout


def test_reload_connects_again_only_where_a_login_has_changed(
    tmp_path: Path, mosquitto: StartMosquitto, kafka: Kafka, registry: Registry
) -> None:
    """User and password have changed; and what only a restart changes is named."""
    broker = mosquitto(LOGIN, {"passwd": hashed_passwords({"gateway": "old", "second": "new"})})
    with ReloadSite(tmp_path, broker, kafka, registry, OLD, is_started=False) as site:
        secret = site.gateway.folder / "password"
        secret.touch(0o600)
        secret.write_text("old")
        site.set_server("broker", username="gateway", password_file="password")
        site.gateway.start()
        site.reload()
        assert site.gateway.metric("gateway_mqtt_connects_total") == 1
        secret.write_text("new")
        site.set_server("broker", username="second")
        site.set(spool={"after": "1s"}, http={"listen": "off"})
        site.reload()
        wait_for(lambda: site.gateway.metric("gateway_mqtt_connects_total") == 2, 30, lambda: site.gateway.log)
        wait_for(site.gateway.is_ready, 30, lambda: str(site.gateway.states()))
        reloaded = "The contract was reloaded."  # logged after the connection is made
        wait_for(lambda: len(site.events(reloaded)) == 2, 30, lambda: site.gateway.log)
        assert site.events(reloaded)[-1]["detail"] == "reconnected: broker"
        assert site.events("Some changes need a restart.")[0]["detail"] == "spool.after, http.listen"


def test_reload_that_connects_again_repeats_nothing(
    tmp_path: Path, mosquitto: StartMosquitto, kafka: Kafka, registry: Registry
) -> None:
    """What is on its way to Kafka is acknowledged first, because the broker would send it again."""
    with ReloadSite(tmp_path, mosquitto(IN_MEMORY), kafka, registry, OLD) as site:
        with Load(site.broker.port, ["a/{}/one", "a/{}/two"], 1_000) as load:
            for host in ("localhost", "127.0.0.1", "localhost"):
                load.wait_for(500)
                site.set_server("broker", host=f"{host}:{site.broker.port}")
                site.reload()
                wait_for(lambda: site.gateway.states()["broker"]["state"] == "ok", 30, lambda: site.gateway.log)
        site.gateway.wait_settled(load.sent.total())
        assert site.gateway.metric("gateway_mqtt_connects_total") > 1
        for topic in ("one", "two"):
            assert all(each == sorted(set(each)) for each in site.numbers(topic).values())
        assert site.numbers_of_all() == {machine: list(range(count)) for machine, count in load.sent.items()}


def test_reload_requests_that_come_together_are_one_or_two(
    tmp_path: Path, mosquitto: StartMosquitto, kafka: Kafka, registry: Registry
) -> None:
    """A second one may come while the first is served, and then asks for what it did not see."""
    with ReloadSite(tmp_path, mosquitto(), kafka, registry, OLD) as site:
        for _ in range(10):
            os.kill(site.pid, signal.SIGHUP)
        wait_for(lambda: site.outcomes()["accepted"], 60, lambda: site.gateway.log)
        site.reload()
        assert 2 <= site.outcomes().total() <= 3


def test_run_survives_sighup_while_it_starts_and_reloads_once(free_port: FreePort) -> None:
    """From the first instructions of the program on."""
    servers: dict[str, Any] = {
        name: {"host": f"127.0.0.1:{free_port()}"} for name in ("factoryBroker", "meterBroker", "kafka")
    }
    with ExecutedGateway(servers) as gateway:
        gateway.launch_command("run", "-c", gateway.settings_file)
        process = gateway._process  # noqa: SLF001 - of the test's own class
        assert process is not None
        wait_for(lambda: _catches_hangup(process.pid), 60, "the handler of SIGHUP")
        os.kill(process.pid, signal.SIGHUP)
        assert not (gateway.folder / "spool.db").exists(), "it is not started yet"
        name = "gateway_reloads_total"
        wait_for(lambda: gateway.is_alive() and gateway.metric(name), 90, lambda: gateway.log)
        assert gateway.metric(name, outcome="accepted") == gateway.metric(name) == 1


def _catches_hangup(pid: int) -> bool:
    """Whether a process has a handler for signal 1."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return any(line.startswith("SigCgt:") and int(line.split()[1], 16) & 1 for line in lines)


def test_reload_command_says_that_no_gateway_runs(tmp_path: Path) -> None:
    """Exit code 69, and what to do; it reads no secrets, which systemd may have given to the gateway only."""
    from tests.stack import preloaded  # noqa: PLC0415 - as the gateway's own tests start commands

    config = tmp_path / "gateway.yaml"
    login = {"meterBroker": {"username": "gateway", "password_file": "of-the-gateway-only"}}
    config.write_text(json.dumps({"contract": str(Path(__file__).parents[2] / "asyncapi.yaml"), "servers": login}))
    done = preloaded.run("reload", "-c", str(config), folder=tmp_path)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith(f"No gateway is running with the spool {tmp_path}/spool.db.")
