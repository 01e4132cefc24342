"""Failure detection: grades of evidence, the voters' majority, and doubting oneself first."""

from __future__ import annotations

import pytest
from pyredis_cluster.gossip import bitmap
from pyredis_cluster.gossip.config import ClusterConfig
from pyredis_cluster.gossip.effects import StateChanged
from pyredis_cluster.gossip.messages import Evidence, Kind, RumorKind

from .cores import Bench, address, of_type, record

A, B, C, D = ("1" * 40, "2" * 40, "3" * 40, "4" * 40)


def four(config: ClusterConfig | None = None) -> Bench:
    """Four primaries with slots; this node, number 1, has heard all of them."""
    share = [bitmap.range_mask(number * 4096, number * 4096 + 4095) for number in range(4)]
    bench = Bench(
        *(record(number + 1, slots=share[number], config_epoch=number + 1) for number in range(4)),
        config=config,
    )
    for number in (2, 3, 4):
        bench.hear_from(number)
    return bench


def report(bench: Bench, sender: int, evidence: Evidence = Evidence.REFUSED, version: int = 1) -> None:
    bench.receive(sender, Kind.REPORT, bytes.fromhex(B), version, int(evidence))


def refuse(bench: Bench) -> None:
    """Node 2's host refuses a probe of ours."""
    bench.core.detector.probe(bench.core.nodes[B])
    bench.core.refused(address(2), bench.now_ms)


def test_a_refusal_is_reported_at_once_but_is_no_failure_yet() -> None:
    bench = four()
    refuse(bench)
    reports = bench.sent(Kind.REPORT)
    assert {send.address for send in reports} == {address(3), address(4)}
    assert not bench.core.nodes[B].failed


def test_refusals_seen_by_a_majority_of_the_voters_are_a_failure_at_once() -> None:
    bench = four()
    refuse(bench)
    report(bench, 3)
    assert not bench.core.nodes[B].failed, "two of four are no majority"
    report(bench, 4)
    assert bench.core.nodes[B].failed
    news = [rumor for send in bench.sent(Kind.GOSSIP) for rumor in send.message.rumors]
    assert (RumorKind.FAIL, bytes.fromhex(B), 1) in news


def test_a_refusal_by_a_node_never_heard_counts_only_as_silence() -> None:
    bench = Bench(record(1), record(2), record(3))
    refuse(bench)
    assert not bench.sent(Kind.REPORT)


def test_silence_is_evidence_only_after_the_node_timeout() -> None:
    bench = four()
    node = bench.core.nodes[B]
    bench.core.detector.probe(node)
    since_ms = node.unanswered_since_ms
    assert since_ms is not None
    bench.core.now_ms = since_ms + 1999
    assert bench.core.detector.evidence(node) is Evidence.CLEAR
    bench.core.now_ms = since_ms + 2000
    assert bench.core.detector.evidence(node) is Evidence.SILENT


def test_a_late_answer_clears_the_suspicion_and_takes_the_report_back() -> None:
    bench = four()
    refuse(bench)
    bench.effects()
    bench.hear_from(2)
    assert bench.core.detector.evidence(bench.core.nodes[B]) is Evidence.CLEAR
    assert bench.core.nodes[B].reported_at_ms is None


def test_a_report_withdrawn_or_too_old_or_about_an_earlier_version_does_not_count() -> None:
    bench = four()
    node = bench.core.nodes[B]
    report(bench, 3)
    assert bench.core.detector.report_count(node) == 1
    report(bench, 3, Evidence.CLEAR)
    assert bench.core.detector.report_count(node) == 0
    report(bench, 3, version=0)
    assert bench.core.detector.report_count(node) == 0
    report(bench, 4)
    bench.core.now_ms += bench.core.config.report_window_ms + 1
    assert bench.core.detector.report_count(node) == 0


def test_with_primaries_as_voters_a_replicas_report_does_not_count() -> None:
    bench = Bench(
        record(1, slots=1, config_epoch=1),
        record(2, slots=2, config_epoch=2),
        record(3, primary_id=A),
        config=ClusterConfig(voters_primaries_only=True),
    )
    report(bench, 3)
    assert bench.core.detector.report_count(bench.core.nodes[B]) == 0


