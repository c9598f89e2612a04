"""Certificates and private keys in PEM: loaded as a connection uses them, with what is wrong with a refused file.

OpenSSL says hardly more than "PEM lib" when it cannot load a file. So a file that it refuses is looked at: another
format is named with the command that converts it, and a pass phrase that is missing or wrong is named as such.
`gateway check` and `gateway run` load files with this code, so they say the same.
"""

from __future__ import annotations

import re
import shlex
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.settings import secret
from gateway.settings.secret import UnfitFileError, read_secret
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTINGS: Final = ("ca_file", "cert_file", "key_file", "key_password_file")
CERTIFICATE, KEY = "certificate", "private key"
_LABEL: Final = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)
_MISMATCH: Final = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}
_CONVERSIONS: Final = {  # by format and wanted content: the command, and the suffix of the file that it writes
    ("PKCS#12", CERTIFICATE): ("openssl pkcs12 -in {old} -nokeys -out {new}", ".crt"),
    ("PKCS#12", KEY): ("openssl pkcs12 -in {old} -nocerts -nodes -out {new}", ".key"),
    ("DER", CERTIFICATE): ("openssl x509 -inform DER -in {old} -out {new}", ".crt"),
    ("DER", KEY): ("openssl pkey -inform DER -in {old} -out {new}", ".key"),
    ("PKCS#7", CERTIFICATE): ("openssl pkcs7 -in {old} -print_certs -out {new}", ".crt"),
    ("PKCS#7 in DER", CERTIFICATE): ("openssl pkcs7 -inform DER -in {old} -print_certs -out {new}", ".crt"),
}


@dataclass(frozen=True, slots=True)
class TlsFile:
    """A file that is named by a setting, as it was read."""

    setting: str
    path: Path
    content: bytes = field(repr=False)

    @property
    def wanted(self) -> str:
        """What the file shall hold."""
        return KEY if self.setting == "key_file" else CERTIFICATE

    @property
    def shown(self) -> str:
        """The path for a message."""
        return printable(str(self.path))

    @property
    def text(self) -> str:
        """The content, for librdkafka; what stands between the blocks need not be UTF-8."""
        return self.content.decode(errors="replace")

    @property
    def is_encrypted(self) -> bool:
        """Whether the key in PEM needs a pass phrase."""
        return b"ENCRYPTED PRIVATE KEY" in _LABEL.findall(self.content) or b"\nProc-Type: 4,ENCRYPTED" in self.content

    def unfit(self, message: str, fix: str) -> UnfitFileError:
        """Make the error of a file that cannot be used."""
        return UnfitFileError(message, fix, self.setting)

    def check_form(self) -> None:
        """Raise UnfitFileError when this is no PEM file with the wanted content."""
        form = _form(self.content)
        if conversion := _CONVERSIONS.get((form, self.wanted)):
            command, suffix = conversion
            old, new = (printable(shlex.quote(f"{self.path}{suffix}")) for suffix in ("", suffix))
            fix = f"Name the file in PEM that this command writes: {command.format(old=old, new=new)}"
            raise self.unfit(f"The file {self.shown} is {form}, not PEM.", fix)
        if not any(label.endswith(self.wanted.upper().encode()) for label in _LABEL.findall(self.content)):
            fix = f"Name a file in PEM: it has a line such as -----BEGIN {self.wanted.upper()}-----."
            raise self.unfit(f"The file {self.shown} holds no {self.wanted} in PEM.", fix)

    def damaged(self, error: OSError) -> UnfitFileError:
        """Make the error of a file in the right form that OpenSSL rejects."""
        reason = getattr(error, "reason", None)
        because = f": {reason.lower().replace('_', ' ')}" if reason else ""
        message = f"OpenSSL cannot use the {self.wanted} in {self.shown}{because}."
        return self.unfit(message, "Write the file anew: it is damaged, incomplete or too weak.")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of a connection; without a CA file the system's authorities are trusted."""

    ca: TlsFile | None = None
    cert: TlsFile | None = None
    key: TlsFile | None = None
    pass_phrase: str = field(default="", repr=False)  # of the key; empty for none

    def context(self) -> ssl.SSLContext:
        """Make a TLS context that verifies certificate and host name, TLS 1.2 or newer; raises UnfitFileError."""
        context = self._trusting()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert and self.key:
            self._show(context, self.cert, self.key)
        return context

    def check(self) -> None:
        """Load all files; raises UnfitFileError when one cannot be used."""
        if self.key and not self.cert:
            self.signing_algorithm()
        self.context()

    def signing_algorithm(self) -> str:
        """Name the JWT algorithm (RFC 7518) of a key that has no certificate; raises UnfitFileError."""
        from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415 - 8 MB, for those who sign
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - as above

        assert self.key, "the caller has checked"
        self.key.check_form()
        try:
            key = load_pem_private_key(self.key.content, self.pass_phrase.encode() or None)
        except (ValueError, TypeError):  # damaged, or a pass phrase is missing, wrong or not needed
            message = f"The private key in {self.key.shown} cannot be loaded with this pass phrase, or is damaged."
            raise self.key.unfit(message, "Correct key_password_file, or write the key anew.") from None
        if isinstance(key, rsa.RSAPrivateKey):
            return "RS256"
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return "ES256"
        message = f"The private key in {self.key.shown} is neither RSA nor of the elliptic curve P-256."
        raise self.key.unfit(message, "Name a key of one of these kinds.")

    def _trusting(self) -> ssl.SSLContext:
        if not self.ca:
            return trusting()
        try:
            context = trusting(self.ca.path)
        except OSError as error:  # the base class of ssl.SSLError
            self.ca.check_form()
            raise self.ca.damaged(error) from None
        if not context.cert_store_stats()["x509"]:  # OpenSSL is content with a list of revocations
            self.ca.check_form()
        return context

    def _show(self, context: ssl.SSLContext, cert: TlsFile, key: TlsFile) -> None:
        try:
            # Without a pass phrase OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert.path, key.path, password=self.pass_phrase)
        except OSError as error:
            cert.check_form()
            key.check_form()
            raise self._explain(cert, key, error) from None

    def _explain(self, cert: TlsFile, key: TlsFile, error: OSError) -> UnfitFileError:
        if getattr(error, "reason", None) in _MISMATCH:
            message = f"The private key in {key.shown} does not belong to the first certificate in {cert.shown}."
            return key.unfit(message, "Name the key of that certificate; in a chain the own certificate comes first.")
        if key.is_encrypted and self.pass_phrase:
            message = f"The pass phrase does not decrypt the private key in {key.shown}."
            fix = "Write the right one into this file."
            return UnfitFileError(message, fix, "key_password_file")
        if key.is_encrypted:
            plain = f"openssl pkey -in {shlex.quote(str(key.path))} -out {shlex.quote(f'{key.path}.plain')}"
            fix = f"Add key_password_file, or name the file that this command writes: {printable(plain)}"
            return key.unfit(f"The private key in {key.shown} is encrypted with a pass phrase.", fix)
        try:
            trusting(cert.path)
        except OSError as damage:
            return cert.damaged(damage)
        return key.damaged(error)


