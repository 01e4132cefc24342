"""What the core asks its driver to do. The driver carries a list out in its order.

The order is the law: Persist stands before everything else, so that no datagram, promotion or reply can
depend on a vote or an epoch that a crash would take back. Role and write effects come next, Sends last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .messages import Message
from .nodes import Address


@dataclass(frozen=True, slots=True)
class Persist:
    """Write nodes.conf atomically. `render()` gives the text; call it before the next input.

    `durable`: it must be on the disk before the effects after it; otherwise it holds only what peers said.
    """

    render: Callable[[], str]
    durable: bool


@dataclass(slots=True, init=False)
class Send:
    """Send one datagram; loss is no error. Not frozen only because that would double the cost of making one."""

    address: Address
    message: Message

    def __init__(self, address: Address, message: Message) -> None:
        self.address = address
        self.message = message


@dataclass(frozen=True, slots=True)
class Sync:
    """Exchange whole states with a peer over a stream (see `sync`); failure is no error."""

    address: Address
    peer_id: str


@dataclass(frozen=True, slots=True)
class BecomePrimary:
    """Stop replicating, keep the data, take writes as soon as the state is ok.

    `replaces` is the primary whose slots this node took over, or "".
    """

    replaces: str


@dataclass(frozen=True, slots=True)
class BecomeReplica:
    """Replicate from this primary. Issued again when its address changes."""

    node_id: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class PauseWrites:
    """Hold back clients' writes until `until_ms`, a role change or ResumeWrites (manual failover)."""

    until_ms: float


@dataclass(frozen=True, slots=True)
class ResumeWrites:
    """The manual failover that paused writes is over."""


@dataclass(frozen=True, slots=True)
class SlotsLost:
    """Another primary owns these slots (a set as in `bitmap`) now: their keys are to be deleted."""

    slots: int


@dataclass(frozen=True, slots=True)
class SlotMapChanged:
    """`owners` or `owned` has changed; blocked clients may need a redirect."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """cluster_state went to ok or fail."""

    ok: bool


@dataclass(frozen=True, slots=True)
class DropData:
    """A replica was reset to an empty primary: its data set is to be emptied (CLUSTER RESET)."""


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the server's log; `level` is "verbose", "notice" or "warning"."""

    level: str
    text: str


Effect = (
    Persist
    | Send
    | Sync
    | BecomePrimary
    | BecomeReplica
    | PauseWrites
    | ResumeWrites
    | SlotsLost
    | SlotMapChanged
    | StateChanged
    | DropData
    | Log
)
