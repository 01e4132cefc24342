"""Replication's commands: REPLICAOF, PSYNC, SYNC, REPLCONF, ROLE, WAIT (Redis: replication.c)."""

from __future__ import annotations

import logging

from ..client import GUARD_PRIMARY, GUARD_REPLICA, Client
from ..command import command
from ..errors import CommandError, SyntaxError_
from ..parsing import integer_or_none, parse_integer
from ..replication.replica import LinkState
from ..replication.replica_link import SyncState
from ..reply import NO_REPLY, OK, array, bulk, integer, simple

log = logging.getLogger("pyredis")

_PORT_MAX = 65535
_WAIT_TIMEOUT_MAX_MS = 1 << 53
ACK_DIGITS_MAX = 19


def _replicaof(client: Client, args: list[bytes]) -> bytes:
    server = client.server
    if server.config.cluster_enabled:
        raise CommandError("REPLICAOF not allowed in cluster mode.")
    replication = server.replication
    if args[1].lower() == b"no" and args[2].lower() == b"one":
        replication.promote()
        return OK
    if client.guard & GUARD_REPLICA:
        raise CommandError("Command is not valid when client is a replica.")
    port = parse_integer(args[2])
    if not 0 <= port <= _PORT_MAX:
        raise CommandError("Invalid master port")
    host = args[1].decode("utf-8", "surrogateescape")
    link = replication.link
    if link is not None and (link.host, link.port) == (host, port):
        return simple(b"OK Already connected to specified master")
    replication.follow(host, port)
    return OK


@command("replicaof", arity=3, flags="admin noscript stale no_async_loading", since="5.0.0", group="server",
         categories="dangerous")  # fmt: skip
def replicaof(client: Client, args: list[bytes]) -> bytes:
    """REPLICAOF <host port | NO ONE> -> OK

    Configures a server as replica of another, or promotes it to a master.
    Complexity: O(1)
    """
    return _replicaof(client, args)


@command("slaveof", arity=3, flags="admin noscript stale no_async_loading", since="1.0.0", group="server",
         categories="dangerous")  # fmt: skip
def slaveof(client: Client, args: list[bytes]) -> bytes:
    """SLAVEOF <host port | NO ONE> -> OK

    Sets a Redis server as a replica of another, or promotes it to being a master.
    Complexity: O(1)
    """
    return _replicaof(client, args)


def _refuse_sync(client: Client) -> None:
    replication = client.server.replication
    if client.out:
        raise CommandError("SYNC and PSYNC are invalid with pending output")
    if replication.link is not None and not replication.link_up:
        raise CommandError("Can't SYNC while not connected with my master", "NOMASTERLINK")


@command("psync", arity=-3, flags="admin noscript no_async_loading no_multi", since="2.8.0", group="server",
         categories="dangerous")  # fmt: skip
def psync(client: Client, args: list[bytes]) -> bytes:
    """PSYNC replicationid offset -> the stream

    An internal command used in replication.
    Complexity: O(N) where N is the size of what is sent
    """
    if client.connection is None or client.guard & GUARD_PRIMARY:
        return NO_REPLY
    _refuse_sync(client)
    try:
        offset = parse_integer(args[2])
    except CommandError:
        log.warning("Replica %s asks for synchronization but with a wrong offset", client.peer.decode())
        raise
    log.info("Replica %s asks for synchronization", client.peer.decode())
    return client.server.replication.primary.psync(client, args[1].decode("ascii", "replace"), offset)


@command("sync", arity=1, flags="admin noscript no_async_loading no_multi", since="1.0.0", group="server",
         categories="dangerous")  # fmt: skip
def sync(client: Client, args: list[bytes]) -> bytes:
    """SYNC -> the snapshot and the stream

    An internal command used in replication.
    Complexity: O(N) where N is the size of what is sent
    """
    if client.connection is None or client.guard & GUARD_PRIMARY:
        return NO_REPLY
    _refuse_sync(client)
    log.info("Replica %s asks for synchronization", client.peer.decode())
    return client.server.replication.primary.sync(client)


@command("replconf", arity=-1, flags="admin noscript loading stale allow_busy", since="3.0.0", group="server",
         categories="dangerous")  # fmt: skip
