"""Detached processes: what they get from whoever starts them."""

from __future__ import annotations

import os
from pathlib import Path

from pyredis_cluster import processes

WAIT_S = 10.0


def test_a_spawned_process_keeps_no_descriptor_of_ours(tmp_path: Path) -> None:
    log = tmp_path / "log"
    descriptor = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(descriptor, True)
    try:
        process = processes.spawn(["/bin/ls", "-l", "/proc/self/fd"], log)
    finally:
        os.close(descriptor)
    assert not processes.wait_until_gone([process], WAIT_S)
    assert "/dev/null" in log.read_text()
    assert "lock" not in log.read_text()
