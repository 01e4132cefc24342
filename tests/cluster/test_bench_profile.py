"""`make profile`: every stage gets a figure, and the functions are listed."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from pyredis_cluster.bench_inprocess import REQUESTS, in_process_node
from pyredis_cluster.bench_profile import Profiler, profile

ROUNDS = ["--rounds", "3"]


def test_each_command_has_a_line_for_each_depth() -> None:
    done = CliRunner().invoke(profile, ["--pipeline", "1,16", *ROUNDS])
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    found = [(words[0], words[1]) for words in lines if words and words[0] in REQUESTS]
    assert found == [(name, depth) for depth in ("1", "16") for name in REQUESTS]
    assert "data plane:" in done.output


def test_functions_are_listed_by_name() -> None:
    done = CliRunner().invoke(profile, ["--tests", "incr", "--pipeline", "16", "--cprofile", *ROUNDS])
    assert done.exit_code == 0, done.output
    assert "(incr)" in done.output


def test_unknown_commands_are_refused() -> None:
    done = CliRunner().invoke(profile, ["--tests", "get,nonsense"])
    assert done.exit_code == 2
    assert "no NONSENSE; there are PING, GET" in done.output


@pytest.mark.parametrize("name", REQUESTS)
def test_the_stages_of_a_round_all_take_time(name: str) -> None:
    with in_process_node() as node:
        stages = Profiler(node, name, 4, 3).stages()
    assert min(stages.whole, stages.syscalls, stages.parse, stages.function) > 0
