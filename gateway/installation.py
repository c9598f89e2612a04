"""What one gateway.yaml leads to: settings, contract, how to reach Kafka and the registry, and the state folder.

For commands that work beside a running gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway import contract as contracts
from gateway.config import Settings, load
from gateway.errors import ConfigurationError
from gateway.kafka import connection_properties
from gateway.reconcile import reconcile
from gateway.registry import SchemaRegistry, registry_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.contract.model import Contract


class Installation(NamedTuple):
    """An installation, as its files say.

    Args:
        settings: gateway.yaml.
        contract: the contract it names.
    """

    settings: Settings
    contract: Contract

    @property
    def spool_path(self) -> Path:
        """The spool's file; its folder holds all state."""
        return self.settings.resolve(self.settings.spool.path)

    def kafka(self, *, producing: bool) -> dict[str, Any]:
        """Write how to reach Kafka as librdkafka properties; a consumer gets none that are for producers.

        Raises:
            ConfigurationError: when a secret cannot be used.
        """
        server = self.settings.server(self.contract.kafka.name)
        given = server if producing else server.model_copy(update={"producer": {}})
        return connection_properties(self.contract.kafka, given, self.settings)

    def registry(self) -> SchemaRegistry:
        """Make the way to schema ids: the lock file beside the spool, then the registry.

        Raises:
            ConfigurationError: when a secret cannot be used.
        """
        return registry_of(self.contract, self.settings)


def open_installation(config: Path, environ: Mapping[str, str]) -> Installation:
    """Load gateway.yaml and its contract.

    Args:
        config: the file.
        environ: its overrides.

    Raises:
        ConfigurationError: with everything that is wrong.
    """
    settings = load(config, environ)
    contract = contracts.load(settings.resolve(settings.contract))
    if errors := [finding for finding in reconcile(settings, contract) if finding.severity == "error"]:
        raise ConfigurationError(errors)
    return Installation(settings, contract)
