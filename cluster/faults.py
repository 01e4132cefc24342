"""Faults on a local cluster under load: each is inflicted, measured, and recovered from before the next.

A fault knows what it hits. Healing is waited for with a bound, and its absence is an error.
"""

from __future__ import annotations

import random
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pyredis_cluster.client.errors import ClientError

from . import processes
from .admin import Access, NodeLink
from .check import plan_repairs
from .errors import ClusterUnready, OperatorError
from .launcher import LocalCluster, LocalNode
from .load import (
    DEFAULT_RATE_PER_S,
    Acknowledged,
    RecordedLoad,
    longest_gap_s,
    lost_writes,
    make_groups,
)
from .membership import fail_over
from .plan import Move
from .reshard import Progress, Resharder, goals_of
from .topology import Member, Topology, read_topology
from .waiting import unready, wait_until_members

HEAL_TIMEOUT_S = 60.0
TAGS_EACH = 64
SEED_MAX = 2**32
RESHARD_SLOTS = 200
# So many that the move takes long enough to be hit in the middle.
RESHARD_KEYS = 20_000
RESHARD_JOIN_TIMEOUT_S = 90.0
# Time of undisturbed load after a fault: what is late shows up in it.
SETTLE_S = 0.5
WARM_UP_S = 0.3


@dataclass(slots=True)
class FaultReport:
    """What one fault did. Gaps are the longest times without a successful write, of hit and of other slots.

    At `hit_s` it began, at `served_s` all slots that were hit were written to again.
    """

    fault: str
    detail: str
    started_s: float
    hit_s: float = 0.0
    served_s: float = 0.0
    hit_gap_s: float = 0.0
    other_gap_s: float = 0.0
    heal_s: float = 0.0
    writes: int = 0
    reads: int = 0
    lost: int = 0
    failed_requests: int = 0
    doubled_slots: int = 0
    lossless: bool = False
    ended_s: float = 0.0
    errors: list[str] = field(default_factory=list)
    missing_reads: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Hit:
    """What a fault has hit: slots, and how it is undone (which may be nothing)."""

    detail: str
    slots: frozenset[int]
    recover: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Arena:
    """The cluster that faults are inflicted on, its load, and the source of their choices."""

    cluster: LocalCluster
    access: Access
    rng: random.Random = field(default_factory=random.Random)
    rate_per_s: float = DEFAULT_RATE_PER_S
    loads: list[RecordedLoad] = field(default_factory=list)
    # Not from the seed: keys that another run has left must not stand in for lost ones.
    run_id: str = field(default_factory=lambda: secrets.token_hex(4))
    # The primary that is hit first, if its id is given here.
    focus: str = ""
    hit_s: float | None = None

    def note_hit(self) -> None:
        """note_hit(): the first thing that is about to befall the cluster in this fault, if it is the first."""
        if self.hit_s is None:
            self.hit_s = time.monotonic()

    def read(self) -> Topology:
        return read_topology(self.cluster.addresses, self.access)

    def open_load(self, topology: Topology) -> RecordedLoad:
        """open_load(topology) -> a further load, not begun yet, with a writer for each shard."""
        slots: dict[str, Iterable[int]] = {str(member.address): member.myself.slots for member in topology.primaries}
        groups = make_groups(slots, f"{self.run_id}-{len(self.loads)}", TAGS_EACH)
        seed = self.rng.randrange(SEED_MAX)
        load = RecordedLoad(self.cluster.addresses, self.access, groups, self.rate_per_s, seed)
        self.loads.append(load)
        return load

    def shards(self, topology: Topology) -> list[tuple[Member, list[Member]]]:
        """shards(topology) -> primaries with slots and the replicas that could take over, in random order."""
        found = [
            (primary, topology.replicas_of(primary.node_id))
            for primary in topology.primaries
            if primary.myself.slot_count
        ]
        self.rng.shuffle(found)
        found.sort(key=lambda shard: shard[0].node_id != self.focus)
        return found

    def local(self, member: Member) -> LocalNode:
        return self.cluster.node_at(member.address.port)

    def signal(self, member: Member, number: signal.Signals) -> None:
        node = self.local(member)
        self.note_hit()
        if node.process is None or not processes.send_signal(node.process, number):
            raise OperatorError(f"{member.address} does not run")

    def kill(self, members: Iterable[Member]) -> None:
        """kill(members): SIGKILL to all at once, and wait until they are gone."""
        handles = [node.process for node in map(self.local, members) if node.process is not None]
        self.note_hit()
        processes.kill(handles)

    def restart_dead(self) -> None:
        """restart_dead(): start every node of the cluster that does not run."""
        self.cluster.start([node for node in self.cluster.nodes if not node.alive], self.access)

    def revive(self) -> None:
        """revive(): let every node go on that is frozen, and start every one that is dead."""
        for node in self.cluster.nodes:
            if node.process is not None:
                processes.send_signal(node.process, signal.SIGCONT)
        self.restart_dead()

    def wait_until_healed(self) -> None:
        """wait_until_healed(): until all nodes say ok, agree, and are in sync. ClusterUnready."""
        links = [NodeLink(address, self.access) for address in self.cluster.addresses]
        try:
            wait_until_members(links, unready, HEAL_TIMEOUT_S)
        finally:
            for link in links:
                link.close()


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault. A `lossless` one must not lose an acknowledged write.

    `shards_min` is how many shards with a replica it needs, `failovers` how many it should lead to.
    """

    name: str
    summary: str
    inflict: Callable[[Arena, Topology], Hit]
    lossless: bool = False
    shards_min: int = 1
    failovers: int = 0


def run_fault(arena: Arena, fault: Fault) -> FaultReport:
    """run_fault(arena, fault) -> FaultReport, when the cluster is whole again. OperatorError if it does not heal."""
    with arena.read() as topology, arena.open_load(topology) as load:
        time.sleep(WARM_UP_S)
        groups = [frozenset(member.myself.slots) for member in topology.primaries if member.myself.slot_count]
        report = FaultReport(fault.name, "", time.monotonic(), lossless=fault.lossless)
        arena.hit_s = None
        hit = fault.inflict(arena, topology)
        report.hit_s = report.started_s if arena.hit_s is None else arena.hit_s
        _await_writes(load, [slots & hit.slots for slots in groups])
        report.served_s = time.monotonic()
        hit.recover()
        arena.wait_until_healed()
        report.heal_s = time.monotonic() - report.served_s
        time.sleep(SETTLE_S)
        report.detail, report.ended_s = hit.detail, time.monotonic()
    _measure(arena, load, report, hit, groups)
    return report


def _await_writes(load: RecordedLoad, groups: Iterable[frozenset[int]]) -> None:
    for slots in groups:
        if slots:
            try:
                load.probe(slots)
            except ClientError as error:
                raise ClusterUnready(f"the slots that were hit can't be written to: {error}") from error


def _measure(arena: Arena, load: RecordedLoad, report: FaultReport, hit: Hit, groups: list[frozenset[int]]) -> None:
    since, until = report.started_s, report.ended_s
    writes = load.acknowledged()
    report.writes, report.reads, report.failed_requests = len(writes), load.read_count, load.error_count
    report.errors = [text for _, text in load.errors]
    report.missing_reads = load.missing_reads
    for slots in groups:
        for part, attribute in ((slots & hit.slots, "hit_gap_s"), (slots - hit.slots, "other_gap_s")):
            if any(write.slot in part for write in writes):
                gap = longest_gap_s(writes, part, since, until)
                setattr(report, attribute, max(getattr(report, attribute), gap))
    with arena.read() as topology:
        report.lost = len(find_lost(topology, writes))
        report.doubled_slots = len(plan_repairs(topology))


def find_lost(topology: Topology, writes: Sequence[Acknowledged]) -> list[Acknowledged]:
    """find_lost(topology, writes) -> those whose key its slot's primary does not have."""
    links = {slot: topology.members[owner].link for slot, owner in topology.owners.items()}
    return lost_writes(writes, links)


