"""Changing who belongs to a cluster and who leads a shard: add a node, forget a node, fail over by hand."""

from __future__ import annotations

import time
from dataclasses import replace as with_changes

from .admin import NodeLink
from .create import meet, require_empty
from .errors import OperatorError
from .plan import Address, place_replica
from .topology import Member, Topology, read_member
from .waiting import unjoined, unready, wait_until_members

JOIN_TIMEOUT_S = 30.0
FAILOVER_TIMEOUT_S = 30.0
# A node gives a manual failover up after 5 s.
FAILOVER_REPEAT_S = 5.5
FORGET_TIMEOUT_S = 10.0


def add_node(topology: Topology, newcomer: NodeLink, primary: Member | None) -> Member:
    """add_node(topology, newcomer, primary) -> the node as a member: a replica of `primary`, or empty.

    Returns once all know it and, as a replica, it is in sync. OperatorError, for one where it is not empty.
    """
    member = read_member(newcomer)
    require_empty(member)
    links = [known.link for known in topology.members.values()]
    if not links:
        raise OperatorError("no node of the cluster answers")
    meet(links[0], member)
    links.append(newcomer)
    wait_until_members(links, unjoined, JOIN_TIMEOUT_S)
    if primary is not None:
        newcomer.call("CLUSTER", "REPLICATE", primary.node_id)
    return wait_until_members(links, unready)[-1]


def choose_primary(topology: Topology, host: str) -> Member:
    """choose_primary(topology, host) -> the primary that a new replica on that host should follow."""
    primaries = {primary.node_id: primary for primary in topology.primaries if primary.myself.slot_count}
    chosen = place_replica(
        {node_id: primary.address.host for node_id, primary in primaries.items()},
        {node_id: len(topology.replicas_of(node_id)) for node_id in primaries},
        host,
    )
    return primaries[chosen]


def forget_node(topology: Topology, node_id: str) -> Address | None:
    """forget_node(topology, id) -> the address of the node that is no member any more.

    It must own no slots. Its replicas go to other primaries; if it answers, it is reset. OperatorError.
    """
    member = topology.members.get(node_id)
    absentee = topology.absentees.get(node_id)
    view = member.myself if member is not None else absentee.view if absentee is not None else None
    if view is None:
        raise OperatorError(f"the cluster has no node {node_id}")
    if node_id in topology.owners.values():
        raise OperatorError(
            f"{view.address or node_id} still owns slots: move them away first, "
            f"with `pyredis-cluster rebalance --weight {node_id[:8]}=0`"
        )
    others = [other for other in topology.members.values() if other.node_id != node_id]
    for orphan in topology.replicas_of(node_id):
        remaining = with_changes(topology, members={other.node_id: other for other in others})
        orphan.link.call("CLUSTER", "REPLICATE", choose_primary(remaining, orphan.address.host).node_id)
    for other in others:
        other.link.call("CLUSTER", "FORGET", node_id)
    if member is not None:
        member.link.call("CLUSTER", "RESET", "SOFT")

    def still_known(members: list[Member]) -> str | None:
        knowing = [other for other in members if node_id in other.views]
        return f"{knowing[0].address} still knows the node" if knowing else None

    wait_until_members([other.link for other in others], still_known, FORGET_TIMEOUT_S)
    return view.address


def fail_over(topology: Topology, node: Member, mode: str | None) -> Member:
    """fail_over(topology, node, mode) -> the replica that is the primary now.

    `node` is the replica, or its primary: then the replica with the most data is taken. `mode` is None for
    the orderly way that loses nothing, "FORCE" without the primary's consent, "TAKEOVER" without votes.
    """
    replica = node
    if node.is_primary:
        replicas = topology.replicas_of(node.node_id)
        if not replicas:
            raise OperatorError(f"{node.address} has no replica that answers")
        replica = max(replicas, key=lambda candidate: candidate.replication_offset)
    command = ("CLUSTER", "FAILOVER", *([mode] if mode else []))
    replica.link.call(*command)
    asked_s = time.monotonic()

    def not_promoted(members: list[Member]) -> str | None:
        nonlocal asked_s
        if members[0].is_primary and members[0].myself.slot_count:
            return None
        if time.monotonic() - asked_s > FAILOVER_REPEAT_S:
            # Not granted in time, for one because the voters have just had another election.
            replica.link.call(*command)
            asked_s = time.monotonic()
        return f"{replica.address} is still a replica"

    return wait_until_members([replica.link], not_promoted, FAILOVER_TIMEOUT_S)[0]
