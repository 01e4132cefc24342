"""CLUSTER subcommands that change the cluster, and ASKING, READONLY, READWRITE (Redis: clusterCommand in cluster.c).

Law: arguments are read here, the rules and their texts are the core's (gossip/operations.py); a change is on the
disk before its reply leaves.
"""

from __future__ import annotations

from itertools import islice

from pyredis_cluster.gossip import operations
from pyredis_cluster.gossip.slots import SLOT_COUNT, key_slot

from ..client import GUARD_ASKING, GUARD_READONLY, Client
from ..cluster import Cluster
from ..command import command
from ..command_docs import container_help
from ..errors import CommandError, SyntaxError_, subcommand_error
from ..parsing import integer_or_none, parse_integer
from ..reply import OK, bulk_array, integer, simple

GROUP = "cluster"
CHANGES = "no_async_loading admin stale"


def cluster_text(word: bytes) -> str:
    """cluster_text(word) -> `word` as text that an error can repeat."""
    return word.decode("utf-8", "surrogateescape")


def require_cluster(client: Client) -> Cluster:
    """require_cluster(client) -> the cluster. CommandError where cluster-enabled is no."""
    return client.server.cluster


def _slot(word: bytes) -> int:
    slot = integer_or_none(word)
    if slot is None or not 0 <= slot < SLOT_COUNT:
        raise CommandError("Invalid or out of range slot")
    return slot


def _slots(words: list[bytes]) -> list[int]:
    return [_slot(word) for word in words]


def _slots_of_ranges(args: list[bytes]) -> list[int]:
    words = args[2:]
    if len(words) % 2:
        name = f"{cluster_text(args[0]).lower()}|{cluster_text(args[1]).lower()}"
        raise CommandError(f"wrong number of arguments for '{name}' command")
    slots: list[int] = []
    for first_word, last_word in zip(words[::2], words[1::2], strict=True):
        first, last = _slot(first_word), _slot(last_word)
        if first > last:
            raise CommandError(f"start slot number {first} is greater than end slot number {last}")
        slots.extend(range(first, last + 1))
    return slots


def _has_keys(client: Client) -> bool:
    return bool(client.server.keyspace.databases[0].size)


