"""How each mishap of a schedule is carried out on a simulated cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..prng import SplitMix
from .faults import Mishap
from .moves import SlotMove

if TYPE_CHECKING:
    from .cluster import Simulation
    from .hosts import SimNode

GROWTH_MAX = 3
"""Nodes that operators add in a run."""
MOVES_MAX = 4
"""Slot moves under way at once."""
SLOTS_MAX = 2000
"""Slots of one move."""


def perform(simulation: Simulation, mishap: Mishap) -> None:
    """perform(simulation, mishap): do it, or leave it where the cluster is in no state for it."""
    rng = SplitMix(mishap.seed)
    detail = _PERFORM[mishap.kind](simulation, rng)
    if detail is not None:
        simulation.report.mishaps[mishap.kind] += 1
        simulation.note(None, mishap.kind, f"#{mishap.number} {detail}")


def _any(simulation: Simulation, rng: SplitMix) -> SimNode:
    return simulation.nodes[rng.randrange(len(simulation.nodes))]


def _duration_ms(rng: SplitMix, low: float, high: float) -> float:
    """Between 10**low and 10**high: short ones are as likely as long ones."""
    return float(10 ** rng.uniform(low, high))


def _partition(simulation: Simulation, rng: SplitMix) -> str:
    near = [node for node in simulation.nodes if rng.random() < 0.5]
    far = [node for node in simulation.nodes if node not in near]
    duration_ms = _duration_ms(rng, 2.5, 4)
    simulation.cut(near, far, duration_ms)
    simulation.cut(far, near, duration_ms)
    return f"{[node.index for node in near]} for {duration_ms:.0f} ms"


def _one_way(simulation: Simulation, rng: SplitMix) -> str:
    node, duration_ms = _any(simulation, rng), _duration_ms(rng, 2.5, 4)
    others = [other for other in simulation.nodes if other is not node and rng.random() < 0.8]
    if rng.random() < 0.5:
        simulation.cut([node], others, duration_ms)
    else:
        simulation.cut(others, [node], duration_ms)
    return f"{node.index} for {duration_ms:.0f} ms"


def _isolation(simulation: Simulation, rng: SplitMix) -> str:
    node, duration_ms = _any(simulation, rng), _duration_ms(rng, 2.5, 4)
    simulation.cut([node], simulation.nodes, duration_ms)
    simulation.cut(simulation.nodes, [node], duration_ms)
    return f"{node.index} for {duration_ms:.0f} ms"


def _pause(simulation: Simulation, rng: SplitMix) -> str | None:
    node, duration_ms = _any(simulation, rng), _duration_ms(rng, 2, 4)
    if not node.running:
        return None
    simulation.pause(node, duration_ms)
    return f"{node.index} for {duration_ms:.0f} ms"


def _crash_then(
    change: Callable[[SimNode, SplitMix], None],
) -> Callable[[Simulation, SplitMix], str | None]:
    """The process dies, its disk changes, and it starts again."""

    def mishap(simulation: Simulation, rng: SplitMix) -> str | None:
        node, down_ms = _any(simulation, rng), _duration_ms(rng, 2, 4.3)
        if node.core is None:
            return None
        simulation.crash(node)
        change(node, rng)
        simulation.at(simulation.now_ms + down_ms, simulation.restart, node)
        return f"{node.index} for {down_ms:.0f} ms"

    return mishap


def _torn_disk(simulation: Simulation, rng: SplitMix) -> str | None:
    node = _any(simulation, rng)
    if node.core is None or not simulation.operator.may_lose(node):
        return None
    simulation.crash(node)
    node.tear_disk(rng)
    assert node.refuses_to_start(), f"{node.id} would start with a torn nodes.conf"
    simulation.operator.replace(node, machine=False)
    return str(node.index)


def _lost_disk(simulation: Simulation, rng: SplitMix) -> str | None:
    node = _any(simulation, rng)
    if node.core is None or not simulation.operator.may_lose(node):
        return None
    simulation.crash(node)
    simulation.operator.rejoin_empty(node, _duration_ms(rng, 2, 4))
    return str(node.index)


def _replacement(simulation: Simulation, rng: SplitMix) -> str | None:
    node = _any(simulation, rng)
    if not simulation.operator.may_lose(node):
        return None
    simulation.crash(node)
    simulation.operator.replace(node, machine=True)
    return str(node.index)


def _meet(simulation: Simulation, rng: SplitMix) -> str | None:
    if simulation.operator.added >= GROWTH_MAX:
        return None
    return str(simulation.operator.add().index)


def _forget(simulation: Simulation, rng: SplitMix) -> str | None:
    node = _any(simulation, rng)
    if node.core is None or node.core.myself.is_primary or not simulation.operator.may_lose(node):
        return None
    simulation.operator.remove_and_reset(node)
    return str(node.index)


def _fail_over(mode: str) -> Callable[[Simulation, SplitMix], str | None]:
    def mishap(simulation: Simulation, rng: SplitMix) -> str | None:
        replicas = [node for node in simulation.nodes if node.core is not None and not node.core.myself.is_primary]
        if not replicas:
            return None
        node = replicas[rng.randrange(len(replicas))]
        return str(node.index) if simulation.operator.fail_over(node, mode) else None

    return mishap


def _reshard(simulation: Simulation, rng: SplitMix) -> str | None:
    owners = [node for node in simulation.nodes if node.core is not None and node.core.myself.owned]
    if len(owners) < 2 or len(simulation.moves) >= MOVES_MAX:
        return None
    source = owners.pop(rng.randrange(len(owners)))
    target = owners[rng.randrange(len(owners))]
    assert source.core is not None
    slots = _some_of(source.core.myself.owned, rng)
    move = SlotMove(simulation, source, target, slots)
    if not move.start(rng.uniform(20, 2000)):
        return None
    return f"{slots.bit_count()} slots from {source.index} to {target.index}"


def _some_of(owned: int, rng: SplitMix) -> int:
    """A stretch of what is owned; now and then all of it."""
    if rng.random() < 0.1:
        return owned
    first = rng.randrange(owned.bit_length())
    stretch = owned >> first << first & (1 << first + 1 + rng.randrange(SLOTS_MAX)) - 1
    return stretch or owned & -owned


def _lie(simulation: Simulation, rng: SplitMix) -> str:
    node, duration_ms = _any(simulation, rng), _duration_ms(rng, 2, 4)
    share = 1.0 if rng.random() < 0.3 else 0.5
    observers = [other for other in simulation.nodes if other is not node and rng.random() < share]
    simulation.network.lie(observers, node, simulation.now_ms + duration_ms)
    return f"{node.index} to {[other.index for other in observers]} for {duration_ms:.0f} ms"


def _nothing(node: SimNode, rng: SplitMix) -> None:
    pass


_PERFORM: dict[str, Callable[[Simulation, SplitMix], str | None]] = {
    "partitions": _partition,
    "one_way": _one_way,
    "isolations": _isolation,
    "pauses": _pause,
    "crashes": _crash_then(_nothing),
    "old_disks": _crash_then(lambda node, rng: node.lose_unsynced()),
    "forgotten_writes": _crash_then(lambda node, rng: node.forget_last_write()),
    "torn_disks": _torn_disk,
    "lost_disks": _lost_disk,
    "replacements": _replacement,
    "meets": _meet,
    "forgets": _forget,
    "failovers": _fail_over(""),
    "forced_failovers": _fail_over("force"),
    "takeovers": _fail_over("takeover"),
    "reshards": _reshard,
    "lies": _lie,
}
