"""All command methods together, and what a pipeline and a transaction have in common: a queue of commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from .collection_commands import HashCommands, ListCommands, SetCommands, SortedSetCommands
from .operations import Shape
from .resp import Argument, to_args
from .server_commands import KeyCommands, ServerCommands, StringCommands


class CommandMethods(
    StringCommands, KeyCommands, ServerCommands, HashCommands, ListCommands, SetCommands, SortedSetCommands
):
    """The methods of clients, pipelines and transactions."""


class CommandQueue(CommandMethods):
    """Commands that wait for `execute`. Each method queues its command and returns the queue."""

    def __init__(self) -> None:
        self._queue: list[tuple[Sequence[bytes], Shape | None]] = []

    def command(self, *args: Argument) -> Self:
        """command("SET", "key", "value") -> self: queue any command."""
        self._issue(*args)
        return self

    def _issue(self, *args: Argument, shape: Shape | None = None) -> Any:
        self._queue.append((to_args(args), shape))
        return self

    def take_queue(self) -> list[tuple[Sequence[bytes], Shape | None]]:
        """take_queue() -> what was queued; the queue is empty."""
        queue, self._queue = self._queue, []
        return queue

    def __len__(self) -> int:
        return len(self._queue)
