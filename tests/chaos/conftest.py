"""A six-node cluster for the chaos tests: real processes, default settings, no fixed ports."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from pyredis_cluster.admin import Access
from pyredis_cluster.create import create_cluster
from pyredis_cluster.faults import Arena
from pyredis_cluster.launcher import NodeCommand, prepare

from ..conftest import free_port

NODES = 6
RATE_PER_S = 500


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """Three primaries with a replica each. A test that fails leaves it revived for the next one."""
    directory = tmp_path_factory.mktemp("chaos") / "cluster"
    ports = [free_port() for _ in range(NODES)]
    cluster = prepare(directory, ports, "127.0.0.1", [], NodeCommand())
    access = Access()
    try:
        cluster.start(cluster.nodes, access)
        create_cluster(cluster.addresses, 1, access, lambda _: None)
        yield Arena(cluster, access, random.Random(2), RATE_PER_S)
    finally:
        cluster.destroy()


@pytest.fixture(autouse=True)
def revived(arena: Arena) -> Iterator[None]:
    """Whatever a test has killed or frozen runs again after it."""
    yield
    arena.revive()
    arena.wait_until_healed()
