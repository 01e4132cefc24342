"""Cores for tests: one with a still clock, and its effects by type."""

from __future__ import annotations

from typing import TypeVar

from pyredis_cluster.gossip.config import ClusterConfig
from pyredis_cluster.gossip.core import ClusterCore
from pyredis_cluster.gossip.effects import Effect, Send
from pyredis_cluster.gossip.messages import Kind, Message, Rumor
from pyredis_cluster.gossip.nodes import Address, NodeRecord
from pyredis_cluster.gossip.nodesconf import SavedState
from pyredis_cluster.gossip.prng import SplitMix
from pyredis_cluster.gossip.proofs import BOOT_BIT, FIRST_SEQUENCE

T = TypeVar("T")


class Still:
    """A data plane that neither writes nor lags."""

    def __init__(self) -> None:
        self.position = 100
        self.synced = True
        self.age = 0.0
        self.hands_over = False

    def offset(self) -> int:
        return self.position

    def in_sync(self) -> bool:
        return self.synced

    def handing_over(self) -> bool:
        return self.hands_over

    def age_ms(self) -> float:
        return self.age


def record(number: int, **fields: object) -> NodeRecord:
    """record(3, slots=...) -> the record of node 3: its id is 3 forty times, its address 10.0.0.3."""
    digit = f"{number:x}"
    given = {"ip": f"10.0.0.{number}", "port": 7000, "bus_port": 17000, "shard_id": digit * 40, **fields}
    return NodeRecord(digit * 40, **given)  # type: ignore[arg-type]


def address(number: int) -> Address:
    return f"10.0.0.{number}", 17000


def boot_of(number: int) -> int:
    """boot_of(3) -> the boot id of node 3's process."""
    return BOOT_BIT | number


class Bench:
    """Bench(myself, *others): a core that knows the others, and shortcuts to feed it and to see what it does.

    The others' processes are taken as proved when they first speak.
    """

    def __init__(
        self,
        myself: NodeRecord,
        *others: NodeRecord,
        config: ClusterConfig | None = None,
        saved: SavedState | None = None,
    ) -> None:
        self.replication = Still()
        self.sequence = FIRST_SEQUENCE
        self.now_ms = 1000.0
        self.core = ClusterCore(
            config or ClusterConfig(), myself, SplitMix(1), self.now_ms, self.replication, saved
        )
        for other in others:
            self.core.merge(other)
        self.core.roles.synced()
        self.core.take_effects()

    def receive(
        self,
        sender: int,
        kind: Kind,
        *body: object,
        epoch: int = 0,
        offset: int = 0,
        rumors: tuple[Rumor, ...] = (),
    ) -> None:
        node = self.core.nodes.get(f"{sender:x}" * 40)
        if node is not None and not node.boot:
            node.boot = boot_of(sender)
        boot = node.boot if node is not None else boot_of(sender)
        self.sequence += 1
        message = Message(
            kind, f"{sender:x}" * 40, boot, self.sequence, epoch, self.core.digest, offset, body, rumors
        )
        self.core.receive(message, address(sender), self.now_ms)

    def effects(self) -> list[Effect]:
        return self.core.take_effects()

    def sent(self, kind: Kind) -> list[Send]:
        """sent(kind) -> the datagrams of that kind that the inputs since the last look ask for."""
        return of_type(self.effects(), Send, kind)

    def pass_time(self, milliseconds: float) -> None:
        """Let time pass with a tick whenever one is due."""
        end_ms = self.now_ms + milliseconds
        while self.core.next_deadline_ms() <= end_ms:
            self.now_ms = max(self.now_ms + 0.01, self.core.next_deadline_ms())
            self.core.tick(self.now_ms)
            self.core.take_effects()
        self.now_ms = end_ms

    def hear_from(self, number: int) -> None:
        """Probe node `number` and get its answer."""
        node = self.core.nodes[f"{number:x}" * 40]
        self.core.take_effects()
        self.core.detector.probe(node)
        (ping,) = self.sent(Kind.PING)
        self.receive(number, Kind.PONG, ping.message.body[0], 0)
        self.core.take_effects()


def of_type(effects: list[Effect], kind: type[T], message_kind: Kind | None = None) -> list[T]:
    """of_type(effects, Send, Kind.PING) -> those of the type, and of the message kind if one is given."""
    found = [effect for effect in effects if isinstance(effect, kind)]
    if message_kind is None:
        return found
    return [effect for effect in found if isinstance(effect, Send) and effect.message.kind == message_kind]
