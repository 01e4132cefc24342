"""`make bench`: figures out of real runs, the report, and that nothing is left running."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAM = [sys.executable, "-m", "pyredis_cluster.bench", "--standalone", "--repeats", "1"]
COMMANDS = ["--section", "commands", "--tests", "set,lrange_100", "--pipeline", "1,16"]
SMALL = ["--requests", "2000", "--keyspace", "500"]
TIMEOUT_S = 60.0
POLL_S = 0.02

pytestmark = pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("redis-benchmark")), reason="needs Debian's redis-server"
)


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(home)}


def running_in(home: Path) -> list[int]:
    """The processes whose working directory is below `home`, removed or not."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                directory = os.readlink(entry / "cwd")
            except OSError:
                continue
            if directory.startswith(str(home)):
                found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_S)


def test_a_run_compares_both_servers_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    output = tmp_path / "output"
    done = subprocess.run(
        [*PROGRAM, *COMMANDS, *SMALL, "--section", "lone", "--output", str(output)],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "LRANGE_100" in done.stdout
    commands, lone = json.loads((output / "benchmarks.json").read_text())["sections"]
    assert (output / "benchmarks.md").read_text().count("\n| SET | ") == 3
    assert (output / "benchmarks.svg").exists()
    rows = [*commands["rows"], *lone["rows"]]
    assert [(row["test"], row["pipeline"]) for row in commands["rows"]] == [
        ("SET", 1),
        ("LRANGE_100", 1),
        ("SET", 16),
        ("LRANGE_100", 16),
    ]
    samples = [sample for row in rows for who in ("ours", "redis") for sample in row[who]]
    assert len(samples) == 2 * len(rows)
    assert all(0 < sample["cpu_us"] < 10_000 for sample in samples)
    assert all(0 <= sample["user_us"] <= sample["cpu_us"] for sample in samples)
    assert all(sample["p99_ms"] >= sample["p50_ms"] > 0 for sample in samples)
    assert not running_in(home)
    assert not [*home.iterdir()]


def test_a_server_that_does_not_start_is_a_message_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, *COMMANDS, *SMALL, "--redis-server", "false"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "redis-server ended at its start" in done.stderr
    assert "Traceback" not in done.stderr
    assert not running_in(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*PROGRAM, "--section", "commands", "--tests", "set", "--requests", "10000000"],
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    ) as process:
        wait_until(lambda: len(running_in(tmp_path)) == 2, "both servers run")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode != 0
    assert b"Traceback" not in stderr
    wait_until(lambda: not running_in(tmp_path), "what it started has ended")
