"""How a cluster looks on a terminal: tables and the slot map. Data in, rich renderables out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from pyredis_cluster.gossip.slots import SLOT_COUNT
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .bus_status import BusStatus
from .check import Findings
from .plan import ShardLayout
from .status import ClusterStatus, NodeStatus, ShardStatus

MAP_ROWS = 4
MAP_COLUMNS = 64
SLOTS_PER_CELL = SLOT_COUNT // (MAP_ROWS * MAP_COLUMNS)
SHARD_COLORS = ("cyan", "green", "magenta", "yellow", "blue", "bright_red", "bright_cyan", "bright_green")
_STATE_STYLES = {"ok": "green", "degraded": "yellow", "fail": "bold red"}
_OWNED, _MIXED, _OPEN, _UNCOVERED = "█", "▒", "◆", "·"
_SHORT_ID_LENGTH = 8
RANGES_SHOWN_MAX = 4


def shard_color(index: int) -> str:
    """shard_color(index) -> the colour of that shard in the table and in the slot map."""
    return SHARD_COLORS[index % len(SHARD_COLORS)]


def render_status(status: ClusterStatus) -> RenderableType:
    """render_status(status) -> headline, table of nodes, slot map."""
    style = _STATE_STYLES[status.state]
    shard_count = sum(1 for shard in status.shards if shard.ranges)
    headline = Text.assemble(
        "cluster ",
        (status.state, style),
        f"   {status.slots_covered} of {SLOT_COUNT} slots covered by {shard_count} shards",
        f"   epoch {status.epoch}",
    )
    table, slot_map = _status_table(status.shards), render_slot_map(status.shards)
    return Group(headline, table, slot_map, *([_bus_text(status.bus)] if status.bus is not None else []))


def _bus_text(bus: BusStatus) -> Text:
    """The bus in a few lines: what is well takes one, the last failover and trouble one each."""
    trip = "-" if bus.rtt_p99_ms is None else f"{bus.rtt_p99_ms:.1f} ms"
    text = Text(
        f"bus   round trip p99 {trip}   {bus.suspicions} suspicions, {bus.suspicions_refuted} refuted   "
        f"{bus.failures} times marked as failed   {bus.promotions} failovers"
    )
    if bus.dropped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in bus.dropped.items())
        text.append(f"\ndropped   {reasons}")
    failover = bus.last_failover
    if failover is not None:
        at = datetime.fromtimestamp(failover.at_ms / 1000).astimezone().isoformat(" ", "milliseconds")
        stages = ", ".join(f"{name.replace('_', ' ')} {at_ms:.1f}" for name, at_ms in failover.stages.items())
        text.append(
            f"\nlast failover   {failover.kind}, {failover.address} for {failover.replaced_id[:_SHORT_ID_LENGTH]}, "
            f"epoch {failover.epoch}, {at}, ms: {stages}"
        )
    for address in bus.ports_retrying:
        text.append(f"\nbus port of {address} is in use: its TCP side is not served yet", "bold red")
    return text


def _status_table(shards: Sequence[ShardStatus]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("node", "id", "role", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("slots", max_width=36)
    for name in ("keys", "memory", "ops/s", "offset", "lag"):
        table.add_column(name, justify="right", no_wrap=True)
    for index, shard in enumerate(shards):
        table.add_row(*_node_cells(shard.primary, _slots_text(shard), shard_color(index)))
        for replica in shard.replicas:
            table.add_row(*_node_cells(replica, "", shard_color(index)))
    return table


def _node_cells(node: NodeStatus, slots: str, color: str) -> list[str | Text]:
    marker = "└" if node.role == "replica" else _OWNED
    state_style = "green" if node.state == "ok" else "bold red"
    return [
        Text.assemble((f"{marker} ", color), node.address),
        node.node_id[:_SHORT_ID_LENGTH],
        node.role,
        Text(node.state, state_style),
        slots,
        format_count(node.keys),
        format_bytes(node.memory_bytes),
        format_count(node.ops_per_s),
        format_count(node.replication_offset),
        format_bytes(node.lag_bytes),
    ]


def _slots_text(shard: ShardStatus) -> str:
    ranges = [f"{first}-{last}" if last > first else str(first) for first, last in shard.ranges]
    shown = " ".join(ranges[:RANGES_SHOWN_MAX])
    if len(ranges) > RANGES_SHOWN_MAX:
        shown += f" +{len(ranges) - RANGES_SHOWN_MAX} more"
    open_count = len(shard.migrating) + len(shard.importing)
    moving = f", {open_count} open" if open_count else ""
    return f"{shown} ({shard.slot_count}{moving})" if shard.ranges else f"none{moving}"


def render_slot_map(shards: Sequence[ShardStatus]) -> Text:
    """render_slot_map(shards) -> all slots as coloured cells of SLOTS_PER_CELL slots each, and a legend.

    A cell has the colour of the shard that owns most of it.
    """
    owner_of: list[int | None] = [None] * SLOT_COUNT
    for index, shard in enumerate(shards):
        for first, last in shard.ranges:
            owner_of[first : last + 1] = [index] * (last - first + 1)
    open_slots = {slot for shard in shards for slot in (*shard.migrating, *shard.importing)}
    text = Text("\n")
    for row in range(MAP_ROWS):
        start = row * MAP_COLUMNS * SLOTS_PER_CELL
        text.append(f"{start:>6} ", "dim")
        for column in range(MAP_COLUMNS):
            low = start + column * SLOTS_PER_CELL
            cell = range(low, low + SLOTS_PER_CELL)
            text.append(*_map_cell([owner_of[slot] for slot in cell], not open_slots.isdisjoint(cell)))
        text.append("\n")
    legend = (
        f"{_OWNED} = {SLOTS_PER_CELL} slots",
        f"{_MIXED} several shards",
        f"{_OPEN} open",
        f"{_UNCOVERED} uncovered",
    )
    return text.append(" " * 7 + "   ".join(legend), "dim")


def _map_cell(owners: Sequence[int | None], has_open_slot: bool) -> tuple[str, str]:
    majority = max(set(owners), key=owners.count)
    color = "bold red" if majority is None else shard_color(majority)
    if has_open_slot:
        return _OPEN, color
    if None in owners:
        return _UNCOVERED, "bold red"
    return (_MIXED if len(set(owners)) > 1 else _OWNED), color


def render_layout(shards: Iterable[ShardLayout]) -> Table:
    """render_layout(shards) -> the table that `create` ends with."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("primary")
    table.add_column("slots")
    table.add_column("replicas")
    for index, shard in enumerate(shards):
        table.add_row(
            Text.assemble((f"{_OWNED} ", shard_color(index)), str(shard.primary)),
            f"{shard.first_slot}-{shard.last_slot} ({shard.last_slot - shard.first_slot + 1})",
            " ".join(map(str, shard.replicas)) or "none",
        )
    return table


def render_findings(findings: Findings) -> Text:
    """render_findings(findings) -> the problems and warnings, one on each line, or that there are none."""
    text = Text()
    for problem in findings.problems:
        text.append("problem  ", "bold red").append(problem + "\n")
    for warning in findings.warnings:
        text.append("warning  ", "yellow").append(warning + "\n")
    if findings.ok:
        text.append("ok  ", "green").append(
            "all slots covered, all nodes agree, no open slot, every key on the owner of its slot\n"
        )
    text.rstrip()
    return text


def format_count(number: int | None) -> str:
    """format_count(1234567) -> "1,234,567"; "-" for None."""
    return "-" if number is None else f"{number:,}"


def format_bytes(number: int | None) -> str:
    """format_bytes(1536) -> "1.5K"; "-" for None. Units of 1,024, as in INFO."""
    if number is None:
        return "-"
    size = float(number)
    for unit in ("B", "K", "M", "G"):
        if size < 1024:
            return f"{size:.0f}{unit}" if unit == "B" else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}T"
