"""What the commands share: where the cluster is, how it is logged in to, and the operator's console."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from .admin import Access
from .errors import LaunchError, OperatorError
from .launcher import DEFAULT_DIRECTORY, LocalCluster, NodeCommand
from .plan import Address
from .topology import Topology, read_topology

PIPE_WIDTH = 120


def address_value(text: str) -> Address:
    """address_value("HOST:PORT") -> Address; a lone port is one of this machine. click.BadParameter."""
    try:
        return Address.parse(f"127.0.0.1:{text}" if text.isdecimal() else text)
    except OperatorError as error:
        raise click.BadParameter(str(error)) from error


def make_console() -> Console:
    """make_console() -> a console as wide as the terminal, or wide enough for every table where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


@dataclass(slots=True)
class Operator:
    """The command line's surroundings: a console, and what is executed as a node."""

    console: Console = field(default_factory=make_console)
    node_command: NodeCommand = field(default_factory=NodeCommand)


@dataclass(slots=True)
class Target:
    """The cluster that a command works on: nodes to ask first, the login, the local cluster if any."""

    seeds: list[Address]
    access: Access
    directory: Path
    local: LocalCluster | None

    def read(self) -> Topology:
        """read() -> the cluster's topology, to be closed after use. NodeUnreachable."""
        if self.local is not None and not any(node.alive for node in self.local.nodes):
            raise LaunchError(
                f"none of the {len(self.local.nodes)} nodes in {self.directory} runs: "
                "`pyredis-cluster start` starts them"
            )
        return read_topology(self.seeds, self.access)

    def require_local(self) -> LocalCluster:
        """require_local() -> the local cluster; LaunchError where the nodes were started elsewhere."""
        if self.local is None:
            raise LaunchError("this works on a local cluster only: leave the address out, or give --dir")
        return self.local


def login_options(function: Callable[..., None]) -> Callable[..., None]:
    """--user and --password, or their environment variables."""
    user = click.option(
        "--user",
        "username",
        envvar="PYREDIS_CLUSTER_USER",
        default="default",
        help="User to log in as (or PYREDIS_CLUSTER_USER).",
    )
    password = click.option(
        "--password",
        envvar=["PYREDIS_CLUSTER_PASSWORD", "REDISCLI_AUTH"],
        help="Password of the nodes (or PYREDIS_CLUSTER_PASSWORD).",
    )
    return user(password(function))


def directory_option(function: Callable[..., None]) -> Callable[..., None]:
    """--dir, the local cluster's directory."""
    return click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_DIRECTORY,
        show_default=True,
        help="Directory of the local cluster.",
    )(function)


def with_target(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command --cluster, --dir and the login options; it gets (operator, target, **its own)."""

    @functools.wraps(function)
    def command(
        operator: Operator,
        address: Address | None,
        directory: Path,
        username: str,
        password: str | None,
        node_address: Address | None = None,
        **own: Any,
    ) -> None:
        target = resolve_target(operator, node_address or address, directory, username, password)
        function(operator, target, **own)

    option = click.option("--cluster", "address", type=address_value, help="A node of the cluster, instead of --dir.")
    return option(directory_option(login_options(click.pass_obj(command))))


def with_named_target(function: Callable[..., None]) -> Callable[..., None]:
    """As `with_target`; the node may also be named by an argument, for commands that take no other."""
    argument = click.argument("node_address", required=False, type=address_value, metavar="[HOST:PORT]")
    return argument(with_target(function))


def with_local(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command --dir and the login options; it gets (operator, local cluster, access, **its own)."""

    @functools.wraps(function)
    def command(operator: Operator, directory: Path, username: str, password: str | None, **own: Any) -> None:
        cluster = LocalCluster.load(directory, operator.node_command)
        function(operator, cluster, local_access(cluster, username, password), **own)

    return directory_option(login_options(click.pass_obj(command)))


def resolve_target(
    operator: Operator, address: Address | None, directory: Path, username: str, password: str | None
) -> Target:
    """resolve_target(...) -> Target. LaunchError where neither an address nor a local cluster is there."""
    if address is not None:
        return Target([address], Access(username, password), directory, None)
    local = LocalCluster.load(directory, operator.node_command)
    return Target(local.addresses, local_access(local, username, password), directory, local)


def local_access(local: LocalCluster, username: str, password: str | None) -> Access:
    """local_access(local, username, password) -> Access; the cluster's own password where none is given."""
    return Access(username, local.password if password is None and username == "default" else password)


def confirm(question: str, yes: bool) -> None:
    """confirm(question, yes): ask, unless `yes`; click.Abort where the answer is no."""
    if not yes:
        click.confirm(question, abort=True)
