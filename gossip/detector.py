"""Failure detection: probes, suspicion, graded reports, and FAIL by a majority of the voters.

One peer is probed each period; a late answer is asked for through others. A refused datagram (the process is
gone) is reported at once, silence only after the node timeout, and both only while this node has that
evidence itself. A node that was itself late (paused, starved) moves its clocks on instead of blaming its
peers.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .messages import Evidence, Kind, Message, RumorKind
from .nodes import Address, Node

if TYPE_CHECKING:
    from .core import ClusterCore

INDIRECT_PROBES = 3
SUSPECT_PROBES_MAX = 8
"""Peers under suspicion that are probed again in each period, besides the regular one."""
CATCH_UP_PROBES_MAX = 32
"""Voters that an unconfirmed node probes in each period."""
PENDING_MAX = 4096
COLLECTORS = 16
"""In a large cluster reports go to the subject's replicas and so many of its successors by id, who count
them.
"""
REPORT_REPEAT_MS = 250


@dataclass(slots=True)
class _Probe:
    subject: Node
    sent_at_ms: float
    relay: tuple[Node, int] | None


class Detector:
    """The detecting half of a ClusterCore; `unanswered` holds the members that owe an answer."""

    def __init__(self, core: ClusterCore, now_ms: float) -> None:
        self._core = core
        self._sequence = core.rng.getrandbits(32)
        self._pending: dict[int, _Probe] = {}
        self._escalations: deque[tuple[float, int]] = deque()
        self._round: list[str] = []
        self.unanswered: dict[str, Node] = {}
        self.next_probe_at_ms = now_ms + core.rng.random() * core.config.probe_period_ms

    def deadline_ms(self) -> float:
        due = self.next_probe_at_ms
        while self._escalations and self._escalations[0][1] not in self._pending:
            self._escalations.popleft()
        if self._escalations:
            due = min(due, self._escalations[0][0])
        for node in self.unanswered.values():
            if not node.failed and node.unanswered_since_ms is not None:
                fail_at = node.unanswered_since_ms + self._core.config.node_timeout_ms
                if fail_at > self._core.now_ms:
                    due = min(due, fail_at)
        return due

    def tick(self) -> None:
        now_ms = self._core.now_ms
        while self._escalations and self._escalations[0][0] <= now_ms:
            self._escalate(self._escalations.popleft()[1])
        if now_ms >= self.next_probe_at_ms:
            period_ms = self._core.config.probe_period_ms
            self.next_probe_at_ms = max(self.next_probe_at_ms + period_ms, now_ms + period_ms / 2)
            self._expire(now_ms)
            self._probe_round()
        for node in list(self.unanswered.values()):
            self._weigh(node)

    def shift_clocks(self, lag_ms: float) -> None:
        """This node was late by `lag_ms`: nobody else's silence in that time counts."""
        for node in self.unanswered.values():
            if node.unanswered_since_ms is not None:
                node.unanswered_since_ms += lag_ms
        for probe in self._pending.values():
            probe.sent_at_ms += lag_ms
        self._escalations = deque((due_ms + lag_ms, sequence) for due_ms, sequence in self._escalations)

    # Probing

    def probe(self, node: Node, relay: tuple[Node, int] | None = None) -> None:
        """Ask `node` for an answer; with `relay`, on behalf of (requester, its sequence)."""
        address = node.address
        if address is None:
            return
        now_ms = self._core.now_ms
        self._sequence = sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._pending[sequence] = _Probe(node, now_ms, relay)
        while len(self._pending) > PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        if node.unanswered_since_ms is None:
            node.unanswered_since_ms = now_ms
            self.unanswered[node.id] = node
            self._escalations.append((now_ms + self._core.config.probe_timeout_ms, sequence))
        if node.ping_sent_ms is None:
            node.ping_sent_ms = now_ms
        self._core.send(address, Kind.PING, (sequence,))

    def forget(self, node: Node) -> None:
        self.unanswered.pop(node.id, None)
        node.unanswered_since_ms = None

    def _expire(self, now_ms: float) -> None:
        horizon_ms = now_ms - self._core.config.node_timeout_ms
        for sequence, probe in list(self._pending.items()):
            if probe.sent_at_ms > horizon_ms:
                break
            del self._pending[sequence]
            self._core.stats.probes_unanswered += 1

    def _probe_round(self) -> None:
        core = self._core
        suspects = self._overdue()
        for node in core.sample(suspects, SUSPECT_PROBES_MAX):
            self.probe(node)
        in_doubt = any(not node.failed for node in suspects) and len(core.nodes) <= COLLECTORS
        if in_doubt or not core.health.confirmed:
            others = [
                node for node in core.voters() if node.id not in self.unanswered and node is not core.myself
            ]
            for node in core.sample(others, CATCH_UP_PROBES_MAX):
                self.probe(node)
        else:
            regular = self._next_in_round()
            if regular is not None and regular not in suspects:
                self.probe(regular)

    def _overdue(self) -> list[Node]:
        """The members whose answer is late enough for direct and indirect probes to have failed."""
        limit_ms = self._core.now_ms - 2 * self._core.config.probe_timeout_ms
        return [
            node
            for node in self.unanswered.values()
            if node.suspected
            or (node.unanswered_since_ms is not None and node.unanswered_since_ms <= limit_ms)
        ]

    def _next_in_round(self) -> Node | None:
        core = self._core
        for _ in range(2):
            while self._round:
                node = core.nodes.get(self._round.pop())
                if node is not None and node is not core.myself:
                    return node
            self._round = sorted(core.nodes)
            core.rng.shuffle(self._round)
        return None

    def _escalate(self, sequence: int) -> None:
        probe = self._pending.get(sequence)
        core = self._core
        if probe is None:
            return
        subject = probe.subject
        if subject.unanswered_since_ms is None or subject.suspected or subject.failed:
            return
        since_ms = core.now_ms - subject.unanswered_since_ms
        timeout_ms = core.config.probe_timeout_ms
        if since_ms < 1.5 * timeout_ms:
            helpers = [
                node
                for node in core.nodes.values()
                if node is not core.myself and node is not subject and node.id not in self.unanswered
            ]
            for helper in core.sample(helpers, INDIRECT_PROBES):
                if helper.address is not None:
                    core.send(helper.address, Kind.PING_REQ, (sequence, bytes.fromhex(subject.id)))
            self.probe(subject)
            self._escalations.append((core.now_ms + timeout_ms, sequence))
        else:
            self._suspect(subject, Evidence.SILENT)

    def _suspect(self, subject: Node, evidence: Evidence) -> None:
        if subject.suspected or subject.failed:
            return
        subject.suspected = True
        subject.suspected_at_ms = self._core.now_ms
        self._core.stats.suspicions += 1
        raw = bytes.fromhex(subject.id)
        rumor = (int(RumorKind.SUSPECT), raw, subject.record.version, int(evidence))
        self._core.rumors.tell(rumor, raw, len(self._core.nodes), origin=True)

    # What peers and the network say

    def on_pong(self, sender: Node, message: Message) -> None:
        """A direct answer; one that matches no probe of ours proves nothing (it may be a replay)."""
        sequence = message.body[0]
        probe = self._pending.get(sequence)
        if probe is None or probe.subject is not sender:
            return
        del self._pending[sequence]
        now_ms = self._core.now_ms
        self._core.stats.answered(sender, now_ms - probe.sent_at_ms)
        sender.contact_at_ms = now_ms
        sender.ping_sent_ms = None
        self._answered(sender)
        if probe.relay is not None:
            requester, relayed = probe.relay
            self._relay(requester, relayed, sender, answered=True)
        if sender.failed:
            raw = bytes.fromhex(sender.id)
            fail = (int(RumorKind.FAIL), raw, sender.record.version)
            self._core.send_to(sender, Kind.GOSSIP, (), (fail,))

    def on_ping_req(self, sender: Node, message: Message) -> None:
        sequence, raw = message.body
        subject = self._core.nodes.get(raw.hex())
        if subject is not None and subject is not self._core.myself:
            self.probe(subject, relay=(sender, sequence))

    def on_relay(self, message: Message) -> None:
        sequence, raw, answered = message.body
        probe = self._pending.get(sequence)
        if answered and probe is not None and probe.subject.id == raw.hex():
            self._answered(probe.subject)

    def on_suspicion(self, subject: Node) -> None:
        """Somebody suspects `subject`: look for ourselves, unless we just did."""
        if subject.id in self.unanswered:
            if subject.failed or subject.suspected:
                return
        elif (
            subject.contact_at_ms is not None
            and self._core.now_ms - subject.contact_at_ms < self._core.config.probe_timeout_ms / 4
        ):
            return
        self.probe(subject)

    def on_refused(self, address: Address) -> None:
        """The host at `address` answers that nobody listens there.

        That means death for a member this node has heard since it started; one that it has not
        may simply not have been started yet, and only its silence counts.
        """
        for subject in self._core.nodes.values():
            if subject.address == address and subject is not self._core.myself:
                break
        else:
            return
        if subject.heard_at_ms is None:
            return
        if subject.unanswered_since_ms is None:
            self.probe(subject)
            return
        subject.refused_at_ms = self._core.now_ms
        for sequence, probe in list(self._pending.items()):
            if probe.subject is subject and probe.relay is not None:
                del self._pending[sequence]
                self._relay(probe.relay[0], probe.relay[1], subject, answered=False)
        self._suspect(subject, Evidence.REFUSED)
        self._weigh(subject)

    def on_report(self, sender: Node, message: Message) -> None:
        raw, version, evidence = message.body
        subject = self._core.nodes.get(raw.hex())
        if subject is None or subject is sender:
            return
        if evidence == Evidence.CLEAR:
            if subject.reports.pop(sender.id, None):
                self._core.log(
                    "verbose", f"Node {sender.label} reported node {subject.label} is back online."
                )
            return
        if evidence not in (Evidence.SILENT, Evidence.REFUSED) or subject is self._core.myself:
            return
        if sender.id not in subject.reports:
            self._core.log("verbose", f"Node {sender.label} reported node {subject.label} as not reachable.")
        subject.reports[sender.id] = (self._core.now_ms, version)
        self._judge(subject)

    # Judgement

    def evidence(self, node: Node) -> Evidence:
        """evidence(node) -> what this node itself has against `node`."""
        if node.unanswered_since_ms is None:
            return Evidence.CLEAR
        if node.refused_at_ms is not None:
            return Evidence.REFUSED
        if self._core.now_ms - node.unanswered_since_ms >= self._core.config.node_timeout_ms:
            return Evidence.SILENT
        return Evidence.CLEAR

    def report_count(self, subject: Node) -> int:
        """report_count(subject) -> valid failure reports of other voters on `subject`."""
        oldest_ms = self._core.now_ms - self._core.config.report_window_ms
        voters = self._core.voter_ids()
        return sum(
            reporter in voters and at_ms >= oldest_ms and version == subject.record.version
            for reporter, (at_ms, version) in subject.reports.items()
        )

    def _weigh(self, subject: Node) -> None:
        """Report `subject` if there is evidence and the last report has worn off; count what is there."""
        evidence = self.evidence(subject)
        if evidence is Evidence.CLEAR or subject.failed:
            return
        now_ms = self._core.now_ms
        if subject.reported_at_ms is None or now_ms - subject.reported_at_ms >= REPORT_REPEAT_MS:
            subject.reported_at_ms = now_ms
            self._report(subject, evidence)
        self._judge(subject)

    def _judge(self, subject: Node) -> None:
        if subject.failed:
            return
        core = self._core
        count = self.report_count(subject)
        if self.evidence(subject) is not Evidence.CLEAR and core.myself.id in core.voter_ids():
            count += 1
        if count >= core.majority():
            core.mark_failed(subject, origin=True)

    def _answered(self, node: Node) -> None:
        self.unanswered.pop(node.id, None)
        node.unanswered_since_ms = None
        node.refused_at_ms = None
        self._core.stats.suspicions_refuted += node.suspected and not node.failed
        node.suspected = False
        node.suspected_at_ms = None
        if node.reported_at_ms is not None:
            node.reported_at_ms = None
            self._report(node, Evidence.CLEAR)

    def _report(self, subject: Node, evidence: Evidence) -> None:
        body = (bytes.fromhex(subject.id), subject.record.version, int(evidence))
        for collector in self._collectors(subject):
            self._core.send_to(collector, Kind.REPORT, body)

    def _collectors(self, subject: Node) -> list[Node]:
        core = self._core
        others = [node for node in core.nodes.values() if node is not core.myself and node is not subject]
        if len(others) <= COLLECTORS:
            return others
        others.sort(key=lambda node: (node.id < subject.id, node.id))
        replicas = [node for node in others if node.primary_id == subject.id]
        successors = [node for node in others if not node.failed and node not in replicas]
        return replicas + successors[:COLLECTORS]

    def _relay(self, requester: Node, sequence: int, subject: Node, *, answered: bool) -> None:
        self._core.send_to(requester, Kind.RELAY, (sequence, bytes.fromhex(subject.id), answered))
