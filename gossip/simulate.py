"""python -m pyredis_cluster.gossip.simulate: whole clusters of cores on one event heap, in virtual time, from one seed.

The network loses, repeats, delays and cuts; hosts pause, crash and restart from their disk; an operator fails
primaries over. The invariants are asserted with each event; then all faults stop, and the cluster has to agree
and be ok within a bound. The same seed gives the same trace.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from heapq import heappop, heappush

from . import bitmap, operations
from .assembly import assemble
from .config import ClusterConfig
from .effects import Effect, Send, Sync
from .errors import ClusterError, Dropped
from .messages import Keyring, decode, encode
from .nodes import Address
from .prng import SplitMix
from .simnode import SimNode
from .sync import SyncExchange

REPLICATION_STEP_MS = 20.0
DELAYS_MS = (0.1, 1.0)
"""How long a datagram travels while no fault delays it."""
SETTLE_MAX_MS = 30_000.0
"""Within this time after the last fault the cluster has to be ok and of one mind."""
JOIN_MAX_MS = 20_000.0
SOCKET_BUFFER_MAX = 256
"""Datagrams that wait for a paused process; later ones are lost."""


@dataclass(slots=True)
class Faults:
    """Probabilities for each datagram, and how often a minute each kind of mishap strikes the cluster."""

    loss: float = 0.0
    duplication: float = 0.0
    slow: float = 0.0
    crashes: float = 0.0
    pauses: float = 0.0
    partitions: float = 0.0
    isolations: float = 0.0
    one_way: float = 0.0
    failovers: float = 0.0

    @classmethod
    def all(cls) -> Faults:
        return cls(0.02, 0.01, 0.01, crashes=6, pauses=4, partitions=2, isolations=2, one_way=2, failovers=3)


@dataclass(slots=True)
class Report:
    """What a run came to. Outages are from the loss of a primary to its successor's taking writes."""

    events: int = 0
    messages: int = 0
    promotions: int = 0
    overlaps: int = 0
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
        self.active = Faults()
        self.replicas = replicas
        self.report = Report()
        self._keyring = Keyring([b"simulation"])
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._trace = trace
        self._hash = blake2b(digest_size=16)
        self.delays_ms = DELAYS_MS
        self.tap: Callable[[SimNode, list[Effect]], list[Effect]] | None = None
        """Sees what a node asks for before it is done, and may change it (see `simulation.scenario`)."""
        self._cut: dict[tuple[int, int], float] = {}
        self.takeovers: set[str] = set()
        """Nodes that an operator makes primary without votes: their epochs may be taken by others, too."""
        self._winners: dict[int, str] = {}
        self._lost_at_ms: dict[str, float] = {}
        self.nodes = [SimNode(self, index) for index in range(nodes)]
        self.by_ip = {node.ip: node for node in self.nodes}

    # The event heap

    def at(self, time_ms: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heappush(self._events, (time_ms, self._sequence, action))

    def run(self, duration_ms: float) -> None:
        """Let `duration_ms` of virtual time pass."""
        until_ms = self.now_ms + duration_ms
        while self._events and self._events[0][0] <= until_ms:
            self.step()
        self.now_ms = until_ms

    def step(self) -> None:
        time_ms, _, action = heappop(self._events)
        self.now_ms = max(self.now_ms, time_ms)
        self.report.events += 1
        action()

    def run_until(self, condition: Callable[[], bool], limit_ms: float, what: str) -> float:
        """run_until(condition, limit_ms, what) -> milliseconds it took; AssertionError if it takes longer."""
        start_ms = self.now_ms
        check_at_ms = start_ms
        while True:
            if self.now_ms >= check_at_ms:
                if condition():
                    return self.now_ms - start_ms
                check_at_ms = self.now_ms + 20
            assert self.now_ms - start_ms < limit_ms, f"seed {self.seed}: not {what} within {limit_ms} ms"
            self.step()

    def note(self, node: SimNode, what: str, detail: str = "") -> None:
        """Add a line to the trace."""
        line = f"{self.now_ms:.3f} {node.index} {what} {detail}"
        self._hash.update(line.encode())
        if self._trace is not None:
            self._trace(line)

    # The network

    def reachable(self, source: SimNode, target: SimNode) -> bool:
        return self._cut.get((source.index, target.index), 0.0) <= self.now_ms

    def transmit(self, source: SimNode, send: Send) -> None:
        target = self.by_ip.get(send.address[0])
        self.report.messages += 1
        data = encode(send.message, self._keyring)
        if target is None or not self.reachable(source, target) or self.rng.random() < self.active.loss:
            return
        copies = 2 if self.rng.random() < self.active.duplication else 1
        for _ in range(copies):
            self.at(self.now_ms + self._delay_ms(), lambda: self._arrive(source, target, data))

    def _delay_ms(self) -> float:
        if self.rng.random() < self.active.slow:
            return self.rng.uniform(5, 500)
        return self.rng.uniform(*self.delays_ms)

    def _arrive(self, source: SimNode, target: SimNode, data: bytes) -> None:
        if target.core is None:
            if source.running and self.reachable(target, source):
                self.at(self.now_ms + self._delay_ms(), lambda: self._refuse(source, target.address))
        elif not target.running:
            if len(target.backlog) < SOCKET_BUFFER_MAX:
                target.backlog.append((source.address, data))
        else:
            self._deliver(target, source.address, data)

    def _deliver(self, target: SimNode, source: Address, data: bytes) -> None:
        core = target.core
        assert core is not None
        message = decode(data, self._keyring)
        self.note(target, "receives", f"{message.kind} {message.sender[:6]}")
        try:
            core.receive(message, source, target.clock())
        except Dropped as dropped:
            assert dropped.reason == "unknown_sender", dropped.reason
            core.stats.dropped[dropped.reason] += 1
        target.apply()

    def _refuse(self, source: SimNode, address: Address) -> None:
        if source.running and source.core is not None:
            source.core.refused(address, source.clock())
            source.apply()

    def synchronise(self, source: SimNode, sync: Sync) -> None:
        target = self.by_ip.get(sync.address[0])
        if target is None or source.core is None:
            return
        near = SyncExchange(source.core, self._keyring, initiator=True)
        data = near.start()
        self.at(self.now_ms + self._delay_ms(), lambda: self._accept(source, target, near, data))

    def _accept(self, source: SimNode, target: SimNode, near: SyncExchange, data: bytes) -> None:
        if target.running and target.core is not None and self.reachable(source, target):
            far = SyncExchange(target.core, self._keyring, initiator=False)
            self._pass_on(source, target, near, far, data)

    def _pass_on(
        self, source: SimNode, target: SimNode, mine: SyncExchange, theirs: SyncExchange, data: bytes
    ) -> None:
        """`target` reads what `source` wrote on a stream, and its answer goes back the same way."""
        alive = target.running and theirs.core is target.core and self.reachable(source, target)
        if not alive or not data:
            return
        try:
            answer = theirs.feed(data, target.clock())
        except Dropped:
            return
        self.note(target, "syncs", str(source.index))
        target.apply()
        self.at(self.now_ms + self._delay_ms(), lambda: self._pass_on(target, source, theirs, mine, answer))

    # Hosts

    def schedule_tick(self, node: SimNode, due_ms: float) -> None:
        due_ms = max(due_ms, self.now_ms + 0.01)
        node.tick_at_ms = due_ms
        self.at(due_ms, lambda: self._tick(node, due_ms))

    def _tick(self, node: SimNode, due_ms: float) -> None:
        if node.tick_at_ms != due_ms or not node.running or node.core is None:
            return
        node.core.tick(node.clock())
        node.apply()

    def crash(self, node: SimNode) -> None:
        """kill -9: peers' datagrams are refused from now on."""
        if node.core is not None:
            self.note(node, "crashes")
            self._mourn(node)
            node.crash()

    def restart(self, node: SimNode) -> None:
        if node.core is None:
            self.note(node, "restarts")
            self._lost_at_ms.pop(node.id, None)
            node.backlog.clear()
            node.paused_until_ms = 0.0
            node.start()

    def pause(self, node: SimNode, duration_ms: float) -> None:
        """SIGSTOP, and SIGCONT after `duration_ms`."""
        if not node.running:
            return
        self.note(node, "pauses", f"{duration_ms:.0f}")
        self._mourn(node)
        node.paused_until_ms = self.now_ms + duration_ms
        self.at(node.paused_until_ms, lambda: self._resume(node))

    def resume(self, node: SimNode) -> None:
        """SIGCONT, before its time."""
        if node.core is not None and not node.running:
            node.paused_until_ms = self.now_ms
            self._resume(node)

    def _resume(self, node: SimNode) -> None:
        if not node.running or node.core is None:
            return
        self.note(node, "resumes")
        self._lost_at_ms.pop(node.id, None)
        waiting, node.backlog = node.backlog, []
        for source, data in waiting:
            self._deliver(node, source, data)
        node.core.tick(node.clock())
        node.apply()

    def cut(self, sources: list[SimNode], targets: list[SimNode], duration_ms: float) -> None:
        """Nothing gets from `sources` to `targets` for `duration_ms`."""
        for source in sources:
            for target in targets:
                self._cut[source.index, target.index] = self.now_ms + duration_ms

    def heal(self) -> None:
        """End all partitions."""
        self._cut.clear()

    def _mourn(self, node: SimNode) -> None:
        if node.core is not None and node.core.myself.is_primary and node.core.myself.owned:
            self._lost_at_ms[node.id] = self.now_ms

    def on_promotion(self, node: SimNode, replaces: str) -> None:
        """A replica takes over: nobody else may have won its epoch."""
        core = node.core
        assert core is not None
        epoch = core.myself.config_epoch
        self.note(node, "promoted", str(epoch))
        self.report.promotions += 1
        if node.id in self.takeovers:
            self.takeovers.discard(node.id)
        else:
            winner = self._winners.setdefault(epoch, node.id)
            assert winner == node.id, f"seed {self.seed}: two winners of epoch {epoch}"
        for other in self.nodes:
            if other is not node and other.serves_writes() and other.core is not None:
                self.report.overlaps += bool(other.core.myself.owned & core.myself.owned)
        if replaces in self._lost_at_ms:
            self.report.outages_ms.append(self.now_ms - self._lost_at_ms.pop(replaces))

    # A cluster's life

    def create(self) -> None:
        """Start the nodes, join them, assign slots and replicas, and wait until all is well."""
        for node in self.nodes:
            node.start()
        self.at(REPLICATION_STEP_MS, self._replication_step)
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
            operations.replicate(
                core, primaries[index % len(primaries)].id, has_keys=False, now_ms=node.clock()
            )
            node.apply()
        self.run_until(self.healthy, JOIN_MAX_MS, "created")

    def assemble(self, *, diskless: bool = False) -> None:
        """Be a cluster that has been there for a while, as `create` leaves it, without the joining.

        With `diskless` no node can start again.
        """
        assemble(self.nodes, self.replicas, diskless=diskless)
        self.at(REPLICATION_STEP_MS, self._replication_step)

    def _replication_step(self) -> None:
        for node in self.nodes:
            node.replicate()
        self.at(self.now_ms + REPLICATION_STEP_MS, self._replication_step)

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
        self.active = self.faults
        end_ms = self.now_ms + duration_ms
        for mishap, rate in self._mishaps():
            self._plan(mishap, rate, end_ms)
        self.run(duration_ms)
        self.active = Faults()
        self.heal()
        for node in self.nodes:
            self.restart(node)
            self.resume(node)
        self.report.settled_ms = self.run_until(self.healthy, SETTLE_MAX_MS, "well again")
        for node in self.nodes:
            assert node.core is not None
            node.core.slot_map.check(node.core.nodes.values())
        self.report.trace = self._hash.hexdigest()

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
            self.at(due_ms, lambda: self._strike(mishap, per_minute, end_ms))

    def _strike(self, mishap: Callable[[], None], per_minute: float, end_ms: float) -> None:
        mishap()
        self._plan(mishap, per_minute, end_ms)

    def _any(self) -> SimNode:
        return self.nodes[self.rng.randrange(len(self.nodes))]

    def _crash_one(self) -> None:
        node = self._any()
        self.crash(node)
        self.at(self.now_ms + 10 ** self.rng.uniform(2, 4.3), lambda: self.restart(node))

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


def main(arguments: list[str] | None = None) -> int:
    parser = ArgumentParser(
        prog="python -m pyredis_cluster.gossip.simulate", description="Simulate a cluster."
    )
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--replicas", type=int, default=1, help="replicas of each primary")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run, one after the other")
    parser.add_argument("--minutes", type=float, default=1.0, help="virtual minutes under faults")
    parser.add_argument("--faults", choices=["all", "none"], default="all")
    parser.add_argument("--node-timeout", type=int, default=2000, help="milliseconds")
    parser.add_argument("--voters", choices=["all", "primaries"], default="all")
    parser.add_argument("--trace", action="store_true", help="print each event")
    options = parser.parse_args(arguments)
    out = sys.stdout
    for seed in range(options.seed, options.seed + options.seeds):
        config = ClusterConfig(options.node_timeout, voters_primaries_only=options.voters == "primaries")
        faults = Faults.all() if options.faults == "all" else Faults()
        trace = (lambda line: print(line, file=out)) if options.trace else None
        simulation = Simulation(seed, options.nodes, options.replicas, config, faults, trace)
        simulation.create()
        simulation.endure(options.minutes * 60_000)
        report = simulation.report
        outages = " ".join(f"{outage_ms:.0f}" for outage_ms in report.outages_ms)
        print(
            f"seed {seed}: {report.messages} messages, {report.promotions} promotions, "
            f"well after {report.settled_ms:.0f} ms, outages [{outages}] ms, trace {report.trace}",
            file=out,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
