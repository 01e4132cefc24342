"""The bus: drives a `ClusterCore` with real sockets, a clock and a disk, and carries its effects out on the server.

Laws: effects are carried out in the order the core gave them, nodes.conf first; nothing is decided here.
Everything runs in the Trio thread, so between an input and its effects no client's command can run.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from pyredis_cluster.gossip import bitmap, effects
from pyredis_cluster.gossip.config import ClusterConfig
from pyredis_cluster.gossip.core import ClusterCore
from pyredis_cluster.gossip.errors import Dropped
from pyredis_cluster.gossip.messages import Keyring, decode, encode
from pyredis_cluster.gossip.nodes import NOFAILOVER, WITNESS, Address, NodeRecord
from pyredis_cluster.gossip.nodesconf import BUS_PORT_OFFSET, dump

from .bus_report import FirstWrite, health_fields, peer_fields
from .bus_sockets import DRAIN_MAX, BusSockets
from .bus_streams import BusStreams
from .cluster_routing import ClusterRouter
from .config_kinds import ConfigError
from .internal_errors import RESTART_DELAY_SECONDS, contained, report, supervised
from .listeners import ListenError
from .logging import VERBOSE
from .nodes_file import NodesFile, NodesFileError
from .pausing import PausePurpose

if TYPE_CHECKING:
    import socket

    from .server import Server

log = logging.getLogger("pyredis")

NODE_TIMEOUT_MIN_MS = 20
ID_BYTES = 20
PORT_MAX = 65535
_PRIMARY_AUX = b"cluster-primary"
FLOOD_PAUSE_SECONDS = 0.002
"""How long the bus's socket rests after it brought something that was dropped: a flood costs few wake-ups."""
_LEVELS = {"verbose": VERBOSE, "notice": logging.INFO, "warning": logging.WARNING}
_WATCHED = (
    "cluster-node-timeout",
    "cluster-require-full-coverage",
    "cluster-allow-replica-migration",
    "cluster-migration-barrier",
    "cluster-replica-no-failover",
    "cluster-replica-validity-factor",
    "replica-priority",
    "cluster-announce-ip",
    "cluster-announce-port",
    "cluster-announce-bus-port",
    "cluster-announce-hostname",
    "cluster-announce-human-nodename",
    "repl-ping-replica-period",
)


