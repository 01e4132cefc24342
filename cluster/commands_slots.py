"""The commands that move slots or set them right: reshard, rebalance, fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from .check import format_slots, plan_repairs
from .errors import OperatorError, PlanError
from .fix import fix_slots
from .options import Operator, Target, confirm, with_named_target
from .plan import REBALANCE_THRESHOLD_PERCENT, Move, rebalance_plan, reshard_plan
from .reshard import Goal, Progress, Resharder, goals_of
from .resume import ReshardRequest, load_request, request_path, save_request
from .topology import Topology


@click.command()
@click.option(
    "--from",
    "sources",
    multiple=True,
    default=("all",),
    metavar="NODE|all",
    help="Who gives; may be repeated.",
)
@click.option("--to", "target_name", required=True, metavar="NODE", help="Who gets.")
@click.option("--slots", "slot_count", required=True, type=click.IntRange(1), help="How many.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--afresh", is_flag=True, help="Forget an unfinished reshard to this target.")
@with_named_target
def reshard(
    operator: Operator,
    target: Target,
    sources: tuple[str, ...],
    target_name: str,
    slot_count: int,
    yes: bool,
    afresh: bool,
) -> None:
    """Move slots live. After an interruption the same command goes on where it stopped.

    NODE is an id or its beginning, HOST:PORT or a port.
    """
    with target.read() as topology:
        wish = _wish(topology, sources, target_name, slot_count)
        path = request_path(target.directory, wish.target)
        unfinished = None if afresh else load_request(path)
        if unfinished is None:
            request = wish.planned(tuple(goals_of(_plan_moves(topology, wish), topology)))
        elif unfinished.same_wish(wish):
            operator.console.print("going on with the reshard that was interrupted")
            request = unfinished
        else:
            raise OperatorError(
                f"another reshard to this target, of {unfinished.slot_count} slots, is unfinished: finish it "
                "with the same command as then, or give --afresh to forget it"
            )
        _show_goals(operator, topology, request.goals)
    confirm(f"Move {slot_count} slots?", yes or unfinished is not None)
    _keep_request(operator, path, request)
    _run(operator, target, request.goals)
    path.unlink(missing_ok=True)


def _wish(topology: Topology, sources: Sequence[str], target_name: str, slot_count: int) -> ReshardRequest:
    """What is asked for, in ids, nothing planned yet."""
    if "all" in sources:
        source_ids: tuple[str, ...] = ("all",)
    else:
        source_ids = tuple(sorted({topology.find_id(source) for source in sources}))
    return ReshardRequest(source_ids, topology.find_id(target_name), slot_count)


def _plan_moves(topology: Topology, wish: ReshardRequest) -> list[Move]:
    receiver = topology.find(wish.target)
    if not receiver.is_primary:
        raise PlanError(f"{receiver.address} is a replica: slots go to primaries")
    givers = wish.sources
    if givers == ("all",):
        givers = tuple(node_id for node_id, slots in topology.owned.items() if slots)
        givers = tuple(node_id for node_id in givers if node_id != receiver.node_id)
    return reshard_plan(topology.owned, givers, receiver.node_id, wish.slot_count)


def _show_goals(operator: Operator, topology: Topology, goals: Iterable[Goal]) -> None:
    for goal in goals:
        by_source: dict[str, list[int]] = {}
        for slot in goal.slots:
            by_source.setdefault(topology.owners.get(slot, ""), []).append(slot)
        for source, slots in by_source.items():
            giver = topology.members.get(source)
            where = "already there" if source in goal.shard_ids else f"from {giver.address if giver else 'nobody'}"
            operator.console.print(f"  {len(slots):>6} slots {where}: {format_slots(slots)}")


def _keep_request(operator: Operator, path: Path, request: ReshardRequest) -> None:
    try:
        save_request(path, request)
    except OSError as error:
        operator.console.print(
            f"{path} can't be written ({error.strerror}): after an interruption this reshard has to be planned anew",
            style="yellow",
        )


@contextmanager
def _bar(operator: Operator, total: int, what: str) -> Iterator[tuple[Bar, TaskID]]:
    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} slots"),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=operator.console) as bar:
        yield bar, bar.add_task(what, total=total, detail="")


def _run(operator: Operator, target: Target, goals: Sequence[Goal]) -> None:
    """Move everything under a progress bar, then say what was done."""
    with _bar(operator, sum(len(goal.slots) for goal in goals), "moving") as (bar, task):
        told = 0

        def tick(progress: Progress) -> None:
            nonlocal told
            for event in progress.events[told:]:
                bar.console.print(f"  {event}", style="yellow")
            told = len(progress.events)
            bar.update(
                task,
                completed=progress.slots_done_before + progress.slots_moved,
                detail=f"{progress.keys_moved} keys, {progress.keys_per_s:,.0f} keys/s",
            )

        progress = Resharder(target.seeds, target.access, goals, tick).run()
    before = f" ({progress.slots_done_before} were there already)" if progress.slots_done_before else ""
    retries = f", {progress.retries} retries" if progress.retries else ""
    operator.console.print(
        f"{progress.slots_moved} slots{before} and {progress.keys_moved} keys moved in "
        f"{progress.elapsed_s:.1f} s, {progress.keys_per_s:,.0f} keys/s{retries}"
    )


def weight_value(text: str) -> tuple[str, float]:
    """weight_value("NODE=WEIGHT") -> the two. click.BadParameter."""
    node, _, weight = text.rpartition("=")
    try:
        if node:
            return node, float(weight)
    except ValueError:
        pass
    raise click.BadParameter(f"'{text}' is not of the form NODE=WEIGHT")


@click.command()
@click.option("--weight", "weights", multiple=True, type=weight_value, help="A share other than 1; 0 empties a node.")
@click.option(
    "--threshold",
    "threshold_percent",
    type=click.FloatRange(0),
    default=REBALANCE_THRESHOLD_PERCENT,
    show_default=True,
    help="Imbalance in percent that is left alone.",
)
@click.option("--use-empty-primaries", is_flag=True, help="Give slots to primaries that have none.")
@click.option("--dry-run", is_flag=True, help="Show the moves only.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_named_target
def rebalance(
    operator: Operator,
    target: Target,
    weights: tuple[tuple[str, float], ...],
    threshold_percent: float,
    use_empty_primaries: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Even out how many slots each primary owns, with as few moves as possible."""
    with target.read() as topology:
        by_id = {topology.find(name).node_id: weight for name, weight in weights}
        owned = {
            node_id: slots
            for node_id, slots in topology.owned.items()
            if slots or use_empty_primaries or node_id in by_id
        }
        moves = rebalance_plan(owned, by_id, threshold_percent)
        if not moves:
            operator.console.print(f"nothing to move: all within {threshold_percent:g} % of their share")
            return
        _show_moves(operator, topology, moves)
        goals = goals_of(moves, topology)
    if dry_run:
        return
    confirm(f"Move {sum(len(move.slots) for move in moves)} slots?", yes)
    _run(operator, target, goals)


