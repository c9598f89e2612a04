"""`gateway check`: all findings about the contract and the settings, and where the readings of each stream go.

The shape of the JSON is kept compatible: members may be added, none is changed or removed.

    {"format": 1, "checked": "gateway.yaml", "fit": false,
     "summary": {"errors": 1, "warnings": 0},
     "findings": [{"severity": "error", "file": "asyncapi.yaml", "line": 58, "path": "#/channels/doors/address",
                   "message": "...", "fix": "..."}],
     "streams": [{"name": "receiveDoors", "servers": ["factoryBroker"], "filter": "doors/+", "topics": ["door-sensors"],
                  "key": ["/location"], "codec": "compiled", "because": "", "enabled": true, "is_array": false,
                  "messages": [], "subscribed": ["doors/+"], "qos": 1, "guarantee": "at_least_once"}],
     "ignored": [{"name": "ignoreLights", "servers": ["factoryBroker"], "address": "doors/{location}/light"}]}

`line` is null where a finding has none; `streams` and `ignored` are empty unless `fit`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway import contract as contracts
from gateway.core.codec.codec import Codec
from gateway.core.codec.validation_error import pointer
from gateway.core.record_path import leads_to_several
from gateway.core.transform import conversion
from gateway.errors import ExitCode, Finding
from gateway.installation import subscriptions
from gateway.service import split
from gateway.settings.consistency import check_consistency
from gateway.settings.settings import examine
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gateway.core.model import Stream
    from gateway.settings.settings import Settings


_GUARANTEES = {"none": "may be lost", "at_most_once": "at most once", "exactly_once": "exactly once"}


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """Where the readings of a stream go; its fields are members of the JSON."""

    name: str  # of the receive operation
    servers: tuple[str, ...]
    filter: str
    topics: tuple[str, ...]
    key: tuple[str, ...]  # JSON pointers into the record, {parameters} of the address, `mqtt.topic`
    codec: str  # `compiled`, or `precise` where the compiled encoder does not support the schema
    because: str  # why it is `precise`, else empty
    enabled: bool
    is_array: bool = False
    separator: str | None = None  # joins the parts of the key; else the first one that is not empty is the key
    messages: tuple[str, ...] = ()  # their names, where there are several
    records: str = ""  # where they are in a message that holds several: `/*` in a plain array
    subscribed: tuple[str, ...] = ()  # the filters that bring its messages: `filter`, or wider ones
    qos: int = 1  # of its subscription
    guarantee: str = "at_least_once"  # of its delivery; at QoS 0 `none`, or `at_most_once` in transactions

    def __str__(self) -> str:
        codec = f"{self.codec}, because of {self.because}" if self.because else self.codec
        several = "each of " * leads_to_several(self.records)
        each = f", a record for {'each element' if self.records == '/*' else several + self.records}" * self.is_array
        each += f", one of the messages {', '.join(self.messages)}" if self.messages else ""
        wider = ", ".join(one for one in self.subscribed if one != self.filter)
        source = f"{self.filter}, subscribed as {wider}" if wider else self.filter
        route = f"{source} ({', '.join(self.servers)}) -> {', '.join(self.topics)}"
        between = "or" if self.separator is None else json.dumps(self.separator, ensure_ascii=False)
        guarantee = "" if self.guarantee == "at_least_once" else f", {_GUARANTEES[self.guarantee]} at QoS {self.qos}"
        facts = f"{route}, key {f' {between} '.join(self.key)}{each}, {codec}{guarantee}"
        return printable(f"{self.name}: {facts}" if self.enabled else f"{self.name}: switched off; {facts}")


@dataclass(frozen=True, slots=True)
class IgnoredSummary:
    """An operation whose messages are dropped; its fields are members of the JSON."""

    name: str
    servers: tuple[str, ...]
    address: str

    def __str__(self) -> str:
        return printable(f"{self.name}: {self.address} ({', '.join(self.servers)}), ignored")


class Result(NamedTuple):
    """The outcome of a check."""

    checked: str  # the file
    findings: tuple[Finding, ...]
    streams: tuple[StreamSummary, ...] = ()  # none when there are errors
    ignored: tuple[IgnoredSummary, ...] = ()

    @property
    def errors(self) -> int:
        """The number of findings that keep the gateway from running."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """The number of the other findings."""
        return len(self.findings) - self.errors

    @property
    def exit_code(self) -> ExitCode:
        """The same as that of `gateway run` with these files."""
        return ExitCode.CONFIGURATION if self.errors else ExitCode.SUCCESS

    def outcome(self) -> str:
        """The outcome in a line, and the streams below it."""
        if self.errors:
            return f"{self.errors} error(s), {self.warnings} warning(s)"
        warnings = f", {self.warnings} warning(s)" if self.warnings else ""
        return "\n".join(
            [
                f"{printable(self.checked)}: fit to run{warnings}",
                *(f"  {one}" for one in (*self.streams, *self.ignored)),
            ]
        )

    def as_json(self) -> dict[str, Any]:
        """The members that the module's docstring lists."""
        findings = [
            {"severity": one.severity, "file": one.source, "line": one.line or None, "path": one.path,
             "message": one.message, "fix": one.fix}
            for one in self.findings
        ]  # fmt: skip
        return {
            "format": 1,
            "checked": self.checked,
            "fit": not self.errors,
            "summary": {"errors": self.errors, "warnings": self.warnings},
            "findings": findings,
            "streams": [asdict(one) for one in self.streams],
            "ignored": [asdict(one) for one in self.ignored],
        }


