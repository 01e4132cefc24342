"""Failover: elections by the voters' majority, votes, and the operator's manual failover.

Redis's scheme of epochs, with two changes: the replica that knows that it is the best one starts at once, and
a voter that refuses says so, so that a lost election is repeated after a short random wait instead of a
time-out. A vote is persisted before it is sent; nobody votes twice in an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .effects import PauseWrites, ResumeWrites
from .messages import Kind, Message, RumorKind
from .nodes import NOFAILOVER, Node
from .stats import Failover

if TYPE_CHECKING:
    from .core import ClusterCore

MANUAL_TIMEOUT_MS = 5000
"""Redis's CLUSTER_MF_TIMEOUT; the primary pauses for twice as long, so that it never resumes first."""
MANUAL_PAUSE_MS = 2 * MANUAL_TIMEOUT_MS
MANUAL_POLL_MS = 2
MANUAL_REPEAT_MS = 100
REQUEST_REPEAT_MS = 100
REQUEST_TIMEOUT_MS = 500
RANK_WAIT_MS = 60
"""How long a replica waits for its siblings' offsets before it goes by what it last heard."""
RANK_DELAY_MS = 100
JITTER_MS = 30
RETRY_BASE_MS = 40
RETRY_MAX_MS = 2000
VOTE_HOLD_MS = 400
"""After a vote for one replica of a primary, no vote for another one of it for so long."""


@dataclass(slots=True)
class _Candidacy:
    """One attempt to be elected. `epoch` is 0 until votes were asked for."""

    start_at_ms: float
    rank: int = 0
    epoch: int = 0
    granted: dict[str, None] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    repeat_at_ms: float = 0.0
    give_up_at_ms: float = 0.0


@dataclass(slots=True)
class _Manual:
    """A manual failover on the replica's side."""

    nonce: int
    deadline_ms: float
    ready: bool
    repeat_at_ms: float
    target_offset: int | None = None
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Paused:
    """A manual failover on the primary's side."""

    replica_id: str
    nonce: int
    until_ms: float


