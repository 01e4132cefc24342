"""What a scenario plays on: a simulated cluster with its nodes by letter, and what tampers with their datagrams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..config import ClusterConfig
from ..effects import Effect, Send
from ..messages import Kind
from ..nodes import WITNESS
from .cluster import Simulation
from .events import Observer, slots_text
from .hosts import SimNode

SEED = 1
DELAY_MS = 0.5
LAG_MS = 10.0
FULL_SYNC_MS = 50.0
NAMES = "abcdefghijklmnopqrstuvwxyz"
KEPT_MAX = 1000
"""Datagrams that `keep` copies."""
DISKS_MAX = 8
"""Versions of a nodes.conf that a restart can go back to."""


@dataclass(slots=True)
class Rule:
    """What befalls datagrams of one kind (None: any) from some nodes to some, `left` times (None: always)."""

    action: Callable[[SimNode, Send], list[Send]]
    kind: Kind | None
    sources: set[str]
    targets: set[str]
    left: int | None

    def fits(self, source: str, target: str, kind: int) -> bool:
        return (
            self.left != 0
            and source in self.sources
            and target in self.targets
            and (self.kind is None or self.kind == kind)
        )


class Stage:
    """The cluster that a scenario plays on, with its nodes by letter and what tampers with their datagrams."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.kept: list[tuple[SimNode, Send]] = []
        self.disks: dict[str, list[str]] = {}
        self.raise_curtain(ClusterConfig(), 0, 0)

    def raise_curtain(self, config: ClusterConfig, nodes: int, replicas: int) -> None:
        """Make a cluster of its own for this scenario; what is seen counts from when it is well."""
        self.simulation = Simulation(SEED, nodes, replicas, config)
        self.simulation.delays_ms = (DELAY_MS, DELAY_MS)
        self.simulation.lags_ms = (LAG_MS, LAG_MS)
        self.simulation.full_sync_ms = (FULL_SYNC_MS, FULL_SYNC_MS)
        self.observer = Observer(self._name_of, lambda: self.simulation.now_ms)
        for node in self.simulation.nodes:
            self._christen(node)
        if nodes:
            self.simulation.create()
        self.observer.begin(self.simulation.nodes)
        self.simulation.tap = self._tap

    def _christen(self, node: SimNode) -> None:
        """Ids sort as letters do, so that a reader sees which id is the smaller one."""
        node.id = f"{node.index + 1:02x}{node.id[2:]}"

    def add_node(self, *, witness: bool = False) -> SimNode:
        """A new process that knows nobody."""
        node = self.simulation.add_node()
        self._christen(node)
        node.start()
        assert node.core is not None
        if witness:
            node.core.change_self(flags=WITNESS)
            node.apply()
        return node

    def layout(self) -> list[str]:
        """layout() -> a line for each node: what it is."""
        lines = []
        for node in self.simulation.nodes:
            if node.core is not None:
                record = node.core.myself.record
                owns = f"primary of {slots_text(record.slots)} with configEpoch {record.config_epoch}"
                role = f"replica of {self._name_of(record.primary_id)}" if record.primary_id else owns
                lines.append(f"{self.name(node)}: {role}")
        return lines

    @property
    def names(self) -> str:
        return NAMES[: len(self.simulation.nodes)]

    def node(self, name: str) -> SimNode:
        if len(name) != 1 or name not in self.names:
            raise ValueError(f"no node {name!r}")
        return self.simulation.nodes[NAMES.index(name)]

    def nodes(self, names: str) -> list[SimNode]:
        """nodes("a,b") -> those; "all" means all."""
        return list(self.simulation.nodes) if names == "all" else [self.node(name) for name in names.split(",")]

    def name(self, node: SimNode) -> str:
        return NAMES[node.index]

    def _name_of(self, node_id: str) -> str:
        return next((self.name(node) for node in self.simulation.nodes if node.id == node_id), "?")

    def _tap(self, node: SimNode, effects: list[Effect]) -> list[Effect]:
        disks = self.disks.setdefault(node.id, [])
        if node.disk and (not disks or disks[-1] != node.disk):
            disks.append(node.disk)
            del disks[:-DISKS_MAX]
        self.observer.look(node, effects)
        if not self.rules:
            return effects
        done: list[Effect] = []
        for effect in effects:
            done += self._tamper(node, effect) if isinstance(effect, Send) else [effect]
        return done

    def _tamper(self, source: SimNode, send: Send) -> Sequence[Effect]:
        target = self.simulation.by_ip.get(send.address[0])
        if target is None:
            return [send]
        for rule in self.rules:
            if rule.fits(source.id, target.id, send.message.kind):
                if rule.left is not None:
                    rule.left -= 1
                return rule.action(source, send)
        return [send]
