"""Findings as lines, tables, JSON, SARIF and annotations: complete, and safe whatever they contain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.errors import ExitCode, Finding, GatewayError
from gateway.operate.doctor.examination import FORM
from gateway.operate.report import Report, as_github, as_line, as_sarif, collect
from gateway.operate.table import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.errors import Severity

WARNING = Finding("/plant/contract/a,b.yaml", 7, "#/x:y", "50% \n\x1b[31m[red]", "Fix it.", "warning")


@pytest.mark.parametrize(
    ("severities", "exit_code"),
    [
        ((), ExitCode.SUCCESS),
        (("ok", "unknown", "warning"), ExitCode.SUCCESS),
        (("ok", "error"), ExitCode.FAILURE),
        (("error", "unreachable", "ok"), ExitCode.UNAVAILABLE),
    ],
)
def test_report_has_the_exit_code_of_its_worst_finding(severities: tuple[Severity, ...], exit_code: ExitCode) -> None:
    """A peer that did not answer outweighs an error: what it would have shown is not known."""
    report = Report(tuple(Finding.at("kafka", "topic", one, "seen") for one in severities), FORM)
    assert report.exit_code == report.as_json()["exit_code"] == exit_code


def test_report_counts_findings_by_the_commands_own_words() -> None:
    findings = tuple(Finding.at("kafka", "topic", one, "seen") for one in ("ok", "error", "ok", "unreachable"))
    assert Report(findings, FORM).as_text().splitlines()[-1] == "ok: 2, wrong: 1, no answer: 1"


def test_collect_keeps_what_came_before_the_error() -> None:
    def findings() -> Iterator[Finding]:
        yield Finding.at("kafka", "topic", "ok", "seen")
        message, fix = "Kafka does not answer.", "Start it."
        raise GatewayError(message, fix)

    first, last = collect("kafka", findings())
    assert first.severity == "ok"
    assert (last.source, last.severity, last.message, last.fix) == (
        "kafka", "unreachable", "Kafka does not answer.", "Start it.",
    )  # fmt: skip


def test_table_aligns_numbers_and_keeps_markup_and_long_cells_on_one_line() -> None:
    """Without a terminal a row is a line, however long; what rich or a terminal would interpret is shown as it is."""
    head, row, other = table(
        ("name", "count", "next step"), [("[bold]a\n\x1b", 7, "x " * 150), ("b", 1234, "")]
    ).splitlines()
    assert head == f"{'name':<15}  {'count':>5}  next step"
    assert row.startswith("[bold]a\\n\\u001b  " + "    7  x x x")
    assert row.endswith("x x")
    assert other == f"{'b':<15}  {1234:>5}"


def test_line_of_a_finding_names_place_cause_and_fix() -> None:
    assert as_line(WARNING) == "warning: /plant/contract/a,b.yaml:7 #/x:y: 50% \\n\\u001b[31m[red] Fix it."


def test_github_annotation_is_one_command_with_a_relative_file() -> None:
    """Characters that would end the command or a property are escaped."""
    annotation = as_github(WARNING, Path("/plant"))
    assert annotation == ("::warning file=contract/a%2Cb.yaml,line=7,title=#/x%3Ay::50%25 %0A\\u001b[31m[red] Fix it.")


def test_sarif_names_file_line_and_path() -> None:
    (run,) = json.loads(as_sarif([WARNING], Path("/plant")))["runs"]
    (result,) = run["results"]
    assert result["level"] == "warning"
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "contract/a%2Cb.yaml"}, "region": {"startLine": 7},
    }  # fmt: skip
    assert location["logicalLocations"] == [{"fullyQualifiedName": "#/x:y"}]
