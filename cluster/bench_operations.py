"""What an operator waits for: a start, a BGSAVE, loading its file, a full synchronization; time and memory.

Law: each figure begins with the request and ends when the server itself says that it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from .bench_results import Figure, Section
from .bench_servers import OURS, BenchServer, Launch, memory_bytes, spawned, wait_until_ready
from .bench_site import Scale, Site
from .errors import OperatorError

START_REPEATS = 5
VALUE_BYTES = 64
POLL_S = 0.005
OPERATION_TIMEOUT_S = 120.0
SETTINGS = {"enable-debug-command": "yes", "repl-diskless-sync-delay": "0"}


def _wait(condition: Callable[[], bool], what: str) -> float:
    """How long it took until the condition held, in seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > OPERATION_TIMEOUT_S:
            raise OperatorError(f"{what} took over {OPERATION_TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)
    return time.monotonic() - began


class _ChildMemory:
    """The memory that a forked child has for itself: pages that it or its parent wrote since the fork."""

    def __init__(self, pid: int) -> None:
        self._children = Path(f"/proc/{pid}/task/{pid}/children")
        self.peak_bytes = 0

    def look(self) -> None:
        try:
            for child in self._children.read_text().split():
                lines = Path(f"/proc/{child}/smaps_rollup").read_text().splitlines()
                own = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
                self.peak_bytes = max(self.peak_bytes, own * 1024)
        except OSError:
            return  # it has ended


def populate(server: BenchServer, keys: int) -> None:
    """populate(server, keys): so many strings of VALUE_BYTES."""
    server.link.call("DEBUG", "POPULATE", keys, "key", VALUE_BYTES)


def measure_operations(site: Site, scale: Scale) -> Section:
    """measure_operations(site, scale) -> Section. OperatorError."""
    keys = f"{scale.keys:,} keys"
    notes = (
        f"Standalone servers; keys hold {VALUE_BYTES} bytes. BGSAVE's memory is what its child has for itself. "
        "A full synchronization is to an empty replica on the same core, without a delay before it."
    )
    section = Section("operations", "Operations", notes)
    figures = {
        name: Figure(what, unit)
        for name, what, unit in (
            ("start", "start, until PING is answered", "ms"),
            ("bgsave", f"BGSAVE of {keys}", "s"),
            ("child", f"memory of BGSAVE's child, {keys}", "MB"),
            ("load", f"start with a file of {keys}", "s"),
            ("peak", f"peak memory of that, {keys}", "MB"),
            ("sync", f"full synchronization of {keys}", "s"),
        )
    }
    section.figures.extend(figures.values())
    for name, _ in site.programs.servers():

        def found(figure: str, value: float, name: str = name) -> None:
            (figures[figure].ours if name == OURS else figures[figure].redis).append(value)

        _start(site, name, found)
        _save_load_and_sync(site, name, scale, found)
    return section


def _start(site: Site, name: str, found: Callable[[str, float], None]) -> None:
    program = dict(site.programs.servers())[name]
    for _ in range(START_REPEATS):
        site.tell(f"start: {name}")
        with site.directory(name) as home:
            began = time.monotonic()
            with spawned(Launch(name, program, home, site.cores.server)) as server:
                wait_until_ready(server, home)
                found("start", (time.monotonic() - began) * 1000)


def _save_load_and_sync(site: Site, name: str, scale: Scale, found: Callable[[str, float], None]) -> None:
    program = dict(site.programs.servers())[name]
    with ExitStack() as stack:
        home = stack.enter_context(site.directory(name))
        launch = Launch(name, program, home, site.cores.server, settings=SETTINGS)
        site.tell(f"BGSAVE: {name}")
        with spawned(launch) as server:
            wait_until_ready(server, home)
            populate(server, scale.keys)
            server.settle()
            child = _ChildMemory(server.pid)
            server.link.call("BGSAVE")

            def saved() -> bool:
                child.look()
                return server.info("persistence")["rdb_bgsave_in_progress"] == "0"

            found("bgsave", _wait(saved, f"{name}'s BGSAVE"))
            found("child", child.peak_bytes / 1e6)
        site.tell(f"loading: {name}")
        began = time.monotonic()
        primary = stack.enter_context(spawned(launch))
        wait_until_ready(primary, home, OPERATION_TIMEOUT_S)
        found("load", time.monotonic() - began)
        found("peak", memory_bytes(primary.pid, "VmHWM") / 1e6)
        if primary.link.call("DBSIZE") != scale.keys:
            raise OperatorError(f"{name} has not loaded the {scale.keys} keys that it saved")
        site.tell(f"full synchronization: {name}")
        replica = stack.enter_context(site.server(name, settings=SETTINGS))
        host, port = primary.link.address.host, primary.port
        replica.link.call("REPLICAOF", host, port)
        found("sync", _wait(lambda: _in_sync(replica, scale.keys), f"{name}'s full synchronization"))


def _in_sync(replica: BenchServer, keys: int) -> bool:
    try:
        return replica.info("replication").get("master_link_status") == "up" and replica.link.call("DBSIZE") == keys
    except OperatorError:
        return False  # it is loading
