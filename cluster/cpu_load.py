"""redis-benchmark as background load: one process for each shard, with keys of that shard only.

A process ends when its node dies; `refresh` starts it again on whoever owns the slots now.
"""

from __future__ import annotations

import shutil
import subprocess

from .errors import OperatorError
from .load import make_groups
from .topology import Topology

PROGRAM = "redis-benchmark"
CLIENTS = 16
PIPELINE = 64
KEYS = 10_000
REQUESTS = 2_000_000_000
STOP_TIMEOUT_S = 10.0


class CpuLoad:
    """CpuLoad(): a context manager; nothing runs before the first `refresh`."""

    def __init__(self) -> None:
        found = shutil.which(PROGRAM)
        if found is None:
            raise OperatorError(f"{PROGRAM} isn't installed")
        self._program = found
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> CpuLoad:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def refresh(self, topology: Topology) -> None:
        """refresh(topology): one running redis-benchmark for each primary with slots, none elsewhere."""
        wanted = {str(member.address): member for member in topology.primaries if member.myself.slot_count}
        for address, process in list(self._running.items()):
            if address not in wanted or process.poll() is not None:
                self._end(process)
                del self._running[address]
        for address, member in wanted.items():
            if address in self._running:
                continue
            (group,) = make_groups({address: member.myself.slots}, "cpu", 1)
            command = [self._program, "-h", member.address.host, "-p", str(member.address.port), "-q"]
            access = member.link.access
            if access.password is not None:
                command += ["--user", access.username, "-a", access.password]
            command += ["-c", str(CLIENTS), "-P", str(PIPELINE), "-n", str(REQUESTS), "-r", str(KEYS)]
            command += ["SET", f"cpu:{{{group.tags[0]}}}:__rand_int__", "value", "EX", "600"]
            self._running[address] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """stop(): end them all."""
        for process in self._running.values():
            self._end(process)
        self._running.clear()

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_TIMEOUT_S)
