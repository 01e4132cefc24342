"""Reading CLUSTER NODES: lines, addresses, who owns what, and who is meant by a name."""

from __future__ import annotations

import pytest
from pyredis_cluster.admin import Access, NodeLink
from pyredis_cluster.client.errors import ResponseError
from pyredis_cluster.errors import NodeUnreachable, OperatorError
from pyredis_cluster.plan import Address
from pyredis_cluster.topology import (
    Absentee,
    Member,
    NodeView,
    Topology,
    parse_cluster_nodes,
    parse_info,
    read_member,
    read_topology,
)

from ..conftest import free_port

ID_A, ID_B, ID_C = ("a" * 40, "b" * 40, "c" * 40)
NODES = f"""\
{ID_A} 127.0.0.1:7000@17000,host-a myself,master - 0 0 3 connected 0-5 7 [8->-{ID_B}] [9-<-{ID_B}]
{ID_B} 127.0.0.1:7001@17001 master,fail? - 10 20 2 connected 6 8-10
{ID_C} :0@0 slave,noaddr {ID_A} 1 2 3 disconnected
"""


def member(text: str, port: int) -> Member:
    views = {view.node_id: view for view in parse_cluster_nodes(text)}
    return Member(NodeLink(Address("127.0.0.1", port), Access()), views, {"cluster_state": "ok"}, {})


def test_a_line_gives_address_flags_epoch_slots_and_open_slots() -> None:
    first = parse_cluster_nodes(NODES)[0]
    assert first == NodeView(
        node_id=ID_A,
        address=Address("127.0.0.1", 7000),
        bus_port=17000,
        flags=frozenset({"myself", "master"}),
        primary_id=None,
        config_epoch=3,
        connected=True,
        ranges=((0, 5), (7, 7)),
        migrating={8: ID_B},
        importing={9: ID_B},
    )
    assert list(first.slots) == [0, 1, 2, 3, 4, 5, 7]
    assert first.slot_count == 7


def test_a_suspected_node_is_not_a_failed_one() -> None:
    suspected = parse_cluster_nodes(NODES)[1]
    assert not suspected.failed
    assert "pfail" in suspected.flags


def test_a_node_without_address_has_none() -> None:
    replica = parse_cluster_nodes(NODES)[2]
    assert replica.address is None
    assert replica.primary_id == ID_A
    assert not replica.connected


def test_a_line_that_is_cut_short_is_refused() -> None:
    with pytest.raises(OperatorError, match="can't be read"):
        parse_cluster_nodes(f"{ID_A} 127.0.0.1:7000@17000 master -")


def test_info_is_read_field_by_field() -> None:
    text = "# Server\r\nredis_version:7.2.4\r\n\r\n# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\n"
    assert parse_info(text) == {"redis_version": "7.2.4", "db0": "keys=3,expires=0,avg_ttl=0"}


def test_where_two_nodes_claim_a_slot_the_newer_epoch_owns_it() -> None:
    older = f"{ID_A} 127.0.0.1:7000@17000 myself,master - 0 0 3 connected 0-10\n"
    newer = f"{ID_B} 127.0.0.1:7001@17001 myself,master - 0 0 4 connected 5-12\n"
    topology = Topology({ID_A: member(older, 7000), ID_B: member(newer, 7001)})
    assert topology.owned == {ID_A: list(range(5)), ID_B: list(range(5, 13))}


def test_a_silent_primary_owns_what_nobody_else_claims() -> None:
    views = parse_cluster_nodes(NODES)
    topology = Topology({ID_A: member(NODES, 7000)}, {ID_B: Absentee(views[1], "refused")})
    assert {slot for slot, owner in topology.owners.items() if owner == ID_B} == {6, 8, 9, 10}
    assert topology.owned == {ID_A: [0, 1, 2, 3, 4, 5, 7]}


@pytest.mark.parametrize("name", ["7000", "127.0.0.1:7000", ID_A, ID_A[:8], ID_A[:8].upper()])
def test_a_node_is_found_by_port_address_or_beginning_of_its_id(name: str) -> None:
    topology = Topology({ID_A: member(NODES, 7000)})
    assert topology.find(name).node_id == ID_A


def test_a_name_that_fits_nobody_or_only_a_silent_node_is_refused_in_words() -> None:
    views = parse_cluster_nodes(NODES)
    topology = Topology({ID_A: member(NODES, 7000)}, {ID_B: Absentee(views[1], "refused")})
    with pytest.raises(OperatorError, match="has no node 'x'"):
        topology.find("x")
    with pytest.raises(OperatorError, match="does not answer: refused"):
        topology.find(ID_B)
    assert topology.find_id("7001") == ID_B


def test_where_no_seed_answers_each_refusal_is_named() -> None:
    unused_port = free_port()
    with pytest.raises(OperatorError, match=f"no node of the cluster answers: .*{unused_port}"):
        read_topology([Address("127.0.0.1", unused_port)], Access())


def test_a_node_that_loads_its_data_counts_as_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    link = NodeLink(Address("127.0.0.1", 7000), Access())
    loading = ResponseError("LOADING Redis is loading the dataset in memory")
    monkeypatch.setattr(NodeLink, "pipeline", lambda self, commands: [loading for _ in commands])
    with pytest.raises(NodeUnreachable, match="still loading its data"):
        read_member(link)
