"""One node: what it is made of, and the order in which its parts start and stop.

Law: parts are reached through the `Server`, and know each other only through it. The data plane runs in the
reactor's task; whatever is periodic hangs on `cron`.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from itertools import count
from random import Random
from time import perf_counter_ns

import trio

from .auth import password_required, set_authenticated, watch_password
from .blocking import Blocking
from .client import GUARD_REPLICA, Client
from .clock import Clock
from .cluster import Cluster
from .command import GATE_ANY, Command, CommandTable, discover
from .config import Config, ConfigFileError
from .config_kinds import ConfigError
from .connection import Connection
from .data_plane import NAME, bind
from .dispatch import Dispatcher
from .errors import CommandError
from .expiry import ExpiryIndex
from .garbage import Garbage
from .info import Info
from .internal_errors import contained, supervised
from .journal import Journal
from .keyspace import Database, ExpiryPolicy, Keyspace
from .listeners import ListenError, Listeners
from .migrate_links import MigrateLinks
from .migration.migrations import Migrations
from .oom_score import PRIMARY, OomScore
from .parser import RequestParser
from .pausing import Pauses
from .persistence.errors import LoadError
from .persistence.persistence import Persistence
from .reactor import Reactor
from .reclaiming import Reclaimer, seconds_to_tick
from .replication.backlog import Backlog
from .replication.primary import PrimarySide
from .replication.replica_link import ReplicaLink
from .replication.replication import Replication
from .replication.stream import Stream
from .shutdown import Options, Shutdown
from .values.hash import Hash
from .values.score_index import ScoreIndex
from .values.set import Set
from .values.sorted_set import SortedSet
from .values.table import Table

log = logging.getLogger("pyredis")

CRON_INTERVAL_SECONDS = 0.1
CRON_LATE_MS = 500
RUN_ID_BYTES = 20
_PAUSE_RANK = 90


@dataclass(slots=True)
class Stats:
    """Counters of INFO's stats section that no other part keeps."""

    connections_received: int = 0
    connections_rejected: int = 0
    net_input_bytes: int = 0
    net_output_bytes: int = 0
    net_repl_input_bytes: int = 0
    net_repl_output_bytes: int = 0
    reads_processed: int = 0
    output_limit_disconnections: int = 0
    query_limit_disconnections: int = 0

    def reset(self) -> None:
        """reset(): CONFIG RESETSTAT; all count from 0 again."""
        for counter in fields(self):
            setattr(self, counter.name, 0)


bind(
    Backlog,
    Client,
    Clock,
    Command,
    Connection,
    Database,
    Dispatcher,
    ExpiryIndex,
    Hash,
    Journal,
    Keyspace,
    PrimarySide,
    Reactor,
    ReplicaLink,
    RequestParser,
    ScoreIndex,
    Set,
    SortedSet,
    Stats,
    Stream,
    Table,
)


