"""What `make bench` writes: the pages that are kept here show the runs that are kept, and are what it would write."""

from __future__ import annotations

import copy

import pytest

from bench import report
from bench.plot import plot

RUNS = report.read_runs()
README = (report.ROOT / "README.md").read_text()


def test_the_pages_show_the_runs_that_are_kept() -> None:
    assert report.page(RUNS) == (report.FOLDER / "README.md").read_text()
    assert plot(RUNS) == (report.FOLDER / "bench.svg").read_text()
    assert report.readme(README, RUNS) == README


def test_a_figure_is_the_range_of_the_runs_that_measured_it() -> None:
    slower = copy.deepcopy(RUNS[0])
    slower["versus"]["gateway"]["microseconds"] = 10.5
    del slower["versus"]["plain-java"]
    lines = report.readme(README, [RUNS[0], slower, {"machine": {}}]).splitlines()
    (own, own_rate), (java, java_rate) = (
        (each["microseconds"], f"{each['readings_per_second']:,.0f}")
        for each in (RUNS[0]["versus"][name] for name in ("gateway", "plain-java"))
    )
    assert f"| this gateway | 1.0 | {own:.1f} to 10.5 µs | {own_rate} |" in lines
    title = "paho for Java + kafka-clients, forwards bytes"
    assert f"| {title} | {java / own:.1f} | {java:.1f} µs | {java_rate} |" in lines
    assert len(lines) == len(report.readme(README, [RUNS[0]]).splitlines()), "nothing else changes"


def test_a_goal_is_met_only_if_every_run_meets_it() -> None:
    slower = copy.deepcopy(RUNS[0])
    slower["start"]["first_seconds"] = 1.5
    first = "| the same, very first start | "
    quick = RUNS[0]["start"]["first_seconds"]
    assert f"{first}{quick:.2f} s | at most 1.00 s | yes |" in report.goals([RUNS[0]])
    assert f"{first}{quick:.2f} to 1.50 s | at most 1.00 s | **no** |" in report.goals([slower, RUNS[0]])


def test_a_run_of_both_modes_of_delivery_has_its_rows() -> None:
    slow, fast = ({"microseconds": cpu, "readings_per_second": rate} for cpu, rate in ((6.0, 140_000), (4.0, 200_000)))
    steady = [{"microseconds": cpu, "p50": p50, "p99": 40.0} for cpu, p50 in ((300, 14.5), (200, 4.0))]
    both = dict(zip(report.MODES, (slow, fast), strict=True)) | {
        "at_1000": dict(zip(report.MODES, steady, strict=True))
    }
    run = {"machine": {}, "once": both}
    assert report.measured(report.goals([run])).splitlines()[2:] == [
        "| exactly once, readings/s against at least once | 0.70 times | at least 0.60 times | yes |",
        "| exactly once, CPU per reading at 1,000/s against at least once | 1.50 times | at most 2.00 times | yes |",
        "| exactly once, latency at 1,000/s, p50 above at least once | 10.5 ms | at most 15.0 ms | yes |",
    ]
    assert "| `delivery: exactly_once` | 6.0 µs | 140,000 | 300 µs | 14.5 ms | 40.0 ms |" in report.once([run])


def test_a_readme_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no table of make bench: full speed"):
        report.readme(README.replace("<!-- end: full speed -->", ""), RUNS)


def test_what_was_not_measured_is_left_out_on_the_screen() -> None:
    part = {name: RUNS[0][name] for name in ("machine", "load_before", "start")}
    tables = [report.measured(table([part])) for table in report.TABLES]
    assert tables[0].count("\n") == 4, "head, rule, and the two rows of the start"
    assert tables[1:] == [""] * (len(report.TABLES) - 1)


def test_a_run_says_how_steady_the_machine_was() -> None:
    assert "| 118 to 245 ns |" in report.page([RUNS[0] | {"loop_nanoseconds": [130.4, 118.2, 244.9]}])
