"""Clusters that are there from the first moment behave like those that were joined."""

from __future__ import annotations

from math import inf

from pyredis_cluster.gossip import operations
from pyredis_cluster.gossip.simulation.cluster import Simulation
from pyredis_cluster.gossip.simulation.faults import Faults


def test_an_assembled_cluster_is_healthy_at_once_and_stays_so() -> None:
    simulation = Simulation(1, nodes=40, replicas=1)
    simulation.assemble()
    assert simulation.healthy()
    simulation.run(5000)
    assert simulation.healthy()
    assert all(node.core is not None and node.core.stats.syncs == 0 for node in simulation.nodes)


def test_all_slots_are_served_whatever_the_number_of_primaries() -> None:
    for nodes, replicas in ((1, 0), (3, 2), (7, 1), (60, 0)):
        simulation = Simulation(1, nodes, replicas)
        simulation.assemble()
        for node in simulation.nodes:
            assert node.core is not None
            node.core.slot_map.check(node.core.nodes.values())
            assert not node.core.slot_map.unassigned


def test_an_assembled_cluster_survives_a_minute_of_all_faults() -> None:
    simulation = Simulation(4, nodes=6, replicas=1, faults=Faults.all())
    simulation.assemble()
    simulation.endure(60_000)


def test_a_replica_that_went_elsewhere_and_back_is_in_step_only_after_its_next_sync() -> None:
    simulation = Simulation(1, nodes=6, replicas=1)
    simulation.assemble()
    simulation.run(3000)
    primary, other, _, replica, *_ = simulation.nodes
    assert replica.core is not None
    assert replica.core.roles.data_age_ms() == 0.0
    for target in (other, primary):
        operations.replicate(replica.core, target.id, has_keys=False, now_ms=replica.clock())
        replica.apply()
        assert replica.core.roles.data_age_ms() == inf
    simulation.run(3000)
    assert replica.core.roles.data_age_ms() == 0.0
