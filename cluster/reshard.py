"""Moving slots live, in bounded batches that each begin from what the cluster itself says.

What is done is what the target owns. A killed source or target is waited for until its shard has a primary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pyredis_cluster.client.errors import ResponseError

from .admin import Access
from .errors import ClusterUnready, MigrationFailed, NodeRefused, NodeUnreachable
from .keymover import move_slot
from .migrations import MigrationJob, cancel_jobs, list_jobs, start_job, supports_atomic
from .plan import Address, Move
from .topology import Member, Topology, read_topology
from .waiting import disagreement, wait_for

# A batch is what an interruption can cost: its slots start again from the beginning.
BATCH_SLOTS_MAX = 512
BATCH_KEYS_MAX = 100_000
# Batches that failed one after the other, without any slot moved between them.
FAILED_BATCHES_MAX = 10
# How long nothing may move at all; a failover of source or target has to fit in.
STALL_TIMEOUT_S = 60.0
AGREEMENT_TIMEOUT_S = 10.0
_RETRY_PAUSE_S = 0.25
_POLL_S = 0.02


@dataclass(slots=True)
class Progress:
    """How far a reshard is, and what happened on the way; the same object from begin to end."""

    slots_total: int
    slots_done_before: int = 0
    slots_moved: int = 0
    keys_moved: int = 0
    batches: int = 0
    elapsed_s: float = 0.0
    retries: int = 0
    events: list[str] = field(default_factory=list)

    @property
    def keys_per_s(self) -> float:
        return self.keys_moved / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Goal:
    """Where some slots are to go: to the primary of the shard that has, or had, these members."""

    shard_ids: frozenset[str]
    slots: tuple[int, ...]


def goals_of(moves: Iterable[Move], topology: Topology) -> list[Goal]:
    """goals_of(moves, topology) -> one goal for each target, which stays valid when the target fails over."""
    by_target: dict[str, list[int]] = {}
    for move in moves:
        by_target.setdefault(move.target, []).extend(move.slots)
    return [
        Goal(
            frozenset({target, *(replica.node_id for replica in topology.replicas_of(target))}),
            tuple(sorted(slots)),
        )
        for target, slots in by_target.items()
    ]


@dataclass(frozen=True, slots=True)
class Batch:
    """Slots that one owner gives to one target in one go."""

    source: Member
    target: Member
    slots: list[int]
    key_count: int


class Resharder:
    """Resharder(seeds, access, goals, tick): `run` moves everything; `tick` hears of progress."""

    def __init__(
        self,
        seeds: Sequence[Address],
        access: Access,
        goals: Sequence[Goal],
        tick: Callable[[Progress], None],
    ) -> None:
        self._seeds = list(seeds)
        self._access = access
        self._goals = goals
        self._tick = tick
        self.progress = Progress(slots_total=sum(len(goal.slots) for goal in goals))
        self._started = self._last_moved = time.monotonic()
        self._failed_batches = 0

    def run(self) -> Progress:
        """run() -> Progress, everything moved and the nodes agreed, or nearly.

        MigrationFailed when it can't go on within its bounds.
        """
        with self._read() as topology:
            self.progress.slots_done_before = self.progress.slots_total - len(self._remaining(topology))
        while not self._advance():
            pass
        self._wait_for_agreement()
        return self.progress

    def _advance(self) -> bool:
        """One look at the cluster and one batch; whether nothing was left to do."""
        with self._read() as topology:
            remaining = self._remaining(topology)
            self._note_moved(len(remaining))
            if remaining:
                self._round(topology, remaining)
        return not remaining

    def _wait_for_agreement(self) -> None:
        """All nodes, replicas too, know the new owners then; who is late redirects rightly all the same."""

        def missing() -> str | None:
            with read_topology(self._seeds, self._access) as topology:
                return disagreement(list(topology.members.values()))

        with suppress(ClusterUnready, NodeUnreachable):
            wait_for(missing, AGREEMENT_TIMEOUT_S)

    def _read(self) -> Topology:
        """The topology, as soon as some node answers."""
        while True:
            try:
                topology = read_topology(self._seeds, self._access)
            except NodeUnreachable as error:
                self._wait_for(str(error))
                continue
            # Any member may lead us back in, should the seed be the one that is killed.
            known = [member.address for member in topology.members.values()]
            self._seeds += [address for address in known if address not in self._seeds]
            return topology

    def _remaining(self, topology: Topology) -> dict[int, Goal]:
        """Slots that are not yet where they should be."""
        return {
            slot: goal for goal in self._goals for slot in goal.slots if topology.owners.get(slot) not in goal.shard_ids
        }

    def _note_moved(self, remaining_count: int) -> None:
        now = time.monotonic()
        progress = self.progress
        moved = progress.slots_total - progress.slots_done_before - remaining_count
        if moved > progress.slots_moved:
            self._last_moved = now
            self._failed_batches = 0
        progress.slots_moved = moved
        progress.elapsed_s = now - self._started
        self._tick(progress)

    def _round(self, topology: Topology, remaining: dict[int, Goal]) -> None:
        """One batch, or one wait for what has to be there first."""
        targets = {
            goal: next((m for m in topology.primaries if m.node_id in goal.shard_ids), None) for goal in self._goals
        }
        for slot, goal in remaining.items():
            target, source = targets[goal], topology.members.get(topology.owners.get(slot, ""))
            if target is not None and source is not None:
                break
        else:
            missing = "the target has no primary" if target is None else f"slot {slot} has no owner"
            self._wait_for(f"{missing} that answers")
            return
        try:
            self._move(topology, self._batch(topology, source, target, goal))
        except (NodeUnreachable, NodeRefused) as error:
            self._batch_failed(str(error))

    def _batch(self, topology: Topology, source: Member, target: Member, goal: Goal) -> Batch:
        slots = [slot for slot in goal.slots if topology.owners.get(slot) == source.node_id][:BATCH_SLOTS_MAX]
        counts = source.link.pipeline(("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots)
        taken = key_count = 0
        for count in counts:
            if isinstance(count, ResponseError):
                raise NodeRefused(source.address, "CLUSTER COUNTKEYSINSLOT", count.message)
            if taken and key_count + count > BATCH_KEYS_MAX:
                break
            taken += 1
            key_count += count
        return Batch(source, target, slots[:taken], key_count)

    def _move(self, topology: Topology, batch: Batch) -> None:
        if supports_atomic(batch.source.link):
            self._move_atomically(batch)
        else:
            self._move_by_key(topology, batch)

    def _move_atomically(self, batch: Batch) -> None:
        link = batch.source.link
        seen = list_jobs(link)
        running = [job for job in seen if job.exporting and job.active]
        if running:
            # Ours from before an interruption, or somebody else's; either way the node is busy with it.
            job = running[0]
            self._event(f"{batch.source.address} is moving {len(job.slots)} slots already: waiting for that")
            self._watch(batch, job.name, set())
            return
        start_job(link, batch.slots, batch.target.node_id)
        self.progress.batches += 1
        self._watch(batch, None, {job.name for job in seen})
        self.progress.keys_moved += batch.key_count

    def _watch(self, batch: Batch, name: str | None, before: set[str]) -> None:
        """Poll until the job, named or new since `before`, has ended. NodeRefused where it failed."""
        try:
            while True:
                job = self._find_job(list_jobs(batch.source.link), name, before, batch)
                if job is None:
                    raise NodeRefused(batch.source.address, "CLUSTER MIGRATESLOTS", "the job is gone")
                if job.succeeded:
                    return
                if job.failed:
                    text = f"{job.state}: {job.message}" if job.message else job.state
                    raise NodeRefused(batch.source.address, "CLUSTER MIGRATESLOTS", text)
                self.progress.elapsed_s = time.monotonic() - self._started
                self._tick(self.progress)
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            cancel_jobs(batch.source.link)
            raise

    @staticmethod
    def _find_job(
        jobs: Sequence[MigrationJob], name: str | None, before: set[str], batch: Batch
    ) -> MigrationJob | None:
        for job in jobs:
            if name is not None and job.name == name:
                return job
            if name is None and job.name not in before and job.slots == frozenset(batch.slots):
                return job
        return None

    def _move_by_key(self, topology: Topology, batch: Batch) -> None:
        """For nodes without atomic migration, such as Redis's: slot by slot, as redis-cli does it."""
        others = [member for member in topology.primaries if member not in (batch.source, batch.target)]

        def count_keys(number: int) -> None:
            self.progress.keys_moved += number

        self.progress.batches += 1

        for slot in batch.slots:
            move_slot(slot, batch.source, batch.target, others, False, count_keys)
            self._last_moved = time.monotonic()
            self.progress.slots_moved += 1
            self.progress.elapsed_s = self._last_moved - self._started
            self._tick(self.progress)

    def _batch_failed(self, text: str) -> None:
        self.progress.retries += 1
        self._failed_batches += 1
        if self._failed_batches >= FAILED_BATCHES_MAX:
            raise MigrationFailed(self._summary(f"{FAILED_BATCHES_MAX} attempts failed, the last one: {text}"))
        self._wait_for(text)

    def _wait_for(self, text: str) -> None:
        self._event(text)
        if time.monotonic() - self._last_moved >= STALL_TIMEOUT_S:
            raise MigrationFailed(self._summary(f"nothing moved for {STALL_TIMEOUT_S:.0f} s: {text}"))
        time.sleep(_RETRY_PAUSE_S)

    def _summary(self, text: str) -> str:
        progress = self.progress
        done = progress.slots_done_before + progress.slots_moved
        return f"{done} of {progress.slots_total} slots are at their target; {text}"

    def _event(self, text: str) -> None:
        if not self.progress.events or self.progress.events[-1] != text:
            self.progress.events.append(text)
            self._tick(self.progress)
