"""A cluster member: the record that only it may change and everybody copies, and what this node thinks of it.

A record is replaced by one with a higher `version`, never by a lower one. FAIL belongs to a version: a member
that answers again raises its version and thereby clears the mark everywhere. Records and marks together form
a lattice, so that any two nodes which exchanged what they know agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgpack

from . import bitmap
from .errors import Dropped

Address = tuple[str, int]

TEXT_MAX_CHARS = 255
COUNTER_MAX = 2**62
"""Epochs, versions and offsets above it are nobody's: one more than any that is believed can still be sent."""
RECORDS_CACHED_MAX = 2048
NOFAILOVER: Final = 1
WITNESS: Final = 2
"""Flags of a record. A witness votes, but has no data: it never owns slots and neither has nor is a replica."""

UNPACK_ERRORS = (ValueError, TypeError, OverflowError, msgpack.UnpackException)
"""What msgpack raises for bytes that are not msgpack."""

DEFAULT_PRIORITY = 100
"""Redis's replica-priority: the lower goes first, 0 never runs by itself."""

_FIELD_TYPES = (bytes, int, str, int, int, str, str, bytes, bytes, int, bytes, int, int, int)


@dataclass(frozen=True)
class NodeRecord:
    """What a member says about itself.

    `slots` is a set as in `bitmap`; `primary_id` is "" for a primary; `boot` is its process's id, 0 where that is
    not known (from nodes.conf).
    """

    id: str
    version: int = 1
    ip: str = ""
    port: int = 0
    bus_port: int = 0
    hostname: str = ""
    human_nodename: str = ""
    shard_id: str = ""
    primary_id: str = ""
    config_epoch: int = 0
    slots: int = 0
    flags: int = 0
    priority: int = DEFAULT_PRIORITY
    boot: int = 0
    # Not cached_property, which mypyc takes for a plain property: each use would compute them again.
    _packed: bytes = field(init=False, repr=False, compare=False)
    _digests: tuple[int, int] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_packed", b"")
        object.__setattr__(self, "_digests", None)

    @property
    def packed(self) -> bytes:
        """The record's bytes on the bus."""
        if not self._packed:
            object.__setattr__(self, "_packed", self._pack())
        return self._packed

    def _pack(self) -> bytes:
        data: bytes = msgpack.packb(
            [
                bytes.fromhex(self.id),
                self.version,
                self.ip,
                self.port,
                self.bus_port,
                self.hostname,
                self.human_nodename,
                bytes.fromhex(self.shard_id),
                bytes.fromhex(self.primary_id),
                self.config_epoch,
                bitmap.encode(self.slots),
                self.flags,
                self.priority,
                self.boot,
            ]
        )
        return data

    @property
    def digests(self) -> tuple[int, int]:
        """64-bit hashes of the record while it is well and while it is marked FAIL."""
        if self._digests is None:
            ok = blake2b(self.packed, digest_size=8).digest()
            failed = blake2b(self.packed, digest_size=8, person=b"fail").digest()
            object.__setattr__(self, "_digests", (int.from_bytes(ok, "big"), int.from_bytes(failed, "big")))
        assert self._digests is not None
        return self._digests

    def supersedes(self, other: NodeRecord) -> bool:
        """Later version first; of one version, what was heard rather than what nodes.conf told, which holds less.

        Two contents of one version (a disk that went back) are ordered by their bytes.
        """
        if self.version != other.version:
            return self.version > other.version
        if bool(self.boot) is not bool(other.boot):
            return bool(self.boot)
        return self.packed > other.packed


@lru_cache(maxsize=RECORDS_CACHED_MAX)
def unpack_record(data: bytes) -> NodeRecord:
    """unpack_record(data) -> NodeRecord. Raises Dropped("malformed") where a field has no sense.

    Every record comes many times, from many peers.
    """
    try:
        fields: Any = msgpack.unpackb(data)
    except UNPACK_ERRORS:
        raise Dropped("malformed") from None
    if not isinstance(fields, list) or len(fields) != len(_FIELD_TYPES):
        raise Dropped("malformed")
    for value, kind in zip(fields, _FIELD_TYPES, strict=True):
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value <= COUNTER_MAX):
            raise Dropped("malformed")
        if isinstance(value, str) and len(value) > TEXT_MAX_CHARS:
            raise Dropped("malformed")
    node_id, version, ip, port, bus_port, hostname, nodename, shard, primary, epoch, slots, *rest = fields
    if len(node_id) != 20 or len(shard) != 20 or len(primary) not in (0, 20) or max(port, bus_port) > 65535:
        raise Dropped("malformed")
    return NodeRecord(
        node_id.hex(), version, ip, port, bus_port, hostname, nodename, shard.hex(), primary.hex(), epoch,
        bitmap.decode(slots), *rest,
    )  # fmt: skip


@dataclass(slots=True, eq=False)
class Node:
    """A member as this node sees it. Times are in milliseconds of the driver's clock; None means never."""

    record: NodeRecord
    delta: tuple[int, tuple[Any, ...]] | None = None
    """The rumor that told of a change of a long record, and the version it leads to."""
    owned: int = 0
    """The slots it owns by this node's slot map; differs from `record.slots` where somebody's claim is newer.
    """
    failed: bool = False
    failed_at_ms: float | None = None
    boot: int = 0
    """The boot id of its process, as its record says or it has proved; 0 while it is not known."""
    sequence: int = 0
    window: int = 0
    """The greatest number heard under `boot`, and the ones before it that were: bit n for `sequence - n`."""
    source: Address | None = None
    """Where its last datagram came from; used until it knows its own address."""
    heard_at_ms: float | None = None
    """When the last datagram came from it, of whatever kind."""
    contact_at_ms: float | None = None
    """When it last answered a probe of ours, directly."""
    confirmed_at_ms: float | None = None
    """When it last answered with the same digest as ours."""
    unanswered_since_ms: float | None = None
    """When the oldest probe was sent that nothing from it has answered since."""
    refused_at_ms: float | None = None
    joined_at_ms: float = 0.0
    suspected: bool = False
    suspected_at_ms: float | None = None
    """When this node began to suspect it; None when that was refuted."""
    reported_at_ms: float | None = None
    reports: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Failure reports on this node: voter id -> (when, version of this node that it was about)."""
    offset: int = 0
    offset_at_ms: float | None = None
    ping_sent_ms: float | None = None
    rtt_ms: float = 0.0
    """The moving average of its direct answers to probes."""
    rtt_min_ms: float = 0.0
    rtt_max_ms: float = 0.0

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def label(self) -> str:
        """The id and the operator's name for it, as Redis logs them."""
        return f"{self.record.id} ({self.record.human_nodename})"

    @property
    def is_primary(self) -> bool:
        return not self.record.primary_id

    @property
    def is_witness(self) -> bool:
        return bool(self.record.flags & WITNESS)

    @property
    def primary_id(self) -> str:
        return self.record.primary_id

    @property
    def config_epoch(self) -> int:
        return self.record.config_epoch

    @property
    def address(self) -> Address | None:
        """Where to send bus datagrams, or None while that is unknown."""
        if self.record.ip:
            return self.record.ip, self.record.bus_port
        return self.source

    @property
    def digest(self) -> int:
        return self.record.digests[self.failed]
