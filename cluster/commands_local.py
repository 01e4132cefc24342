"""The commands for clusters of this machine: create, start, stop, restart, kill, destroy."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from . import processes
from .admin import Access, NodeLink
from .create import create_cluster
from .errors import LaunchError
from .launcher import DEFAULT_DIRECTORY, NODES_MAX, LocalCluster, LocalNode, prepare
from .options import (
    Operator,
    address_value,
    confirm,
    directory_option,
    local_access,
    login_options,
    with_local,
)
from .plan import Address, ShardLayout, plan_layout
from .render import render_layout
from .topology import read_topology
from .waiting import unready, wait_until_members

_LOCAL_ONLY = ("nodes", "witnesses", "port", "bind", "directory", "settings")


def setting_value(text: str) -> tuple[str, str]:
    """setting_value("NAME=VALUE") -> a directive of redis.conf. click.BadParameter."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"'{text}' is not of the form NAME=VALUE")
    return name, value


@click.command()
@click.argument("addresses", nargs=-1, type=address_value, metavar="[HOST:PORT]...")
@click.option("--nodes", type=click.IntRange(1, NODES_MAX), default=6, show_default=True, help="Nodes to start.")
@click.option("--replicas", type=click.IntRange(0), default=1, show_default=True, help="Replicas a primary.")
@click.option("--witnesses", type=click.IntRange(0, NODES_MAX), default=0, help="Voters without data, besides.")
@click.option("--port", type=int, default=7000, show_default=True, help="Port of the first node.")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Addresses to listen on.")
@directory_option
@click.option("--set", "settings", multiple=True, type=setting_value, help="A redis.conf directive for all nodes.")
@login_options
@click.pass_context
def create(
    ctx: click.Context,
    addresses: tuple[Address, ...],
    nodes: int,
    replicas: int,
    witnesses: int,
    port: int,
    bind: str,
    directory: Path,
    settings: tuple[tuple[str, str], ...],
    username: str,
    password: str | None,
) -> None:
    """Make a cluster: of new local nodes, or of running ones named by HOST:PORT."""
    operator = ctx.ensure_object(Operator)
    if addresses:
        for name in _LOCAL_ONLY:
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError("with addresses, no local nodes are started: only --replicas goes with them")
        shards = _join(operator, addresses, replicas, Access(username, password))
        operator.console.print(render_layout(shards))
        return
    ports = range(port, port + nodes + witnesses)
    plan_layout([Address("127.0.0.1", number) for number in ports[:nodes]], replicas)
    cluster = prepare(directory, ports, bind, settings, operator.node_command, witnesses)
    try:
        access = local_access(cluster, username, password)
        with operator.console.status(f"starting {len(ports)} nodes"):
            cluster.start(cluster.nodes, access)
        shards = _join(operator, cluster.addresses, replicas, access)
    except BaseException:
        cluster.destroy()
        raise
    operator.console.print(render_layout(shards))
    operator.console.print(f"\n{len(ports)} nodes run, with data and logs in {directory}. Try next:\n")
    operator.console.print(_next_steps(cluster, shards, directory), style="bold", soft_wrap=True)


def _join(operator: Operator, addresses: Sequence[Address], replicas: int, access: Access) -> list[ShardLayout]:
    with operator.console.status("joining") as display:
        return create_cluster(addresses, replicas, access, display.update)


def _next_steps(cluster: LocalCluster, shards: Sequence[ShardLayout], directory: Path) -> str:
    first, last = shards[0].primary, shards[-1].primary
    host = "" if first.host == "127.0.0.1" else f"-h {first.host} "
    login = "" if cluster.password is None else "--askpass "
    where = "" if directory == DEFAULT_DIRECTORY else f" --dir {directory}"
    return (
        f"  redis-cli -c {host}-p {first.port} {login}set greeting hello\n"
        f"  pyredis-cluster status{where}\n"
        f"  pyredis-cluster reshard --from all --to {last.port} --slots 100 --yes{where}"
    )


@click.command()
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@with_local
def start(operator: Operator, cluster: LocalCluster, access: Access, nodes: tuple[str, ...]) -> None:
    """Start the nodes of a local cluster that don't run: all, or those named by port."""
    idle = [node for node in _select(cluster, nodes, access) if not node.alive]
    _start(operator, cluster, idle, access)
    operator.console.print(f"{len(idle)} nodes started, {_running(cluster)}")


