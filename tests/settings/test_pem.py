"""Certificates and keys as people have them: in other formats, encrypted, swapped, cut short.

`load` makes the findings, so `check` and `run` say the same. A command that a finding quotes is run, and what it writes
must then be accepted.
"""

from __future__ import annotations

import shlex
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from gateway.errors import ConfigurationError
from gateway.settings.pem import TlsFiles
from gateway.settings.settings import load
from tests.stack.software import command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.errors import Finding
    from tests.stack.certificates import Certificates

PASS_PHRASE = "secret"


class Folder:
    """A folder with a gateway.yaml that names ca.crt, client.crt and client.key, all of them good."""

    def __init__(self, path: Path, certificates: Certificates) -> None:
        self.path = path
        for name, source in (
            ("ca.crt", certificates.ca),
            ("client.crt", certificates.certificate("client")),
            ("client.key", certificates.key("client")),
            ("other.key", certificates.key("broker")),
            ("revoked.crl", certificates.revocations),
        ):
            self.write(name, source.read_bytes())
        self.tls = {"ca_file": "ca.crt", "cert_file": "client.crt", "key_file": "client.key"}

    def write(self, name: str, content: bytes) -> None:
        """Write a file that only its owner may read."""
        (self.path / name).touch(0o600)
        (self.path / name).write_bytes(content)

    def read(self, name: str) -> bytes:
        """Give the content of a file."""
        return (self.path / name).read_bytes()

    def openssl(self, line: str) -> None:
        """Run a command of openssl here."""
        run([command("openssl", "openssl"), *shlex.split(line)], self.path)

    def findings(self) -> list[Finding]:
        """Load the settings."""
        lines = [f"      {name}: {file}\n" for name, file in self.tls.items()]
        path = self.path / "gateway.yaml"
        path.write_text("".join(["contract: asyncapi.yaml\nservers:\n  kafka:\n    tls:\n", *lines]))
        try:
            load(path, {})
        except ConfigurationError as error:
            return list(error.findings)
        return []


def run(arguments: list[str], folder: Path) -> None:
    """Run a command as an operator does whose umask is the usual one."""
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, umask=0o022)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def folder(tmp_path: Path, certificates: Certificates) -> Folder:
    """Make a folder with good files."""
    return Folder(tmp_path, certificates)


def encrypt(program: str) -> Callable[[Folder], None]:
    """Name a key that is encrypted with a pass phrase; `ec` writes the traditional form, `pkey` PKCS#8."""

    def make(folder: Folder) -> None:
        folder.openssl(f"{program} -in client.key -out locked.key -aes256 -passout pass:{PASS_PHRASE}")
        folder.tls["key_file"] = "locked.key"

    return make


def pkcs12(setting: str) -> Callable[[Folder], None]:
    """Put certificate and key into a PKCS#12 file, and name it in a setting."""

    def make(folder: Folder) -> None:
        files = "-inkey client.key -in client.crt -certfile ca.crt"
        folder.openssl(f"pkcs12 -export {files} -passout pass:{PASS_PHRASE} -out both.p12")
        folder.tls[setting] = "both.p12"

    return make


def converted(line: str, setting: str) -> Callable[[Folder], None]:
    """Convert a file with openssl to `other`, and name it in a setting."""

    def make(folder: Folder) -> None:
        folder.openssl(f"{line} -out other")
        folder.tls[setting] = "other"
        (folder.path / "other").chmod(0o600)

    return make


def named(setting: str, file: str) -> Callable[[Folder], None]:
    """Name another file in a setting."""
    return lambda folder: folder.tls.update({setting: file})


def written(name: str, change: Callable[[bytes], bytes]) -> Callable[[Folder], None]:
    """Change the content of a file."""
    return lambda folder: folder.write(name, change(folder.read(name)))


