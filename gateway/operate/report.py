"""How the results of checks are shown: as lines, a table, JSON, SARIF or GitHub annotations; and their exit code.

Text from outside is escaped and cut in all forms for people.

SARIF is 2.1.0 (OASIS). All findings have one rule, because findings have no numbers to look up: each states its fix.
GitHub annotations are workflow commands, one line each. Files are named relative to the current folder wherever they
are below it: both need that to show a finding beside its line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from gateway import __version__
from gateway.errors import ConfigurationError, ExitCode, Finding, GatewayError
from gateway.signals import map_in_threads
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.errors import Severity

MAXIMUM_LINE_BYTES = 4_096
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RULE = "gateway-check"


class Form(NamedTuple):
    """How a command that checks peers names its results."""

    name: str  # of the list in its JSON
    columns: tuple[tuple[str, str, str], ...]  # head of a table's column, JSON member, and the finding's attribute
    words: Mapping[Severity, str]

    def values(self, finding: Finding) -> list[Any]:
        """The finding's cells."""
        return [
            self.words[finding.severity] if attribute == "severity" else getattr(finding, attribute)
            for _, _, attribute in self.columns
        ]


class Report(NamedTuple):
    """The outcome of a command that checks peers, peer by peer."""

    findings: tuple[Finding, ...]
    form: Form

    @property
    def exit_code(self) -> ExitCode:
        """A peer that did not answer outweighs all else: without it, "nothing wrong" cannot be said."""
        severities = {one.severity for one in self.findings}
        if "unreachable" in severities:
            return ExitCode.UNAVAILABLE
        return ExitCode.FAILURE if "error" in severities else ExitCode.SUCCESS

    def as_text(self) -> str:
        """A table, and below it how many findings there are of each severity."""
        from gateway.operate.table import MAXIMUM_SENTENCE_BYTES, table  # noqa: PLC0415 - rich, for the few tables

        heads = [head for head, _, _ in self.form.columns]
        counts = Counter(self.form.words[one.severity] for one in self.findings)
        words = [word for word in dict.fromkeys(self.form.words.values()) if counts[word]]
        rows = table(heads, map(self.form.values, self.findings), MAXIMUM_SENTENCE_BYTES)
        return f"{rows}\n\n{', '.join(f'{word}: {counts[word]}' for word in words)}"

    def as_json(self) -> dict[str, Any]:
        """The exit code and all findings."""
        members = [member for _, member, _ in self.form.columns]
        findings = [dict(zip(members, self.form.values(one), strict=True)) for one in self.findings]
        return {"exit_code": self.exit_code, self.form.name: findings}


Say = Callable[[str], None]  # shows a line


def silent(_line: str) -> None:
    """Show nothing."""


def collect_all(places: Sequence[tuple[str, Iterable[Finding]]], say: Say) -> list[Finding]:
    """Collect what the checks of all places find, each in a thread, and say which are done: most wait for peers."""
    say(f"Checking {', '.join(name for name, _ in places)}; a server that does not answer takes up to half a minute.")

    def collect_one(place: tuple[str, Iterable[Finding]]) -> list[Finding]:
        findings = collect(*place)
        say(f"{place[0]}: checked")
        return findings

    return map_in_threads(collect_one, places)


def collect(peer: str, findings: Iterable[Finding]) -> list[Finding]:
    """Collect what a check of a peer finds; if the peer stops answering, the last finding says so."""
    collected = []
    try:
        for one in findings:
            collected.append(one)  # noqa: PERF402 - a comprehension would lose them when the peer stops answering
    except ConfigurationError:  # no peer is at fault
        raise
    except GatewayError as error:
        collected.append(Finding.at(peer, "answer", "unreachable", error.message, error.hint, expected="one"))
    return collected


# --- for people -------------------------------------------------------------------------------------------------------


def as_line(finding: Finding) -> str:
    """A finding as `error: asyncapi.yaml:12 #/channels/doors: message. fix.`."""
    return printable(cut(f"{finding.severity}: {finding}", MAXIMUM_LINE_BYTES))


# --- for machines -----------------------------------------------------------------------------------------------------


def as_json(value: Any) -> str:
    """JSON in ASCII: readable in every locale, also where a file name is not valid UTF-8."""
    return json.dumps(value, indent=2)


def as_sarif(findings: Iterable[Finding], folder: Path) -> str:
    """Findings of files as SARIF 2.1.0, with the files named relative to a folder."""
    rule = {"id": RULE, "shortDescription": {"text": "The gateway's contract and settings are fit to run."}}
    driver = {"name": "gateway", "version": __version__, "rules": [rule]}
    results = [_result(finding, folder) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return as_json({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(finding: Finding, folder: Path) -> dict[str, Any]:
    path = _relative(finding.source, folder)
    uri = path.as_uri() if path.is_absolute() else quote(bytes(path))
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if finding.line:
        physical["region"] = {"startLine": finding.line}
    location: dict[str, Any] = {"physicalLocation": physical}
    if finding.path:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path}]
    message = {"text": f"{finding.message} {finding.fix}".rstrip()}
    return {"ruleId": RULE, "ruleIndex": 0, "level": finding.severity, "message": message, "locations": [location]}


def as_github(finding: Finding, folder: Path) -> str:
    """A finding of a file as a GitHub workflow command."""
    properties = {"file": _relative(finding.source, folder).as_posix()}
    if finding.line:
        properties["line"] = str(finding.line)
    if finding.path:
        properties["title"] = finding.path
    written = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    return f"::{finding.severity} {written}::{_escaped(f'{finding.message} {finding.fix}'.rstrip())}"


def _escaped(text: str, more: str = "") -> str:
    """Escape what would end the command or, with `more`, the property."""
    return printable("".join(f"%{ord(one):02X}" if one in f"%\r\n{more}" else one for one in text))


def _relative(file: str, folder: Path) -> Path:
    path = Path(file)
    return path.relative_to(folder) if path.is_absolute() and path.is_relative_to(folder) else path
