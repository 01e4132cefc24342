"""Where and how much is measured: the programs, the cores, a directory for the servers' files, and the amounts.

Law: what is started here is stopped, and what it wrote removed, when its `with` block ends.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .bench_servers import BenchServer, Cores, Launch, Programs, running


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. `keys` are in the servers for what works on all of them; `keys_many` for pauses."""

    requests: int = 100_000
    keyspace: int = 1_000_000
    repeats: int = 3
    keys: int = 1_000_000
    keys_many: int = 5_000_000
    collections: int = 100_000
    collection_elements: int = 10_000
    large_collections: int = 50
    strings: int = 200_000


QUICK = Scale(
    requests=50_000,
    keyspace=100_000,
    repeats=1,
    keys=100_000,
    keys_many=200_000,
    collections=50_000,
    large_collections=20,
    strings=40_000,
)
"""The order of magnitude, in a few minutes."""


@dataclass(frozen=True, slots=True)
class Site:
    """Site(programs, cores, home, tell): `tell` hears what is being done."""

    programs: Programs
    cores: Cores
    home: Path
    tell: Callable[[str], None]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def directory(self, name: str) -> Iterator[Path]:
        """directory(name) -> a new directory for a server's files, gone at the end."""
        path = self.home / f"{name}-{next(self._numbers)}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def server(
        self, name: str, *, clustered: bool = False, settings: Mapping[str, str] | None = None, anywhere: bool = False
    ) -> Iterator[BenchServer]:
        """server(OURS) -> it, ready for commands, on the servers' core; `anywhere`: on any core."""
        program = dict(self.programs.servers())[name]
        cores = self.cores.server | self.cores.clients if anywhere else self.cores.server
        with (
            self.directory(name) as home,
            running(Launch(name, program, home, cores, clustered, settings or {})) as server,
        ):
            yield server

    @contextmanager
    def pair(self, *, clustered: bool) -> Iterator[tuple[BenchServer, BenchServer]]:
        """pair(clustered=True) -> (ours, redis-server), both ready, alike."""
        with ExitStack() as stack:
            ours, redis = (
                stack.enter_context(self.server(name, clustered=clustered)) for name, _ in self.programs.servers()
            )
            yield ours, redis
