"""Files that settings name: where they are, and whether they are fit to be used.

A secret is a file of its own that only its owner can read. It is looked up in systemd's credentials directory first,
then in the folder of gateway.yaml. Environment and command line are no places for a secret: both are shown to
every child and in crash reports.
"""

from __future__ import annotations

import shlex
import stat
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from gateway.documents import yaml_file
from gateway.errors import FileError
from gateway.text import printable

MAXIMUM_SECRET_BYTES: Final = 65_536


class UnfitFileError(FileError):
    """A file that settings name cannot be used as it is."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint


def locate(file: str, folder: Path, credentials: Path | None) -> Path:
    """Return where a file is: a credential of this name, or the path relative to the folder."""
    if credentials is not None and Path(file).name == file and (credentials / file).exists():
        return credentials / file
    return folder / file


def read(path: Path, credentials: Path | None, *, is_secret: bool) -> bytes:
    """Read a file that settings name.

    Args:
        path: where it is.
        credentials: systemd's directory, whose modes are its own.
        is_secret: nobody but the owner may read it.

    Returns:
        The content, longer than `MAXIMUM_SECRET_BYTES` when a secret is.

    Raises:
        UnfitFileError: when it cannot be used as it is.
    """
    told, quoted = printable(str(path)), printable(shlex.quote(str(path)))
    try:
        content, status = yaml_file.read_bytes(path, MAXIMUM_SECRET_BYTES if is_secret else yaml_file.MAXIMUM_BYTES)
    except OSError as error:
        where = "Create it" if isinstance(error, FileNotFoundError) else "Check its owner and mode"
        raise UnfitFileError(f"The file {told} {yaml_file.explain(error)}.", f"{where}: ls -l {quoted}") from None
    # systemd hands out 0400, or 0440 where the unit's user reads through an ACL.
    forbidden = 0o037 if path.parent == credentials else 0o077
    if is_secret and stat.S_IMODE(status.st_mode) & forbidden:
        raise UnfitFileError(f"Others than its owner may use the secret {told}.", f"Run: chmod 600 {quoted}")
    if not content.strip():
        raise UnfitFileError(f"The file {told} is empty.", "Write its content.")
    return content


def read_secret(path: Path, credentials: Path | None) -> SecretStr:
    """Read a password or token: the file's text without its last newline.

    Raises:
        UnfitFileError: when it cannot be used as it is.
    """
    content = read(path, credentials, is_secret=True)
    told = printable(str(path))
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UnfitFileError(f"The secret in {told} is not UTF-8.", "Save it as UTF-8 text.") from None
    text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    if len(content) > MAXIMUM_SECRET_BYTES or any(character in text for character in "\r\n\0"):
        raise UnfitFileError(f"The file {told} holds more than one line.", "Keep the secret alone in it.")
    return SecretStr(text)
