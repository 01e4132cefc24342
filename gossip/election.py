"""Failover: elections by the voters' majority, and the operator's manual failover. The votes are in `voting`.

Redis's scheme of epochs, with three changes: the replica that knows that it is the best one starts at once; a
voter that refuses says so, so that a lost election is repeated after a short random wait instead of a
time-out; and where many primaries failed together, each shard has epochs of its own, so that their elections
don't compete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .failover_pause import MANUAL_TIMEOUT_MS, FailoverPause
from .messages import Kind, Message, Rumor, RumorKind
from .nodes import NOFAILOVER, Node
from .stats import Failover
from .voting import slot_news, slots_digest

if TYPE_CHECKING:
    from .core import ClusterCore

MANUAL_POLL_MS = 2
MANUAL_REPEAT_MS = 10
REQUEST_REPEAT_MS = 100
REQUEST_TIMEOUT_MS = 500
REQUEST_TIMEOUT_PER_VOTER_MS = 1
RANK_WAIT_MS = 60
"""How long a replica waits for its siblings' offsets before it goes by what it last heard."""
RANK_DELAY_MS = 100
JITTER_MS = 30
RETRY_BASE_MS = 40
RETRY_MAX_MS = 2000
STORM_MS = 10_000
"""Failures that follow each other within this time are taken to be one event."""


@dataclass(slots=True)
class _Candidacy:
    """One attempt to be elected. `epoch` is 0 until votes were asked for."""

    start_at_ms: float
    rank: int = 0
    epoch: int = 0
    claim: int = 0
    floor: int = 0
    granted: dict[str, None] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    told: dict[str, None] = field(default_factory=dict)
    repeat_ms: float = REQUEST_REPEAT_MS
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
    boot: int = 0
    """Of the primary's process that holds writes back."""
    stages: dict[str, float] = field(default_factory=dict)


