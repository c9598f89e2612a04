"""A real Prometheus: it scrapes each second, evaluates the shipped rules, and answers queries.

with Prometheus({"gateway": ["127.0.0.1:9464"]}) as prometheus:
    prometheus.query("up")
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.stack.ports import HeldPort
from tests.stack.process import Server, Started
from tests.stack.software import fetched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READY_SECONDS = 60


class Prometheus(Server, Started):
    """A Prometheus; a context manager that starts it and closes it.

    Args:
        targets: `host:port` of those that are scraped, by job.
        rules: rule files.
    """

    def __init__(self, targets: Mapping[str, Sequence[str]], rules: Sequence[Path] = ()) -> None:
        super().__init__("prometheus")
        self._port = HeldPort()
        jobs = [{"job_name": job, "static_configs": [{"targets": list(each)}]} for job, each in targets.items()]
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": list(map(str, rules)),
            "scrape_configs": jobs,
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML

    def start(self) -> Self:
        """Start it and wait until it answers."""
        given = {"config.file": "prometheus.yml", "storage.tsdb.path": "data", "web.listen-address": str(self._port)}
        options = [f"--{name}={value}" for name, value in given.items()]
        self.launch([str(fetched("prometheus") / "prometheus"), *options])
        self.wait_ready(self._answers, READY_SECONDS)
        return self

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Evaluate an expression now.

        Returns:
            Labels (`metric`) and `value` of each sample found.

        Raises:
            AssertionError: Prometheus refuses it; with its sentence.
        """
        answer = self._get("query", query=expression)
        return list(answer["result"])

    def rules(self) -> list[dict[str, Any]]:
        """List all rules with `name`, `health`, `state` and `lastError`."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def close(self) -> None:
        """Stop it and give its port back."""
        super().close()
        self._port.release()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://{self._port}/-/ready", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"http://{self._port}/api/v1/{path}", params=parameters, timeout=30).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return dict(answer["data"])
