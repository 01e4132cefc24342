"""Atomic slot migration by the commands of Valkey 9: CLUSTER MIGRATESLOTS and its kin.

The source streams the slots to the target and hands them over at once; until then nothing has changed owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyredis_cluster.gossip.slots import slot_ranges

from .admin import NodeLink
from .errors import NodeRefused

_SUCCESS = "success"
_FAILURES = frozenset({"failed", "cancelled", "canceled"})


@dataclass(frozen=True, slots=True)
class MigrationJob:
    """One entry of CLUSTER GETSLOTMIGRATIONS."""

    name: str
    exporting: bool
    target_id: str
    source_id: str
    slots: frozenset[int]
    state: str
    message: str

    @property
    def succeeded(self) -> bool:
        return self.state == _SUCCESS

    @property
    def failed(self) -> bool:
        return self.state in _FAILURES

    @property
    def active(self) -> bool:
        return not self.succeeded and not self.failed


def list_jobs(link: NodeLink) -> list[MigrationJob]:
    """list_jobs(link) -> the node's running and recent jobs, with the newest first as the node gives them."""
    return [_parse_job(entry) for entry in link.call("CLUSTER", "GETSLOTMIGRATIONS")]


def supports_atomic(link: NodeLink) -> bool:
    """supports_atomic(link) -> whether the node knows CLUSTER MIGRATESLOTS."""
    try:
        list_jobs(link)
    except NodeRefused as error:
        if "unknown subcommand" in error.message.lower():
            return False
        raise
    return True


def start_job(link: NodeLink, slots: Sequence[int], target_id: str) -> None:
    """start_job(link, slots, target_id): CLUSTER MIGRATESLOTS, sent to the slots' owner. NodeRefused."""
    bounds = [bound for pair in slot_ranges(slots) for bound in pair]
    link.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *bounds, "NODE", target_id)


def cancel_jobs(link: NodeLink) -> None:
    """cancel_jobs(link): CLUSTER CANCELSLOTMIGRATIONS; what was handed over stays handed over."""
    link.call("CLUSTER", "CANCELSLOTMIGRATIONS")


def _parse_job(entry: list[Any] | dict[Any, Any]) -> MigrationJob:
    """An entry is a map: a flat list of names and values in RESP2."""
    pairs = entry.items() if isinstance(entry, dict) else zip(entry[::2], entry[1::2], strict=True)
    fields = {_text(name): _text(value) for name, value in pairs}
    return MigrationJob(
        name=fields["name"],
        exporting=fields["operation"].upper() == "EXPORT",
        target_id=fields["target_node"],
        source_id=fields["source_node"],
        slots=frozenset(_parse_ranges(fields["slot_ranges"])),
        state=fields["state"].lower(),
        message=fields.get("message", ""),
    )


def _parse_ranges(text: str) -> list[int]:
    slots: list[int] = []
    for word in text.split():
        first, _, last = word.partition("-")
        slots += range(int(first), int(last or first) + 1)
    return slots


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
