"""The disk under fault: full, read-only, slow, failing; and the order of system calls that the promise rests on."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.site import exit_code
from tests.faults.strace import Strace
from tests.stack.gateway import ExecutedGateway
from tests.stack.software import command
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.faults.conftest import StartSite
    from tests.stack.kafka import Kafka

MARKER = re.compile(rb'"units":"(\d{8})"')
CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")


class OnSmallDisk(ExecutedGateway):
    """A gateway whose spool is on a file system of 8 MiB, in a mount namespace of its own."""

    def launch(self, arguments: Sequence[str | Path]) -> None:
        (self.folder / "small").mkdir(exist_ok=True)
        script = 'mount -t tmpfs -o size=8m tmpfs small && exec "$@"'
        inside = [command("setpriv", "util-linux"), "--pdeathsig", "KILL", *arguments]
        super().launch([command("unshare", "util-linux"), "-rm", "sh", "-c", script, "sh", *inside])

    def go_read_only(self) -> None:
        """Lay a read-only view of the disk over it: files that are open stay so, which is what Strace is for."""
        self._inside("mount --bind small small && mount -o remount,bind,ro small")

    def come_back(self) -> None:
        """Take that view away."""
        self._inside("umount small")

    def _inside(self, script: str) -> None:
        enter = [command("nsenter", "util-linux"), "-t", str(self.pid), "-U", "-m", "--preserve-credentials"]
        subprocess.run([*enter, "sh", "-c", f"cd {self.folder} && {script}"], check=True, timeout=30)

    @property
    def disk(self) -> Path:
        """The small disk, seen from outside."""
        return Path(f"/proc/{self.pid}/root{self.folder}/small")


def test_run_on_a_full_disk_holds_acknowledgements_and_goes_on(site: StartSite, away_kafka: Kafka) -> None:
    """The gateway acknowledges nothing that is not safe, and goes on by itself when there is room again."""
    here = site(gateway=OnSmallDisk, spool={"path": "small/spool.db", "after": "100ms", "memory": "256KiB"})
    gateway = here.gateway
    assert isinstance(gateway, OnSmallDisk)
    gateway.start()
    with here.device:
        here.device.wait_for_more(100)
        ballast = gateway.disk / "ballast"
        away_kafka.freeze()
        _fill(ballast)
        here.device.wait_for_more(1_500)
        wait_for(lambda: "The spool cannot store readings on disk." in gateway.log, 60, "the trouble in the log")
        assert gateway.is_alive()
        away_kafka.thaw()
        ballast.unlink()
        verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 0, verdict


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:  # until there is no space left
        while True:
            file.write(b"x" * 4096)


def test_run_on_a_disk_gone_read_only_waits_and_goes_on(site: StartSite, away_kafka: Kafka) -> None:
    """The file system turns read-only, as after errors of an SD card: the cause is named, and nothing is lost."""
    here = site(gateway=OnSmallDisk, spool={"path": "small/spool.db", "after": "100ms", "memory": "256KiB"})
    gateway = here.gateway
    assert isinstance(gateway, OnSmallDisk)
    gateway.start()
    with here.device:
        here.device.wait_for_more(100)
        away_kafka.freeze()
        here.wait_for("gateway_spooled", 50)
        gateway.go_read_only()
        with Strace(gateway.pid, "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EROFS"):
            here.device.wait_for_more(1_500)
            wait_for(lambda: "read-only" in gateway.states().get("spool", {}).get("detail", ""), 30, "the reason")
            assert gateway.is_alive()
        gateway.come_back()
        away_kafka.thaw()
        verdict = here.verdict()
    assert verdict.is_clean, verdict
    assert verdict.duplicates == 0, verdict
    assert not (gateway.disk / "spool.db.bad-1").exists()


@pytest.mark.gate
def test_run_at_its_spool_limit_drops_the_oldest_by_name_and_number(site: StartSite, away_kafka: Kafka) -> None:
    """With `drop_oldest`, the ledger counts exactly the readings that are missing in Kafka."""
    here = site(
        spool={"after": "50ms", "memory": "512KiB", "limit": "256KiB", "on_full": "drop_oldest"},
        producer={"queue.buffering.max.messages": 100},  # what librdkafka holds cannot leave memory
    )
    here.gateway.start()
    away_kafka.freeze()
    here.device.publish(6_000)
    here.wait_for("gateway_dropped_total", 1)
    here.wait_for("gateway_received_total", 6_000)
    away_kafka.thaw()
    here.gateway.wait_settled(6_000)
    dropped = int(here.gateway.metric("gateway_dropped_total", reason="spool_full"))
    verdict = here.verdict(dropped=dropped)
    assert not verdict.books, verdict
    assert len(verdict.missing) == dropped > 0, verdict
    assert (verdict.out_of_order, verdict.duplicates) == ([], 0), verdict


def test_run_on_a_slow_disk_keeps_its_links(site: StartSite, away_kafka: Kafka) -> None:
    """Each fdatasync takes 300 ms: more readings share one, no connection is lost, and no reading is missing."""
    here = site(spool={"when": "always"})
    here.gateway.start()
    with here.device:
        here.device.wait_for_more(50)
        away_kafka.freeze()
        with Strace(here.gateway.pid, "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=300000"):
            here.device.wait_for_more(1_000)
            here.wait_for("gateway_spooled", 800)
        away_kafka.thaw()
        assert here.gateway.metric("gateway_mqtt_connects_total") == 2
        verdict = here.verdict()
    assert verdict.is_clean, verdict


def test_run_sets_its_spool_aside_after_a_failed_fsync(site: StartSite, away_kafka: Kafka) -> None:
    """One fsync fails with EIO: what it should have saved is not acknowledged, a new file is begun, nothing is lost."""
    here = site(spool={"when": "always"})
    here.gateway.start()
    with here.device:
        here.device.wait_for_more(50)
        away_kafka.freeze()
        with Strace(here.gateway.pid, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=5"):
            wait_for((here.gateway.folder / "spool.db.bad-1").exists, 60, "the file to be set aside")
            here.device.wait_for_more(200)
        away_kafka.thaw()
        verdict = here.verdict()
    assert verdict.is_clean, verdict


def test_run_on_a_disk_that_fails_for_good_ends_with_74(site: StartSite, away_kafka: Kafka) -> None:
    """Every fsync fails: the process ends with 74 and a sentence; with a good disk no reading is missing."""
    here = site(spool={"when": "always"})
    here.gateway.start()
    with here.device:
        here.device.wait_for_more(50)
        with Strace(here.gateway.pid, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO"):
            assert exit_code(here.gateway) == 74
        assert "Traceback" not in here.gateway.log
        here.gateway.stop()
        here.gateway.start()
        here.device.wait_for_more(50)
        verdict = here.verdict(is_exact=False, dropped=None)
    assert verdict.is_clean, verdict
    assert away_kafka


def test_run_sends_no_puback_before_the_fdatasync_of_its_row_returned(site: StartSite, away_kafka: Kafka) -> None:
    """Kafka is frozen, so only the disk makes readings safe; in the trace an fdatasync precedes each PUBACK."""
    here = site(spool={"when": "always"})
    here.gateway.start()
    away_kafka.freeze()
    traced = ("-xx", "-s", "10000000", "-yy", "-e", "trace=recvfrom,sendto,pwrite64,fdatasync,fsync")
    with Strace(here.gateway.pid, *traced) as strace, here.device:
        here.device.wait_for_more(400, 120)  # every system call is stopped at, twice
        here.wait_for("gateway_spooled", 400, 120)
        here.device.finish()
        strace.detach()
        lines = strace.lines
    assert acknowledged_rows(lines, here.link.port) >= 300
    away_kafka.thaw()
    verdict = here.verdict()
    assert verdict.is_clean, verdict


def acknowledged_rows(lines: list[str], broker_port: int) -> int:
    """Walk a trace of the loop's thread, and check every PUBACK in it.

    Returns:
        How many there were.
    """
    durable: set[bytes] = set()
    written: set[bytes] = set()
    markers: dict[tuple[str, int], bytes] = {}
    streams: dict[str, bytes] = {}
    count = 0
    for line in lines:
        if not (call := CALL.match(line)):
            continue
        name, arguments, result = call[1], call[2], int(call[3])
        place = arguments.split(",")[0]
        text = (
            bytes.fromhex(found[1].replace("\\x", "")) if (found := re.search(r', "((?:\\x..)*)"', arguments)) else b""
        )
        if name in {"fdatasync", "fsync"} and result == 0:
            durable |= written
        elif name == "pwrite64":
            written |= set(MARKER.findall(text[:result]))
        elif name == "recvfrom" and f":{broker_port}]" in place and result > 0:
            streams[place] = streams.get(place, b"") + text[:result]
            streams[place] = _take_publishes(streams[place], place, markers)
        elif name == "sendto" and f":{broker_port}]" in place:
            for packet_id in _pubacks(text[:result]):
                assert markers[place, packet_id] in durable, f"PUBACK before its fdatasync: {line[:200]}"
                count += 1
    return count


def packets(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Cut a stream into packets: first byte, body, where it ends."""
    at = 0
    while at + 2 <= len(data):
        length = shift = 0
        begin = at + 1
        while True:
            if begin >= len(data):
                return
            byte = data[begin]
            begin += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if begin + length > len(data):
            return
        yield data[at], data[begin : begin + length], begin + length
        at = begin + length


def _take_publishes(data: bytes, place: str, markers: dict[tuple[str, int], bytes]) -> bytes:
    end = 0
    for first, body, end in packets(data):  # noqa: B007 - `end` is the last one's
        if first >> 4 == 3:
            topic = int.from_bytes(body[:2])
            (marker,) = MARKER.findall(body)
            markers[place, int.from_bytes(body[2 + topic : 4 + topic])] = marker
    return data[end:]


def _pubacks(data: bytes) -> list[int]:
    return [int.from_bytes(body[:2]) for first, body, _ in packets(data) if first == 0x40]