def check(config: Path | None, contract: Path, environ: Mapping[str, str]) -> Result:
    """Check gateway.yaml and the contract that it names, whatever is wrong with either; or only `contract`."""
    settings, named, findings = examine(config, environ) if config else (None, contract, [])
    dates = _dates(settings) if settings and not findings else ()
    loaded, of_contract = contracts.examine(named, settings.choice if settings else None) if named else (None, [])
    findings += of_contract
    if settings and loaded:
        findings += [*check_consistency(settings, loaded), *split.examine(loaded, settings), *dates]
    result = Result(str(config or contract), tuple(sorted(findings)))
    if loaded is None or result.errors:
        return result
    is_enabled = settings.is_enabled if settings else lambda _: True
    planned = {server: subscriptions(loaded, is_enabled, server) for server in loaded.mqtt_servers}
    summaries = (_summary(one, planned, is_enabled=is_enabled(one.name)) for one in loaded.streams.values())
    streams = tuple(_with_guarantee(one, loaded.streams[one.name], settings) for one in summaries)
    ignored = tuple(IgnoredSummary(one.name, one.servers, one.address.text) for one in loaded.ignored.values())
    return result._replace(streams=streams, ignored=ignored)


def _with_guarantee(summary: StreamSummary, stream: Stream, settings: Settings | None) -> StreamSummary:
    qos, delivery = (settings.qos_of(stream), settings.delivery) if settings else (stream.qos, "at_least_once")
    lesser = "at_most_once" if delivery == "exactly_once" else "none"
    return replace(summary, qos=qos, guarantee=delivery if qos else lesser)


def _dates(settings: Settings) -> Iterator[Finding]:
    """Warn of certificates in files that are not valid now, or not for long: `run` starts with them all the same."""
    if not (files := list(settings.certificate_files())):
        return
    from gateway.operate.doctor.certificates import check_file  # noqa: PLC0415 - `cryptography` takes 8 MB

    for place, name in files:
        dated = check_file(settings.locate(name), datetime.now(UTC), is_chain=place[-1] == "cert_file")
        if dated.severity != "ok":
            yield settings.finding(place, f"A certificate in this file: {dated.message}.", dated.fix, "warning")


def _summary(stream: Stream, planned: Mapping[str, dict[str, list[Stream]]], *, is_enabled: bool) -> StreamSummary:
    topics = tuple(dict.fromkeys(route.topic.name for route in stream.routes))
    keys = tuple(dict.fromkeys(str(key) for each in stream.by_message for key in each.route.keys))
    reasons = (Codec(conversion(each, each.route)).not_fast_because for each in stream.by_message)
    because = next(filter(None, reasons), "")
    subscribed = (each for one in stream.servers for each, streams in planned[one].items() if stream in streams)
    names = tuple(one.name if one.stream else f"{one.name} (ignored)" for one in stream.messages)
    return StreamSummary(
        stream.name, stream.servers, stream.address.filter, topics, keys, "precise" if because else "compiled", because,
        is_enabled, stream.is_array, stream.route.separator, names,
        pointer(list(map(str, stream.steps))) if stream.is_array else "", tuple(dict.fromkeys(subscribed)),
    )  # fmt: skip
