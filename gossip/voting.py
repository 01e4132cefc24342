"""The voters' half of elections: one vote an epoch, saved before it is sent, and only for who knows what is owned.

Votes need not come in the order of their epochs, so that hundreds of elections can go on at once. The disk holds
the highest epoch voted in; a restarted node votes only above all it may have forgotten, and only once it is sure
to be part of the cluster again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from .deltas import record_rumor
from .messages import Kind, Message, Rumor
from .nodes import Node
from .rumors import fitting
from .slots import SLOT_COUNT

if TYPE_CHECKING:
    from .core import ClusterCore

VOTE_HOLD_MS = 400
"""After a vote for one replica of a primary, no vote for another one of it for so long."""
VOTES_MAX = 4096
"""Votes remembered; all epochs up to the oldest forgotten one are closed."""


class Voter:
    """The voting half of a ClusterCore."""

    def __init__(self, core: ClusterCore, *, restarted: bool) -> None:
        self._core = core
        self._restarted = restarted
        self._votes: dict[int, str] = {}
        self._floor = core.last_vote_epoch
        self._holds: dict[str, tuple[str, float]] = {}

    def forget(self) -> None:
        """CLUSTER RESET HARD: be a new voter."""
        self._votes.clear()
        self._floor = self._core.last_vote_epoch = 0
        self._restarted = False

    def ready(self) -> bool:
        """ready() -> whether this node may vote: it is a voter and knows which epochs it may have voted in."""
        return not self._restarted and self._core.myself.id in self._core.voter_ids()

    def confirmed(self) -> None:
        """This node is known to be part of the cluster (again).

        A disk may be older than the last vote. So a restarted node first hears the others, and then keeps off
        the epochs known to them and as many more as elections may have used without its hearing.
        """
        if self._restarted:
            core = self._core
            self._restarted = False
            self._floor = max(core.current_epoch, core.last_vote_epoch) + 2 * len(core.nodes)

    def open_epoch(self, epoch: int) -> bool:
        """open_epoch(epoch) -> whether this node has not voted in it, for sure."""
        return epoch > self._floor and epoch not in self._votes

    def voted_for(self, epoch: int) -> str:
        """voted_for(epoch) -> the id of the candidate that has this node's vote in `epoch`, or ""."""
        return self._votes.get(epoch, "")

    @property
    def floor(self) -> int:
        """No vote is given in this epoch or any lower one."""
        return self._floor

    def vote(self, epoch: int, candidate_id: str) -> None:
        """vote(epoch, id): bind this node's vote in `epoch`."""
        core = self._core
        assert self.open_epoch(epoch), "a second vote in one epoch"
        self._votes[epoch] = candidate_id
        if epoch > core.last_vote_epoch:
            core.last_vote_epoch = epoch
            core.persist()
        while len(self._votes) > VOTES_MAX:
            self._floor = min(self._votes)
            del self._votes[self._floor]

    def on_request(self, sender: Node, message: Message) -> None:
        epoch, raw, slots_epoch, claim, manual = message.body
        core = self._core
        if not self.ready():
            return
        if self.voted_for(epoch) == sender.id:
            core.send_to(sender, Kind.AUTH_ACK, (epoch,))
            return
        primary = core.nodes.get(raw.hex())
        if not self._agrees(sender, primary, slots_epoch, claim):
            news = slot_news(core, primary) if primary is not None else ()
            core.send_to(sender, Kind.AUTH_NACK, (epoch, self._floor, True), news)
            return
        if not self._may_vote(sender, epoch, raw.hex(), manual=manual):
            core.send_to(sender, Kind.AUTH_NACK, (epoch, self._floor, False))
            return
        self.vote(epoch, sender.id)
        self._holds = {key: hold for key, hold in self._holds.items() if hold[1] > core.now_ms}
        self._holds[raw.hex()] = (sender.id, core.now_ms + VOTE_HOLD_MS)
        core.send_to(sender, Kind.AUTH_ACK, (epoch,))
        core.log("notice", f"Failover auth granted to {sender.label} for epoch {epoch}")

    def _agrees(self, sender: Node, primary: Node | None, slots_epoch: int, claim: int) -> bool:
        """Whether the candidate is what it says, and would claim exactly what its primary owns by our knowledge."""
        return (
            primary is not None
            and sender.primary_id == primary.id
            and primary.config_epoch <= slots_epoch
            and slots_digest(primary.owned) == claim
        )

    def _may_vote(self, sender: Node, epoch: int, primary_id: str, *, manual: bool) -> bool:
        if not self.open_epoch(epoch):
            return False
        if not manual and primary_id not in self._core.failed:
            return False
        held_for, until_ms = self._holds.get(primary_id, ("", 0.0))
        return held_for in ("", sender.id) or self._core.now_ms >= until_ms


def slots_digest(slots: int) -> int:
    """slots_digest(slots) -> a 64-bit hash of a set of slots."""
    return int.from_bytes(blake2b(slots.to_bytes(SLOT_COUNT // 8, "little"), digest_size=8).digest(), "big")


def slot_news(core: ClusterCore, primary: Node) -> tuple[Rumor, ...]:
    """slot_news(core, primary) -> what shows which slots `primary` owns: its record, and those of who took some."""
    contested = primary.record.slots & ~primary.owned
    takers = [node for node in core.nodes.values() if node.owned & contested] if contested else []
    return fitting(record_rumor(node) for node in (core.myself, primary, *takers))
