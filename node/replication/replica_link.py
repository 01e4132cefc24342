"""What a primary knows of one replica: how far its full sync is, what it acknowledged, where it listens.

Law: the stream reaches a replica in order and without a gap: `next_offset` is what it is sent next, from the
snapshot's offset on, and the backlog keeps everything from there.
"""

from __future__ import annotations

import contextlib
import enum
import socket
from typing import TYPE_CHECKING

from ..client import GUARD_REPLICA

if TYPE_CHECKING:
    from ..client import Client
    from .backlog import Backlog

SNAPSHOT_OUTPUT_HIGH_BYTES = 1 << 20
"""While more than this of a snapshot waits for a replica's socket, no more of it is read from the child."""

STREAM_OUTPUT_HIGH_BYTES = 1 << 18
"""So much of the stream is copied into a replica's output at a time; the rest waits in the backlog."""


class SyncState(enum.Enum):
    """Where a replica is on its way to being in sync; values are INFO's `state`."""

    WAIT_SNAPSHOT = "wait"
    """No snapshot has begun for it."""
    IN_SNAPSHOT = "wait_bgsave"
    """A child writes its snapshot, into a file or, through us, into its socket."""
    SENDING = "send_bulk"
    """It is sent the file."""
    ONLINE = "online"

    @property
    def shown(self) -> str:
        """INFO's word for it."""
        return "wait_bgsave" if self is SyncState.WAIT_SNAPSHOT else self.value


class ReplicaLink:
    """One replica's link. `client.replica` is this object."""

    __slots__ = (
        "_progress",
        "_snapshot_bytes",
        "accepts_eof",
        "accepts_psync2",
        "ack_offset",
        "ack_time_ms",
        "announced_ip",
        "answers_psync",
        "client",
        "listening_port",
        "next_offset",
        "snapshot_only",
        "state",
        "streaming",
        "version",
    )

    def __init__(self, client: Client) -> None:
        self.client = client
        self.state: SyncState | None = None
        """None until PSYNC or SYNC: only REPLCONF came so far."""
        self.listening_port = 0
        self.announced_ip = b""
        self.accepts_eof = False
        self.accepts_psync2 = False
        self.answers_psync = False
        """Whether the transfer is introduced by +FULLRESYNC; SYNC has only the payload."""
        self.snapshot_only = False
        self.version = b""
        self.ack_offset = 0
        self.ack_time_ms = 0
        self.next_offset: int | None = None
        """The offset of the stream that it is sent next; None while it needs none of the stream."""
        self.streaming = False
        """Whether it gets the stream now. After an EOF-marked snapshot that waits for its first REPLCONF ACK."""
        self._snapshot_bytes = 0
        self._progress: tuple[int, int] = (0, 0)
        """Of the snapshot: how much its socket had taken, and since when it takes no more."""

    @property
    def address(self) -> tuple[str, int]:
        """(ip, port) at which this replica can be reached, as far as it told."""
        host = self.announced_ip.decode() if self.announced_ip else peer_host(self.client.peer)
        return host, self.listening_port

    @property
    def name(self) -> str:
        """How the log calls it: `ip:port`."""
        host, port = self.address
        return f"{host}:{port}" if port else f"client id #{self.client.id}"

    @property
    def in_sync(self) -> bool:
        """Whether it gets the stream as it comes."""
        return self.state is SyncState.ONLINE

    @property
    def congested(self) -> bool:
        """Whether its socket should be drained before more of a snapshot is read."""
        return len(self.client.out) > SNAPSHOT_OUTPUT_HIGH_BYTES

    # -- the snapshot

    def begin(self, offset: int) -> None:
        """begin(offset): its snapshot, as of that offset, is being written."""
        self.state = SyncState.IN_SNAPSHOT
        self.ack_offset = offset
        self.next_offset = None if self.snapshot_only else offset + 1

    def send_snapshot(self, data: bytes) -> None:
        """send_snapshot(data): the next bytes of the transfer. They go out in a later round of the reactor."""
        connection = self.client.connection
        if connection is not None and not connection.closed:
            self._snapshot_bytes += len(data)
            self.client.out += data
            connection.send_later()

    def stalled_ms(self, now_ms: int) -> int:
        """stalled_ms(now_ms) -> for how long its socket has taken nothing of the snapshot that waits for it."""
        taken = self._snapshot_bytes - len(self.client.out)
        if not self.client.out or taken != self._progress[0]:
            self._progress = taken, now_ms
        return now_ms - self._progress[1]

    def snapshot_sent(self, *, wait_for_ack: bool, now_ms: int) -> None:
        """snapshot_sent(...): the transfer is complete; the stream follows, at once or after the first ACK."""
        self.state = SyncState.ONLINE
        self.ack_time_ms = now_ms
        self.streaming = not wait_for_ack
        connection = self.client.connection
        if self.snapshot_only and connection is not None:
            connection.finish("snapshot was sent")

    # -- the stream

    def resume(self, offset: int, now_ms: int) -> None:
        """resume(offset, now_ms): a partial sync; the stream goes on from `offset`."""
        self.state = SyncState.ONLINE
        self.streaming = True
        self.next_offset = offset
        self.ack_offset = offset - 1
        self.ack_time_ms = now_ms

    def unsent_bytes(self, backlog: Backlog) -> int:
        """unsent_bytes(backlog) -> how much of the stream it has yet to be sent; its output limit counts that."""
        if self.next_offset is None:
            return 0
        copied = len(self.client.out) if self.in_sync else 0
        return backlog.end - self.next_offset + copied

    def push(self, backlog: Backlog) -> None:
        """push(backlog): the next part of the stream to its socket, or into its output. O(STREAM_OUTPUT_HIGH_BYTES).

        What doesn't fit there is pushed when the output is drained.
        """
        offset = self.next_offset
        connection = self.client.connection
        if offset is None or not self.streaming or connection is None:
            return
        out = self.client.out
        if connection.closed or len(out) >= STREAM_OUTPUT_HIGH_BYTES:
            return
        data = backlog.read(offset, STREAM_OUTPUT_HIGH_BYTES)
        if data:
            self.next_offset = offset + len(data)
            if not out and len(data) < STREAM_OUTPUT_HIGH_BYTES:
                connection.send_at_once(data)
                return
            out += data
            connection.send_later()

    def acknowledge(self, offset: int, now_ms: int) -> None:
        """acknowledge(offset, now_ms): REPLCONF ACK came."""
        self.ack_offset = max(self.ack_offset, offset)
        self.ack_time_ms = now_ms
        if self.in_sync:
            self.streaming = True

    def enter(self, *, no_delay: bool) -> None:
        """enter(no_delay): from now on its connection carries the stream, and nothing else may be written to it."""
        self.client.flags.add("replica")
        self.client.guard |= GUARD_REPLICA
        connection = self.client.connection
        if connection is not None:
            connection.kind = "replica"
            if not no_delay:
                with contextlib.suppress(OSError):  # a Unix socket has no such option
                    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)

    def close(self, reason: str) -> None:
        """close(reason) ends its connection; it comes back for a new sync."""
        if self.client.connection is not None:
            self.client.connection.close(reason)


def peer_host(peer: bytes) -> str:
    """peer_host(b"127.0.0.1:5") -> "127.0.0.1"; brackets of IPv6 are dropped."""
    host, _, _ = peer.decode().rpartition(":")
    return host.strip("[]")
