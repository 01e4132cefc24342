"""What a primary knows of one replica: how far its full sync is, what it acknowledged, where it listens.

Law: the stream reaches a replica in order and without a gap: from the snapshot's offset on everything is
kept in `pending` until the snapshot was sent, then it goes straight to the client's output.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..client import Client

SNAPSHOT_OUTPUT_HIGH_BYTES = 1 << 20
"""While more than this of a snapshot waits for a replica's socket, no more of it is read from the child."""


class SyncState(enum.Enum):
    """Where a replica is on its way to being in sync; values are INFO's `state`."""

    WAIT_SNAPSHOT = "wait_bgsave"
    SENDING = "send_bulk"
    ONLINE = "online"


class ReplicaLink:
    """One replica's link. `client.replica` is this object."""

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
        self.stream_from_ack = False
        """After an EOF-marked snapshot the stream waits for the replica's first REPLCONF ACK."""
        self.pending = bytearray()

    @property
    def address(self) -> tuple[str, int]:
        """(ip, port) at which this replica can be reached, as far as it told."""
        host = self.announced_ip.decode() if self.announced_ip else peer_host(self.client.peer)
        return host, self.listening_port

    @property
    def in_sync(self) -> bool:
        """Whether it gets the stream as it comes."""
        return self.state is SyncState.ONLINE

    @property
    def congested(self) -> bool:
        """Whether its socket should be drained before more of a snapshot is read."""
        return len(self.client.out) > SNAPSHOT_OUTPUT_HIGH_BYTES

    def feed(self, data: bytes) -> None:
        """feed(data): part of the stream, from the offset its sync began at."""
        connection = self.client.connection
        if connection is None or connection.closed or self.snapshot_only:
            return
        if self.in_sync and not self.stream_from_ack:
            self.client.out += data
            connection.reactor.schedule(connection)
        elif self.state is not None and self.state is not SyncState.WAIT_SNAPSHOT:
            self.pending += data
            limit = connection.server.config.client_output_buffer_limit["replica"].hard_bytes
            if limit and len(self.pending) > limit:
                connection.close("output buffer limit")

    def send_snapshot(self, data: bytes) -> None:
        """send_snapshot(data): the next bytes of the transfer."""
        connection = self.client.connection
        if connection is not None and not connection.closed:
            connection.send(data)

    def snapshot_sent(self, *, wait_for_ack: bool, now_ms: int) -> None:
        """snapshot_sent(...): the transfer is complete; the stream follows, at once or after the first ACK."""
        self.state = SyncState.ONLINE
        self.ack_time_ms = now_ms
        self.stream_from_ack = wait_for_ack
        connection = self.client.connection
        if self.snapshot_only and connection is not None:
            connection.finish("snapshot was sent")
        elif not wait_for_ack:
            self._release_pending()

    def acknowledge(self, offset: int, now_ms: int) -> None:
        """acknowledge(offset, now_ms): REPLCONF ACK came."""
        self.ack_offset = max(self.ack_offset, offset)
        self.ack_time_ms = now_ms
        if self.stream_from_ack and self.in_sync:
            self.stream_from_ack = False
            self._release_pending()

    def _release_pending(self) -> None:
        connection = self.client.connection
        if self.pending and connection is not None and not connection.closed:
            connection.send(bytes(self.pending))
        self.pending = bytearray()


def peer_host(peer: bytes) -> str:
    """peer_host(b"127.0.0.1:5") -> "127.0.0.1"; brackets of IPv6 are dropped."""
    host, _, _ = peer.decode().rpartition(":")
    return host.strip("[]")
