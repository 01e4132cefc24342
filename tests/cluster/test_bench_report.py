"""The benchmark's parts that need no server: its tests, redis-benchmark's output, pairs, and the report."""

from __future__ import annotations

import io
import json

import pytest
from pyredis_cluster.admin import Access, NodeLink
from pyredis_cluster.bench_measure import Plan, Row, Sample, measure_all, parse_csv
from pyredis_cluster.bench_report import as_json, markdown, mean_ratio, render_table
from pyredis_cluster.bench_servers import BenchServer, Cores, free_port
from pyredis_cluster.bench_workloads import CLIENTS, COST_MAX, WORKLOADS, find_workloads
from pyredis_cluster.errors import OperatorError
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.plan import Address
from pyredis_cluster.processes import ProcessHandle
from rich.console import Console

HEADER = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max"'
ENVIRONMENT = {
    "pyredis_version": "0.1.0",
    "redis_version": "7.0.15",
    "python": "3.11.2",
    "cpu": "a CPU",
    "client_cores": "1 other",
    "mode": "cluster mode",
    "clients": CLIENTS,
    "keyspace": 1_000_000,
    "requests": 1000,
    "pairs": 3,
}


def sample(cpu_us: float) -> Sample:
    return Sample(1000.0, 0.5, 1.5, cpu_us)


def row(test: str, pipeline: int, ours_us: list[float], redis_us: list[float]) -> Row:
    return Row(test, pipeline, [*map(sample, ours_us)], [*map(sample, redis_us)])


def server(name: str) -> BenchServer:
    return BenchServer(name, ProcessHandle(1, 0), NodeLink(Address("127.0.0.1", 1), Access()))


def plan(tests: str, repeats: int, time_limit_s: float = 60.0, pipelines: tuple[int, ...] = (16,)) -> Plan:
    return Plan(find_workloads(tests), pipelines, 1000, repeats, 100, False, time_limit_s, "redis-benchmark")


def test_a_name_stands_for_all_tests_that_begin_with_it() -> None:
    assert [workload.name for workload in find_workloads("lrange,set")] == [
        "SET",
        "LRANGE_100",
        "LRANGE_300",
        "LRANGE_500",
        "LRANGE_600",
    ]
    with pytest.raises(KeyError):
        find_workloads("set,nonsense")


@pytest.mark.parametrize("pipeline", [1, 16, 64])
def test_requests_are_whole_pipelines_for_each_client(pipeline: int) -> None:
    for workload in WORKLOADS.values():
        requests = workload.requests(200_000, pipeline)
        assert requests % (pipeline * CLIENTS) == 0
        assert requests >= 200_000 // COST_MAX - pipeline * CLIENTS


def test_mset_keeps_to_one_slot_in_a_cluster_only() -> None:
    mset = WORKLOADS["MSET"]
    assert mset.command_line(1_000_000, clustered=False) == ["-r", "1000000", "-t", "mset"]
    command = mset.command_line(1_000_000, clustered=True)
    assert command[:3] == ["-r", "61", "MSET"]
    assert len({key_slot(key.encode()) for key in command[3::2]}) == 1
    assert len(command[3:]) == 20


def test_the_last_test_of_the_csv_output_counts() -> None:
    rows = ['"LPUSH","1","2","3","4","5","6","7"', '"SET","10.5","2","3","0.4","5","0.6","7"']
    output = "\n".join(["Cluster has 1 master nodes:", "", HEADER, *rows])
    assert parse_csv(output) == (10.5, 0.4, 0.6)


@pytest.mark.parametrize("output", ["", f"{HEADER}\n", '"test","rps"\n"SET","1"\n'])
def test_output_without_the_figures_is_an_error(output: str) -> None:
    with pytest.raises(OperatorError, match="no table"):
        parse_csv(output)


def test_servers_take_turns_and_every_row_gets_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def measure(server: BenchServer, workload: object, pipeline: int, plan: Plan) -> Sample:
        asked.append((server.name, getattr(workload, "name", "")))
        return sample(2.0 if server.name == "ours" else 1.0)

    monkeypatch.setattr("pyredis_cluster.bench_measure.measure", measure)
    rows = measure_all(plan("set,get", repeats=2), server("ours"), server("redis"))
    assert asked == [
        ("ours", "SET"),
        ("redis", "SET"),
        ("redis", "GET"),
        ("ours", "GET"),
        ("redis", "SET"),
        ("ours", "SET"),
        ("ours", "GET"),
        ("redis", "GET"),
    ]
    assert [found.cpu_ratio for found in rows] == [2.0, 2.0]


def test_no_repeat_begins_after_the_time_limit_but_the_first_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyredis_cluster.bench_measure.measure", lambda *_: sample(1.0))
    rows = measure_all(plan("ping", repeats=9, time_limit_s=0.0), server("ours"), server("redis"))
    assert [len(found.ours) for found in rows] == [1, 1]


def test_the_ratio_is_the_median_over_the_pairs() -> None:
    assert row("SET", 1, [2.0, 9.0, 3.0], [1.0, 3.0, 3.0]).cpu_ratio == 2.0
    assert mean_ratio([row("SET", 1, [4.0], [1.0]), row("GET", 1, [1.0], [1.0])]) == pytest.approx(2.0)


def test_the_report_has_every_row_and_a_mean_for_each_pipeline() -> None:
    rows = [row("SET", 1, [2.0], [1.0]), row("GET", 1, [2.0], [1.0]), row("SET", 16, [3.0], [2.0])]
    console = Console(file=io.StringIO(), width=120)
    console.print(render_table(rows))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines[2:] if line.strip()] == ["SET", "GET", "mean", "SET", "mean"]
    assert max(map(len, lines)) <= 120
    text = markdown(rows, ENVIRONMENT)
    assert text.count("\n| SET | ") == 2
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert "**1.50** |" in text
    assert json.loads(json.dumps(as_json(rows, ENVIRONMENT)))["rows"][2]["ours"]["cpu_us"] == 3.0


def test_servers_and_clients_share_no_core_where_there_are_two() -> None:
    cores = Cores.choose()
    assert len(cores.server) == 1
    assert cores.clients.isdisjoint(cores.server) or cores.clients == cores.server


def test_free_ports_leave_room_for_the_bus() -> None:
    assert free_port() + 10_000 <= 65535
