"""No secret shows, wherever somebody may look.

Every password, token and private key is a word that occurs nowhere else, and what the gateway shows, says, sends or
writes is searched for it. What is searched: the log at level debug with librdkafka's own at its loudest, every page,
every command's output, the process list, every file of the installation but the secrets themselves, and every record
in Kafka.
"""

from __future__ import annotations

import base64
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.security.site import DEVICE, PASSWORDS, TOPICS, USER, Site, wait_told
from tests.stack.gateway import ExecutedGateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import record_count, records
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.stack.gateway import Gateway

PAGES = ("/", "/docs", "/metrics", "/livez", "/readyz", "/gone")
LOUD = {"debug": "all", "log_level": 7}
COMMANDS = ("status", "status --format json", "top", "doctor", "check", "topics plan", "schemas list", "dlq list")
COMMANDS_REFUSED = ("status", "top", "doctor", "check", "schemas list")


@pytest.fixture
def canaries(site: Site) -> dict[str, str]:
    """Draw a word for every secret, and let the servers know them."""
    drawn = {name: f"canary-{secrets.token_hex(12)}" for name in PASSWORDS}
    site.admit(drawn)
    return drawn


def forms(site: Site, canaries: dict[str, str]) -> dict[str, bytes]:
    """Write the secrets in every way that they go over a wire or into a text."""
    key = site.certificates.key("client").read_text().splitlines()
    found = {"private key": key[len(key) // 2].encode()}
    for name, word in canaries.items():
        found |= {
            name: word.encode(),
            f"{name} quoted": quote(f"{word} ").encode(),
            f"{name} in base64": base64.b64encode(word.encode()),
            f"{name} for basic authentication": base64.b64encode(f"{USER}:{word}".encode()),
            f"{name} for SASL PLAIN": base64.b64encode(f"\0{USER}\0{word}".encode()),
        }
    return found


def shown_by(gateway: Gateway, commands: Sequence[str]) -> list[tuple[str, bytes]]:
    """Give all that a running gateway shows, says and writes, with its place."""
    pages = [(page, gateway.get(page)[1].encode()) for page in PAGES]
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(partial(said_by, gateway), commands))
    process = [(file, Path(f"/proc/{gateway.pid}/{file}").read_bytes()) for file in ("cmdline", "environ")]
    files = [path for path in gateway.folder.rglob("*") if path.is_file() and path.name not in {*PASSWORDS, "device"}]
    return [*pages, *told, *process, *((path.name, path.read_bytes()) for path in files)]


def said_by(gateway: Gateway, command: str, settings: str = "gateway.yaml") -> tuple[str, bytes]:
    """Give what a command says."""
    done = gateway.command(*command.split(), "-c", settings)
    told = done.stdout + done.stderr
    assert "Usage:" not in told
    assert "Traceback" not in told
    return f"gateway {command}", told.encode()


def said_of_mistakes(gateway: Gateway, canaries: dict[str, str]) -> tuple[str, bytes]:
    """Give what is said of secrets that stand where they must not."""
    settings = json.loads(gateway.settings_file.read_text())
    mistakes = {name: {"password": word, "host": f"u:{word}@h"} for name, word in canaries.items()}
    path = gateway.folder / "wrong.yaml"
    path.write_text(json.dumps(settings | {"servers": mistakes} | canaries))
    place, told = said_by(gateway, "check", path.name)
    path.unlink()
    assert told.count(b"A secret is not allowed here.") == len(canaries)
    return place, told


def in_kafka(site: Site) -> Iterator[tuple[str, bytes]]:
    """Give every record: key, value, headers."""
    for topic in TOPICS:
        for record in records(site.kafka.bootstrap, topic, record_count(site.kafka.bootstrap, topic)):
            yield topic, repr((record.key, record.value, record.headers)).encode()


def test_no_secret_shows(site: Site, canaries: dict[str, str]) -> None:
    """Once signed in, with readings and a dead letter, and once refused by everybody."""
    searched: list[tuple[str, bytes]] = []
    servers = site.with_passwords()
    for name in ("factoryBroker", "kafka"):
        servers[name]["tls"] = site.tls("client")
    servers["kafka"]["producer"] = LOUD
    more = {"log": {"level": "debug", "format": "text"}, "spool": {"when": "always"}}
    with site.gateway(servers, kind=ExecutedGateway, **more) as gateway:
        gateway.start()
        site.publish(3)
        with Publisher(site.broker.port, credentials=DEVICE) as publisher:
            publisher.publish([("factory/a/b", b'{"value":"no number"}')])
        gateway.wait_settled(7)
        searched += shown_by(gateway, COMMANDS)
        assert "sasl" in gateway.log.lower(), "librdkafka tells of signing in"
        searched.append(said_of_mistakes(gateway, canaries))
    searched += in_kafka(site)

    site.admit(dict(PASSWORDS))
    site.front.login = ""
    servers["kafka"]["registry"] = {"url": site.front.url, "token_file": "token"} | {
        "ca_file": str(site.certificates.ca)
    }
    with site.gateway(servers, canaries, ExecutedGateway) as gateway:
        gateway.start(ready=False)
        wait_told(gateway, "factoryBroker", "kafka", "registry")
        wait_for(lambda: gateway.states()["kafka"]["detail"], 60, gateway.metrics)
        searched += shown_by(gateway, COMMANDS_REFUSED)
        words = forms(site, canaries)
        assert (gateway.folder / "mqtt").read_bytes().strip() == words["mqtt"], "what is searched for is in use"

    found = [(place, name) for place, text in searched for name, word in words.items() if word in text]
    assert found == []
