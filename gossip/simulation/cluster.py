"""Whole clusters of cores on one event heap, in virtual time, from one seed.

Faults strike by a schedule drawn from the seed, an operator acts in the middle, and the invariants are asserted with
the event that could break them; then all faults stop, and the cluster has to agree and be ok within a bound. The same
seed gives the same trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Any
from zlib import crc32

from .. import bitmap, operations
from ..config import ClusterConfig
from ..effects import Effect, Send
from ..messages import KIND_NAMES, Kind, Message
from ..prng import SplitMix
from .assembly import assemble
from .audits import Audits
from .faults import Faults, Mishap, draw_schedule
from .hosts import FULL_SYNC_MS, LAGS_MS, SimNode
from .ledger import Ledger
from .mishaps import perform
from .moves import SlotMove
from .network import Network
from .operator import Operator

SETTLE_MAX_MS = 45_000.0
"""Within this time after the last fault the cluster has to be ok and of one mind, and the operator content."""
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
    """How often a node began to serve slots that another one still served: a failover of a living primary."""
    worse_winners: int = 0
    """Elected replicas that had less data than a sibling in reach: rare, where datagrams get lost."""
    lost_bytes: int = 0
    """Acknowledged by primaries whose successors did not have them."""
    moves: int = 0
    mishaps: Counter[str] = field(default_factory=Counter)
    datagrams: Counter[str] = field(default_factory=Counter)
    """Datagrams that suffered each fault."""
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
        self.lags_ms, self.full_sync_ms = LAGS_MS, FULL_SYNC_MS
        self.tap: Callable[[SimNode, list[Effect]], list[Effect]] | None = None
        """Sees what a node asks for before it is done, and may change it (see `simulation.scenario`)."""
        self._report = Report()
        self._trace = trace
        self._hash = 0
        self.takeovers: set[str] = set()
        """Nodes that an operator makes primary without votes: their epochs may be taken by others, too."""
        self.audits = Audits(self)
        self.ledger = Ledger(self)
        self.operator = Operator(self)
        self.moves: list[SlotMove] = []
        self._lost_at_ms: dict[str, float] = {}
        self._born = 0
        self.nodes: list[SimNode] = []
        self.by_ip: dict[str, SimNode] = {}
        for _ in range(nodes):
            self.add_node()

    def add_node(self) -> SimNode:
        """add_node() -> another host, whose process has not been started."""
        node = SimNode(self, self._born)
        self._born += 1
        if self.faults.drift:
            node.clock_rate += SplitMix(self.seed ^ self._born << 32).uniform(-self.faults.drift, self.faults.drift)
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

    def retire(self, node: SimNode, *, machine: bool) -> None:
        """retire(node, machine): it never starts again, and with the `machine` nothing even refuses for it."""
        node.gone = machine
        self.nodes.remove(node)

    def note(self, node: SimNode | None, what: str, detail: str = "") -> None:
        """Add a line to the trace."""
        line = f"{self.now_ms:.3f} {'-' if node is None else node.index} {what} {detail}"
        self._hash = hash((self._hash, crc32(line.encode())))
        if self._trace is not None:
            self._trace(line)

    def mention(self, node: SimNode, what: str, detail: str) -> None:
        """For whoever reads along."""
        if self._trace is not None:
            self._trace(f"{self.now_ms:.3f} {node.index} {what} {detail}")

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
        if node.core is None and node in self.nodes:
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

    def stand_aside(self, node: SimNode) -> None:
        """The role of `node` changes, or is about to: its slot moves end where they can."""
        for move in list(self.moves):
            if move.source is node:
                move.stand_aside()

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
        self._report.worse_winners += self.audits.better_than(node, replaces) > 0
        self.ledger.on_promotion(node, replaces)
        self.takeovers.discard(node.id)
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
        self.run_until(lambda: self.fed() and self.healthy(), JOIN_MAX_MS, "created")

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
        """Whether all nodes agree, are ok, follow living primaries, and each slot has one owner with its own epoch."""
        cores = [node.core for node in self.nodes if node.core is not None]
        if len(cores) < len(self.nodes) or not self.agreed() or not all(core.health.ok for core in cores):
            return False
        for core in cores:
            primary = core.my_primary()
            if core.failed or core.slot_map.unassigned or bool(core.myself.primary_id) != (primary is not None):
                return False
            if primary is not None and not primary.is_primary:
                return False
        epochs = [core.myself.config_epoch for core in cores if core.myself.is_primary]
        return len(set(epochs)) == len(epochs)

    def settled(self) -> bool:
        """Whether the cluster is healthy, every replica is fed, and the operator is content."""
        return self.fed() and not self.moves and self.operator.done() and self.healthy()

    def fed(self) -> bool:
        """Whether every replica gets what its primary writes."""
        return all(node.feeder is not None for node in self.nodes if node.following is not None)

    def endure(self, duration_ms: float, schedule: Sequence[Mishap] | None = None) -> None:
        """Let the faults loose for `duration_ms`, then stop them all and wait until the cluster is well again.

        `schedule` stands in for the one that the seed gives.
        """
        if schedule is None:
            schedule = draw_schedule(self.seed, self.faults, duration_ms)
        self.network.set_faults(self.faults)
        self.operator.begin()
        for mishap in schedule:
            self.at(self.now_ms + mishap.at_ms, perform, self, mishap)
        self.run(duration_ms)
        self.note(None, "peace")
        self.network.set_faults(Faults())
        self.heal()
        for node in self.nodes:
            self.restart(node)
            self.resume(node)
        self._report.settled_ms = self.run_until(self.settled, SETTLE_MAX_MS, "well again")
        for node in self.nodes:
            assert node.core is not None
            node.core.slot_map.check(node.core.nodes.values())
