"""Whole clusters of cores on one event heap, in virtual time, from one seed.

The network loses, repeats, delays and cuts; hosts pause, crash and restart from their disk; an operator fails
primaries over. The invariants are asserted with each event; then all faults stop, and the cluster has to agree
and be ok within a bound. The same seed gives the same trace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Any
from zlib import crc32

from .. import bitmap, operations
from ..config import ClusterConfig
from ..effects import Effect, Send
from ..errors import ClusterError
from ..messages import KIND_NAMES, Kind, Message
from ..prng import SplitMix
from .assembly import assemble
from .audits import Audits
from .faults import Faults
from .hosts import LAGS_MS, SimNode
from .network import Network

SETTLE_MAX_MS = 30_000.0
"""Within this time after the last fault the cluster has to be ok and of one mind."""
JOIN_MAX_MS = 20_000.0
CHECK_EVERY_MS = 20.0
LINK_LOST_MS = 0.5
"""After this a replica's host knows that its primary's process has closed the connection."""
_HASH_MASK = (1 << 64) - 1


@dataclass(slots=True)
class Report:
    """What a run came to. Outages are from the loss of a primary to its successor's taking writes."""

    events: int = 0
    messages: int = 0
    promotions: int = 0
    overlaps: int = 0
    worse_winners: int = 0
    """Elected replicas that had less data than a sibling in reach: rare, where datagrams get lost."""
    settled_ms: float = 0.0
    outages_ms: list[float] = field(default_factory=list)
    trace: str = ""


