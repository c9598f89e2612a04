"""A family of devices, added to a contract: its channels, operations and components become part of the text.

A family is a contract of its own, `families/NAME/asyncapi.yaml` with its .avsc files, so `gateway check` tests it.
Added to another contract it uses that contract's servers and dead-letter operation. What all families share (traits and
bindings of readings) is added only where the contract has nothing of that name; otherwise the contract's own is used.
Every other name must be new.

The result is checked before anything is written, and the .avsc files go beside the contract. No file is overwritten.
"""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gateway
from gateway import contract as contracts
from gateway import files
from gateway.contract.document import Document
from gateway.contract.message import DEAD_LETTER
from gateway.contract.server import protocol
from gateway.documents import yaml_edit
from gateway.documents.source import Place, pointer, read_text
from gateway.documents.spelling import suggestion
from gateway.errors import ConfigurationError, Finding, GatewayError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FOLDER = Path(gateway.__file__).parent / "families"
CONTRACT = "asyncapi.yaml"
SENDING = "sendDeadLetter"  # a family's dead-letter operation, its channel and its message
DEAD_LETTERS = {("operations", SENDING), ("channels", "deadLetters"), ("components", "messages", "deadLetter")}
SHARED = {
    ("components", "channelBindings", "readings"),
    ("components", "operationTraits", "subscription"),
    ("components", "messageTraits", "record"),
}
SERVERS = {"mqtt": "broker", "kafka": "kafka"}  # protocol -> a family's server


class Family(NamedTuple):
    """One of the families that come with the gateway."""

    name: str
    text: str  # its contract
    schemas: Mapping[str, str]  # file name -> text

    def parts(self) -> Iterator[tuple[Place, str]]:
        """Its channels, operations and components, each with its place and its text."""
        kinds = [("components", kind) for kind in yaml_edit.members(self.text, ("components",))]
        for section in [("channels",), ("operations",), *kinds]:
            for name, text in yaml_edit.members(self.text, section).items():
                yield (*section, name), text


