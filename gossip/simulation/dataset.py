"""A host's data set, reduced to what replication and failover turn on: how far which history has been written.

Offsets are functions of time, so that a cluster under load costs no events: a primary writes at a steady rate
between two marks, and a linked replica is what its primary was a moment ago.
"""

from __future__ import annotations

MARKS_MAX = 16
"""Changes of the rate that are remembered: more than fit into the lag of any link."""


class Branch:
    """A history of writes, which left `parent`'s at the offset `fork` (what a replication id stands for).

    `owner` is the index of the host that writes it, `kind` how that came to be its primary, and `grants` what it was
    given by other histories: (the other, slots) for each move of slots.
    """

    __slots__ = ("fork", "grants", "kind", "owner", "parent")

    def __init__(self, owner: int, parent: Branch | None = None, fork: int = 0) -> None:
        self.owner = owner
        self.parent = parent
        self.fork = fork
        self.kind = ""
        self.grants: list[tuple[Branch, int]] = []

    def lineage(self) -> list[Branch]:
        """lineage() -> this history and all that came before it, the latest first."""
        found = [self]
        while (parent := found[-1].parent) is not None:
            found.append(parent)
        return found

    def descends_from(self, other: Branch) -> bool:
        return other in self.lineage()

    def apart_from(self, other: Branch) -> list[Branch]:
        """apart_from(other) -> this one and those before it that are not in the past of `other`, the latest first."""
        theirs = set(other.lineage())
        return [own for own in self.lineage() if own not in theirs]

    def shared_with(self, other: Branch) -> int | None:
        """shared_with(other) -> the offset up to which both are one history; None where one is the other."""
        if self is other:
            return None
        mine: dict[Branch, int | None] = {self: None}
        branch, limit = self, None
        while branch.parent is not None:
            limit = branch.fork if limit is None else min(limit, branch.fork)
            branch = branch.parent
            mine[branch] = limit
        theirs: int | None = None
        at: Branch | None = other
        while at is not None:
            if at in mine:
                limits = [limit for limit in (mine[at], theirs) if limit is not None]
                return min(limits, default=None)
            theirs = at.fork if theirs is None else min(theirs, at.fork)
            at = at.parent
        return 0


class DataSet:
    """DataSet(owner): `offset_at(now_ms)` of the history `branch`; empty at first."""

    def __init__(self, owner: int) -> None:
        self._owner = owner
        self.branch = Branch(owner)
        self._marks: list[tuple[float, int, float]] = [(0.0, 0, 0.0)]
        self._feeder: DataSet | None = None
        self._lag_ms = 0.0

    def offset_at(self, now_ms: float) -> int:
        feeder = self._feeder
        if feeder is not None:
            return max(self._marks[-1][1], feeder.offset_at(now_ms - self._lag_ms))
        for at_ms, offset, rate in reversed(self._marks):
            if now_ms >= at_ms:
                return offset + int((now_ms - at_ms) * rate)
        return self._marks[0][1]

    def _mark(self, now_ms: float, offset: int, rate: float) -> None:
        self._feeder = None
        self._marks.append((now_ms, offset, rate))
        del self._marks[:-MARKS_MAX]

    def write(self, now_ms: float, bytes_per_ms: float) -> None:
        """write(now_ms, bytes_per_ms): from now on; 0 ends it, and ends following as well."""
        self._mark(now_ms, self.offset_at(now_ms), bytes_per_ms)

    def fork(self, now_ms: float) -> None:
        """fork(now_ms): this host is a primary now, and goes on from here with a history of its own."""
        self._mark(now_ms, self.offset_at(now_ms), 0.0)
        self.branch = Branch(self._owner, self.branch, self._marks[-1][1])

    def continues(self, other: DataSet, now_ms: float) -> bool:
        """continues(other, now_ms) -> whether this one holds all of `other` (a partial sync will do)."""
        shared = self.branch.shared_with(other.branch)
        mine = self.offset_at(now_ms)
        theirs = other.offset_at(now_ms)
        return theirs <= (mine if shared is None else min(shared, mine))

    def follow(self, feeder: DataSet, lag_ms: float, now_ms: float) -> None:
        """follow(feeder, lag_ms, now_ms): be what `feeder` was `lag_ms` ago, from now on."""
        self._mark(now_ms, feeder.offset_at(now_ms - lag_ms), 0.0)
        self.branch = feeder.branch
        self._feeder, self._lag_ms = feeder, lag_ms

    def clear(self, now_ms: float) -> None:
        self._mark(now_ms, 0, 0.0)
        self.branch = Branch(self._owner)