def _start(operator: Operator, cluster: LocalCluster, nodes: Sequence[LocalNode], access: Access) -> None:
    with operator.console.status(f"starting {len(nodes)} nodes"):
        cluster.start(nodes, access)
    if all(node.alive for node in cluster.nodes):
        links = [NodeLink(address, access) for address in cluster.addresses]
        try:
            with operator.console.status("waiting until all nodes agree and every replica is in sync"):
                wait_until_members(links, unready)
        finally:
            for link in links:
                link.close()


def _running(cluster: LocalCluster) -> str:
    running = sum(1 for node in cluster.nodes if node.alive)
    return f"{running} of {len(cluster.nodes)} run"


@click.command()
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@with_local
def stop(operator: Operator, cluster: LocalCluster, access: Access, nodes: tuple[str, ...]) -> None:
    """Stop the nodes of a local cluster with SIGTERM: all, or those named by port. Data stays."""
    selected = _select(cluster, nodes, access)
    _stop(operator, cluster, selected)
    operator.console.print(_running(cluster))


def _stop(operator: Operator, cluster: LocalCluster, nodes: Sequence[LocalNode]) -> None:
    with operator.console.status(f"stopping {len(nodes)} nodes"):
        killed = cluster.stop(nodes)
    for node in killed:
        operator.console.print(
            f"node {node.port} did not stop within {processes.STOP_TIMEOUT_S:.0f} s and was killed",
            style="yellow",
        )


@click.command()
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@with_local
def restart(operator: Operator, cluster: LocalCluster, access: Access, nodes: tuple[str, ...]) -> None:
    """Stop nodes of a local cluster and start them again: all, or those named by port."""
    selected = _select(cluster, nodes, access)
    _stop(operator, cluster, selected)
    _start(operator, cluster, selected, access)
    operator.console.print(f"{len(selected)} nodes restarted, {_running(cluster)}")


@click.command()
@click.argument("nodes", nargs=-1, required=True, metavar="NODE...")
@click.option(
    "--signal",
    "signal_name",
    type=click.Choice(["KILL", "TERM", "STOP", "CONT"]),
    default="KILL",
    show_default=True,
    help="What to send; STOP freezes a node, CONT lets it go on.",
)
@with_local
def kill(operator: Operator, cluster: LocalCluster, access: Access, nodes: tuple[str, ...], signal_name: str) -> None:
    """Send SIGKILL, or another signal, to nodes of a local cluster, named by port, HOST:PORT or id."""
    for node in _select(cluster, nodes, access):
        if node.process is None or not processes.send_signal(node.process, signal.Signals[f"SIG{signal_name}"]):
            raise LaunchError(f"node {node.port} does not run")
        operator.console.print(f"SIG{signal_name} sent to node {node.port} (pid {node.process.pid})")


@click.command()
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_local
def destroy(operator: Operator, cluster: LocalCluster, access: Access, yes: bool) -> None:
    """Kill a local cluster's nodes and remove their data."""
    confirm(f"Remove {len(cluster.nodes)} nodes in {cluster.directory} with all their data?", yes)
    cluster.destroy()
    operator.console.print(f"{len(cluster.nodes)} nodes removed")


def _select(cluster: LocalCluster, names: Sequence[str], access: Access) -> list[LocalNode]:
    """The nodes meant by port, HOST:PORT or id; all where none is named."""
    return [local_node(cluster, name, access) for name in names] if names else list(cluster.nodes)


def local_node(cluster: LocalCluster, name: str, access: Access) -> LocalNode:
    """local_node(cluster, name, access) -> the node with that port, HOST:PORT or id. OperatorError."""
    port = name.rpartition(":")[2]
    if port.isdecimal() and len(port) <= 5:
        return cluster.node_at(int(port))
    with read_topology(cluster.addresses, access) as topology:
        for absentee in topology.absentees.values():
            if absentee.view.node_id.startswith(name) and absentee.view.address is not None:
                return cluster.node_at(absentee.view.address.port)
        return cluster.node_at(topology.find(name).address.port)
