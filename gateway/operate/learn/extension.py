"""A contract that exists: what was heard and it does not describe becomes its next version.

Topics that no stream of it has become new streams. Members that no field reads become fields that may be null, which is
compatible in every mode; each changed schema is compared with the one before all the same. A value that an existing
field does not take is reported with its reason and not changed, because another type is not compatible.

The next version is written whole, with the files that the contract refers to, so that it can be checked and compared.
"""

from __future__ import annotations

import json
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway import contract as contracts
from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.core.topic_index import topic_index
from gateway.documents.source import read_text
from gateway.errors import ConfigurationError, Finding
from gateway.operate.init import family as families
from gateway.operate.learn.contract_file import avsc_text
from gateway.operate.learn.evidence import Evidence
from gateway.operate.learn.proposal import Names, Note
from gateway.operate.learn.record import added_field
from gateway.operate.learn.units import snake
from gateway.operate.schemas.avsc import parse
from gateway.operate.schemas.mode import Mode
from gateway.operate.schemas.review import compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.core.model import Contract, Stream
    from gateway.operate.learn.evidence import Topic

Pointer = tuple[str, ...]


class Existing(NamedTuple):
    """The contract that is extended."""

    path: Path
    contract: Contract
    files: dict[str, str]  # the contract's and those that it refers to, relative to its folder
    names: Names  # those of the contract are in use
    servers: tuple[str, ...] = ()  # to use, where there are several

    def with_families(self, chosen: list[families.Family]) -> str:
        """Add streams, written as families, to the contract's text."""
        return families.merged(chosen, self.path, self.files[self.path.name], self.servers)


def read(path: Path, servers: tuple[str, ...] = ()) -> Existing:
    """Read a contract with its files; ConfigurationError when it has errors, or files outside of its folder."""
    contract, document = contracts.read(path)
    folder, files = path.absolute().parent, {}
    for one in [document.root, *document.other_roots()]:
        name = relpath(one.source.path, folder)
        if name.startswith(".."):
            fix = "Move it below the folder of the contract."
            raise ConfigurationError([Finding(str(path), 0, "", f"It refers to {name}, outside of its folder.", fix)])
        files[name] = read_text(one.source.path, one.source.name)
    root = document.root
    used = [name for section in ("channels", "operations") for name, _ in root.at(section).members()]
    used += [name for kind in ("messages", "schemas") for name, _ in root.at("components", kind).members()]
    used += [Path(name).stem for name in files] + [
        one.topic.name for s in contract.streams.values() for one in s.routes
    ]
    return Existing(path, contract, files, Names(_stems(used)), servers)


def _stems(used: Iterable[str]) -> Iterator[str]:
    for name in map(snake, used):
        yield name
        yield name.removeprefix("receive_").removeprefix("send_")


class Extension(NamedTuple):
    """Schemas that get more fields."""

    files: dict[str, str]  # name -> text
    notes: dict[str, list[Note]]  # by operation

    def without(self, unfit: Iterable[Finding]) -> Extension:
        """Leave out changed schemas that the rest of the contract does not allow."""
        gone = {name: one for one in unfit for name in self.files if one.source.endswith(name)}
        said = [Note(name, f"Not changed: {one.message} {one.fix}") for name, one in gone.items()]
        kept = {name: text for name, text in self.files.items() if name not in gone}
        return Extension(kept, {**self.notes, "": [*self.notes.get("", ()), *said]})


def extension(existing: Existing, topics: Mapping[bytes, Topic], *, shows_values: bool) -> Extension:
    """Find the members that no field of an existing stream reads."""
    stream_of, heard = topic_index(existing.contract.addresses()), dict[str, Evidence]()
    for topic_name, topic in sorted(topics.items()):
        for shape in topic.learned:
            if not isinstance(shape.names, str):
                heard.setdefault(stream_of(topic_name), Evidence()).add(shape.evidence)
    files, notes = dict[str, str](), dict[str, list[Note]]()
    for name, stream in existing.contract.streams.items():
        if name in heard and (unread := _unread(stream, heard[name])):
            file = relpath(stream.route.avro.path, existing.path.absolute().parent)
            fields, notes[name] = _fields(stream, unread, heard[name].count, shows_values=shows_values)
            if fields and file.endswith(".avsc"):
                before = files.get(file, existing.files[file])
                files[file] = _with_fields(before, fields)
                outcome = compare(parse(files[file], file), [parse(before, file)], Mode.FULL).outcome
                notes[name].append(Note(file, f"{outcome} with the version before in every mode."))
            elif fields:
                notes[name].append(Note("", "The schema is part of the contract: add the fields there."))
    return Extension(files, notes)


def _unread(stream: Stream, evidence: Evidence) -> list[tuple[Pointer, Evidence]]:
    """The places that no field reads; none where a message is of several kinds, holds several, or a map takes all."""
    record = stream.route.avro.record
    if stream.messages or stream.is_array or any(one.collects or one.takes_whole for one in record.fields):
        return []
    read = {path for one in record.fields for path in one.paths}
    return [
        (pointer, leaf)
        for pointer, leaf in evidence.leaves()
        if pointer and not any(one[: len(pointer)] == pointer[: len(one)] for one in read)
    ]


def _fields(
    stream: Stream, unread: list[tuple[Pointer, Evidence]], samples: int, *, shows_values: bool
) -> tuple[list[dict[str, Any]], list[Note]]:
    names, fields, notes = Names(one.name for one in stream.route.avro.record.fields), [], []
    for pointer, leaf in unread:
        made = added_field(names.new(snake("_".join(pointer))), pointer, leaf, samples, shows_values=shows_values)
        if isinstance(made, str):
            notes.append(Note(pointer_of(pointer), f"No field reads it; not modelled: {made}."))
            continue
        notes.append(Note(pointer_of(pointer), f"No field reads it; new field {made['name']}."))
        fields.append(made)
    return fields, notes


def _with_fields(text: str, fields: list[dict[str, Any]]) -> str:
    """Add fields at the end of the record's own; all else of the text stays, unless the fields are not last in it."""
    end, definition = text.rindex("]"), json.loads(text)
    definition["fields"] += fields
    written = ",\n    ".join(json.dumps(one, ensure_ascii=False) for one in fields)
    added = f"{text[:end].rstrip()},\n    {written}\n  {text[end:]}"
    return added if json.loads(added) == definition else avsc_text(definition)
