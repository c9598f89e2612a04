"""Throw-away certificates, made with openssl in under a second: a good set, and each way to be wrong.

    ca.crt              signs all that follow
    broker.crt/.key     127.0.0.1 and localhost; server and client use
    broker-keystore.pem key (PKCS#8), then certificate, in one file: what Kafka's PEM keystore reads; each has one
    client.crt/.key     CN=client, client use
    expired.crt/.key    as broker, but valid in January 2020 only
    not-yet.crt/.key    as broker, but valid from 2040 on only
    wrong-host.crt/.key as broker, but for other.example only
    foreign.crt/.key    as broker, but of the other authority
    old-client.crt/.key as client, but valid in January 2020 only
    revoked.crt/.key    as client, but on the authority's list of revocations, revoked.crl
    other-ca.crt        an authority that signed none of them
    stranger.crt/.key   a client certificate of that other authority

`openssl ca` signs, because it is the one command that sets both dates in every version of openssl 3.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.stack.software import command

if TYPE_CHECKING:
    from pathlib import Path

SERVER = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n"
OTHER_SERVER = "subjectAltName=DNS:other.example\nextendedKeyUsage=serverAuth,clientAuth\n"
CLIENT = "extendedKeyUsage=clientAuth\n"

LONG_AGO = ("20200101000000Z", "20200131000000Z")
# Fixed dates: `openssl ca` knows no relative ones, and a clock that is a little behind must not fail a test.
FROM_2040 = ("20400101000000Z", "20491231000000Z")
FOR_LONG = ("20250101000000Z", "20491231000000Z")

AUTHORITY = """\
[ca]
default_ca = authority
[authority]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = policy
unique_subject = no
[policy]
commonName = supplied
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """The folder of certificates, and the names that tests use most.

    Args:
        folder: holds the files listed above; private keys have mode 0600.
    """

    folder: Path

    @property
    def ca(self) -> Path:
        """The authority to trust."""
        return self.folder / "ca.crt"

    @property
    def other_ca(self) -> Path:
        """An authority that signed nothing in use."""
        return self.folder / "other-ca.crt"

    @property
    def broker_keystore(self) -> Path:
        """The broker's key and certificate in one file."""
        return self.keystore("broker")

    def keystore(self, name: str) -> Path:
        """Key and certificate of this name in one file."""
        return self.folder / f"{name}-keystore.pem"

    @property
    def revocations(self) -> Path:
        """The authority's list of revocations."""
        return self.folder / "revoked.crl"

    def certificate(self, name: str) -> Path:
        """A certificate by the name that it has above."""
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The private key of a certificate."""
        return self.folder / f"{name}.key"


def make_certificates(folder: Path) -> Certificates:
    """Make all of them.

    Args:
        folder: an existing directory.

    Returns:
        Where they are.
    """
    _make_authority(folder, "ca")
    _make_authority(folder, "other-ca")
    _sign(folder, "broker", SERVER)
    _sign(folder, "client", CLIENT)
    _sign(folder, "expired", SERVER, dates=LONG_AGO)
    _sign(folder, "not-yet", SERVER, dates=FROM_2040)
    _sign(folder, "wrong-host", OTHER_SERVER)
    _sign(folder, "foreign", SERVER, authority="other-ca")
    _sign(folder, "stranger", CLIENT, authority="other-ca")
    _sign(folder, "old-client", CLIENT, dates=LONG_AGO)
    _sign(folder, "revoked", CLIENT)
    _revoke(folder, "revoked")
    return Certificates(folder)


def _make_authority(folder: Path, name: str) -> None:
    (folder / "authority.cnf").write_text(AUTHORITY)
    (folder / "index.txt").touch()
    (folder / "serial").write_text("1000")
    _new_key(folder, name, "-x509", "-days", "9000", "-out", f"{name}.crt")


def _sign(folder: Path, name: str, extensions: str, authority: str = "ca", dates: tuple[str, str] = FOR_LONG) -> None:
    _new_key(folder, name, "-out", f"{name}.csr")
    (folder / f"{name}.ext").write_text(extensions)
    start, end = dates
    _openssl(
        folder, "ca", "-batch", "-notext", "-config", "authority.cnf", "-cert", f"{authority}.crt",
        "-keyfile", f"{authority}.key", "-startdate", start, "-enddate", end, "-extfile", f"{name}.ext",
        "-in", f"{name}.csr", "-out", f"{name}.crt",
    )  # fmt: skip
    keystore = folder / f"{name}-keystore.pem"
    keystore.touch(0o600)
    keystore.write_text((folder / f"{name}.key").read_text() + (folder / f"{name}.crt").read_text())


def _revoke(folder: Path, name: str) -> None:
    authority = ("ca", "-config", "authority.cnf", "-cert", "ca.crt", "-keyfile", "ca.key")
    _openssl(folder, *authority, "-revoke", f"{name}.crt")
    _openssl(folder, *authority, "-gencrl", "-crldays", "9000", "-out", "revoked.crl")


def _new_key(folder: Path, name: str, *arguments: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")
    _openssl(folder, "req", *key, "-subj", f"/CN={name}", *arguments)
    (folder / f"{name}.key").chmod(0o600)


def _openssl(folder: Path, *arguments: str) -> None:
    outcome = subprocess.run(
        [command("openssl", "openssl"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, f"openssl {arguments[0]} failed:\n{outcome.stderr}"
