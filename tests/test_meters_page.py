"""`docs/meters.md` is true: its commands print what it shows, for the meter whose faults it describes."""

from __future__ import annotations

import re
import shlex
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.core.codec.telegram import checksum_of
from gateway.operate.init import family as families
from tests.stack.gateway import ROOT, Gateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import NewTopic, StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

PAGE = (ROOT / "docs" / "meters.md").read_text()
SHOWN = [block.partition("\n") for block in re.findall(r"^```console\n\$ (.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]
CLOCK = re.compile(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?|20\d{10}|\d{12}(?=[SW]\))|(?<=!)[0-9A-F]{4}")
TOPICS = ("dsmr-p1-telegrams", "gateway-dead-letters")
STEP_SECONDS = 10


def telegram(number: int, kwh: str, year: int | None = None) -> bytes:
    """A telegram of ten minutes ago, and each of the next ten seconds later."""
    now = datetime.fromtimestamp(time.time() - 600 + STEP_SECONDS * number, UTC).astimezone(
        ZoneInfo("Europe/Amsterdam")
    )
    clock = f"{now.replace(year=year or now.year):%y%m%d%H%M%S}{'S' if now.dst() else 'W'}"
    text = (
        f"/Ene5\\XS210 ESMR 5.0\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0({clock})\r\n"
        f"0-0:96.1.1(4530303437303030303037363330383137)\r\n1-0:1.8.1({kwh}*kWh)\r\n!"
    ).encode()
    return text + b"%04X\r\n" % checksum_of(text)


def normal(text: str) -> str:
    """Leave out what differs each time: times, and the width of columns, which follows from them."""
    return re.sub(r"[ -]{2,}", " ", CLOCK.sub("(time)", text)).strip()


def test_the_page_shows_what_the_commands_print(
    kafka: Kafka, topic: NewTopic, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    names = {name: topic(partitions=1) for name in TOPICS}
    broker = mosquitto()
    servers = {
        "broker": {"host": f"127.0.0.1:{broker.port}"},
        "kafka": {"host": kafka.bootstrap, "registry": {"url": registry.url}},
    }
    contract = tmp_path / "asyncapi.yaml"
    with Gateway(servers, contract) as gateway, Publisher(broker.port) as publisher:
        families.add([families.family("dsmr-p1")], contract, [])
        text = contract.read_text()
        for name, made in names.items():
            text = text.replace(f"address: {name}\n", f"address: {made}\n")
        contract.write_text(text)
        gateway.start()
        values = [*(f"005779.{number:03}" for number in range(10)), "000000.000", *["057790.010"] * 3, "005779.014"]
        messages = [telegram(number, value) for number, value in enumerate(values)]
        messages += [telegram(15, "005779.015", year=2008), telegram(16, "005779.016")[:100]]
        publisher.publish([("dsmr/raw", message) for message in messages])
        gateway.wait_settled(len(messages))
        for command, _, expected in SHOWN:
            arguments = [
                str(gateway.settings_file) if one == "gateway.yaml" else one for one in shlex.split(command)[1:]
            ]
            printed = gateway.command(*arguments)
            for name, made in {**names, "gateway.yaml": str(gateway.settings_file)}.items():
                printed.stdout = printed.stdout.replace(made, name)
            assert normal(printed.stdout) == normal(expected), printed.stdout + printed.stderr
        dated = [one.timestamp for one in records(kafka.bootstrap, names[TOPICS[0]], 12)]
        assert max(dated) - min(dated) < 3_600_000
