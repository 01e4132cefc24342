"""The commands that change who belongs to a cluster and who leads a shard: add-node, del-node, failover."""

from __future__ import annotations

from contextlib import suppress

import click

from . import processes
from .admin import NodeLink
from .errors import OperatorError
from .launcher import LocalCluster, LocalNode
from .membership import add_node, choose_primary, fail_over, forget_node
from .options import Operator, Target, address_value, with_target
from .plan import Address
from .topology import Member, Topology


@click.command("add-node")
@click.argument("new_address", required=False, type=address_value, metavar="[HOST:PORT]")
@click.option("--port", type=int, help="Port of the new local node; one above the highest by default.")
@click.option("--replica", is_flag=True, help="A replica of the primary that has the fewest.")
@click.option("--replica-of", metavar="NODE", help="A replica of this primary.")
@with_target
def add_node_command(
    operator: Operator,
    target: Target,
    new_address: Address | None,
    port: int | None,
    replica: bool,
    replica_of: str | None,
) -> None:
    """Add a running, empty node, or start a new local one; an empty primary unless told otherwise."""
    if new_address is not None and port is not None:
        raise click.UsageError("--port is for a new local node, not for one that runs already")
    with target.read() as topology:
        if new_address is not None:
            member = _join(operator, target, topology, new_address, replica, replica_of)
        else:
            member = _start_and_join(operator, target, topology, port, replica, replica_of)
        role = "a replica" if not member.is_primary else "an empty primary"
        operator.console.print(f"{member.address} ({member.node_id[:8]}) is {role} of the cluster now")
        if member.is_primary:
            operator.console.print("`pyredis-cluster rebalance --use-empty-primaries` gives it slots")


def _start_and_join(
    operator: Operator,
    target: Target,
    topology: Topology,
    port: int | None,
    replica: bool,
    replica_of: str | None,
) -> Member:
    local = target.require_local()
    node = local.add_node(port if port is not None else local.next_port())
    try:
        with operator.console.status("starting the node"):
            local.start([node], target.access)
        address = Address(local.host, node.port)
        return _join(operator, target, topology, address, replica, replica_of)
    except BaseException:
        _remove_local(local, node)
        raise


def _join(
    operator: Operator,
    target: Target,
    topology: Topology,
    address: Address,
    replica: bool,
    replica_of: str | None,
) -> Member:
    primary: Member | None = None
    if replica_of is not None:
        primary = topology.find(replica_of)
        if not primary.is_primary:
            raise OperatorError(f"{primary.address} is a replica itself")
    elif replica:
        primary = choose_primary(topology, address.host)
    newcomer = NodeLink(address, target.access)
    try:
        with operator.console.status("joining"):
            return add_node(topology, newcomer, primary)
    finally:
        newcomer.close()


def _remove_local(local: LocalCluster, node: LocalNode) -> None:
    if node.process is not None:
        processes.stop([node.process])
    local.remove_node(node)


@click.command("del-node")
@click.argument("name", metavar="NODE")
@click.option("--keep-process", is_flag=True, help="Leave a local node running, empty and on its own.")
@with_target
def del_node_command(operator: Operator, target: Target, name: str, keep_process: bool) -> None:
    """Take a node that owns no slots out of the cluster; a local one is stopped and its data removed."""
    with target.read() as topology:
        node_id = topology.find_id(name)
        address = forget_node(topology, node_id)
    operator.console.print(f"{address or node_id} is no member of the cluster any more")
    if target.local is not None and address is not None and not keep_process:
        with suppress(OperatorError):
            _remove_local(target.local, target.local.node_at(address.port))


@click.command()
@click.argument("name", metavar="NODE")
@click.option("--force", "mode", flag_value="FORCE", help="Without the primary's consent.")
@click.option("--takeover", "mode", flag_value="TAKEOVER", help="Without votes, where no majority is left.")
@with_target
def failover(operator: Operator, target: Target, name: str, mode: str | None) -> None:
    """Make a replica the primary of its shard; NODE is the replica, or the primary to be replaced."""
    with target.read() as topology:
        with operator.console.status("failing over"):
            promoted = fail_over(topology, topology.find(name), mode)
        operator.console.print(
            f"{promoted.address} ({promoted.node_id[:8]}) is the primary of {promoted.myself.slot_count} slots now"
        )
