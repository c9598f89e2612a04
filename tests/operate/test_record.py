"""`gateway record`: what it takes from a broker, who may read it, what it replaces, and when it ends."""

from __future__ import annotations

import json
import re
import resource
import signal
import stat
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from gateway.core.reading import Reading
from gateway.errors import SpoolBrokenError
from gateway.installation import open_installation
from gateway.operate import record as records
from gateway.operate.listener import Terminal
from gateway.operate.record import Options
from gateway.operate.recording import STREAM, Recording, readings
from gateway.operate.redaction import Redaction, words_of
from gateway.signals import StopFlag
from gateway.spool.file import SpoolFile
from tests.operate.shadow.planted import PLANTED
from tests.operate.shadow.rig import NOW, Bakery, messages
from tests.stack.publisher import Publisher
from tests.stack.wait import wait_for
from tests.test_cli import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import FreePort, StartMosquitto
    from tests.stack.mosquitto import Mosquitto

SENT = [(one.topic, one.reading.payload) for one in messages(40)]
HEARD = [one for one in SENT if not one[0].startswith("lamps/")]


def bakery_at(broker: Mosquitto, folder: Path) -> Bakery:
    bakery = Bakery(folder)
    servers = {"broker": {"host": f"127.0.0.1:{broker.port}"}}
    bakery.settings.write_text(json.dumps({"contract": str(bakery.present / "asyncapi.yaml"), "servers": servers}))
    return bakery


def count(path: Path) -> int:
    return sum(1 for _ in readings(path)) if path.exists() else 0


