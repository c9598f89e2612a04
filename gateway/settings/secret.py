"""Files that settings name: where they are, and whether they can be used.

A secret is a file of its own that only its owner can read. It is looked up in systemd's credentials directory first,
then in the folder of gateway.yaml. Environment variables and command lines are not accepted for secrets: every child
process and every crash report shows them.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from gateway.documents.source import MAXIMUM_BYTES, explain, read_bytes, remedy
from gateway.errors import FileError
from gateway.text import printable

MAXIMUM_SECRET_BYTES: Final = 65_536


class UnfitFileError(FileError):
    """A file that settings name cannot be used as it is; `setting` is the key of the file, where several are read."""

    def __init__(self, message: str, hint: str, setting: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint
        self.setting = setting


def locate(file: str, folder: Path, credentials: Path | None) -> Path:
    """Return where a file is: a credential of this name, or the path relative to the folder."""
    if credentials is not None and Path(file).name == file and os.path.exists(credentials / file):  # noqa: PTH110 - false where it may not look, as in ExecReload= of systemd 252
        return credentials / file
    return folder / file


def read(path: Path, credentials: Path | None, *, is_secret: bool) -> bytes:
    """Read a file that settings name; raises UnfitFileError when it cannot be used as it is.

    Users other than the owner must not have access to a secret; systemd's `credentials` have modes of their own. The
    content of a secret is cut to one byte more than `MAXIMUM_SECRET_BYTES`.
    """
    shown, quoted = printable(str(path)), printable(shlex.quote(str(path)))
    try:
        content, status = read_bytes(path, MAXIMUM_SECRET_BYTES if is_secret else MAXIMUM_BYTES)
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        fix = "Create it." if is_missing else remedy(error, path)
        raise UnfitFileError(f"The file {shown} {explain(error)}.", fix) from None
    # systemd hands out 0400, or 0440 where the unit's user reads through an ACL.
    forbidden = 0o037 if path.parent == credentials else 0o077
    if is_secret and stat.S_IMODE(status.st_mode) & forbidden:
        raise UnfitFileError(f"Users other than its owner can access the secret {shown}.", f"Run: chmod 600 {quoted}")
    if not content.strip():
        raise UnfitFileError(f"The file {shown} is empty.", "Write its content.")
    return content


def read_secret(path: Path, credentials: Path | None) -> SecretStr:
    """Read a password or token: the file's text without its last newline; raises UnfitFileError."""
    content = read(path, credentials, is_secret=True)
    shown = printable(str(path))
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UnfitFileError(f"The secret in {shown} is not UTF-8.", "Save it as UTF-8 text.") from None
    text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    if len(content) > MAXIMUM_SECRET_BYTES or any(character in text for character in "\r\n\0"):
        fix = "Keep only the secret in the file."
        raise UnfitFileError(f"The file {shown} contains more than one line.", fix)
    return SecretStr(text)
