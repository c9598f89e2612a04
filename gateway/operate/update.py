"""`gateway update`: takes a contract from elsewhere, if it is signed and fits, and lets the running gateway use it.

Each step may refuse, and until the exchange nothing of the present contract, the folder NAME, is touched:

    fetch      a bundle (tar.gz) over HTTPS, or what SHA256SUMS lists in a folder, such as a git working copy
    verify     its SHA-256, or its SSH signature by one of the allowed_signers
    unpack     into NAME.incoming: regular files below limits, all on disk before the next step
    check      contract and settings, as `gateway check`
    shadow     on a recording, if there is one: only differences that are expected
    exchange   NAME.incoming becomes NAME.previous, then NAME and NAME.previous change places: two atomic renames
    reload     the running gateway; when it refuses, the two change places again
    watch      /readyz for a minute; when it falls, the same, and NAME.refused remembers the bundle

So a power cut at any moment leaves a checked contract in NAME. NAME.trial is there from before the exchange until the
end of the watch; if the next run finds it, it goes on with the reload.

A folder cannot be replaced by a rename, so this needs RENAME_EXCHANGE of renameat2(2). A symbolic link that is swapped
was rejected: the folder that people have would have to become a link first, which is not atomic.

Not promised: a server that offers an older bundle, signed as well, is taken.
"""

from __future__ import annotations

import fcntl
import gzip
import io
import os
import shutil
import subprocess
import tarfile
import time
import urllib.request
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway import contract as contracts
from gateway import files
from gateway.errors import ConfigurationError, ExitCode, GatewayError
from gateway.installation import Installation, contract_of, installation_of
from gateway.operate.recording import readings
from gateway.operate.reload import NotReloadedError, reload
from gateway.operate.shadow.report import report
from gateway.operate.shadow.shadow import Shadow
from gateway.operate.status import status
from gateway.service import split
from gateway.settings.settings import TlsSettings
from gateway.settings.tls import tls_context
from gateway.text import cut, printable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from gateway.operate.report import Say
    from gateway.settings.settings import Settings, UpdateSettings

MAXIMUM_BYTES, MAXIMUM_FILE_BYTES, MAXIMUM_FILES = 32 * 2**20, 4 * 2**20, 10_000
ONLY = "Pack only the contract and its schemas."
ANSWER_SECONDS, FETCH_SECONDS, VERIFY_SECONDS = 20.0, 120.0, 20.0
WATCH_SECONDS, FALLEN_SECONDS, LOOK_SECONDS = 60.0, 10.0, 1.0
SIGNATURE_NAMESPACE = "gateway-contract"
SUMS, MARKER = "SHA256SUMS", ".bundle"  # the latter has the digest of the bundle that a folder comes from


class BundleRefusedError(GatewayError):
    """The bundle is not taken; the present contract stays in use."""


class NotFetchedError(GatewayError):
    """The bundle cannot be fetched now."""

    exit_code = ExitCode.UNAVAILABLE


class Bundle(NamedTuple):
    """What was fetched; `signed` is the archive, or the list of a folder's files."""

    signed: bytes
    signature: bytes  # empty when the digest is pinned

    @property
    def digest(self) -> str:
        """The SHA-256, in hexadecimal."""
        return sha256(self.signed).hexdigest()