class Election:
    """The electing half of a ClusterCore, as candidate and as voter."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self.pause = FailoverPause(core)
        self._candidacy: _Candidacy | None = None
        self._attempts = 0
        self._not_before_ms = 0.0
        self._manual: _Manual | None = None
        self._epoch_floor = 0
        self._calm_epoch = 0
        self._last_failure_ms = float("-inf")

    @property
    def busy(self) -> bool:
        """Whether an election or a manual failover of this node is under way."""
        return self._candidacy is not None or self._manual is not None

    def idle(self) -> bool:
        """idle() -> whether no datagram or moment decides anything here before the situation changes."""
        nothing = not self.pause.active and self._manual is None and self._candidacy is None
        return nothing and not self._wants_election()

    def deadline_ms(self) -> float:
        due = [self.pause.deadline_ms()]
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
        return min(due)

    def tick(self) -> None:
        now_ms = self._core.now_ms
        self.pause.tick()
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
            candidacy.repeat_ms *= 2
            candidacy.repeat_at_ms = now_ms + candidacy.repeat_ms
            self._ask_voters(candidacy)
        else:
            self._count(candidacy)

    # As candidate

    def _wants_election(self) -> bool:
        core = self._core
        primary = core.my_primary()
        if primary is None or not primary.owned:
            return False
        manual = self._manual
        if manual is not None and (manual.ready or (manual.target_offset is not None and core.replication.in_sync())):
            return True  # the votes are asked for while the last writes arrive: clients are waiting
        return self._replaces(primary)

    def _replaces(self, primary: Node) -> bool:
        """Whether `primary` has failed and this replica may stand in for it."""
        core = self._core
        if not primary.failed or not core.myself.record.priority or core.config.replica_no_failover:
            return False
        return self._data_is_fresh()

    def _data_is_fresh(self) -> bool:
        config = self._core.config
        if not config.replica_validity_factor:
            return True
        limit_ms = (
            config.repl_ping_replica_period_ms + config.node_timeout_ms * config.replica_validity_factor
        )
        return self._core.roles.data_age_ms() - config.node_timeout_ms <= limit_ms

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
            and node.record.priority
        ]

    def _rank(self) -> int:
        """How many siblings have more of the primary's data; priority, then id decide between equals."""
        core = self._core
        mine = (-core.roles.offset(), core.myself.record.priority, core.myself.id)
        return sum((-node.offset, node.record.priority, node.id) < mine for node in self._siblings())

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

    def on_failure(self) -> None:
        """A member was marked FAIL: the epoch that was current when a series of failures began is kept."""
        if self._core.now_ms - self._last_failure_ms > STORM_MS:
            self._calm_epoch = self._core.current_epoch
        self._last_failure_ms = self._core.now_ms

    def _next_epoch(self, primary: Node) -> int:
        """The epoch to be elected for.

        One above all known ones. But where several primaries failed, hundreds of candidates would all take that
        one. Then each takes the next after the calm before that fits its shard's place among all, by slots: whoever
        has the same slot map shares no epoch with another shard.
        """
        core = self._core
        floor = max(self._epoch_floor, primary.config_epoch, core.voter.floor)
        if self._manual is not None or sum(bool(node.owned) for node in core.failed.values()) < 2:
            return max(core.current_epoch, floor) + 1
        owners = [node for node in core.nodes.values() if node.owned]
        first = primary.owned & -primary.owned
        place = sum(node.owned & -node.owned < first for node in owners)
        used = {node.config_epoch for node in owners}
        floor = max(floor, self._calm_epoch)
        epoch = floor + 1 + (place - floor - 1) % len(owners)
        while epoch in used or not core.voter.open_epoch(epoch):
            epoch += len(owners)
        return epoch

    def _request(self, candidacy: _Candidacy) -> None:
        core = self._core
        primary = core.my_primary()
        assert primary is not None
        candidacy.epoch = epoch = self._next_epoch(primary)
        candidacy.claim = slots_digest(primary.owned)
        core.current_epoch = max(core.current_epoch, epoch)
        candidacy.repeat_at_ms = core.now_ms + candidacy.repeat_ms
        candidacy.give_up_at_ms = core.now_ms + REQUEST_TIMEOUT_MS + REQUEST_TIMEOUT_PER_VOTER_MS * len(core.nodes)
        core.stats.election_began(epoch, core.now_ms)
        core.log("notice", f"Starting a failover election for epoch {epoch}.")
        if core.voter.ready():
            core.voter.vote(epoch, core.myself.id)
            candidacy.granted[core.myself.id] = None
        core.persist()
        self._ask_voters(candidacy)
        self._count(candidacy)

    def _ask_voters(self, candidacy: _Candidacy) -> None:
        core = self._core
        for voter in core.voters():
            if voter is core.myself or voter.failed:
                continue
            if voter.id not in candidacy.granted and voter.id not in candidacy.refused:
                self._ask(voter, candidacy)

    def _ask(self, voter: Node, candidacy: _Candidacy, news: tuple[Rumor, ...] = ()) -> None:
        core = self._core
        primary = core.my_primary()
        assert primary is not None
        raw = bytes.fromhex(primary.id)
        body = (candidacy.epoch, raw, primary.config_epoch, candidacy.claim, self._manual is not None)
        fail = ((int(RumorKind.FAIL), raw, primary.record.version),) if primary.failed else ()
        core.send_to(voter, Kind.AUTH_REQUEST, body, news + fail)

    def on_ack(self, sender: Node, message: Message) -> None:
        candidacy = self._candidacy
        if candidacy is None or not candidacy.epoch or message.body[0] != candidacy.epoch:
            return
        if sender.id in self._core.voter_ids():
            candidacy.granted[sender.id] = None
            if self._manual is not None:
                self._tick_manual(self._manual)  # its primary may have been restarted, which ends the candidacy
            if self._candidacy is candidacy:
                self._count(candidacy)

    def on_nack(self, sender: Node, message: Message) -> None:
        """A voter refuses. Where it knew of other slots, one of the two has just learned from the other."""
        epoch, floor, slots_differ = message.body
        candidacy = self._candidacy
        if candidacy is None or not candidacy.epoch or epoch != candidacy.epoch:
            return
        candidacy.floor = max(candidacy.floor, floor)
        primary = self._core.my_primary()
        if slots_differ and primary is not None:
            if slots_digest(primary.owned) != candidacy.claim:
                self._retry_later("refused")
            elif sender.id not in candidacy.told:
                candidacy.told[sender.id] = None
                self._ask(sender, candidacy, slot_news(self._core, primary))
            return
        candidacy.refused[sender.id] = None
        voters = self._core.voters()
        hopeful = sum(voter.id not in candidacy.refused and not voter.failed for voter in voters)
        if hopeful < self._core.majority():
            self._retry_later("refused")

    def _retry_later(self, outcome: str) -> None:
        core = self._core
        if self._candidacy is not None:
            self._epoch_floor = max(self._epoch_floor, self._candidacy.epoch, self._candidacy.floor)
        self._abandon(outcome)
        wait_ms = min(RETRY_BASE_MS * 2**self._attempts, RETRY_MAX_MS)
        self._attempts = min(self._attempts + 1, 16)
        self._not_before_ms = core.now_ms + wait_ms * (0.25 + core.rng.random())

    def _count(self, candidacy: _Candidacy) -> None:
        core = self._core
        if len(candidacy.granted) < core.majority():
            return  # counting out every one of a thousand votes takes time in proportion to their square
        voters = core.voter_ids()
        votes = sum(voter in voters for voter in candidacy.granted)
        if votes < core.majority() or not self._wants_election():
            return
        epoch, manual = candidacy.epoch, self._manual
        primary = core.my_primary()
        assert primary is not None
        if manual is not None and core.now_ms >= manual.deadline_ms:
            return
        if manual is not None and not manual.ready and not self._replaces(primary):
            return
        if primary.config_epoch >= epoch or slots_digest(primary.owned) != candidacy.claim:
            self._retry_later("abandoned")  # the votes are for other slots than those that are known now
            return
        core.log("notice", "Failover election won: I'm the new master.")
        core.stats.election_ended("won", votes, core.now_ms)
        core.roles.promote(epoch, votes)

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
        elif manual.target_offset is not None and primary.boot != manual.boot:
            core.log("notice", "The master was restarted and takes writes again; asking it anew to hold them back.")
            self._ask_anew(manual)
        elif manual.ready:
            return
        elif manual.target_offset is not None:
            if core.replication.in_sync() and core.roles.offset() >= manual.target_offset:
                core.log("notice", "All master replication stream processed, manual failover can start.")
                manual.ready = True
                manual.stages["caught_up"] = core.now_ms
        elif core.now_ms >= manual.repeat_at_ms:
            manual.repeat_at_ms = core.now_ms + MANUAL_REPEAT_MS
            core.send_to(primary, Kind.MF_START, (manual.nonce,))

    def _ask_anew(self, manual: _Manual) -> None:
        manual.ready, manual.target_offset = False, None
        manual.repeat_at_ms = self._core.now_ms
        self._abandon()

    def link_lost(self) -> None:
        """The primary's process may be gone, and the next one, which the data may come from, takes writes."""
        if self._manual is not None and self._manual.target_offset is not None:
            self._ask_anew(self._manual)

    def on_manual_offset(self, sender: Node, message: Message) -> None:
        nonce, offset = message.body
        manual = self._manual
        if manual is None or manual.nonce != nonce or sender is not self._core.my_primary():
            return
        if manual.target_offset is None:
            manual.target_offset, manual.boot = offset, sender.boot
            manual.stages["paused"] = self._core.now_ms
            self.tick()

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
        elif manual is not None and manual.ready:
            kind = "manual" if "paused" in manual.stages else "forced"
            stages.update(manual.stages)
        else:
            kind = "automatic"
            seen = {"suspected": primary.suspected_at_ms, "failed": primary.failed_at_ms}
            stages.update((stage, at_ms) for stage, at_ms in seen.items() if at_ms is not None)
        if self._candidacy is not None and core.stats.last_election is not None:
            stages["election"] = core.stats.last_election.started_ms
        stages["elected"] = core.now_ms
        stages = dict(sorted(stages.items(), key=lambda stage: stage[1]))
        return Failover(kind, primary.id, epoch, votes or 0, stages)

    def reset(self) -> None:
        """Give up whatever is under way: the role of this node changes."""
        self.pause.end()
        self._abandon()
        self._manual = None
        self._attempts = 0