class Simulation:
    """Simulation(seed, nodes, replicas): a cluster that has not been created yet; see `create` and `run`."""

    def __init__(
        self,
        seed: int,
        nodes: int = 6,
        replicas: int = 1,
        config: ClusterConfig | None = None,
        faults: Faults | None = None,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.seed = seed
        self.rng = SplitMix(seed)
        self.now_ms = 0.0
        self.config = config or ClusterConfig()
        self.faults = faults or Faults()
        self.replicas = replicas
        self.network = Network(self, seed)
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.sequence = 0
        self.lags_ms = LAGS_MS
        self.tap: Callable[[SimNode, list[Effect]], list[Effect]] | None = None
        """Sees what a node asks for before it is done, and may change it (see `simulation.scenario`)."""
        self._report = Report()
        self._trace = trace
        self._hash = 0
        self.takeovers: set[str] = set()
        """Nodes that an operator makes primary without votes: their epochs may be taken by others, too."""
        self.audits = Audits(self)
        self._lost_at_ms: dict[str, float] = {}
        self.nodes: list[SimNode] = []
        self.by_ip: dict[str, SimNode] = {}
        for _ in range(nodes):
            self.add_node()

    def add_node(self) -> SimNode:
        """add_node() -> another host, whose process has not been started."""
        node = SimNode(self, len(self.nodes))
        self.nodes.append(node)
        self.by_ip[node.ip] = node
        self.network.connect(node)
        return node

    # The event heap

    def at(self, time_ms: float, action: Callable[..., None], *arguments: Any) -> None:
        self.sequence += 1
        heappush(self.events, (time_ms, self.sequence, action, arguments))

    def run(self, duration_ms: float) -> None:
        """Let `duration_ms` of virtual time pass."""
        until_ms = self.now_ms + duration_ms
        events = self.events
        while events and events[0][0] <= until_ms:
            self.now_ms, _, action, arguments = heappop(events)
            action(*arguments)
        self.now_ms = until_ms

    def run_until(self, condition: Callable[[], bool], limit_ms: float, what: str) -> float:
        """run_until(condition, limit_ms, what) -> milliseconds it took; AssertionError if it takes longer."""
        start_ms = self.now_ms
        while not condition():
            assert self.now_ms - start_ms < limit_ms, f"seed {self.seed}: not {what} within {limit_ms} ms"
            self.run(CHECK_EVERY_MS)
        return self.now_ms - start_ms

    @property
    def report(self) -> Report:
        report = self._report
        report.messages = self.network.messages
        report.events = self.sequence - len(self.events)
        report.trace = f"{self._hash & _HASH_MASK:016x}"
        return report

    @property
    def delays_ms(self) -> tuple[float, float]:
        """Between these bounds is how long a datagram travels while no fault delays it."""
        return self.network.delays_ms

    @delays_ms.setter
    def delays_ms(self, bounds: tuple[float, float]) -> None:
        self.network.delays_ms = bounds

    def note(self, node: SimNode, what: str, detail: str = "") -> None:
        """Add a line to the trace."""
        line = f"{self.now_ms:.3f} {node.index} {what} {detail}"
        self._hash = hash((self._hash, crc32(line.encode())))
        if self._trace is not None:
            self._trace(line)

    def saw_message(self, target: SimNode, message: Message) -> None:
        """A process reads a datagram: part of the trace, as numbers unless somebody reads along."""
        # Hashes of integers and floats, unlike those of strings, are the same in every process.
        self._hash = hash((self._hash, self.now_ms, target.index, message.kind, message.epoch, message.digest))
        if self._trace is not None:
            kind = KIND_NAMES[Kind(message.kind)]
            self._trace(f"{self.now_ms:.3f} {target.index} receives {kind} {message.sender[:6]}")

    # Hosts

    def schedule_tick(self, node: SimNode) -> None:
        node.tick_at_ms = due_ms = max(node.due_ms, self.now_ms + 0.01)
        self.at(due_ms, self._tick, node, due_ms)

    def _tick(self, node: SimNode, queued_ms: float) -> None:
        if node.tick_at_ms != queued_ms:
            return
        node.tick_at_ms = inf
        if node.core is None or node.stopped:
            return
        if node.due_ms > queued_ms:
            self.schedule_tick(node)
            return
        node.core.tick(node.clock())
        node.apply()
        if node.tick_at_ms == inf:
            self.schedule_tick(node)

    def transmit(self, source: SimNode, send: Send) -> None:
        """transmit(source, send): as if `source` had sent it."""
        self.network.transmit(source, send)

    def crash(self, node: SimNode) -> None:
        """kill -9: peers' datagrams are refused from now on."""
        if node.core is None:
            return
        self.note(node, "crashes")
        self._mourn(node)
        for other in self.nodes:
            if other.feeder is node:
                self.at(self.now_ms + LINK_LOST_MS, self._link_lost, other, node.id)
        node.crash()
        self.relink()

    def _link_lost(self, node: SimNode, primary_id: str) -> None:
        if node.running and node.core is not None:
            node.core.link_lost(primary_id, node.clock())
            node.apply()

    def restart(self, node: SimNode) -> None:
        if node.core is None:
            self.note(node, "restarts")
            self._lost_at_ms.pop(node.id, None)
            node.start()
            self.relink()

    def pause(self, node: SimNode, duration_ms: float) -> None:
        """SIGSTOP, and SIGCONT after `duration_ms`."""
        if not node.running:
            return
        self.note(node, "pauses", f"{duration_ms:.0f}")
        self._mourn(node)
        node.stopped = True
        node.stopped_at_ms = self.now_ms
        node.paused_until_ms = self.now_ms + duration_ms
        node.refresh()
        self.relink()
        self.at(node.paused_until_ms, self._resume, node, node.paused_until_ms)

    def resume(self, node: SimNode) -> None:
        """SIGCONT, before its time."""
        self._resume(node, node.paused_until_ms)

    def _resume(self, node: SimNode, until_ms: float) -> None:
        if not node.stopped or node.core is None or node.paused_until_ms != until_ms:
            return
        self.note(node, "resumes")
        self._lost_at_ms.pop(node.id, None)
        node.stopped = False
        node.resumed_at_ms = self.now_ms
        waiting, node.backlog = node.backlog, []
        for source, message in waiting:
            self.network.deliver(node, source, message)
        node.core.tick(node.clock())
        node.apply()
        self.schedule_tick(node)
        node.refresh()
        self.relink()

    def relink(self) -> None:
        """What replicas can be fed from may have changed."""
        for node in self.nodes:
            if node.following is not None:
                node.relink()

    # Partitions

    def reachable(self, source: SimNode, target: SimNode) -> bool:
        return self.network.reachable(source, target)

    def cut(self, sources: list[SimNode], targets: list[SimNode], duration_ms: float) -> None:
        """Nothing gets from `sources` to `targets` for `duration_ms`."""
        until_ms = self.now_ms + duration_ms
        self.network.cut(sources, targets, until_ms)
        self.relink()
        self.at(until_ms, self.relink)

    def heal(self) -> None:
        """End all partitions."""
        self.network.heal()
        self.relink()

    # What is checked and counted

    def _mourn(self, node: SimNode) -> None:
        if node.core is not None and node.core.myself.is_primary and node.core.myself.owned:
            self._lost_at_ms[node.id] = self.now_ms

    def on_promotion(self, node: SimNode, replaces: str) -> None:
        """A replica takes over."""
        core = node.core
        assert core is not None
        self.note(node, "promoted", str(core.myself.config_epoch))
        self._report.promotions += 1
        self.audits.promoted(node, replaces, takeover=node.id in self.takeovers)
        self.takeovers.discard(node.id)
        self._report.worse_winners += self.audits.better_than(node, replaces) > 0
        for other in self.nodes:
            if other is not node and other.serves_writes() and other.core is not None:
                self._report.overlaps += bool(other.core.myself.owned & core.myself.owned)
        if replaces in self._lost_at_ms:
            self._report.outages_ms.append(self.now_ms - self._lost_at_ms.pop(replaces))

    # A cluster's life

    def create(self) -> None:
        """Start the nodes, join them, assign slots and replicas, and wait until all is well."""
        for node in self.nodes:
            node.start()
        primaries = self.nodes[: max(1, len(self.nodes) // (self.replicas + 1))]
        share = -(-bitmap.ALL_SLOTS.bit_length() // len(primaries))
        for index, node in enumerate(self.nodes):
            core = node.core
            assert core is not None
            operations.set_config_epoch(core, index + 1, node.clock())
            if node in primaries:
                last = min((index + 1) * share, bitmap.ALL_SLOTS.bit_length())
                operations.add_slots(core, range(index * share, last), node.clock())
            if index:
                operations.meet(core, self.nodes[0].ip, 7000, None, node.clock())
            node.apply()
        self.run_until(self.agreed, JOIN_MAX_MS, "joined")
        for index, node in enumerate(self.nodes[len(primaries) :]):
            core = node.core
            assert core is not None
            primary_id = primaries[index % len(primaries)].id
            operations.replicate(core, primary_id, has_keys=False, now_ms=node.clock())
            node.apply()
        self.run_until(self.healthy, JOIN_MAX_MS, "created")

    def assemble(self, *, diskless: bool = False) -> None:
        """Be a cluster that has been there for a while, as `create` leaves it, without the joining.

        With `diskless` no node can start again.
        """
        assemble(self.nodes, self.replicas, diskless=diskless)
        self.relink()

    def agreed(self) -> bool:
        """Whether all nodes run and know the same, of all of them."""
        cores = [node.core for node in self.nodes if node.core is not None]
        return len({core.digest for core in cores}) == 1 and all(
            len(core.nodes) == len(self.nodes) for core in cores
        )

    def healthy(self) -> bool:
        """Whether all nodes agree, are ok, and each slot has one owner with an epoch of its own."""
        cores = [node.core for node in self.nodes if node.core is not None]
        if len(cores) < len(self.nodes) or not self.agreed() or not all(core.health.ok for core in cores):
            return False
        for core in cores:
            primary = core.my_primary()
            if core.failed or core.slot_map.unassigned or (primary is not None and not primary.is_primary):
                return False
        epochs = [core.myself.config_epoch for core in cores if core.myself.is_primary]
        return len(set(epochs)) == len(epochs)

    def endure(self, duration_ms: float) -> None:
        """Let the faults loose for `duration_ms`, then stop them all and wait until the cluster is well again."""
        self.network.set_faults(self.faults)
        end_ms = self.now_ms + duration_ms
        for mishap, rate in self._mishaps():
            self._plan(mishap, rate, end_ms)
        self.run(duration_ms)
        self.network.set_faults(Faults())
        self.heal()
        for node in self.nodes:
            self.restart(node)
            self.resume(node)
        self.report.settled_ms = self.run_until(self.healthy, SETTLE_MAX_MS, "well again")
        for node in self.nodes:
            assert node.core is not None
            node.core.slot_map.check(node.core.nodes.values())

    def _mishaps(self) -> list[tuple[Callable[[], None], float]]:
        faults = self.faults
        return [
            (self._crash_one, faults.crashes),
            (lambda: self.pause(self._any(), 10 ** self.rng.uniform(2, 4)), faults.pauses),
            (self._split, faults.partitions),
            (lambda: self._isolate(both=True), faults.isolations),
            (lambda: self._isolate(both=False), faults.one_way),
            (self._fail_over, faults.failovers),
        ]

    def _plan(self, mishap: Callable[[], None], per_minute: float, end_ms: float) -> None:
        if not per_minute:
            return
        due_ms = self.now_ms + self.rng.uniform(0, 120_000 / per_minute)
        if due_ms < end_ms:
            self.at(due_ms, self._strike, mishap, per_minute, end_ms)

    def _strike(self, mishap: Callable[[], None], per_minute: float, end_ms: float) -> None:
        mishap()
        self._plan(mishap, per_minute, end_ms)

    def _any(self) -> SimNode:
        return self.nodes[self.rng.randrange(len(self.nodes))]

    def _crash_one(self) -> None:
        node = self._any()
        self.crash(node)
        self.at(self.now_ms + 10 ** self.rng.uniform(2, 4.3), self.restart, node)

    def _split(self) -> None:
        near = [node for node in self.nodes if self.rng.random() < 0.5]
        far = [node for node in self.nodes if node not in near]
        duration_ms = 10 ** self.rng.uniform(2.5, 4)
        self.cut(near, far, duration_ms)
        self.cut(far, near, duration_ms)

    def _isolate(self, *, both: bool) -> None:
        node = self._any()
        duration_ms = 10 ** self.rng.uniform(2.5, 4)
        self.cut([node], self.nodes, duration_ms)
        if both:
            self.cut(self.nodes, [node], duration_ms)

    def _fail_over(self) -> None:
        node = self._any()
        if node.running and node.core is not None:
            try:
                operations.failover(node.core, "force" if self.rng.random() < 0.3 else "", node.clock())
            except ClusterError:
                return
            self.note(node, "manual failover")
            node.apply()
