"""Outages measured on real processes, and a calm time in which nothing fails over."""

from __future__ import annotations

import json
import random

import pytest
from pyredis_cluster.faults import FAULTS, Arena, FaultReport
from pyredis_cluster.outage import measure_outages, quantiles, watch_calm

from .test_faults import KILL_OUTAGE_MAX_S, LOST_MAX_PERCENT, chaos_keys


@pytest.fixture
def own(arena: Arena) -> Arena:
    """The same cluster, with nothing owed from earlier."""
    return Arena(arena.cluster, arena.access, random.Random(3), 200)


def test_quantiles_are_values_that_occurred() -> None:
    assert quantiles([]) == {}
    assert quantiles([5.0]) == {"p50": 5.0, "p90": 5.0, "p99": 5.0, "max": 5.0}
    assert quantiles([float(value) for value in range(100, 0, -1)]) == {
        "p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0,
    }  # fmt: skip


def test_a_kills_outage_is_measured_and_its_failover_is_no_false_one(own: Arena) -> None:
    told: list[tuple[str, float]] = []

    def tell(fault: str, outage_ms: float, report: FaultReport) -> None:
        told.append((fault, outage_ms))
        assert report.hit_s > report.started_s

    before = chaos_keys(own)
    (outages,) = measure_outages(own, [FAULTS["kill-primary"]], 1, load=False, tell=tell)
    assert told == [("kill-primary", outages.outage_ms[0])]
    assert 0 < outages.outage_ms[0] < KILL_OUTAGE_MAX_S * 1000
    assert outages.lost <= outages.acknowledged * LOST_MAX_PERCENT / 100
    assert (outages.counted["promotions"], outages.false_failovers) == (1, 0)
    report = json.loads(json.dumps(outages.to_json()))
    assert report["counted"]["promotions"] == 1
    assert report["outage_quantiles_ms"]["max"] == outages.outage_ms[0]
    assert chaos_keys(own) == before


def test_a_calm_time_under_load_has_no_failover(own: Arena) -> None:
    before = chaos_keys(own)
    calm = watch_calm(own, 1 / 60, load=True)
    assert calm.writes > 0
    assert (calm.false_failovers, calm.lost, calm.failed_requests) == (0, 0, 0)
    assert calm.rtt_p99_ms is not None
    assert json.loads(json.dumps(calm.to_json()))["counted"] == dict(calm.counted)
    assert chaos_keys(own) == before