def remove_keys(topology: Topology, writes: Iterable[Acknowledged]) -> None:
    """remove_keys(topology, writes): take the keys of these writes off the cluster."""
    by_owner: dict[str, list[str]] = {}
    for write in writes:
        by_owner.setdefault(topology.owners[write.slot], []).append(write.key)
    for owner, keys in by_owner.items():
        topology.members[owner].link.pipeline(("UNLINK", key) for key in keys)


def _slots(members: Iterable[Member]) -> frozenset[int]:
    return frozenset(slot for member in members for slot in member.myself.slots)


def _names(members: Iterable[Member]) -> str:
    return " and ".join(str(member.address) for member in members)


def with_replica(arena: Arena, topology: Topology, count: int) -> list[Member]:
    """with_replica(arena, topology, count) -> primaries of different shards, each with a replica in sync."""
    fit = [primary for primary, replicas in arena.shards(topology) if any(r.link_up for r in replicas)]
    if len(fit) < count:
        raise OperatorError(f"{count} shards with a replica in sync are needed, there are {len(fit)}")
    return fit[:count]


def _kill_primary(arena: Arena, topology: Topology) -> Hit:
    victims = with_replica(arena, topology, 1)
    arena.kill(victims)
    return Hit(_names(victims), _slots(victims), arena.restart_dead)


def _kill_two_primaries(arena: Arena, topology: Topology) -> Hit:
    victims = with_replica(arena, topology, 2)
    arena.kill(victims)
    return Hit(_names(victims), _slots(victims), arena.restart_dead)


def _kill_replica(arena: Arena, topology: Topology) -> Hit:
    victim = topology.replicas_of(with_replica(arena, topology, 1)[0].node_id)[0]
    arena.kill([victim])
    return Hit(_names([victim]), frozenset(), arena.restart_dead)


def _kill_primary_and_replica(arena: Arena, topology: Topology) -> Hit:
    primary, other = with_replica(arena, topology, 2)
    replica = topology.replicas_of(other.node_id)[0]
    arena.kill([primary, replica])
    return Hit(_names([primary, replica]), _slots([primary]), arena.restart_dead)