class Server:
    """A node's parts. Build it from a `Config`, then `await run()`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = Clock()
        self.started_ms = self.clock.now_ms
        self.run_id = secrets.token_hex(RUN_ID_BYTES)
        self.rng = Random(secrets.randbits(128))
        self.stats = Stats()
        self.keyspace = Keyspace(1 if config.cluster_enabled else config.databases, self.clock, self.rng)
        self.keyspace.on_expired = self._propagate_expiry
        self.journal = Journal()
        self.reactor = Reactor(self.clock.update)
        self.dispatcher = Dispatcher(self, _command_table(config))
        self.blocking = Blocking(self)
        self.clients: dict[int, Client] = {}
        """Connected clients by id, oldest first."""
        self.client_ids = count(1)
        self.cron: list[Callable[[], None]] = []
        """Called every CRON_INTERVAL_SECONDS, in order; each bounds its own work."""
        self.cron_paused = False
        """DEBUG PAUSE-CRON."""
        self.tasks: list[Callable[[], Awaitable[None]]] = []
        """Trio tasks that run beside the reactor until the server stops."""
        self.before_serving: list[Callable[[], None]] = []
        """Called once, before the first client is accepted."""
        self.after_loading: list[Callable[[], None]] = []
        """Called once, when the data set is loaded."""
        self.at_exit: list[Callable[[], None]] = []
        """Called when the server stops, after the last command."""
        self._stop = trio.Event()
        self._timer_moved = trio.Event()
        self._load_failure: LoadError | None = None
        self._clients_checked_ms = self.started_ms
        self.exit_status = 0
        self.blocking.on_deadline = self._move_timer
        self.cron.append(self._check_clients)
        self.listeners = Listeners(self)
        self.info = Info(self)
        watch_password(self)
        self.oom_score = OomScore(config)
        self.oom_score.become(PRIMARY)
        self.replication = Replication(self)
        self.persistence = Persistence(self)
        self.shutdown = Shutdown(self)
        config.on_change("port", lambda: self._rebind("Unable to listen on this port. Check server logs."))
        config.on_change("bind", lambda: self._rebind("Failed to bind to specified addresses."))
        self.reclaimer = Reclaimer(self)
        self.tasks.append(self.reclaimer.run)
        self.garbage = Garbage()
        self.info.contribute("memory", self.garbage.info)
        self.migrate_links = MigrateLinks()
        self.cron.append(lambda: self.migrate_links.drop_idle(self.clock.now_ms))
        self.at_exit.append(self.migrate_links.close)
        self.migrations = Migrations(self)
        self._cluster = Cluster(self) if config.cluster_enabled else None

    # -- clients

    def accept(self, connection: Connection, peer: bytes) -> None:
        """accept(connection, peer): a socket becomes a client; the reactor reads it from now on."""
        client = connection.client
        client.peer = peer
        client.created_ns = perf_counter_ns()
        set_authenticated(client, not password_required(self))
        self.clients[client.id] = client
        self.reactor.add(connection.fd, connection)

    def forget(self, client: Client) -> None:
        """forget(client): its connection is closed."""
        self.clients.pop(client.id, None)
        self.blocking.release(client)
        client.drop_watches()
        self.replication.forget(client)
        self.migrations.forget(client)

    def resume(self, client: Client, first: list[list[bytes]] | None = None) -> None:
        """resume(client, [args]): it isn't parked any more; what it sent meanwhile runs after `first`."""
        if client.connection is not None:
            client.connection.resume(first)

    def check_output_limit(self, connection: Connection) -> None:
        """check_output_limit(connection) closes a client whose pending output is over its class's limits.

        Over the hard limit at once, over the soft one for longer than its seconds. Called at each partial
        send and from cron.
        """
        limit = self.config.client_output_buffer_limit[connection.kind]
        size = len(connection.client.out)
        hard_bytes, soft_bytes = limit.hard_bytes, limit.soft_bytes
        if connection.client.guard & GUARD_REPLICA:
            size = self.replication.primary.unsent_bytes(connection.client)
            # A limit below the backlog's size would cut off replicas that the backlog can serve.
            hard_bytes, soft_bytes = (
                max(bound, self.config.repl_backlog_size) if bound else 0 for bound in (hard_bytes, soft_bytes)
            )
        now_ms = self.clock.now_ms
        if soft_bytes and size > soft_bytes:
            connection.over_soft_since_ms = connection.over_soft_since_ms or now_ms
        else:
            connection.over_soft_since_ms = 0
        too_long = connection.over_soft_since_ms and now_ms - connection.over_soft_since_ms > limit.soft_seconds * 1000
        if (hard_bytes and size > hard_bytes) or too_long:
            self.stats.output_limit_disconnections += 1
            log.warning("Client id=%d closed for overcoming of output buffer limits.", connection.client.id)
            connection.close("output buffer limit")

    def _check_clients(self) -> None:
        for client in [*self.clients.values()]:
            if (client.out or client.guard & GUARD_REPLICA) and client.connection is not None:
                self.check_output_limit(client.connection)
        timeout_ms = self.config.timeout * 1000
        checked_ms, self._clients_checked_ms = self._clients_checked_ms, self.clock.now_ms
        # After a long stop what clients have sent meanwhile is read before they are judged.
        if not timeout_ms or self.clock.now_ms - checked_ms > CRON_LATE_MS:
            return
        oldest_ms = self.clock.now_ms - timeout_ms
        for client in [*self.clients.values()]:
            idle = client.last_interaction_ms < oldest_ms and client.parked is None and not client.guard & GUARD_REPLICA
            if idle and client.connection is not None:
                client.connection.close("idle timeout")

    def pauses_changed(self, pauses: Pauses) -> None:
        """pauses_changed(pauses): while any holds, commands come past `Blocking.postpone` and no key expires."""
        if pauses.active:
            self.dispatcher.close_gate("pause", GATE_ANY, _PAUSE_RANK, lambda client, command: None)
        else:
            self.dispatcher.open_gate("pause")
        if not self.is_replica:
            self.keyspace.expiry_policy = ExpiryPolicy.HIDE if pauses.active else ExpiryPolicy.DELETE

    @property
    def loading(self) -> bool:
        """Whether a data set is being loaded."""
        return self.persistence.loading is not None

    def reset_stats(self) -> None:
        """reset_stats(): CONFIG RESETSTAT; the counters of `stats` start anew."""
        self.stats.reset()
        self.reclaimer.lazy_free.freed = 0

    def _rebind(self, refusal: str) -> None:
        try:
            self.listeners.reopen()
        except ListenError:
            raise ConfigError(refusal) from None

    # -- the journal

    def _propagate_expiry(self, database: Database, key: bytes) -> None:
        self.journal.append(database.index, [b"DEL", key])

    # -- running

    def stop(self, status: int = 0) -> None:
        """stop(status): `run` returns after the replies that are due were sent; SHUTDOWN and SIGTERM."""
        self.exit_status = status
        self._stop.set()

    def shutdown_on_signal(self, actions: tuple[str, ...] = ()) -> bool:
        """shutdown_on_signal(actions) -> whether the node ends; `actions` as shutdown-on-sigterm has them."""
        return self.shutdown.request(Options.of(actions))

    def _move_timer(self) -> None:
        self._timer_moved.set()

    async def _run_cron(self) -> None:
        while True:
            await trio.sleep(seconds_to_tick(CRON_INTERVAL_SECONDS))
            self.clock.update()
            if self.cron_paused or self.loading:
                continue
            started_ns = perf_counter_ns()
            for hook in self.cron:
                contained("cron hook", hook)
            self.reactor.cycles += 1
            self.reactor.busy_ns += perf_counter_ns() - started_ns

    async def _run_timer(self) -> None:
        while True:
            self._timer_moved = trio.Event()
            deadline_ms = self.blocking.next_deadline_ms()
            wait_seconds = max(0.0, (deadline_ms - self.clock.update()) / 1000) if deadline_ms else float("inf")
            with trio.move_on_after(wait_seconds):
                await self._timer_moved.wait()
            if not contained("timer", lambda: self.blocking.expire(self.clock.update())):
                await trio.sleep(CRON_INTERVAL_SECONDS)

    async def _load(self, on_ready: Callable[[], None]) -> None:
        try:
            await self.persistence.load()
        except LoadError as error:
            self._load_failure = error
            self._stop.set()
            return
        for hook in self.after_loading:
            hook()
        on_ready()

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """run() -> the exit status, once `stop` was called. `on_ready` is called when the data set is loaded.

        Clients are accepted before that, and told LOADING. Raises ListenError, LoadError.
        """
        for prepare in self.before_serving:
            prepare()
        self.listeners.open()
        mode = "cluster" if self.config.cluster_enabled else "standalone"
        log.info("Running in %s mode on port %d, PID: %d", mode, self.config.port, os.getpid())
        log.info("The data plane is %s", "compiled (C)" if NAME == "c" else "plain Python")
        log.info("Server initialized")
        try:
            async with trio.open_nursery() as nursery:
                for loop in (self.reactor.run, self._run_cron, self._run_timer):
                    nursery.start_soon(loop)
                for task in self.tasks:
                    nursery.start_soon(supervised, task)
                nursery.start_soon(self._load, on_ready)
                await self._stop.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.listeners.close()
            for client in [*self.clients.values()]:
                if client.connection is not None:
                    client.connection.flush()
                    client.connection.close("shutdown")
            for hook in self.at_exit:
                contained("exit hook", hook)
        if self._load_failure is not None:
            raise self._load_failure
        log.warning("pyredis-node is now ready to exit, bye bye...")
        return self.exit_status

    @property
    def cluster(self) -> Cluster:
        """This node's cluster. CommandError where cluster-enabled is no."""
        if self._cluster is None:
            raise CommandError("This instance has cluster support disabled")
        return self._cluster

    @property
    def is_replica(self) -> bool:
        """Whether this node follows a primary."""
        return self.replication.is_replica


def _command_table(config: Config) -> CommandTable:
    """The commands, renamed as rename-command says; ConfigFileError where it can't be."""
    table = discover()
    for name, new_name in config.renames:
        try:
            table.rename(name.encode("utf-8", "surrogateescape"), new_name.encode("utf-8", "surrogateescape"))
        except KeyError:
            raise ConfigFileError("No such command in rename-command") from None
        except ValueError:
            raise ConfigFileError("Target command name already exists") from None
    return table
