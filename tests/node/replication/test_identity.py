"""The replication identity: which requests to go on belong to this node's history."""

from __future__ import annotations

from pyredis_cluster.node.replication.identity import ID_LENGTH, NO_ID, Identity


def test_a_new_identity_continues_only_itself() -> None:
    identity = Identity()
    assert len(identity.replid) == ID_LENGTH
    assert identity.continues(identity.replid, 1 << 60)
    assert not identity.continues("f" * ID_LENGTH, 1)
    assert (identity.replid2, identity.second_offset) == (NO_ID, -1)


def test_a_promoted_replica_continues_the_old_history_up_to_where_they_part() -> None:
    identity = Identity()
    old = identity.replid
    identity.shift(1000)
    assert identity.replid != old
    assert identity.continues(old, 1001)
    assert not identity.continues(old, 1002)
    assert identity.continues(identity.replid, 5000)


def test_a_second_promotion_forgets_the_first_history() -> None:
    identity = Identity()
    first = identity.replid
    identity.shift(10)
    identity.shift(20)
    assert not identity.continues(first, 1)


def test_adopting_the_primarys_new_name_keeps_the_old_one() -> None:
    identity = Identity()
    old = identity.replid
    assert not identity.adopt(old, 5)
    assert identity.adopt("e" * ID_LENGTH, 7)
    assert identity.continues(old, 8)
    assert not identity.continues(old, 9)


def test_nobody_asks_for_the_empty_id() -> None:
    identity = Identity()
    assert not identity.continues(NO_ID, 0)
    identity.shift(3)
    identity.renew()
    assert not identity.continues(identity.replid2, 0)
