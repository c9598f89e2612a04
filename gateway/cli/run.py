"""`gateway run`."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.cli.options import ConfigOption, exit_codes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.contract import Choice, Contract
    from gateway.page.html import Page
    from gateway.service.new_files import NewFiles


@exit_codes({0: "stopped by a signal", 1: "http.listen cannot be used"}, 73, 74, 78)
def run(
    config: ConfigOption,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Split the work among so many processes, and run them all.")
    ] = None,
    split: Annotated[
        Literal["streams", "shared"] | None,
        typer.Option(
            help="streams: each stream belongs to one worker; keeps order per key. "
            "shared: shared subscriptions over all workers; order per key is lost."
        ),
    ] = None,
    worker: Annotated[int | None, typer.Option(min=1, help="Run only this worker, e.g. as gateway@2.service.")] = None,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Several workers end with the code of the first that ended.
    """
    from gateway.service import hangup
    from gateway.service.memory import run_in_fork

    hangup.install()
    loading = run_in_fork(_loader)

    from gateway import log
    from gateway.service import split as splitting
    from gateway.settings.settings import load

    settings = load(config, os.environ).with_workers(workers, split)
    log.configure(settings.log.level, settings.log.format, config=config.absolute())
    loaded = loading((settings.contract_path(), settings.choice))

    from gateway.service import new_files
    from gateway.service.service import build
    from gateway.service.workers import run_workers

    contract, page = loaded()
    gc.freeze()  # all that was imported; it was disabled in gateway/cli/__init__.py
    gc.enable()
    splitting.check(contract, settings)
    if worker is None and splitting.numbers(settings) != [1]:
        options = [*(["--workers", str(workers)] if workers else []), *(["--split", split] if split else [])]
        raise typer.Exit(run_workers(config, contract, settings, options, os.environ))
    if worker:
        splitting.tag_log_records(worker)
    own = splitting.prepare_worker(contract, settings, worker or 1)

    def read_new() -> NewFiles:
        new = new_files.read(new_files.command_of(config.absolute()), os.environ)
        return new._replace(settings=new.settings.with_workers(workers, split))

    build(own, os.environ, page, read_new).run()


def _loader() -> Callable[[tuple[Path, Choice]], tuple[Contract, Page]]:
    """Import what reads a contract and writes its page; a running gateway does not need these modules."""
    from gateway import contract
    from gateway.contract import examination  # noqa: F401 - `contract.read` imports it
    from gateway.operate import docs
    from gateway.operate.docs import content  # noqa: F401 - `docs.page` imports it

    def load(chosen: tuple[Path, Choice]) -> tuple[Contract, Page]:
        model, document = contract.read(*chosen)
        return model, docs.page(document)

    return load