@dataclass
class Update:
    """One run. `settings` have `update`; ConfigurationError when it is not complete."""

    settings: Settings
    say: Say
    watch_seconds: float = WATCH_SECONDS

    def __post_init__(self) -> None:
        self.given = _checked(self.settings)
        self.contract = self.settings.resolve(self.settings.contract)
        self.present = self.contract.parent
        self.incoming, self.previous, self.trial, self.refused = (
            self.present.with_name(f"{self.present.name}.{word}")
            for word in ("incoming", "previous", "trial", "refused")
        )

    def run(self) -> str:
        """Take the bundle, and say what was done; GatewayError says why it was not."""
        try:
            with _alone(self.present.parent):
                return self._run()
        except OSError as error:
            message = f"The new contract cannot be written: {error.strerror or error}."
            raise BundleRefusedError(
                message, "The present contract stays in use; free disk space, or grant write access."
            ) from None

    def _run(self) -> str:
        bundle = fetch(self.given, self.settings)
        if bundle.digest == _read(self.present / MARKER):
            same = "Nothing has changed: the contract is that of this bundle."
            return self._try(bundle.digest, was_ready=True) if self.trial.exists() else same
        if bundle.digest == _read(self.refused):
            message = "This bundle was taken back before: the gateway refused it, or was not ready with it."
            raise BundleRefusedError(message, f"Publish another one, or remove {printable(str(self.refused))}.")
        verify(bundle, self.given, self.settings)
        was_ready = self._is_ready()
        self._unpack(bundle)
        self._rehearse()
        self._activate(bundle.digest)
        return self._try(bundle.digest, was_ready=was_ready)

    def _unpack(self, bundle: Bundle) -> None:
        shutil.rmtree(self.incoming, ignore_errors=True)
        folder = self.settings.resolve(self.given.folder) if self.given.folder else None
        try:
            for name, content in [*_members(bundle, folder), (MARKER, bundle.digest.encode())]:
                path = self.incoming / name
                path.parent.mkdir(parents=True, exist_ok=True)
                files.write(path, content)
            for path in filter(Path.is_dir, [self.incoming, *self.incoming.rglob("*")]):
                files.sync_folder(path)
        except BaseException:
            shutil.rmtree(self.incoming, ignore_errors=True)
            raise

    def _rehearse(self) -> None:
        """Check the new contract, and let both take the readings of the recording."""
        new = self.incoming / self.contract.name
        if not new.is_file():
            raise BundleRefusedError(
                f"The bundle has no {self.contract.name} at its top.", "Pack the files without a folder."
            )
        installation = installation_of(self.settings, contracts.load(new, self.settings.choice))
        split.check(installation.contract, self.settings)
        if not self.given.recording or not self.contract.exists():
            return
        recording = self.settings.resolve(self.given.recording)
        run = Shadow(Installation(self.settings, contract_of(self.settings)), new, shows_values=False)
        run.take(readings(recording))
        result = report(run, str(recording), "", list(self.given.expect))
        if result.exit_code:
            self.say(result.as_text())
            raise BundleRefusedError(
                "The new contract changes records.", "Add what is meant to differ to update.expect."
            )

    def _activate(self, digest: str) -> None:
        """Let the new contract take the place of the present one, which becomes the previous one."""
        files.replace(self.trial, digest)
        shutil.rmtree(self.previous, ignore_errors=True)
        if not self.present.exists():  # the first one
            self.incoming.rename(self.present)
            files.sync_folder(self.present.parent)
            return
        self.incoming.rename(self.previous)
        files.sync_folder(self.present.parent)
        files.exchange(self.present, self.previous)

    def _try(self, digest: str, *, was_ready: bool) -> str:
        """Reload the gateway and watch it; take the contract back if it is refused, or the gateway is not ready."""
        text = "The new contract is in place."
        try:
            for answer in reload(self.settings, None):
                self.say(answer.text)
                if answer.exit_code:
                    self._take_back(digest)
                    message = "The running gateway refuses the contract; the former one is back."
                    raise BundleRefusedError(message, answer.text)
            text += self._watch(digest) if was_ready else " The gateway was not ready before, so it is not watched."
        except NotReloadedError as error:
            text += f" {error.message} The next start uses it."
        self.trial.unlink(missing_ok=True)
        return text

    def _watch(self, digest: str) -> str:
        until, fallen_at = time.monotonic() + self.watch_seconds, None
        while (now := time.monotonic()) < until or fallen_at is not None:
            fallen_at = None if self._is_ready() else fallen_at or now
            if fallen_at is not None and now - fallen_at >= min(FALLEN_SECONDS, self.watch_seconds):
                self._take_back(digest)
                with suppress(NotReloadedError):  # the gateway has ended: the next start takes the former one
                    for answer in reload(self.settings, None):
                        self.say(answer.text)
                message = "The gateway was no longer ready with the new contract; the former one is back."
                raise BundleRefusedError(message, "`gateway status -c FILE` and its log say why.")
            time.sleep(LOOK_SECONDS)
        return f" The gateway stayed ready for {self.watch_seconds:g} s."

    def _take_back(self, digest: str) -> None:
        if self.previous.exists():
            files.exchange(self.present, self.previous)
        files.replace(self.refused, digest)
        self.trial.unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        """Whether all workers answer that they are ready."""
        own = (split.own_settings(self.settings, number) for number in split.numbers(self.settings))
        return all(status(one.http.listen, one.resolve(one.spool.path)).state == "ready" for one in own)


