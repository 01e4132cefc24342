"""Views of the members: picked at random, in the order of ids, by address."""

from __future__ import annotations

from pyredis_cluster.gossip.nodes import Node
from pyredis_cluster.gossip.prng import SplitMix
from pyredis_cluster.gossip.roster import Roster

from .cores import address, record


def made(count: int) -> tuple[dict[str, Node], Roster]:
    nodes = {node.id: node for node in (Node(record(number)) for number in range(1, count + 1))}
    return nodes, Roster(nodes)


def test_members_are_picked_once_each_and_only_if_wanted() -> None:
    nodes, roster = made(15)
    wanted = set(list(nodes)[:5])
    for seed in range(50):
        picked = [node.id for node in roster.pick(SplitMix(seed), 3, lambda node: node.id in wanted)]
        assert len(set(picked)) == 3
        assert wanted.issuperset(picked)


def test_all_that_are_wanted_are_picked_where_there_are_not_more() -> None:
    nodes, roster = made(15)
    assert {node.id for node in roster.pick(SplitMix(1), 20, lambda node: True)} == set(nodes)
    assert roster.pick(SplitMix(1), 3, lambda node: False) == []


def test_successors_go_round_in_the_order_of_ids() -> None:
    _, roster = made(4)
    assert [node.id[0] for node in roster.successors("3" * 40)] == ["4", "1", "2"]


def test_replicas_are_found_by_their_primary_wherever_they_go() -> None:
    nodes, roster = made(4)
    moving, leaving = nodes["3" * 40], nodes["4" * 40]
    roster.follows(moving, "", "1" * 40)
    leaving.record = record(4, primary_id="1" * 40)
    roster.follows(leaving, "", "1" * 40)
    assert roster.replicas_of("1" * 40) == [moving, leaving]
    roster.left(nodes.pop("4" * 40))
    roster.follows(moving, "1" * 40, "2" * 40)
    assert roster.replicas_of("1" * 40) == []
    assert roster.replicas_of("2" * 40) == [moving]


def test_a_member_that_went_is_not_seen_any_more() -> None:
    nodes, roster = made(3)
    assert len(roster.members()) == 3
    roster.left(nodes.pop("2" * 40))
    assert [node.id[0] for node in roster.members()] == ["1", "3"]
    assert [node.id[0] for node in roster.successors("1" * 40)] == ["3"]


def test_a_member_is_found_by_its_address_even_after_that_changed() -> None:
    nodes, roster = made(3)
    assert roster.at(address(2)) is nodes["2" * 40]
    nodes["2" * 40].record = record(2, ip="10.9.9.9")
    assert roster.at(address(2)) is None
    assert roster.at(("10.9.9.9", 17000)) is nodes["2" * 40]
