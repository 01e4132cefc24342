"""Which of two copies of a member's record is the later one."""

from __future__ import annotations

from pyredis_cluster.gossip.nodes import NodeRecord

from .cores import record


def heard(version: int, **fields: object) -> NodeRecord:
    return record(1, version=version, boot=7, **fields)


def test_what_nodes_conf_held_is_later_than_an_older_record_that_was_heard() -> None:
    """Its process died after it heard of a promotion, and who restarts it is the only one that knows."""
    saved = record(1, version=16, slots=1, config_epoch=144)
    assert saved.supersedes(heard(15, primary_id="2" * 40))
    assert not heard(15, primary_id="2" * 40).supersedes(saved)


def test_of_one_version_what_was_heard_is_later_than_what_nodes_conf_held() -> None:
    saved = record(1, version=16, hostname="z" * 200)
    assert heard(16).supersedes(saved)
    assert not saved.supersedes(heard(16))


def test_two_contents_of_one_version_have_an_order() -> None:
    one, other = heard(3, port=1), heard(3, port=2)
    assert one.supersedes(other) is not other.supersedes(one)
