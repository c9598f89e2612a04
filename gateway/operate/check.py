"""What a check found, for people and for machines.

Four forms of one thing. The JSON is ours, and its shape is kept: members may be added, none will change or go.

    {"format": 1, "checked": "gateway.yaml", "fit": false,
     "summary": {"errors": 1, "warnings": 0},
     "findings": [{"severity": "error", "file": "asyncapi.yaml", "line": 58, "path": "#/channels/doors/address",
                   "message": "...", "fix": "..."}],
     "streams": [{"name": "receiveDoors", "servers": ["factoryBroker"], "filter": "doors/+", "topics": ["door-sensors"],
                  "key": ["/location"], "codec": "compiled", "because": "", "enabled": true}]}

`line` is null where a finding has none; `streams` is empty unless `fit`. SARIF is 2.1.0 (OASIS), with every finding
under one rule, because findings have no numbers to look up: each says itself what to do. GitHub's annotations are
workflow commands: one line each, in which whatever could end the line or a property is escaped. Files are named
relative to the current folder wherever they are below it, which is what both need to show a finding beside its line.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gateway import __version__
from gateway.core.codec.codec import Codec
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.model import Contract, Stream
    from gateway.errors import Finding

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RULE = "gateway-check"


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """The way of a stream's readings.

    Args:
        name: of the receive operation.
        servers: that it is subscribed on.
        filter: of the subscription.
        topics: in Kafka.
        key: JSON pointers into the record, tried in order.
        codec: `compiled`, or `precise` where the compiled path does not cover the schema.
        because: why it is `precise`, else empty.
        enabled: False when gateway.yaml switches the stream off.
        is_array: True when a message is an array of readings.
    """

    name: str
    servers: tuple[str, ...]
    filter: str
    topics: tuple[str, ...]
    key: tuple[str, ...]
    codec: str
    because: str
    enabled: bool
    is_array: bool = False

    def __str__(self) -> str:
        """One line for people."""
        codec = f"{self.codec}, because of {self.because}" if self.because else self.codec
        key = " or ".join(self.key)
        each = ", a record for each element" if self.is_array else ""
        way = f"{self.filter} ({', '.join(self.servers)}) -> {', '.join(self.topics)}, key {key}{each}, {codec}"
        return printable(f"{self.name}: {way}" if self.enabled else f"{self.name}: switched off; {way}")


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check.

    Args:
        checked: the file that was asked about.
        findings: in the order to be shown.
        ways: of the streams, when it is fit to run.
    """

    checked: str
    findings: tuple[Finding, ...]
    ways: tuple[StreamSummary, ...] = ()

    @property
    def errors(self) -> int:
        """How many findings stop the gateway from running."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many do not."""
        return len(self.findings) - self.errors


def ways(contract: Contract, enabled: Callable[[str], bool] = lambda _: True) -> tuple[StreamSummary, ...]:
    """The way of each stream, in the contract's order.

    Args:
        contract: that was found right.
        enabled: tells by a stream's name whether this installation has it switched on.
    """
    return tuple(_way(stream, enabled(stream.name)) for stream in contract.streams.values())


def _way(stream: Stream, enabled: bool) -> StreamSummary:  # noqa: FBT001 - a fact carried along, not a switch
    route, topics = stream.route, tuple(route.topic.name for route in stream.routes)
    assert route.schema is not None, "the contract gives every route of readings a schema"
    pointers = [parameter.pointer for parameter in stream.parameters]
    because = Codec(
        route.schema.definition, route.keys, pointers, stream.unknown, content=stream.content
    ).not_fast_because
    codec = "precise" if because else "compiled"
    return StreamSummary(
        stream.name, stream.servers, stream.address.filter, topics, route.keys, codec, because, enabled, stream.is_array
    )


def verdict(report: Report) -> str:
    """The outcome in a line, and the ways of the streams below it."""
    checked = printable(report.checked)
    if report.errors:
        return f"{report.errors} error(s), {report.warnings} warning(s)"
    warnings = f", {report.warnings} warning(s)" if report.warnings else ""
    return "\n".join([f"{checked}: fit to run{warnings}", *(f"  {way}" for way in report.ways)])


def as_text(finding: Finding) -> str:
    """A finding as a line for people."""
    return printable(f"{finding.severity}: {finding}")


def as_json(report: Report) -> str:
    """The report in the shape that the module's docstring promises."""
    findings = [
        {
            "severity": finding.severity,
            "file": finding.file,
            "line": finding.line or None,
            "path": finding.path,
            "message": finding.message,
            "fix": finding.fix,
        }
        for finding in report.findings
    ]
    return _json(
        {
            "format": 1,
            "checked": report.checked,
            "fit": not report.errors,
            "summary": {"errors": report.errors, "warnings": report.warnings},
            "findings": findings,
            "streams": [asdict(way) for way in report.ways],
        }
    )


def as_sarif(report: Report, here: Path) -> str:
    """The report as SARIF 2.1.0.

    Args:
        report: to be written.
        here: the folder that files are named from.
    """
    rule = {"id": RULE, "shortDescription": {"text": "The gateway's contract and settings are fit to run."}}
    driver = {"name": "gateway", "version": __version__, "rules": [rule]}
    results = [_result(finding, here) for finding in report.findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return _json({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(finding: Finding, here: Path) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.file, here)}}
    if finding.line:
        physical["region"] = {"startLine": finding.line}
    location: dict[str, Any] = {"physicalLocation": physical}
    if finding.path:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path}]
    text = f"{finding.message} {finding.fix}".rstrip()
    return {
        "ruleId": RULE,
        "ruleIndex": 0,
        "level": finding.severity,
        "message": {"text": text},
        "locations": [location],
    }


def as_github(report: Report, here: Path) -> str:
    """The report as GitHub workflow commands, a line each, the verdict last.

    Args:
        report: to be written.
        here: the folder that files are named from: the workspace.
    """
    return "\n".join([*(_annotation(finding, here) for finding in report.findings), verdict(report)])


def _annotation(finding: Finding, here: Path) -> str:
    properties = {"file": _relative(finding.file, here).as_posix()}
    if finding.line:
        properties["line"] = str(finding.line)
    if finding.path:
        properties["title"] = finding.path
    told = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    return f"::{finding.severity} {told}::{_escaped(f'{finding.message} {finding.fix}'.rstrip())}"


def _escaped(text: str, more: str = "") -> str:
    """A text in which nothing ends the command or, with `more`, the property."""
    return printable("".join(f"%{ord(letter):02X}" if letter in f"%\r\n{more}" else letter for letter in text))


def _relative(file: str, here: Path) -> Path:
    path = Path(file)
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path


def _uri(file: str, here: Path) -> str:
    path = _relative(file, here)
    return path.as_uri() if path.is_absolute() else quote(bytes(path))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2)  # ASCII: readable in every locale, and file names may hold half characters
