"""The steps of `gateway learn`: listen, propose, score, write, report.

The folder must be empty, or hold only what an interrupted `gateway learn` has received: then it goes on. Nothing is
written elsewhere, and nothing at all when no message was received.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway import contract as contracts
from gateway import files
from gateway.core.topic_index import UNMAPPED
from gateway.errors import ConfigurationError, Finding, GatewayError
from gateway.mqtt.probe import EVERYTHING
from gateway.operate.init import family as families
from gateway.operate.init import settings_file
from gateway.operate.init.answers import Answers
from gateway.operate.learn import contract_file
from gateway.operate.learn.evidence import Traffic
from gateway.operate.learn.findings import Proposal, lines, propose
from gateway.operate.learn.page import page
from gateway.operate.learn.score import Examples, StreamScore, score
from gateway.operate.learn.types import pascal
from gateway.operate.listener import Channel, Listener
from gateway.operate.recording import STREAM, Recording, readings
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gateway.core.address import Address
    from gateway.core.model import Contract
    from gateway.core.reading import Reading
    from gateway.mqtt.broker import Broker
    from gateway.operate.learn.extension import Existing
    from gateway.operate.learn.proposal import Stream
    from gateway.operate.listener import Terminal


PAGE = "report.html"
FILE = "heard.db"  # what was received: the only state, so that an interrupted run can go on
STATE = frozenset({FILE, f"{FILE}.lock", f"{FILE}-wal", f"{FILE}-shm"})
DENIED = "Name topics that this user may read: --topics 'site/#'. Or let the broker's ACL grant them."
SILENT = (
    "Listen longer with --for. A broker may keep topics from this user without an error: then name topics that it "
    "may read, as in --topics 'site/#', or let the broker's ACL grant more."
)


class Options(NamedTuple):
    """What to listen to, and where the proposal goes."""

    folder: Path
    broker: Broker | None  # None to learn from readings that are given
    filters: Sequence[str] = (EVERYTHING,)
    seconds: float = 600
    shows_values: bool = True
    site: contract_file.Site = contract_file.Site()
    existing: Existing | None = None  # the contract to extend


# --- listening ---------------------------------------------------------------------------------------------------


class _Session:
    """What is received: it goes into the recording, and into the evidence."""

    def __init__(self, options: Options, terminal: Terminal, recording: Recording) -> None:
        self.traffic = Traffic()
        self._options, self._terminal, self._recording = options, terminal, recording

    def resume(self) -> None:
        """Learn from what was received before an interruption."""
        for one in readings(self._options.folder / FILE):
            self.traffic.take(one.topic, one.payload, one.received_at, retain=one.retain)
        if self.traffic.messages:
            self._terminal.say(f"Going on after {self.traffic.messages:,} messages that were received before.")

    def take(self, reading: Reading) -> None:
        """Learn from a message, and record it."""
        self._recording.add(reading)
        self.traffic.take(reading.topic, reading.payload, reading.received_at, retain=reading.retain)

    def listen(self, broker: Broker) -> None:
        """Listen until the time is over, the recording is full, or the user ends it."""
        channel = Channel(broker, self._options.filters, lambda _topic: STREAM, DENIED)
        listener = Listener(
            [channel], self._options.seconds, self._terminal, "the proposal is written", self._heard,
            lambda: bool(self._recording.end),
        )  # fmt: skip
        for one in listener.readings():
            self.take(one)
        if self._recording.end:
            self._terminal.say(f"{self._recording.end}, so the listening ends here.")

    def _heard(self) -> str:
        return f"{self.traffic.messages:,} messages on {len(self.traffic.topics):,} topics"


def learn(options: Options, terminal: Terminal, given: Iterable[Reading] = ()) -> None:
    """Listen, or read what is given, and write a proposal; GatewayError when nothing was received."""
    made = _prepare(options.folder)
    session: _Session | None = None
    try:
        with Recording(options.folder / FILE) as recording:
            session = _Session(options, terminal, recording)
            session.resume()
            if options.broker:
                session.listen(options.broker)
            for one in given:
                if one.size < 0:  # of others only the beginning was kept
                    session.take(one)
    finally:
        if not (session and session.traffic.messages):
            _forget(options.folder)
            for each in made:
                each.rmdir()
    if not session.traffic.messages:
        fix = SILENT if options.broker else "Name another source."
        raise GatewayError("No message was received, so nothing was written.", fix)
    _propose(options, terminal, session.traffic)


def _prepare(folder: Path) -> list[Path]:
    """Make the folder, or check that it is empty; give the folders that are new, the innermost first."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = sorted(one.name for one in folder.iterdir() if one.name not in STATE)
    except OSError as error:
        raise _unfit(folder, f"The folder cannot be used: {error.strerror}.") from None
    if others:
        raise _unfit(folder, f"The folder is not empty: it has {', '.join(map(printable, others[:3]))}.")
    return made


def _unfit(folder: Path, message: str) -> ConfigurationError:
    return ConfigurationError([Finding(str(folder), 0, "", message, "Name another folder with --into.")])


def _forget(folder: Path) -> None:
    for name in STATE:
        (folder / name).unlink(missing_ok=True)


# --- proposing ---------------------------------------------------------------------------------------------------


