"""The two data planes in one process: `python_plane` takes the compiled methods away for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyredis_cluster.node.connection import Connection
from pyredis_cluster.node.data_plane import originals
from pyredis_cluster.node.dispatch import Dispatcher
from pyredis_cluster.node.keyspace import Database
from pyredis_cluster.node.reactor import Reactor
from pyredis_cluster.node.replication.primary import PrimarySide
from pyredis_cluster.node.replication.replica_link import ReplicaLink
from pyredis_cluster.node.replication.stream import Stream
from pyredis_cluster.node.values.hash import Hash
from pyredis_cluster.node.values.score_index import ScoreIndex
from pyredis_cluster.node.values.set import Set
from pyredis_cluster.node.values.sorted_set import SortedSet
from pyredis_cluster.node.values.table import Table

VALUES = (Hash, ScoreIndex, Set, SortedSet, Table)
BOUND: list[type] = [Connection, Database, Dispatcher, PrimarySide, Reactor, ReplicaLink, Stream, *VALUES]
CLASSES = {each.__name__: each for each in BOUND}


def python_method(name: str) -> Any:
    """python_method("Database.read") -> the function that C stands in for."""
    return originals[name]


@contextmanager
def python_plane() -> Iterator[None]:
    """Inside of it no class has a C method."""
    compiled = {}
    for name, function in originals.items():
        owner, _, method = name.partition(".")
        compiled[name] = CLASSES[owner].__dict__[method]
        setattr(CLASSES[owner], method, function)
    try:
        yield
    finally:
        for name, function in compiled.items():
            owner, _, method = name.partition(".")
            setattr(CLASSES[owner], method, function)
