"""The simulated network: datagrams that are lost, repeated, delayed, cut off and refused, and the streams of syncs.

Messages travel as objects; one in SAMPLE_EVERY, and each that could be too long, is encoded and decoded as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappush
from math import inf
from typing import TYPE_CHECKING, Final

from ..effects import Send, Sync
from ..errors import Dropped
from ..messages import RUMORS_MAX_BYTES, Keyring, Kind, Message, decode, encode, rumor_size
from ..nodes import Address
from ..sync import SyncExchange
from .faults import DATAGRAM_FAULTS, Faults
from .words import WORD_BITS, Words

if TYPE_CHECKING:
    from .cluster import Simulation
    from .hosts import SimNode

DELAYS_MS = (0.1, 1.0)
"""How long a datagram travels while no fault delays it."""
REORDERED_MS = (1.0, 20.0)
TAIL_MIN_MS = 5.0
TAIL_MAX_MS = 10_000.0
TAIL_EXPONENT = -1 / 1.1
"""Delays under the fault of that name have Pareto's distribution (alpha 1.1): a few take seconds."""
SOCKET_BUFFER_MAX = 256
"""Datagrams that wait for a paused process; later ones are lost."""
SAMPLE_EVERY: Final = 64
RUMORS_SURE_MAX: Final = 4
"""Up to so many rumors, none of them a record, fit into a datagram whatever they are."""
_HALF_BITS: Final = WORD_BITS // 2
_HALF_MASK: Final = (1 << _HALF_BITS) - 1
_HALF: Final = 1.0 / (1 << _HALF_BITS)
"""One half of a random word decides about a datagram's delay, the other about which fault it suffers, if any."""
_AUTH_ACK: Final = int(Kind.AUTH_ACK)
_AUTH_REQUEST: Final = int(Kind.AUTH_REQUEST)
_REPORT: Final = int(Kind.REPORT)


