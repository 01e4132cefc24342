"""Joining, leaving and staying in agreement: MEET handshakes, the blacklist of FORGET, and anti-entropy.

Every pong carries a digest of all that its sender knows. Where digests stay different, the two exchange whole
states over a stream, which after any loss or partition brings all members to the same knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

from .errors import Dropped
from .messages import MEET_PADDED_BYTES, MEET_RECORD_MAX_BYTES, Kind, Message, RumorKind
from .nodes import Address, Node, NodeRecord, unpack_record

if TYPE_CHECKING:
    from .core import ClusterCore

MEET_TIMEOUT_MS = 15_000
MEET_REPEAT_MS = 250
HANDSHAKES_MAX = 1024
BLACKLIST_MS = 60_000
"""Redis's CLUSTER_BLACKLIST_TTL."""
BLACKLIST_MAX = 4096
REMIND_UNTIL_MS = 5_000
"""Who still speaks of a forgotten node has missed the FORGET and is told again, with what is left of the ban, unless
that is less than this: then bans end here and there, and the node may have been invited again.
"""
SYNC_INTERVAL_MS = 400
MISMATCHES_BEFORE_SYNC = 2
"""Digests differ for moments whenever something changes; a sync is for those that stay different."""


@dataclass(slots=True)
class _Handshake:
    nonce: int
    deadline_ms: float
    repeat_at_ms: float
    answered_by: str = ""
    answered_at_ms: float = 0.0


