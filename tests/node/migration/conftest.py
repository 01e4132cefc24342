"""A six-node cluster for the tests of slot migration, with a load on the slots that move and a tap on their way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyredis_cluster.admin import Access
from pyredis_cluster.create import create_cluster

from ...clusters import RunningNodes, start_nodes_in
from .lab import Lab


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNodes]:
    """Three primaries with a replica each."""
    directory = tmp_path_factory.mktemp("migration") / "cluster"
    made = start_nodes_in(directory, [("enable-debug-command", "local"), ("save", '""')])
    try:
        create_cluster(made.local.addresses, 1, Access(), lambda _: None)
        yield made
    finally:
        made.local.destroy()


@pytest.fixture
def lab(nodes: RunningNodes) -> Iterator[Lab]:
    """A healthy cluster with keys in the slots that are to move; healed again after the test."""
    made = Lab(nodes)
    yield made
    made.close()
