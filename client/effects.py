"""What an operation asks of its driver. Operations are generators that yield these and are resumed when done.

A driver reports failures in the effect's `error`, never by raising into the operation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .errors import ClientError
from .wire import Address


class Batch:
    """Encoded commands for one node, and what came of them.

    `lease` is a connection got by `Lease` to use instead of one from the pool. After the exchange `replies`
    holds what was received, and `error` why that is not `count` replies.
    """

    __slots__ = ("address", "count", "error", "lease", "payload", "replies", "timeout_ms")

    def __init__(
        self, address: Address, payload: bytes, count: int, timeout_ms: float, lease: Any = None
    ) -> None:
        self.address = address
        self.payload = payload
        self.count = count
        self.timeout_ms = timeout_ms
        self.lease = lease
        self.replies: list[Any] = []
        self.error: ClientError | None = None


class Exchange:
    """Send all batches, then gather all replies. The batches are for different nodes, and run together."""

    __slots__ = ("batches",)

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches


@dataclass(slots=True)
class Sleep:
    """Wait."""

    duration_ms: float


@dataclass(slots=True)
class Lease:
    """Take a connection to the node out of the pool, for this operation's user alone, into `connection`."""

    address: Address
    connection: Any = None
    error: ClientError | None = None


@dataclass(slots=True)
class Release:
    """Give a leased connection back; `reusable` False closes it, since it may still watch or queue."""

    connection: Any
    reusable: bool


@dataclass(slots=True)
class Retain:
    """Close pooled connections to all nodes but these: the topology has changed."""

    addresses: Iterable[Address]


Effect = Exchange | Sleep | Lease | Release | Retain
