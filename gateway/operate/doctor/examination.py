"""Everything at once: a thread for each place, because most of the time goes into waiting.

Files that are wrong keep us from asking peers, not from looking at the machine: what `gateway check` would say stands
here too, one line each. A secret that the world can read is among it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import ConfigurationError, until_refused
from gateway.installation import open_installation
from gateway.operate.doctor import brokers, certificates, clock, kafka, machine, registry, running, storage
from gateway.operate.doctor.diagnosis import Diagnosis, Report, State
from gateway.signals import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from gateway.installation import Installation
    from gateway.signals import Stopping

FILES = "files"


def examine(config: Path, environ: Mapping[str, str], stopping: Stopping) -> Report:
    """Look for all known traps.

    Args:
        config: gateway.yaml.
        environ: its overrides.
        stopping: ends listening before its time.
    """
    try:
        installation = open_installation(config, environ)
        found = map_in_threads(_collected, list(_places(installation, stopping)))
    except ConfigurationError as error:
        found = [*machine.examine(), *_files(error)]
    return Report(tuple(found))


def _places(installation: Installation, stopping: Stopping) -> Iterator[tuple[str, Iterable[Diagnosis]]]:
    contract, settings = installation.contract, installation.settings
    yield machine.PLACE, machine.examine()
    yield storage.PLACE, storage.examine(installation.spool_path, settings.spool.limit)
    yield certificates.PLACE, certificates.examine(installation)
    yield clock.PLACE, clock.examine(installation)
    yield running.PLACE, running.examine(installation)
    for server in contract.brokers:
        yield f"broker {server.name}", brokers.examine(installation, server, stopping)
    yield contract.kafka.name, kafka.examine(installation)
    yield "registry", registry.examine(installation)


def _collected(one: tuple[str, Iterable[Diagnosis]]) -> list[Diagnosis]:
    place, diagnoses = one
    peer = place.removeprefix("broker ")
    return until_refused(diagnoses, lambda error: Diagnosis(peer, "answer", State.UNASKED, error.message, error.hint))


def _files(error: ConfigurationError) -> Iterator[Diagnosis]:
    for finding in error.findings:
        place = f"{finding.file}:{finding.line} {finding.path}".rstrip()
        yield Diagnosis(FILES, place, State.WRONG, finding.message, finding.fix)
