"""One simulated host: a ClusterCore, its disk, and a data set that is a matter of offsets.

It carries out the core's effects as a driver would, and keeps what `audits` and `ledger` judge by.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from .. import effects
from ..core import ClusterCore
from ..effects import Effect, Send
from ..errors import CorruptedConfig
from ..messages import Message
from ..nodes import Address, NodeRecord
from ..nodesconf import SavedState, load
from ..prng import SplitMix
from .dataset import DataSet

if TYPE_CHECKING:
    from .cluster import Simulation

BUS_PORT = 17000
LAGS_MS = (0.5, 20.0)
"""How far a linked replica is behind."""
CONNECT_MS = (1.0, 30.0)
"""How long a replica takes for a partial sync."""
FULL_SYNC_MS = (50.0, 1000.0)
WRITE_RATES = (0.5, 2.0)
"""Bytes a millisecond that clients write to a primary."""


class SimNode:
    """Host number `index` of a simulation. `core` is None while the process is down."""

    def __init__(self, simulation: Simulation, index: int) -> None:
        self.simulation = simulation
        self.index = index
        self.ip = f"10.0.{index >> 8}.{index & 255}"
        self.address: Address = (self.ip, BUS_PORT)
        self.rng = SplitMix(simulation.rng.getrandbits(64))
        self.id = self.rng.getrandbits(160).to_bytes(20, "big").hex()
        self.disk = ""
        self._disk_synced = self._disk_before = ""
        self.diskless = False
        self.core: ClusterCore | None = None
        self.stopped = False
        self.stopped_at_ms = self.paused_until_ms = 0.0
        self.resumed_at_ms = -inf
        self.due_ms = self.tick_at_ms = inf
        self._deadline_ms = inf
        self.clock_offset_ms = self.rng.random() * 1e6
        self.clock_rate = 1.0
        self.gone = False
        """Whether the machine itself is gone: nothing refuses for it."""
        self.votes: dict[int, Address] = {}
        """Whom it voted for, whatever it remembers."""
        self.acks: dict[int, set[str]] = {}
        """Votes that were delivered to it."""
        self.took_over_epoch = -1
        self.epoch_floor = 0
        self._marks = 0
        self.persisted_vote = 0
        self.backlog: list[tuple[Address, Message]] = []
        self.data = DataSet(index)
        self.served = self.held = 0
        """The slots that it takes writes to, and those that a move holds back."""
        self._shard = ""
        self._performing = self._again = False
        self._data_rng = SplitMix(simulation.seed << 16 ^ index)
        """Not the core's: what it decides does not depend on how its data flows."""
        self.bytes_per_ms = self._data_rng.uniform(*WRITE_RATES)
        self.following: tuple[str, str] | None = None
        """The IP address and the id of the primary that it is to be fed by."""
        self.feeder: SimNode | None = None
        """The primary whose stream this replica is being fed."""
        self.stalled = False
        self._saved_history: tuple[str, int] | None = None
        """What the RDB says of whose data it holds."""
        self._link_attempt = 0
        self._link_down_ms = 0.0
        self.writes_paused_until_ms = 0.0
        self._handlers = self._effect_handlers()

    # What the core asks the data plane

    def offset(self) -> int:
        return self.data.offset_at(self.simulation.now_ms)

    def in_sync(self) -> bool:
        return self.feeder is not None

    def handing_over(self) -> bool:
        return any(move.source is self and move.handing_over for move in self.simulation.moves)

    def age_ms(self) -> float:
        if self.feeder is None:
            return self.simulation.now_ms - self._link_down_ms
        return self.simulation.now_ms - self.feeder.stopped_at_ms if self.feeder.stopped else 0.0

    # Life and death

    @property
    def running(self) -> bool:
        """Whether the process runs and is not stopped."""
        return self.core is not None and not self.stopped

    def clock(self) -> float:
        """clock() -> this host's own milliseconds, which begin somewhere and may run fast or slow."""
        return self.simulation.now_ms * self.clock_rate + self.clock_offset_ms

    def start(self, saved: SavedState | None = None) -> None:
        """Start the process, with `saved` or else with what its disk holds. CorruptedConfig if that is no good."""
        if saved is None and self.disk:
            saved = load(self.disk)
        record = saved.records[saved.my_id] if saved else self._fresh_record()
        self.epoch_floor = saved.current_epoch if saved else 0
        self._link_down_ms = self.simulation.now_ms
        self.core = ClusterCore(self.simulation.config, record, self.rng, self.clock(), self, saved)
        if self._saved_history is not None:
            self.core.roles.recall(*self._saved_history)
        self._marks = self.core.stats.failures
        self.simulation.audits.restored(self)
        self.following = None
        self._deadline_ms = inf
        self.apply()

    def _fresh_record(self) -> NodeRecord:
        shard = self.rng.getrandbits(160).to_bytes(20, "big").hex()
        return NodeRecord(self.id, ip=self.ip, port=7000, bus_port=BUS_PORT, shard_id=shard)

    def renamed(self) -> None:
        """The core is another node from now on (CLUSTER RESET HARD)."""
        assert self.core is not None
        self.id = self.core.myself.id
        self._be_new_voter()

    def _be_new_voter(self) -> None:
        self.votes.clear()
        self.acks.clear()
        self.epoch_floor = self.persisted_vote = 0
        self.took_over_epoch = -1

    def be_new(self) -> None:
        """The disk is lost, and with it the identity."""
        assert self.core is None
        self.simulation.ledger.on_destroyed(self)
        self.data.clear(self.simulation.now_ms)
        self._saved_history = None
        self.disk = self._disk_synced = self._disk_before = ""
        self.id = self._data_rng.getrandbits(160).to_bytes(20, "big").hex()
        self._be_new_voter()

    def shard(self) -> str:
        """shard() -> the id of the primary that it follows, or its own; of the last process if none runs."""
        if self.core is not None:
            self._shard = self.core.myself.primary_id or self.id
        return self._shard

    def crash(self) -> None:
        self.shard()
        self._saved_history = self.core.roles.history() if self.core is not None else None
        self.core = None
        self.stopped = False
        self.due_ms = inf
        self.writes_paused_until_ms = 0.0
        self.backlog.clear()
        self.refresh()

    # The disk

    def has_disk(self) -> bool:
        return bool(self.disk)

    def lose_unsynced(self) -> None:
        """lose_unsynced(): the host dies before what was written last without fsync reached the disk."""
        self.disk = self._disk_synced

    def forget_last_write(self) -> None:
        """forget_last_write(): as lose_unsynced, but even an fsync was in vain."""
        self.disk = self._disk_synced = self._disk_before
        self.epoch_floor = 0

    def tear_disk(self, rng: SplitMix) -> None:
        """tear_disk(rng): nodes.conf ends somewhere in the middle."""
        self.disk = self.disk[: 1 + rng.randrange(len(self.disk) - 1)]

    def refuses_to_start(self) -> bool:
        """refuses_to_start() -> whether a process would not accept the disk."""
        try:
            load(self.disk)
        except CorruptedConfig:
            return True
        return False

    # Effects

    def apply(self) -> None:
        """Carry out what the core asks for, until it asks for nothing."""
        if self._performing:
            self._again = True
            return
        self._performing = True
        try:
            self._apply()
            while self._again:
                self._again = False
                self._apply()
        finally:
            self._performing = False

    def _apply(self) -> None:
        core = self.core
        assert core is not None
        simulation = self.simulation
        wanted = core.take_effects()
        if simulation.tap is not None:
            wanted = simulation.tap(self, wanted)
        for effect in wanted:
            if effect.__class__ is Send:
                simulation.transmit(self, effect)
            else:
                self._handlers[effect.__class__](effect)
        if core.stats.failures != self._marks:
            self._marks = core.stats.failures
            self.simulation.audits.marked(self)
        if core.current_epoch != self.epoch_floor:
            assert core.current_epoch > self.epoch_floor, f"{self.id}: the epoch fell"
            self.epoch_floor = core.current_epoch
        deadline_ms = core.next_deadline_ms()
        if deadline_ms != self._deadline_ms:
            self._deadline_ms = deadline_ms
            self.due_ms = (deadline_ms - self.clock_offset_ms) / self.clock_rate
            if self.due_ms < self.tick_at_ms:
                self.simulation.schedule_tick(self)

    def _effect_handlers(self) -> dict[type[Effect], Callable[[Any], None]]:
        ignore: Callable[[Any], None] = lambda effect: None  # noqa: E731
        return {
            effects.Persist: self._persist,
            effects.Sync: lambda sync: self.simulation.network.synchronise(self, sync),
            effects.BecomePrimary: self._become_primary,
            effects.BecomeReplica: self._become_replica,
            effects.PauseWrites: self._pause_writes,
            effects.ResumeWrites: self._resume_writes,
            effects.StateChanged: self._state_changed,
            effects.SlotMapChanged: lambda effect: self.refresh(),
            effects.DropData: lambda effect: self.data.clear(self.simulation.now_ms),
            effects.SlotsLost: ignore,
            effects.Log: ignore,
        }

    def _persist(self, effect: effects.Persist) -> None:
        assert self.core is not None
        if not self.diskless:
            self._disk_before, self.disk = self.disk, effect.render()
            if effect.durable:
                self._disk_synced = self.disk
        self.persisted_vote = self.core.last_vote_epoch

    def check_vote(self, address: Address, epoch: int) -> None:
        """check_vote(address, epoch): what tells that this host votes for that one is about to be sent."""
        assert self.persisted_vote >= epoch, f"{self.id}: a vote in epoch {epoch} was sent before it was saved"
        voted_for = self.votes.setdefault(epoch, address)
        assert voted_for == address, f"{self.id}: a second vote in epoch {epoch}"

    def check_candidacy(self, epoch: int) -> None:
        """check_candidacy(epoch): this host asks for votes; if it votes for itself, that is one like any other."""
        if self.core is not None and self.core.voter.voted_for(epoch) == self.id:
            self.check_vote(self.address, epoch)

    def _state_changed(self, effect: effects.StateChanged) -> None:
        assert self.core is not None
        self.simulation.note(self, "state", "ok" if effect.ok else self.core.health.reason)
        self.refresh()

    # The data plane, as far as the control plane can see it

    @property
    def written(self) -> int:
        """The offset that this host's data set has now."""
        return self.offset()

    def failover_paused(self) -> bool:
        """Whether a manual failover holds writes back."""
        return self.clock() < self.writes_paused_until_ms

    def serves_writes(self) -> bool:
        core = self.core
        return (
            core is not None
            and not self.stopped
            and core.myself.is_primary
            and core.health.ok
            and bool(core.myself.owned)
            and not self.failover_paused()
        )

    def refresh(self) -> None:
        """Something that decides about writing has changed: see to it."""
        served = self.core.myself.owned & ~self.held if self.core is not None and self.serves_writes() else 0
        before = self.served
        if served == before:
            return
        if bool(served) is not bool(before):
            self.data.write(self.simulation.now_ms, self.bytes_per_ms if served else 0.0)
        self.served = served
        self.simulation.ledger.on_served(self, before, served)

    def hold(self, slots: int) -> None:
        """hold(slots): a move keeps writes to them waiting."""
        self.held |= slots
        self.refresh()

    def release(self, slots: int) -> None:
        self.held &= ~slots
        self.refresh()

    def _become_primary(self, effect: effects.BecomePrimary) -> None:
        self._unlink()
        self.following = None
        self.data.fork(self.simulation.now_ms)
        if effect.replaces:
            self.simulation.on_promotion(self, effect.replaces)
        self.refresh()
        self.simulation.relink()

    def _become_replica(self, effect: effects.BecomeReplica) -> None:
        self.writes_paused_until_ms = 0.0
        self.refresh()
        self.simulation.stand_aside(self)
        self._unlink()
        self._link_down_ms = self.simulation.now_ms
        self.following = (effect.host, effect.node_id)
        self.simulation.relink()

    def _pause_writes(self, effect: effects.PauseWrites) -> None:
        self.writes_paused_until_ms = effect.until_ms
        self.simulation.stand_aside(self)
        end_ms = (effect.until_ms - self.clock_offset_ms) / self.clock_rate
        self.simulation.at(max(end_ms, self.simulation.now_ms) + 0.01, self.refresh)
        self.refresh()

    def _resume_writes(self, effect: effects.ResumeWrites) -> None:
        self.writes_paused_until_ms = 0.0
        self.refresh()

    # The replica's link

    def relink(self) -> None:
        """End the link where it can't last, and begin one where it can be had."""
        source = self._source()
        if self.feeder is not None and self.feeder is not source:
            self._unlink()
        if source is not None and self.feeder is None and not source.stopped:
            self._link_attempt += 1
            partial = source.data.continues(self.data, self.simulation.now_ms)
            low, high = CONNECT_MS if partial else self.simulation.full_sync_ms
            due_ms = self.simulation.now_ms + self._data_rng.uniform(low, high)
            self.simulation.at(due_ms, self._link, source, self._link_attempt)

    def _source(self) -> SimNode | None:
        if self.following is None or not self.running or self.stalled:
            return None
        ip, node_id = self.following
        source = self.simulation.by_ip.get(ip)
        if source is None or source.id != node_id or source.core is None or not source.core.myself.is_primary:
            return None
        network = self.simulation.network
        return source if network.reachable(source, self) and network.reachable(self, source) else None

    def _link(self, source: SimNode, attempt: int) -> None:
        if attempt == self._link_attempt and self.feeder is None and self._source() is source and self.core is not None:
            self.feeder = source
            self.core.roles.synced()
            self.simulation.ledger.on_follow(self, source)
            self.data.follow(source.data, self._data_rng.uniform(*self.simulation.lags_ms), self.simulation.now_ms)

    def stall(self) -> None:
        """stall(): the link stands still from now on, whatever else does."""
        self.stalled = True
        self._unlink()

    def _unlink(self) -> None:
        self._link_attempt += 1
        if self.feeder is not None:
            self.feeder = None
            self._link_down_ms = self.simulation.now_ms
            self.data.write(self.simulation.now_ms, 0.0)