def test_an_answer_that_matches_no_probe_proves_nothing() -> None:
    bench = four()
    node = bench.core.nodes[B]
    bench.core.detector.probe(node)
    (ping,) = bench.sent(Kind.PING)
    bench.receive(3, Kind.PONG, ping.message.body[0], "10.0.0.1")
    bench.receive(2, Kind.PONG, ping.message.body[0] + 1, "10.0.0.1")
    assert node.unanswered_since_ms is not None


def test_a_late_answer_is_asked_for_through_others() -> None:
    bench = four()
    node = bench.core.nodes[B]
    bench.core.detector.probe(node)
    bench.effects()
    bench.now_ms += bench.core.config.probe_timeout_ms + 1
    bench.core.tick(bench.now_ms)
    requests = bench.sent(Kind.PING_REQ)
    assert {send.address for send in requests} <= {address(3), address(4)}
    assert requests
    sequence, raw = requests[0].message.body
    bench.receive(3, Kind.RELAY, sequence, raw, True)
    assert node.unanswered_since_ms is None


def test_a_failed_node_comes_back_with_a_new_version_only() -> None:
    bench = four()
    node = bench.core.nodes[B]
    bench.core.mark_failed(node, origin=False)
    bench.hear_from(2)
    assert node.failed
    bench.core.merge(record(2, version=2, slots=node.record.slots, config_epoch=2))
    assert not node.failed
    assert not bench.core.failed


def test_a_node_that_hears_of_its_own_failure_outbids_it() -> None:
    bench = four()
    version = bench.core.myself.record.version
    bench.receive(2, Kind.GOSSIP, rumors=((int(RumorKind.FAIL), bytes.fromhex(A), version),))
    assert bench.core.myself.record.version == version + 1


def test_a_node_that_was_paused_does_not_blame_others() -> None:
    bench = four()
    node = bench.core.nodes[B]
    bench.core.detector.probe(node)
    bench.effects()
    bench.now_ms += 5000
    bench.core.tick(bench.now_ms)
    assert bench.core.detector.evidence(node) is Evidence.CLEAR
    assert not bench.core.health.confirmed, "it may have been replaced meanwhile"


def test_a_cut_off_primary_stops_within_the_node_timeout_and_before_its_peers_may_fail_it() -> None:
    bench = four()
    assert bench.core.health.ok
    start_ms = bench.now_ms
    while bench.core.health.ok:
        bench.pass_time(10)
        assert bench.now_ms - start_ms < bench.core.config.node_timeout_ms
    assert bench.core.health.reason == "no quorum"


@pytest.mark.parametrize(("silent", "goes_on"), [((2, 3), True), ((2, 3, 4), False)])
def test_half_of_the_voters_suffice_to_go_on_for_no_majority_is_left(
    silent: tuple[int, ...], goes_on: bool
) -> None:
    bench = four(ClusterConfig(require_full_coverage=False))
    for number in silent:
        bench.core.mark_failed(bench.core.nodes[f"{number}" * 40], origin=False)
    bench.effects()
    assert bench.core.health.ok is goes_on


def test_a_slot_whose_owner_failed_makes_the_state_fail_if_coverage_is_required() -> None:
    bench = four()
    bench.core.mark_failed(bench.core.nodes[B], origin=False)
    assert of_type(bench.effects(), StateChanged) == [StateChanged(False)]
    bench.core.config.require_full_coverage = False
    bench.core.advance(bench.now_ms)
    assert of_type(bench.effects(), StateChanged) == [StateChanged(True)]


def test_a_pause_is_made_up_for_once_however_many_datagrams_have_waited() -> None:
    bench = four()
    bench.core.detector.probe(bench.core.nodes[B])
    bench.core.take_effects()
    bench.now_ms += 1000
    for sequence in range(50):
        bench.receive(3, Kind.PING, sequence)
        bench.core.take_effects()
    since_ms = bench.core.nodes[B].unanswered_since_ms
    assert since_ms is not None
    assert since_ms <= bench.now_ms
