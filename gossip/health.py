"""cluster_state: whether this node may serve, and whether a primary may still take writes.

Fail means: a slot without a living owner (cluster-require-full-coverage), or too few voters within reach.
With more than half of them unreachable, a majority may elect a successor; with half or fewer it cannot, so a
primary goes on exactly as long as no majority can exist without it. After a start, a pause or an isolation it
first has to hear a majority again, in agreement about the state, or to have been back for the rejoin delay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .effects import StateChanged

if TYPE_CHECKING:
    from .core import ClusterCore


class Health:
    """`ok` is the verdict that clients see; `confirmed` whether this node knows to be part of the cluster."""

    def __init__(self, core: ClusterCore, *, confirmed: bool) -> None:
        self._core = core
        self.ok = False
        self.reason = "starting"
        self.cut_off = False
        """Whether so many voters are out of reach that it is rather this node that is."""
        self._unconfirmed_since_ms: float | None = None if confirmed else core.now_ms
        self._in_reach_since_ms: float | None = None

    @property
    def confirmed(self) -> bool:
        return self._unconfirmed_since_ms is None

    def doubt(self) -> None:
        """This node may have missed something (start, pause, isolation): it has to be confirmed again."""
        self._unconfirmed_since_ms = self._core.now_ms
        self._in_reach_since_ms = None

    def confirm(self) -> None:
        """This node knows to be part of the cluster."""
        self._core.stir()
        self._unconfirmed_since_ms = self._in_reach_since_ms = None
        self._core.voter.confirmed()

    def deadline_ms(self) -> float:
        core = self._core
        due_ms = core.detector.first_deadline_ms(core.config.quorum_timeout_ms)
        if self._in_reach_since_ms is not None:
            due_ms = min(due_ms, self._in_reach_since_ms + core.config.rejoin_delay_ms)
        return due_ms

    def update(self) -> None:
        """Form the verdict anew; O(suspects), for it runs after every input."""
        reason = self._failure()
        ok = not reason
        self.reason = reason
        if ok != self.ok:
            self.ok = ok
            core = self._core
            core.log("notice" if ok else "warning", f"Cluster state changed: {'ok' if ok else 'fail'}")
            core.emit(StateChanged(ok))

    def _failure(self) -> str:
        core = self._core
        unreachable = self._unreachable_voters()
        self.cut_off = len(core.voter_ids()) - unreachable < core.blocking_quorum()
        if self.cut_off:
            self.doubt()
            return "no quorum"
        if not self.confirmed:
            self._try_to_confirm()
        if core.myself.is_primary and not self.confirmed:
            return "not confirmed by a majority yet"
        if core.config.require_full_coverage:
            if core.slot_map.unassigned:
                return "slots not covered"
            if any(node.owned for node in core.failed.values()):
                return "slots of failed nodes"
        return ""

    def _unreachable_voters(self) -> int:
        core = self._core
        detector = core.detector
        silent = [
            node
            for node in detector.silent_for(core.config.quorum_timeout_ms)
            if node.refused_at_ms is None
        ]
        if not core.config.voters_primaries_only:
            return len(core.failed) + len(detector.refused) + len(silent)
        voters = core.voter_ids()
        return sum(node.id in voters for node in (*core.failed.values(), *detector.refused.values(), *silent))

    def _try_to_confirm(self) -> None:
        core = self._core
        since_ms = self._unconfirmed_since_ms
        assert since_ms is not None
        agreeing = in_reach = 1 if core.myself.id in core.voter_ids() else 0
        for node in core.voters():
            if node is core.myself:
                continue
            agreeing += node.confirmed_at_ms is not None and node.confirmed_at_ms >= since_ms
            in_reach += node.contact_at_ms is not None and node.contact_at_ms >= since_ms
        if agreeing >= core.majority():
            self.confirm()
        elif in_reach < core.blocking_quorum():
            self._in_reach_since_ms = None
        elif self._in_reach_since_ms is None:
            self._in_reach_since_ms = core.now_ms
        elif core.now_ms - self._in_reach_since_ms >= core.config.rejoin_delay_ms:
            self.confirm()
