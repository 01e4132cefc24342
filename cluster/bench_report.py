"""The results of `make bench` as a table on the terminal, as Markdown and as JSON. Data in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import exp, log
from statistics import fmean
from typing import Any

from rich.table import Table
from rich.text import Text

from .bench_measure import Row, median_sample

GOOD_RATIO = 1.0
FAIR_RATIO = 1.5

_HEADERS = ("test", "P", "ops/s", "p50 ms", "p99 ms", "CPU µs", "ops/s", "p50 ms", "p99 ms", "CPU µs", "CPU ratio")
_TEXT_COLUMNS = 1
_OURS_COLUMNS = range(2, 6)
_REDIS_COLUMNS = range(6, 10)


def _cells(row: Row) -> list[str]:
    cells = [row.test, str(row.pipeline)]
    for samples in (row.ours, row.redis):
        middle = median_sample(samples)
        cells += [
            f"{middle.requests_per_s:,.0f}",
            f"{middle.p50_ms:.3f}",
            f"{middle.p99_ms:.3f}",
            f"{middle.cpu_us:.2f}",
        ]
    return cells


def _owner(column: int) -> str:
    return "ours " if column in _OURS_COLUMNS else "redis " if column in _REDIS_COLUMNS else ""


def mean_ratio(rows: Sequence[Row]) -> float:
    """mean_ratio(rows) -> the geometric mean of their CPU ratios."""
    return exp(fmean(log(row.cpu_ratio) for row in rows))


def by_pipeline(rows: Sequence[Row]) -> dict[int, list[Row]]:
    """by_pipeline(rows) -> pipeline depth -> its rows, in order."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.pipeline, []).append(row)
    return groups


def render_table(rows: Sequence[Row]) -> Table:
    """render_table(rows) -> the table for a terminal: ours, Redis's, and the ratio of the CPU times."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, header in enumerate(_HEADERS):
        style = {"ours ": "cyan", "redis ": "magenta"}.get(_owner(number))
        justify: Any = "left" if number < _TEXT_COLUMNS else "right"
        table.add_column(f"{_owner(number)}\n{header}", justify=justify, style=style, no_wrap=True)
    for group in by_pipeline(rows).values():
        for row in group:
            table.add_row(*_cells(row), _ratio_text(row.cpu_ratio))
        table.add_row("mean", str(group[0].pipeline), *[""] * 8, _ratio_text(mean_ratio(group)), style="bold")
        table.add_section()
    return table


def _ratio_text(ratio: float) -> Text:
    style = "green" if ratio <= GOOD_RATIO else "yellow" if ratio <= FAIR_RATIO else "red"
    return Text(f"{ratio:.2f}", style)


def markdown(rows: Sequence[Row], environment: dict[str, Any]) -> str:
    """markdown(rows, environment) -> the same table for a README, with what it was measured on below it."""
    headers = [_owner(number) + header for number, header in enumerate(_HEADERS)]
    lines = ["| " + " | ".join(headers) + " |", "| --- |" + " ---: |" * (len(_HEADERS) - 1)]
    for group in by_pipeline(rows).values():
        lines += ["| " + " | ".join([*_cells(row), f"{row.cpu_ratio:.2f}"]) + " |" for row in group]
        lines.append(f"| **mean** | {group[0].pipeline} |" + " |" * 8 + f" **{mean_ratio(group):.2f}** |")
    return "\n".join([*lines, "", describe(environment), ""])


def describe(environment: dict[str, Any]) -> str:
    """describe(environment) -> one sentence on what was measured, and how."""
    return (
        f"pyredis-cluster {environment['pyredis_version']} on Python {environment['python']} and redis-server "
        f"{environment['redis_version']}, {environment['mode']}, without persistence, in turn on one core of "
        f"{environment['cpu']}; {environment['clients']} clients on {environment['client_cores']}, "
        f"{environment['keyspace']:,} random keys; medians of at least {environment['pairs']} runs; "
        "CPU is the server's user and system time for each operation."
    )


def as_json(rows: Sequence[Row], environment: dict[str, Any]) -> dict[str, Any]:
    """as_json(rows, environment) -> what --json writes: each row's medians, all samples, the surroundings."""
    return {
        "environment": environment,
        "rows": [
            {
                "test": row.test,
                "pipeline": row.pipeline,
                "cpu_ratio": row.cpu_ratio,
                "ours": asdict(median_sample(row.ours)),
                "redis": asdict(median_sample(row.redis)),
                "samples": {"ours": [*map(asdict, row.ours)], "redis": [*map(asdict, row.redis)]},
            }
            for row in rows
        ],
    }
