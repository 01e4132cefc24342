"""redis-benchmark --cluster runs all of its tests against our nodes without an error."""

from __future__ import annotations

import csv
import shutil
from typing import Any

import pytest

RunningNodes = Any

TESTS = "set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange,mset"
NAMES = {
    "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP", "ZADD", "ZPOPMIN",
    "LPUSH (needed to benchmark LRANGE)", "LRANGE_100 (first 100 elements)", "LRANGE_300 (first 300 elements)",
    "LRANGE_500 (first 500 elements)", "LRANGE_600 (first 600 elements)", "MSET (10 keys)",
}  # fmt: skip


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark_runs_without_an_error(cluster: RunningNodes, pipeline: int) -> None:
    program = shutil.which("redis-benchmark")
    assert program, "redis-benchmark isn't installed"
    done = cluster.run(
        program, "--cluster", "-p", str(cluster.port), "-t", TESTS, "-n", "1000", "-r", "1000", "-c", "20",
        "-P", str(pipeline), "--csv",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "rror" not in done.stdout, done.stdout
    rates = {row[0]: float(row[1]) for row in csv.reader(done.stdout.splitlines()) if len(row) > 1 and row[0] in NAMES}
    assert set(rates) == NAMES
    assert all(rate > 0 for rate in rates.values())