def _propose(options: Options, terminal: Terminal, traffic: Traffic) -> None:
    terminal.progress("Proposing streams ...")
    received = readings(options.folder / FILE)
    contract, proposal = _fit(propose(traffic, options.existing, received, shows_values=options.shows_values), options)
    if contract is None:
        raise _nothing(traffic, proposal, terminal)
    terminal.progress(f"Transforming {traffic.messages:,} messages by the proposal ...")
    keep = Examples(proposal.streams, shows_values=options.shows_values)
    scores = score(
        contract, readings(options.folder / FILE), traffic.span, keep.keep, shows_values=options.shows_values
    )
    contract, proposal = _fit(_without_unfit(proposal, scores), options)
    if contract is None:
        raise _nothing(traffic, proposal, terminal)
    _write(options, _files(proposal, options) | {PAGE: page(traffic, proposal, scores)}, contract)
    if not options.shows_values:
        _forget(options.folder)
    terminal.progress("")
    for line in lines(traffic, proposal, scores):
        terminal.say(line)


def _without_unfit(proposal: Proposal, scores: dict[str, StreamScore]) -> Proposal:
    """Leave out streams of which no message fits."""
    names = {f"receive{pascal(one.name)}": one.name for one in proposal.streams}
    gone = {name: scores.pop(name) for name in names if scores[name].received and not scores[name].fit}
    scores[UNMAPPED].received += sum(one.received for one in gone.values())
    reasons = {names[name]: f"nothing fits: {next(iter(one.details.values()))}" for name, one in gone.items()}
    return proposal.without(reasons)


def _nothing(traffic: Traffic, proposal: Proposal, terminal: Terminal) -> GatewayError:
    for line in lines(traffic, proposal, {UNMAPPED: StreamScore(received=traffic.messages)}):
        terminal.say(line)
    message = "No stream can be proposed of what was received, so no contract was written."
    return GatewayError(message, "Listen longer with --for, or check --topics.")


def _files(proposal: Proposal, options: Options) -> dict[str, str]:
    """Write the files of a proposal, by name: those of the contract that is extended too."""
    existing, chosen = options.existing, [one.family for one in proposal.families]
    own = contract_file.contract_text(proposal.streams, proposal.ignored, options.site)
    schemas = contract_file.schema_texts(proposal.streams)
    for one in chosen:
        schemas |= one.schemas
    if existing is None:
        return {families.CONTRACT: families.merged(chosen, options.folder / families.CONTRACT, own), **schemas}
    learned = [families.Family("learned", own, {})] if proposal.streams else []
    files = {**existing.files, **proposal.more.files}
    name = existing.path.name
    return {**files, name: existing.with_families([*learned, *chosen], files[name]), **schemas}


def contract_path(options: Options) -> Path:
    """The contract that is written."""
    return options.folder / (options.existing.path.name if options.existing else families.CONTRACT)


def _fit(proposal: Proposal, options: Options) -> tuple[Contract | None, Proposal]:
    """Load the proposal; a stream that the rules of contracts do not allow is left out, and reported.

    Examples that they do not allow, such as an empty member name, are left out first. None when no stream is left.
    """
    while options.existing or proposal.streams or proposal.families:
        texts = {options.folder / name: text for name, text in _files(proposal, options).items()}
        contract, findings = contracts.examine(contract_path(options), unsaved=families.unsaved(texts))
        if contract:
            return contract, proposal
        errors = [one for one in findings if one.severity == "error"]
        if _without_examples(proposal, [one for one in errors if "/examples/" in one.path]):
            continue
        unfit = {
            one.name: f"{error}" for error in reversed(errors) for one in proposal.streams if _is_about(error, one)
        }
        more = proposal.more.without(errors)
        ignored = [one for one in proposal.ignored if not any(_ignores(error, one) for error in errors)]
        if not unfit and more.files == proposal.more.files and ignored == proposal.ignored:
            if not more.files:
                raise ConfigurationError(errors)
            more = more.undone(errors[0])
        proposal = proposal.without(unfit)._replace(more=more, ignored=ignored)
    return None, proposal


def _without_examples(proposal: Proposal, errors: list[Finding]) -> bool:
    """Leave out the examples of streams with an error in one; False when there is none."""
    messages = [one for stream in proposal.streams for one in stream.messages if one.examples]
    unfit = [one for one in messages if any(f"/{contract_file.camel(one.name)}Json/" in error.path for error in errors)]
    for one in unfit:
        one.examples.clear()
    return bool(unfit)


def _ignores(finding: Finding, address: Address) -> bool:
    """Tell whether a finding is about an address that is ignored; a family may ignore it as well."""
    return f"'{contract_file.ignoring(address)}'" in finding.message or finding.path.endswith(
        f"/{contract_file.ignoring(address)}"
    )


def _is_about(finding: Finding, stream: Stream) -> bool:
    names = {stream.name, *(one.name for one in stream.messages)}
    places = {f"{name}.avsc" for name in names} | {contract_file.camel(name) for name in names}
    places |= {f"{contract_file.camel(name)}{kind}" for name in names for kind in ("Json", "Avro", "Topic")}
    places |= {f"{kind}{pascal(name)}" for name in names for kind in ("receive", "send")}
    return not places.isdisjoint([*finding.path.split("/"), finding.source.rpartition("/")[2]])


def _write(options: Options, texts: dict[str, str], contract: Contract) -> None:
    site, output = options.site, options.folder / "gateway.yaml"
    answers = Answers(
        site.host, site.kafka, site.registry, "", None, site.of_broker, site.of_kafka, command="gateway learn"
    )
    try:
        for name, content in sorted(texts.items()):
            (options.folder / name).parent.mkdir(parents=True, exist_ok=True)
            files.replace(options.folder / name, content)
        if not options.existing:
            files.replace(output, settings_file.text(output, contract, answers))
    except OSError as error:
        raise _unfit(options.folder, f"The proposal cannot be written: {error.strerror}.") from None
