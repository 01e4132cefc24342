"""Lifeguard's three ideas at one node: patience by its own health, many observers, and telling the suspect first."""

from __future__ import annotations

from pyredis_cluster.gossip import bitmap
from pyredis_cluster.gossip.detector import SELF_DOUBT_MAX
from pyredis_cluster.gossip.messages import Evidence, Kind, RumorKind

from .cores import Bench, address, record

B, C = "2" * 40, "3" * 40


def six() -> Bench:
    """Six primaries; this node, number 1, has heard all of them."""
    slots = [bitmap.range_mask(number * 2048, number * 2048 + 2047) for number in range(6)]
    bench = Bench(*(record(number + 1, slots=slots[number], config_epoch=number + 1) for number in range(6)))
    for number in range(2, 7):
        bench.hear_from(number)
    return bench


def accusation(node_id: str, evidence: Evidence = Evidence.SILENT) -> tuple[object, ...]:
    return int(RumorKind.SUSPECT), bytes.fromhex(node_id), 1, int(evidence)


def test_a_node_whose_probes_fail_grows_patient_and_answers_in_time_restore_its_trust() -> None:
    bench = six()
    detector, usual_ms = bench.core.detector, bench.core.config.probe_timeout_ms
    assert detector.patience_ms() == usual_ms
    bench.pass_time(1000)
    assert detector.self_doubt == SELF_DOUBT_MAX
    assert detector.patience_ms() == (1 + SELF_DOUBT_MAX) * usual_ms
    for number in (2, 3, 4, 5):
        bench.hear_from(number)
    assert detector.patience_ms() == usual_ms


def test_the_most_patient_node_still_suspects_before_silence_counts() -> None:
    config = six().core.config
    assert 2 * (1 + SELF_DOUBT_MAX) * config.probe_timeout_ms <= config.node_timeout_ms / 2


def test_patience_does_not_change_when_silence_is_evidence() -> None:
    bench = six()
    detector, node = bench.core.detector, bench.core.nodes[B]
    for _ in range(SELF_DOUBT_MAX):
        detector.doubt_self()
    detector.probe(node)
    assert node.unanswered_since_ms is not None
    bench.core.now_ms = node.unanswered_since_ms + bench.core.config.node_timeout_ms
    assert detector.evidence(node) is Evidence.SILENT


def test_a_suspect_is_told_with_the_first_probe_that_follows() -> None:
    bench = six()
    node = bench.core.nodes[B]
    bench.core.detector.probe(node)
    bench.pass_time(300)
    assert node.suspected
    bench.core.take_effects()
    bench.core.detector.probe(node)
    (ping,) = [send for send in bench.sent(Kind.PING) if send.address == address(2)]
    assert ping.message.rumors == (accusation(B),)


def test_who_is_told_that_it_is_suspected_doubts_itself() -> None:
    bench = six()
    bench.receive(2, Kind.GOSSIP, rumors=(accusation("1" * 40),))
    assert bench.core.detector.self_doubt == 1


def test_answers_by_others_end_a_silence_and_the_next_one_has_its_full_time() -> None:
    bench = six()
    node = bench.core.nodes[B]
    bench.core.detector.probe(node)
    (ping,) = bench.sent(Kind.PING)
    start_ms, timeout_ms = bench.now_ms, bench.core.config.probe_timeout_ms
    while bench.now_ms < start_ms + 1.5 * timeout_ms:
        bench.pass_time(10)
    bench.receive(3, Kind.RELAY, ping.message.body[0], bytes.fromhex(B), True)
    assert node.unanswered_since_ms is None
    bench.core.detector.probe(node)
    bench.pass_time(1.8 * timeout_ms)
    assert not node.suspected


def test_a_node_that_reaches_no_majority_keeps_what_it_holds_against_others_to_itself() -> None:
    bench = six()
    core = bench.core
    reports = 0
    end_ms = bench.now_ms + 2 * core.config.node_timeout_ms
    while bench.now_ms < end_ms:
        bench.now_ms = max(bench.now_ms + 0.01, core.next_deadline_ms())
        core.tick(bench.now_ms)
        reports += len(bench.sent(Kind.REPORT))
    assert core.health.cut_off
    assert len(core.detector.silent_for(core.config.node_timeout_ms)) == 5
    assert reports == 0


def test_a_node_in_reach_of_a_majority_reports_the_silent_ones() -> None:
    bench = six()
    core = bench.core
    reported = set()
    end_ms = bench.now_ms + 2 * core.config.node_timeout_ms
    while bench.now_ms < end_ms:
        bench.now_ms = max(bench.now_ms + 0.01, core.next_deadline_ms())
        core.tick(bench.now_ms)
        effects = core.take_effects()
        for send in effects:
            message = getattr(send, "message", None)
            if message is None:
                continue
            if message.kind == Kind.REPORT:
                reported.add(message.body[0].hex())
            elif message.kind == Kind.PING and send.address not in (address(2), address(3)):  # type: ignore[attr-defined]
                bench.receive(int(send.address[0].rpartition(".")[2]), Kind.PONG, message.body[0], 0)  # type: ignore[attr-defined]
    assert reported == {B, C}
