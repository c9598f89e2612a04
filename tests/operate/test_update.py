"""`gateway update`: what is taken, what is refused with a sentence, and that a kill at any moment leaves a contract."""

from __future__ import annotations

import fcntl
import io
import json
import os
import resource
import signal
import ssl
import subprocess
import sys
import tarfile
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import ConfigurationError, GatewayError
from gateway.installation import open_installation
from gateway.operate.recording import Recording
from gateway.operate.update import BundleRefusedError, NotFetchedError, Update
from gateway.settings.settings import load
from tests.operate.shadow.rig import STEP, messages
from tests.service.reload_site import Flow, Load, ReloadSite, document
from tests.stack.loopback import Serving
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.certificates import Certificates
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

IDENTITY = "contracts@factory.example"
OTHER_KEY = ("x-location: $message.payload#/oven}}}", "x-location: $message.header#/mqtt.topic}}}")


class Origin(Serving):
    """An HTTPS server with files, by path."""

    def __init__(self, certificates: Certificates) -> None:
        self.files: dict[str, bytes] = {}
        self.redirect = ""
        origin = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = origin.files.get(self.path)
                self.send_response(302 if origin.redirect else 404 if content is None else 200)
                if origin.redirect:
                    self.send_header("Location", origin.redirect)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
                """Say nothing."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.folder / "broker.crt", certificates.folder / "broker.key")
        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        super().__init__(server)
        self.url = f"https://127.0.0.1:{server.server_address[1]}/bundle.tar.gz"


class Site:
    """An installation whose contract comes from a server, and the key that signs it."""

    def __init__(self, folder: Path, origin: Origin, certificates: Certificates) -> None:
        self.folder, self.origin = folder, origin
        self.key, signers = folder / "key", folder / "allowed_signers"
        self.new_key(self.key)
        signers.write_text(f"{IDENTITY} {self.key.with_suffix('.pub').read_text()}")
        self.given: dict[str, Any] = {
            "url": origin.url, "allowed_signers": "allowed_signers", "identity": IDENTITY,
            "ca_file": str(certificates.ca),
        }  # fmt: skip
        self.contract = folder / "contract"

    def new_key(self, path: Path) -> None:
        """Make a key pair."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)

    def signed(self, content: bytes, key: Path | None = None) -> bytes:
        """Sign as the documentation says."""
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "gateway-contract", "-f", str(key or self.key)]
        return subprocess.run(command, input=content, capture_output=True, check=True).stdout

    def publish(self, bundle: bytes, key: Path | None = None) -> None:
        """Let the server have a bundle and its signature."""
        self.origin.files = {"/bundle.tar.gz": bundle, "/bundle.tar.gz.sig": self.signed(bundle, key)}

    def update(self) -> str:
        """Run it."""
        path = self.folder / "gateway.yaml"
        settings = {"contract": "contract/asyncapi.yaml", "update": self.given, "http": {"listen": "off"}}
        path.write_text(json.dumps(settings))
        return Update(load(path, {}), lambda _line: None).run()

    def version(self) -> str:
        """The version of the contract that a start would take."""
        return open_installation(self.folder / "gateway.yaml", {}).contract.version


@pytest.fixture
def site(tmp_path: Path, certificates: Certificates) -> Iterator[Site]:
    with Origin(certificates) as origin:
        yield Site(tmp_path, origin, certificates)