def trusting(authorities: Path | None = None) -> ssl.SSLContext:
    """Make a TLS context that trusts the authorities of a file, or the system's; OSError when they cannot be read.

    From Python 3.13 on, the default refuses what RFC 5280 does not allow, such as a CA without a key usage. That is how
    `openssl req -x509` makes a CA, so many brokers have one; librdkafka and other clients of theirs take it.
    """
    context = ssl.create_default_context(cafile=authorities)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def read(paths: Mapping[str, Path], credentials: Path | None) -> TlsFiles:
    """Read the files of a connection, by setting, as they are now; raises UnfitFileError."""
    files: dict[str, TlsFile] = {}
    pass_phrase = ""
    for setting, path in paths.items():
        try:
            if setting == "key_password_file":
                pass_phrase = read_secret(path, credentials).get_secret_value()
            else:
                files[setting] = TlsFile(setting, path, secret.read(path, credentials, is_secret=setting == "key_file"))
        except UnfitFileError as error:
            raise UnfitFileError(error.message, error.hint, setting) from None
    return TlsFiles(files.get("ca_file"), files.get("cert_file"), files.get("key_file"), pass_phrase)


def _form(content: bytes) -> str:
    """Name the format of a file that is not PEM; "" for all others."""
    if b"PKCS7" in _LABEL.findall(content):
        return "PKCS#7"
    if content[:1] != b"\x30" or content.isascii():  # no ASN.1 SEQUENCE
        return ""
    start = 2 + (content[1] & 0x7F if content[1] & 0x80 else 0)  # behind its length
    if content[start : start + 3] == b"\2\1\3":  # version 3
        return "PKCS#12"
    return "PKCS#7 in DER" if content[start : start + 1] == b"\6" else "DER"
