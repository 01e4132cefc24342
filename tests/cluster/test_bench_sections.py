"""The sections of `make bench` that start servers of their own, each with as little as gives a figure."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyredis_cluster import bench_cluster, bench_memory, bench_operations, bench_stalls
from pyredis_cluster.bench_measure import Load, Repeats, measure
from pyredis_cluster.bench_results import Section
from pyredis_cluster.bench_servers import OURS, Cores, Programs
from pyredis_cluster.bench_site import Scale, Site
from pyredis_cluster.bench_workloads import WORKLOADS

TINY = Scale(
    requests=200,
    keyspace=100,
    repeats=1,
    keys=300,
    keys_many=300,
    collections=200,
    collection_elements=600,
    large_collections=1,
    strings=2_000,
)
ONCE = Repeats(1, 0.0)

pytestmark = pytest.mark.skipif(not shutil.which("redis-benchmark"), reason="needs Debian's redis-tools")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    node = (sys.executable, "-P", "-m", "pyredis_cluster.node")
    tools = [shutil.which(name) or "" for name in ("redis-server", "redis-benchmark", "redis-cli")]
    yield Site(Programs(node, (tools[0],), tools[1], tools[2]), Cores.choose(), tmp_path, lambda what: None)
    assert not [*tmp_path.iterdir()]


def assert_measured(section: Section) -> None:
    assert section.figures
    for figure in section.figures:
        assert len(figure.ours) == len(figure.redis) > 0, figure.what
        assert min(figure.ours + figure.redis) >= 0, figure.what


def test_memory_is_measured_for_each_type(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_memory, "AT_REST_S", 0.0)
    monkeypatch.setattr(bench_memory, "KINDS", bench_memory.KINDS[:1])
    section = bench_memory.measure_memory(site, TINY, clustered=True)
    assert [figure.what.split()[0] for figure in section.figures] == ["an", "string,", "string", "hash", "hash"]
    assert all(len(figure.ours) == len(figure.redis) == 1 for figure in section.figures)


def test_operations_are_timed_in_both_servers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_operations, "START_REPEATS", 1)
    assert_measured(bench_operations.measure_operations(site, TINY))


def test_stalls_are_measured_for_each_case(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OBSERVED_AFTER_S", "IDLE_S", "WRITES_S", "FILL_MARGIN_S"):
        monkeypatch.setattr(bench_stalls, name, 0.2)
    chosen = [case for case in bench_stalls.CASES if case.what.split()[0] in ("nothing", "DEL", "BGSAVE", "{keys}")]
    monkeypatch.setattr(bench_stalls, "CASES", chosen)
    section = bench_stalls.measure_stalls(site, TINY, ONCE)
    assert_measured(section)
    assert len(chosen) == 4
    assert len(section.figures) == 2 * len(chosen) + 1


def test_a_server_that_sleeps_stalls_the_pings_as_long(site: Site) -> None:
    with site.server(OURS, settings=bench_operations.SETTINGS) as server:
        going_on = bench_stalls.until_answered(0.0)
        assert bench_stalls.ping_while(server, going_on, [b"DEBUG", b"SLEEP", b"0.2"]).wait_ms > 100


def test_the_work_that_a_ping_waits_for_is_counted(site: Site) -> None:
    with site.server(OURS, settings=bench_operations.SETTINGS) as server:
        bench_operations.populate(server, 100_000)
        stall = bench_stalls.ping_while(server, bench_stalls.until_answered(0.0), [b"DEBUG", b"DIGEST"])
        assert stall.wait_ms > stall.work_ms > 10


def test_a_cluster_is_made_loaded_and_resharded(site: Site, tmp_path: Path) -> None:
    with site.directory("reshard") as home, bench_cluster.running_cluster(site, OURS) as (cluster, took_s):
        assert len(cluster.primaries) == len(cluster.replicas) == bench_cluster.PRIMARIES
        assert took_s > 0
        load = Load(WORKLOADS["SET"], 1, 500, 100, cluster=True)
        sample = measure(cluster, load, site.programs.benchmark, one_slot=False)
        assert sample.all_cpu_us > sample.cpu_us > 0
        assert bench_cluster.reshard(site, cluster, TINY.strings, home) > 0
