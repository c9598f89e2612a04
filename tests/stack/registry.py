"""A real schema registry: Apicurio Registry 3.0.9, through its Confluent REST API.

    with Registry() as registry:
        SchemaRegistryClient({"url": registry.url})

- 3.0.9 because newer versions need Java 21, and Debian 12 has 17. Confluent's own registry is not on Maven Central.
- It keeps everything in memory: after `stop` or `kill` and `start` it is empty, on the same port.
- Global compatibility is set to BACKWARD at each start, which is Confluent's default; Apicurio's is NONE.
"""

from __future__ import annotations

from typing import Self

import httpx

from tests.stack.ports import HeldPort
from tests.stack.process import Server, Started
from tests.stack.software import fetched, java

READY_SECONDS = 60


class Registry(Server, Started):
    """A schema registry; a context manager that starts it and closes it."""

    def __init__(self) -> None:
        super().__init__("registry")
        self._port = HeldPort()

    @property
    def url(self) -> str:
        """Base of the Confluent REST API."""
        return f"http://{self._port}/apis/ccompat/v7"

    @property
    def apicurio_url(self) -> str:
        """Base of Apicurio's own API, which its Java deserializer speaks."""
        return f"http://{self._port}/apis/registry/v3"

    def start(self) -> Self:
        """Start the registry and wait until it answers.

        Raises:
            AssertionError: it does not come up; with what it wrote.
        """
        jar = next((fetched("registry") / "app").glob("*-runner.jar"))
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": str(self._port.number),
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": "jdbc:h2:mem:registry",
        }
        self.launch(java("registry", *(f"-D{name}={value}" for name, value in settings.items()), "-jar", jar))
        self.wait_ready(self._answers, READY_SECONDS)
        httpx.put(f"{self.url}/config", json={"compatibility": "BACKWARD"}, timeout=10).raise_for_status()
        return self

    def register(self, subject: str, schema: str) -> int:
        """Register an Avro schema.

        Args:
            subject: as `machine-sensors-value`.
            schema: its JSON.

        Returns:
            The schema id.
        """
        answer = httpx.post(f"{self.url}/subjects/{subject}/versions", json={"schema": schema}, timeout=30)
        answer.raise_for_status()
        return int(answer.json()["id"])

    def close(self) -> None:
        """Stop it and give its port back."""
        super().close()
        self._port.release()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