class Membership:
    """The members' coming and going, for a ClusterCore."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self._handshakes: dict[Address, _Handshake] = {}
        self._blacklist: dict[str, float] = {}
        self._invited_again: dict[str, float] = {}
        self._mismatches = 0
        self._next_sync_at_ms = core.now_ms

    def deadline_ms(self) -> float:
        return min((handshake.repeat_at_ms for handshake in self._handshakes.values()), default=inf)

    def tick(self) -> None:
        now_ms = self._core.now_ms
        for address, handshake in list(self._handshakes.items()):
            if now_ms >= handshake.deadline_ms or self._speaks_to_us(handshake):
                del self._handshakes[address]
            elif now_ms >= handshake.repeat_at_ms:
                self._send_meet(address, handshake)

    # MEET

    def start_handshake(self, address: Address) -> None:
        """Invite whoever listens at the bus address `address`, for MEET_TIMEOUT_MS."""
        if address in self._handshakes or len(self._handshakes) >= HANDSHAKES_MAX:
            return
        now_ms = self._core.now_ms
        handshake = _Handshake(self._core.rng.getrandbits(32), now_ms + MEET_TIMEOUT_MS, now_ms)
        self._handshakes[address] = handshake
        self._send_meet(address, handshake)

    def _speaks_to_us(self, handshake: _Handshake) -> bool:
        """Whether the invited node has accepted this one: it speaks to it as to a member."""
        node = self._core.nodes.get(handshake.answered_by)
        return node is not None and node.heard_at_ms is not None and node.heard_at_ms > handshake.answered_at_ms

    def _send_meet(self, address: Address, handshake: _Handshake) -> None:
        handshake.repeat_at_ms = self._core.now_ms + MEET_REPEAT_MS
        record = self.introduction()
        padding = bytes(MEET_PADDED_BYTES - len(record))
        self._core.send(address, Kind.MEET, (handshake.nonce, address[0], record, padding))

    def introduction(self) -> bytes:
        """introduction() -> this node's record, without the slots where they are too many for a datagram."""
        record = self._core.myself.record
        if len(record.packed) > MEET_RECORD_MAX_BYTES:
            record = replace(record, version=0, slots=0)
        return record.packed

    def on_meet(self, sender: Node | None, message: Message, source: Address) -> None:
        record = unpack_record(message.body[2])
        if record.id != message.sender or len(message.body[2]) > MEET_RECORD_MAX_BYTES:
            raise Dropped("malformed")
        if message.kind == Kind.MEET:
            self._on_invitation(sender, message, source)
        else:
            self._on_acceptance(record, message, source)

    def _on_invitation(self, sender: Node | None, message: Message, source: Address) -> None:
        """Nothing is believed yet: who can't answer the challenge is a recorded datagram."""
        nonce, dialled, packed, padding = message.body
        if len(packed) + len(padding) < MEET_PADDED_BYTES:
            raise Dropped("truncated")
        core = self._core
        known = sender is not None and sender.boot == message.boot
        challenge = 0 if known else core.proofs.challenge(message.sender, met_at=dialled).nonce
        core.send(source, Kind.MEET_PONG, (nonce, source[0], self.introduction(), challenge))

    def _on_acceptance(self, record: NodeRecord, message: Message, source: Address) -> None:
        nonce, my_ip, _, challenge = message.body
        core = self._core
        ours = [address for address, handshake in self._handshakes.items() if handshake.nonce == nonce]
        if not ours:
            raise Dropped("unknown_sender")
        if challenge:
            handshake = self._handshakes[ours[0]]
            handshake.answered_by, handshake.answered_at_ms = record.id, core.now_ms
        else:
            del self._handshakes[ours[0]]
        self.welcome(record.id, my_ip)
        core.current_epoch = max(core.current_epoch, message.epoch)
        core.merge(record)
        node = core.nodes[record.id]
        core.proofs.prove(node, message, source)
        if challenge:
            core.proofs.answer(challenge, source)
        self._next_sync_at_ms = core.now_ms
        self.want_sync(node)
        core.persist()

    def welcome(self, node_id: str, my_ip: str) -> None:
        """welcome(id, my_ip): an operator introduced that node and this one, which was reached at `my_ip`."""
        until_ms = self._blacklist.pop(node_id, None)
        if until_ms is not None:
            self._invited_again[node_id] = until_ms
            while len(self._invited_again) > BLACKLIST_MAX:
                del self._invited_again[next(iter(self._invited_again))]
        self._learn_my_ip(my_ip)
        self._core.proofs.joined()

    def _learn_my_ip(self, ip: str) -> None:
        """A node that was not told its address takes the one it was first reached at."""
        core = self._core
        if not core.myself.record.ip and not core.config.announce_ip and ip:
            core.change_self(ip=ip)

    # FORGET

    def forget(self, node: Node) -> None:
        """Remove `node` here and, by telling them, everywhere; nobody takes it back for BLACKLIST_MS."""
        self._blacklist_add(node.id, BLACKLIST_MS)
        self._core.remove_node(node)
        self._tell_ban(node.id, origin=True)
        self._core.persist()

    def on_forget(self, node: Node | None, node_id: str, left_ms: int) -> None:
        """on_forget(node, id, left_ms): it was forgotten elsewhere, where the ban ends in `left_ms`."""
        core = self._core
        if node is core.myself or self.is_blacklisted(node_id):
            return
        if node is not None and node is core.my_primary():
            return
        if core.now_ms < self._invited_again.get(node_id, 0.0):
            return
        self._blacklist_add(node_id, min(left_ms, BLACKLIST_MS))
        self._tell_ban(node_id, origin=False)
        if node is not None:
            core.remove_node(node)
            core.persist_lazily()

    def is_blacklisted(self, node_id: str) -> bool:
        until_ms = self._blacklist.get(node_id)
        if until_ms is not None and until_ms <= self._core.now_ms:
            del self._blacklist[node_id]
            return False
        return until_ms is not None

    def is_unwanted(self, node_id: str) -> bool:
        """is_unwanted(id) -> is_blacklisted(id), asked because somebody speaks of it as of a member."""
        if not self.is_blacklisted(node_id):
            return False
        if self._blacklist[node_id] - self._core.now_ms > REMIND_UNTIL_MS:
            self._tell_ban(node_id, origin=False)
        return True

    def _tell_ban(self, node_id: str, *, origin: bool) -> None:
        core = self._core
        raw = bytes.fromhex(node_id)
        rumor = (int(RumorKind.FORGET), raw, int(self._blacklist[node_id] - core.now_ms))
        core.rumors.tell(rumor, raw, len(core.nodes), origin=origin)

    def clear_blacklist(self) -> None:
        self._blacklist.clear()
        self._invited_again.clear()

    def _blacklist_add(self, node_id: str, ban_ms: float) -> None:
        self._blacklist.pop(node_id, None)
        self._blacklist[node_id] = self._core.now_ms + ban_ms
        self._invited_again.pop(node_id, None)
        while len(self._blacklist) > BLACKLIST_MAX:
            del self._blacklist[next(iter(self._blacklist))]

    # Anti-entropy

    def compare_digest(self, sender: Node, digest: int) -> bool:
        """compare_digest(sender, digest) -> whether `sender` knows just what this node does."""
        core = self._core
        if digest == core.digest:
            self._mismatches = 0
            sender.confirmed_at_ms = core.now_ms
            return True
        self._mismatches += 1
        if self._mismatches >= MISMATCHES_BEFORE_SYNC or not core.health.confirmed:
            self.want_sync(sender)
        return False

    def want_sync(self, node: Node) -> None:
        core = self._core
        if core.now_ms < self._next_sync_at_ms:
            return
        self._next_sync_at_ms = core.now_ms + SYNC_INTERVAL_MS * (0.75 + core.rng.random() / 2)
        core.stats.syncs += 1
        core.request_sync(node)

    def summary(self) -> list[tuple[bytes, int, bool, int]]:
        """summary() -> (id, version, failed, digest) for each member."""
        return [
            (bytes.fromhex(node.id), node.record.version, node.failed, node.digest)
            for node in self._core.nodes.values()
        ]

    def answer_summary(self, theirs: list[Any]) -> tuple[list[Any], list[bytes]]:
        """answer_summary(theirs) -> (records they lack, ids whose records we lack)."""
        core = self._core
        known = {raw.hex(): (version, failed, digest) for raw, version, failed, digest in theirs}
        wanted = []
        for node_id, (version, failed, digest) in known.items():
            node = core.nodes.get(node_id)
            if node is None:
                if not self.is_unwanted(node_id):
                    wanted.append(bytes.fromhex(node_id))
            elif digest != node.digest and (version, failed) >= (node.record.version, node.failed):
                wanted.append(bytes.fromhex(node_id))
        lacking = []
        for node in core.nodes.values():
            version, failed, digest = known.get(node.id, (-1, False, 0))
            if digest != node.digest and (node.record.version, node.failed) >= (version, failed):
                lacking.append((node.record.packed, node.failed))
        return lacking, wanted

    def records(self, wanted: list[bytes]) -> list[tuple[bytes, bool]]:
        """records(wanted) -> (packed record, failed) for those of the ids that are known."""
        nodes = (self._core.nodes.get(raw.hex()) for raw in wanted)
        return [(node.record.packed, node.failed) for node in nodes if node is not None]

    def merge_all(self, epoch: int, records: list[tuple[NodeRecord, bool]]) -> None:
        """merge_all(epoch, records): what a peer sent over a stream."""
        core = self._core
        if epoch > core.current_epoch:
            core.current_epoch = epoch
            core.persist_lazily()
        for record, failed in records:
            core.merge(record, failed=failed)
