"""Slots move while our client and redis-py read and write their keys: no request fails, nothing is lost."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pyredis_cluster.client.blocking_driver import ClusterClient
from pyredis_cluster.gossip.slots import key_slot
from redis.cluster import RedisCluster

from ..conftest import wait_until

RunningNodes = Any
Execute = Callable[..., Any]

SLOTS = 60
KEYS = 1500
REQUESTS_BEFORE = 50


class Load:
    """One thread that increments and reads its keys, and notes each answer that is wrong."""

    def __init__(self, execute: Execute, keys: list[str]) -> None:
        self._execute = execute
        self._keys = keys
        self._counts = dict.fromkeys(keys, 0)
        self.requests = 0
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for key in itertools.cycle(self._keys):
            if self._stop.is_set():
                return
            self._counts[key] += 1
            for name in ("INCR", "GET"):
                try:
                    answer = int(self._execute(name, key))
                except Exception as error:  # whatever it is, the client's user would have seen it
                    self.faults.append(f"{name} {key}: {error!r}")
                else:
                    if answer != self._counts[key]:
                        self.faults.append(f"{name} {key}: {answer}, not {self._counts[key]}")
            self.requests += 2
            self._stop.wait(0.002)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """The counts are what the cluster holds; no request was answered wrongly."""
        assert self.faults == []
        assert {key: int(self._execute("GET", key) or 0) for key in self._keys} == self._counts


def redis_cli(cluster: RunningNodes, source: int, target: int) -> list[str]:
    return [
        "redis-cli", "--cluster", "reshard", cluster.addresses()[0], "--cluster-from", cluster.node_id(source),
        "--cluster-to", cluster.node_id(target), "--cluster-slots", str(SLOTS), "--cluster-yes",
    ]  # fmt: skip


def pyredis_cluster(cluster: RunningNodes, source: int, target: int) -> list[str]:
    return [
        sys.executable, "-P", "-m", "pyredis_cluster", "reshard", cluster.addresses()[0], "--from", str(source),
        "--to", str(target), "--slots", str(SLOTS), "--yes",
    ]  # fmt: skip


@pytest.mark.parametrize("tool", [redis_cli, pyredis_cluster])
def test_a_reshard_is_not_noticed_by_clients(cluster: RunningNodes, tool: Callable[..., list[str]]) -> None:
    source, target, _ = cluster.primaries()
    owned = [slot for slot, owner in sorted(cluster.owners(source).items()) if owner == source]
    # redis-cli moves a node's first slots, our command its last ones.
    moving = {*(owned[:SLOTS] if tool is redis_cli else owned[-SLOTS:])}
    keys = list(itertools.islice((f"k{n}" for n in itertools.count() if key_slot(b"k%d" % n) in moving), KEYS))
    cluster.pipeline(source, [("SET", key, 0) for key in keys])
    ours = ClusterClient(port=cluster.port)
    theirs: Any = RedisCluster(host="127.0.0.1", port=cluster.port)
    loads = [Load(ours.execute, keys[::2]), Load(theirs.execute_command, keys[1::2])]
    try:
        wait_until(lambda: all(load.requests > REQUESTS_BEFORE for load in loads), "the load runs")
        done = cluster.run(*tool(cluster, source, target))
        assert done.returncode == 0, done.stdout
    finally:
        for load in loads:
            load.stop()
    cluster.wait_until_agreed()
    assert all(cluster.owners(target)[slot] == target for slot in moving)
    for load in loads:
        load.check()
    wait_until(lambda: sum(cluster.call(p, "DBSIZE") for p in cluster.primaries()) == KEYS, "each key is in one place")
    cluster.call(target, "FLUSHALL")
    ours.close()
    theirs.close()