class Network:
    """Network(simulation, seed): `transmit` and `synchronise` carry what hosts send, `cut` keeps it from arriving."""

    def __init__(self, simulation: Simulation, seed: int) -> None:
        self._simulation = simulation
        self._words = Words(seed)
        self._keyring = Keyring([b"simulation"])
        self._cut: dict[tuple[int, int], float] = {}
        self._cut_until_ms = 0.0
        """When the last partition ends."""
        self._by_address: dict[Address, SimNode] = {}
        self._lies: dict[tuple[int, int], float] = {}
        self._lies_until_ms = 0.0
        self._fates = (0, 0, 0, 0)
        """Below which random number a datagram is lost, below which else repeated, reordered, delayed."""
        self._arrival: Callable[..., None] = self._arrive
        self.delays_ms = DELAYS_MS
        self.messages = 0

    def connect(self, host: SimNode) -> None:
        self._by_address[host.address] = host

    def set_faults(self, faults: Faults) -> None:
        share = 0.0
        fates = []
        for name in DATAGRAM_FAULTS:
            share += getattr(faults, name)
            fates.append(int(share * (1 << _HALF_BITS)))
        lost, repeated, reordered, delayed = fates
        self._fates = (lost, repeated, reordered, delayed)

    # Partitions

    def reachable(self, source: SimNode, target: SimNode) -> bool:
        """reachable(source, target) -> whether anything gets from `source` to `target` now."""
        now_ms = self._simulation.now_ms
        return now_ms >= self._cut_until_ms or self._cut.get((source.index, target.index), 0.0) <= now_ms

    def cut(self, sources: Iterable[SimNode], targets: Iterable[SimNode], until_ms: float) -> None:
        targets = list(targets)
        self._cut_until_ms = max(self._cut_until_ms, until_ms)
        for source in sources:
            for target in targets:
                self._cut[source.index, target.index] = until_ms

    def lie(self, observers: Iterable[SimNode], node: SimNode, until_ms: float) -> None:
        """lie(observers, node, until_ms): what they send to `node` is refused, although it lives."""
        self._lies_until_ms = max(self._lies_until_ms, until_ms)
        for observer in observers:
            self._lies[observer.index, node.index] = until_ms

    def refused(self, source: SimNode, target: SimNode) -> bool:
        """refused(source, target) -> whether somebody in between refuses what `source` sends."""
        now_ms = self._simulation.now_ms
        return now_ms < self._lies_until_ms and self._lies.get((source.index, target.index), 0.0) > now_ms

    def heal(self) -> None:
        self._cut.clear()
        self._lies.clear()
        self._cut_until_ms = self._lies_until_ms = 0.0

    # Datagrams

    def transmit(self, source: SimNode, send: Send) -> None:
        """transmit(source, send): the datagram's whole fate, but for what `target` is when it arrives."""
        self.messages = count = self.messages + 1
        message = send.message
        if message.rumors or not count % SAMPLE_EVERY:
            self._check_encoding(message, count)
        if message.kind == _AUTH_ACK:
            source.check_vote(send.address, message.body[0])
        elif message.kind == _AUTH_REQUEST:
            source.check_candidacy(message.body[0])
        elif message.kind == _REPORT:
            self._simulation.audits.reported(source, message.body)
        target = self._by_address.get(send.address)
        if target is not None and self.reachable(source, target):
            self._carry(source, target, message)

    def _carry(self, source: SimNode, target: SimNode, message: Message, *, copy: bool = False) -> None:
        """The way of a datagram through the network and its faults, or of a copy of it, which is not copied again."""
        simulation = self._simulation
        word = self._words.draw()
        low, high = self.delays_ms
        arrival_ms = simulation.now_ms + low + (high - low) * (word >> _HALF_BITS) * _HALF
        fate = word & _HALF_MASK
        if fate < self._fates[3] and not (copy and fate < self._fates[1]):
            arrival_ms = self._suffer(source, target, message, fate, arrival_ms)
            if arrival_ms == inf:
                return
        if simulation.now_ms < self._lies_until_ms and self.refused(source, target):
            self._count("false refusal", source, target)
            simulation.at(arrival_ms, self._refuse, source, target.address)
            return
        simulation.sequence += 1
        heappush(simulation.events, (arrival_ms, simulation.sequence, self._arrival, (source, target, message)))

    def _suffer(self, source: SimNode, target: SimNode, message: Message, fate: int, arrival_ms: float) -> float:
        """_suffer(source, target, message, fate, arrival_ms) -> when it arrives instead; infinite where it is lost."""
        lost, repeated, reordered, _ = self._fates
        if fate < lost:
            self._count("loss", source, target)
            return inf
        if fate < repeated:
            self._count("duplication", source, target)
            self._carry(source, target, message, copy=True)
            return arrival_ms
        if fate < reordered:
            self._count("reordering", source, target)
            return arrival_ms + self._uniform(*REORDERED_MS)
        self._count("delay", source, target)
        tail_ms: float = TAIL_MIN_MS * (self._uniform(0.0, 1.0) + 1e-9) ** TAIL_EXPONENT
        return self._simulation.now_ms + min(tail_ms, TAIL_MAX_MS)

    def _uniform(self, low: float, high: float) -> float:
        return low + (high - low) * (self._words.draw() >> _HALF_BITS) * _HALF

    def _delay_ms(self) -> float:
        return self._uniform(*self.delays_ms)

    def _count(self, fault: str, source: SimNode, target: SimNode) -> None:
        self._simulation.report.datagrams[fault] += 1
        self._simulation.mention(source, fault, f"to {target.index}")

    def _check_encoding(self, message: Message, count: int) -> None:
        rumors = message.rumors
        doubtful = len(rumors) > RUMORS_SURE_MAX or any(len(rumor) == 2 for rumor in rumors)
        if not count % SAMPLE_EVERY or (doubtful and sum(map(rumor_size, rumors)) > RUMORS_MAX_BYTES):
            decoded = decode(encode(message, self._keyring), self._keyring)
            assert decoded == message, f"{message} became {decoded}"

    def _arrive(self, source: SimNode, target: SimNode, message: Message) -> None:
        if target.core is None:
            if source.running and not target.gone and self.reachable(target, source):
                arrival_ms = self._simulation.now_ms + self._delay_ms()
                self._simulation.at(arrival_ms, self._refuse, source, target.address)
        elif target.stopped:
            if len(target.backlog) < SOCKET_BUFFER_MAX:
                target.backlog.append((source.address, message))
        else:
            self.deliver(target, source.address, message)

    def deliver(self, target: SimNode, source: Address, message: Message) -> None:
        """deliver(target, source, message): the process reads it."""
        core = target.core
        assert core is not None
        self._simulation.saw_message(target, message)
        if message.kind == _AUTH_ACK:
            self._simulation.audits.voted_for(target, message.sender, message.body[0])
        try:
            core.receive(message, source, target.clock())
        except Dropped as dropped:
            assert dropped.reason in ("unknown_sender", "replayed", "unproved", "own"), dropped.reason
            core.stats.dropped[dropped.reason] += 1
        target.apply()

    def _refuse(self, source: SimNode, address: Address) -> None:
        if source.running and source.core is not None:
            source.core.refused(address, source.clock())
            source.apply()

    # Streams

    def synchronise(self, source: SimNode, sync: Sync) -> None:
        target = self._by_address.get(sync.address)
        if target is None or source.core is None:
            return
        near = SyncExchange(source.core, self._keyring, initiator=True)
        data = near.start()
        self._simulation.at(self._simulation.now_ms + self._delay_ms(), self._accept, source, target, near, data)

    def _accept(self, source: SimNode, target: SimNode, near: SyncExchange, data: bytes) -> None:
        if target.running and target.core is not None and self.reachable(source, target):
            far = SyncExchange(target.core, self._keyring, initiator=False)
            self._pass_on(source, target, near, far, data)

    def _pass_on(
        self, source: SimNode, target: SimNode, mine: SyncExchange, theirs: SyncExchange, data: bytes
    ) -> None:
        """`target` reads what `source` wrote on a stream, and its answer goes back the same way."""
        alive = target.running and theirs.core is target.core and self.reachable(source, target)
        if not alive or not data:
            return
        try:
            answer = theirs.feed(data, target.clock())
        except Dropped:
            return
        self._simulation.note(target, "syncs", str(source.index))
        target.apply()
        due_ms = self._simulation.now_ms + self._delay_ms()
        self._simulation.at(due_ms, self._pass_on, target, source, theirs, mine, answer)
