"""The commands that only look: status, check, call."""

from __future__ import annotations

import json
import sys
import time

import click
from pyredis_cluster.client.errors import ResponseError
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from .admin import NodeLink, in_parallel
from .check import check_cluster
from .errors import OperatorError
from .options import Operator, Target, with_named_target, with_target
from .render import render_findings, render_status
from .status import ClusterStatus, gather_status

WATCH_INTERVAL_S = 1.0


@click.command()
@click.option("--watch", is_flag=True, help="Refresh every second until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_named_target
def status(operator: Operator, target: Target, watch: bool, as_json: bool) -> None:
    """Show shards, slots, offsets, lag, memory, keys and the slot map."""
    if watch and as_json:
        raise click.UsageError("--watch and --json don't go together")
    if watch:
        _watch(operator, target)
        return
    current = _read_status(target)
    if as_json:
        click.echo(json.dumps(current.to_json(), indent=2))
    else:
        operator.console.print(render_status(current))


def _read_status(target: Target) -> ClusterStatus:
    with target.read() as topology:
        return gather_status(topology)


def _watch(operator: Operator, target: Target) -> None:
    console = operator.console
    if not console.is_terminal:
        while True:
            console.print(_watched(target))
            time.sleep(WATCH_INTERVAL_S)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_watched(target), refresh=True)
            time.sleep(WATCH_INTERVAL_S)


def _watched(target: Target) -> RenderableType:
    """The status, or why there is none: a cluster that is being killed is worth watching too."""
    try:
        return render_status(_read_status(target))
    except OperatorError as error:
        return Text(str(error), "bold red")


@click.command()
@with_named_target
def check(operator: Operator, target: Target) -> None:
    """Look for what is wrong; the exit code is 1 where something is."""
    with target.read() as topology, operator.console.status("asking every node about every slot"):
        findings = check_cluster(topology)
    operator.console.print(render_findings(findings))
    if findings.repairs:
        operator.console.print("`pyredis-cluster fix` can repair the slots")
    if not findings.ok:
        sys.exit(1)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--primaries", "only", flag_value="primary", help="On primaries only.")
@click.option("--replicas", "only", flag_value="replica", help="On replicas only.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@with_target
def call(operator: Operator, target: Target, only: str | None, command: tuple[str, ...]) -> None:
    """Run a command on every node: `pyredis-cluster call config get maxmemory`. Options come first."""
    with target.read() as topology:
        members = [
            member
            for member in sorted(topology.members.values(), key=lambda member: str(member.address))
            if only is None or member.is_primary == (only == "primary")
        ]
        replies = in_parallel(lambda member: _reply_text(member.link, command), members)
    for member, (text, failed) in zip(members, replies, strict=True):
        operator.console.print(Text.assemble((f"{member.address} ", "cyan"), (text, "red" if failed else "")))
    for absentee in topology.absentees.values():
        operator.console.print(Text(f"{absentee.view.address} did not answer: {absentee.reason}", "red"))
    if topology.absentees or any(failed for _, failed in replies):
        sys.exit(1)


def _reply_text(link: NodeLink, command: tuple[str, ...]) -> tuple[str, bool]:
    """The reply as text, and whether it is an error."""
    try:
        reply = link.pipeline([command])[0]
    except OperatorError as error:
        return str(error), True
    return format_reply(reply), isinstance(reply, ResponseError)


def format_reply(reply: object, indent: str = "") -> str:
    """format_reply(reply) -> the reply much as redis-cli shows it."""
    if reply is None:
        return "(nil)"
    if isinstance(reply, ResponseError):
        return f"(error) {reply.message}"
    if isinstance(reply, bytes):
        return reply.decode(errors="backslashreplace").rstrip("\r\n")
    if isinstance(reply, list):
        inner = indent + "   "
        lines = [f"{index}) {format_reply(item, inner)}" for index, item in enumerate(reply, start=1)]
        return ("\n" + inner).join(["", *lines]) if lines else "(empty)"
    return str(reply)
