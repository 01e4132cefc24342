"""Pauses: for a while, all commands or those that write are held back (CLIENT PAUSE, failover, slot handover).

Laws: each purpose has its own pause with its own end; what holds is their union, the strictest and the
longest; an operator's UNPAUSE ends only the operator's. While writes are paused no key expires.
"""

from __future__ import annotations

import enum


class PausePurpose(enum.Enum):
    """Why commands are held back; the values are INFO's paused_reason."""

    CLIENT = "client_pause"
    SHUTDOWN = "shutdown_in_progress"
    FAILOVER = "failover_in_progress"
    SLOT_MIGRATION = "slot_migration_in_progress"


class Pauses:
    """set(purpose, until_ms, writes_only), drop(purpose); `active`, `writes_only` and `until_ms` are the union."""

    __slots__ = ("_by_purpose", "active", "reason", "until_ms", "writes_only")

    def __init__(self) -> None:
        self._by_purpose: dict[PausePurpose, tuple[int, bool]] = {}
        self._sum()

    def set(self, purpose: PausePurpose, until_ms: int, writes_only: bool) -> None:
        """set(purpose, until_ms, writes_only): the later end and the stricter kind of this purpose win."""
        held = self._by_purpose.get(purpose)
        if held is not None:
            until_ms, writes_only = max(until_ms, held[0]), writes_only and held[1]
        self._by_purpose[purpose] = until_ms, writes_only
        self._sum()

    def drop(self, purpose: PausePurpose) -> None:
        """drop(purpose): it is over; nothing happens if it wasn't set."""
        self._by_purpose.pop(purpose, None)
        self._sum()

    def holds(self, purpose: PausePurpose) -> bool:
        """holds(purpose) -> whether that is one of the reasons."""
        return purpose in self._by_purpose

    def drop_ended(self, now_ms: int) -> None:
        """drop_ended(now_ms): those whose time is over."""
        self._by_purpose = {why: held for why, held in self._by_purpose.items() if held[0] > now_ms}
        self._sum()

    def next_end_ms(self) -> int | None:
        """next_end_ms() -> when the next one ends, or None."""
        return min((until_ms for until_ms, _ in self._by_purpose.values()), default=None)

    def _sum(self) -> None:
        held = self._by_purpose.values()
        self.active = bool(held)
        self.writes_only = bool(held) and all(writes_only for _, writes_only in held)
        self.until_ms = max((until_ms for until_ms, _ in held), default=0)
        self.reason = max(self._by_purpose, key=lambda why: self._by_purpose[why][0]).value if held else "none"
