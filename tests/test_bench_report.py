"""What `make bench` writes: the pages that are kept here show one run, and are what it would write."""

from __future__ import annotations

import copy
import json

import pytest

from bench import report
from bench.plot import plot

RESULTS: report.Results = json.loads((report.FOLDER / "results.json").read_text())
README = (report.ROOT / "README.md").read_text()


def test_the_pages_show_the_run_that_is_kept() -> None:
    assert report.page(RESULTS) == (report.FOLDER / "README.md").read_text()
    assert plot(RESULTS) == (report.FOLDER / "bench.svg").read_text()
    assert report.readme(README, RESULTS) == README


def test_another_run_changes_its_figures_in_the_readme_and_nothing_else() -> None:
    other = copy.deepcopy(RESULTS)
    other["versus"]["gateway"]["microseconds"] = 4.4
    del other["versus"]["plain-java"]
    before, after = README.splitlines(), report.readme(README, other).splitlines()
    changed = [line for line, former in zip(after, before, strict=True) if line != former]
    assert changed == [
        "| this gateway | 4.4 µs | 211,814 |",
        "| paho for Java + kafka-clients, forwards bytes | not measured | not measured |",
    ]


def test_a_readme_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no table of make bench: full speed"):
        report.readme(README.replace("<!-- end: full speed -->", ""), RESULTS)


def test_what_was_not_measured_is_left_out_on_the_screen() -> None:
    part = {name: RESULTS[name] for name in ("machine", "load_before", "start")}
    tables = [report.measured(table(part)) for table in report.TABLES]
    assert tables[0].count("\n") == 4, "head, rule, and the two rows of the start"
    assert tables[1:] == [""] * (len(report.TABLES) - 1)


def test_a_run_says_how_steady_the_machine_was() -> None:
    assert "took 118 to 245 ns" in report.page(RESULTS | {"loop_nanoseconds": [130.4, 118.2, 244.9]})


def test_a_quick_run_says_so() -> None:
    assert "`make bench QUICK=1` wrote this page" in report.page(RESULTS | {"quick": True})