def replconf(client: Client, args: list[bytes]) -> bytes:
    """REPLCONF [option value ...] -> OK, or nothing for ACK

    An internal configuration command for replication.
    Complexity: O(1)
    """
    if len(args) % 2 == 0:
        raise SyntaxError_
    if client.guard & GUARD_PRIMARY or client.connection is None:
        return NO_REPLY
    primary = client.server.replication.primary
    link = primary.link_of(client)
    for option, value in zip(args[1::2], args[2::2], strict=True):
        name = option.lower()
        if name == b"listening-port":
            link.listening_port = parse_integer(value)
        elif name == b"ip-address":
            link.announced_ip = value
        elif name == b"capa":
            link.accepts_eof = link.accepts_eof or value.lower() == b"eof"
            link.accepts_psync2 = link.accepts_psync2 or value.lower() == b"psync2"
        elif name == b"ack":
            if value.isdigit():
                primary.acknowledge(client, int(value[:ACK_DIGITS_MAX]))
                client.server.blocking.check_conditions()
            return NO_REPLY
        elif name == b"getack":
            return NO_REPLY
        elif name == b"rdb-only":
            link.snapshot_only = parse_integer(value) == 1
        elif name == b"cluster-node-id":
            _require_node(client, value)
        elif name == b"version":
            link.version = value
        elif name != b"rdb-filter-only":
            raise CommandError(f"Unrecognized REPLCONF option: {option.decode(errors='replace')}")
    return OK


def _require_node(client: Client, node_id: bytes) -> None:
    """A replica in our cluster says whom it takes this node for."""
    server = client.server
    mine = server.cluster.my_id.encode() if server.config.cluster_enabled else b""
    if node_id != mine:
        raise CommandError(f"I am node {mine.decode()}")


@command("role", arity=1, flags="noscript loading stale fast", since="2.8.12", group="server",
         categories="admin dangerous")  # fmt: skip
def role(client: Client, args: list[bytes]) -> bytes:
    """ROLE -> array

    Returns the replication role.
    Complexity: O(1)
    """
    replication = client.server.replication
    link = replication.link
    if link is not None:
        offset = replication.offset if link.state is LinkState.CONNECTED else -1
        fields = [bulk(b"slave"), bulk(link.host.encode()), integer(link.port), bulk(link.state.value.encode())]
        return array([*fields, integer(offset)])
    replicas = []
    for item in replication.primary.links.values():
        if item.state is SyncState.ONLINE:
            host, port = item.address
            replicas.append(array([bulk(host.encode()), bulk(b"%d" % port), bulk(b"%d" % item.ack_offset)]))
    return array([bulk(b"master"), integer(replication.offset), array(replicas)])


@command("wait", arity=3, flags="blocking", since="3.0.0", group="generic",
         tips=("request_policy:all_shards", "response_policy:agg_min"))  # fmt: skip
def wait(client: Client, args: list[bytes]) -> bytes:
    """WAIT numreplicas timeout -> integer

    Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.
    Complexity: O(1)
    """
    server = client.server
    primary = server.replication.primary
    if server.replication.is_replica:
        raise CommandError(
            "WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is "
            "configured to be writable (which is not the default) writes to replicas are just local and are not "
            "propagated."
        )
    wanted = parse_integer(args[1])
    timeout_ms = parse_wait_timeout_ms(args[2])
    offset = client.waiting_offset
    reached = primary.count_acknowledged(offset)
    if reached >= wanted or not client.may_block:
        return integer(reached)

    def condition() -> bytes | None:
        count = primary.count_acknowledged(offset)
        return integer(count) if count >= wanted else None

    server.blocking.park_until(client, args, timeout_ms, condition,
                               on_timeout=lambda _: integer(primary.count_acknowledged(offset)))  # fmt: skip
    primary.ask_for_acks()
    return NO_REPLY


def parse_wait_timeout_ms(text: bytes) -> int:
    """parse_wait_timeout_ms(b"100") -> 100; Redis's errors for WAIT's time-out, an integer of milliseconds."""
    timeout_ms = integer_or_none(text)
    if timeout_ms is None:
        raise CommandError("timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise CommandError("timeout is negative")
    if timeout_ms > _WAIT_TIMEOUT_MAX_MS:
        raise CommandError("timeout is out of range")
    return timeout_ms
