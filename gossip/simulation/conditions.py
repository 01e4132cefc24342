"""What a scenario can expect of a simulated cluster: one sentence, one predicate.

`CONDITIONS` is the language: the first pattern that fits a sentence decides it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import bitmap

if TYPE_CHECKING:
    from ..core import ClusterCore
    from .hosts import SimNode
    from .stage import Stage

Condition = Callable[[], bool]


def condition(stage: Stage, sentence: str) -> Condition:
    """condition(stage, "d is primary") -> a predicate on the present state. ValueError for other sentences."""
    negated = sentence.startswith("not ")
    for pattern, holds in CONDITIONS:
        found = re.fullmatch(pattern, sentence.removeprefix("not "))
        if found is not None:
            parts = found.groups()
            return lambda: holds(stage, *parts) is not negated
    raise ValueError(f"no such condition: {sentence}")


def slots_of(text: str) -> int:
    """slots_of("0-99,200") -> a set as in `bitmap`."""
    mask = 0
    for span in text.split(","):
        first, _, last = span.partition("-")
        mask |= bitmap.range_mask(int(first), int(last or first))
    return mask


def _cores(stage: Stage, names: str) -> list[ClusterCore]:
    """The cores of the named nodes; of those that run, for "all"."""
    if names == "all":
        return [node.core for node in stage.simulation.nodes if node.running and node.core is not None]
    return [_core(node) for node in stage.nodes(names)]


def _core(node: SimNode) -> ClusterCore:
    if node.core is None:
        raise ValueError("the process is down")
    return node.core


def _is_primary(stage: Stage, names: str) -> bool:
    return all(core.myself.is_primary and bool(core.myself.owned) for core in _cores(stage, names))


def _is_replica(stage: Stage, names: str, primary: str) -> bool:
    primary_id = stage.node(primary).id
    return all(core.myself.primary_id == primary_id for core in _cores(stage, names))


def _is_failed(stage: Stage, names: str) -> bool:
    return all(any(node.id in core.failed for core in _cores(stage, "all")) for node in stage.nodes(names))


def _takes_writes(stage: Stage, names: str) -> bool:
    return all(node.serves_writes() for node in stage.nodes(names))


def _refuses_writes(stage: Stage, names: str) -> bool:
    return not any(node.serves_writes() for node in stage.nodes(names))


def _knows(stage: Stage, names: str, other: str) -> bool:
    return all(stage.node(other).id in core.nodes for core in _cores(stage, names))


def _knows_not(stage: Stage, names: str, other: str) -> bool:
    return not any(stage.node(other).id in core.nodes for core in _cores(stage, names))


def _agree(stage: Stage, names: str) -> bool:
    return len({core.digest for core in _cores(stage, names)}) == 1


def _is_ok(stage: Stage, names: str) -> bool:
    return all(core.health.ok for core in _cores(stage, names))


def _has_writes(stage: Stage, name: str, other: str) -> bool:
    return stage.node(name).written >= stage.node(other).written


def _lacks_writes(stage: Stage, name: str, other: str) -> bool:
    return stage.node(name).written < stage.node(other).written


def _owns(stage: Stage, name: str, slots: str) -> bool:
    """By everybody's map."""
    node_id = stage.node(name).id
    mask = slots_of(slots)
    return all(node_id in core.nodes and core.nodes[node_id].owned & mask == mask for core in _cores(stage, "all"))


def _dropped(stage: Stage, names: str, reason: str) -> bool:
    return all(core.stats.dropped[reason] > 0 for core in _cores(stage, names))


def _healthy(stage: Stage) -> bool:
    return stage.simulation.healthy()


CONDITIONS: list[tuple[str, Callable[..., bool]]] = [
    (r"cluster is healthy", _healthy),
    (r"(\S+) (?:is|are) primary", _is_primary),
    (r"(\S+) (?:is|are) replicas? of (\S+)", _is_replica),
    (r"(\S+) (?:is|are) FAIL", _is_failed),
    (r"(\S+) (?:is|are) ok", _is_ok),
    (r"(\S+) agree", _agree),
    (r"(\S+) takes? writes", _takes_writes),
    (r"(\S+) refuses? writes", _refuses_writes),
    (r"(\S+) knows? (\S+)", _knows),
    (r"(\S+) (?:does|do) not know (\S+)", _knows_not),
    (r"(\S+) has the writes of (\S+)", _has_writes),
    (r"(\S+) lacks writes of (\S+)", _lacks_writes),
    (r"(\S+) owns (\S+)", _owns),
    (r"(\S+) dropped (\S+) datagrams", _dropped),
]
