"""Failure detection: probes, suspicion, graded reports, and FAIL by a majority of the voters.

One peer is probed each period; a late answer is asked for through others. A refused datagram (the process is
gone) is reported at once, silence only after the node timeout, and both only while this node has that
evidence itself: however often one path lies, it is one voter's word. A node that was itself late (paused, starved)
moves its clocks on instead of blaming its peers.

What Lifeguard (arXiv 1707.00788) adds to SWIM is here so. Local health: a node whose probes fail or that hears that
it is suspected (`self_doubt`) gives answers more time, and with much of that, or without a majority in reach, reports
nobody for silence; what it can measure, by how much it was late itself, it takes off exactly (`shift_clocks`). The
probe period stays, for its probes are what tells a primary that it has to stop. Suspicion: Lifeguard's timeout shrinks
with independent confirmations; here a suspicion only makes others look for themselves, and FAIL takes a majority of
them, each with evidence of its own: more confirmations, but no waiting beyond the node timeout. Buddy system: each
probe to a suspect says so, besides asking it directly, and one answer each takes the suspicions back.

Nothing that a datagram or a period causes takes time or traffic in proportion to the number of members; one failure
costs each member about two dozen datagrams, whatever that number is.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from .messages import PING_PADDING, Evidence, Kind, Message, Rumor, RumorKind
from .nodes import Address, Node
from .rumors import EAGER_ALL_MAX

if TYPE_CHECKING:
    from .core import ClusterCore

INDIRECT_PROBES = 3
SUSPECT_PROBES_MAX = 8
"""Peers under suspicion that are probed again in each period, besides the regular one."""
SUSPECT_SHARE_MIN = 0.5
"""In a large cluster each suspect is probed again in this share of the periods. All members do that, and a host
that was stopped finds their probes in a socket buffer of a few hundred datagrams when it goes on.
"""
HEARSAY_SHARE = 0.25
"""Who was told of a suspicion passes it on if the suspect leaves it without answer for this share of the time that
an answer may take otherwise: others have tried already, and each step of the way to all members costs so long.
"""
SELF_DOUBT_MAX: Final = 4
"""A node whose own probes keep failing waits up to so many times longer, and once, before it asks others about a
member and then suspects it. Its evidence of silence is counted from the first probe all the same.
"""
SELF_DOUBT_MUTE: Final = 3
"""Whose probes have failed so often lately, on balance, reports nobody for silence."""
CATCH_UP_PROBES_MAX = 32
"""Voters that an unconfirmed node probes in each period."""
PENDING_MAX: Final = 4096
REPORT_ALL_MAX = 16
"""Up to so many other members, reports go to all of them, and one in doubt is probed by all."""
COLLECTORS = 4
"""In a larger cluster reports go to the subject's replicas, whom they concern, and to so many of its successors
by id that are not suspects themselves. They count; a repetition finds others where these have died.
"""
REPORT_REPEAT_MS = 250
_PING: Final = int(Kind.PING)


class _Probe:
    __slots__ = ("relay", "sent_at_ms", "subject")

    def __init__(self, subject: Node, sent_at_ms: float, relay: tuple[Node, int] | None) -> None:
        self.subject = subject
        self.sent_at_ms = sent_at_ms
        self.relay = relay


class Detector:
    """The detecting half of a ClusterCore.

    `unanswered` holds the members that owe an answer, the longest silent first; `refused` those of them whose host
    says that they are gone. Members marked FAIL are in neither.
    """

    def __init__(self, core: ClusterCore, now_ms: float) -> None:
        self._core = core
        self._sequence = core.rng.getrandbits(32)
        self._pending: dict[int, _Probe] = {}
        self._escalations: list[tuple[float, int, bool]] = []
        """When, which probe, and whether it has been asked for again."""
        self._round: list[str] = []
        self._own_turn = False
        self._relays: dict[str, list[int]] = {}
        self._hearsay: set[str] = set()
        self.self_doubt = 0
        """Lifeguard's local health: one more for a probe that failed, one less for one that was answered in time."""
        self.unanswered: dict[str, Node] = {}
        self.refused: dict[str, Node] = {}
        self.next_probe_at_ms = now_ms + core.rng.random() * core.config.probe_period_ms

    def deadline_ms(self) -> float:
        due = self.next_probe_at_ms
        while self._escalations and self._escalations[0][1] not in self._pending:
            heappop(self._escalations)
        if self._escalations:
            due = min(due, self._escalations[0][0])
        return min(due, self.first_deadline_ms(self._core.config.node_timeout_ms)) if self.unanswered else due

    def first_deadline_ms(self, silence_ms: float) -> float:
        """first_deadline_ms(silence_ms) -> when the next member will have been silent for so long."""
        for node in self.unanswered.values():
            assert node.unanswered_since_ms is not None
            due_ms = node.unanswered_since_ms + silence_ms
            if due_ms > self._core.now_ms:
                return due_ms
        return inf

    def silent_for(self, silence_ms: float) -> list[Node]:
        """silent_for(silence_ms) -> the members that have owed an answer for so long. O(what it returns)."""
        limit_ms = self._core.now_ms - silence_ms
        found = []
        for node in self.unanswered.values():
            assert node.unanswered_since_ms is not None
            if node.unanswered_since_ms > limit_ms:
                break
            found.append(node)
        return found

    def tick_as_usual(self) -> bool:
        """tick_as_usual() -> whether at most the next regular probe was due; it is sent then."""
        core = self._core
        if self.unanswered or core.failed or (self._escalations and self._escalations[0][0] <= core.now_ms):
            return False
        if core.now_ms >= self.next_probe_at_ms:
            self._begin_period()
            regular = self._next_in_round()
            if regular is not None:
                self.probe(regular)
        return True

    def tick(self) -> None:
        now_ms = self._core.now_ms
        while self._escalations and self._escalations[0][0] <= now_ms:
            _, sequence, again = heappop(self._escalations)
            self._escalate(sequence, again=again)
        if now_ms >= self.next_probe_at_ms:
            self._begin_period()
            self._probe_round()
        for node in [*self.refused.values(), *self.silent_for(self._core.config.node_timeout_ms)]:
            self._weigh(node)

    def shift_clocks(self, lag_ms: float) -> None:
        """This node was late by `lag_ms`: nobody else's silence in that time counts."""
        for node in self.unanswered.values():
            if node.unanswered_since_ms is not None:
                node.unanswered_since_ms += lag_ms
        for probe in self._pending.values():
            probe.sent_at_ms += lag_ms
        self._escalations = [(due_ms + lag_ms, sequence, again) for due_ms, sequence, again in self._escalations]

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
        if relay is not None:
            self._relays.setdefault(node.id, []).append(sequence)
        if node.unanswered_since_ms is None and not node.failed:
            node.unanswered_since_ms = now_ms
            self.unanswered[node.id] = node
            heappush(self._escalations, (now_ms + self.patience_ms(), sequence, False))
        if node.ping_sent_ms is None:
            node.ping_sent_ms = now_ms
        told = (self._accusation(node),) if node.suspected else None
        self._core.send(address, _PING, (sequence, PING_PADDING), told)

    def patience_ms(self) -> float:
        """patience_ms() -> how long an answer may take before others are asked, and then they."""
        return self._core.config.probe_timeout_ms * (1 + self.self_doubt)

    def doubt_self(self) -> None:
        """It may be this node that is slow, or that datagrams don't reach."""
        self.self_doubt = min(SELF_DOUBT_MAX, self.self_doubt + 1)

    def forget(self, node: Node) -> None:
        """Whatever was held against `node` is settled: it answered, was marked FAIL, came back, or is gone."""
        self.unanswered.pop(node.id, None)
        self.refused.pop(node.id, None)
        self._hearsay.discard(node.id)
        node.unanswered_since_ms = None
        node.refused_at_ms = None
        node.suspected = False

    def _begin_period(self) -> None:
        config, now_ms = self._core.config, self._core.now_ms
        period_ms = config.probe_period_ms
        self.next_probe_at_ms = max(self.next_probe_at_ms + period_ms, now_ms + period_ms / 2)
        horizon_ms = now_ms - config.node_timeout_ms
        pending = self._pending
        while pending:
            oldest = next(iter(pending))
            probe = pending[oldest]
            if probe.sent_at_ms > horizon_ms:
                break
            del pending[oldest]
            self._core.stats.probes_unanswered += 1
            if probe.relay is not None:
                self._relays.pop(probe.subject.id, None)

    def _probe_round(self) -> None:
        core = self._core
        suspects = self._overdue()
        self._probe_again(suspects)
        in_doubt = bool(suspects) and len(core.nodes) <= REPORT_ALL_MAX
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

    def _probe_again(self, suspects: list[Node]) -> None:
        """Ask suspects and failed members once more: all the time in a small cluster, in turns in a large one.

        What a member under suspicion receives from all the others then stays bounded, and so does, for each of
        them, the cost of members that are gone for good.
        """
        core = self._core
        share = REPORT_ALL_MAX / len(core.nodes)
        if share >= 1:
            again = core.sample(suspects + list(core.failed.values()), SUSPECT_PROBES_MAX)
        else:
            often = max(share, SUSPECT_SHARE_MIN)
            again = [
                node for node in core.sample(suspects, SUSPECT_PROBES_MAX) if core.rng.random() < often
            ]
            if core.failed and core.rng.random() < share * len(core.failed):
                again += core.sample(list(core.failed.values()), 1)
        for node in again:
            self.probe(node)

    def _overdue(self) -> list[Node]:
        """The members whose answer is late enough for direct and indirect probes to have failed."""
        late = self.silent_for(2 * self._core.config.probe_timeout_ms)
        return late + [
            node for node in islice(self.unanswered.values(), len(late), None) if node.suspected
        ]

    def _next_in_round(self) -> Node | None:
        """Whom to ask next: all members in turn, and a replica its own primary every other time.

        The outage is the shard's own, so its replicas look closely, and a silent primary is noticed in even time
        however many others there are.
        """
        core = self._core
        primary = core.my_primary()
        self._own_turn = not self._own_turn
        if self._own_turn and primary is not None and not primary.failed:
            return primary
        for _ in range(2):
            while self._round:
                node = core.nodes.get(self._round.pop())
                if node is not None and node is not core.myself:
                    return node
            self._round = sorted(core.nodes)
            core.rng.shuffle(self._round)
        return None

    def _escalate(self, sequence: int, *, again: bool) -> None:
        probe = self._pending.get(sequence)
        core = self._core
        if probe is None:
            return
        subject = probe.subject
        if subject.unanswered_since_ms is None or subject.suspected or subject.failed:
            return
        if probe.sent_at_ms < subject.unanswered_since_ms:
            return  # others have answered for it meanwhile, and it has been probed anew
        if not again and subject.id not in self._hearsay:
            self.doubt_self()
            for helper in core.roster.pick(core.rng, INDIRECT_PROBES, self._may_help):
                if helper.address is not None:
                    core.send(helper.address, Kind.PING_REQ, (sequence, bytes.fromhex(subject.id)))
            self.probe(subject)
            heappush(self._escalations, (core.now_ms + self.patience_ms(), sequence, True))
        else:
            self._suspect(subject, Evidence.SILENT)

    def _may_help(self, node: Node) -> bool:
        return node is not self._core.myself and node.id not in self.unanswered and not node.failed

    def _suspect(self, subject: Node, evidence: int) -> None:
        if subject.suspected or subject.failed:
            return
        subject.suspected = True
        subject.suspected_at_ms = self._core.now_ms
        self._core.stats.suspicions += 1
        members = len(self._core.nodes)
        origin = subject.id not in self._hearsay or members > EAGER_ALL_MAX
        self._core.rumors.tell(self._accusation(subject, evidence), bytes.fromhex(subject.id), members, origin=origin)

    @staticmethod
    def _accusation(subject: Node, evidence: int = Evidence.SILENT) -> Rumor:
        return int(RumorKind.SUSPECT), bytes.fromhex(subject.id), subject.record.version, int(evidence)

    # What peers and the network say

    def awaits(self, node: Node, sequence: int) -> bool:
        """awaits(node, sequence) -> whether a probe of that number to `node` has not been answered yet."""
        probe = self._pending.get(sequence)
        return probe is not None and probe.subject is node

    def on_pong(self, sender: Node, message: Message) -> bool:
        """on_pong(sender, message) -> whether nothing but the next probe follows from this direct answer.

        One that matches no probe of ours proves nothing (it may be a replay).
        """
        sequence = message.body[0]
        probe = self._pending.get(sequence)
        if probe is None or probe.subject is not sender:
            return False
        del self._pending[sequence]
        now_ms = self._core.now_ms
        trip_ms = now_ms - probe.sent_at_ms
        self._core.stats.answered(sender, trip_ms)
        sender.contact_at_ms = now_ms
        sender.ping_sent_ms = None
        doubted = sender.suspected or sender.failed or sender.refused_at_ms is not None
        late = trip_ms >= self._core.config.probe_timeout_ms
        if self.self_doubt and not late:
            self.self_doubt -= 1
        as_usual = not (doubted or late or probe.relay is not None or sender.reported_at_ms is not None)
        self._answered(sender)
        if probe.relay is not None:
            requester, relayed = probe.relay
            self._relay(requester, relayed, sender, answered=True)
        if sender.failed:
            raw = bytes.fromhex(sender.id)
            fail = (int(RumorKind.FAIL), raw, sender.record.version)
            self._core.send_to(sender, Kind.GOSSIP, (), (fail,))
        return as_usual

    def on_ping_req(self, sender: Node, message: Message) -> None:
        sequence, raw = message.body
        subject = self._core.nodes.get(raw.hex())
        if subject is not None and subject is not self._core.myself:
            self.probe(subject, relay=(sender, sequence))

    def on_ping(self, sender: Node) -> None:
        """One held to be gone pings: ask it at once, and thereby tell it what is said of it."""
        if sender.suspected or sender.failed:
            self.probe(sender)

    def on_relay(self, sender: Node, message: Message) -> None:
        sequence, raw, answered = message.body
        probe = self._pending.get(sequence)
        if answered and probe is not None and probe.subject.id == raw.hex():
            self._answered(probe.subject)

    def on_suspicion(self, subject: Node, evidence: int) -> None:
        """Somebody suspects `subject`: look for ourselves, unless we do already or just did.

        Only who finds the same passes it on, so a wrong suspicion dies with the few who were told first. Silence
        is old news by the time it is told; a refusal is not.
        """
        if subject.failed or subject.id in self._hearsay:
            return
        if subject.unanswered_since_ms is None and subject.contact_at_ms is not None:
            config = self._core.config
            fresh_ms = config.probe_period_ms if evidence == Evidence.SILENT else config.probe_timeout_ms / 4
            if self._core.now_ms - subject.contact_at_ms < fresh_ms:
                return
        self._hearsay.add(subject.id)
        self.probe(subject)
        due_ms = self._core.now_ms + self._core.config.probe_timeout_ms * HEARSAY_SHARE
        heappush(self._escalations, (due_ms, self._sequence, False))

    def on_refused(self, address: Address) -> None:
        """The host at `address` answers that nobody listens there.

        That means death for a member this node has heard since it started; one that it has not
        may simply not have been started yet, and only its silence counts.
        """
        subject = self._core.roster.at(address)
        if subject is None or subject is self._core.myself or subject.failed or subject.heard_at_ms is None:
            return
        if subject.unanswered_since_ms is None:
            self.probe(subject)
            return
        subject.refused_at_ms = self._core.now_ms
        self.refused[subject.id] = subject
        for sequence in self._relays.pop(subject.id, ()):
            probe = self._pending.pop(sequence, None)
            if probe is not None and probe.relay is not None:
                self._relay(probe.relay[0], probe.relay[1], subject, answered=False)
        self._suspect(subject, Evidence.REFUSED)
        self._weigh(subject)

    def on_report(self, sender: Node, message: Message) -> None:
        raw, version, evidence = message.body
        subject = self._core.nodes.get(raw.hex())
        if subject is None or subject is sender or subject.failed:
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
        if evidence is Evidence.CLEAR or subject.failed or self._core.health.cut_off:
            return
        if evidence is Evidence.SILENT and self.self_doubt >= SELF_DOUBT_MUTE:
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
        if len(subject.reports) + 1 < core.majority():
            return
        count = self.report_count(subject)
        if self.evidence(subject) is not Evidence.CLEAR and core.myself.id in core.voter_ids():
            count += 1
        if count >= core.majority():
            core.mark_failed(subject, origin=True)

    def _answered(self, node: Node) -> None:
        self._core.stats.suspicions_refuted += node.suspected
        node.suspected_at_ms = None
        self.forget(node)
        if node.reported_at_ms is not None:
            node.reported_at_ms = None
            self._report(node, Evidence.CLEAR)

    def _report(self, subject: Node, evidence: int) -> None:
        body = (bytes.fromhex(subject.id), subject.record.version, int(evidence))
        for collector in self._collectors(subject):
            self._core.send_to(collector, Kind.REPORT, body)

    def _collectors(self, subject: Node) -> list[Node]:
        core = self._core
        others = (node for node in core.roster.successors(subject.id) if node is not core.myself)
        if len(core.nodes) - 2 <= REPORT_ALL_MAX:
            return list(others)
        replicas = core.roster.replicas_of(subject.id)
        living = (
            node for node in others if not (node.failed or node.suspected) and node.primary_id != subject.id
        )
        return [node for node in replicas if node is not core.myself] + list(islice(living, COLLECTORS))

    def _relay(self, requester: Node, sequence: int, subject: Node, *, answered: bool) -> None:
        self._core.send_to(requester, Kind.RELAY, (sequence, bytes.fromhex(subject.id), answered))
