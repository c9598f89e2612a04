"""The text of a first gateway.yaml, with comments that say what each part is for.

It is written by hand because no YAML library writes comments. Values from outside are quoted as JSON, which is valid
YAML.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.core.model import Contract
    from gateway.operate.init.answers import Answers

SYSTEM = "/etc/"
SYSTEM_SPOOL = "/var/lib/gateway/spool.db"  # in the folder that the systemd unit may write to


def text(output: Path, contract: Contract, answers: Answers) -> str:
    """Write gateway.yaml; the path of the contract in it is relative to the folder of the output."""
    return "\n".join(_lines(output, contract, answers)) + "\n"


def _lines(output: Path, contract: Contract, answers: Answers) -> Iterator[str]:
    folder = output.absolute().parent
    yield f"# Settings of one installation, written by `{answers.command}`. The streams are in the contract."
    yield "# All other settings with their defaults: deploy/gateway.yaml, or /usr/share/doc/gateway."
    yield "# After a change run `gateway check -c` with this file, and `gateway doctor -c` to check the servers too."
    yield f"contract: {json.dumps(os.path.relpath(contract.path.absolute(), folder))}"
    if contract.elsewhere:
        used = ", ".join([*contract.mqtt_servers, contract.kafka.name])
        yield f"use_servers: [{used}]  # of the contract, which has the servers of several stages"
    yield ""
    yield "servers:"
    for name in contract.mqtt_servers:
        yield f"  {name}:"
        yield f"    host: {json.dumps(answers.broker)}"
        if answers.username:
            yield f"    username: {json.dumps(answers.username)}"
        if answers.password_file:
            yield f"    password_file: {json.dumps(str(answers.password_file.absolute()))}"
        yield from (f"    {key}: {_flow(value)}" for key, value in answers.of_broker.items())
    yield f"  {contract.kafka.name}:"
    yield f"    host: {json.dumps(answers.kafka)}"
    of_kafka = {**answers.of_kafka, "registry": {"url": answers.registry, **answers.of_kafka.get("registry", {})}}
    yield from (f"    {key}: {_flow(value)}" for key, value in of_kafka.items())
    yield ""
    yield "spool:                # keeps readings while Kafka is slow or down"
    yield f"  path: {SYSTEM_SPOOL if str(folder).startswith(SYSTEM) else 'spool.db'}"
    yield "  limit: 2GiB         # maximum size on disk; beyond it the broker keeps the messages"


def _flow(value: Any) -> str:
    """Write a value on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(key)}: {_flow(one)}' for key, one in value.items())}}}"
    return json.dumps(value)


def _key(key: str) -> str:
    return key if key.replace(".", "").isidentifier() else json.dumps(key)
