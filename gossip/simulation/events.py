"""What happened in a simulated cluster, in the words of the protocol: suspicions, FAIL, elections, roles, slots.

Read off the effects of the cores and the difference between what they knew before and after, never off their log:
a scenario stays the same when a text or a counter changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import bitmap
from ..core import ClusterCore
from ..effects import BecomePrimary, BecomeReplica, Effect, PauseWrites, ResumeWrites, Send
from ..messages import KIND_NAMES, Evidence, Kind

if TYPE_CHECKING:
    from .hosts import SimNode

STATE_HOLD_MS = 500.0
"""cluster_state is worth a line when it stays so for this long: nodes fail and recover with each failover."""

SUSPICIONS, VOTES, REPORTS, MESSAGES = "suspicions", "votes", "reports", "messages"
DETAILS = (SUSPICIONS, VOTES, REPORTS, MESSAGES)
"""What is not shown until it is asked for."""


CONSEQUENCES = (
    "gives up", "replica of", "replicates from", "FAIL is cleared", "no longer suspected", "gets to know", "forgets",
    "takes writes again", "cluster_state",
)  # fmt: skip
"""What many nodes do in any order once something is decided."""


@dataclass(slots=True)
class Event:
    """`who` did or suffered `what`; events of several nodes with the same `what` make one line."""

    at_ms: float
    number: int
    who: str
    what: str


@dataclass(slots=True)
class _View:
    """What a node was last seen to be and to think."""

    primary_id: str = ""
    config_epoch: int = 0
    slots: int = 0
    members: frozenset[str] = frozenset()
    suspected: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    ok: bool = False
    candidate_epoch: int = 0


@dataclass(slots=True)
class _Pending:
    at_ms: float
    text: str
    ok: bool


@dataclass(slots=True)
class Observer:
    """Observer(name, clock): gathers events of all nodes; `name(id)` is what to call a node, `clock()` the time."""

    name: Callable[[str], str]
    clock: Callable[[], float]
    details: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    _views: dict[str, _View] = field(default_factory=dict)
    _count: int = 0
    _suspecting: dict[str, set[str]] = field(default_factory=dict)
    _suspicions: dict[str, Event] = field(default_factory=dict)
    """The first suspicion of each episode, shown when it comes to a FAIL."""
    _failing: dict[str, set[str]] = field(default_factory=dict)
    _states: dict[str, _Pending] = field(default_factory=dict)

    def begin(self, nodes: Iterable[SimNode]) -> None:
        """Take the present state as known."""
        for node in nodes:
            if node.core is not None:
                self._views[node.id] = _view_of(node.core, _View())
        self.events.clear()

    def lost(self, node: SimNode) -> None:
        """The process of `node` is gone, and with it what it thought."""
        self._views.pop(node.id, None)
        self._states.pop(node.id, None)
        for observers in (*self._suspecting.values(), *self._failing.values()):
            observers.discard(node.id)

    def note(self, node: SimNode, what: str) -> None:
        """`node` does or suffers `what`, which is not to be seen from its effects."""
        self._add(node.id, what)

    def look(self, node: SimNode, effects: Sequence[Effect]) -> None:
        """`node` is about to carry out `effects`."""
        core = node.core
        assert core is not None
        old = self._views.get(node.id)
        if old is None:
            old = _view_of(core, _View())
            old.failed = old.suspected = frozenset()
        new = self._views[node.id] = _view_of(core, old)
        self._opinions(core, old, new)
        self._members(core, old, new)
        self._role(core, old, new, effects)
        self._state(core, old, new)
        for effect in effects:
            if isinstance(effect, Send):
                self._message(core, new, effect)
            elif isinstance(effect, PauseWrites):
                self._add(node.id, "holds writes back for a manual failover")
            elif isinstance(effect, ResumeWrites):
                self._add(node.id, "takes writes again")

    def take(self) -> list[Event]:
        """take() -> the events since the last call, in their order; a failure that has not held yet comes later."""
        now_ms = self.clock()
        for node_id, pending in list(self._states.items()):
            held = now_ms - pending.at_ms >= STATE_HOLD_MS
            if held:
                self.events.append(self._event(pending.at_ms, node_id, pending.text))
            if held or pending.ok:
                del self._states[node_id]
        taken, self.events = sorted(self.events, key=lambda event: (event.at_ms, event.number)), []
        return taken

    def _event(self, at_ms: float, node_id: str, what: str) -> Event:
        self._count += 1
        return Event(at_ms, self._count, self.name(node_id), what)

    def _add(self, node_id: str, what: str) -> None:
        self.events.append(self._event(self.clock(), node_id, what))

    def _opinions(self, core: ClusterCore, old: _View, new: _View) -> None:
        """The first observer's suspicion or mark begins an episode, the last one's change of mind ends it."""
        me = core.myself.id
        for subject in sorted(new.suspected - old.suspected):
            if not self._suspecting.setdefault(subject, set()):
                refused = core.nodes[subject].refused_at_ms is not None
                what = f"suspected, {'refused' if refused else 'no answer'}"
                self._suspicions[subject] = self._event(self.clock(), subject, what)
                if SUSPICIONS in self.details:
                    self.events.append(self._suspicions.pop(subject))
            self._suspecting[subject].add(me)
        for subject in sorted(new.failed - old.failed):
            if not self._failing.setdefault(subject, set()):
                if subject in self._suspicions:
                    self.events.append(self._suspicions.pop(subject))
                self._add(subject, "FAIL")
            self._failing[subject].add(me)
        for subject in sorted(old.failed - new.failed):
            self._failing.setdefault(subject, set()).discard(me)
            if not self._failing[subject] and subject in new.members:
                self._add(subject, "FAIL is cleared")
        for subject in sorted(old.suspected - new.suspected):
            self._suspecting.setdefault(subject, set()).discard(me)
            if subject in old.failed or self._suspecting[subject] or self._failing.get(subject):
                continue
            if SUSPICIONS in self.details and subject in new.members:
                self._add(subject, "no longer suspected")

    def _members(self, core: ClusterCore, old: _View, new: _View) -> None:
        for what, others in (("gets to know", new.members - old.members), ("forgets", old.members - new.members)):
            if others:
                self._add(core.myself.id, f"{what} {','.join(sorted(map(self.name, others)))}")

    def _role(self, core: ClusterCore, old: _View, new: _View, effects: Sequence[Effect]) -> None:
        me = core.myself.id
        promoted = next((effect for effect in effects if isinstance(effect, BecomePrimary)), None)
        epoch = f"configEpoch {new.config_epoch}"
        if promoted is not None and promoted.replaces:
            slots = slots_text(new.slots)
            self._add(me, f"primary of {slots} with {epoch}, in the place of {self.name(promoted.replaces)}")
        elif old.primary_id != new.primary_id:
            self._add(me, f"replica of {self.name(new.primary_id)}" if new.primary_id else "primary without slots")
        elif not new.primary_id:
            gained, given_up = new.slots & ~old.slots, old.slots & ~new.slots
            if gained:
                self._add(me, f"claims {slots_text(gained)} with {epoch}")
            elif new.config_epoch != old.config_epoch:
                self._add(me, f"takes {epoch}")
            if given_up:
                self._add(me, f"gives up {slots_text(given_up)}")
        elif any(isinstance(effect, BecomeReplica) for effect in effects):
            self._add(me, f"replicates from {self.name(new.primary_id)}")

    def _state(self, core: ClusterCore, old: _View, new: _View) -> None:
        if new.ok == old.ok:
            return
        pending = self._states.get(core.myself.id)
        if pending is not None and pending.ok != new.ok:
            held = self.clock() - pending.at_ms >= STATE_HOLD_MS
            del self._states[core.myself.id]
            if not held:
                return
            self.events.append(self._event(pending.at_ms, core.myself.id, pending.text))
        text = "cluster_state ok" if new.ok else f"cluster_state fail: {core.health.reason}"
        self._states[core.myself.id] = _Pending(self.clock(), text, new.ok)

    def _message(self, core: ClusterCore, view: _View, send: Send) -> None:
        me, message = core.myself.id, send.message
        to = self.name(_node_at(core, send.address))
        kind, body = message.kind, message.body
        if MESSAGES in self.details:
            self._add(me, f"sends {KIND_NAMES[Kind(kind)]} to {to}")
        if kind == Kind.AUTH_REQUEST and body[0] > view.candidate_epoch:
            view.candidate_epoch = body[0]
            self._add(me, f"asks for votes in epoch {body[0]}")
        elif kind == Kind.MF_START:
            self._add(me, f"asks {to} to hold writes back")
        elif VOTES in self.details and kind == Kind.AUTH_ACK:
            self._add(me, f"votes for {to} in epoch {body[0]}")
        elif VOTES in self.details and kind == Kind.AUTH_NACK:
            self._add(me, f"refuses {to} its vote in epoch {body[0]}")
        elif REPORTS in self.details and kind == Kind.REPORT:
            self._report(me, body)

    def _report(self, me: str, body: tuple[Any, ...]) -> None:
        evidence = {Evidence.CLEAR: "back", Evidence.SILENT: "silent", Evidence.REFUSED: "refusing"}
        self._add(me, f"reports {self.name(body[0].hex())} as {evidence[Evidence(body[2])]}")


def _view_of(core: ClusterCore, old: _View) -> _View:
    record = core.myself.record
    others = [node for node in core.nodes.values() if node is not core.myself]
    return _View(
        record.primary_id,
        record.config_epoch,
        record.slots,
        frozenset(node.id for node in others),
        frozenset(node.id for node in others if node.suspected),
        frozenset(core.failed),
        core.health.ok,
        old.candidate_epoch,
    )


def _node_at(core: ClusterCore, address: tuple[str, int]) -> str:
    return next((node.id for node in core.nodes.values() if node.address == address), "")


def slots_text(slots: int) -> str:
    """slots_text(slots) -> "0-99,200", or "no slots"."""
    spans = (str(first) if first == last else f"{first}-{last}" for first, last in bitmap.ranges(slots))
    return ",".join(spans) or "no slots"


def render(events: Iterable[Event], start_ms: float, order: Sequence[str], *, exact: bool) -> list[str]:
    """render(events, start_ms, order, exact=False) -> lines "<1s  d,e: replica of a".

    What events lead to comes behind them, in an order of its own. The nodes of equal events are joined, in `order`, and
    repetitions left out. A time is an upper bound on a coarse scale, so that tuning doesn't change it; with `exact`,
    milliseconds.
    """
    joined: dict[str, dict[str, float]] = {}
    for event in events:
        joined.setdefault(event.what, {}).setdefault(event.who, event.at_ms)
    rows: list[tuple[float, int, str]] = []
    for what, first_at_ms in joined.items():
        names = sorted(first_at_ms, key=order.index)
        last_ms = max(first_at_ms.values()) - start_ms
        rank = next((rank for rank, text in enumerate(CONSEQUENCES, 1) if what.startswith(text)), 0)
        line = f"{','.join(names)}: {what}"
        rows.append((last_ms, 0, line) if exact else (_bound_ms(last_ms), rank, line))
    rows.sort(key=lambda row: (row[0], row[1], row[2] if row[1] else ""))
    width = 8 if exact else 5
    return [f"{_time_text(at_ms, exact=exact):<{width}} {text}" for at_ms, _, text in rows]


BOUNDS_MS = (1000, 3000, 10_000, 30_000)


def _bound_ms(elapsed_ms: float) -> float:
    return next((bound for bound in BOUNDS_MS if elapsed_ms < bound), float("inf"))


def _time_text(at_ms: float, *, exact: bool) -> str:
    if exact:
        return f"{at_ms:.0f}ms"
    if at_ms == float("inf"):
        return "later"
    return f"<{at_ms / 1000:.0f}s"
