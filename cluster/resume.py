"""What an unfinished reshard was asked to do, kept until it is done: the same command goes on with it.

Only the wish is kept. How far it got is asked of the cluster.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import OperatorError
from .launcher import write_atomically
from .reshard import Goal


@dataclass(frozen=True, slots=True)
class ReshardRequest:
    """A reshard as it was asked for, with the goals it was planned into."""

    sources: tuple[str, ...]
    target: str
    slot_count: int
    goals: tuple[Goal, ...] = ()

    def planned(self, goals: tuple[Goal, ...]) -> ReshardRequest:
        """planned(goals) -> the same request with its goals."""
        return replace(self, goals=goals)

    def same_wish(self, other: ReshardRequest) -> bool:
        """same_wish(other) -> whether both ask for the same number of slots from and to the same nodes."""
        return (self.sources, self.target, self.slot_count) == (other.sources, other.target, other.slot_count)


def request_path(directory: Path, target: str) -> Path:
    """request_path(directory, target id) -> where the unfinished request for that target is kept."""
    return directory / f"reshard-{target[:8]}.json"


def save_request(path: Path, request: ReshardRequest) -> None:
    """save_request(path, request): OSError where it can't be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    description = {
        "sources": request.sources,
        "target": request.target,
        "slot_count": request.slot_count,
        "goals": [{"shard_ids": sorted(goal.shard_ids), "slots": goal.slots} for goal in request.goals],
    }
    write_atomically(path, json.dumps(description) + "\n", 0o600)


def load_request(path: Path) -> ReshardRequest | None:
    """load_request(path) -> the unfinished request, or None. OperatorError if it is damaged."""
    try:
        description = json.loads(path.read_text())
        return ReshardRequest(
            sources=tuple(description["sources"]),
            target=description["target"],
            slot_count=description["slot_count"],
            goals=tuple(Goal(frozenset(goal["shard_ids"]), tuple(goal["slots"])) for goal in description["goals"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"{path} is not an unfinished reshard; remove it and try again") from error