@command("cluster|meet", arity=-4, flags=CHANGES, since="3.0.0", group=GROUP)
def meet(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER MEET ip port [cluster-bus-port] -> OK

    Forces a node to handshake with another node.
    Complexity: O(1)
    """
    cluster = require_cluster(client)
    if len(args) > 5:
        raise subcommand_error(args)
    port = integer_or_none(args[3])
    if port is None:
        raise CommandError(f"Invalid base port specified: {cluster_text(args[3])}")
    bus_port = None
    if len(args) == 5:
        bus_port = integer_or_none(args[4])
        if bus_port is None:
            raise CommandError(f"Invalid bus port specified: {cluster_text(args[4])}")
    host = cluster_text(args[2])
    cluster.run(lambda: operations.meet(cluster.core, host, port, bus_port, cluster.bus.now_ms()))
    return OK


@command("cluster|forget", arity=3, flags=CHANGES, since="3.0.0", group=GROUP)
def forget(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER FORGET node-id -> OK

    Removes a node from the nodes table.
    Complexity: O(1)
    """
    cluster = client.server.cluster
    cluster.run(lambda: operations.forget(cluster.core, cluster_text(args[2]), cluster.bus.now_ms()))
    return OK


@command("cluster|replicate", arity=3, flags=CHANGES, since="3.0.0", group=GROUP)
def replicate(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER REPLICATE node-id -> OK

    Configure a node as replica of a master node.
    Complexity: O(1)
    """
    cluster = client.server.cluster
    has_keys = _has_keys(client)
    cluster.run(
        lambda: operations.replicate(
            cluster.core, cluster_text(args[2]), has_keys=has_keys, now_ms=cluster.bus.now_ms()
        )
    )
    return OK


@command("cluster|failover", arity=-2, flags=CHANGES, since="3.0.0", group=GROUP)
def failover(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER FAILOVER [FORCE | TAKEOVER] -> OK

    Forces a replica to perform a manual failover of its master.
    Complexity: O(1)
    """
    cluster = client.server.cluster
    mode = args[2].lower() if len(args) == 3 else b""
    if len(args) > 3:
        raise subcommand_error(args)
    if mode not in (b"", b"force", b"takeover"):
        raise SyntaxError_
    cluster.run(lambda: operations.failover(cluster.core, mode.decode(), cluster.bus.now_ms()))
    return OK


@command("cluster|reset", arity=-2, flags="admin stale noscript", since="3.0.0", group=GROUP)
def reset(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER RESET [HARD | SOFT] -> OK

    Resets a node.
    Complexity: O(N) where N is the number of known nodes. The command may execute a FLUSHALL as a side effect.
    """
    cluster = client.server.cluster
    mode = args[2].lower() if len(args) == 3 else b"soft"
    if len(args) > 3:
        raise subcommand_error(args)
    if mode not in (b"hard", b"soft"):
        raise SyntaxError_
    hard, has_keys = mode == b"hard", _has_keys(client)
    cluster.run(
        lambda: operations.reset(cluster.core, hard=hard, has_keys=has_keys, now_ms=cluster.bus.now_ms())
    )
    return OK


@command(
    "cluster|bumpepoch", arity=2, flags=CHANGES, since="3.0.0", group=GROUP, tips=("nondeterministic_output",)
)
def bump_epoch(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER BUMPEPOCH -> BUMPED epoch | STILL epoch

    Advances the cluster config epoch.
    Complexity: O(1)
    """
    cluster = client.server.cluster
    bumped = cluster.run(lambda: operations.bump_epoch(cluster.core, cluster.bus.now_ms()))
    return simple(b"%b %d" % (b"BUMPED" if bumped else b"STILL", cluster.core.myself.config_epoch))


@command("cluster|set-config-epoch", arity=3, flags=CHANGES, since="3.0.0", group=GROUP)
def set_config_epoch(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER SET-CONFIG-EPOCH config-epoch -> OK

    Sets the configuration epoch for a new node.
    Complexity: O(1)
    """
    cluster = client.server.cluster
    epoch = parse_integer(args[2])
    cluster.run(lambda: operations.set_config_epoch(cluster.core, epoch, cluster.bus.now_ms()))
    return OK


@command("cluster|saveconfig", arity=2, flags=CHANGES, since="3.0.0", group=GROUP)
def save_config(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER SAVECONFIG -> OK

    Forces a node to save the cluster configuration to disk.
    Complexity: O(1)
    """
    try:
        client.server.cluster.bus.save()
    except OSError as error:
        raise CommandError(f"error saving the cluster node config: {error.strerror}") from None
    return OK


# Slots


def _add(cluster: Cluster, slots: list[int]) -> bytes:
    cluster.run(lambda: operations.add_slots(cluster.core, slots, cluster.bus.now_ms()))
    return OK


def _delete(cluster: Cluster, slots: list[int]) -> bytes:
    cluster.run(lambda: operations.del_slots(cluster.core, slots, cluster.bus.now_ms()))
    return OK


@command("cluster|addslots", arity=-3, flags=CHANGES, since="3.0.0", group=GROUP)
def add_slots(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER ADDSLOTS slot [slot ...] -> OK

    Assigns new hash slots to a node.
    Complexity: O(N) where N is the total number of hash slot arguments
    """
    return _add(client.server.cluster, _slots(args[2:]))


@command("cluster|addslotsrange", arity=-4, flags=CHANGES, since="7.0.0", group=GROUP)
def add_slots_range(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER ADDSLOTSRANGE start-slot end-slot [start-slot end-slot ...] -> OK

    Assigns new hash slot ranges to a node.
    Complexity: O(N) where N is the total number of the slots between the start slot and end slot arguments.
    """
    return _add(client.server.cluster, _slots_of_ranges(args))


@command("cluster|delslots", arity=-3, flags=CHANGES, since="3.0.0", group=GROUP)
def del_slots(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER DELSLOTS slot [slot ...] -> OK

    Sets hash slots as unbound for a node.
    Complexity: O(N) where N is the total number of hash slot arguments
    """
    return _delete(client.server.cluster, _slots(args[2:]))


@command("cluster|delslotsrange", arity=-4, flags=CHANGES, since="7.0.0", group=GROUP)
def del_slots_range(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER DELSLOTSRANGE start-slot end-slot [start-slot end-slot ...] -> OK

    Sets hash slot ranges as unbound for a node.
    Complexity: O(N) where N is the total number of the slots between the start slot and end slot arguments.
    """
    return _delete(client.server.cluster, _slots_of_ranges(args))


@command("cluster|flushslots", arity=2, flags=CHANGES, since="3.0.0", group=GROUP)
def flush_slots(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER FLUSHSLOTS -> OK

    Deletes all slots information from a node.
    Complexity: O(1)
    """
    cluster = client.server.cluster
    has_keys = _has_keys(client)
    cluster.run(lambda: operations.flush_slots(cluster.core, has_keys=has_keys, now_ms=cluster.bus.now_ms()))
    return OK


@command("cluster|setslot", arity=-4, flags=CHANGES, since="3.0.0", group=GROUP)
def set_slot(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER SETSLOT slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE> -> OK

    Binds a hash slot to a node.
    Complexity: O(1)
    """
    cluster = client.server.cluster
    core = cluster.core
    cluster.run(lambda: operations.require_primary(core))
    slot = _slot(args[2])
    action = args[3].lower()
    node_id = cluster_text(args[4]) if len(args) == 5 else ""
    if action == b"stable" and len(args) == 4:
        cluster.run(lambda: operations.set_slot_stable(core, slot))
    elif action == b"migrating" and len(args) == 5:
        cluster.run(lambda: operations.set_slot_migrating(core, slot, node_id))
    elif action == b"importing" and len(args) == 5:
        cluster.run(lambda: operations.set_slot_importing(core, slot, node_id))
    elif action == b"node" and len(args) == 5:
        keys = len(client.server.keyspace.databases[0].keys_in_slot(slot))
        cluster.run(
            lambda: operations.set_slot_node(core, slot, node_id, keys=keys, now_ms=cluster.bus.now_ms())
        )
    else:
        raise CommandError("Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP")
    return OK


@command("cluster|keyslot", arity=3, flags="stale", since="3.0.0", group=GROUP)
def keyslot(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER KEYSLOT key -> integer

    Returns the hash slot for a key.
    Complexity: O(N) where N is the number of bytes in the key
    """
    require_cluster(client)
    return integer(key_slot(args[2]))


@command("cluster|countkeysinslot", arity=3, flags="stale", since="3.0.0", group=GROUP)
def count_keys_in_slot(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER COUNTKEYSINSLOT slot -> integer

    Returns the number of keys in a hash slot.
    Complexity: O(1)
    """
    require_cluster(client)
    slot = parse_integer(args[2])
    if not 0 <= slot < SLOT_COUNT:
        raise CommandError("Invalid slot")
    return integer(len(client.server.keyspace.databases[0].keys_in_slot(slot)))


@command(
    "cluster|getkeysinslot",
    arity=4,
    flags="stale",
    since="3.0.0",
    group=GROUP,
    tips=("nondeterministic_output",),
)
def get_keys_in_slot(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER GETKEYSINSLOT slot count -> array of keys

    Returns the key names in a hash slot.
    Complexity: O(N) where N is the number of requested keys
    """
    require_cluster(client)
    slot, count = parse_integer(args[2]), parse_integer(args[3])
    if not 0 <= slot < SLOT_COUNT or count < 0:
        raise CommandError("Invalid slot or number of keys")
    return bulk_array([*islice(client.server.keyspace.databases[0].keys_in_slot(slot), count)])


@command("cluster|help", arity=2, flags="loading stale", since="5.0.0", group=GROUP)
def cluster_help(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER HELP -> array

    Returns helpful text about the different subcommands.
    Complexity: O(1)
    """
    return container_help(client)


# A client's own state


@command("asking", arity=1, flags="fast", categories="connection", since="3.0.0", group=GROUP)
def asking(client: Client, args: list[bytes]) -> bytes:
    """ASKING -> OK

    Signals that a cluster client is following an -ASK redirect.
    Complexity: O(1)
    """
    require_cluster(client)
    client.guard |= GUARD_ASKING
    return OK


@command("readonly", arity=1, flags="fast loading stale", categories="connection", since="3.0.0", group=GROUP)
def readonly(client: Client, args: list[bytes]) -> bytes:
    """READONLY -> OK

    Enables read-only queries for a connection to a Redis Cluster replica node.
    Complexity: O(1)
    """
    require_cluster(client)
    client.guard |= GUARD_READONLY
    return OK


@command(
    "readwrite", arity=1, flags="fast loading stale", categories="connection", since="3.0.0", group=GROUP
)
def readwrite(client: Client, args: list[bytes]) -> bytes:
    """READWRITE -> OK

    Enables read-write queries for a connection to a Redis Cluster replica node.
    Complexity: O(1)
    """
    require_cluster(client)
    client.guard &= ~GUARD_READONLY
    return OK
