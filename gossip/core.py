"""ClusterCore: one node's part in the cluster, as a pure state machine.

Inputs are datagrams, refused addresses, ticks and operator requests, each with the driver's time in
milliseconds; `take_effects` then gives what is to be done, in order. There is no clock, socket or global
randomness in here: the same inputs give the same effects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from .config import ClusterConfig
from .deltas import History, record_rumor
from .detector import Detector
from .effects import Effect, Log, Persist, Send, SlotMapChanged, Sync
from .election import Election
from .errors import Dropped
from .health import Health
from .interfaces import LocalReplication, Rng
from .membership import Membership
from .messages import RUMOR_RECORD_MAX_BYTES, Kind, Message, Rumor, RumorKind
from .news import on_rumor
from .nodes import Address, Node, NodeRecord
from .nodesconf import SavedState, dump
from .proofs import FIRST_SEQUENCE, Proofs, new_boot
from .replica_migration import ReplicaMigration
from .roles import Roles
from .roster import Roster
from .rumors import EAGER_ALL_MAX, RumorMill
from .slotmap import SlotMap
from .stats import BusStats
from .voting import Voter

LATE_MS: Final = 100
"""A tick that comes later than this after its deadline shows that this node was paused or starved."""
PERSIST_LAZY_MS: Final = 100
"""What peers said is saved within this time; votes, epochs and own changes at once."""
T = TypeVar("T")
_PING: Final = int(Kind.PING)
_PONG: Final = int(Kind.PONG)
_MEET: Final = int(Kind.MEET)
_MEET_PONG: Final = int(Kind.MEET_PONG)


class ClusterCore:
    """ClusterCore(config, myself, rng, now_ms, replication[, saved]): the state machine of one node.

    `slot_map.owners` and `slot_map.owned` are made for lookups by the data plane; `health.ok` is
    cluster_state.
    """

    def __init__(
        self,
        config: ClusterConfig,
        myself: NodeRecord,
        rng: Rng,
        now_ms: float,
        replication: LocalReplication,
        saved: SavedState | None = None,
    ) -> None:
        self.config = config
        self.rng = rng
        self.now_ms = now_ms
        self.replication = replication
        self.current_epoch = 0
        self.last_vote_epoch = 0
        self.boot = new_boot(rng)
        self.myself = Node(replace(myself, boot=self.boot))
        self._history = History(self.myself.record)
        self.nodes: dict[str, Node] = {myself.id: self.myself}
        self.roster = Roster(self.nodes)
        self.failed: dict[str, Node] = {}
        self.digest = self.myself.digest
        self.slot_map = SlotMap(self.myself)
        self.rumors = RumorMill(now_ms)
        self.stats = BusStats()
        self._persist_now = self._persist_durably = False
        self._persist_by_ms: float | None = None
        self._effects: list[Effect] = []
        self._sends: list[Effect] = []
        self._syncs: list[Sync] = []
        self._expected_tick_ms = now_ms
        self._stirred = True
        """Whether anything but the regular probing has happened since the last `take_effects`."""
        self._calm = False
        """Whether nothing is under way that every datagram might decide (an election, a confirmation)."""
        self._other_due_ms = now_ms
        """When `tick` is due for other reasons than probing, as of the last full `take_effects`."""
        self.proofs = Proofs(self)
        self._sequence = FIRST_SEQUENCE
        self.detector = Detector(self, now_ms)
        self.election = Election(self)
        self.membership = Membership(self)
        self.roles = Roles(self)
        self.replica_migration = ReplicaMigration(self)
        self.health = Health(self, confirmed=saved is None or len(saved.records) == 1)
        if saved is not None:
            self._restore(saved)
        self.voter = Voter(self, restarted=not self.health.confirmed)
        self._handlers = self._message_handlers()
        self.slot_map.update(self.myself, self.nodes.values())
        self._prepare_delta()
        self.announce(self.myself, origin=True)
        self.roles.follow_primary()
        self.persist()

    def _restore(self, saved: SavedState) -> None:
        self.current_epoch = saved.current_epoch
        self.last_vote_epoch = saved.last_vote_epoch
        for node_id, record in saved.records.items():
            if node_id != self.myself.id:
                node = self.add_node(record)
                if node_id in saved.failed:
                    self._set_failed(node, failed=True)
        self.slot_map.restore_moves(saved.migrating, saved.importing, self.nodes)

    def _message_handlers(self) -> dict[int, Callable[[Node, Message], None]]:
        return {
            Kind.GOSSIP: lambda sender, message: None,
            Kind.PING_REQ: self.detector.on_ping_req,
            Kind.RELAY: self.detector.on_relay,
            Kind.REPORT: self.detector.on_report,
            Kind.AUTH_REQUEST: self.voter.on_request,
            Kind.AUTH_ACK: self.election.on_ack,
            Kind.AUTH_NACK: self.election.on_nack,
            Kind.MF_START: self.election.pause.on_start,
            Kind.MF_OFFSET: self.election.on_manual_offset,
            Kind.MF_CANCEL: self.election.pause.on_cancel,
            Kind.CHALLENGE: self.proofs.on_challenge,
            Kind.PROOF: lambda sender, message: None,
        }

    # Inputs

    def receive(self, message: Message, source: Address, now_ms: float) -> None:
        """A decoded datagram has arrived. Raises Dropped where its sender is no member."""
        self._move_clock(now_ms)
        sender = self.nodes.get(message.sender)
        if sender is self.myself:
            raise Dropped("own")
        kind = message.kind
        self.stats.received[kind] += 1
        if kind in (_MEET, _MEET_PONG):
            self._stirred = True
            self.membership.on_meet(sender, message, source)
            return
        if sender is not None and sender.boot == message.boot:
            self.proofs.check_fresh(sender, message.sequence)
        elif not self.proofs.admit(sender, message, source) or sender is None:
            return
        sender.source = source
        sender.offset = message.offset
        sender.offset_at_ms = sender.heard_at_ms = now_ms
        if message.rumors or not self._calm or message.epoch > self.current_epoch:
            self._hear_news(sender, message)
        if kind == _PING:
            self.send(source, _PONG, (message.body[0], 0))
            if sender.suspected or sender.failed:
                self._stirred = True
                self.detector.on_ping(sender)
        elif kind == _PONG:
            as_usual = self.detector.on_pong(sender, message)
            if message.body[1]:
                self.proofs.answer(message.body[1], source)
            if self.membership.compare_digest(sender, message.digest) and as_usual:
                self._plan_tick()
            else:
                self._stirred = True
        else:
            self._stirred = True
            self._handlers[kind](sender, message)

    def _hear_news(self, sender: Node, message: Message) -> None:
        self._stirred = True
        if message.epoch > self.current_epoch:
            self.current_epoch = message.epoch
            self.persist_lazily()
        for rumor in message.rumors:
            on_rumor(self, rumor, sender)

    def refused(self, address: Address, now_ms: float) -> None:
        """The host at bus address `address` refused a datagram (ICMP port unreachable)."""
        self.advance(now_ms)
        self.detector.on_refused(address)

    def link_lost(self, node_id: str, now_ms: float) -> None:
        """The data plane's connection to `node_id` broke: no evidence, but a reason to look at once."""
        self.advance(now_ms)
        self.election.link_lost()
        node = self.nodes.get(node_id)
        if node is not None and node is not self.myself:
            self.detector.probe(node)

    def tick(self, now_ms: float) -> None:
        """Time has passed; due no later than `next_deadline_ms`."""
        self._move_clock(now_ms)
        if self._calm and not self._stirred and now_ms < self._other_due_ms and self.detector.tick_as_usual():
            self.replica_migration.tick()
            self.roles.tick()
            if not self._stirred:
                self._plan_tick()
            return
        self._stirred = True
        self.detector.tick()
        self.membership.tick()
        self.replica_migration.tick()
        self.roles.tick()

    def stir(self) -> None:
        """Have the next `take_effects` think over everything: more has changed than regular probing changes."""
        self._stirred = True

    def advance(self, now_ms: float) -> None:
        """Move the clock before an input; if this node was away for a while, doubt itself first."""
        self._stirred = True
        self._move_clock(now_ms)

    def _move_clock(self, now_ms: float) -> None:
        lag_ms = now_ms - self._expected_tick_ms
        self.now_ms = now_ms
        if lag_ms > LATE_MS:
            self._stirred = True
            self._expected_tick_ms = now_ms
            self.detector.shift_clocks(lag_ms)
            if lag_ms >= self.config.absence_max_ms and len(self.nodes) > 1:
                self.health.doubt()

    def next_deadline_ms(self) -> float:
        """next_deadline_ms() -> when `tick` is due next, as of the last `take_effects`."""
        return self._expected_tick_ms

    def _plan_tick(self) -> None:
        """Say when `tick` is due: what is overdue is so since now, for lateness is made up for only once."""
        self._expected_tick_ms = max(self.now_ms, min(self._other_due_ms, self.detector.deadline_ms()))

    def take_effects(self) -> list[Effect]:
        """take_effects() -> what the inputs since the last call ask for, in the order to do it in."""
        if not self._stirred:
            sends, self._sends = self._sends, []
            return sends
        self.election.tick()
        self.health.update()
        self._send_eagerly()
        effects: list[Effect] = []
        due = self._persist_by_ms is not None and self.now_ms >= self._persist_by_ms
        if self._persist_now or due:
            effects.append(Persist(lambda: dump(self), durable=self._persist_durably))
            self._persist_now = self._persist_durably = False
            self._persist_by_ms = None
        effects += self._effects
        effects += self._sends
        effects += self._syncs
        self._effects, self._sends, self._syncs = [], [], []
        due_ms = min(self.election.deadline_ms(), self.membership.deadline_ms(), self.health.deadline_ms())
        due_ms = min(due_ms, self.rumors.deadline_ms())
        self._other_due_ms = due_ms if self._persist_by_ms is None else min(due_ms, self._persist_by_ms)
        self._calm = self.election.idle() and self.health.confirmed
        self._stirred = False
        self._plan_tick()
        return effects

    # Outputs

    def emit(self, effect: Effect) -> None:
        self._stirred = True
        self._effects.append(effect)

    def log(self, level: str, text: str) -> None:
        self.emit(Log(level, text))

    def persist(self, *, durable: bool = True) -> None:
        """Save before anything else is done."""
        self._stirred = self._persist_now = True
        self._persist_durably |= durable

    def persist_lazily(self) -> None:
        self._stirred = True
        if self._persist_by_ms is None:
            self._persist_by_ms = self.now_ms + PERSIST_LAZY_MS

    def send(
        self, address: Address, kind: int, body: tuple[Any, ...], rumors: tuple[Rumor, ...] | None = None
    ) -> None:
        """Queue a datagram; without `rumors` of its own it carries what is to be told."""
        if rumors is None:
            rumors = () if kind in (_MEET, _MEET_PONG) else self.rumors.piggyback()
        self._send(address, kind, self.current_epoch, self.digest, self.roles.offset(), body, rumors)

    def send_bare(self, address: Address, kind: int, body: tuple[Any, ...]) -> None:
        """Queue an answer to an unproved address, which must be small: without rumors and what may be left out."""
        epoch, digest = (self.current_epoch, self.digest) if kind == _PONG else (0, 0)
        self._send(address, kind, epoch, digest, 0, body, ())

    def _send(
        self, address: Address, kind: int, epoch: int, digest: int, offset: int, body: tuple[Any, ...],
        rumors: tuple[Rumor, ...],
    ) -> None:  # fmt: skip
        self._sequence += 1
        sender = self.myself.record.id
        message = Message(kind, sender, self.boot, self._sequence, epoch, digest, offset, body, rumors)
        self.stats.sent[kind] += 1
        self._sends.append(Send(address, message))

    def send_to(
        self, node: Node, kind: int, body: tuple[Any, ...], rumors: tuple[Rumor, ...] | None = None
    ) -> None:
        if node.address is not None:
            self.send(node.address, kind, body, rumors)

    def request_sync(self, node: Node) -> None:
        if node.address is not None:
            self._stirred = True
            self._syncs.append(Sync(node.address, node.id))

    def _send_eagerly(self) -> None:
        for fanout, rumors in self.rumors.take_eager(self.now_ms):
            count = len(self.nodes) if len(self.nodes) <= EAGER_ALL_MAX else fanout
            for node in self.roster.pick(self.rng, count, self._is_living_peer):
                self.send_to(node, Kind.GOSSIP, (), rumors)

    def _is_living_peer(self, node: Node) -> bool:
        return node is not self.myself and not node.failed

    # Views

    def voters(self) -> list[Node]:
        """voters() -> the members whose votes and reports count, alive or not; not the caller's to change."""
        if self.config.voters_primaries_only:
            return [node for node in self.nodes.values() if node.is_primary and node.owned]
        return self.roster.members()

    def voter_ids(self) -> dict[str, Node]:
        if self.config.voters_primaries_only:
            return {node.id: node for node in self.voters()}
        return self.nodes

    def majority(self) -> int:
        """majority() -> votes needed to mark FAIL and to be elected."""
        return len(self.voter_ids()) // 2 + 1

    def blocking_quorum(self) -> int:
        """blocking_quorum() -> voters in reach without which a majority could exist elsewhere."""
        voters = len(self.voter_ids())
        return voters - voters // 2

    def my_primary(self) -> Node | None:
        """my_primary() -> the primary this replica follows, or None."""
        return self.nodes.get(self.myself.primary_id) if self.myself.primary_id else None

    def replicas_of(self, node: Node) -> list[Node]:
        """replicas_of(node) -> the members that replicate `node`; not the caller's to change."""
        return self.roster.replicas_of(node.id)

    def sample(self, items: list[T], count: int) -> list[T]:
        """sample(items, count) -> at most `count` of `items`, at random."""
        if len(items) <= count:
            return items
        pool = list(items)
        return [pool.pop(self.rng.randrange(len(pool))) for _ in range(count)]

    # Members and records

    def add_node(self, record: NodeRecord) -> Node:
        self._stirred = True
        node = Node(record, boot=record.boot, joined_at_ms=self.now_ms)
        self.nodes[record.id] = node
        self.roster.joined(node)
        self.digest ^= node.digest
        self.slot_map.update(node, self.nodes.values())
        return node

    def remove_node(self, node: Node) -> None:
        self._stirred = True
        del self.nodes[node.id]
        self.roster.left(node)
        self.failed.pop(node.id, None)
        self.digest ^= node.digest
        self.detector.forget(node)
        changed = self.slot_map.forget(node, self.nodes.values())
        for other in self.nodes.values():
            other.reports.pop(node.id, None)
        if changed:
            self.emit(SlotMapChanged())

    def merge(self, record: NodeRecord, *, failed: bool = False) -> None:
        """merge(record): somebody's copy of a member's record, older or newer than ours."""
        if record.config_epoch > self.current_epoch:
            self.current_epoch = record.config_epoch
            self.persist_lazily()
        if record.id == self.myself.id:
            self._defend(record, failed=failed)
            return
        node = self.nodes.get(record.id)
        if node is None:
            if self.membership.is_unwanted(record.id):
                return
            node = self.add_node(record)
            self.persist(durable=False)  # whom this process forgets by dying may not be allowed to speak again
            if len(self.nodes) <= EAGER_ALL_MAX:
                self.detector.probe(node)
            self._merged(node, record, node.owned)
        elif record.supersedes(node.record):
            changed = self._replace_record(node, record)
            self._merged(node, record, changed)
        if failed and record.version == node.record.version:
            self.mark_failed(node, origin=False)

    def _merged(self, node: Node, record: NodeRecord, changed: int) -> None:
        self.announce(node, origin=False)
        self.persist_lazily()
        self.roles.slots_changed(changed, node)
        self.roles.resolve_epoch_collision(node)
        self.roles.follow_primary()

    def _defend(self, record: NodeRecord, *, failed: bool) -> None:
        """Someone holds another version of this node's own record: only ours is true, so outbid theirs."""
        mine = self.myself.record
        if record.version < mine.version or (record.packed == mine.packed and not failed):
            return
        self.change_self(version=record.version + 1)

    def _replace_record(self, node: Node, record: NodeRecord) -> int:
        self._stirred = True
        self.digest ^= node.digest
        newer = record.version > node.record.version
        if record.primary_id != node.primary_id:
            self.roster.follows(node, node.primary_id, record.primary_id)
        node.record = record
        self.digest ^= node.digest
        self.proofs.heard_of(node)
        if newer and node.failed:
            self._set_failed(node, failed=False)
            self.log("notice", f"Clear FAIL state for node {node.label}: it is reachable again.")
        return self.slot_map.update(node, self.nodes.values())

    def change_self(self, **fields: Any) -> int:
        """change_self(**fields) -> changed slots: a new version of this node's record, saved and announced."""
        fields.setdefault("version", self.myself.record.version + 1)
        given_up = self.myself.record.slots & ~fields.get("slots", self.myself.record.slots)
        # Slots that come under one epoch survive the process; epochs, roles and what is another's now survive the
        # machine: it must not serve slots again whose keys have moved on.
        self.persist(durable="config_epoch" in fields or "primary_id" in fields or given_up != 0)
        before = self.myself.record
        changed = self._replace_record(self.myself, replace(before, **fields))
        self._history.changed(before, self.myself.record)
        self._prepare_delta()
        self.announce(self.myself, origin=True)
        if changed:
            self.emit(SlotMapChanged())
        return changed

    def _prepare_delta(self) -> None:
        record = self.myself.record
        if len(record.packed) > RUMOR_RECORD_MAX_BYTES:
            delta = self._history.rumor(record)
            self.myself.delta = (record.version, delta) if delta is not None else None

    def rename_self(self, record: NodeRecord) -> None:
        """Be another node from now on (CLUSTER RESET HARD); the caller changes the record once more."""
        del self.nodes[self.myself.id]
        self.digest ^= self.myself.digest
        self.roster.left(self.myself)
        self.myself.record = record
        self.digest ^= self.myself.digest
        self.nodes[record.id] = self.myself
        self.roster.joined(self.myself)

    def announce(self, node: Node, *, origin: bool) -> None:
        self.rumors.tell(record_rumor(node), bytes.fromhex(node.id), len(self.nodes), origin=origin)

    def mark_failed(self, node: Node, *, origin: bool) -> None:
        """Mark `node`, in its present version, as FAIL, and pass it on."""
        if node.failed:
            return
        if node is self.myself:
            self._defend(self.myself.record, failed=True)
            return
        self._set_failed(node, failed=True)
        raw = bytes.fromhex(node.id)
        self.rumors.tell((int(RumorKind.FAIL), raw, node.record.version), raw, len(self.nodes), origin=origin)
        self.persist_lazily()
        how = "quorum reached" if origin else "as reported by others"
        self.log("notice", f"Marking node {node.label} as failing ({how}).")

    def _set_failed(self, node: Node, *, failed: bool) -> None:
        self._stirred = True
        self.digest ^= node.digest
        node.failed = failed
        self.digest ^= node.digest
        if failed:
            self.election.on_failure()
            node.failed_at_ms = self.now_ms
            self.failed[node.id] = node
        else:
            node.failed_at_ms = None
            self.failed.pop(node.id, None)
        self.detector.forget(node)
        self.stats.failures += failed
