"""Run the benchmarks: all of them into docs/bench/, or some of them onto the screen.

python -m bench                     everything; keeps the run, and writes docs/bench/ and the table of README.md
python -m bench --quick             everything with shorter runs, one of each; writes nothing
python -m bench --only versus,start some groups; writes nothing
python -m bench --only versus --keep some groups; keeps the run
"""

from __future__ import annotations

import argparse
import os
import time

from bench import figures, report
from bench.build import build_bridges
from bench.far_end import FarEnd
from bench.plot import plot
from bench.runs import GROUPS, Effort


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs, no medians")
    parser.add_argument("--only", default=",".join(GROUPS), help=f"some of: {', '.join(GROUPS)}")
    parser.add_argument("--keep", action="store_true", help="keep a run of some groups, too")
    given = parser.parse_args()
    groups = given.only.split(",")
    if unknown := [name for name in groups if name not in GROUPS]:
        parser.error(f"there is no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    results = measure(groups, is_quick=given.quick)
    tables = [write_table([results]) for write_table in report.TABLES]
    print("\n".join(filter(None, map(report.measured, tables))))
    if given.keep or (set(groups) == set(GROUPS) and not given.quick):
        report.keep(results)
        write(report.read_runs())


def measure(groups: list[str], *, is_quick: bool) -> report.Results:
    """Measure groups of rows, all against one Kafka.

    Args:
        groups: names in `GROUPS`.
        is_quick: whether short runs will do.

    Returns:
        The figures, by group.
    """
    build_bridges()
    results: report.Results = {"machine": report.machine(), "quick": is_quick, "load_before": os.getloadavg()[0]}
    loops = []
    with FarEnd() as far_end:
        for name in groups:
            loops.append(figures.loop_nanoseconds())
            began = time.monotonic()
            results[name] = GROUPS[name](far_end, Effort(is_quick=is_quick))
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    results["loop_nanoseconds"] = loops
    return results


def write(runs: list[report.Results]) -> None:
    """Write the page and the plot in docs/bench/, and the table of the README."""
    (report.FOLDER / "README.md").write_text(report.page(runs))
    (report.FOLDER / "bench.svg").write_text(plot(runs))
    front_page = report.ROOT / "README.md"
    front_page.write_text(report.readme(front_page.read_text(), runs))
    print("Written: README.md; README.md, bench.svg and a file of runs/ in docs/bench/")


if __name__ == "__main__":
    main()
