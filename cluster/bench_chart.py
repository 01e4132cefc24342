"""The bar chart of `make bench`: server CPU time for each operation as a multiple of redis-server's, as SVG.

Law: one file for light and dark pages; it needs no script, no font and no other file.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .bench_report import by_pipeline
from .bench_results import Row, median_sample

LABEL_WIDTH = 104
PANEL_WIDTH = 236
PANEL_GAP = 20
BAR_HEIGHT = 15
ROW_HEIGHT = 23
HEAD_HEIGHT = 62
FOOT_HEIGHT = 34
RATIO_SHOWN_MAX = 3.0
"""A longer bar is cut off there; its figure still says how long it would be."""

TEXT_WIDTH = 84
"""Beside the bars, for the figures."""

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .small { font-size: 11px; fill: #59636e; }
  .title { font-size: 14px; font-weight: 600; }
  .bar { fill: #0969da; }
  .over { fill: #bc4c00; }
  .one { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 4 3; }
  .base { stroke: #d1d9e0; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .small { fill: #9198a1; }
    .bar { fill: #4493f8; }
    .over { fill: #db6d28; }
    .one { stroke: #f0f6fc; }
    .base { stroke: #3d444d; }
  }"""


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{attribute}>{escape(text)}</text>'


def _line(x: float, top: float, bottom: float, kind: str) -> str:
    return f'<line x1="{x:g}" y1="{top:g}" x2="{x:g}" y2="{bottom:g}" class="{kind}"/>'


def _panel(left: float, depth: int, rows: Sequence[Row], tests: Sequence[str]) -> list[str]:
    scale = (PANEL_WIDTH - TEXT_WIDTH) / RATIO_SHOWN_MAX
    bottom = HEAD_HEIGHT + ROW_HEIGHT * len(tests)
    shapes = [
        _text(left, HEAD_HEIGHT - 12, f"-P {depth}", "title"),
        _line(left, HEAD_HEIGHT - 4, bottom, "base"),
    ]
    for row in rows:
        top = HEAD_HEIGHT + ROW_HEIGHT * tests.index(row.test)
        width = min(row.cpu_ratio, RATIO_SHOWN_MAX) * scale
        kind = "over" if row.cpu_ratio > row.cpu_ratio_max else "bar"
        shapes.append(f'<rect x="{left:g}" y="{top:g}" width="{width:.1f}" height="{BAR_HEIGHT}" class="{kind}"/>')
        figures = f"{row.cpu_ratio:.2f} · {median_sample(row.ours).cpu_us:.2f} µs"
        shapes.append(_text(left + width + 4, top + BAR_HEIGHT - 3, figures, "small"))
    return [*shapes, _line(left + scale, HEAD_HEIGHT - 4, bottom, "one")]


def chart(rows: Sequence[Row]) -> str:
    """chart(rows) -> SVG with a panel for each pipeline depth and a bar for each test."""
    groups = by_pipeline(rows)
    tests = list(dict.fromkeys(row.test for row in rows))
    width = LABEL_WIDTH + len(groups) * (PANEL_WIDTH + PANEL_GAP)
    height = HEAD_HEIGHT + ROW_HEIGHT * len(tests) + FOOT_HEIGHT
    shapes = [_text(0, 16, "Server CPU time for each operation, redis-server = 1 (dashed)", "title")]
    for number, test in enumerate(tests):
        baseline = HEAD_HEIGHT + ROW_HEIGHT * number + BAR_HEIGHT - 3
        shapes.append(_text(LABEL_WIDTH - 8, baseline, test, anchor="end"))
    for number, (depth, group) in enumerate(groups.items()):
        shapes += _panel(LABEL_WIDTH + number * (PANEL_WIDTH + PANEL_GAP), depth, group, tests)
    foot = "Shorter is better. Beside each bar: the ratio, and our microseconds. Orange: above the project's aim."
    shapes.append(_text(0, height - 10, foot, "small"))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="Server CPU time by command">',
            f"<style>{STYLE}\n</style>",
            *shapes,
            "</svg>",
            "",
        ]
    )
