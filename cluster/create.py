"""Making one cluster out of running, empty nodes: slots, epochs, introductions, replicas."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from pyredis_cluster.client.errors import ResponseError

from .admin import Access, NodeLink, in_parallel
from .errors import NodeRefused, OperatorError
from .plan import Address, ShardLayout, plan_layout
from .topology import Member, read_member
from .waiting import READY_TIMEOUT_S, unjoined, unready, wait_until_members

Report = Callable[[str], None]


def create_cluster(addresses: Sequence[Address], replicas: int, access: Access, report: Report) -> list[ShardLayout]:
    """create_cluster(addresses, replicas, access, report) -> the shards, once every node is in sync and ok.

    Nodes that run as witnesses join without being part of a shard. `report` is told each step. OperatorError where
    a node is not an empty cluster node on its own, or the cluster does not come up within READY_TIMEOUT_S.
    """
    links = {address: NodeLink(address, access) for address in addresses}
    try:
        report("asking the nodes who they are")
        members = dict(zip(addresses, in_parallel(read_member, list(links.values())), strict=True))
        for member in members.values():
            require_empty(member)
        shards = plan_layout([at for at, member in members.items() if not member.myself.is_witness], replicas)
        report("assigning slots")
        _assign_slots(shards, links, [member.node_id for member in members.values()])
        report("introducing the nodes to each other")
        first, *others = members.values()
        for other in others:
            meet(first.link, other)
        wait_until_members(list(links.values()), unjoined)
        report("attaching replicas")
        for shard in shards:
            for replica in shard.replicas:
                links[replica].call("CLUSTER", "REPLICATE", members[shard.primary].node_id)
        report("waiting until all nodes agree and every replica is in sync")
        wait_until_members(list(links.values()), unready, READY_TIMEOUT_S)
    finally:
        for link in links.values():
            link.close()
    return shards


def require_empty(member: Member) -> None:
    """require_empty(member): OperatorError unless the node knows nobody and holds nothing."""
    if int(member.cluster_info.get("cluster_known_nodes", "1")) > 1:
        raise OperatorError(f"{member.address} already belongs to a cluster; `CLUSTER RESET` on it makes it free again")
    if member.myself.slot_count:
        raise OperatorError(f"{member.address} already owns slots; `CLUSTER RESET` on it makes it free again")
    if any(name.startswith("db") and name[2:].isdecimal() for name in member.info):
        raise OperatorError(f"{member.address} holds keys; `FLUSHALL` on it if they are not needed any more")


def _assign_slots(shards: Sequence[ShardLayout], links: dict[Address, NodeLink], ids: Sequence[str]) -> None:
    for shard in shards:
        links[shard.primary].call("CLUSTER", "ADDSLOTSRANGE", shard.first_slot, shard.last_slot)
    # Different epochs from the start spare the nodes the collisions they would have to resolve one by one.
    for epoch, link in enumerate(links.values(), start=1):
        reply = link.pipeline([("CLUSTER", "SET-CONFIG-EPOCH", epoch)])[0]
        # A node that was part of a cluster before has an epoch already, which is as good.
        if isinstance(reply, ResponseError) and "already" not in reply.message:
            raise NodeRefused(link.address, "CLUSTER SET-CONFIG-EPOCH", reply.message)


def meet(link: NodeLink, other: Member) -> None:
    """meet(link, other): have the node at `link` introduce itself to `other`."""
    host, port = other.address.host, other.address.port
    try:
        # CLUSTER MEET takes addresses, no names.
        ip = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    except socket.gaierror as error:
        raise OperatorError(f"{host} can't be resolved: {error.strerror}") from error
    bus_port = other.myself.bus_port
    link.call("CLUSTER", "MEET", ip, port, *([bus_port] if bus_port else []))
