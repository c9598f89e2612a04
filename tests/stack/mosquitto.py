r"""A real Mosquitto, with a few lines of configuration or with a shipped file as it is.

    with Mosquitto("listener 1883\nallow_anonymous true") as broker:
        client.connect("127.0.0.1", broker.port)

    Mosquitto(Path("mosquitto/mosquitto.conf").read_text(), files={"passwd": hashed_passwords({"gateway": "secret"})})

So that a file can be run as it ships, only what ties it to a machine is replaced (`_relocated`):
- each `listener PORT` gets a free port of 127.0.0.1; `port_of(PORT)` tells which; the Unix socket of `listener 0 NAME`
  is in the broker's own folder;
- each file that it names is taken from the broker's own folder by its last name: give it in `files`;
- the store goes to the broker's own folder, the log to `broker.log`, and it runs as user `mosquitto` when the
  tests run as root (mosquitto would drop to that user itself, but would then outlive a killed pytest: the kernel
  forgets the death signal when a process changes its user).

The store and the ports survive `stop`, `kill` and `restart`; `close` ends them.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.stack.ports import HeldPort
from tests.stack.process import Server, Started
from tests.stack.software import command

if TYPE_CHECKING:
    from collections.abc import Mapping

READY_SECONDS = 10

# Persistent and anonymous. Without the autosave lines a kill -9 loses everything of the last 30 minutes;
# with the usual 20 messages in flight a subscriber that acknowledges late would wait for the broker.
OPEN_AND_PERSISTENT = """\
listener 1883
allow_anonymous true
persistence true
persistence_location ./
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
max_inflight_messages 0
"""

FILE_SETTINGS = {"password_file", "acl_file", "psk_file", "cafile", "certfile", "keyfile", "crlfile", "dhparamfile"}
MACHINE_SETTINGS = {"user", "pid_file", "log_dest", "persistence_location", "include_dir"}


class Mosquitto(Server, Started):
    """A Mosquitto broker; a context manager that starts it and closes it.

    Args:
        configuration: as in mosquitto.conf(5).
        files: contents by name, for the files that the configuration names.
    """

    def __init__(
        self, configuration: str = OPEN_AND_PERSISTENT, files: Mapping[str, str | bytes | Path] | None = None
    ) -> None:
        super().__init__("mosquitto", user="mosquitto")
        self._ports: dict[int, HeldPort] = {}
        for name, content in (files or {}).items():
            self._write(name, content)
        self._write("mosquitto.conf", self._relocated(configuration))

    @property
    def port(self) -> int:
        """Port of the first listener."""
        return next(iter(self._ports.values())).number

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT` of the first listener."""
        return f"127.0.0.1:{self.port}"

    @property
    def stored(self) -> bytes:
        """The contents of the store; a message stands there as its topic and its payload, one after the other."""
        path = self.folder / "mosquitto.db"
        return path.read_bytes() if path.exists() else b""

    def port_of(self, listener: int) -> int:
        """Port on which the listener with this number in the configuration really listens."""
        return self._ports[listener].number

    def start(self) -> Self:
        """Start the broker and wait until every listener accepts connections.

        Raises:
            AssertionError: it does not come up; with what it wrote.
        """
        self.launch([command("mosquitto", "mosquitto"), "-c", self.folder / "mosquitto.conf"])
        self.wait_ready(lambda: all(port.accepts() for port in self._ports.values()), READY_SECONDS)
        return self

    def restart(self) -> None:
        """Stop it cleanly, then start it on the same ports with the same store."""
        self.stop()
        self.start()

    def replace(self, files: Mapping[str, str | bytes | Path]) -> None:
        """Give it other contents for files that its configuration names, and restart it."""
        for name, content in files.items():
            self._write(name, content)
        self.restart()

    def close(self) -> None:
        """Stop it, remove its store and give its ports back."""
        super().close()
        for port in self._ports.values():
            port.release()

    def _write(self, name: str, content: str | bytes | Path) -> None:
        data = content.read_bytes() if isinstance(content, Path) else content
        path = self.folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        path.chmod(0o600)

    def _relocated(self, configuration: str) -> str:
        lines = [self._relocated_line(line) for line in configuration.splitlines()]
        return "\n".join([*lines, f"persistence_location {self.folder}/", "log_dest stderr", ""])  # stdout is buffered

    def _relocated_line(self, line: str) -> str:
        setting, _, value = line.strip().partition(" ")
        if setting in MACHINE_SETTINGS:
            return ""
        if line.startswith("listener 0 "):  # a Unix socket
            return f"listener 0 {self.folder / value.split()[1]}"
        if setting in {"listener", "port"}:
            number = int(value.split()[0])
            port = self._ports.setdefault(number, HeldPort())
            return f"listener {port.number} 127.0.0.1"
        if setting in FILE_SETTINGS:
            name = Path(value.strip()).name
            assert (self.folder / name).exists(), (
                f"the configuration names {value}: give its content as files[{name!r}]"
            )
            return f"{setting} {self.folder / name}"
        return line


def hashed_passwords(users: Mapping[str, str]) -> bytes:
    """Make a password file.

    Args:
        users: passwords by user name.

    Returns:
        What `mosquitto_passwd` writes for them.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "passwd")
        path.touch(0o600)
        for user, password in users.items():
            subprocess.run([command("mosquitto_passwd", "mosquitto"), "-b", path, user, password], check=True)
        return path.read_bytes()