KINDS: dict[str, tuple[Callable[[Folder], None], str, str]] = {  # what is done, the setting, the message
    "certificate in PKCS#12": (pkcs12("cert_file"), "cert_file", "is PKCS#12, not PEM."),
    "key in PKCS#12": (pkcs12("key_file"), "key_file", "is PKCS#12, not PEM."),
    "CA in DER": (converted("x509 -in ca.crt -outform DER", "ca_file"), "ca_file", "is DER, not PEM."),
    "certificate in DER": (converted("x509 -in client.crt -outform DER", "cert_file"), "cert_file", "is DER, not PEM."),
    "key in DER": (converted("pkey -in client.key -outform DER", "key_file"), "key_file", "is DER, not PEM."),
    "CA in PKCS#7": (converted("crl2pkcs7 -nocrl -certfile ca.crt", "ca_file"), "ca_file", "is PKCS#7, not PEM."),
    "CA in PKCS#7, DER": (
        converted("crl2pkcs7 -nocrl -certfile ca.crt -outform DER", "ca_file"), "ca_file", "is PKCS#7 in DER, not PEM.",
    ),
    "encrypted key": (encrypt("pkey"), "key_file", "is encrypted with a pass phrase."),
    "encrypted key, old form": (encrypt("ec"), "key_file", "is encrypted with a pass phrase."),
    "key of another certificate": (
        named("key_file", "other.key"), "key_file", "does not belong to the first certificate in",
    ),
    "chain without its first": (
        named("cert_file", "ca.crt"), "key_file", "does not belong to the first certificate in",
    ),
    "key and certificate swapped": (
        lambda folder: folder.tls.update(cert_file="client.key", key_file="client.crt"),
        "cert_file", "holds no certificate in PEM.",
    ),
    "certificate instead of the key": (
        converted("x509 -in client.crt", "key_file"), "key_file", "holds no private key in PEM.",
    ),
    "key instead of the certificate": (
        named("cert_file", "client.key"), "cert_file", "holds no certificate in PEM.",
    ),
    "revocations as CA": (named("ca_file", "revoked.crl"), "ca_file", "holds no certificate in PEM."),
    "empty CA": (written("ca.crt", lambda _: b""), "ca_file", "is empty."),
    "text as CA": (written("ca.crt", lambda _: b"see the wiki\n"), "ca_file", "holds no certificate in PEM."),
    "UTF-16": (written("ca.crt", lambda pem: pem.decode().encode("utf-16")), "ca_file", "holds no certificate in PEM."),
    "certificate cut short": (
        written("client.crt", lambda pem: pem[: len(pem) // 2]), "cert_file", "OpenSSL cannot use the certificate in",
    ),
    "key cut short": (
        written("client.key", lambda pem: pem[: len(pem) // 2]), "key_file", "OpenSSL cannot use the private key in",
    ),
    "CA cut short": (
        written("ca.crt", lambda pem: pem[: len(pem) // 2]), "ca_file", "OpenSSL cannot use the certificate in",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "setting", "message"), KINDS.values(), ids=KINDS)
def test_load_says_what_is_wrong_and_a_quoted_command_helps(
    folder: Folder, change: Callable[[Folder], None], setting: str, message: str
) -> None:
    change(folder)
    finding = next(one for one in folder.findings() if message in one.message)
    assert finding.path == f"servers.kafka.tls.{setting}"
    assert finding.source.endswith("gateway.yaml")
    quoted = finding.fix.partition(" command writes: ")[2]
    if quoted:
        arguments = shlex.split(quoted)
        is_locked = "encrypted" in message or "pkcs12" in arguments
        run([*arguments, *(["-passin", f"pass:{PASS_PHRASE}"] if is_locked else [])], folder.path)
        folder.tls[setting] = arguments[arguments.index("-out") + 1]
        assert folder.findings() == []


@pytest.mark.parametrize("program", ["pkey", "ec"])
def test_load_takes_an_encrypted_key_with_its_pass_phrase(folder: Folder, program: str) -> None:
    encrypt(program)(folder)
    folder.tls["key_password_file"] = "phrase"
    folder.write("phrase", f"{PASS_PHRASE}\n".encode())
    assert folder.findings() == []
    folder.write("phrase", b"another\n")
    [finding] = folder.findings()
    assert finding.path == "servers.kafka.tls.key_password_file"
    assert finding.message.startswith("The pass phrase does not decrypt the private key in ")


def test_load_wants_a_key_with_a_pass_phrase(folder: Folder) -> None:
    folder.tls = {"ca_file": "ca.crt", "key_password_file": "phrase"}
    folder.write("phrase", b"secret\n")
    [finding] = folder.findings()
    assert (finding.path, finding.fix) == ("servers.kafka.tls.key_password_file", "Add key_file.")


@pytest.mark.parametrize("kind", ["rsa:2048", "ed25519", "ec -pkeyopt ec_paramgen_curve:P-384"])
def test_load_takes_keys_of_all_kinds(folder: Folder, kind: str) -> None:
    """Also with Windows line ends, with text before the block, and with certificate and key in one file."""
    folder.openssl(f"req -x509 -newkey {kind} -nodes -keyout client.key -out client.crt -subj /CN=client -days 30")
    assert folder.findings() == []
    both = (folder.read("client.key") + b"a note\n" + folder.read("client.crt")).replace(b"\n", b"\r\n")
    folder.write("both.pem", both)
    folder.tls |= {"cert_file": "both.pem", "key_file": "both.pem"}
    assert folder.findings() == []


def test_a_context_verifies_and_takes_a_ca_without_key_usage() -> None:
    """Python from 3.13 on would refuse it; the other tests with TLS have such a CA."""
    context = TlsFiles().context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