def names() -> list[str]:
    """The families that there are."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{CONTRACT}"))


def family(name: str) -> Family:
    """Read a family; GatewayError, which lists them, when there is none of that name."""
    known = names()
    if name not in known:
        fix = f"{suggestion(name, known)} Families: {', '.join(known)}.".lstrip()
        raise GatewayError(f"There is no family {name!r}.", fix)
    folder = FOLDER / name
    return Family(
        name,
        read_text(folder / CONTRACT, CONTRACT),
        {path.name: read_text(path, path.name) for path in sorted(folder.glob("*.avsc"))},
    )


def add(chosen: Sequence[Family], path: Path, servers: Sequence[str]) -> list[Path]:
    """Add families to a contract, or begin with the first where there is none; returns the files that are new.

    `servers` names those to use where the contract has several. GatewayError, with nothing written, when they cannot be
    added or the result is not fit to run.
    """
    text = merged(chosen, path, read_text(path, str(path)) if path.exists() else None, servers)
    schemas = {path.parent / name: content for one in chosen for name, content in one.schemas.items()}
    _, findings = contracts.examine(path, unsaved=unsaved({path: text, **schemas}))
    if errors := [one for one in findings if one.severity == "error"]:
        raise ConfigurationError(errors)
    return _write(path, text, schemas)


def merged(chosen: Sequence[Family], path: Path, text: str | None, servers: Sequence[str] = ()) -> str:
    """Add families to the text of a contract, or begin with the first where there is none; raises GatewayError."""
    for one in chosen:
        text = one.text if text is None else _merged(one, path, text, servers)
    assert text is not None, "there is a family at least"
    return text


def unsaved(texts: Mapping[Path, str]) -> dict[Path, str]:
    """Give texts by the paths at which a contract looks for them."""
    return {Path(os.path.normpath(path.absolute())): text for path, text in texts.items()}


def _write(path: Path, text: str, schemas: Mapping[Path, str]) -> list[Path]:
    missing = {each: content for each, content in schemas.items() if not _is_same(each, content)}
    if not path.exists():
        missing[path] = text
    created: list[Path] = []
    try:
        for each, content in missing.items():
            with each.open("x", encoding="utf-8") as file:
                created.append(each)
                file.write(content)
        if path not in missing:
            files.replace(path, text)
    except OSError as error:
        for each in created:
            each.unlink()
        raise GatewayError(f"{error.filename or path} cannot be written: {error.strerror}.") from None
    return created


def _is_same(path: Path, text: str) -> bool:
    """Whether a file exists with this text; GatewayError when it has another one."""
    if not path.exists():
        return False
    if read_text(path, str(path)) != text:
        raise GatewayError(f"{path} exists already.", "Rename it, and the reference to it.")
    return True


def _merged(chosen: Family, path: Path, text: str, servers: Sequence[str]) -> str:
    document = Document(path, unsaved=unsaved({path: text}))
    if document.findings or path.suffix == ".json":
        raise ConfigurationError(
            document.findings or [_finding(path, (), "The contract is JSON.", "Write it as YAML.")]
        )
    targets, dropped = _targets(document, servers)
    added = {}
    for place, part in chosen.parts():
        node = document.root
        for key in place:
            node = node.own(key)
        if place in dropped or (place in SHARED and not node.is_absent):
            continue
        if not node.is_absent:
            message = f"The contract has this name already; the family {chosen.name} needs it."
            raise ConfigurationError([_finding(path, place, message, "Rename it.", node.line)])
        added[place] = _retargeted(part, targets)
    return _with(text, added, path)


def _with(text: str, added: Mapping[Place, str], path: Path) -> str:
    sections: dict[Place, dict[str, str]] = {}
    for place, part in added.items():
        sections.setdefault(place[:-1], {})[place[-1]] = part
    try:
        return yaml_edit.insert(text, sections)
    except yaml_edit.FlowStyleError as error:
        message = "This is not in block style, so nothing can be added here."
        fix = "Write each member on lines of its own, without braces."
        raise ConfigurationError([_finding(path, error.place, message, fix, error.line)]) from None


def _targets(document: Document, servers: Sequence[str]) -> tuple[dict[str, str], set[Place]]:
    """What replaces a family's references to servers and dead letters, and which parts are not added."""
    root = document.root
    found = {kind: [name for name, node in root.at("servers").members() if protocol(node) == kind] for kind in SERVERS}
    if unknown := set(servers) - {name for names in found.values() for name in names}:
        raise GatewayError(f"The contract has no server {min(unknown)!r}.", "Name one of its servers with --server.")
    targets = {}
    for kind, name in SERVERS.items():
        used = [one for one in found[kind] if one in servers] or found[kind]
        targets[pointer(("servers", name))] = pointer(("servers", _only(used, kind, document.path)))
    if not (sending := _dead_letter_operations(root)):
        return targets, set()
    if len(sending) > 1 and root.at("components", "operationTraits", "subscription").is_absent:
        message = (
            f"Dead letters go to {' and '.join(sending)}, and no operation trait 'subscription' says which to use."
        )
        fix = f"Add components/operationTraits/subscription with {DEAD_LETTER}."
        raise ConfigurationError([_finding(document.path, ("components",), message, fix)])
    return {**targets, pointer(("operations", SENDING)): pointer(("operations", sending[0]))}, DEAD_LETTERS


def _only(candidates: list[str], kind: str, path: Path) -> str:
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise ConfigurationError([_finding(path, ("servers",), f"The contract has no {kind} server.", "Add one.")])
    raise GatewayError(
        f"{path} has several {kind} servers: {', '.join(candidates)}.", f"Name one: --server {candidates[0]}."
    )


def _dead_letter_operations(root: Any) -> list[str]:
    stated = [*root.at("operations").members(), *root.at("components", "operationTraits").members()]
    references = (node.own(DEAD_LETTER).reference for _, node in stated)
    return list(dict.fromkeys(one.rpartition("/")[2] for one in references if one))


def _retargeted(part: str, targets: Mapping[str, str]) -> str:
    for reference, target in targets.items():
        part = part.replace(f"'{reference}'", f"'{target}'")
    return part


def _finding(path: Path, place: Place, message: str, fix: str, line: int = 0) -> Finding:
    return Finding(str(path), line, pointer(place), message, fix)
