"""Replication as a whole: which role this node has, and how it changes.

Laws: one identity and one journal offset for both roles; a replica takes no writes of its own and expires
nothing; a promotion starts a new history that shares the old one up to its offset.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from .. import oom_score
from ..client import GUARD_PRIMARY, Client
from ..command import GATE_ANY, GATE_NOT_STALE, GATE_WRITE, Command
from ..errors import CommandError
from ..keyspace import ExpiryPolicy
from ..logging import PRIMARY, REPLICA, set_role
from .identity import Identity
from .local_expiry import expire_local_keys
from .primary import PrimarySide
from .replica import LinkState, PrimaryLink
from .transfer import Transfer

if TYPE_CHECKING:
    from ..server import Server

log = logging.getLogger("pyredis")

_READONLY_RANK = 50
_STALE_RANK = 60
_LOADING_RANK = 70
_READONLY = CommandError("You can't write against a read only replica.", "READONLY")
_STALE = CommandError("Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "MASTERDOWN")
_LOADING = CommandError("Redis is loading the dataset in memory", "LOADING")
_DEMOTED = CommandError(
    "force unblock from blocking operation, instance state changed (master -> replica?)", "UNBLOCKED"
)


class Replication:
    """`follow(host, port)` makes this node a replica, `promote()` a primary."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.identity = Identity()
        self.primary = PrimarySide(server, self.identity)
        self.link: PrimaryLink | None = None
        """The link to our primary; None on a primary."""
        self.on_link_change: list[Callable[[], None]] = []
        """Called when the link comes up or goes down (the cluster's bus looks at it)."""
        self._data_loaded = False
        server.after_loading.append(self._loading_ended)
        server.cron.append(self.cron)
        config = server.config
        config.on_change("repl-backlog-size", self._resize_backlog)
        for name in ("min-replicas-to-write", "min-replicas-max-lag"):
            config.on_change(name, self.primary.update_gate)
        for name in ("replica-read-only", "replica-serve-stale-data"):
            config.on_change(name, self._update_gates)
        if config.replicaof is not None:
            self.follow(*config.replicaof, connect=False)

    @property
    def is_replica(self) -> bool:
        """Whether this node follows a primary."""
        return self.link is not None

    @property
    def link_up(self) -> bool:
        """Whether the stream flows."""
        return self.link is not None and self.link.state is LinkState.CONNECTED

    @property
    def offset(self) -> int:
        """The replication offset: written here (primary) or applied here (replica), in bytes of the stream."""
        return self.server.journal.offset

    @property
    def async_loading(self) -> bool:
        """Whether a snapshot of the same history is loaded beside the data that is served (INFO async_loading)."""
        return self._transfer_kind == "async"

    @property
    def loading(self) -> bool:
        """Whether a snapshot of another history is loaded as it comes in (INFO loading)."""
        return self._transfer_kind == "other"

    @property
    def _transfer_kind(self) -> str:
        """What a running transfer is in repl-diskless-load's terms; "file" where Redis would receive a file first."""
        transfer = self.link.transfer if self.link is not None else None
        if transfer is None or not transfer.started:
            return "none"
        mode = self.server.config.repl_diskless_load
        if mode == "disabled" or (mode == "on-empty-db" and any(map(len, self.server.keyspace.databases))):
            return "file"
        same = transfer.replid == self.identity.replid and self.primary.backlog is not None
        return "async" if mode == "swapdb" and same else "other"

    # -- changing roles

    def follow(self, host: str, port: int, node_id: str = "", *, connect: bool = True) -> None:
        """follow(host, port[, node_id]): become a replica of that node. Our history is offered for a partial sync.

        Without `connect`, and before the data set is loaded, that is left to cron.
        """
        if self.link is not None:
            if (self.link.host, self.link.port, self.link.node_id) == (host, port, node_id):
                return
            self.link.close()
            database = self.link.client.db
        else:
            self.server.blocking.abort_all(_DEMOTED)
            database = self.server.keyspace.databases[max(0, self.server.journal.database)]
        self.server.journal.frozen = True
        self.link = PrimaryLink(self.server, host, port, node_id)
        # If the new primary goes on with our history, then in the database that it had selected so far.
        self.link.client.db = database
        if not self.server.config.cluster_enabled:
            self.server.config.replicaof = (host, port)
        set_role(REPLICA)
        self.server.oom_score.become(oom_score.REPLICA)
        # Our replicas stay: they may be able to go on with us. If our history changes its name they are told.
        self._update_gates()
        self.primary.update_gate()
        log.info("REPLICAOF %s:%d enabled", host, port)
        if connect and self._data_loaded:
            self.link.connect()

    def promote(self) -> None:
        """promote(): become a primary (REPLICAOF NO ONE, a won election); nothing happens if it is one."""
        if self.link is None:
            return
        self.link.close()
        self.link = None
        if not self.server.config.cluster_enabled:
            self.server.config.replicaof = None
        set_role(PRIMARY)
        self.server.oom_score.become(oom_score.PRIMARY)
        self.identity.shift(self.offset)
        self.server.journal.frozen = False
        self.server.journal.database = -1
        self.server.keyspace.expiry_policy = ExpiryPolicy.DELETE
        self.primary.disconnect_all("this node became a primary")
        self._update_gates()
        self.primary.update_gate()
        self.primary.open_backlog()
        log.info("Setting secondary replication ID to %s, valid up to offset: %d. New replication ID is %s",
                 self.identity.replid2, self.identity.second_offset, self.identity.replid)  # fmt: skip
        log.info("MASTER MODE enabled")

    def _loading_ended(self) -> None:
        self._data_loaded = True
        if self.link is not None:
            self.link.connect()

    def restore(self, replid: str, offset: int, stream_database: int) -> None:
        """restore(replid, offset, database): the data set was loaded from a snapshot of that history."""
        self.server.journal.offset = offset
        if self.link is not None:
            self.identity.replid = replid
            self.link.client.select(stream_database)
            self.primary.restart_backlog()
        else:
            self.identity.replid2 = replid
            self.identity.second_offset = offset + 1
            self.primary.open_backlog()

    # -- what the link tells

    def position(self) -> tuple[str, int]:
        """position() -> (replid, offset) that PSYNC asks with; ("?", -1) if there is no history to go on from."""
        if self.primary.backlog is None:
            return "?", -1
        return self.identity.replid, self.offset + 1

    def continues(self, replid: str | None) -> None:
        """continues(replid): the primary goes on from our offset, under that name of the history."""
        self.primary.open_backlog()
        if replid is not None and self.identity.adopt(replid, self.offset):
            log.info("Master replication ID changed to %s", replid)
            self.primary.disconnect_all("the history changed its name")

    def loaded(self, transfer: Transfer) -> None:
        """loaded(transfer): the primary's snapshot takes the place of our data."""
        keyspace = self.server.keyspace
        for ours, theirs in zip(keyspace.databases, transfer.staging.databases, strict=True):
            ours.swap_contents(theirs)
        keyspace.expiring_here.clear()
        transfer.drop()
        self.identity.replid = transfer.replid
        self.identity.forget_second()
        self.server.journal.offset = transfer.offset
        self.primary.disconnect_all("the data set was replaced")
        self.primary.restart_backlog()
        if self.link is not None:
            self.link.client.select(transfer.stream_database)
        self.server.persistence.data_replaced()

    def transfer_changed(self) -> None:
        """transfer_changed(): a snapshot begins to be loaded."""
        self._update_gates()

    def link_changed(self) -> None:
        """link_changed(): it came up or went down."""
        self._update_gates()
        for callback in self.on_link_change:
            callback()

    # -- gates

    def _update_gates(self) -> None:
        dispatcher = self.server.dispatcher
        config = self.server.config
        if self.link is not None:
            self.server.keyspace.expiry_policy = ExpiryPolicy.HIDE if config.replica_read_only else ExpiryPolicy.LOCAL
        if self.link is not None and config.replica_read_only:
            dispatcher.close_gate("readonly", GATE_WRITE, _READONLY_RANK, self._refuse_write)
        else:
            dispatcher.open_gate("readonly")
        if self.link is not None and not self.link_up and not config.replica_serve_stale_data:
            dispatcher.close_gate("stale", GATE_NOT_STALE, _STALE_RANK, self._refuse_stale)
        else:
            dispatcher.open_gate("stale")
        if self.async_loading:
            dispatcher.close_gate("async-loading", GATE_ANY, _LOADING_RANK, self._refuse_while_loading)
        else:
            dispatcher.open_gate("async-loading")

    @staticmethod
    def _refuse_while_loading(client: Client, command: Command) -> CommandError | None:
        return _LOADING if "no_async_loading" in command.flags else None

    @staticmethod
    def _refuse_write(client: Client, command: Command) -> CommandError | None:
        return _READONLY if command.is_write and not client.guard & GUARD_PRIMARY else None

    @staticmethod
    def _refuse_stale(client: Client, command: Command) -> CommandError | None:
        return None if client.guard & GUARD_PRIMARY else _STALE

    # -- the rest

    def drained(self, client: Client) -> None:
        """drained(client): a replica's output was sent; the stream or a full sync may go on."""
        link = self.primary.links.get(client)
        if link is not None:
            self.primary.drained(link)

    def forget(self, client: Client) -> None:
        """forget(client): its connection is closed; it may have been a replica."""
        if client.replica is not None:
            self.primary.forget(client)

    def _resize_backlog(self) -> None:
        if self.primary.backlog is not None:
            self.primary.backlog.resize(self.server.config.repl_backlog_size)

    def cron(self) -> None:
        """cron(): both sides' periodic work."""
        if self.link is not None:
            self.link.cron()
        expire_local_keys(self.server.keyspace)
        self.primary.cron()
