"""A contract that exists: what was received and it does not describe becomes its next version.

Topics that no stream of it has become new streams. Of each message of its streams, members that no field reads become
fields that may be null, and what a field does not take widens it (`widening.py`). Each change of a schema is compared
with the version before, in the compatibility mode of its subject: one that is not compatible is not made, and said.

The next version is written whole, with the files that the contract refers to, so that it can be checked and compared.
"""

from __future__ import annotations

import json
from collections import ChainMap
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway import contract as contracts
from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.core.encoding import JSON
from gateway.core.message_choice import MessageChoice
from gateway.core.topic_index import topic_index
from gateway.documents.source import read_text
from gateway.errors import ConfigurationError, Finding
from gateway.operate.init import family as families
from gateway.operate.learn.evidence import MAX_MEMBERS, Evidence, Moment, Unread
from gateway.operate.learn.evidence import parse as parse_payload
from gateway.operate.learn.proposal import Names, Note
from gateway.operate.learn.record import added_field
from gateway.operate.learn.units import snake
from gateway.operate.learn.widening import widened, with_field, with_limits
from gateway.operate.schemas.avsc import parse
from gateway.operate.schemas.mode import Mode
from gateway.operate.schemas.review import compare
from gateway.registry.registry import Unresolved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.contract.document import Document
    from gateway.core.model import Contract, Stream
    from gateway.core.reading import Reading
    from gateway.core.record_path import Step
    from gateway.operate.schemas.subjects import Subjects


class Existing(NamedTuple):
    """The contract that is extended."""

    path: Path
    contract: Contract
    document: Document
    files: dict[str, str]  # the contract's and those that it refers to, relative to its folder
    names: Names  # those of the contract are in use
    servers: tuple[str, ...] = ()  # to use, where there are several
    subjects: Subjects | None = None  # of the registry, where a gateway.yaml names it

    def with_families(self, chosen: list[families.Family], text: str) -> str:
        """Add streams, written as families, to the contract's text."""
        return families.merged(chosen, self.path, text, self.servers)


def read(path: Path, servers: tuple[str, ...] = (), subjects: Subjects | None = None) -> Existing:
    """Read a contract with its files; ConfigurationError when it has errors, or files outside of its folder."""
    contract, document = contracts.read(path)
    folder, files = path.absolute().parent, {}
    for one in [document.root, *document.other_roots()]:
        name = relpath(one.source.path, folder)
        if name.startswith(".."):
            fix = "Move it below the folder of the contract."
            raise ConfigurationError([Finding(str(path), 0, "", f"It refers to {name}, outside of its folder.", fix)])
        files[name] = read_text(one.source.path, one.source.name)
    used = [name for section in ("channels", "operations") for name, _ in document.root.at(section).members()]
    used += [name for kind in ("messages", "schemas") for name, _ in document.root.at("components", kind).members()]
    used += [Path(name).stem for name in files]
    used += [one.topic.name for stream in contract.streams.values() for one in stream.routes]
    return Existing(path, contract, document, files, Names(_stems(used)), servers, subjects)


def _stems(used: Iterable[str]) -> Iterator[str]:
    for name in map(snake, used):
        yield name
        yield name.removeprefix("receive_").removeprefix("send_")


class Extension(NamedTuple):
    """Files that change: schemas, and limits in the contract."""

    files: dict[str, str]  # name -> text
    notes: dict[str, list[Note]]  # by operation

    def without(self, unfit: Iterable[Finding]) -> Extension:
        """Leave out changed files that the rest of the contract does not allow."""
        gone = {name: one for one in unfit for name in self.files if one.source.endswith(name)}
        said = [Note(name, f"Not changed: {one.message} {one.fix}") for name, one in gone.items()]
        kept = {name: text for name, text in self.files.items() if name not in gone}
        return Extension(kept, {**self.notes, "": [*self.notes.get("", ()), *said]})

    def undone(self, unfit: Finding) -> Extension:
        """Leave all changed files out."""
        said = Note("", f"No schema is changed: {unfit.message} {unfit.fix}")
        return Extension({}, {**self.notes, "": [*self.notes.get("", ()), said]})


def extension(existing: Existing, readings: Iterable[Reading], *, shows_values: bool) -> Extension:
    """Find what the streams of a contract do not read or take of their messages, and change their schemas."""
    result = Extension({}, {})
    for (name, place), evidence in sorted(_evidence(existing.contract, readings).items()):
        stream = existing.contract.streams[name]
        one = stream.messages[place].stream if stream.messages else stream
        if one is not None:
            _Changes(existing, one, result, shows_values=shows_values).make(evidence, place)
    return result


