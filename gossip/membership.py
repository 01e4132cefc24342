"""Joining, leaving and staying in agreement: MEET handshakes, the blacklist of FORGET, and anti-entropy.

Every pong carries a digest of all that its sender knows. Where digests stay different, the two exchange whole
states over a stream, which after any loss or partition brings all members to the same knowledge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
SYNC_INTERVAL_MS = 400
MISMATCHES_BEFORE_SYNC = 2
"""Digests differ for moments whenever something changes; a sync is for those that stay different."""


@dataclass(slots=True)
class _Handshake:
    nonce: int
    deadline_ms: float
    repeat_at_ms: float


class Membership:
    """The members' coming and going, for a ClusterCore."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self._handshakes: dict[Address, _Handshake] = {}
        self._blacklist: dict[str, float] = {}
        self._mismatches = 0
        self._next_sync_at_ms = core.now_ms

    def deadline_ms(self) -> float | None:
        return min((handshake.repeat_at_ms for handshake in self._handshakes.values()), default=None)

    def tick(self) -> None:
        now_ms = self._core.now_ms
        for address, handshake in list(self._handshakes.items()):
            if now_ms >= handshake.deadline_ms:
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

    def _send_meet(self, address: Address, handshake: _Handshake) -> None:
        handshake.repeat_at_ms = self._core.now_ms + MEET_REPEAT_MS
        introduction = self._introduction()
        padding = bytes(MEET_PADDED_BYTES - len(introduction))
        self._core.send(address, Kind.MEET, (handshake.nonce, address[0], introduction, padding))

    def _introduction(self) -> bytes:
        record = self._core.myself.record
        if len(record.packed) > MEET_RECORD_MAX_BYTES:
            record = replace(record, version=0, slots=0)
        return record.packed

    def on_meet(self, message: Message, source: Address) -> None:
        nonce, my_ip, packed, *padding = message.body
        if padding and len(packed) + len(padding[0]) < MEET_PADDED_BYTES:
            raise Dropped("truncated")
        record = unpack_record(packed)
        if record.id != message.sender:
            raise Dropped("malformed")
        core = self._core
        if message.kind == Kind.MEET_PONG:
            for address, handshake in list(self._handshakes.items()):
                if handshake.nonce == nonce:
                    del self._handshakes[address]
                    break
            else:
                raise Dropped("unknown_sender")
        self._blacklist.pop(record.id, None)
        self._learn_my_ip(my_ip)
        core.current_epoch = max(core.current_epoch, message.epoch)
        core.merge(record)
        node = core.nodes[record.id]
        node.source = source
        node.heard_at_ms = core.now_ms
        if message.kind == Kind.MEET:
            core.send(source, Kind.MEET_PONG, (nonce, source[0], self._introduction()))
        else:
            self._next_sync_at_ms = core.now_ms
            self.want_sync(node)
        core.persist()

    def _learn_my_ip(self, ip: str) -> None:
        """A node that was not told its address takes the one it was first reached at."""
        core = self._core
        if not core.myself.record.ip and not core.config.announce_ip and ip:
            core.change_self(ip=ip)

    # FORGET

    def forget(self, node: Node) -> None:
        """Remove `node` here and, by telling them, everywhere; nobody takes it back for BLACKLIST_MS."""
        core = self._core
        self._blacklist_add(node.id)
        core.remove_node(node)
        raw = bytes.fromhex(node.id)
        core.rumors.tell((int(RumorKind.FORGET), raw), raw, len(core.nodes), origin=True)
        core.persist()

    def on_forget(self, node: Node | None, node_id: str) -> None:
        core = self._core
        if node is core.myself or node_id in self._blacklist:
            return
        if node is not None and node is core.my_primary():
            return
        self._blacklist_add(node_id)
        raw = bytes.fromhex(node_id)
        core.rumors.tell((int(RumorKind.FORGET), raw), raw, len(core.nodes), origin=False)
        if node is not None:
            core.remove_node(node)
            core.persist_lazily()

    def is_blacklisted(self, node_id: str) -> bool:
        until_ms = self._blacklist.get(node_id)
        if until_ms is not None and until_ms <= self._core.now_ms:
            del self._blacklist[node_id]
            return False
        return until_ms is not None

    def clear_blacklist(self) -> None:
        self._blacklist.clear()

    def _blacklist_add(self, node_id: str) -> None:
        self._blacklist[node_id] = self._core.now_ms + BLACKLIST_MS
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
                if not self.is_blacklisted(node_id):
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
