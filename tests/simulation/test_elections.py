"""Elections in whole clusters: many at once, after restarts, with old disks, and with the fewest of nodes."""

from __future__ import annotations

from collections import Counter

import pytest
from pyredis_cluster.gossip.config import ClusterConfig
from pyredis_cluster.gossip.simulation.cluster import Simulation
from pyredis_cluster.gossip.simulation.hosts import SimNode


def created(seed: int, nodes: int, replicas: int, **config: object) -> Simulation:
    simulation = Simulation(seed, nodes, replicas, ClusterConfig(**config))  # type: ignore[arg-type]
    simulation.create()
    simulation.run(1000)
    return simulation


def primaries(simulation: Simulation) -> list[SimNode]:
    return [node for node in simulation.nodes if node.core is not None and node.core.myself.owned]


def expect_promotions(simulation: Simulation, count: int, limit_ms: float) -> None:
    simulation.run_until(lambda: simulation.report.promotions >= count, limit_ms, "failed over")


def test_half_of_all_primaries_killed_at_once_are_replaced_and_hardly_contend_for_epochs() -> None:
    simulation = Simulation(1, 48, 1)
    simulation.assemble()
    simulation.run(500)
    for node in primaries(simulation)[:12]:
        simulation.crash(node)
    expect_promotions(simulation, 12, 1000)
    outcomes = [outcome for node in simulation.nodes if node.core for outcome in node.core.stats.election_outcomes]
    assert outcomes.count("won") == 12
    assert len(outcomes) < 24


@pytest.mark.parametrize(("nodes", "replicas", "dead"), [(3, 2, 1), (4, 1, 1), (6, 1, 2)])
def test_a_whole_cluster_restarted_without_some_primaries_elects_their_successors(
    nodes: int, replicas: int, dead: int
) -> None:
    simulation = created(4, nodes, replicas)
    lost = primaries(simulation)[:dead]
    for node in simulation.nodes:
        simulation.crash(node)
    simulation.run(500)
    for node in simulation.nodes:
        if node not in lost:
            simulation.restart(node)
    expect_promotions(simulation, dead, 15_000)


def test_a_spare_replica_moves_to_the_primary_that_lost_its_only_one() -> None:
    simulation = created(6, nodes=7, replicas=1)
    counts = Counter(node.core.myself.primary_id for node in simulation.nodes if node.core)
    (orphan, _) = next(entry for entry in counts.items() if entry[1] == 1 and entry[0])
    lost = next(node for node in simulation.nodes if node.core and node.core.myself.primary_id == orphan)
    simulation.crash(lost)

    def has_replica() -> bool:
        return any(node.core and node.core.myself.primary_id == orphan for node in simulation.nodes)

    simulation.run_until(has_replica, 10_000, "moved")
    simulation.restart(lost)
    simulation.run_until(simulation.healthy, 5000, "well again")


@pytest.mark.parametrize("seed", range(3))
def test_two_shards_with_a_replica_each_fail_over_and_again_when_the_lost_one_is_back(seed: int) -> None:
    simulation = created(seed, nodes=4, replicas=1)
    for count in (1, 2):
        lost = primaries(simulation)[0]
        simulation.crash(lost)
        expect_promotions(simulation, count, 1500)
        simulation.restart(lost)
        simulation.run_until(simulation.healthy, 10_000, "well again")


@pytest.mark.parametrize(("factor", "promotions"), [(1, 0), (0, 1)])
def test_a_replica_with_data_from_long_ago_runs_only_without_a_validity_factor(factor: int, promotions: int) -> None:
    """Its link has been down for 40 s, while the bus worked: more than the ping period, 10 s, and the factor allow."""
    simulation = created(2, nodes=6, replicas=1, replica_validity_factor=factor)
    lost = primaries(simulation)[0]
    (replica,) = [node for node in simulation.nodes if node.core and node.core.myself.primary_id == lost.id]
    replica.stall()
    simulation.run(40_000)
    simulation.crash(lost)
    simulation.run(5000)
    assert simulation.report.promotions == promotions


def test_a_minority_stops_writing_within_the_node_timeout_and_rejoins_by_itself() -> None:
    simulation = created(3, nodes=6, replicas=1)
    first, second, third = primaries(simulation)
    minority = [first, second]
    majority = [node for node in simulation.nodes if node not in minority]
    simulation.cut(minority, majority, 8000)
    simulation.cut(majority, minority, 8000)
    simulation.run(simulation.config.node_timeout_ms)
    assert not first.serves_writes() and not second.serves_writes()
    assert simulation.report.overlaps == 0
    expect_promotions(simulation, 2, 4000)
    simulation.run(8000)
    simulation.run_until(simulation.healthy, 5000, "well again")
    assert len(primaries(simulation)) == 3
    assert third.serves_writes()
