"""The primary's side of replication: PSYNC, full syncs, the stream, acknowledgements (Redis: replication.c).

Law: a replica is `ONLINE` only when what it was sent, snapshot and stream, is exactly this node's history up
to the journal's offset.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from ..client import Client
from ..command import GATE_WRITE, Command
from ..errors import CommandError
from ..reply import NO_REPLY
from .backlog import Backlog
from .full_sync import FullSync
from .identity import ID_LENGTH, Identity
from .replica_link import ReplicaLink, SyncState

if TYPE_CHECKING:
    from ..server import Server

log = logging.getLogger("pyredis")

_MIN_REPLICAS_RANK = 40
_NOT_ENOUGH = CommandError("Not enough good replicas to write.", "NOREPLICAS")


class PrimarySide:
    """Serves replicas. Subscribes to the journal when the first replica comes."""

    def __init__(self, server: Server, identity: Identity) -> None:
        self.server = server
        self.identity = identity
        self.backlog: Backlog | None = None
        self.links: dict[Client, ReplicaLink] = {}
        """Links past PSYNC or SYNC, oldest first."""
        self.full_sync: FullSync | None = None
        self.full_syncs = 0
        self.partial_syncs = 0
        self.partial_refused = 0
        self._no_replicas_since_ms: int | None = None
        self._last_ping_ms = 0
        self._waiting_since_ms = 0

    # -- the journal

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        """The journal's subscriber: into the backlog and to every replica."""
        if self.backlog is not None:
            self.backlog.append(data)
        for link in [*self.links.values()]:
            link.feed(data)

    def open_backlog(self) -> None:
        """open_backlog(): from now on the journal's offset moves and replicas can go on from it."""
        if self.backlog is None:
            self.backlog = Backlog(self.server.config.repl_backlog_size, self.server.journal.offset + 1)
            self.server.journal.subscribe(self)

    def close_backlog(self) -> None:
        """close_backlog(): nobody follows this history any more, and it takes a new name."""
        if self.backlog is not None:
            self.backlog = None
            self.server.journal.unsubscribe(self)
            self.identity.renew()

    def restart_backlog(self) -> None:
        """restart_backlog(): the data set was replaced by another history's, at the journal's offset."""
        if self.backlog is not None:
            self.server.journal.unsubscribe(self)
        self.backlog = None
        self.open_backlog()

    # -- commands

    def link_of(self, client: Client) -> ReplicaLink:
        """link_of(client) -> its replica link, made at the first REPLCONF or SYNC."""
        link = client.replica
        if not isinstance(link, ReplicaLink):
            link = client.replica = ReplicaLink(client)
        return link

    def psync(self, client: Client, replid: str, offset: int) -> bytes:
        """psync(client, replid, offset) -> NO_REPLY; the replica gets +CONTINUE or a full sync. Offset -1: new."""
        link = self.link_of(client)
        if link.state is not None:
            return NO_REPLY
        backlog = self.backlog
        if backlog is not None and self.identity.continues(replid, offset) and backlog.holds(offset):
            self._become_replica(client)
            answer = f"+CONTINUE {self.identity.replid}" if link.accepts_psync2 else "+CONTINUE"
            stream = backlog.since(offset)
            client.out += answer.encode() + b"\r\n" + stream
            link.state = SyncState.ONLINE
            link.ack_offset = offset - 1
            link.ack_time_ms = self.server.clock.now_ms
            self.links[client] = link
            self.partial_syncs += 1
            log.info("Partial resynchronization request from %s accepted. Sending %d bytes of backlog "
                     "starting from offset %d.", client.peer.decode(), len(stream), offset)  # fmt: skip
            return NO_REPLY
        if len(replid) == ID_LENGTH:
            self.partial_refused += 1
            log.info("Partial resynchronization not accepted from %s (replid %s, offset %d)",
                     client.peer.decode(), replid, offset)  # fmt: skip
        return self.sync(client, answers_psync=True)

    def sync(self, client: Client, *, answers_psync: bool = False) -> bytes:
        """sync(client) -> NO_REPLY: a full sync is due. `answers_psync`: +FULLRESYNC precedes the snapshot."""
        link = self.link_of(client)
        if link.state is not None:
            return NO_REPLY
        link.answers_psync = answers_psync
        link.state = SyncState.WAIT_SNAPSHOT
        self._become_replica(client)
        self.full_syncs += 1
        if self.backlog is None:
            self.identity.renew()
            self.server.journal.database = -1
            self.open_backlog()
            log.info("Replication backlog created, my new replication IDs are '%s'", self.identity.replid)
        if not self.links:
            self._waiting_since_ms = self.server.clock.now_ms
        self.links[client] = link
        log.info("Replica %s asks for synchronization", client.peer.decode())
        self.start_full_sync()
        return NO_REPLY

    def _become_replica(self, client: Client) -> None:
        client.flags.add("replica")
        if client.connection is not None:
            client.connection.kind = "replica"
        self._no_replicas_since_ms = None

    def forget(self, client: Client) -> None:
        """forget(client): its connection is closed."""
        link = self.links.pop(client, None)
        if link is None:
            return
        log.warning("Connection with replica %s lost.", client.peer.decode())
        if self.full_sync is not None:
            self.full_sync.forget(link)
        if not self.links:
            self._no_replicas_since_ms = self.server.clock.now_ms
        self.update_gate()

    def disconnect_all(self, reason: str) -> None:
        """disconnect_all(reason): our history changed its name; replicas come back and go on if they can."""
        for client in [*self.links]:
            if client.connection is not None:
                client.connection.close(reason)

    # -- full sync

    def waiting(self) -> list[ReplicaLink]:
        """waiting() -> the replicas for which no snapshot has begun yet."""
        return [link for link in self.links.values() if link.state is SyncState.WAIT_SNAPSHOT]

    def start_full_sync(self) -> None:
        """start_full_sync(): begin a snapshot for all who wait, unless one is under way or the delay isn't over."""
        waiting = self.waiting()
        if not waiting or self.full_sync is not None or self.server.persistence.child_active:
            return
        config = self.server.config
        delay_ms = config.repl_diskless_sync_delay * 1000 if config.repl_diskless_sync else 0
        if delay_ms and self.server.clock.now_ms - self._waiting_since_ms < delay_ms:
            return
        offset = self.server.journal.offset
        diskless = config.repl_diskless_sync and all(link.accepts_eof for link in waiting)
        self.server.journal.database = -1
        for link in waiting:
            link.state = SyncState.SENDING
            link.ack_offset = offset
            if link.answers_psync:
                link.send_snapshot(f"+FULLRESYNC {self.identity.replid} {offset}\r\n".encode())
        marker = secrets.token_hex(ID_LENGTH // 2).encode() if diskless else None
        self.full_sync = FullSync(self.server, waiting, marker, self._full_sync_ended)
        self.full_sync.start()

    def _full_sync_ended(self, ok: bool) -> None:
        sync = self.full_sync
        self.full_sync = None
        if sync is None:
            return
        now_ms = self.server.clock.now_ms
        for link in sync.links:
            if ok:
                link.snapshot_sent(wait_for_ack=sync.marker is not None, now_ms=now_ms)
                log.info("Synchronization with replica %s succeeded", link.client.peer.decode())
            elif link.client.connection is not None:
                link.client.connection.close("full sync failed")
        self.update_gate()
        self._waiting_since_ms = now_ms
        self.start_full_sync()

    # -- acknowledgements

    def acknowledge(self, client: Client, offset: int) -> None:
        """acknowledge(client, offset): REPLCONF ACK; WAIT may be satisfied by it."""
        link = client.replica
        if isinstance(link, ReplicaLink) and client in self.links:
            link.acknowledge(offset, self.server.clock.now_ms)

    def count_acknowledged(self, offset: int) -> int:
        """count_acknowledged(offset) -> how many online replicas have the journal up to `offset`."""
        return sum(link.in_sync and link.ack_offset >= offset for link in self.links.values())

    def ask_for_acks(self) -> None:
        """ask_for_acks(): REPLCONF GETACK goes into the stream."""
        self.server.journal.append(max(self.server.journal.database, 0), [b"REPLCONF", b"GETACK", b"*"])

    def good_replicas(self) -> int:
        """good_replicas() -> online replicas that acknowledged within min-replicas-max-lag seconds."""
        config = self.server.config
        oldest_ms = self.server.clock.now_ms - config.min_replicas_max_lag * 1000
        if not config.min_replicas_max_lag:
            oldest_ms = -1
        return sum(link.in_sync and link.ack_time_ms >= oldest_ms for link in self.links.values())

    def update_gate(self) -> None:
        """update_gate(): writes are refused while fewer than min-replicas-to-write replicas are good."""
        needed = self.server.config.min_replicas_to_write
        dispatcher = self.server.dispatcher
        if needed and not self.server.replication.is_replica and self.good_replicas() < needed:
            dispatcher.close_gate("min-replicas", GATE_WRITE, _MIN_REPLICAS_RANK, self._refuse_write)
        else:
            dispatcher.open_gate("min-replicas")

    @staticmethod
    def _refuse_write(client: Client, command: Command) -> CommandError | None:
        return _NOT_ENOUGH if command.is_write else None

    # -- cron

    def cron(self) -> None:
        """cron(): pings, keep-alives, time-outs, delayed full syncs, the backlog's time to live."""
        config = self.server.config
        now_ms = self.server.clock.now_ms
        self._drop_silent(now_ms, config.repl_timeout * 1000)
        if not self.links:
            self._last_ping_ms = now_ms
        elif now_ms - self._last_ping_ms >= config.repl_ping_replica_period * 1000:
            self._last_ping_ms = now_ms
            if not self.server.replication.is_replica:
                self.server.journal.append(max(self.server.journal.database, 0), [b"PING"])
            for link in self.links.values():
                if link.state is SyncState.WAIT_SNAPSHOT:
                    link.send_snapshot(b"\n")
        self.start_full_sync()
        self.update_gate()
        since_ms = self._no_replicas_since_ms
        ttl_ms = config.repl_backlog_ttl * 1000
        idle = not self.links and self.backlog is not None and not self.server.replication.is_replica
        if idle and ttl_ms and since_ms is not None and now_ms - since_ms > ttl_ms:
            self.close_backlog()
            log.info("Replication backlog freed after %d seconds without connected replicas.", config.repl_backlog_ttl)

    def _drop_silent(self, now_ms: int, timeout_ms: int) -> None:
        for link in [*self.links.values()]:
            if link.in_sync and link.accepts_psync2 and now_ms - link.ack_time_ms > timeout_ms:
                log.warning("Disconnecting timedout replica (streaming sync): %s", link.client.peer.decode())
                if link.client.connection is not None:
                    link.client.connection.close("replica timed out")
