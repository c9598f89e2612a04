"""The plot: two rows of bars, one for CPU and one for speed, in colours for light and dark pages.

A bar is as long as the median of the runs; the range stands beside it.
"""

from __future__ import annotations

from html import escape
from statistics import median
from typing import TYPE_CHECKING

from bench.report import spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.report import Results

NAMES = {
    "gateway": "gateway",
    "plain-go": "plain Go bridge",
    "plain-java": "Java, forwards bytes",
    "plain-python": "paho + AvroSerializer",
    "ceiling": "librdkafka alone",
}
WIDTH, LEFT, LONGEST, BAR, STEP = 720, 170, 390, 18, 26
STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.peer { fill: #8c959f; }
.own { fill: #0969da; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .peer { fill: #6e7681; }
  .own { fill: #4493f8; }
}"""


def plot(runs: Sequence[Results]) -> str:
    """Draw what each contestant took at full speed, as an SVG document."""
    found = {name: [results["versus"][name] for results in runs if name in results.get("versus", {})] for name in NAMES}
    found = {name: each for name, each in found.items() if each}
    cpu = {name: [run["microseconds"] for run in each] for name, each in found.items()}
    speed = {name: [run["readings_per_second"] for run in each] for name, each in found.items()}
    height = 2 * (STEP * (len(found) + 1) + 10) + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="CPU per reading and readings a second">\n<style>{STYLE}</style>\n'
        + _panel("CPU per reading, microseconds (less is better)", cpu, "{:.1f}", 20)
        + _panel("Readings a second (more is better)", speed, "{:,.0f}", 30 + STEP * (len(found) + 1))
        + "</svg>\n"
    )


def _panel(title: str, values: Mapping[str, Sequence[float]], form: str, top: float) -> str:
    most = max(map(median, values.values()))
    lines = [f'<text class="title" x="0" y="{top}">{escape(title)}</text>']
    for place, (name, each) in enumerate(values.items()):
        y, length = top + 10 + STEP * place, LONGEST * median(each) / most
        kind = "own" if name == "gateway" else "peer"
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(NAMES[name])}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>',
            f'<text x="{LEFT + length + 6:.1f}" y="{y + 14}">{spread(each, form)}</text>',
        ]
    return "\n".join(lines) + "\n"
