"""A signal that comes while a server is being started leaves nothing running, and is not lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys
from pathlib import Path
from pyredis_cluster import processes
from pyredis_cluster.bench_interrupts import INTERRUPTS
number, path = int(sys.argv[1]), Path(sys.argv[2])
signal.signal(signal.SIGINT, signal.default_int_handler)
INTERRUPTS.take_over()
spawn = processes.spawn
def interrupted(*args):
    process = spawn(*args)
    path.write_text(str(process.pid))
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass
    return process
processes.spawn = interrupted
INTERRUPTS.start([sys.executable, "-c", "import time; time.sleep(60)"], path.with_suffix(".log"))
print("went on")
"""
TIMEOUT_S = 30.0


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_between_a_start_and_its_note_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    noted = tmp_path / "pid"
    argv = [sys.executable, "-c", PROGRAM, str(number.value), str(noted)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == (-signal.SIGINT if number is signal.SIGINT else 128 + number)
    assert "went on" not in done.stdout
    deadline = time.monotonic() + TIMEOUT_S
    while not has_ended(int(noted.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.01)