def _show_moves(operator: Operator, topology: Topology, moves: Sequence[Move]) -> None:
    for move in moves:
        source, target = topology.members[move.source], topology.members[move.target]
        operator.console.print(f"  {len(move.slots):>6} slots from {source.address} to {target.address}")


@click.command()
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--replace", is_flag=True, help="Where two copies of a key differ, the moved one wins.")
@click.option(
    "--with-unreachable-primaries",
    is_flag=True,
    help="Give the slots of primaries that don't answer to others. Their keys are lost to the cluster.",
)
@with_named_target
def fix(operator: Operator, target: Target, yes: bool, replace: bool, with_unreachable_primaries: bool) -> None:
    """Repair slots: uncovered ones, open ones, those with several owners, keys on the wrong node."""
    with target.read() as topology:
        with operator.console.status("asking every node about every slot"):
            repairs = plan_repairs(topology, with_unreachable_primaries)
        if not repairs:
            operator.console.print("no slot needs a repair")
            return
        by_problem: dict[str, list[int]] = {}
        for repair in repairs:
            by_problem.setdefault(repair.problem, []).append(repair.slot)
        for problem, slots in by_problem.items():
            operator.console.print(f"  {len(slots):>6} slots, each {problem}: {format_slots(slots)}")
        confirm(f"Repair {len(repairs)} slots?", yes)
        with _bar(operator, len(repairs), "fixing") as (bar, task):
            outcome = fix_slots(topology, repairs, replace, lambda _: bar.advance(task))
    operator.console.print(f"{outcome.slots_fixed} slots repaired, {outcome.keys_moved} keys moved")
