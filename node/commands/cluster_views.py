"""CLUSTER subcommands that only look: NODES, SLOTS, SHARDS, INFO, LINKS, REPLICAS ... (Redis: cluster.c).

Law: what they show is what this node believes now, in Redis's formats.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyredis_cluster.gossip import bitmap, operations
from pyredis_cluster.gossip.detector import Detector
from pyredis_cluster.gossip.nodes import Node
from pyredis_cluster.gossip.nodesconf import describe, nodes_text

from ..bus_report import health_fields, message_fields
from ..client import Client
from ..cluster import Cluster
from ..command import command
from ..errors import CommandError
from ..reply import array, bulk, bulk_array, integer
from .cluster import cluster_text

GROUP = "cluster"
VARIES = ("nondeterministic_output",)


@command("cluster|myid", arity=2, flags="stale", since="3.0.0", group=GROUP)
def my_id(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER MYID -> bulk

    Returns the ID of a node.
    Complexity: O(1)
    """
    return bulk(client.server.cluster.my_id.encode())


@command("cluster|myshardid", arity=2, flags="stale", since="7.2.0", group=GROUP, tips=VARIES)
def my_shard_id(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER MYSHARDID -> bulk

    Returns the shard ID of a node.
    Complexity: O(1)
    """
    return bulk(client.server.cluster.core.myself.record.shard_id.encode())


@command("cluster|nodes", arity=2, flags="stale", since="3.0.0", group=GROUP, tips=VARIES)
def nodes(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER NODES -> verbatim text

    Returns the cluster configuration for a node.
    Complexity: O(N) where N is the total number of Cluster nodes
    """
    cluster = client.server.cluster
    return client.resp.verbatim(nodes_text(cluster.core, cluster.bus.wall_ms).encode())


def _replicas(client: Client, args: list[bytes]) -> bytes:
    cluster = client.server.cluster
    node = cluster.run(lambda: operations.known(cluster.core, cluster_text(args[2])))
    if not node.is_primary:
        raise CommandError("The specified node is not a master")
    replicas = cluster.core.replicas_of(node)
    return bulk_array([describe(cluster.core, other, cluster.bus.wall_ms).encode() for other in replicas])


@command("cluster|replicas", arity=3, flags="admin stale", since="5.0.0", group=GROUP, tips=VARIES)
def replicas(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER REPLICAS node-id -> array

    Lists the replica nodes of a master node.
    Complexity: O(N) where N is the number of replicas.
    """
    return _replicas(client, args)


@command("cluster|slaves", arity=3, flags="admin stale", since="3.0.0", group=GROUP, tips=VARIES)
def slaves(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER SLAVES node-id -> array

    Lists the replica nodes of a master node.
    Complexity: O(N) where N is the number of replicas.
    """
    return _replicas(client, args)


@command(
    "cluster|count-failure-reports", arity=3, flags="admin stale", since="3.0.0", group=GROUP, tips=VARIES
)
def count_failure_reports(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER COUNT-FAILURE-REPORTS node-id -> integer

    Returns the number of active failure reports active for a node.
    Complexity: O(N) where N is the number of failure reports
    """
    cluster = client.server.cluster
    node = cluster.run(lambda: operations.known(cluster.core, cluster_text(args[2])))
    return integer(cluster.core.detector.report_count(node))


# SLOTS and SHARDS


def _offset(cluster: Cluster, node: Node) -> int:
    return cluster.bus.offset() if node is cluster.core.myself else node.offset


def _endpoint(client: Client, node: Node) -> bytes:
    """One node in CLUSTER SLOTS: preferred endpoint, port, id, and what else is known of where it is."""
    cluster = client.server.cluster
    kind = client.server.config.cluster_preferred_endpoint_type
    ip, hostname = cluster.router.ip(node).encode(), node.record.hostname.encode()
    endpoint = (
        client.resp.null if kind == "unknown-endpoint" else bulk(cluster.router.endpoint(node).encode())
    )
    more: list[bytes] = []
    if kind != "ip":
        more += [b"ip", ip]
    if kind != "hostname" and hostname:
        more += [b"hostname", hostname]
    return array([endpoint, integer(node.record.port), bulk(node.id.encode()), client.resp.bulk_map(more)])


@command("cluster|slots", arity=2, flags="loading stale", since="3.0.0", group=GROUP, tips=VARIES)
def slots(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER SLOTS -> array of slot ranges with their nodes

    Returns the mapping of cluster slots to nodes.
    Complexity: O(N) where N is the total number of Cluster nodes
    """
    cluster = client.server.cluster
    entries: list[tuple[int, bytes]] = []
    for node in cluster.core.nodes.values():
        if not node.owned:
            continue
        available = [
            other for other in cluster.core.replicas_of(node) if not other.failed and _offset(cluster, other)
        ]
        served_by = [_endpoint(client, other) for other in (node, *available)]
        for first, last in bitmap.ranges(node.owned):
            entries.append((first, array([integer(first), integer(last), *served_by])))
    return array([entry for _, entry in sorted(entries)])


def _shard_node(client: Client, node: Node) -> bytes:
    cluster = client.server.cluster
    offset = _offset(cluster, node)
    fields = [
        (b"id", bulk(node.id.encode())),
        (b"port", integer(node.record.port)),
        (b"ip", bulk(cluster.router.ip(node).encode())),
        (b"endpoint", bulk(cluster.router.endpoint(node).encode())),
    ]
    if node.record.hostname:
        fields.append((b"hostname", bulk(node.record.hostname.encode())))
    health = b"fail" if node.failed else b"loading" if not node.is_primary and not offset else b"online"
    fields += [
        (b"role", bulk(b"master" if node.is_primary else b"replica")),
        (b"replication-offset", integer(offset)),
        (b"health", bulk(health)),
    ]
    return client.resp.map([item for name, value in fields for item in (bulk(name), value)])


def _shards(members: Sequence[Node]) -> list[list[Node]]:
    shards: dict[str, list[Node]] = {}
    for node in members:
        shards.setdefault(node.record.shard_id, []).append(node)
    for shard in shards.values():
        shard.sort(key=lambda node: not node.is_primary)
    return [*shards.values()]


@command("cluster|shards", arity=2, flags="loading stale", since="7.0.0", group=GROUP, tips=VARIES)
def shards(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER SHARDS -> array of maps with slots and nodes

    Returns the mapping of cluster slots to shards.
    Complexity: O(N) where N is the total number of cluster nodes
    """
    cluster = client.server.cluster
    replies = []
    for shard in _shards([*cluster.core.nodes.values()]):
        owned = 0
        for node in shard:
            owned |= node.owned
        bounds = [integer(bound) for pair in bitmap.ranges(owned) for bound in pair]
        members = array([_shard_node(client, node) for node in shard])
        replies.append(client.resp.map([bulk(b"slots"), array(bounds), bulk(b"nodes"), members]))
    return array(replies)


@command("cluster|links", arity=2, flags="stale", since="7.0.0", group=GROUP, tips=VARIES)
def links(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER LINKS -> array of maps

    Returns a list of all links to and from peer nodes: on this bus, two for each node that has answered.
    Complexity: O(N) where N is the total number of Cluster nodes
    """
    cluster = client.server.cluster
    core = cluster.core
    replies = []
    for node in core.nodes.values():
        if node is core.myself or node.contact_at_ms is None:
            continue
        for direction in (b"to", b"from"):
            fields = [
                (b"direction", bulk(direction)),
                (b"node", bulk(node.id.encode())),
                (b"create-time", integer(cluster.bus.wall_ms(node.joined_at_ms))),
                (b"events", bulk(b"rw" if direction == b"to" else b"r")),
                (b"send-buffer-allocated", integer(0)),
                (b"send-buffer-used", integer(0)),
            ]
            replies.append(client.resp.map([item for name, value in fields for item in (bulk(name), value)]))
    return array(replies)


# INFO


def _slot_counts(cluster: Cluster) -> tuple[int, int, int]:
    """(ok, pfail, fail): slots by what is thought of their owners."""
    detector: Detector = cluster.core.detector
    ok = pfail = fail = 0
    for node in cluster.core.nodes.values():
        count = node.owned.bit_count()
        if node.failed:
            fail += count
        elif detector.evidence(node):
            pfail += count
        else:
            ok += count
    return ok, pfail, fail


def _info_lines(cluster: Cluster) -> list[str]:
    core = cluster.core
    ok, pfail, fail = _slot_counts(cluster)
    primary = core.my_primary()
    lines = [
        f"cluster_state:{'ok' if core.health.ok else 'fail'}",
        f"cluster_slots_assigned:{ok + pfail + fail}",
        f"cluster_slots_ok:{ok}",
        f"cluster_slots_pfail:{pfail}",
        f"cluster_slots_fail:{fail}",
        f"cluster_known_nodes:{len(core.nodes)}",
        f"cluster_size:{sum(node.is_primary and bool(node.owned) for node in core.nodes.values())}",
        f"cluster_current_epoch:{core.current_epoch}",
        f"cluster_my_epoch:{(primary or core.myself).config_epoch}",
    ]
    lines += [f"{name}:{value}" for name, value in message_fields(core.stats).items()]
    lines.append("total_cluster_links_buffer_limit_exceeded:0")
    lines += [f"{name}:{value}" for name, value in health_fields(cluster.bus).items()]
    if core.health.reason:
        lines.append(f"cluster_state_reason:{core.health.reason}")
    return lines


@command("cluster|info", arity=2, flags="stale", since="3.0.0", group=GROUP, tips=VARIES)
def info(client: Client, args: list[bytes]) -> bytes:
    """CLUSTER INFO -> verbatim text

    Returns information about the state of a node.
    Complexity: O(1)
    """
    lines = _info_lines(client.server.cluster)
    return client.resp.verbatim("".join(f"{line}\r\n" for line in lines).encode())
