"""One file of the operator as plain data, with the line of every value; and how such a file is read.

A file is read only when it is a regular file of at most 1 MB in UTF-8. `yaml_file.py` and `json_file.py` parse it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.documents.spelling import suggestion
from gateway.errors import ConfigurationError, Finding
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Place = tuple[str, ...]  # the keys that lead to a value: ("servers", "kafka", "host"); "0" for the first of a list

MAXIMUM_BYTES = 1_000_000
MAXIMUM_DEPTH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A parsed file."""

    path: Path  # for looking up what the file refers to
    name: str  # as the operator gave it, for findings
    data: Any  # dict, list, str, int, float, bool and None
    lines: dict[Place, int] = field(default_factory=dict)  # 1-based line of each key and list item
    findings: list[Finding] = field(default_factory=list)  # errors in the text that leave the rest readable

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest value around it; 0 for the whole file."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


def dotted(place: Place) -> str:
    """Write a place in the form of settings: `servers.kafka.host`."""
    return printable(".".join(place))


def pointer(place: Place) -> str:
    """Write a place in the form of a contract: `#/servers/kafka/host`, a JSON pointer (RFC 6901) in a URI fragment."""
    return printable("#" + "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in place))


def read_bytes(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """Read at most `limit` + 1 bytes of a regular file, and the status of the same open file.

    A pipe or device raises OSError before anything is read, so that the call cannot block.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(descriptor, "rb") as file:  # noqa: PTH123  (a descriptor has no path)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, "is not a regular file")
        return file.read(limit + 1), status


def explain(error: OSError) -> str:
    """Why a file cannot be read, as a predicate: `does not exist`, `cannot be read by user 1000`."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return f"cannot be read by user {os.geteuid()}"
    if isinstance(error, IsADirectoryError):
        return "is a directory, not a file"
    if error.errno is None:
        return str(error.strerror)
    return f"cannot be read: {error.strerror}"


def remedy(error: OSError, path: Path) -> str:
    """What to do about a file that cannot be read; names a file of a similar name."""
    if isinstance(error, IsADirectoryError):
        return "Name a file in it."
    if isinstance(error, PermissionError):
        return "Run this as a user who may read it, or change its owner or mode."
    try:
        names = [one.name for one in path.parent.iterdir() if one.suffix == path.suffix]
    except OSError:
        names = []
    return suggestion(path.name, names) or "Check the path."


def read_text(path: Path, name: str) -> str:
    """Read a file of UTF-8 text, a byte order mark removed; raises ConfigurationError."""
    content = b""
    try:
        content, _ = read_bytes(path, MAXIMUM_BYTES)
    except ValueError:  # a NUL in the name
        refuse(name, 0, "The file name contains a NUL character.", "Use another name.")
    except OSError as error:
        refuse(name, 0, f"The file {explain(error)}.", remedy(error, path))
    if len(content) > MAXIMUM_BYTES:
        refuse(name, 0, f"The file is larger than {MAXIMUM_BYTES:,} bytes.", "Check that it is the right file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        fix = "Check that it is the right file, and save it as UTF-8."
        refuse(name, line, f"Byte {error.start} is not UTF-8: the file is no text, or has another encoding.", fix)


def refuse(name: str, line: int, message: str, fix: str, earlier: Sequence[Finding] = ()) -> NoReturn:
    """Reject a file as a whole with a ConfigurationError, which has the earlier findings too."""
    raise ConfigurationError([*earlier, Finding(name, line, "", message, fix)]) from None
