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

from gateway.core.model import Contract
from gateway.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contract.document import Document

__all__ = ["Contract", "examine", "load", "read"]


def load(path: Path) -> Contract:
    """Load a contract that is to be used.

    Args:
        path: of the AsyncAPI document.

    Returns:
        The contract.

    Raises:
        ConfigurationError: with all errors found, when there is one.
    """
    return read(path)[0]


def read(path: Path) -> tuple[Contract, Document]:
    """Load a contract that is to be used, and keep the document: what else is made of it need not read it again.

    Args:
        path: of the AsyncAPI document.

    Returns:
        The contract, and the document that it was made of.

    Raises:
        ConfigurationError: with all errors found, when there is one.
    """
    from gateway.contract import examination  # noqa: PLC0415 - imports jsonschema, see above
    from gateway.contract.document import Document  # noqa: PLC0415 - as above

    document = Document(path)
    contract, findings = examination.examine(document)
    if contract is None:
        raise ConfigurationError([one for one in findings if one.severity == "error"])
    return contract, document


def examine(path: Path) -> tuple[Contract | None, list[Finding]]:
    """Load a contract and tell everything that was found, warnings included.

    Args:
        path: of the AsyncAPI document.

    Returns:
        The contract, or None when a finding is an error; and the findings.
    """
    from gateway.contract import examination  # noqa: PLC0415 - imports jsonschema, see above
    from gateway.contract.document import Document  # noqa: PLC0415 - as above

    try:
        document = Document(path)
    except ConfigurationError as error:
        return None, list(error.findings)
    return examination.examine(document)
