"""The benchmark's parts that need no server: its tests, redis-benchmark's output, pairs, aims, and the report."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pyredis_cluster.admin import Access, NodeLink
from pyredis_cluster.bench import write
from pyredis_cluster.bench_chart import chart
from pyredis_cluster.bench_measure import Repeats, load, measure_loads, parse_csv
from pyredis_cluster.bench_reasons import UNKNOWN, reason_for
from pyredis_cluster.bench_report import markdown, overruns, render
from pyredis_cluster.bench_results import (
    Figure,
    Row,
    Sample,
    Section,
    mean_ratio,
    section_as_json,
    section_from_json,
)
from pyredis_cluster.bench_sections import SECTIONS
from pyredis_cluster.bench_servers import BenchServer, Cores, CpuTime, free_port
from pyredis_cluster.bench_workloads import CLIENTS, COST_MAX, WORKLOADS, find_workloads
from pyredis_cluster.errors import OperatorError
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.plan import Address
from pyredis_cluster.processes import ProcessHandle
from rich.console import Console

HEADER = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max"'
FAR_FUTURE_S = float("inf")
ENVIRONMENT = {
    "pyredis_version": "0.1.0",
    "data_plane": "Python",
    "redis_version": "7.0.15",
    "python": "3.11.2",
    "cpu": "a CPU",
    "client_cores": "1 other",
    "keyspace": 1_000_000,
    "repeats": 3,
}


def sample(cpu_us: float) -> Sample:
    return Sample(1000.0, 0.5, 1.5, cpu_us, cpu_us / 2, cpu_us)


def row(test: str, pipeline: int, ours_us: list[float], redis_us: list[float], clients: int = 50) -> Row:
    return Row(test, pipeline, clients, 3, [*map(sample, ours_us)], [*map(sample, redis_us)])


def server(name: str) -> BenchServer:
    return BenchServer(name, (ProcessHandle(1, 0),), NodeLink(Address("127.0.0.1", 1), Access()))


def rows_of(tests: str, repeats: Repeats) -> list[Row]:
    loads = [load(workload, 16, 1000, 100) for workload in find_workloads(tests)]
    return measure_loads(loads, (server("ours"), server("redis")), repeats, "redis-benchmark", False, lambda what: None)


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
@pytest.mark.parametrize("clients", [50, 1000])
def test_requests_are_whole_pipelines_for_each_client(pipeline: int, clients: int) -> None:
    for workload in WORKLOADS.values():
        requests = workload.requests(200_000, pipeline, clients)
        assert requests % (pipeline * clients) == 0
        assert requests >= max(200_000 // COST_MAX - pipeline * clients, pipeline * clients)


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

    def measure(server: BenchServer, load: object, benchmark: str, one_slot: bool) -> Sample:
        asked.append((server.name, load.workload.name))  # type: ignore[attr-defined]
        return sample(2.0 if server.name == "ours" else 1.0)

    monkeypatch.setattr("pyredis_cluster.bench_measure.measure", measure)
    rows = rows_of("set,get", Repeats(2, FAR_FUTURE_S))
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


def test_nothing_is_repeated_after_the_time_limit_but_the_first_pairs_are_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyredis_cluster.bench_measure.measure", lambda *_: sample(1.0))
    assert [len(found.ours) for found in rows_of("ping", Repeats(9, 0.0))] == [1, 1]


def test_the_ratio_is_the_median_over_the_pairs() -> None:
    assert row("SET", 1, [2.0, 9.0, 3.0], [1.0, 3.0, 3.0]).cpu_ratio == 2.0
    assert mean_ratio([row("SET", 1, [4.0], [1.0]), row("GET", 1, [1.0], [1.0])]) == pytest.approx(2.0)


def test_a_figure_of_which_more_is_better_has_the_inverse_ratio() -> None:
    assert Figure("start", "ms", [30.0], [10.0]).ratio == 3.0
    assert Figure("reshard", "keys/s", [30.0], [10.0], less_is_better=False).ratio == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("test", "pipeline", "ratio", "is_over"),
    [
        ("GET", 1, 1.1, True),
        ("GET", 16, 1.25, False),
        ("GET", 64, 1.35, True),
        ("ZADD", 1, 1.45, False),
        ("LRANGE_100", 16, 1.55, True),
    ],
)
def test_each_test_has_its_aim(test: str, pipeline: int, ratio: float, is_over: bool) -> None:
    assert bool(row(test, pipeline, [ratio], [1.0]).over()) is is_over


def test_overruns_name_the_row_and_the_figure() -> None:
    slow = Figure("KEYS", "ms", [40.0], [10.0], ratio_max=3.0)
    fine = Figure("DEL", "ms", [4.0], [1.0], ours_max=5.0)
    section = Section("commands", "Commands", "", [row("SET", 16, [3.0], [2.0])], [slow, fine])
    assert overruns([section]) == {
        reason_for("commands", "P=16", "CPU"): ["Commands: P=16, SET, 50 clients, 3-byte values: CPU 1.50 > 1.3"],
        UNKNOWN: ["Commands: KEYS: 4.00 > 3.0"],
    }


def test_each_kind_of_row_has_a_reason_of_its_own() -> None:
    found = [reason_for("commands", what, over) for what in ("P=1, SET", "P=16, SET") for over in ("CPU", "p99")]
    assert len({*found}) == 3
    assert UNKNOWN not in found
    assert reason_for("commands", "KEYS", "4.00 > 3.0") == UNKNOWN


def test_the_report_has_every_row_and_a_mean_for_each_pipeline() -> None:
    rows = [row("SET", 1, [2.0], [1.0]), row("GET", 1, [2.0], [1.0]), row("SET", 16, [3.0], [2.0])]
    section = Section("commands", "Commands", "How.", rows, [Figure("start", "ms", [20.0], [10.0])], ENVIRONMENT)
    console = Console(file=io.StringIO(), width=120)
    for table in render(section):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    found = [line.split()[0] for line in lines if line.strip()]
    assert found == ["Commands", "test", "SET", "GET", "mean", "SET", "mean", "Commands", "what", "start"]
    text = markdown([section])
    assert text.count("\n| SET | ") == 2
    assert "| 1.50 | 1.00 | CPU ≤ 1.3, p99 ≤ 1.5 | **no: CPU 1.50 > 1.3** |" in text
    assert "| start | ms | 20.0 | 10.0 | 2.00 |  |  |" in text


def test_sections_come_back_from_json_as_they_were() -> None:
    rows = [row("SET", 1, [2.0, 3.0], [1.0, 1.0])]
    section = Section("stalls", "Stalls", "How.", rows, [Figure("DEL", "ms", [2.0], [1.0], ours_max=5.0)], ENVIRONMENT)
    found = json.loads(json.dumps(section_as_json(section)))
    assert found["rows"][0]["ratios"]["cpu"] == 2.5
    assert section_from_json(found) == section


def test_sections_that_were_not_run_stay_as_they_were(tmp_path: Path) -> None:
    figures = [Figure("string", "bytes", [2.0], [1.0])]
    memory = Section("memory", "Memory", "", [], figures, ENVIRONMENT | {"repeats": 1})
    write(tmp_path, memory)
    assert not (tmp_path / "benchmarks.svg").exists()
    write(tmp_path, Section("commands", "Commands", "", [row("SET", 1, [2.0], [1.0])], [], ENVIRONMENT))
    page = (tmp_path / "benchmarks.md").read_text()
    assert page.index("## Commands") < page.index("## Memory")
    assert "| string |" in page
    assert page.count("medians of up to 3 ") == page.count("medians of up to 1 ") == 1
    assert (tmp_path / "benchmarks.svg").exists()
    assert [*SECTIONS].index("commands") < [*SECTIONS].index("memory")


def test_the_chart_has_a_bar_for_each_row_and_marks_those_over_their_aim() -> None:
    rows = [row("SET", 1, [0.9], [1.0]), row("GET", 1, [9.0], [1.0]), row("SET", 16, [3.0], [2.0])]
    root = ElementTree.fromstring(chart(rows))
    bars = [element.attrib for element in root.iter() if element.tag.endswith("rect")]
    assert [bar["class"] for bar in bars] == ["bar", "over", "over"]
    assert float(bars[1]["width"]) < float(root.attrib["width"])
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"SET", "GET", "-P 1", "-P 16", "9.00 · 9.00 µs"} <= set(texts)


def test_servers_and_clients_share_no_core_where_there_are_two() -> None:
    cores = Cores.choose()
    assert len(cores.server) == 1
    assert cores.clients.isdisjoint(cores.server) or cores.clients == cores.server


def test_the_cpu_time_is_split_as_the_ticks_are() -> None:
    used = CpuTime(5_000, 30, 20).since(CpuTime(1_000, 0, 10))
    assert (used.total_ns, used.user_share) == (4_000, 0.75)
    assert CpuTime(1_000, 0, 0).user_share == 1.0


def test_free_ports_leave_room_for_the_bus() -> None:
    assert free_port() + 10_000 <= 65535


def test_the_clients_are_those_of_redis_benchmark_by_default() -> None:
    assert load(WORKLOADS["SET"], 1, 1000, 10).clients == CLIENTS == 50
