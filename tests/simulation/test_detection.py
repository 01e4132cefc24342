"""Failure detection in whole clusters: who is held to be dead, what that costs, and that one liar can't do it."""

from __future__ import annotations

import pytest
from pyredis_cluster.gossip.simulation.cluster import Simulation
from pyredis_cluster.gossip.simulation.experiments import (
    FREEZE_PRIMARY,
    KILL_PRIMARY,
    KILL_REPLICA,
    cost,
    dissemination,
    failures,
    false_positives,
    half_deaf,
    mass_failure,
)
from pyredis_cluster.gossip.simulation.hosts import SimNode


def assembled(nodes: int) -> Simulation:
    simulation = Simulation(1, nodes, 1)
    simulation.assemble(diskless=True)
    simulation.run(2000)
    return simulation


def lie(simulation: Simulation, liars: list[SimNode], victim: SimNode, duration_ms: float) -> None:
    """The paths from `liars` refuse datagrams to `victim`, which answers all the same."""
    end_ms = simulation.now_ms + duration_ms
    while simulation.now_ms < end_ms:
        for node in liars:
            assert node.core is not None
            node.core.refused(victim.address, node.clock())
            node.apply()
        simulation.run(7)


@pytest.mark.parametrize("nodes", [3, 6, 30])
def test_one_path_that_refuses_for_a_living_node_fails_nobody(nodes: int) -> None:
    simulation = assembled(nodes)
    lie(simulation, simulation.nodes[-1:], simulation.nodes[0], 10_000)
    assert not simulation.report.promotions
    assert all(node.core is not None and not node.core.stats.failures for node in simulation.nodes)


def test_half_of_the_paths_refusing_is_no_majority() -> None:
    simulation = assembled(6)
    lie(simulation, simulation.nodes[3:], simulation.nodes[0], 5000)
    assert not simulation.report.promotions


@pytest.mark.parametrize("trouble", ["loss", "slow"])
def test_loss_and_slow_nodes_are_not_taken_for_death(trouble: str) -> None:
    for nodes, minutes in ((6, 1.0), (30, 0.1)):
        found = false_positives(nodes, minutes, trouble)
        assert found["fail_per_hour"] == 0
        assert trouble == "slow" or found["suspected_per_hour"] == 0


def test_an_idle_node_sends_the_same_in_a_cluster_of_any_size() -> None:
    small, large = cost(6, 2.0, moving=False), cost(60, 2.0, moving=False)
    assert large["datagrams_per_s"] == pytest.approx(small["datagrams_per_s"], rel=0.05)
    assert large["bytes_per_s"] < 1.1 * small["bytes_per_s"]


def test_news_reaches_all_of_a_large_cluster_within_three_seconds() -> None:
    for news in ("join", "slots"):
        assert dissemination(60, 3, news).quantile(1.0) < 3000


@pytest.mark.parametrize(
    ("kind", "first_max_ms", "all_max_ms"),
    [(KILL_PRIMARY, 100, 200), (KILL_REPLICA, 3000, 4000), (FREEZE_PRIMARY, 3500, 3500)],
)
def test_a_failure_is_known_to_all_of_a_large_cluster_in_time(
    kind: str, first_max_ms: float, all_max_ms: float
) -> None:
    found = failures(60, 3, kind)
    assert found.first.quantile(1.0) < first_max_ms
    assert found.all.quantile(1.0) < all_max_ms
    assert kind != FREEZE_PRIMARY or min(found.first.values) >= 2000


def test_a_dead_node_costs_its_peers_next_to_nothing_in_a_large_cluster() -> None:
    simulation = assembled(60)
    simulation.crash(simulation.nodes[0])
    simulation.run(10_000)
    before = simulation.report.messages
    simulation.run(5000)
    assert simulation.report.messages - before < 1.25 * 10 * 5 * 59


@pytest.mark.parametrize("nodes", [6, 30])
def test_a_node_that_hears_next_to_nothing_doubts_itself_and_reports_nobody(nodes: int) -> None:
    found = half_deaf(nodes, 0.2, 1.0)
    assert found["reports_per_hour"] == 0
    assert found["healthy_failed"] == 0


def test_a_node_that_loses_most_of_what_it_is_sent_harms_nobody() -> None:
    found = half_deaf(6, 0.2, 0.7)
    assert found["healthy_failed"] == 0


def test_half_of_all_primaries_killed_at_once_are_back_before_long_and_cost_each_node_little() -> None:
    found = mass_failure(120, 30)
    assert found["max"] < 1000
    assert found["all_ok_ms"] < 10_000
    assert found["datagrams_per_node"] < 1000
