"""Faults under a recorded load: the cluster heals, clients see an outage at most, no key is on two primaries.

Asynchronous replication may lose writes that a killed primary had not sent yet; these are counted, not forbidden.
"""

from __future__ import annotations

import random

from pyredis_cluster.chaos import choose_faults, run_chaos
from pyredis_cluster.faults import FAULTS, Arena, FaultReport, run_fault

# Far above what is aimed at (1 s after a kill, 4 s after a freeze): the machine is shared with other tests.
KILL_OUTAGE_MAX_S = 6.0
FREEZE_OUTAGE_MAX_S = 10.0
HANDOVER_OUTAGE_MAX_S = 3.0
# Of the writes of one shard, what may be under way to the replica when the primary dies.
LOST_MAX_PERCENT = 2.0


def inflict(arena: Arena, name: str) -> FaultReport:
    report = run_fault(arena, FAULTS[name])
    assert report.writes > 0
    assert report.doubled_slots == 0, report
    assert report.failed_requests == 0, report.errors
    return report


def assert_nothing_lost(report: FaultReport) -> None:
    assert report.lost == 0, report
    assert report.missing_reads == []


def assert_little_lost(report: FaultReport) -> None:
    assert report.lost <= report.writes * LOST_MAX_PERCENT / 100, report


def test_a_killed_primary_is_replaced(arena: Arena) -> None:
    report = inflict(arena, "kill-primary")
    assert report.hit_gap_s < KILL_OUTAGE_MAX_S
    assert_little_lost(report)


def test_a_killed_replica_is_not_noticed_by_clients(arena: Arena) -> None:
    report = inflict(arena, "kill-replica")
    assert report.other_gap_s < HANDOVER_OUTAGE_MAX_S
    assert_nothing_lost(report)


def test_a_primary_and_a_replica_of_different_shards_die_together(arena: Arena) -> None:
    report = inflict(arena, "kill-both")
    assert report.hit_gap_s < KILL_OUTAGE_MAX_S
    assert_little_lost(report)


def test_two_of_three_primaries_die_together(arena: Arena) -> None:
    report = inflict(arena, "kill-two")
    assert report.hit_gap_s < KILL_OUTAGE_MAX_S
    assert_little_lost(report)


def test_a_frozen_primary_is_replaced_and_becomes_a_replica_when_it_goes_on(arena: Arena) -> None:
    report = inflict(arena, "freeze")
    assert report.hit_gap_s < FREEZE_OUTAGE_MAX_S
    assert_little_lost(report)


def test_a_primary_that_is_restarted_comes_back(arena: Arena) -> None:
    report = inflict(arena, "restart")
    assert report.hit_gap_s < FREEZE_OUTAGE_MAX_S
    assert_little_lost(report)


def test_a_reshard_under_load_loses_nothing(arena: Arena) -> None:
    report = inflict(arena, "reshard")
    assert report.hit_gap_s < HANDOVER_OUTAGE_MAX_S
    assert_nothing_lost(report)


def test_a_reshard_goes_on_after_the_source_was_killed(arena: Arena) -> None:
    assert_little_lost(inflict(arena, "reshard-kill-source"))


def test_a_reshard_goes_on_after_the_target_was_killed(arena: Arena) -> None:
    assert_little_lost(inflict(arena, "reshard-kill-target"))


def test_a_manual_failover_loses_nothing(arena: Arena) -> None:
    report = inflict(arena, "failover")
    assert report.hit_gap_s < HANDOVER_OUTAGE_MAX_S
    assert_nothing_lost(report)


def chaos_keys(arena: Arena) -> set[bytes]:
    with arena.read() as topology:
        keys = [key for primary in topology.primaries for key in primary.link.call("KEYS", "chaos:*")]
    return {key for key in keys if not key.endswith(b":probe")}


def test_a_chaos_run_reports_its_faults_and_removes_its_keys(arena: Arena) -> None:
    told: list[FaultReport] = []
    before = chaos_keys(arena)
    faults = choose_faults(["failover", "kill-replica"], arena.cluster, arena.access)
    own = Arena(arena.cluster, arena.access, random.Random(7), 200)
    report = run_chaos(own, faults, 0.5, told.append)
    assert list(report.faults) == told
    assert report.writes > 0
    assert report.promises_kept
    assert (report.lost, report.doubled_slots, report.failed_requests) == (0, 0, 0)
    assert chaos_keys(arena) == before
