"""Proof that a datagram is new: which process of a member speaks, and which of its datagrams were seen.

Every process numbers its datagrams under a random boot id, which its record carries to all. What comes under another
boot id has no effect but a question that only the living process can answer, so neither clocks nor counters on disk
are needed: what was recorded of an earlier process, or of this one, can be played again without any effect. An
answer to an unproved address is never larger than what it answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .errors import Dropped
from .messages import Kind, Message, RumorKind
from .nodes import Address, Node, unpack_record

if TYPE_CHECKING:
    from .core import ClusterCore
    from .interfaces import Rng

WINDOW: Final = 1024
"""Datagrams of a process may overtake each other by so many; older ones are dropped."""
WINDOW_MASK: Final = (1 << WINDOW) - 1
FIRST_SEQUENCE = 1 << 32
BOOT_BIT = 1 << 60
"""Boot ids and sequence numbers have one size on the wire: an answer is then never the larger for them."""
CHALLENGE_TTL_MS = 2000
CHALLENGE_REPEAT_MS = 20
CHALLENGES_MAX = 4096
INTRODUCTION_MS = 60_000
"""Who joined within this time introduces itself to members that have not heard of it. As long as the blacklist, so
that a forgotten node does not talk itself back in."""


@dataclass(slots=True)
class _Challenge:
    nonce: int
    asked_at_ms: float
    expires_at_ms: float
    met_at: str = ""
    """The address that a MEET was sent to: this challenge is the answer to an invitation."""
    owed: int = 0
    """The nonce of a challenge by that node, to be answered when it has proved itself."""


def new_boot(rng: Rng) -> int:
    """new_boot(rng) -> a boot id for a process that starts."""
    return rng.getrandbits(60) | BOOT_BIT


class Proofs:
    """The part of a ClusterCore that tells living processes from recorded datagrams."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self._challenges: dict[str, _Challenge] = {}
        self._joined_at_ms: float | None = None

    @staticmethod
    def heard_of(node: Node) -> None:
        """heard_of(node): its record is new, and may be that of a new process."""
        if node.record.boot not in (0, node.boot):
            node.boot = node.record.boot
            node.sequence = node.window = 0

    @staticmethod
    def check_fresh(sender: Node, sequence: int) -> None:
        """check_fresh(sender, sequence): raises Dropped("replayed") for a datagram that was or may have been here."""
        ahead = sequence - sender.sequence
        if ahead > 0:
            sender.window = (sender.window << ahead | 1) & WINDOW_MASK if ahead < WINDOW else 1
            sender.sequence = sequence
        elif ahead <= -WINDOW or sender.window >> -ahead & 1:
            raise Dropped("replayed")
        else:
            sender.window |= 1 << -ahead

    def prove(self, node: Node, message: Message, source: Address) -> None:
        """prove(node, message, source): `message` answers a question of ours: its process is `node`'s present one."""
        node.boot = message.boot
        node.sequence = message.sequence
        node.window = WINDOW_MASK
        node.source = source
        node.heard_at_ms = self._core.now_ms

    def joined(self) -> None:
        """A handshake was completed: for a while this node introduces itself to who does not know it."""
        self._joined_at_ms = self._core.now_ms

    def admit(self, sender: Node | None, message: Message, source: Address) -> bool:
        """admit(sender, message, source) -> whether `message`, of an unproved process, is to be acted upon.

        It is where it answers a probe. Raises Dropped for strangers that can't prove anything.
        """
        core = self._core
        core.stir()
        if message.kind == Kind.CHALLENGE:
            self._on_unproved_challenge(sender, message, source)
            return False
        if message.kind == Kind.PROOF:
            self._on_proof(sender, message, source)
            return False
        if sender is None:
            if not core.config.tags_prove_membership or core.membership.is_blacklisted(message.sender):
                raise Dropped("unknown_sender")
        elif message.kind == Kind.PONG and core.detector.awaits(sender, message.body[0]):
            self.prove(sender, message, source)
            return True
        core.stats.dropped["unproved" if sender is not None else "unknown_sender"] += 1
        if sender is not None and message.kind == Kind.PING:
            core.send_bare(source, Kind.PONG, (message.body[0], self.challenge(message.sender).nonce))
            return False
        pending = self._challenges.get(message.sender)
        if pending is None or core.now_ms - pending.asked_at_ms >= CHALLENGE_REPEAT_MS:
            challenge = self.challenge(message.sender)
            challenge.asked_at_ms = core.now_ms
            core.send_bare(source, Kind.CHALLENGE, (challenge.nonce, sender is None))
        return False

    def challenge(self, node_id: str, met_at: str = "") -> _Challenge:
        """challenge(id) -> the one that is open for that node, or a new one."""
        now_ms = self._core.now_ms
        found = self._challenges.get(node_id)
        if found is None or now_ms >= found.expires_at_ms:
            found = _Challenge(self._core.rng.getrandbits(32) | 1, now_ms, now_ms + CHALLENGE_TTL_MS)
            self._challenges.pop(node_id, None)
            self._challenges[node_id] = found
            while len(self._challenges) > CHALLENGES_MAX:
                del self._challenges[next(iter(self._challenges))]
        found.met_at = met_at or found.met_at
        return found

    def _on_unproved_challenge(self, sender: Node | None, message: Message, source: Address) -> None:
        nonce, stranger = message.body
        if not stranger:
            self._core.send_bare(source, Kind.PROOF, (nonce,))
        elif sender is not None and sender.address is not None and self._is_newcomer():
            challenge = self.challenge(sender.id)
            challenge.owed = nonce
            self._core.send_bare(sender.address, Kind.CHALLENGE, (challenge.nonce, False))

    def _is_newcomer(self) -> bool:
        joined_at_ms = self._joined_at_ms
        return joined_at_ms is not None and self._core.now_ms - joined_at_ms < INTRODUCTION_MS

    def on_challenge(self, sender: Node, message: Message) -> None:
        """A proved member asks, for it has not seen this process before, or not even this node."""
        nonce, stranger = message.body
        if sender.source is not None and (not stranger or self._is_newcomer()):
            self.answer(nonce, sender.source)

    def answer(self, nonce: int, address: Address) -> None:
        """answer(nonce, address): tell a proved member that this process lives, and what it says of itself."""
        introduction = (int(RumorKind.RECORD), self._core.membership.introduction())
        self._core.send(address, Kind.PROOF, (nonce,), (introduction,))

    def _on_proof(self, sender: Node | None, message: Message, source: Address) -> None:
        core = self._core
        challenge = self._challenges.get(message.sender)
        if challenge is None or challenge.nonce != message.body[0] or core.now_ms >= challenge.expires_at_ms:
            raise Dropped("unproved")
        del self._challenges[message.sender]
        if challenge.met_at:
            core.membership.welcome(message.sender, challenge.met_at)
        for rumor in message.rumors:
            if rumor[0] == RumorKind.RECORD:
                record = unpack_record(rumor[1])
                if record.id == message.sender:
                    core.merge(record)
        node = core.nodes.get(message.sender)
        if node is None:
            return
        self.prove(node, message, source)
        if challenge.owed:
            self.answer(challenge.owed, source)
        if message.epoch > core.current_epoch:
            core.current_epoch = message.epoch
            core.persist_lazily()
        if sender is None:
            core.announce(node, origin=True)
            core.persist()
