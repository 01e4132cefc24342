"""The same commands on Debian's redis-server: its slots move key by key, as it has no atomic migration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from pyredis_cluster.admin import Access
from pyredis_cluster.check import check_cluster
from pyredis_cluster.create import create_cluster
from pyredis_cluster.errors import MigrationFailed
from pyredis_cluster.fix import fix_slots
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.launcher import LocalCluster, NodeCommand, prepare
from pyredis_cluster.plan import reshard_plan
from pyredis_cluster.reshard import Resharder, goals_of
from pyredis_cluster.topology import Topology, read_topology

from ..conftest import free_port, wait_until

REDIS_SERVER = shutil.which("redis-server")
KEY_COUNT = 20_000

pytestmark = pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not installed")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three primaries with some keys."""
    directory = tmp_path_factory.mktemp("redis") / "cluster"
    ports = [free_port() for _ in range(3)]
    cluster = prepare(
        directory, ports, "127.0.0.1", [("save", '""')], NodeCommand((REDIS_SERVER or "",), takes_secret=False)
    )
    try:
        cluster.start(cluster.nodes, Access())
        create_cluster(cluster.addresses, 0, Access(), lambda _: None)
        with topology_of(cluster) as topology:
            by_owner: dict[str, list[tuple[str, bytes, int]]] = {}
            for number in range(KEY_COUNT):
                key = b"key:%d" % number
                by_owner.setdefault(topology.owners[key_slot(key)], []).append(("SET", key, number))
            for owner, commands in by_owner.items():
                topology.members[owner].link.pipeline(commands)
        yield cluster
    finally:
        cluster.destroy()


def topology_of(cluster: LocalCluster) -> Topology:
    return read_topology(cluster.addresses, Access())


def key_total(cluster: LocalCluster) -> int:
    with topology_of(cluster) as topology:
        return sum(primary.link.call("DBSIZE") for primary in topology.primaries)


def is_whole(cluster: LocalCluster) -> bool:
    with topology_of(cluster) as topology:
        return check_cluster(topology).ok


def test_slots_move_key_by_key_and_no_key_is_lost(cluster: LocalCluster) -> None:
    with topology_of(cluster) as topology:
        first, second, _ = topology.primaries
        moves = reshard_plan(topology.owned, [first.node_id], second.node_id, 400)
        goals = goals_of(moves, topology)
    progress = Resharder(cluster.addresses, Access(), goals, lambda _: None).run()
    assert progress.slots_moved == 400
    assert progress.keys_moved > 0
    assert key_total(cluster) == KEY_COUNT
    wait_until(lambda: is_whole(cluster), "the cluster is whole after the reshard")


def test_a_move_that_was_cut_off_between_two_keys_is_finished_by_fix(cluster: LocalCluster) -> None:
    with topology_of(cluster) as topology:
        giver, taker = topology.primaries[1:3]
        slot = next(
            slot for slot in topology.owned[giver.node_id] if giver.link.call("CLUSTER", "COUNTKEYSINSLOT", slot) >= 2
        )
        taker.link.call("CLUSTER", "SETSLOT", slot, "IMPORTING", giver.node_id)
        giver.link.call("CLUSTER", "SETSLOT", slot, "MIGRATING", taker.node_id)
        key = giver.link.call("CLUSTER", "GETKEYSINSLOT", slot, 1)[0]
        # COPY leaves the key on both sides, as a node does that dies between the answer and the deletion.
        giver.link.call("MIGRATE", taker.address.host, taker.address.port, key, 0, 1000, "COPY")
    with topology_of(cluster) as topology:
        repairs = check_cluster(topology).repairs
        assert [(repair.slot, repair.owner) for repair in repairs] == [(slot, taker.node_id)]
        outcome = fix_slots(topology, repairs, False, lambda _: None)
    assert outcome.keys_moved >= 2
    assert key_total(cluster) == KEY_COUNT
    wait_until(lambda: is_whole(cluster), "the cluster is whole after the fix")


def test_a_key_with_different_values_on_both_sides_is_left_to_the_operator(cluster: LocalCluster) -> None:
    with topology_of(cluster) as topology:
        giver, taker = topology.primaries[0], topology.primaries[2]
        slot = next(
            slot for slot in topology.owned[giver.node_id] if giver.link.call("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
        )
        taker.link.call("CLUSTER", "SETSLOT", slot, "IMPORTING", giver.node_id)
        giver.link.call("CLUSTER", "SETSLOT", slot, "MIGRATING", taker.node_id)
        key = giver.link.call("CLUSTER", "GETKEYSINSLOT", slot, 1)[0]
        taker.link.pipeline([("ASKING",), ("SET", key, "another value")])
    with topology_of(cluster) as topology:
        repairs = check_cluster(topology).repairs
        with pytest.raises(MigrationFailed, match=f"1 keys of slot {slot} have different values"):
            fix_slots(topology, repairs, False, lambda _: None)
        assert fix_slots(topology, repairs, True, lambda _: None).keys_moved == 1
        assert taker.node_id == repairs[0].owner
        assert topology.members[taker.node_id].link.call("GET", key) != b"another value"
    wait_until(lambda: is_whole(cluster), "the cluster is whole after the fix")
