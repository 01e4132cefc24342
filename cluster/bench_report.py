"""The results of `make bench` as tables on the terminal and as a Markdown page. Data in, text out.

Law: each cell of two figures gives ours first and redis-server's second; a figure over its aim says so, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from rich.table import Table

from .bench_reasons import reason_for
from .bench_results import Figure, Row, Sample, Section, mean_ratio, median_sample

CHART_NAME = "benchmarks.svg"

_Column = tuple[str, Callable[[Row], str]]


def _pair(show: Callable[[Sample], str]) -> Callable[[Row], str]:
    return lambda row: f"{show(median_sample(row.ours))} / {show(median_sample(row.redis))}"


def _cpu(sample: Sample) -> str:
    return f"{sample.cpu_us:.2f}"


def _cpu_parts(sample: Sample) -> str:
    return f"{sample.cpu_us:.2f} ({sample.user_us:.2f} + {sample.cpu_us - sample.user_us:.2f})"


def _met(over: Sequence[str], aims: str) -> str:
    return f"**no: {', '.join(over)}**" if over else "yes" if aims else ""


def _columns(rows: Sequence[Row], detailed: bool) -> list[_Column]:
    """What there is to say about these rows: a load's parameter only where it differs."""
    columns: list[_Column] = [("test", lambda row: row.test)]
    if len({row.value_bytes for row in rows}) > 1:
        columns.append(("bytes", lambda row: f"{row.value_bytes:,}"))
    if len({row.clients for row in rows}) > 1:
        columns.append(("clients", lambda row: f"{row.clients:,}"))
    columns += [
        ("P", lambda row: str(row.pipeline)),
        ("ops/s", _pair(lambda sample: f"{sample.requests_per_s:,.0f}")),
        ("p50 ms", _pair(lambda sample: f"{sample.p50_ms:.3f}")),
        ("p99 ms", _pair(lambda sample: f"{sample.p99_ms:.3f}")),
        ("CPU µs/op (user + system)", _pair(_cpu_parts)) if detailed else ("CPU µs/op", _pair(_cpu)),
        ("CPU ratio", lambda row: f"{row.cpu_ratio:.2f}"),
    ]
    if any(row.all_cpu_ratio != row.cpu_ratio for row in rows):
        columns.append(("with replicas", lambda row: f"{row.all_cpu_ratio:.2f}"))
    if all(row.clients == 1 for row in rows):
        columns.append(("p50 ratio", lambda row: f"{row.p50_ratio:.2f}"))
    if detailed:
        columns += [("p99 ratio", lambda row: f"{row.p99_ratio:.2f}"), ("aim", lambda row: row.aims)]
    return [*columns, ("met", lambda row: _met(row.over(), row.aims))]


def by_pipeline(rows: Sequence[Row]) -> dict[int, list[Row]]:
    """by_pipeline(rows) -> pipeline depth -> its rows, in order."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.pipeline, []).append(row)
    return groups


def _row_lines(rows: Sequence[Row], detailed: bool) -> tuple[list[str], list[list[str]]]:
    """The headers, and the cells of each row; after the rows of one pipeline depth their mean."""
    columns = _columns(rows, detailed)
    headers = [header for header, _ in columns]
    ratio_at = headers.index("CPU ratio")
    lines = []
    for depth, group in by_pipeline(rows).items():
        lines += [[cell(row) for _, cell in columns] for row in group]
        mean = [""] * len(headers)
        mean[0], mean[headers.index("P")], mean[ratio_at] = "mean", str(depth), f"{mean_ratio(group):.2f}"
        lines.append(mean)
    return headers, lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _figure_lines(figures: Sequence[Figure]) -> tuple[list[str], list[list[str]]]:
    lines = []
    for figure in figures:
        cells = [figure.what, figure.unit, _number(median(figure.ours)), _number(median(figure.redis))]
        lines.append([*cells, f"{figure.ratio:.2f}", figure.aims, _met(figure.over(), figure.aims)])
    return ["what", "unit", "ours", "redis-server", "ratio", "aim", "met"], lines


def _tables(section: Section, detailed: bool) -> list[tuple[list[str], list[list[str]]]]:
    found = [_row_lines(section.rows, detailed)] if section.rows else []
    measured = [figure for figure in section.figures if figure.ours and figure.redis]
    return [*found, _figure_lines(measured)] if measured else found


def render(section: Section) -> list[Table]:
    """render(section) -> its tables for a terminal."""
    rendered = []
    for headers, lines in _tables(section, detailed=False):
        table = Table(title=section.title, title_justify="left", box=None, pad_edge=False, header_style="dim")
        for header in headers:
            table.add_column(header, no_wrap=header != "what")
        for cells in lines:
            style = "bold" if cells[0] == "mean" else "red" if any("**" in cell for cell in cells) else None
            table.add_row(*(cell.replace("**", "") for cell in cells), style=style)
        rendered.append(table)
    return rendered


def overruns(sections: Sequence[Section]) -> dict[str, list[str]]:
    """overruns(sections) -> reason -> a line for each row and figure that is over its aim for that reason."""
    found: dict[str, list[str]] = {}
    for section in sections:
        missed = [
            (f"P={row.pipeline}, {row.test}, {row.clients:,} clients, {row.value_bytes:,}-byte values", over)
            for row in section.rows
            for over in row.over()
        ]
        missed += [(each.what, over) for each in section.figures if each.ours and each.redis for over in each.over()]
        for what, over in missed:
            lines = found.setdefault(reason_for(section.name, what, over), [])
            lines.append(f"{section.title}: {what}: {over}")
    return found


def describe(environment: Mapping[str, Any]) -> str:
    """describe(environment) -> one sentence on what was measured, and how."""
    return (
        f"pyredis-cluster {environment['pyredis_version']} (data plane: {environment['data_plane']}) on Python "
        f"{environment['python']} and redis-server {environment['redis_version']}, without persistence, in turn on one "
        f"core of {environment['cpu']}, the clients on {environment['client_cores']}; {environment['keyspace']:,} "
        f"random keys; medians of up to {environment['repeats']} interleaved runs."
    )


def markdown(sections: Sequence[Section]) -> str:
    """markdown(sections) -> the page docs/benchmarks.md. A section that was measured in another way says so."""
    common = sections[0].environment
    lines = [
        "# Benchmarks",
        "",
        describe(common),
        "",
        "Each pair is ours / redis-server's; a ratio is ours by redis-server's, higher is worse. CPU is the server's, "
        "from `/proc/PID/task/*/schedstat`: on a machine that others use too it is the figure that counts, throughput "
        "and latencies say more about the neighbours. `make bench` makes this page, `make bench SECTIONS=memory` one "
        "section of it.",
        "",
    ]
    if any(section.name == "commands" for section in sections):
        lines += [f"![Server CPU time for each operation, as a multiple of redis-server's]({CHART_NAME})", ""]
    over = overruns(sections)
    lines += ["## Over its aim", *([] if over else ["", "Nothing."])]
    for reason, missed in over.items():
        lines += ["", f"The reason: {reason}.", "", *(f"- {line}" for line in missed)]
    lines.append("")
    for section in sections:
        lines += [f"## {section.title}", "", section.notes, ""]
        if section.environment != common:
            lines += [describe(section.environment), ""]
        for headers, rows in _tables(section, detailed=True):
            lines += ["| " + " | ".join(headers) + " |", "| --- |" + " --- |" * (len(headers) - 1)]
            lines += ["| " + " | ".join(cells) + " |" for cells in rows]
            lines.append("")
    return "\n".join(lines)
