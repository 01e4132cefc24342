"""One simulated host: a ClusterCore, its disk, and a replication offset in place of a data set.

It carries out the core's effects as a driver would and checks, while doing so, what must hold for a single node
over its restarts: a vote is on the disk before it is sent, one vote an epoch, epochs never fall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .core import ClusterCore
from .effects import (
    BecomePrimary,
    BecomeReplica,
    DropData,
    PauseWrites,
    Persist,
    ResumeWrites,
    Send,
    StateChanged,
    Sync,
)
from .messages import Kind
from .nodes import Address, NodeRecord
from .nodesconf import SavedState, load
from .prng import SplitMix

if TYPE_CHECKING:
    from .simulate import Simulation

BUS_PORT = 17000


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
        self.diskless = False
        self.core: ClusterCore | None = None
        self.paused_until_ms = 0.0
        self.tick_at_ms = 0.0
        self.following: Address | None = None
        self.writes_paused_until_ms = 0.0
        self.written = 0
        self.heard_ms = 0.0
        self.clock_offset_ms = self.rng.random() * 1e6
        self.votes: dict[int, Address] = {}
        self.epoch_floor = 0
        self.persisted_vote = 0
        self.backlog: list[tuple[Address, bytes]] = []

    # What the core asks the data plane

    def offset(self) -> int:
        return self.written

    def handing_over(self) -> bool:
        return False

    def age_ms(self) -> float:
        return self.simulation.now_ms - self.heard_ms

    # Life and death

    @property
    def running(self) -> bool:
        """Whether the process runs and is not stopped."""
        return self.core is not None and self.simulation.now_ms >= self.paused_until_ms

    def clock(self) -> float:
        return self.simulation.now_ms + self.clock_offset_ms

    def start(self, saved: SavedState | None = None) -> None:
        """Start the process, with `saved` or else with what its disk holds."""
        if saved is None and self.disk:
            saved = load(self.disk)
        record = saved.records[saved.my_id] if saved else self._fresh_record()
        self.epoch_floor = saved.current_epoch if saved else 0
        self.heard_ms = self.simulation.now_ms
        self.core = ClusterCore(self.simulation.config, record, self.rng, self.clock(), self, saved)
        self.following = None
        self.apply()

    def _fresh_record(self) -> NodeRecord:
        shard = self.rng.getrandbits(160).to_bytes(20, "big").hex()
        return NodeRecord(self.id, ip=self.ip, port=7000, bus_port=BUS_PORT, shard_id=shard)

    def crash(self) -> None:
        self.core = None
        self.writes_paused_until_ms = 0.0

    def apply(self) -> None:
        """Carry out what the core asks for, until it asks for nothing."""
        core = self.core
        assert core is not None
        effects = core.take_effects()
        if self.simulation.tap is not None:
            effects = self.simulation.tap(self, effects)
        for effect in effects:
            if isinstance(effect, Send):
                if effect.message.kind == Kind.AUTH_ACK:
                    self._check_vote(effect)
                self.simulation.transmit(self, effect)
            elif isinstance(effect, Persist):
                if not self.diskless:
                    self.disk = effect.render()
                self.persisted_vote = core.last_vote_epoch
            elif isinstance(effect, BecomePrimary):
                self.following = None
                self.simulation.on_promotion(self, effect.replaces)
            elif isinstance(effect, BecomeReplica):
                self.following = (effect.host, effect.port)
                self.writes_paused_until_ms = 0.0
                self.heard_ms = self.simulation.now_ms
            elif isinstance(effect, PauseWrites):
                self.writes_paused_until_ms = effect.until_ms
            elif isinstance(effect, ResumeWrites):
                self.writes_paused_until_ms = 0.0
            elif isinstance(effect, StateChanged):
                self.simulation.note(self, "state", "ok" if effect.ok else core.health.reason)
            elif isinstance(effect, Sync):
                self.simulation.synchronise(self, effect)
            elif isinstance(effect, DropData):
                self.written = 0
        assert core.current_epoch >= self.epoch_floor, f"{self.id}: the epoch fell"
        self.epoch_floor = core.current_epoch
        self.simulation.schedule_tick(self, core.next_deadline_ms() - self.clock_offset_ms)

    def _check_vote(self, effect: Send) -> None:
        epoch = effect.message.body[0]
        assert self.persisted_vote >= epoch, (
            f"{self.id}: a vote in epoch {epoch} was sent before it was saved"
        )
        voted_for = self.votes.setdefault(epoch, effect.address)
        assert voted_for == effect.address, f"{self.id}: a second vote in epoch {epoch}"

    # The data plane, as far as the control plane can see it

    def serves_writes(self) -> bool:
        core = self.core
        return (
            self.running
            and core is not None
            and core.myself.is_primary
            and core.health.ok
            and bool(core.myself.owned)
            and self.clock() >= self.writes_paused_until_ms
        )

    def replicate(self) -> None:
        """One step of writing or of following the primary."""
        if self.serves_writes():
            self.written += 1 + self.rng.randrange(50)
        elif self.following is not None and self.running:
            primary = self.simulation.by_ip.get(self.following[0])
            if (
                primary is not None
                and primary.running
                and primary.core is not None
                and primary.core.myself.is_primary
                and self.simulation.reachable(primary, self)
                and self.simulation.reachable(self, primary)
            ):
                self.written = primary.written
                self.heard_ms = self.simulation.now_ms