def _checked(settings: Settings) -> UpdateSettings:
    given, place = settings.update, settings.resolve(settings.contract).absolute().parent
    pinned, signed = given.sha256 is not None, bool(given.allowed_signers and given.identity)
    if bool(given.url) == bool(given.folder):
        message, fix = "It is not said where the contract comes from.", "Write one of url and folder."
    elif given.url and not given.url.startswith("https:"):
        message, fix = "A contract is fetched over HTTPS only.", "Write an https URL."
    elif pinned == signed:
        message, fix = "It is not said which contract is genuine.", "Write allowed_signers and identity, or sha256."
    elif any(one.absolute().is_relative_to(place) for one in (settings.file, settings.resolve(settings.spool.path))):
        message, fix = "The folder of the contract has other files, too.", "Write contract: NAME/asyncapi.yaml."
    else:
        return given
    raise ConfigurationError([settings.finding(("update",), message, fix)])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep another `gateway update` out, such as that of the timer."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BundleRefusedError("Another `gateway update` is at work.", "Wait until it has ended.") from None
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


# --- fetch -----------------------------------------------------------------------------------------------------------


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:  # noqa: PLR0913, PLR0917 - urllib's
        if not newurl.startswith("https:"):
            raise BundleRefusedError("The server redirects to an address without TLS.", "Correct update.url.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(given: UpdateSettings, settings: Settings) -> Bundle:
    """Fetch the bundle and its signature; NotFetchedError when there is none."""
    is_signed = given.sha256 is None
    if given.url:
        context = tls_context(TlsSettings(ca_file=given.ca_file), settings)
        return Bundle(_get(given.url, context), _get(f"{given.url}.sig", context) if is_signed else b"")
    folder = settings.resolve(given.folder or "")
    try:
        sums = (folder / SUMS).read_bytes()
        return Bundle(sums, (folder / f"{SUMS}.sig").read_bytes() if is_signed else b"")
    except OSError as error:
        message = f"{printable(str(error.filename))} cannot be read: {error.strerror}."
        is_signature = str(error.filename).endswith(".sig")
        fix = f"Sign {SUMS}." if is_signature else f"Create it with `sha256sum FILES > {SUMS}`, and sign it."
        raise NotFetchedError(message, fix) from None


def _get(url: str, context: ssl.SSLContext) -> bytes:
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _HttpsOnly())
    until, content = time.monotonic() + FETCH_SECONDS, bytearray()
    try:
        with opener.open(url, timeout=ANSWER_SECONDS) as answer:
            while part := answer.read1(65_536):
                content += part
                if len(content) > MAXIMUM_BYTES:
                    raise BundleRefusedError(f"The bundle has more than {MAXIMUM_BYTES >> 20} MiB.", ONLY)
                if time.monotonic() > until:
                    raise TimeoutError(f"not complete after {FETCH_SECONDS:g} s")
    except (OSError, HTTPException, UnicodeError) as error:  # the last: of a host name or a path
        reason = printable(cut(str(getattr(error, "reason", "") or error)))
        raise NotFetchedError(
            f"{printable(url)} cannot be fetched: {reason}.", "The contract stays as it is."
        ) from None
    return bytes(content)


# --- verify ----------------------------------------------------------------------------------------------------------


