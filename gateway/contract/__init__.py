"""The contract: `asyncapi.yaml` -> `Contract`, with every fault found in one go.

    source.py          one file as plain data with lines
    document.py        the tree over all files: references followed, traits laid under
    references.py      every $ref leads somewhere
    specification.py   the official JSON Schema (official/)
    server.py  channel.py  message.py  schema.py  route.py
                       the parts, each checked where it is read
    examples.py        examples fit their schemas
    build.py           operations -> streams
    rules.py           what must hold between the parts
    model.py           the result: plain values

All but model.py is imported only while a contract is loaded, which `gateway run` does in a fork (`gateway/memory.py`):
jsonschema and the official schemas cost memory that a small machine has better use for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.model import Contract
from gateway.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Contract", "examine", "load"]


def load(path: Path) -> Contract:
    """Load a contract that is to be used.

    Args:
        path: of the AsyncAPI document.

    Returns:
        The contract.

    Raises:
        ConfigurationError: with all errors found, when there is one.
    """
    contract, findings = examine(path)
    if contract is None:
        raise ConfigurationError([one for one in findings if one.severity == "error"])
    return contract


def examine(path: Path) -> tuple[Contract | None, list[Finding]]:
    """Load a contract and tell everything that was found, warnings included.

    Args:
        path: of the AsyncAPI document.

    Returns:
        The contract, or None when a finding is an error; and the findings.
    """
    from gateway.contract import examination  # noqa: PLC0415 - imports jsonschema, see above

    return examination.examine(path)
