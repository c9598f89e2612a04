"""`gateway run`."""

from __future__ import annotations

import os

from gateway.cli.options import ConfigOption  # noqa: TC001 - typer reads the annotation


def run(config: ConfigOption) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Exit codes: 0 stopped as told, 78 the contract or gateway.yaml is wrong, 73 another process holds the spool.
    """
    from gateway import contract as contracts  # noqa: PLC0415 - `gateway --help` need not load the whole gateway
    from gateway import log  # noqa: PLC0415 - as above
    from gateway.config import load  # noqa: PLC0415 - as above
    from gateway.errors import ConfigurationError  # noqa: PLC0415 - as above
    from gateway.reconcile import reconcile  # noqa: PLC0415 - as above
    from gateway.service import build  # noqa: PLC0415 - as above

    settings = load(config, os.environ)
    log.configure(settings.log.level, settings.log.format)
    contract = contracts.load(settings.resolve(settings.contract))
    if errors := [finding for finding in reconcile(settings, contract) if finding.severity == "error"]:
        raise ConfigurationError(errors)
    build(contract, settings, os.environ).run()