def packed(version: str = "1.0.0", edit: tuple[str, str] = ("", ""), **more: Any) -> bytes:
    """A bundle with the contract of a bakery, one change in it, and more members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path in sorted(STEP.iterdir()):
            text = path.read_text()
            if path.name == "asyncapi.yaml":
                text = text.replace("version: 1.0.0", f"version: {version}").replace(*edit)
            add(tar, path.name, text.encode())
        for name, content in more.items():
            if isinstance(content, bytes):
                add(tar, name, content)
            else:
                tar.addfile(content)
    return buffer.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def test_update_takes_a_signed_bundle_once(site: Site) -> None:
    """The first one, then another one; the same one again changes nothing."""
    site.publish(packed("1.0.0"))
    assert "new contract is in place" in site.update()
    assert site.version() == "1.0.0"
    assert site.update() == "Nothing has changed: the contract is that of this bundle."
    site.publish(packed("1.0.1"))
    site.update()
    assert site.version() == "1.0.1"
    assert "version: 1.0.0" in (site.folder / "contract.previous" / "asyncapi.yaml").read_text()
    assert sorted(path.name for path in site.folder.glob("contract*")) == ["contract", "contract.previous"]


LINK, DEVICE = tarfile.TarInfo("link"), tarfile.TarInfo("device")
LINK.type, LINK.linkname = tarfile.SYMTYPE, "/etc/passwd"
DEVICE.type = tarfile.CHRTYPE
SPARSE = tarfile.TarInfo("sparse")  # 4 MiB, of which the archive has one byte
SPARSE.pax_headers = {"GNU.sparse.map": f"{2**22 - 1},1", "GNU.sparse.size": str(2**22)}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "dots": ({"../asyncapi.yaml": b"x"}, "outside its folder"),
    "absolute": ({"/etc/x": b"x"}, "outside its folder"),
    "marker": ({".bundle": b"x"}, "outside its folder"),
    "link": ({"link": LINK}, "not a regular file"),
    "device": ({"device": DEVICE}, "not a regular file"),
    "sparse": ({f"f{n}": SPARSE for n in range(9)}, "too large"),
    "bomb": ({f"f{n}": b"\0" * 2**22 for n in range(9)}, "unpacks to more than"),
}


@pytest.mark.parametrize("name", BAD)
def test_bundle_with_bad_members_is_refused(site: Site, name: str) -> None:
    """Signed or not, it writes nothing outside, and the present contract stays."""
    site.publish(packed("1.0.0"))
    site.update()
    members, reason = BAD[name]
    site.publish(packed("1.0.1", **members))
    with pytest.raises(BundleRefusedError, match=reason):
        site.update()
    assert site.version() == "1.0.0"
    assert not (site.folder / "contract.incoming").exists()


def test_bundle_that_is_damaged_is_refused(site: Site) -> None:
    """Signed as it is: cut, with a byte changed, not packed at all."""
    good = packed("1.0.0")
    place = len(good) // 2
    for bundle in (good[:place], good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :], b"", b"<html>"):
        site.publish(bundle)
        with pytest.raises(BundleRefusedError, match="is not a tar"):
            site.update()
    assert not site.contract.exists()


def test_update_does_not_run_twice_at_a_time(site: Site) -> None:
    site.publish(packed("1.0.0"))
    folder = os.open(site.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(BundleRefusedError, match="Another `gateway update` is at work"):
        site.update()
    os.close(folder)
    site.update()
    assert site.version() == "1.0.0"


def test_bundle_that_is_not_genuine_is_refused(site: Site, tmp_path: Path) -> None:
    """Tampered, signed by another key, or under another digest than the one that is pinned."""
    site.publish(packed("1.0.0"))
    site.update()
    site.origin.files["/bundle.tar.gz"] = packed("6.6.6")
    with pytest.raises(BundleRefusedError, match="signature"):
        site.update()
    site.new_key(tmp_path / "other")
    site.publish(packed("6.6.6"), tmp_path / "other")
    with pytest.raises(BundleRefusedError, match="signature"):
        site.update()
    site.given = {"url": site.given["url"], "ca_file": site.given["ca_file"], "sha256": "0" * 64}
    with pytest.raises(BundleRefusedError, match="another SHA-256"):
        site.update()
    site.given["sha256"] = sha256(packed("1.0.2")).hexdigest()
    site.origin.files = {"/bundle.tar.gz": packed("1.0.2")}
    site.update()
    assert site.version() == "1.0.2"


def test_bundle_that_cannot_be_fetched_leaves_the_contract(site: Site, certificates: Certificates) -> None:
    site.publish(packed("1.0.0"))
    site.update()
    site.origin.redirect = "http://127.0.0.1:1/bundle.tar.gz"
    with pytest.raises(BundleRefusedError, match="without TLS"):
        site.update()
    site.origin.redirect = ""
    site.given["ca_file"] = str(certificates.other_ca)
    with pytest.raises(NotFetchedError, match="certificate"):
        site.update()
    site.given["ca_file"] = str(certificates.ca)
    site.origin.files = {}
    for url in (site.origin.url, "https://factory.example.invalid/ü", f"https://{'a' * 64}.example/x"):
        site.given["url"] = url
        with pytest.raises(NotFetchedError):
            site.update()
    assert site.version() == "1.0.0"


def test_contract_with_errors_is_refused(site: Site) -> None:
    site.publish(packed("1.0.0"))
    site.update()
    site.publish(packed("1.0.1", ("", ""), **{"door.avsc": b"{}"}))
    with pytest.raises(ConfigurationError):
        site.update()
    assert site.version() == "1.0.0"


def test_contract_that_changes_records_of_the_recording_is_refused(site: Site, tmp_path: Path) -> None:
    """Unless update.expect names the difference."""
    with Recording(tmp_path / "traffic.db") as recording:
        for one in messages(100):
            recording.add(one.reading)
    site.given["recording"] = "traffic.db"
    site.publish(packed("1.0.0"))
    site.update()
    site.publish(packed("1.0.1"))
    site.update()
    site.publish(packed("1.0.2", OTHER_KEY))
    with pytest.raises(BundleRefusedError, match="changes records"):
        site.update()
    assert site.version() == "1.0.1"
    site.given["expect"] = ["key:receiveOvens"]
    site.update()
    assert site.version() == "1.0.2"


def test_disk_that_takes_no_more_leaves_the_contract(site: Site) -> None:
    site.publish(packed("1.0.0"))
    site.update()
    site.publish(packed("1.0.1"))
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))  # bytes a file: less than the contract has
    try:
        with pytest.raises(BundleRefusedError, match="cannot be written"):
            site.update()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert site.version() == "1.0.0"
    assert not (site.folder / "contract.incoming").exists()
    site.update()
    assert site.version() == "1.0.1"


def test_running_gateway_takes_an_update_and_goes_back_when_it_is_not_ready(
    tmp_path: Path, mosquitto: StartMosquitto, kafka: Kafka, registry: Registry
) -> None:
    """The second contract is right by itself, but Kafka lacks its topic; readings go on all the time."""
    one, two = Flow("a/{machine}/one", "one"), Flow("a/{machine}/two", "two")
    (tmp_path / "contract").mkdir()
    with ReloadSite(tmp_path / "contract", mosquitto(), kafka, registry, {"one": one}) as site:
        site.create("two")
        first = site.digest()
        with Load(site.broker.port, ["a/{}/one"], 100) as load:
            assert offered(site, {"one": one, "two": two}, "2.0.0").endswith("stayed ready for 5 s.")
            second = site.digest()
            assert second != first
            assert 'version="2.0.0"' in site.gateway.metrics()
            load.topics.append("a/{}/two")
            load.wait_for(100)
            lost = {"one": one, "two": two, "lost": Flow("a/{machine}/lost", "lost")}
            with pytest.raises(BundleRefusedError, match="the former one is back"):
                offered(site, lost, "3.0.0")
            assert site.digest() == second
            wait_for(site.gateway.is_ready, 60, lambda: str(site.gateway.states()))
            assert json.loads(site.contract.read_text())["info"]["version"] == "2.0.0"
            with pytest.raises(BundleRefusedError, match="taken back before"):
                offered(site, lost, "3.0.0")
            load.wait_for(100)
        site.gateway.wait_settled(load.sent.total())
        assert site.numbers_of_all() == {machine: list(range(count)) for machine, count in load.sent.items()}


def offered(site: ReloadSite, flows: dict[str, Flow], version: str) -> str:
    """Publish a contract in a folder, pinned by its digest, and update."""
    folder = site.contract.parent.with_name("working-copy")
    folder.mkdir(exist_ok=True)
    text = json.dumps(document(flows, site.suffix, version)).encode()
    (folder / site.contract.name).write_bytes(text)
    sums = f"{sha256(text).hexdigest()}  {site.contract.name}\n".encode()
    (folder / "SHA256SUMS").write_bytes(sums)
    site.set(update={"folder": str(folder), "sha256": sha256(sums).hexdigest()})
    return Update(load(site.gateway.settings_file, {}), lambda _line: None, watch_seconds=5).run()


def test_folder_with_a_signed_list_is_taken(site: Site, tmp_path: Path) -> None:
    """Only what the list names, as it was signed."""
    folder = tmp_path / "working-copy"
    folder.mkdir()
    for path in STEP.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    names = sorted(path.name for path in folder.iterdir())
    sums = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True).stdout
    (folder / "SHA256SUMS").write_bytes(sums)
    (folder / "SHA256SUMS.sig").write_bytes(site.signed(sums))
    (folder / "README.md").write_text("not listed")
    del site.given["url"]
    site.given["folder"] = "working-copy"
    site.update()
    assert sorted(path.name for path in site.contract.iterdir()) == [".bundle", *names]
    (folder / "oven.avsc").write_text("{}")
    (site.contract / ".bundle").write_text("another")
    with pytest.raises(BundleRefusedError, match="does not have the SHA-256 that SHA256SUMS states"):
        site.update()


def test_kill_at_any_step_leaves_a_good_contract(site: Site) -> None:
    """SIGKILL before each change of the file system; the next run brings the new contract."""
    for step in range(1, 200):
        site.publish(packed("1.0.0"))
        site.update()
        site.publish(packed("1.0.1"))
        child = os.fork()
        if child == 0:
            os._exit(_update_until(site, step))
        _, status = os.waitpid(child, 0)
        assert site.version() in {"1.0.0", "1.0.1"}
        if not os.WIFSIGNALED(status):
            assert status == 0
            assert step > 20, "it was killed at many steps before"
            return
        site.update()
        assert site.version() == "1.0.1"
        assert not (site.folder / "contract.trial").exists()


def _update_until(site: Site, last: int) -> int:
    """Update, and die before the change of this number."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        changes = event in {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "ctypes.call_function"}
        if changes or (event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]):
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        site.update()
    except GatewayError:
        return 1
    return 0
