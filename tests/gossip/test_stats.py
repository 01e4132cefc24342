"""The bus's counters: round trips within their error, elections with their outcome, a failover's time line."""

from __future__ import annotations

from pyredis_cluster.gossip.effects import BecomePrimary
from pyredis_cluster.gossip.messages import Kind
from pyredis_cluster.gossip.stats import BusStats, RoundTrips

from .cores import Bench, of_type, record


def test_a_quantile_is_exact_within_an_eighth() -> None:
    trips = RoundTrips()
    for number in range(1, 1001):
        trips.add(number / 10)
    assert (trips.count, trips.min_ms, trips.max_ms) == (1000, 0.1, 100.0)
    assert abs(trips.mean_ms - 50.05) < 1e-6
    for share in (0.01, 0.5, 0.9, 0.99):
        exact_ms = share * 100
        assert exact_ms <= trips.quantile_ms(share) <= exact_ms * 1.125 + 0.001
    assert trips.quantile_ms(1.0) == 100.0


def test_no_round_trip_and_one_of_zero() -> None:
    trips = RoundTrips()
    assert (trips.mean_ms, trips.quantile_ms(0.99)) == (0.0, 0.0)
    trips.add(0.0)
    assert (trips.count, trips.quantile_ms(0.99)) == (1, 0.0)


def test_the_histogram_stays_small() -> None:
    trips = RoundTrips()
    for exponent in range(40):
        trips.add(2.0**exponent / 1000)
    assert len(trips.buckets) == 40
    assert trips.quantile_ms(0.5) <= trips.max_ms


def test_an_election_has_one_outcome() -> None:
    stats = BusStats()
    stats.election_ended("abandoned", 0, 5.0)
    assert not stats.election_outcomes
    stats.election_began(7, 10.0)
    stats.election_ended("won", 3, 14.0)
    stats.election_ended("abandoned", 0, 20.0)
    assert stats.election_outcomes == {"won": 1}
    assert stats.last_election is not None
    assert (stats.last_election.outcome, stats.last_election.votes, stats.last_election.ended_ms) == ("won", 3, 14.0)


def replica_of_a_failed_primary() -> Bench:
    bench = Bench(
        record(1, primary_id="2" * 40), record(2, slots=1, config_epoch=1), record(3, slots=2, config_epoch=2)
    )
    bench.core.nodes["2" * 40].suspected_at_ms = bench.now_ms
    bench.now_ms += 20
    bench.core.advance(bench.now_ms)
    bench.core.mark_failed(bench.core.nodes["2" * 40], origin=True)
    bench.core.take_effects()
    return bench


def test_a_failover_leaves_its_time_line() -> None:
    bench = replica_of_a_failed_primary()
    election = bench.core.stats.last_election
    assert election is not None
    assert election.outcome == "running"
    bench.now_ms += 5
    bench.receive(3, Kind.AUTH_ACK, election.epoch)
    assert of_type(bench.effects(), BecomePrimary)
    failover = bench.core.stats.last_failover
    assert failover is not None
    assert (failover.kind, failover.primary_id, failover.votes) == ("automatic", "2" * 40, 2)
    assert [*failover.stages.items()] == [
        ("suspected", 1000.0), ("failed", 1020.0), ("election", 1020.0), ("elected", 1025.0),
    ]  # fmt: skip
    assert bench.core.stats.election_outcomes == {"won": 1}


def test_refused_and_expired_elections_are_told_apart() -> None:
    bench = replica_of_a_failed_primary()
    stats = bench.core.stats
    assert stats.last_election is not None
    for voter in (2, 3):
        bench.receive(voter, Kind.AUTH_NACK, stats.last_election.epoch, 9, False)
    bench.effects()
    assert stats.election_outcomes == {"refused": 1}
    bench.pass_time(1500)
    assert stats.election_outcomes["expired"]


def test_a_suspicion_that_an_answer_refutes_is_counted() -> None:
    bench = Bench(record(1), record(2), record(3))
    node = bench.core.nodes["2" * 40]
    bench.hear_from(2)
    bench.core.detector.probe(node)
    (ping,) = bench.sent(Kind.PING)
    bench.core.refused(("10.0.0.2", 17000), bench.now_ms)
    assert node.suspected_at_ms == bench.now_ms
    bench.now_ms += 3
    bench.receive(2, Kind.PONG, ping.message.body[0], "10.0.0.1")
    stats = bench.core.stats
    assert (stats.suspicions, stats.suspicions_refuted) == (1, 1)
    assert (node.suspected_at_ms, node.rtt_max_ms, stats.round_trips.count) == (None, 3.0, 2)


def test_a_probe_that_nothing_answers_is_counted() -> None:
    bench = Bench(record(1), record(2), record(3))
    bench.pass_time(bench.core.config.node_timeout_ms + 1000)
    assert bench.core.stats.probes_unanswered


def test_a_manual_failover_whose_primary_died_before_the_last_writes_came_is_an_automatic_one() -> None:
    bench = Bench(
        record(1, primary_id="2" * 40), record(2, slots=1, config_epoch=1), record(3, slots=2, config_epoch=2)
    )
    bench.core.election.start_manual(force=False)
    (start,) = bench.sent(Kind.MF_START)
    bench.receive(2, Kind.MF_OFFSET, start.message.body[0], bench.replication.position + 1)
    bench.effects()
    bench.core.mark_failed(bench.core.nodes["2" * 40], origin=True)
    election = bench.core.stats.last_election
    assert election is not None
    bench.receive(3, Kind.AUTH_ACK, election.epoch)
    assert of_type(bench.effects(), BecomePrimary)
    failover = bench.core.stats.last_failover
    assert failover is not None and failover.kind == "automatic"
