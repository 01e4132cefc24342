"""The primary's side of replication: PSYNC, full syncs, the stream, acknowledgements (Redis: replication.c).

Law: a replica is `ONLINE` only when what it was sent, snapshot and stream, is exactly this node's history up
to `ReplicaLink.next_offset`.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from ..client import Client
from ..command import GATE_WRITE, Command
from ..errors import CommandError
from ..pausing import PausePurpose
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
_QUIET_PAUSES = frozenset({PausePurpose.FAILOVER.value, PausePurpose.SHUTDOWN.value})
"""While these hold, replicas are to reach the primary's offset: no PING moves it on."""


class PrimarySide:
    """Serves replicas. The backlog subscribes to the journal when the first replica comes."""

    __slots__ = (
        "_acks_wanted",
        "_last_ping_ms",
        "_no_replicas_since_ms",
        "_waiting_since_ms",
        "backlog",
        "full_sync",
        "full_syncs",
        "identity",
        "links",
        "partial_refused",
        "partial_syncs",
        "server",
    )

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
        self._last_ping_ms = server.clock.now_ms
        self._waiting_since_ms = 0
        self._acks_wanted = False

    # -- the journal

    def _entries_came(self) -> None:
        """The backlog has more: replicas get it before the reactor waits again."""
        self.server.reactor.schedule(self)

    def flush(self) -> None:
        """flush(): replicas are sent what the journal has for them. O(replicas), and what is copied."""
        backlog = self.backlog
        if backlog is None:
            return
        if self._acks_wanted:
            self._acks_wanted = False
            backlog.quiet = False
            self.server.journal.append_control([b"REPLCONF", b"GETACK", b"*"])
        backlog.quiet = True
        end = backlog.end
        for link in [*self.links.values()]:
            link.push(backlog)
            offset, connection = link.next_offset, link.client.connection
            if offset is not None and offset < end and connection is not None:
                self.server.check_output_limit(connection)

    def on_fault(self) -> None:
        """A bug in `flush`: replicas may lack a part of the stream, they sync anew."""
        self._acks_wanted = False
        if self.backlog is not None:
            self.backlog.quiet = True
        self.disconnect_all("internal error")

    def drained(self, link: ReplicaLink) -> None:
        """drained(link): its output was sent; more of the stream or of the snapshot may follow."""
        if self.backlog is not None:
            link.push(self.backlog)
        if self.full_sync is not None:
            self.full_sync.drained()

    def unsent_bytes(self, client: Client) -> int:
        """unsent_bytes(client) -> how much of the stream that replica has yet to be sent."""
        link = self.links.get(client)
        return link.unsent_bytes(self.backlog) if link is not None and self.backlog is not None else 0

    def _needed_from(self) -> int | None:
        """The oldest offset that a replica has yet to be sent: the backlog keeps what follows."""
        offsets = [link.next_offset for link in self.links.values() if link.next_offset is not None]
        return min(offsets, default=None)

    def open_backlog(self) -> None:
        """open_backlog(): from now on the journal's offset moves and replicas can go on from it."""
        if self.backlog is None:
            size_bytes = self.server.config.repl_backlog_size
            self.backlog = Backlog(
                size_bytes, self.server.journal.offset + 1, self._needed_from, self._entries_came
            )
            self.server.journal.subscribe(self.backlog)
            if not self.links:
                self._no_replicas_since_ms = self.server.clock.now_ms

    def close_backlog(self) -> None:
        """close_backlog(): nobody follows this history any more, and it takes a new name."""
        if self.backlog is not None:
            self.server.journal.unsubscribe(self.backlog)
            self.backlog = None
            self.identity.renew()

    def restart_backlog(self) -> None:
        """restart_backlog(): the data set was replaced by another history's, at the journal's offset."""
        if self.backlog is not None:
            self.server.journal.unsubscribe(self.backlog)
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
            self._enter(link)
            answer = f"+CONTINUE {self.identity.replid}" if link.accepts_psync2 else "+CONTINUE"
            client.out += answer.encode() + b"\r\n"
            link.resume(offset, self.server.clock.now_ms)
            link.push(backlog)
            self.partial_syncs += 1
            log.info("Partial resynchronization request from %s accepted. Sending %d bytes of backlog "
                     "starting from offset %d.", link.name, backlog.end - offset, offset)  # fmt: skip
            self.update_gate()
            return NO_REPLY
        if len(replid) == ID_LENGTH:
            self.partial_refused += 1
            log.info("Partial resynchronization not accepted from %s: it asked for '%s' at offset %d, we are '%s' "
                     "and '%s' up to %d", link.name, replid, offset, self.identity.replid, self.identity.replid2,
                     self.identity.second_offset)  # fmt: skip
        return self.sync(client, answers_psync=True)

    def sync(self, client: Client, *, answers_psync: bool = False) -> bytes:
        """sync(client) -> NO_REPLY: a full sync is due. `answers_psync`: +FULLRESYNC precedes the snapshot."""
        link = self.link_of(client)
        if link.state is not None:
            return NO_REPLY
        link.answers_psync = answers_psync
        self.full_syncs += 1
        if self.backlog is None:
            self.identity.renew()
            self.server.journal.database = -1
            self.open_backlog()
            log.info("Replication backlog created, my new replication IDs are '%s' and '%s'",
                     self.identity.replid, self.identity.replid2)  # fmt: skip
        if not self.waiting():
            self._waiting_since_ms = self.server.clock.now_ms
        link.state = SyncState.WAIT_SNAPSHOT
        self._enter(link)
        sync = self.full_sync
        if sync is not None and sync.open_to_others and sync.links:
            self._attach(link, sync)
        else:
            self.start_full_sync()
        return NO_REPLY

    def _enter(self, link: ReplicaLink) -> None:
        link.enter(no_delay=not self.server.config.repl_disable_tcp_nodelay)
        self.links[link.client] = link
        self._no_replicas_since_ms = None

    def _attach(self, link: ReplicaLink, sync: FullSync) -> None:
        """The file that is being written for others serves this replica too."""
        log.info("Waiting for end of BGSAVE for SYNC")
        self._begin(link, sync.offset)
        sync.links.append(link)

    def forget(self, client: Client) -> None:
        """forget(client): its connection is closed."""
        link = self.links.pop(client, None)
        if link is None:
            return
        client.replica = None  # they refer to each other
        log.info("Connection with replica %s lost.", link.name)
        if self.full_sync is not None and link in self.full_sync.links:
            self.full_sync.forget(link)
        if not self.links:
            self._no_replicas_since_ms = self.server.clock.now_ms
        if self.backlog is not None:
            self.backlog.trim()
        self.update_gate()

    def disconnect_all(self, reason: str) -> None:
        """disconnect_all(reason): our history changed its name; replicas come back and go on if they can."""
        for link in [*self.links.values()]:
            link.close(reason)

    def replied(self, client: Client, args: list[bytes], reply: bytes) -> None:
        """replied(client, args, reply): a replica asked for something on the stream's connection."""
        command = self.server.dispatcher.table.get(args[0])
        name = command.full_name if command is not None else "<unknown>"
        if reply.startswith(b"-"):
            log.critical("== CRITICAL == This master is sending an error to its replica: '%s' after processing the "
                         "command '%s'", reply[1:-2].decode(errors="replace"), name)  # fmt: skip
        log.warning("Replica generated a reply to command '%s', disconnecting it: %s", name, client.peer.decode())
        if client.connection is not None:
            client.out.clear()
            client.connection.finish("a replica generated a reply")

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
        enough = config.repl_diskless_sync_max_replicas
        may_wait = config.repl_diskless_sync and not (enough and len(waiting) >= enough)
        waited_ms = self.server.clock.now_ms - self._waiting_since_ms
        if may_wait and waited_ms < config.repl_diskless_sync_delay * 1000:
            return
        diskless = config.repl_diskless_sync and all(link.accepts_eof for link in waiting)
        marker = secrets.token_hex(ID_LENGTH // 2).encode() if diskless else None
        offset = self.server.journal.offset
        for link in waiting:
            self._begin(link, offset)
        self.full_sync = FullSync(self.server, waiting, marker, offset, self._full_sync_ended)
        self.full_sync.start()

    def _begin(self, link: ReplicaLink, offset: int) -> None:
        # What the replica is sent of the stream must begin with a SELECT.
        self.server.journal.database = -1
        link.begin(offset)
        if link.answers_psync:
            link.send_snapshot(f"+FULLRESYNC {self.identity.replid} {offset}\r\n".encode())

    def _full_sync_ended(self, ok: bool) -> None:
        sync = self.full_sync
        self.full_sync = None
        if sync is None:
            return
        now_ms = self.server.clock.now_ms
        for link in [*sync.links]:
            if ok:
                link.snapshot_sent(wait_for_ack=sync.marker is not None, now_ms=now_ms)
                log.info("Synchronization with replica %s succeeded", link.name)
                if self.backlog is not None:
                    link.push(self.backlog)
            else:
                link.close("full sync failed")
        self.update_gate()
        self._waiting_since_ms = now_ms
        self.start_full_sync()

    # -- acknowledgements

    def acknowledge(self, client: Client, offset: int) -> None:
        """acknowledge(client, offset): REPLCONF ACK; WAIT may be satisfied by it."""
        link = self.links.get(client)
        if link is not None:
            link.acknowledge(offset, self.server.clock.now_ms)
            if self.backlog is not None:
                link.push(self.backlog)

    def count_acknowledged(self, offset: int) -> int:
        """count_acknowledged(offset) -> how many online replicas have the journal up to `offset`."""
        return sum(link.in_sync and link.ack_offset >= offset for link in self.links.values())

    def ask_for_acks(self) -> None:
        """ask_for_acks(): REPLCONF GETACK goes into the stream, once for all who ask before the reactor waits."""
        if self.links:
            self._acks_wanted = True
            self.server.reactor.schedule(self)

    def good_replicas(self) -> int:
        """good_replicas() -> online replicas that acknowledged within min-replicas-max-lag seconds."""
        config = self.server.config
        oldest_ms = self.server.clock.now_ms - config.min_replicas_max_lag * 1000
        return sum(link.in_sync and link.ack_time_ms >= oldest_ms for link in self.links.values())

    def update_gate(self) -> None:
        """update_gate(): writes are refused while fewer than min-replicas-to-write replicas are good."""
        config = self.server.config
        dispatcher = self.server.dispatcher
        # As in Redis, either of the two at zero turns it off.
        needed = config.min_replicas_to_write if config.min_replicas_max_lag else 0
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
            self._ping()
        self.start_full_sync()
        self.update_gate()
        since_ms = self._no_replicas_since_ms
        ttl_ms = config.repl_backlog_ttl * 1000
        idle = not self.links and self.backlog is not None and not self.server.replication.is_replica
        if idle and ttl_ms and since_ms is not None and now_ms - since_ms > ttl_ms:
            self.close_backlog()
            log.info("Replication backlog freed after %d seconds without connected replicas.", config.repl_backlog_ttl)

    def _ping(self) -> None:
        """Life signs: PING in the stream, a newline to those who wait for a snapshot (not while it is streamed)."""
        quiet = self.server.blocking.pauses.reason in _QUIET_PAUSES
        if not self.server.replication.is_replica and not quiet:
            self.server.journal.append_control([b"PING"])
        to_file = self.full_sync is None or self.full_sync.marker is None
        for link in self.links.values():
            if link.state is SyncState.WAIT_SNAPSHOT or (link.state is SyncState.IN_SNAPSHOT and to_file):
                link.send_snapshot(b"\n")

    def _drop_silent(self, now_ms: int, timeout_ms: int) -> None:
        for link in [*self.links.values()]:
            if link.in_sync:
                if link.accepts_psync2 and now_ms - link.ack_time_ms > timeout_ms:
                    log.warning("Disconnecting timedout replica (streaming sync): %s", link.name)
                    link.close("replica timed out")
            elif link.stalled_ms(now_ms) > timeout_ms:
                log.warning("Disconnecting timedout replica (full sync): %s", link.name)
                link.close("replica timed out")
