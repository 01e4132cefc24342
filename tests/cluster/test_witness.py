"""A cluster of one primary, one replica and a witness: refused where it has no say, and enough to fail over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyredis_cluster.admin import Access, NodeLink
from pyredis_cluster.client.errors import ClientError
from pyredis_cluster.errors import NodeRefused
from pyredis_cluster.launcher import LocalCluster
from pyredis_cluster.topology import read_topology

from ..conftest import wait_until
from .test_cli import free_ports, run, status_of


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    directory = tmp_path / "cluster"
    result = run(
        "create", "--nodes", 2, "--witnesses", 1, "--port", free_ports(3), "--dir", directory, "--set", "save="
    )
    assert result.exit_code == 0, result.output
    yield LocalCluster.load(directory)
    assert run("destroy", "--yes", "--dir", directory).exit_code == 0


@pytest.fixture
def links(cluster: LocalCluster) -> Iterator[list[NodeLink]]:
    found = [NodeLink(address, Access()) for address in cluster.addresses]
    yield found
    for link in found:
        link.close()


def refusal(link: NodeLink, *command: object) -> str:
    with pytest.raises(NodeRefused) as caught:
        link.call(*command)
    return caught.value.message


def test_a_witness_votes_and_does_nothing_else(cluster: LocalCluster, links: list[NodeLink]) -> None:
    primary, replica, witness = links
    witness_id = witness.call("CLUSTER", "MYID").decode()
    assert "is a witness" in refusal(replica, "CLUSTER", "REPLICATE", witness_id)
    assert "is a witness" in refusal(witness, "CLUSTER", "ADDSLOTS", 1)
    assert "is a witness" in refusal(witness, "CLUSTER", "REPLICATE", primary.call("CLUSTER", "MYID").decode())
    assert "is a witness" in refusal(primary, "CLUSTER", "SETSLOT", 1, "MIGRATING", witness_id)
    assert "is a witness" in refusal(primary, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 1, "NODE", witness_id)
    assert refusal(witness, "SET", "key", 1).startswith("MOVED")
    assert witness.call("PING") == b"PONG"
    with read_topology(cluster.addresses, Access()) as topology:
        assert witness_id not in topology.owned
    roles = [shard["primary"]["role"] for shard in status_of(cluster.directory)["shards"]]
    assert sorted(roles) == ["primary", "witness"]

    assert run("kill", cluster.nodes[0].port, "--dir", cluster.directory).exit_code == 0

    def takes_writes() -> bool:
        try:
            return bool(replica.call("SET", "key", 1) == b"OK")
        except (NodeRefused, ClientError):
            return False

    wait_until(takes_writes, "the replica was elected by itself and the witness")
    assert run("restart", cluster.nodes[2].port, "--dir", cluster.directory).exit_code == 0
    witness.close()  # the old process's connection
    assert b"myself,master,witness" in witness.call("CLUSTER", "NODES")


def test_a_node_that_owns_slots_does_not_start_as_a_witness(cluster: LocalCluster) -> None:
    node = cluster.nodes[0]
    config = cluster.node_directory(node.port) / "redis.conf"
    config.write_text(config.read_text() + "cluster-witness yes\n")
    result = run("restart", node.port, "--dir", cluster.directory)
    assert result.exit_code == 1
    assert "this node owns slots" in result.output
