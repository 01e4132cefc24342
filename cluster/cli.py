"""The command `pyredis-cluster`: its parts put together; a failure is a message and an exit code."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, NoReturn

import click

from .commands_chaos import chaos
from .commands_inspect import call, check, status
from .commands_local import create, destroy, kill, restart, start, stop
from .commands_nodes import add_node_command, del_node_command, failover
from .commands_slots import fix, rebalance, reshard
from .errors import OperatorError
from .options import Operator


class OperatorGroup(click.Group):
    """A group that lists its commands in the order of their life, and prints OperatorErrors as messages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OperatorError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=OperatorGroup)
@click.version_option(package_name="pyredis-cluster")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Make, watch and change Redis-compatible clusters."""
    ctx.ensure_object(Operator)


for _command in (
    create,
    status,
    check,
    call,
    reshard,
    rebalance,
    fix,
    failover,
    add_node_command,
    del_node_command,
    start,
    stop,
    restart,
    kill,
    destroy,
    chaos,
):
    cli.add_command(_command)


def main() -> None:
    """The console script. SIGTERM ends it in an orderly way: what it started on the way is stopped."""
    signal.signal(signal.SIGTERM, _terminate)
    cli()


def _terminate(signal_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal_number)
