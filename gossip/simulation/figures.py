"""The tables (Markdown) and the plot (SVG) of what `measure` found. Pure functions of its results.

The plot is written out here, for it needs no more than lines and text; it follows the reader's colour scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

Results = dict[str, Any]
Sizes = list[Results]

WIDTH, HEIGHT = 940, 480
PANEL_WIDTH, PANEL_HEIGHT = 370, 350
LEFT, TOP, GAP = 62, 58, 98
STEEP = 80
"""A line that climbs by more than this has its name beside it."""
STYLE = """
  svg { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
  .paper { fill: #ffffff; } text { fill: #24292f; } .title { font-size: 14px; font-weight: 600; }
  .faint { fill: #57606a; } .grid { stroke: #d8dee4; } .axis { stroke: #8c959f; }
  .line { fill: none; stroke-width: 2; } .thin { stroke-dasharray: 5 4; }
  .kill { stroke: #0969da; } .freeze { stroke: #8250df; } .ours { stroke: #0969da; }
  .moving { stroke: #1a7f37; } .memberlist { stroke: #bc4c00; } .redis { stroke: #cf222e; }
  .dot.kill, .dot.ours { fill: #0969da; } .dot.freeze { fill: #8250df; } .dot.moving { fill: #1a7f37; }
  .dot.memberlist { fill: #bc4c00; } .dot.redis { fill: #cf222e; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } text { fill: #e6edf3; } .faint { fill: #9198a1; }
    .grid { stroke: #2a313c; } .axis { stroke: #656c76; }
    .kill, .ours { stroke: #58a6ff; } .freeze { stroke: #bc8cff; } .moving { stroke: #3fb950; }
    .memberlist { stroke: #f0883e; } .redis { stroke: #ff7b72; }
    .dot.kill, .dot.ours { fill: #58a6ff; } .dot.freeze { fill: #bc8cff; } .dot.moving { fill: #3fb950; }
    .dot.memberlist { fill: #f0883e; } .dot.redis { fill: #ff7b72; }
  }
"""


def tables(results: Results) -> str:
    """tables(results) -> Markdown: what there is of detection, mass failures, false positives, cost, dissemination."""
    sizes = results["sizes"]
    lifeguard, storms = results.get("lifeguard"), results.get("storms")
    parts = [
        "### Detection and outage\n\np50 / p99 in milliseconds after the event.\n\n" + _detection(sizes),
        "By the rules of others (models, see below), p50 / p99 or least to greatest:\n\n" + _others(sizes),
        "### In the Lifeguard paper's setting\n\n" + _lifeguard(lifeguard) if lifeguard else "",
        "### Half of the primaries killed at once\n\n" + _storms(storms) if storms else "",
        "### Living nodes held to be dead\n\n" + _mistakes(sizes),
        "### Cost\n\nDatagrams and bytes that each node sends in a second.\n\n" + _costs(sizes),
        "### Dissemination\n\np50 / p99 in milliseconds until all members know; a failure: after the first one does."
        "\n\n" + _spread(sizes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _detection(sizes: Sizes) -> str:
    return _table(
        ["nodes", "primary killed: first FAIL", "all know", "outage", "frozen: first FAIL", "all know", "outage",
         "replica killed: first FAIL", "all know"],
        [
            [
                size["nodes"],
                *(_range(size[kind][what]) for kind in ("kill", "freeze") for what in ("first", "all", "outage")),
                *(_range(size["kill_replica"][what]) for what in ("first", "all")),
            ]
            for size in sizes
        ],
    )  # fmt: skip


def _others(sizes: Sizes) -> str:
    return _table(
        ["nodes", "memberlist: first member declares it dead", "all know", "Redis: outage"],
        [
            [
                size["nodes"],
                "{} / {} s".format(*(f"{value:.1f}" for value in size["memberlist"]["detection_s"])),
                f"+ {size['memberlist']['spread_s']} s",
                "{} to {} s".format(*(f"{value:.1f}" for value in size["redis"]["outage_s"])),
            ]
            for size in sizes
        ],
    )


def _lifeguard(found: Results) -> str:
    detection = _table(
        [f"{found['nodes']} members", "p50", "p99", "p99.9"],
        [
            ["memberlist's rule, alpha 5: first member declares a silent one dead",
             *(f"{value:.1f} s" for value in found["detection_s"])],
            [f"here, frozen: first FAIL ({found['samples']:,} samples)",
             *(f"{value / 1000:.2f} s" for value in found["first"])],
            ["here, frozen: all know", *(f"{value / 1000:.2f} s" for value in found["all"])],
        ],
    )  # fmt: skip
    anomalies = _table(
        ["members that stop together", "for", "then run for", "never stopped, marked FAIL", "stopped, marked FAIL"],
        [
            [row["stopped"], f"{row['stop_ms'] / 1000:g} s", f"{row['run_ms'] / 1000:g} s", row["healthy"],
             row["marked"]]
            for row in found["anomalies"]
        ],
    )  # fmt: skip
    deaf = _table(
        ["nodes", "one loses of what it is sent", "it suspects/h", "it reports/h", "healthy ones marked FAIL"],
        [
            [row["nodes"], f"{row['share']:.0%}", f"{row['suspected_per_hour']:,.0f}",
             f"{row['reports_per_hour']:,.0f}", f"{row['healthy_failed']:g}"]
            for row in found["deaf"]
        ],
    )  # fmt: skip
    return "\n\n".join((detection, anomalies, deaf))


def _storms(storms: list[Results]) -> str:
    return _table(
        ["nodes", "primaries killed", "outage p50", "p99", "longest", "all say ok after", "elections",
         "datagrams per node"],
        [
            [storm["nodes"], storm["killed"],
             *(f"{storm[what]:,.0f} ms" for what in ("p50", "p99", "max", "all_ok_ms")),
             storm["elections"], f"{storm['datagrams_per_node']:,.0f}"]
            for storm in storms
        ],
    )  # fmt: skip


def _mistakes(sizes: Sizes) -> str:
    return _table(
        ["nodes", "hours", "node hours", "1 % loss: FAIL/h", "suspected/h", "5 % slow: FAIL/h", "suspected/h"],
        [
            [
                size["nodes"],
                f"{size['loss']['hours']:.2g}",
                f"{size['loss']['hours'] * size['nodes']:.2g}",
                f"{size['loss']['fail_per_hour']:g}",
                f"{size['loss']['suspected_per_hour']:,.0f}",
                f"{size['slow']['fail_per_hour']:g}",
                f"{size['slow']['suspected_per_hour']:,.0f}",
            ]
            for size in sizes
            if "loss" in size
        ],
    )


def _costs(sizes: Sizes) -> str:
    return _table(
        ["nodes", "idle", "", "10 slots move a second", "", "Redis, idle", "against ours"],
        [
            [
                size["nodes"],
                f"{size['idle']['datagrams_per_s']:.1f}/s",
                _bytes(size["idle"]["bytes_per_s"]),
                f"{size['moving']['datagrams_per_s']:.0f}/s",
                _bytes(size["moving"]["bytes_per_s"]),
                _bytes(size["redis"]["bytes_per_s"]),
                f"{size['redis']['bytes_per_s'] / size['idle']['bytes_per_s']:,.0f} times",
            ]
            for size in sizes
        ],
    )


def _spread(sizes: Sizes) -> str:
    return _table(
        ["nodes", "a join", "a slot's move", "a failure"],
        [[size["nodes"], *(_range(size[what]) for what in ("join", "slots", "failure"))] for size in sizes],
    )


def _table(head: list[str], rows: list[list[object]]) -> str:
    lines: list[Sequence[object]] = [head, ["---:"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _range(summary: dict[str, float]) -> str:
    return f"{summary['p50']:.0f} / {summary['p99']:.0f}"


def _bytes(value: float) -> str:
    if value < 1000:
        return f"{value:.0f} B/s"
    if value < 1e6:
        return f"{value / 1000:.1f} KB/s"
    return f"{value / 1e6:.1f} MB/s"


# The plot


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel: its CSS class, its name, and its points (cluster size, value).

    A thin one is dashed and bears its name above, others below.
    """

    look: str
    name: str
    points: Sequence[tuple[float, float]]
    thin: bool = False


def plot(results: Results) -> str:
    """plot(results) -> SVG: times to a promotion, and bytes a node, against the size of the cluster."""
    sizes = results["sizes"]

    def line(look: str, name: str, value: Callable[[Results], float], *, thin: bool = False) -> Line:
        return Line(look, name, [(size["nodes"], value(size)) for size in sizes], thin)

    def seconds_of(kind: str, what: str, quantile: str) -> Callable[[Results], float]:
        return lambda size: float(size[kind][what][quantile]) / 1000

    times = [
        line("redis", "Redis: outage, at least", lambda size: float(size["redis"]["outage_s"][0])),
        line("memberlist", "memberlist's rule: p50", lambda size: float(size["memberlist"]["detection_s"][0])),
        line("freeze", "primary frozen: outage p50, p99", seconds_of("freeze", "outage", "p99"), thin=True),
        line("freeze", "", seconds_of("freeze", "outage", "p50")),
        line("moving", "replica killed: all know, p99", seconds_of("kill_replica", "all", "p99"), thin=True),
        line("moving", "p50", seconds_of("kill_replica", "all", "p50")),
        line("kill", "primary killed: outage p99", seconds_of("kill", "outage", "p99"), thin=True),
        line("kill", "p50", seconds_of("kill", "outage", "p50")),
    ]
    octets = [
        line("redis", "Redis, idle", lambda size: float(size["redis"]["bytes_per_s"])),
        line("moving", "10 slots move a second", lambda size: float(size["moving"]["bytes_per_s"]), thin=True),
        line("ours", "idle", lambda size: float(size["idle"]["bytes_per_s"])),
    ]
    seconds = [(0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s"), (10.0, "10 s"), (30.0, "30 s")]
    amounts = [(10.0**power, _bytes(10**power).replace(".0", "")) for power in range(2, 8)]
    body = _panel(LEFT, "Detection and outage", times, seconds, sizes)
    body += _panel(LEFT + PANEL_WIDTH + GAP, "Bytes that a node sends in a second", octets, amounts, sizes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">\n'
        f'<style>{STYLE}</style>\n<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>\n{body}</svg>\n'
    )


def _panel(
    left: float, title: str, lines: Sequence[Line], ticks: Sequence[tuple[float, str]], sizes: Sequence[Results]
) -> str:
    """Both axes logarithmic; `ticks` are the horizontal lines, the first and last of them the limits."""
    low, high = log10(ticks[0][0]), log10(ticks[-1][0])
    first, last = log10(sizes[0]["nodes"]), log10(max(sizes[-1]["nodes"], sizes[0]["nodes"] + 1))

    def x(nodes: float) -> float:
        return round(left + (log10(nodes) - first) / (last - first) * PANEL_WIDTH, 1)

    def y(value: float) -> float:
        return round(TOP + (high - min(high, max(low, log10(value)))) / (high - low) * PANEL_HEIGHT, 1)

    out = [f'<text class="title" x="{left}" y="{TOP - 34}">{title}</text>']
    for value, label in ticks:
        out.append(f'<line class="grid" x1="{left}" x2="{left + PANEL_WIDTH}" y1="{y(value)}" y2="{y(value)}"/>')
        out.append(f'<text class="faint" x="{left - 8}" y="{y(value) + 4}" text-anchor="end">{label}</text>')
    bottom = TOP + PANEL_HEIGHT
    out.append(f'<line class="axis" x1="{left}" x2="{left + PANEL_WIDTH}" y1="{bottom}" y2="{bottom}"/>')
    for size in sizes:
        nodes = size["nodes"]
        out.append(
            f'<text class="faint" x="{x(nodes)}" y="{bottom + 18}" text-anchor="middle">{nodes:,}</text>'
        )
    middle = left + PANEL_WIDTH / 2
    out.append(f'<text class="faint" x="{middle}" y="{bottom + 38}" text-anchor="middle">nodes</text>')
    for line in lines:
        dots = [(x(nodes), y(value)) for nodes, value in line.points]
        thin = " thin" if line.thin else ""
        path = " ".join(f"{across},{down}" for across, down in dots)
        out.append(f'<polyline class="line {line.look}{thin}" points="{path}"/>')
        out.extend(f'<circle class="dot {line.look}" cx="{across}" cy="{down}" r="2.5"/>' for across, down in dots)
        across, down = dots[(len(dots) - 1) * 4 // 5]
        anchor = "middle"
        if abs(dots[-1][1] - dots[0][1]) > STEEP:
            anchor, across, down = "end", across - 8, down - 2
        else:
            down += -7 if line.thin or line.look == "redis" else 16
        out.append(f'<text x="{across}" y="{down}" text-anchor="{anchor}">{line.name}</text>')
    return "\n".join(out) + "\n"