def verify(bundle: Bundle, given: UpdateSettings, settings: Settings) -> None:
    """Compare the digest, or let ssh-keygen verify the signature; BundleRefusedError when neither fits."""
    if given.sha256 is not None:
        if bundle.digest != given.sha256.lower():
            raise BundleRefusedError(
                f"The bundle has another SHA-256: {bundle.digest}.", "Compare it with update.sha256."
            )
        return
    signers, identity = settings.resolve(given.allowed_signers or ""), given.identity or ""
    with NamedTemporaryFile(prefix="gateway-", suffix=".sig") as file:
        file.write(bundle.signature)
        file.flush()
        command = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", identity]
        command += ["-n", SIGNATURE_NAMESPACE, "-s", file.name]
        try:
            options: dict[str, Any] = {"capture_output": True, "timeout": VERIFY_SECONDS}
            done = subprocess.run(command, input=bundle.signed, check=False, **options)  # noqa: S603 - no shell
        except FileNotFoundError:
            raise BundleRefusedError(
                "There is no ssh-keygen to verify the signature.", "Install openssh-client."
            ) from None
        except subprocess.TimeoutExpired:
            raise BundleRefusedError(
                f"ssh-keygen did not end within {VERIFY_SECONDS:g} s.", "Run `gateway update -c FILE` again."
            ) from None
    if done.returncode:
        reason = printable(cut((done.stderr or done.stdout).decode(errors="replace").strip()))
        message = f"The signature is not one of {printable(identity)} in {printable(str(signers))}: {reason}."
        raise BundleRefusedError(message, f"Sign with `ssh-keygen -Y sign -n {SIGNATURE_NAMESPACE} -f KEY BUNDLE`.")


# --- unpack ----------------------------------------------------------------------------------------------------------


def _members(bundle: Bundle, folder: Path | None) -> Iterator[tuple[str, bytes]]:
    """Give the files of a bundle, which is genuine; but a mistake in it must not harm either."""
    total = 0
    for count, (text, content) in enumerate(_listed(folder, bundle.signed) if folder else _untarred(bundle.signed)):
        path, shown = PurePosixPath(text), printable(cut(text))
        if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in text or path.parts[0] == MARKER:
            raise BundleRefusedError(
                f"The bundle has a file outside its folder: {shown}.", "Pack relative paths below it."
            )
        if content is None:
            raise BundleRefusedError(
                f"The bundle has something that is not a regular file: {shown}.", "Pack files only."
            )
        total += len(content)
        if len(content) > MAXIMUM_FILE_BYTES or total > MAXIMUM_BYTES or count >= MAXIMUM_FILES:
            raise BundleRefusedError(f"The bundle is too large at {shown}.", ONLY)
        yield str(path), content


def _untarred(archive: bytes) -> Iterator[tuple[str, bytes | None]]:
    """Give the members of a tar.gz; without content those that are not regular files."""
    try:
        with gzip.open(io.BytesIO(archive)) as packed:
            unpacked = packed.read(MAXIMUM_BYTES + 1)
        if len(unpacked) > MAXIMUM_BYTES:
            raise BundleRefusedError(f"The bundle unpacks to more than {MAXIMUM_BYTES >> 20} MiB.", ONLY)
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if not member.isdir():
                    yield member.name, file.read(MAXIMUM_FILE_BYTES + 1) if file else None
    except (OSError, EOFError, ValueError, ArithmeticError, LookupError, tarfile.TarError, zlib.error) as error:
        raise BundleRefusedError(
            f"The bundle is not a tar.gz: {printable(str(error))}.", "Pack it with `tar -czf`."
        ) from None


def _listed(folder: Path, sums: bytes) -> Iterator[tuple[str, bytes | None]]:
    """Give the files of a folder that SHA256SUMS lists; others do not count."""
    for line in sums.decode(errors="replace").splitlines():
        digest, _, name = line.partition(" ")
        path = folder / name[1:]
        is_own = path.is_file() and path.resolve() == folder.resolve() / name[1:]  # no link leads elsewhere
        content = _content(path) if is_own else None
        if content is not None and len(content) <= MAXIMUM_FILE_BYTES and sha256(content).hexdigest() != digest.lower():
            raise BundleRefusedError(
                f"{printable(name[1:])} does not have the SHA-256 that {SUMS} states.",
                "Commit the list and its signature again.",
            )
        yield name[1:], content


def _content(path: Path) -> bytes:
    """Read a file, but no more of it than shows that it is too large."""
    with path.open("rb") as file:
        return file.read(MAXIMUM_FILE_BYTES + 1)
