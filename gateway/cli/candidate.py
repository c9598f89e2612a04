"""`python -m gateway.cli.candidate gateway.yaml`: reads settings and contract for a reload (`service/new_files.py`).

The gateway runs this in a process of its own. It cannot fork, because it has threads; and the memory that reading a
contract takes is free again when the process ends. The result goes to standard output as a pickle: settings and
contract, or the findings.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path

from gateway import contract
from gateway.errors import ConfigurationError
from gateway.operate import docs
from gateway.service.new_files import NewFiles
from gateway.settings.settings import load


def read(config: Path) -> NewFiles | tuple[object, ...]:
    """Read the files; the findings if there are errors."""
    try:
        settings = load(config, os.environ)
        model, document = contract.read(settings.contract_path(), settings.choice)
    except ConfigurationError as error:
        return error.findings
    return NewFiles(model, settings, docs.page(document))


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # meant for the gateway, if it is sent to all its processes
    pickle.dump(read(Path(sys.argv[1])), sys.stdout.buffer)
