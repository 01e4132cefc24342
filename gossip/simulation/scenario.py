"""python -m pyredis_cluster.gossip.simulation.scenario: plays text scripts of what may happen to a cluster.

A script is a title and comments, then blocks: commands, `----`, and what they led to. Played from a fixed seed and
with regular delays, it gives the same output each time; `--rewrite` puts what came out where the output was.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path

from .commands import COMMANDS
from .events import MESSAGES, render
from .stage import Stage

SEPARATOR = "----"


class ScenarioError(Exception):
    """A script that can't be read, or that did not come to what it expects: `line N: why`."""


@dataclass(slots=True)
class Block:
    """Commands (with their line numbers) and the lines that they are to bring out."""

    commands: list[tuple[int, str]] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)


def parse(text: str) -> list[Block]:
    """parse(text) -> blocks. ScenarioError for commands without an output part."""
    blocks = [Block()]
    in_output = False
    for number, line in enumerate(text.splitlines(), 1):
        block = blocks[-1]
        if in_output:
            if line.strip():
                block.expected.append(line)
                continue
            blocks.append(Block(source=[line]))
            in_output = False
        elif line.strip() == SEPARATOR:
            block.source.append(line)
            in_output = True
        else:
            block.source.append(line)
            if line.strip() and not line.startswith("#"):
                block.commands.append((number, line.strip()))
    last = blocks[-1]
    if last.commands and not in_output:
        raise ScenarioError(f"line {last.commands[0][0]}: commands without a {SEPARATOR} behind them")
    return blocks


def play(text: str, *, exact: bool = False, messages: bool = False) -> str:
    """play(text) -> the script with the output that it has now. ScenarioError for a broken expectation.

    `exact` gives times in milliseconds instead of bounds, `messages` each datagram; both are for reading along.
    """
    stage = Stage()
    lines: list[str] = []
    for block in parse(text):
        lines += block.source
        if SEPARATOR not in block.source:
            continue
        start_ms = stage.simulation.now_ms
        for number, command in block.commands:
            try:
                _perform(stage, command)
            except (ValueError, AssertionError) as error:
                raise ScenarioError(f"line {number}: {command}: {error}") from error
            if messages:
                stage.observer.details.add(MESSAGES)
            if command.startswith("cluster"):
                start_ms = stage.simulation.now_ms
                lines += stage.layout()
        shown = render(stage.observer.take(), start_ms, stage.names, exact=exact)
        lines += shown if shown or lines[-1] != SEPARATOR else ["nothing"]
    return "\n".join(lines) + "\n"


def _perform(stage: Stage, command: str) -> None:
    name, _, rest = command.partition(" ")
    perform = COMMANDS.get(name)
    if perform is None:
        raise ValueError(f"no such command: {name}")
    perform(stage, rest.strip())


def main(arguments: list[str] | None = None) -> int:
    parser = ArgumentParser(
        prog="python -m pyredis_cluster.gossip.simulation.scenario",
        description="Play scenarios and compare what comes out with what they say.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--rewrite", action="store_true", help="put what comes out into the files")
    how.add_argument("--exact", action="store_true", help="print the scenario with times in milliseconds")
    parser.add_argument("--messages", action="store_true", help="with --exact: print each datagram, too")
    options = parser.parse_args(arguments)
    failures = 0
    for path in options.files:
        text = path.read_text()
        try:
            played = play(text, exact=options.exact, messages=options.exact and options.messages)
        except ScenarioError as error:
            print(f"{path}: {error}", file=sys.stderr)
            failures += 1
            continue
        if options.exact:
            sys.stdout.write(played)
        elif options.rewrite:
            path.write_text(played)
        elif played != text:
            sys.stdout.writelines(unified_diff(text.splitlines(True), played.splitlines(True), str(path), "played"))
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
