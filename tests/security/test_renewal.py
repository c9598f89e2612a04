"""Secrets that are renewed while the gateway runs, at real servers: passwords, certificates, a token.

Each is replaced as it happens in the field: written in place, with a moment in which the file is missing, empty or
half-written, or behind a link that is swapped. Nothing is restarted, and no reading is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.security.site import Site, basic, details, wait_told
from tests.security.test_logins import COUNT, wait_arrived
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stack.gateway import Gateway

PASSWORDS = ("mqtt", "kafka", "registry")  # the names of their files
PEERS = ("factoryBroker", "kafka", "registry")


def write_broken(gateway: Gateway, names: tuple[str, ...]) -> None:
    """Let the gateway see files that nobody can use, until it says so."""
    missing, *empty = (gateway.folder / name for name in names)
    missing.unlink()
    for path in empty:
        path.write_text("")
    wait_for(lambda: all(is_told(gateway, peer) for peer in PEERS), 90, lambda: str(gateway.states()))


def is_told(gateway: Gateway, peer: str) -> bool:
    """Whether the peer's state, or the log for Kafka, whose state is what it says itself, names an unusable file."""
    texts = details(gateway)[peer] if peer == "kafka" else [gateway.states()[peer]["detail"]]
    return any(" Create it." in text or " Write its content." in text for text in texts)


def replace_link(gateway: Gateway, contents: dict[str, bytes]) -> None:
    """Replace files as the kubelet does: each is a link through `..data`, which is swapped."""
    folder = gateway.folder / f"..{len(list(gateway.folder.iterdir()))}"
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).touch(0o600)
        (folder / name).write_bytes(content)
        link = gateway.folder / name
        if not link.is_symlink():
            link.unlink(missing_ok=True)
            link.symlink_to(f"..data/{name}")
    new = gateway.folder / "..data_tmp"
    new.symlink_to(folder.name)
    new.rename(gateway.folder / "..data")


def own_certificate(site: Site, name: str) -> dict[str, bytes]:
    """Give what the files hold when the gateway shows this certificate."""
    certificates = site.certificates
    return {
        "own.crt": certificates.certificate(name).read_bytes(),
        "own.key": certificates.key(name).read_bytes(),
        "token": site.passwords["token"].encode(),
    }


def with_passwords(site: Site) -> tuple[dict[str, Any], dict[str, bytes], dict[str, bytes]]:
    """Write servers that are signed in at with passwords; files that are refused, and files that are taken."""
    wrong = {name: f"{site.passwords[name]}-of-yesterday".encode() for name in PASSWORDS}
    return site.with_passwords(), wrong, {name: site.passwords[name].encode() for name in PASSWORDS}


def with_certificates(site: Site) -> tuple[dict[str, Any], dict[str, bytes], dict[str, bytes]]:
    """Write servers that are shown a certificate; the first has ended, as the token has."""
    servers = site.with_certificates()
    for name in ("factoryBroker", "kafka"):
        servers[name]["tls"] |= {"cert_file": "own.crt", "key_file": "own.key"}
    return servers, own_certificate(site, "old-client") | {"token": b"of-yesterday"}, own_certificate(site, "client")


@pytest.mark.parametrize("prepare", [with_passwords, with_certificates])
def test_run_takes_renewed_secrets(
    site: Site, prepare: Callable[[Site], tuple[dict[str, Any], dict[str, bytes], dict[str, bytes]]]
) -> None:
    """All peers refuse until the files hold what they take; meanwhile files are missing, empty and mixed up."""
    servers, refused, taken = prepare(site)
    before = site.counts()
    site.keep_session()
    with site.gateway(servers) as gateway:
        for name, content in refused.items():
            (gateway.folder / name).touch(0o600)
            (gateway.folder / name).write_bytes(content)
        gateway.start(ready=False)
        gateway.wait_subscribed("meterBroker")
        site.publish(COUNT)
        wait_told(gateway, *PEERS)
        write_broken(gateway, tuple(refused))
        replace_link(gateway, taken)
        wait_arrived(site, before, gateway, COUNT)
        wait_for(gateway.is_ready, 60, lambda: str(gateway.states()))
        assert gateway.stop_and_read_ledger()["balanced"]


def test_run_goes_on_while_its_passwords_are_renewed(site: Site) -> None:
    """They change at a gateway that is connected: it signs in with the new ones, and says nothing to Kafka's old."""
    servers, before, former = site.with_passwords(), site.counts(), dict(site.passwords)
    with site.gateway(servers) as gateway:
        gateway.start()
        site.publish(COUNT)
        gateway.wait_settled(2 * COUNT)
        renewed = former | {"mqtt": "mqtt-renewed", "kafka": "kafka-renewed", "registry": "registry-renewed"}
        site.admit(renewed)
        site.front.login = basic("gateway", renewed["registry"])
        replace_link(gateway, {name: renewed[name].encode() for name in PASSWORDS})
        wait_for(lambda: "New credentials are in use." in gateway.log, 60, lambda: gateway.log[-4000:])
        gateway.wait_subscribed()
        site.publish(COUNT)
        wait_arrived(site, before, gateway, 2 * COUNT)
        assert not details(gateway).get("kafka")
        assert gateway.stop_and_read_ledger()["balanced"]