class Election:
    """The electing half of a ClusterCore, as candidate and as voter."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self._candidacy: _Candidacy | None = None
        self._attempts = 0
        self._not_before_ms = 0.0
        self._manual: _Manual | None = None
        self._paused: _Paused | None = None
        self._voted_for: tuple[int, str] = (0, "")
        self._holds: dict[str, tuple[str, float]] = {}

    def deadline_ms(self) -> float | None:
        due = [self._paused.until_ms] if self._paused else []
        if self._manual:
            wait_ms = MANUAL_POLL_MS if self._manual.target_offset is not None else MANUAL_REPEAT_MS
            due += [self._manual.deadline_ms, self._core.now_ms + wait_ms]
        candidacy = self._candidacy
        if candidacy is not None:
            due.append(
                min(candidacy.repeat_at_ms, candidacy.give_up_at_ms)
                if candidacy.epoch
                else candidacy.start_at_ms
            )
        elif self._wants_election():
            due.append(self._not_before_ms)
        return min(due, default=None)

    def tick(self) -> None:
        now_ms = self._core.now_ms
        if self._paused is not None and now_ms >= self._paused.until_ms:
            self._resume()
        if self._manual is not None:
            self._tick_manual(self._manual)
        if not self._wants_election():
            self._abandon()
            self._attempts = 0
            return
        candidacy = self._candidacy
        if candidacy is None:
            if now_ms >= self._not_before_ms:
                self._schedule()
        elif not candidacy.epoch:
            self._update_rank(candidacy)
            if now_ms >= candidacy.start_at_ms or self._knows_it_is_best():
                self._request(candidacy)
        elif now_ms >= candidacy.give_up_at_ms:
            self._retry_later("expired")
        elif now_ms >= candidacy.repeat_at_ms:
            candidacy.repeat_at_ms = now_ms + REQUEST_REPEAT_MS
            self._ask_voters(candidacy)

    # As candidate

    def _wants_election(self) -> bool:
        core = self._core
        primary = core.my_primary()
        if primary is None or not primary.owned:
            return False
        if self._manual is not None and self._manual.ready:
            return True
        return primary.failed and not core.config.replica_no_failover and self._data_is_fresh()

    def _data_is_fresh(self) -> bool:
        config = self._core.config
        if not config.replica_validity_factor:
            return True
        limit_ms = (
            config.repl_ping_replica_period_ms + config.node_timeout_ms * config.replica_validity_factor
        )
        return self._core.replication.age_ms() - config.node_timeout_ms <= limit_ms

    def _siblings(self) -> list[Node]:
        core = self._core
        mine = core.myself.primary_id
        return [
            node
            for node in core.nodes.values()
            if node.primary_id == mine
            and node is not core.myself
            and not node.failed
            and not node.record.flags & NOFAILOVER
        ]

    def _rank(self) -> int:
        """How many siblings have more of the primary's data; the id decides between equals."""
        mine = (-self._core.replication.offset(), self._core.myself.id)
        return sum((-node.offset, node.id) < mine for node in self._siblings())

    def _knows_it_is_best(self) -> bool:
        """Whether every sibling has told its offset since the primary failed, and none has more."""
        primary = self._core.my_primary()
        since_ms = primary.failed_at_ms if primary is not None else None
        if since_ms is None:
            return False
        told = all(
            node.offset_at_ms is not None and node.offset_at_ms >= since_ms for node in self._siblings()
        )
        return told and self._rank() == 0

    def _schedule(self) -> None:
        core = self._core
        now_ms = core.now_ms
        self._candidacy = candidacy = _Candidacy(now_ms)
        if self._manual is None:
            primary = core.my_primary()
            assert primary is not None
            raw = bytes.fromhex(primary.id)
            for sibling in self._siblings():
                core.send_to(sibling, Kind.GOSSIP, (), ((int(RumorKind.FAIL), raw, primary.record.version),))
            if not self._knows_it_is_best():
                jitter_ms = core.rng.random() * JITTER_MS
                candidacy.start_at_ms = now_ms + RANK_WAIT_MS + jitter_ms
                self._update_rank(candidacy)
                return
        self._request(candidacy)

    def _update_rank(self, candidacy: _Candidacy) -> None:
        """Siblings that turn out to have more data go first."""
        rank = self._rank() if self._manual is None else 0
        if rank > candidacy.rank:
            candidacy.start_at_ms += (rank - candidacy.rank) * RANK_DELAY_MS
            candidacy.rank = rank

    def _request(self, candidacy: _Candidacy) -> None:
        core = self._core
        core.current_epoch += 1
        candidacy.epoch = core.current_epoch
        candidacy.repeat_at_ms = core.now_ms + REQUEST_REPEAT_MS
        candidacy.give_up_at_ms = core.now_ms + REQUEST_TIMEOUT_MS
        core.stats.election_began(candidacy.epoch, core.now_ms)
        core.log("notice", f"Starting a failover election for epoch {candidacy.epoch}.")
        if core.myself.id in core.voter_ids():
            self._vote(candidacy.epoch, core.myself.id)
            candidacy.granted[core.myself.id] = None
        core.persist()
        self._ask_voters(candidacy)
        self._count(candidacy)

    def _ask_voters(self, candidacy: _Candidacy) -> None:
        core = self._core
        primary = core.my_primary()
        assert primary is not None
        raw = bytes.fromhex(primary.id)
        body = (candidacy.epoch, raw, primary.config_epoch, self._manual is not None)
        rumors = ((int(RumorKind.FAIL), raw, primary.record.version),) if primary.failed else ()
        for voter in core.voters():
            if voter is core.myself or voter.id in candidacy.granted or voter.id in candidacy.refused:
                continue
            core.send_to(voter, Kind.AUTH_REQUEST, body, rumors)

    def on_ack(self, sender: Node, message: Message) -> None:
        candidacy = self._candidacy
        if candidacy is None or not candidacy.epoch or message.body[0] != candidacy.epoch:
            return
        if sender.id in self._core.voter_ids():
            candidacy.granted[sender.id] = None
            self._count(candidacy)

    def on_nack(self, sender: Node, message: Message) -> None:
        candidacy = self._candidacy
        if candidacy is None or not candidacy.epoch or message.body[0] != candidacy.epoch:
            return
        candidacy.refused[sender.id] = None
        voters = self._core.voters()
        hopeful = sum(voter.id not in candidacy.refused for voter in voters)
        if hopeful < self._core.majority():
            self._retry_later("refused")

    def _retry_later(self, outcome: str) -> None:
        core = self._core
        self._abandon(outcome)
        wait_ms = min(RETRY_BASE_MS * 2**self._attempts, RETRY_MAX_MS)
        self._attempts = min(self._attempts + 1, 16)
        self._not_before_ms = core.now_ms + wait_ms * (0.25 + core.rng.random())

    def _count(self, candidacy: _Candidacy) -> None:
        core = self._core
        voters = core.voter_ids()
        votes = sum(voter in voters for voter in candidacy.granted)
        if votes < core.majority() or not self._wants_election():
            return
        if self._manual is not None and core.now_ms >= self._manual.deadline_ms:
            return
        core.log("notice", "Failover election won: I'm the new master.")
        core.stats.election_ended("won", votes, core.now_ms)
        core.roles.promote(candidacy.epoch, votes)

    # As voter

    def on_request(self, sender: Node, message: Message) -> None:
        epoch, raw, slots_epoch, manual = message.body
        core = self._core
        if core.myself.id not in core.voter_ids():
            return
        if self._voted_for == (epoch, sender.id) and core.last_vote_epoch == epoch:
            core.send_to(sender, Kind.AUTH_ACK, (epoch,))
            return
        if not self._may_vote(sender, epoch, raw.hex(), slots_epoch, manual=manual):
            core.send_to(sender, Kind.AUTH_NACK, (epoch, core.last_vote_epoch))
            return
        self._vote(epoch, sender.id)
        self._holds = {key: hold for key, hold in self._holds.items() if hold[1] > core.now_ms}
        self._holds[raw.hex()] = (sender.id, core.now_ms + VOTE_HOLD_MS)
        core.persist()
        core.send_to(sender, Kind.AUTH_ACK, (epoch,))
        core.log("notice", f"Failover auth granted to {sender.label} for epoch {epoch}")

    def _may_vote(self, sender: Node, epoch: int, primary_id: str, slots_epoch: int, *, manual: bool) -> bool:
        core = self._core
        primary = core.nodes.get(primary_id)
        if epoch <= core.last_vote_epoch or primary is None or sender.primary_id != primary_id:
            return False
        if not manual and not primary.failed:
            return False
        if primary.config_epoch > slots_epoch or not primary.owned:
            return False
        held_for, until_ms = self._holds.get(primary_id, ("", 0.0))
        return held_for in ("", sender.id) or core.now_ms >= until_ms

    def _vote(self, epoch: int, candidate_id: str) -> None:
        assert epoch > self._core.last_vote_epoch, "a second vote in one epoch"
        self._core.last_vote_epoch = epoch
        self._voted_for = (epoch, candidate_id)

    # Manual failover

    def start_manual(self, *, force: bool) -> None:
        """CLUSTER FAILOVER [FORCE] on this replica; with `force`, without the primary's cooperation."""
        core = self._core
        self.reset()
        nonce = core.rng.getrandbits(32)
        self._manual = _Manual(nonce, core.now_ms + MANUAL_TIMEOUT_MS, force, core.now_ms)
        self._manual.stages["requested"] = core.now_ms
        self._not_before_ms = core.now_ms
        self.tick()

    def _tick_manual(self, manual: _Manual) -> None:
        core = self._core
        primary = core.my_primary()
        if core.now_ms >= manual.deadline_ms or primary is None:
            core.log("warning", "Manual failover timed out.")
            if primary is not None:
                core.send_to(primary, Kind.MF_CANCEL, (manual.nonce,))
            self._manual = None
            self._abandon()
        elif manual.ready:
            return
        elif manual.target_offset is not None:
            if core.replication.offset() >= manual.target_offset:
                core.log("notice", "All master replication stream processed, manual failover can start.")
                manual.ready = True
                manual.stages["caught_up"] = core.now_ms
        elif core.now_ms >= manual.repeat_at_ms:
            manual.repeat_at_ms = core.now_ms + MANUAL_REPEAT_MS
            core.send_to(primary, Kind.MF_START, (manual.nonce,))

    def on_manual_start(self, sender: Node, message: Message) -> None:
        core = self._core
        if not core.myself.is_primary or sender.primary_id != core.myself.id:
            return
        if core.replication.handing_over():
            return  # the replica would take back slots that are being claimed; it asks again
        nonce = message.body[0]
        if self._paused is None or self._paused.nonce != nonce:
            self._paused = _Paused(sender.id, nonce, core.now_ms + MANUAL_PAUSE_MS)
            core.log("notice", f"Manual failover requested by replica {sender.label}.")
            core.emit(PauseWrites(self._paused.until_ms))
        core.send_to(sender, Kind.MF_OFFSET, (nonce, core.replication.offset()))

    def on_manual_offset(self, sender: Node, message: Message) -> None:
        nonce, offset = message.body
        manual = self._manual
        if manual is None or manual.nonce != nonce or sender is not self._core.my_primary():
            return
        if manual.target_offset is None:
            manual.target_offset = offset
            manual.stages["paused"] = self._core.now_ms
            self.tick()

    def on_manual_cancel(self, sender: Node, message: Message) -> None:
        paused = self._paused
        if paused is not None and (paused.replica_id, paused.nonce) == (sender.id, message.body[0]):
            self._resume()

    def _resume(self) -> None:
        self._paused = None
        self._core.emit(ResumeWrites())

    def _abandon(self, outcome: str = "abandoned") -> None:
        if self._candidacy is not None:
            self._core.stats.election_ended(outcome, len(self._candidacy.granted), self._core.now_ms)
        self._candidacy = None

    def time_line(self, primary: Node, epoch: int, votes: int | None) -> Failover:
        """time_line(primary, epoch, votes) -> how it came to the promotion that happens now."""
        core, manual = self._core, self._manual
        stages: dict[str, float] = {}
        if votes is None:
            kind = "takeover"
        elif manual is not None:
            kind = "manual" if "paused" in manual.stages else "forced"
            stages.update(manual.stages)
        else:
            kind = "automatic"
            seen = {"suspected": primary.suspected_at_ms, "failed": primary.failed_at_ms}
            stages.update((stage, at_ms) for stage, at_ms in seen.items() if at_ms is not None)
        if self._candidacy is not None and core.stats.last_election is not None:
            stages["election"] = core.stats.last_election.started_ms
        stages["elected"] = core.now_ms
        return Failover(kind, primary.id, epoch, votes or 0, stages)

    def reset(self) -> None:
        """Give up whatever is under way: the role of this node changes."""
        if self._paused is not None:
            self._resume()
        self._abandon()
        self._manual = None
        self._attempts = 0
