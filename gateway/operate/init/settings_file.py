"""The answers as a gateway.yaml that a person reads: what was decided here, and where the rest is explained.

Text by hand, because comments are half of it and no YAML library writes them. What came from outside is quoted as JSON,
which is YAML as well.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.core.model import Contract
    from gateway.operate.init.answers import Answers

SYSTEM = "/etc/"
SYSTEM_SPOOL = "/var/lib/gateway/spool.db"  # the folder that the unit may write to


def text(output: Path, contract: Contract, answers: Answers) -> str:
    """Write gateway.yaml.

    Args:
        output: where it will be; other files are named from there.
        contract: whose servers are named.
        answers: where they are.
    """
    return "\n".join(_lines(output, contract, answers)) + "\n"


def _lines(output: Path, contract: Contract, answers: Answers) -> Iterator[str]:
    folder = output.absolute().parent
    yield "# Settings of one installation, as `gateway init` wrote them. What streams there are is in the contract."
    yield "# Every other setting, with its default: deploy/gateway.yaml, or /usr/share/doc/gateway."
    yield "# `gateway check -c` this file after a change; `gateway doctor -c` it looks at the servers as well."
    yield f"contract: {json.dumps(os.path.relpath(contract.path.absolute(), folder))}"
    yield ""
    yield "servers:"
    for name in contract.mqtt_servers:
        yield f"  {name}:"
        yield f"    host: {json.dumps(answers.broker)}"
        if answers.username:
            yield f"    username: {json.dumps(answers.username)}"
        if answers.password_file:
            yield f"    password_file: {json.dumps(str(answers.password_file.absolute()))}"
    yield f"  {contract.kafka.name}:"
    yield f"    host: {json.dumps(answers.kafka)}"
    yield f"    registry: {{url: {json.dumps(answers.registry)}}}"
    yield ""
    yield "spool:                # where readings wait until they are safe"
    yield f"  path: {SYSTEM_SPOOL if str(folder).startswith(SYSTEM) else 'spool.db'}"
    yield "  limit: 2GiB         # size on disk at most; then the broker has to keep them"
