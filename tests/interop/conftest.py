"""Six-node clusters of real processes for the tools that know Redis Cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from pyredis_cluster.admin import Access
from pyredis_cluster.create import create_cluster

from ..clusters import RunningNodes, start_nodes_in

StartNodes = Callable[[Sequence[tuple[str, str]]], RunningNodes]


@pytest.fixture(scope="module")
def start_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartNodes]:
    """start_nodes([(directive, value)]) -> six nodes that don't know each other."""
    started: list[RunningNodes] = []

    def start(settings: Sequence[tuple[str, str]]) -> RunningNodes:
        started.append(start_nodes_in(tmp_path_factory.mktemp("interop") / "cluster", settings))
        return started[-1]

    yield start
    for nodes in started:
        nodes.local.destroy()


@pytest.fixture(scope="module")
def cluster(start_nodes: StartNodes) -> RunningNodes:
    """Three primaries with a replica each."""
    nodes = start_nodes([])
    create_cluster(nodes.local.addresses, 1, Access(), lambda _: None)
    return nodes