def test_record_takes_what_the_contract_subscribes_to_until_ctrl_c(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    """Only its owner may read it, it is as a spool has it, a second run goes on, and `learn` reads it."""
    broker = mosquitto()
    bakery_at(broker, tmp_path)
    line = [sys.executable, "-m", "gateway.cli", "record", "-c", "gateway.yaml", "--for", "1h", "-o", "traffic.db"]
    path = tmp_path / "traffic.db"

    def publish(publisher: Publisher, wanted: int) -> bool:
        publisher.publish([("plugs/mixer/power", b"1")], 1)  # what was received is written when the next one comes
        return count(path) >= wanted

    for run in (1, 2):
        process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert any("Listening" in said for said in iter(process.stdout.readline, ""))
        with Publisher(broker.port) as publisher:
            publisher.publish(SENT, 1)
            wait_for(partial(publish, publisher, run * len(HEARD)), 20, "what was received")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, out
        assert "traffic.db has payloads: only its owner may read it." in out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.glob("traffic.db*")] == ["traffic.db"]
    found = [(one.topic.decode(), one.payload) for one in readings(path)]
    assert found[: len(HEARD)] == HEARD
    assert {one.stream for one in readings(path)} >= {"receiveOvens", "receiveDoors"}
    done = command("learn", "--from", "traffic.db", "--into", "proposal", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_record_refuses_a_spool(tmp_path: Path) -> None:
    """What is recorded there would be sent to Kafka."""
    Bakery(tmp_path)
    with SpoolFile(tmp_path / "spool.db"):
        pass
    done = command("record", "-c", "gateway.yaml", "-o", "spool.db", folder=tmp_path)
    assert done.returncode == 78
    assert "it is not a recording. Name another file with -o." in done.stderr
    for wrong in (("--for", "soon"), ("--days", "3")):
        assert command("record", "-c", "gateway.yaml", "-o", "new.db", *wrong, folder=tmp_path).returncode == 2
    assert not (tmp_path / "new.db").exists()


def test_record_without_a_broker_says_so(tmp_path: Path, free_port: FreePort) -> None:
    bakery = Bakery(tmp_path)
    servers = {"broker": {"host": f"127.0.0.1:{free_port()}"}}
    bakery.settings.write_text(json.dumps({"contract": str(bakery.present / "asyncapi.yaml"), "servers": servers}))
    done = command("record", "-c", "gateway.yaml", "-o", "new.db", folder=tmp_path)
    assert done.returncode == 1
    assert "Cannot connect to 127.0.0.1" in done.stderr


def test_a_full_disk_ends_the_recording_and_keeps_what_there_is(tmp_path: Path) -> None:
    with Recording(tmp_path / "traffic.db") as recording:
        recording.add(Reading(STREAM, b"a", b"1", NOW))
        recording.write()
        database = recording._file._database  # noqa: SLF001 - the test makes the disk small in the way SQLite offers
        assert database
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        for number in range(50):
            recording.add(Reading(STREAM, b"a", b"x" * 5_000, NOW + number))
        recording.write()
        assert (recording.end, recording.lost, recording.next) == ("The disk is full", 50, 1)
    assert [one.payload for one in readings(tmp_path / "traffic.db")] == [b"1"]


def test_record_ends_when_the_disk_fails(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    """Exit code 74; what was written is kept."""
    broker = mosquitto()
    bakery_at(broker, tmp_path)
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def begin(line: str) -> None:
        if line.startswith("Listening"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))  # bytes a file
            publisher.publish([("doors/hall/state", b"x" * 5_000)] * 3_000)

    installation, options = open_installation(tmp_path / "gateway.yaml", {}), Options(tmp_path / "traffic.db", 600)
    terminal = Terminal(begin, lambda _line: None, StopFlag)
    try:
        with Publisher(broker.port) as publisher, pytest.raises(SpoolBrokenError, match="The disk") as raised:
            records.record(installation, options, terminal)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.exit_code == 74
    assert all(one.payload == b"x" * 5_000 for one in readings(tmp_path / "traffic.db"))


def test_record_refuses_what_is_no_topic_filter(tmp_path: Path) -> None:
    for wrong in ("a/#/b", "", "+a", "a/b+"):
        done = command("record", "-c", "gateway.yaml", "-o", "new.db", "--topics", wrong, folder=tmp_path)
        assert (done.returncode, "is no topic filter" in done.stderr) == (2, True), done.stderr


def test_payloads_are_cut_where_the_gateway_cuts_them() -> None:
    long = Reading(STREAM, b"a", b"x" * 2_000_000, NOW)
    cut = records._cut(long, 1_000_000)  # noqa: SLF001 - a broker would need minutes for such messages
    assert (len(cut.payload), cut.size, len(cut.sha256)) == (65_536, 2_000_000, 32)


REDACTED = [
    (b'{"door": "secret-12", "t": 2331.25}', rb'\{"door": "[a-z]{6}-\d\d", "t": 2\d\d\d\.\d\d\}'),
    (b'{"id": "AB:CD:01:02", "n": -0.0512}', rb'\{"id": "([0-9A-F]{2}:){3}[0-9A-F]{2}", "n": -0\.05\d\d\}'),
    (b'["Gr\xc3\xbc\\u00dfe", true, null, 7]', rb'\["[A-Z][a-z]{2}\\u00df[a-z]", true, null, 7\]'),
    (b'{"at": 1796000000, "on": "2026-11-30T00:53:20Z"}', rb'\{"at": 1796000000, "on": "2026-11-30T00:53:20Z"\}'),
    (b'{"door": secret-2}', rb'\{"[a-z]{4}": [a-z]{6}-\d\}'),
    (b"open", rb"open"),
    (b"hall", rb"hall"),
    (b"\xff\xd8secret", rb"\x00{8}"),
    (b"", rb""),
]


@pytest.mark.parametrize(("payload", "pattern"), REDACTED, ids=range(len(REDACTED)))
def test_redaction_keeps_the_shape(payload: bytes, pattern: bytes) -> None:
    """Words of the contract, texts of the topic, times and the first digit stay; the same value becomes the same."""
    redact = Redaction(frozenset({"open"}))
    one, other = (redact(Reading(STREAM, b"doors/hall", payload, NOW, properties=b"x")) for _ in range(2))
    assert re.fullmatch(pattern, one.payload), one.payload
    assert (one, one.properties) == (other, b"")


def test_a_redacted_recording_has_the_same_differences(tmp_path: Path) -> None:
    bakery = Bakery(tmp_path)
    redact = Redaction(words_of(bakery.installation.contract))
    contract = bakery.changed(*PLANTED["another key"].edits)
    sent = [one.reading for one in messages(200) if one.kind != "motor"]
    plain, redacted = (bakery.shadow_of(each, contract) for each in (sent, map(redact, sent)))
    assert [(one.kind, one.where, one.readings) for one in plain.groups] == [
        (one.kind, one.where, one.readings) for one in redacted.groups
    ]
    assert plain.streams == redacted.streams


def test_an_interrupted_run_says_what_it_has(mosquitto: StartMosquitto, tmp_path: Path) -> None:
    """A lost connection ends the recording; what came before is kept."""
    broker, lines = mosquitto(), list[str]()
    bakery_at(broker, tmp_path)
    stop = StopFlag()
    with Publisher(broker.port) as publisher:
        publisher.publish([("doors/hall/state", b"open")], 1, retain=True)

    def progress(line: str) -> None:
        if line.startswith("1 messages"):
            broker.stop()

    options = Options(tmp_path / "traffic.db", 600)
    result = records.record(
        open_installation(tmp_path / "gateway.yaml", {}), options, Terminal(lines.append, progress, lambda: stop)
    )
    assert result.startswith("1 messages recorded.")
    assert lines[-1] == "The broker closed the connection. The listening ends here: the recording is kept."
    assert [one.retain for one in readings(tmp_path / "traffic.db")] == [True]