class Bus:
    """Bus(server): binds the bus port and reads nodes.conf; `run` is a task of the server.

    Raises ListenError where the port or nodes.conf is in use or of no use.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        config = server.config
        port = config.cluster_port or config.port + BUS_PORT_OFFSET
        if not 0 < port <= PORT_MAX:
            raise ListenError("Redis port number too high for cluster mode. Use a port lower than 55536.")
        self.keyring = Keyring(_secrets(config.cluster_secret, config.cluster_secret_file))
        try:
            self._file = NodesFile(config.cluster_config_file)
            saved = self._file.load()
            hosts = list(config.bind) or ["*", "-::*"]
            self._sockets = BusSockets(hosts, port)
            self._streams = BusStreams(self, hosts, port)
        except NodesFileError as error:
            raise ListenError(str(error)) from None
        except OSError as error:
            raise ListenError(f"Failed listening on port {port} (cluster bus): {error.strerror}") from None
        self._port = port
        self._performing = self._again = False
        self._late_at_ms = float("inf")
        self._timer = trio.CancelScope()
        self._pending_syncs: list[effects.Sync] = []
        self._nursery: trio.Nursery | None = None
        self._handlers = self._effect_handlers()
        self._cluster_config = ClusterConfig(
            voters_primaries_only=config.cluster_voters == "primaries", tags_prove_membership=self.keyring.has_secret
        )
        self._read_config()
        if saved is None:
            record = NodeRecord(secrets.token_hex(ID_BYTES), shard_id=secrets.token_hex(ID_BYTES))
            log.info("No cluster configuration found, I'm %s", record.id)
        else:
            record = saved.records[saved.my_id]
            log.info("Node configuration loaded, I'm %s", record.id)
        if config.cluster_witness and (record.slots or record.primary_id):
            raise ListenError("cluster-witness yes: this node owns slots or is a replica; CLUSTER RESET makes it free")
        self._first_write = FirstWrite(server.journal, self.now_ms)
        self.core = ClusterCore(self._cluster_config, record, server.rng, self.now_ms(), self, saved)
        self.router = ClusterRouter(server, self.core)
        server.dispatcher.route(self.router)
        server.reactor.update_clock = self._update_clock
        server.reactor.urgent = self._look_in
        self._announce()
        for name in _WATCHED:
            config.on_change(name, self._config_changed)
        config.on_change("cluster-secret-file", self._secrets_changed)
        server.replication.on_link_change.append(self._link_changed)
        server.after_loading.append(self._adopt_loaded_slots)
        server.persistence.more_aux = self._history_aux
        server.info.contribute("cluster", lambda: health_fields(self) | peer_fields(self))
        server.info.on_reset.append(self.core.stats.reset_round_trips)
        server.tasks.append(self.run)
        server.at_exit.append(self.close)
        self.perform()

    # What the core asks of the data plane

    def offset(self) -> int:
        return self.server.replication.offset

    def in_sync(self) -> bool:
        return self.server.replication.link_up

    def handing_over(self) -> bool:
        """Whether the target of a slot migration may be claiming slots of ours."""
        return self.server.migrations.handing_over

    def age_ms(self) -> float:
        """How long ago the primary was last heard, by the server's clock; 0 on a primary."""
        link = self.server.replication.link
        if link is None:
            return 0.0
        since_ms = link.last_io_ms if self.server.replication.link_up else link.down_since_ms
        return float(max(0, self.server.clock.update() - since_ms))

    # Time

    @staticmethod
    def now_ms() -> float:
        """now_ms() -> the core's clock: monotonic milliseconds."""
        return time.monotonic() * 1000

    @staticmethod
    def wall_ms(core_ms: float) -> int:
        """wall_ms(core_ms) -> Unix milliseconds of a time of the core."""
        return int(core_ms + (time.time() - time.monotonic()) * 1000)

    def _update_clock(self) -> int:
        """The reactor's clock. A node that wakes from a long stop doubts itself before it serves what has waited."""
        if self.now_ms() > self._late_at_ms:
            contained("bus", self._advance)
        return self.server.clock.update()

    def _advance(self) -> None:
        self.core.advance(self.now_ms())
        self.perform()

    # Running

    async def run(self) -> None:
        """run() serves the bus until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._streams.serve, nursery)
            nursery.start_soon(supervised, self._keep_time)
            for sock in self._sockets.sockets:
                nursery.start_soon(supervised, partial(self._receive, sock))
            self._start_syncs()

    async def _keep_time(self) -> None:
        while True:
            wait_seconds = max(0.0, (self.core.next_deadline_ms() - self.now_ms()) / 1000)
            with trio.CancelScope(deadline=trio.current_time() + wait_seconds) as self._timer:
                await trio.sleep_forever()
            if self.now_ms() >= self.core.next_deadline_ms() and not contained("bus", self._tick):
                await trio.sleep(RESTART_DELAY_SECONDS)

    def _tick(self) -> None:
        self.core.tick(self.now_ms())
        self.perform()

    async def _receive(self, sock: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(sock)
            dropped = self.core.stats.dropped.total()
            taken = self._drain(sock)
            self._hear_refusals(sock)
            if taken < DRAIN_MAX and self.core.stats.dropped.total() != dropped:
                await trio.sleep(FLOOD_PAUSE_SECONDS)

    def _drain(self, sock: socket.socket) -> int:
        """Take what has arrived -> how many datagrams."""
        taken = 0
        for data, source in self._sockets.receive(sock):
            taken += 1
            try:
                self._received(data, source)
            except Exception as error:
                report("the bus, with a datagram, which is dropped", error)
        return taken

    def _hear_refusals(self, sock: socket.socket) -> None:
        for address in self._sockets.refused(sock):
            contained("bus", partial(self._refused, address))

    def _look_in(self) -> None:
        """Between rounds of clients' work: what would otherwise wait until the reactor lets go."""
        if self._sockets.has_arrivals:
            for sock in self._sockets.sockets:
                self._drain(sock)
                if self._sockets.error_seen:
                    self._hear_refusals(sock)
        if self.now_ms() >= self.core.next_deadline_ms():
            contained("bus", self._tick)

    def _received(self, data: bytes, source: Address) -> None:
        try:
            message = decode(data, self.keyring)
            self.core.receive(message, source, self.now_ms())
        except Dropped as dropped:
            self.core.stats.dropped[dropped.reason] += 1
        else:
            self.core.stats.received_bytes[message.kind] += len(data)
            self.perform()

    def _refused(self, address: Address) -> None:
        self.core.refused(address, self.now_ms())
        self.perform()

    def perform(self) -> None:
        """perform(): carry out what the core asks for; call it after each of its inputs."""
        if self._performing:
            self._again = True
            return
        self._performing = True
        try:
            while True:
                self._again = False
                for effect in self.core.take_effects():
                    self._handlers[type(effect)](effect)
                if not self._again:
                    break
        finally:
            self._performing = False
        self._move_timer()

    def _move_timer(self) -> None:
        if self._nursery is not None:
            due_ms = self.core.next_deadline_ms()
            self._late_at_ms = due_ms + self._cluster_config.absence_max_ms
            self._timer.deadline = trio.current_time() + max(0.0, (due_ms - self.now_ms()) / 1000)

    # Effects

    def _effect_handlers(self) -> dict[type, Callable[[Any], None]]:
        return {
            effects.Persist: self._persist,
            effects.Send: self._send,
            effects.Sync: self._sync,
            effects.BecomePrimary: self._become_primary,
            effects.BecomeReplica: self._become_replica,
            effects.PauseWrites: self._pause_writes,
            effects.ResumeWrites: lambda effect: self._resume_writes(),
            effects.SlotsLost: self._delete_slots,
            effects.SlotMapChanged: lambda effect: self.router.refresh(),
            effects.StateChanged: lambda effect: self.router.refresh(),
            effects.DropData: self._drop_data,
            effects.Log: lambda effect: log.log(_LEVELS[effect.level], "%s", effect.text),
        }

    def save(self) -> None:
        """save(): CLUSTER SAVECONFIG. Raises OSError."""
        self._file.save(dump(self.core))

    def _persist(self, effect: effects.Persist) -> None:
        try:
            self._file.save(effect.render(), durable=effect.durable)
        except OSError as error:
            log.critical("Fatal: can't update cluster config file: %s", error)
            # A vote or an epoch that is not on the disk must not be acted upon: as Redis, stop at once.
            os._exit(1)

    def _send(self, effect: effects.Send) -> None:
        data = encode(effect.message, self.keyring)
        self.core.stats.sent_bytes[effect.message.kind] += len(data)
        self._sockets.send(effect.address, data)

    def _sync(self, effect: effects.Sync) -> None:
        self._pending_syncs.append(effect)
        self._start_syncs()

    def _start_syncs(self) -> None:
        if self._nursery is None:
            return
        syncs, self._pending_syncs = self._pending_syncs, []
        for sync in syncs:
            self._nursery.start_soon(self._streams.initiate, sync.address)

    def _become_primary(self, effect: effects.BecomePrimary) -> None:
        self.server.replication.promote()
        self.server.migrations.promoted()
        self.router.refresh()
        self._note_promotion()

    def _note_promotion(self) -> None:
        failover = self.core.stats.last_failover
        if failover is not None and "promoted" not in failover.stages:
            failover.stages["promoted"] = self.now_ms()
            self._first_write.await_in(failover)

    def _become_replica(self, effect: effects.BecomeReplica) -> None:
        self.server.replication.follow(effect.host, effect.port, effect.node_id)
        self.server.migrations.stand_aside("this node is a replica now")
        self.router.refresh()
        self._first_write.give_up()
        self._resume_writes()

    def _pause_writes(self, effect: effects.PauseWrites) -> None:
        self.server.migrations.stand_aside("a manual failover begins")
        self.server.blocking.pause(PausePurpose.FAILOVER, self.wall_ms(effect.until_ms), writes_only=True)

    def _resume_writes(self) -> None:
        self.server.blocking.unpause(PausePurpose.FAILOVER)

    def _delete_slots(self, effect: effects.SlotsLost) -> None:
        """Keys of slots that another primary owns go away, here and on our replicas (Redis: delKeysInSlot)."""
        self.server.migrations.purge.add([*bitmap.slots_of(effect.slots)])

    def _drop_data(self, effect: effects.DropData) -> None:
        self.server.keyspace.flush()

    # What the server tells

    def _link_changed(self) -> None:
        if self.server.replication.link_up:
            self.core.roles.synced()
        elif self.core.myself.primary_id:
            self.core.link_lost(self.core.myself.primary_id, self.now_ms())
            self.perform()

    def _config_changed(self) -> None:
        self._read_config()
        self.core.advance(self.now_ms())
        self._announce()
        self.perform()

    def _secrets_changed(self) -> None:
        """The file is read again: with two secrets, then one, a cluster changes its secret while it runs."""
        config = self.server.config
        if config.cluster_secret:
            raise ConfigError("cluster-secret is set, which takes precedence")
        if not config.cluster_secret_file:
            raise ConfigError("a cluster's secret can't be taken away while it runs")
        try:
            found = _secrets("", config.cluster_secret_file)
        except ListenError as error:
            raise ConfigError(str(error)) from None
        self.keyring = Keyring(found)
        log.info("Cluster secrets read again: the first one signs, %d accepted.", len(found))

    def _read_config(self) -> None:
        config, ours = self.server.config, self._cluster_config
        ours.node_timeout_ms = max(NODE_TIMEOUT_MIN_MS, config.cluster_node_timeout)
        ours.require_full_coverage = config.cluster_require_full_coverage
        ours.allow_replica_migration = config.cluster_allow_replica_migration
        ours.migration_barrier = config.cluster_migration_barrier
        ours.replica_no_failover = config.cluster_replica_no_failover
        ours.replica_validity_factor = config.cluster_replica_validity_factor
        ours.repl_ping_replica_period_ms = config.repl_ping_replica_period * 1000
        ours.announce_ip = config.cluster_announce_ip

    def _announce(self) -> None:
        """Bring this node's record in line with the configuration."""
        config = self.server.config
        record = self.core.myself.record
        ip = config.cluster_announce_ip or _only_address(config.bind) or record.ip
        wanted = {
            "ip": ip,
            "port": config.cluster_announce_port or config.port,
            "bus_port": config.cluster_announce_bus_port or self._port,
            "hostname": config.cluster_announce_hostname,
            "human_nodename": config.cluster_announce_human_nodename,
            "priority": config.replica_priority,
            "flags": NOFAILOVER * config.cluster_replica_no_failover | WITNESS * config.cluster_witness,
        }
        if any(getattr(record, name) != value for name, value in wanted.items()):
            self.core.change_self(**wanted)

    def _adopt_loaded_slots(self) -> None:
        """After loading: keys in slots that this primary does not own are explained (verifyClusterConfigWithData)."""
        core = self.core
        if not core.myself.is_primary:
            self._recall_history()
            return
        if core.myself.is_witness:
            if self.server.keyspace.databases[0].size:
                log.warning("A witness serves no data: the keys that were loaded can't be reached.")
            return
        database = self.server.keyspace.databases[0]
        free = 0
        for slot, keys in enumerate(database.slots):
            owner = core.slot_map.owners[slot]
            if not keys or owner is core.myself or slot in core.slot_map.importing:
                continue
            if owner is None:
                log.info("I have keys for unassigned slot %d. Taking responsibility for it.", slot)
                free |= 1 << slot
            else:
                log.info(
                    "I have keys for slot %d, but the slot is assigned to another node. Setting it to importing state.",
                    slot,
                )
                core.slot_map.importing[slot] = owner
                core.persist()
        if free:
            core.change_self(slots=core.myself.record.slots | free)
        core.advance(self.now_ms())
        self.perform()

    @property
    def listening(self) -> bool:
        """Whether whole-state exchanges can reach this node: the TCP port of the bus is taken."""
        return self._streams.listening

    def _history_aux(self) -> dict[bytes, bytes]:
        """Whose data a replica saves: they are worth an election only in the place of that primary, in that epoch."""
        history = self.core.roles.history()
        return {_PRIMARY_AUX: b"%b %d" % (history[0].encode(), history[1])} if history is not None else {}

    def _recall_history(self) -> None:
        primary_id, _, epoch = self.server.persistence.loaded_aux.get(_PRIMARY_AUX, b"").partition(b" ")
        if epoch.isdigit():
            self.core.roles.recall(primary_id.decode("latin-1"), int(epoch))

    def close(self) -> None:
        """close(): the ports and nodes.conf are free again."""
        self._nursery = None
        self._sockets.close()
        self._file.close()


def _secrets(secret: str, path: str) -> list[bytes]:
    """The cluster's secrets: the directive's, or each line of the file (at most two; the first signs)."""
    if secret:
        return [secret.encode("utf-8", "surrogateescape")]
    if path:
        try:
            lines = Path(path).read_bytes().split(b"\n")
        except OSError as error:
            raise ListenError(f"Can't read cluster-secret-file {path}: {error.strerror}") from None
        found = [line.strip() for line in lines if line.strip()]
        if not 0 < len(found) <= Keyring.SECRETS_MAX:
            raise ListenError(f"cluster-secret-file {path} must hold one or two secrets, one on a line")
        return found
    log.warning(
        "No cluster-secret is configured: whoever reaches the cluster bus port can join or disturb the cluster. "
        "Set cluster-secret or cluster-secret-file to the same value on all nodes."
    )
    return []


def _only_address(bind: list[str]) -> str:
    """The address others can reach this node at, if `bind` names exactly one; else "": MEET will tell."""
    if len(bind) != 1:
        return ""
    try:
        address = ipaddress.ip_address(bind[0].removeprefix("-"))
    except ValueError:
        return ""
    return "" if address.is_unspecified else str(address)
