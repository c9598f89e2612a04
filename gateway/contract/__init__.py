"""The contract: `asyncapi.yaml` -> `core.model.Contract`, with all findings of one pass.

    document.py        the tree over all files: references followed, traits applied
    references.py      every $ref leads somewhere
    specification.py   the official JSON Schema (official/)
    server.py  channel.py  message.py  schema.py  route.py
                       the parts, each checked where it is read
    pointers.py        runtime expressions: parameter locations, keys, sequence numbers
    timestamps.py      what dates records
    examples.py        examples match their schemas
    mapping.py         MQTT examples become the records of the Kafka examples
    build.py           operations -> streams
    forms.py  uses.py  forms of other versions and tools, and what contradicts its use
    stage.py           the servers of an installation, of a document with those of several stages
    rules.py           rules between the parts

These modules are imported only while a contract is loaded, which `gateway run` does in a fork
(`service/memory.py`): jsonschema and the official schemas use memory that a small machine needs elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.model import Choice, Contract
from gateway.errors import ConfigurationError, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.contract.document import Document

__all__ = ["Choice", "Contract", "examine", "load", "read"]


def load(path: Path, choice: Choice | None = None) -> Contract:
    """Load a contract that is to be used; raises ConfigurationError with all errors.

    The choice is that of an installation; None for a contract alone.
    """
    return read(path, choice)[0]


def read(path: Path, choice: Choice | None = None) -> tuple[Contract, Document]:
    """Load a contract that is to be used, together with the document of the servers in use.

    It raises ConfigurationError with all errors.
    """
    from gateway.contract import examination  # noqa: PLC0415 - imports jsonschema, see above
    from gateway.contract.document import Document  # noqa: PLC0415 - as above

    document = Document(path)
    contract, findings = examination.examine(document, choice)
    if contract is None:
        raise ConfigurationError([one for one in findings if one.severity == "error"])
    return contract, document


def examine(
    path: Path, choice: Choice | None = None, unsaved: Mapping[Path, str] | None = None
) -> tuple[Contract | None, list[Finding]]:
    """Load a contract; returns it, or None when a finding is an error, and all findings, warnings included.

    `unsaved` has the text of files, by absolute path, that are to be checked before they are written.
    """
    from gateway.contract import examination  # noqa: PLC0415 - imports jsonschema, see above
    from gateway.contract.document import Document  # noqa: PLC0415 - as above

    try:
        document = Document(path, unsaved=unsaved)
    except ConfigurationError as error:
        return None, list(error.findings)
    return examination.examine(document, choice)
