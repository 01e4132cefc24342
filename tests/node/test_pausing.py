"""Pauses of several purposes: their union holds, and each ends by itself."""

from __future__ import annotations

from pyredis_cluster.node.pausing import PausePurpose, Pauses

CLIENT, FAILOVER = PausePurpose.CLIENT, PausePurpose.FAILOVER


def test_nothing_is_paused_at_first() -> None:
    pauses = Pauses()
    assert (pauses.active, pauses.writes_only, pauses.until_ms, pauses.reason) == (False, False, 0, "none")
    assert pauses.next_end_ms() is None


def test_the_strictest_and_the_longest_hold() -> None:
    pauses = Pauses()
    pauses.set(CLIENT, 100, writes_only=True)
    assert pauses.writes_only
    pauses.set(FAILOVER, 50, writes_only=False)
    assert pauses.active
    assert not pauses.writes_only
    assert (pauses.until_ms, pauses.next_end_ms(), pauses.reason) == (100, 50, "client_pause")


def test_setting_a_purpose_again_never_weakens_it() -> None:
    pauses = Pauses()
    pauses.set(CLIENT, 100, writes_only=False)
    pauses.set(CLIENT, 50, writes_only=True)
    assert (pauses.until_ms, pauses.writes_only) == (100, False)


def test_dropping_one_purpose_leaves_the_other() -> None:
    pauses = Pauses()
    pauses.set(CLIENT, 100, writes_only=False)
    pauses.set(FAILOVER, 200, writes_only=True)
    pauses.drop(CLIENT)
    assert (pauses.active, pauses.writes_only, pauses.until_ms) == (True, True, 200)
    pauses.drop(CLIENT)
    pauses.drop(FAILOVER)
    assert not pauses.active


def test_those_whose_time_is_over_end() -> None:
    pauses = Pauses()
    pauses.set(CLIENT, 100, writes_only=False)
    pauses.set(FAILOVER, 200, writes_only=True)
    pauses.drop_ended(99)
    assert pauses.until_ms == 200
    assert not pauses.writes_only
    pauses.drop_ended(100)
    assert pauses.writes_only
    pauses.drop_ended(200)
    assert not pauses.active