def _evidence(contract: Contract, readings: Iterable[Reading]) -> dict[tuple[str, int], Evidence]:
    """Gather the evidence of each message of each stream, in arrays of each item."""
    stream_of, moment, found = topic_index(contract.addresses()), Moment(), dict[tuple[str, int], Evidence]()
    choices = {
        name: MessageChoice([each.demands for each in one.messages])
        for name, one in contract.streams.items() if one.messages
    }  # fmt: skip
    for moment.number, reading in enumerate(readings, start=1):
        name, parsed = stream_of(reading.topic), parse_payload(reading.payload)
        stream = contract.streams.get(name)
        if stream is None or stream.encoding != JSON or isinstance(parsed, Unread):
            continue
        remaining = choices[name].remaining(parsed.value) if stream.messages else [0]
        if len(remaining) != 1:
            continue
        one = stream.messages[remaining[0]].stream if stream.messages else stream
        evidence = found.setdefault((name, remaining[0]), Evidence())
        moment.received_at, moment.room = reading.received_at, MAX_MEMBERS - len(evidence.members)
        for value in _each(parsed.value, one.steps) if one and one.is_array else [parsed.value]:
            evidence.take(value, moment)
    return found


def _each(value: Any, steps: Sequence[Step]) -> Iterator[Any]:
    """Give the readings of a message that holds several."""
    if not steps:
        yield value
    elif steps[0].kind == "member":
        yield from _each(value.get(steps[0].name), steps[1:]) if isinstance(value, dict) else ()
    else:
        kind = list if steps[0].kind == "items" else dict
        inner = () if not isinstance(value, kind) else value.values() if isinstance(value, dict) else value
        for one in inner:
            yield from _each(one, steps[1:])


class _Changes:
    """Changes the schema of one message."""

    def __init__(self, existing: Existing, stream: Stream, result: Extension, *, shows_values: bool) -> None:
        self._existing, self._stream, self._files = existing, stream, result.files
        self._notes = result.notes.setdefault(stream.name, [])
        self._shows_values = shows_values
        self._file = relpath(stream.route.avro.path, existing.path.absolute().parent)

    def make(self, evidence: Evidence, place: int) -> None:
        """Make all changes that the mode of the subject allows."""
        record, before = self._stream.route.avro.record, len(self._notes)
        if not self._file.endswith(".avsc"):
            self._note("", "The schema is part of the contract: move it to an .avsc file to have it changed.")
            return
        mode, because = self._mode()
        for field in record.fields:
            leaf = evidence if field.takes_whole else evidence.at(field.paths[0]) if len(field.paths) == 1 else None
            for change in widened(field, leaf, evidence.count) if leaf and not field.collects else ():
                self._change(change.pointer, change.text, mode, field.attributes, change.field)
        unread = self._unread(evidence)  # in messages; examples have members that no device sends
        for example in self._stream.examples:  # new fields have to take these as well; the others do
            for value in _each(example, self._stream.steps) if self._stream.is_array else [example]:
                evidence.take(value, Moment(room=MAX_MEMBERS))
        for pointer, leaf in unread:
            names = Names(one["name"] for one in json.loads(self._text)["fields"])
            name = names.new(snake("_".join(pointer)))
            made = added_field(name, pointer, leaf, evidence.count, shows_values=self._shows_values)
            if isinstance(made, str):
                self._note(pointer_of(pointer), f"No field reads it; not modelled: {made}.")
            else:
                self._change(pointer_of(pointer), f"No field reads it; new field {name}", mode, None, made)
        root, files = self._existing.document.root, ChainMap(self._files, self._existing.files)
        for at, text, changed in with_limits(root, files, self._stream, place, evidence):
            self._files.update(changed)
            self._note(at, text)
        if because and len(self._notes) > before:
            self._note(self._file, because)

    @property
    def _text(self) -> str:
        return self._files.get(self._file, self._existing.files[self._file])

    def _note(self, pointer: str, text: str) -> None:
        self._notes.append(Note(pointer, text))

    def _mode(self) -> tuple[Mode, str]:
        """The mode of the subject, and what is to know about it."""
        subject = self._stream.route.subject
        found = self._existing.subjects.mode(subject) if self._existing.subjects else None
        if isinstance(found, str) and found in Mode.__members__:
            return Mode(found), f"Compatible in mode {found} of the subject {subject}."
        why = found.reason if isinstance(found, Unresolved) else "--extend names no gateway.yaml with a registry"
        return Mode.BACKWARD, f"Compatible in mode BACKWARD, which is taken for granted: {why.rstrip('.')}."

    def _change(self, pointer: str, text: str, mode: Mode, old: Any, new: dict[str, Any]) -> None:
        """Change or add a field, if the mode allows it."""
        changed = with_field(self._text, old, new)
        if compare(parse(changed, self._file), [parse(self._existing.files[self._file], self._file)], mode).is_passed:
            self._files[self._file] = changed
            self._note(pointer, f"{text}.")
        else:
            self._note(pointer, f"{text}: incompatible in mode {mode}, so it is not changed. Add a field beside it.")

    def _unread(self, evidence: Evidence) -> list[tuple[tuple[str, ...], Evidence]]:
        """The places that no field reads."""
        record = self._stream.route.avro.record
        if any(one.takes_whole for one in record.fields):
            return []
        if any(one.collects for one in record.fields):
            self._note("", "A map takes what no other field reads, so there are no new fields.")
            return []
        read = {path for one in record.fields for path in one.paths}
        return [
            (pointer, leaf)
            for pointer, leaf in evidence.leaves()
            if pointer and not any(one[: len(pointer)] == pointer[: len(one)] for one in read)
        ]