def _freeze_primary(arena: Arena, topology: Topology) -> Hit:
    victims = with_replica(arena, topology, 1)
    arena.signal(victims[0], signal.SIGSTOP)
    return Hit(_names(victims), _slots(victims), lambda: arena.signal(victims[0], signal.SIGCONT))


def _restart_primary(arena: Arena, topology: Topology) -> Hit:
    victims = with_replica(arena, topology, 1)
    arena.note_hit()
    arena.cluster.stop([arena.local(victims[0])])
    arena.restart_dead()
    return Hit(_names(victims), _slots(victims))


def _fail_over(arena: Arena, topology: Topology) -> Hit:
    primary = with_replica(arena, topology, 1)[0]
    arena.note_hit()
    promoted = fail_over(topology, primary, None)
    return Hit(f"{primary.address} to {promoted.address}", _slots([primary]))


class _BackgroundReshard:
    """A reshard in a thread, so that something can be killed in the middle of it."""

    def __init__(self, arena: Arena, topology: Topology, source: Member, target: Member) -> None:
        # Half of the slots that the load writes to are among them, so that it notices every pause.
        written = [slot for slot in topology.owned[source.node_id] if slot in arena.loads[-1].slots]
        others = [slot for slot in topology.owned[source.node_id] if slot not in arena.loads[-1].slots]
        chosen = written[: len(written) // 2]
        chosen += others[: RESHARD_SLOTS - len(chosen)]
        move = Move(source.node_id, target.node_id, tuple(sorted(chosen)))
        self.slots = frozenset(move.slots)
        arena.loads[-1].write_ballast(source.link, self.slots, RESHARD_KEYS)
        self._failure: OperatorError | None = None
        self._underway = threading.Event()
        self._resharder = Resharder(arena.cluster.addresses, arena.access, goals_of([move], topology), self._tick)
        self._thread = threading.Thread(target=self._run, name="reshard")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._resharder.run()
        except OperatorError as error:
            self._failure = error
        finally:
            self._underway.set()

    def _tick(self, progress: Progress) -> None:
        if progress.batches:
            self._underway.set()

    def wait_until_underway(self) -> None:
        if not self._underway.wait(RESHARD_JOIN_TIMEOUT_S):
            raise ClusterUnready("the reshard did not begin")

    def finish(self) -> None:
        """finish(): wait for the end; raises what made it fail."""
        self._thread.join(RESHARD_JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            raise ClusterUnready(f"the reshard did not end within {RESHARD_JOIN_TIMEOUT_S:.0f} s")
        if self._failure is not None:
            raise self._failure


def _reshard(arena: Arena, topology: Topology) -> Hit:
    source, target = with_replica(arena, topology, 2)
    reshard = _BackgroundReshard(arena, topology, source, target)
    reshard.finish()
    return Hit(f"{RESHARD_SLOTS} slots from {source.address} to {target.address}", reshard.slots)


def _reshard_and_kill_source(arena: Arena, topology: Topology) -> Hit:
    source, target = with_replica(arena, topology, 2)
    return _reshard_with_kill(arena, topology, source, target, source)


def _reshard_and_kill_target(arena: Arena, topology: Topology) -> Hit:
    source, target = with_replica(arena, topology, 2)
    return _reshard_with_kill(arena, topology, source, target, target)


def _reshard_with_kill(arena: Arena, topology: Topology, source: Member, target: Member, victim: Member) -> Hit:
    reshard = _BackgroundReshard(arena, topology, source, target)
    reshard.wait_until_underway()
    arena.kill([victim])

    def recover() -> None:
        reshard.finish()
        arena.restart_dead()

    detail = f"{RESHARD_SLOTS} slots from {source.address} to {target.address}, {victim.address} killed"
    return Hit(detail, _slots([victim]), recover)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill-primary", "kill -9 a primary", _kill_primary, failovers=1),
        Fault("kill-replica", "kill -9 a replica", _kill_replica, lossless=True),
        Fault(
            "kill-both",
            "kill -9 a primary and a replica of different shards",
            _kill_primary_and_replica,
            shards_min=2,
            failovers=1,
        ),
        Fault("kill-two", "kill -9 two primaries at once", _kill_two_primaries, shards_min=3, failovers=2),
        Fault("freeze", "SIGSTOP a primary until it is replaced, then SIGCONT", _freeze_primary, failovers=1),
        Fault("restart", "stop a primary with SIGTERM and start it again", _restart_primary, failovers=1),
        Fault("reshard", f"move {RESHARD_SLOTS} slots", _reshard, lossless=True, shards_min=2),
        Fault(
            "reshard-kill-source",
            f"move {RESHARD_SLOTS} slots, kill -9 the source meanwhile",
            _reshard_and_kill_source,
            shards_min=2,
            failovers=1,
        ),
        Fault(
            "reshard-kill-target",
            f"move {RESHARD_SLOTS} slots, kill -9 the target meanwhile",
            _reshard_and_kill_target,
            shards_min=2,
            failovers=1,
        ),
        Fault("failover", "CLUSTER FAILOVER", _fail_over, lossless=True, failovers=1),
    )
}
