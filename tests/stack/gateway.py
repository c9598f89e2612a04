"""The gateway as users run it: a process with a gateway.yaml of the test's own."""

from __future__ import annotations

import json
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.stack import preloaded
from tests.stack.confined import CONFINED
from tests.stack.ports import HeldPort
from tests.stack.process import Server
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    import subprocess

ROOT = Path(__file__).parents[2]


class Gateway(Server):
    """One gateway.

    Args:
        servers: the `servers` section of gateway.yaml.
        contract: an asyncapi.yaml; its folder stays where it is.
        more: other sections of gateway.yaml.
    """

    module = "gateway.cli"

    def __init__(self, servers: dict[str, Any], contract: Path = ROOT / "asyncapi.yaml", **more: Any) -> None:
        super().__init__("gateway")
        self.host = "127.0.0.1"
        self._held = HeldPort()
        self.port = self._held.number
        settings = {
            "contract": str(contract),
            "servers": servers,
            "http": {"listen": f"127.0.0.1:{self.port}"},
            "log": {"level": "info", "format": "json"},
        } | more
        self.settings_file = self.folder / "gateway.yaml"
        self.settings_file.write_text(json.dumps(settings, indent=1))  # JSON is YAML

    def start(self, *, ready: bool = True) -> Self:
        """Start it, and wait until it is ready or, with `ready=False`, until it answers at all."""
        self.launch_command("run", "-c", self.settings_file)
        self.wait_ready(self.is_ready if ready else self.is_alive, 60)
        return self

    def launch_command(self, *arguments: str | Path, **environment: str) -> None:
        """Start the process with a command of the gateway; it need not be ready when this returns."""
        assert not self.is_running, f"{self.name} is running already"
        with self.log_file.open("ab") as output:
            self._process = preloaded.start(
                arguments, folder=self.folder, output=output, errors=output, environment=environment, module=self.module
            )

    def wait_subscribed(self, *brokers: str) -> None:
        """Wait until brokers, else both of our contract, have granted the subscriptions: what is published arrives."""
        names = brokers or ("factoryBroker", "meterBroker")
        wait_for(lambda: all(self.states()[name]["state"] == "ok" for name in names), 60, lambda: str(self.states()))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of the gateway in this one's folder."""
        return preloaded.run(*arguments, folder=self.folder)

    def get(self, path: str) -> tuple[int, str]:
        """Ask its HTTP port; status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def is_alive(self) -> bool:
        """Whether `/livez` says so."""
        return self.get("/livez")[0] == 200

    def is_ready(self) -> bool:
        """Whether `/readyz` says so."""
        return self.get("/readyz")[0] == 200

    def states(self) -> dict[str, dict[str, str]]:
        """The states of `/readyz`, by peer."""
        return {state["peer"]: state for state in json.loads(self.get("/readyz")[1])["states"]}

    def metric(self, name: str, **labels: str) -> float:
        """Sum the samples of a metric that have these labels."""
        return summed(self.metrics(), name, **labels)

    def metrics(self) -> str:
        """The page of `/metrics`."""
        status, page = self.get("/metrics")
        assert status == 200, f"/metrics answers {status} {page}\n{self.log[-2000:]}"
        return page

    def wait_settled(self, received: int, seconds: float = 60) -> None:
        """Wait until so many readings came in and Kafka has acknowledged all of them."""

        def is_settled() -> bool:
            page = self.metrics()  # one page for all figures: they belong together
            return summed(page, "gateway_received_total") >= received and not (
                summed(page, "gateway_in_flight") + summed(page, "gateway_spooled")
            )

        def told() -> str:
            page = self.metrics()
            figures = [line for line in page.splitlines() if line.startswith("gateway_") and not line.endswith(" 0.0")]
            return f"{received} settled readings\n" + "\n".join(figures) + self.log[-2000:]

        wait_for(is_settled, seconds, told)

    def stop_and_read_ledger(self, seconds: float = 40) -> dict[str, Any]:
        """Stop it as systemd does and read the ledger that it prints."""
        assert self._process is not None, "it runs"
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(seconds) == 0, self.log[-2000:]
        lines = [json.loads(line) for line in self.log.splitlines() if '"message": "ledger"' in line]
        return dict(lines[-1])

    def close(self) -> None:
        """Stop it, remove its folder, and give its port back."""
        super().close()
        self._held.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ExecutedGateway(Gateway):
    """A gateway in a Python of its own, for tests of what the system shows of a process: memory, command line."""

    prefix: tuple[str | Path, ...] = ()

    def launch_command(self, *arguments: str | Path, **environment: str) -> None:
        """Start it as users do."""
        variables = (f"{name}={value}" for name, value in environment.items())
        self.launch([*self.prefix, "/usr/bin/env", *variables, sys.executable, "-m", "gateway.cli", *arguments])


class ConfinedGateway(ExecutedGateway):
    """A gateway that may call the system for nothing but what its unit allows."""

    prefix = (*CONFINED, ROOT / "deploy" / "gateway.service")


def summed(page: str, name: str, **labels: str) -> float:
    """Sum the samples of a metric on a page of Prometheus's text format."""
    total = 0.0
    for line in page.splitlines():
        sample, _, value = line.rpartition(" ")
        has_labels = all(f'{label}="{text}"' in sample for label, text in labels.items())
        if sample.split("{")[0] == name and has_labels:
            total += float(value)
    return total
