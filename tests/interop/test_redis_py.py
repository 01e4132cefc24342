"""redis-py's RedisCluster, blocking and asyncio: commands, pipelines, redirects, a moving slot, a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import ClusterNode, LoadBalancingStrategy, RedisCluster

from ..conftest import wait_until

RunningNodes = Any
Client = Any

KEYS = 60


@pytest.fixture
def client(cluster: RunningNodes) -> Iterator[Client]:
    """A blocking client on an empty cluster."""
    made: Client = RedisCluster(host="127.0.0.1", port=cluster.port)
    made.flushall(target_nodes=RedisCluster.PRIMARIES)
    yield made
    made.close()


def with_async_client(cluster: RunningNodes, work: Callable[[Client], Awaitable[None]]) -> None:
    """Run `work(client)` with an asyncio client on an empty cluster."""

    async def run() -> None:
        async with AsyncRedisCluster(host="127.0.0.1", port=cluster.port) as made:
            await made.flushall(target_nodes=AsyncRedisCluster.PRIMARIES)
            await work(made)

    asyncio.run(run())


def many(prefix: str) -> dict[str, str]:
    return {f"{prefix}:{number}": str(number) for number in range(KEYS)}


def start_moving(cluster: RunningNodes, key: str) -> tuple[int, int, int]:
    """start_moving(cluster, key) -> (slot, source, target); the key itself has gone, the slot has not."""
    slot = cluster.call(cluster.port, "CLUSTER", "KEYSLOT", key)
    source = cluster.owners(cluster.port)[slot]
    target = next(port for port in cluster.primaries() if port != source)
    cluster.call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node_id(source))
    cluster.call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node_id(target))
    cluster.call(source, "MIGRATE", "127.0.0.1", target, key, 0, 5000)
    return slot, source, target


def end_moving(cluster: RunningNodes, slot: int, source: int, target: int) -> None:
    """The slot goes to the target, as redis-cli does it."""
    while keys := cluster.call(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
        cluster.call(source, "MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *keys)
    for port in (target, source):
        cluster.call(port, "CLUSTER", "SETSLOT", slot, "NODE", cluster.node_id(target))
    cluster.wait_until_agreed()


def fail_over(cluster: RunningNodes, key: str) -> None:
    """The primary of the key's slot changes places with its replica."""
    slot = cluster.call(cluster.port, "CLUSTER", "KEYSLOT", key)
    old = cluster.owners(cluster.port)[slot]
    old_id = cluster.node_id(old)
    replica = next(
        int(words[1].split("@")[0].split(":")[1]) for words in cluster.nodes(cluster.port) if words[3] == old_id
    )
    cluster.call(replica, "CLUSTER", "FAILOVER")
    wait_until(lambda: cluster.owners(cluster.port)[slot] == replica, "the replica is the primary")
    cluster.wait_until_agreed()


def test_commands_of_all_types(client: Client) -> None:
    assert client.set("s", "x") and client.get("s") == b"x"
    assert client.hset("h", mapping={"a": 1, "b": 2}) == 2
    assert client.hgetall("h") == {b"a": b"1", b"b": b"2"}
    assert client.rpush("l", 1, 2, 3) == 3 and client.lrange("l", 0, -1) == [b"1", b"2", b"3"]
    assert client.sadd("t", "m") == 1 and client.smembers("t") == {b"m"}
    assert client.zadd("z", {"m": 1.5}) == 1 and client.zrange("z", 0, -1, withscores=True) == [(b"m", 1.5)]
    assert client.zunionstore("{z}2", ["{z}1", "{z}3"]) == 0


def test_keys_of_many_slots(client: Client) -> None:
    client.mset_nonatomic(many("k"))
    assert client.mget_nonatomic(list(many("k"))) == [value.encode() for value in many("k").values()]
    assert sorted(client.scan_iter("k:*", count=7)) == sorted(key.encode() for key in many("k"))
    assert client.dbsize(target_nodes=RedisCluster.PRIMARIES) == KEYS
    assert client.exists(*many("k")) == KEYS
    assert client.delete(*many("k")) == KEYS


def test_a_pipeline_is_split_by_node_and_its_replies_stand_in_order(client: Client) -> None:
    with client.pipeline() as pipeline:
        for key, value in many("p").items():
            pipeline.set(key, value).get(key)
        replies = pipeline.execute()
    assert replies == [reply for value in many("p").values() for reply in (True, value.encode())]


def test_replicas_serve_reads(cluster: RunningNodes) -> None:
    reader: Client = RedisCluster(
        host="127.0.0.1", port=cluster.port, load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN
    )
    try:
        reader.mset_nonatomic(many("r"))
        for key, value in many("r").items():
            wait_until(lambda key=key, value=value: reader.get(key) == value.encode(), f"{key} is readable")
    finally:
        reader.close()


def test_a_moved_slot_is_followed(cluster: RunningNodes, client: Client) -> None:
    client.set("moved", "1")
    moving = start_moving(cluster, "moved")
    end_moving(cluster, *moving)
    assert client.get("moved") == b"1"
    assert client.incr("moved") == 2


def test_a_slot_under_way_is_asked_for(cluster: RunningNodes, client: Client) -> None:
    client.mset({"{ask}a": "1", "{ask}b": "2"})
    moving = start_moving(cluster, "{ask}a")
    assert client.get("{ask}a") == b"1"
    assert client.get("{ask}b") == b"2"
    assert client.set("{ask}new", "3")
    assert client.get("{ask}new") == b"3"
    end_moving(cluster, *moving)
    assert client.mget("{ask}a", "{ask}b", "{ask}new") == [b"1", b"2", b"3"]


def test_a_failover_is_followed(cluster: RunningNodes, client: Client) -> None:
    client.set("failover", "1")
    fail_over(cluster, "failover")
    assert client.get("failover") == b"1"
    assert client.incr("failover") == 2


def test_the_nodes_are_known_by_address(cluster: RunningNodes, client: Client) -> None:
    def known() -> bool:
        # A replica is left out of CLUSTER SLOTS while it has no data, as after the failover before.
        client.nodes_manager.initialize()
        return {node.port for node in client.get_nodes()} == set(cluster.ports)

    wait_until(known, "all nodes are shown")
    assert isinstance(client.get_node_from_key("any"), ClusterNode)


def test_asyncio_keys_of_many_slots_and_pipelines(cluster: RunningNodes) -> None:
    async def work(client: Client) -> None:
        await client.mset_nonatomic(many("k"))
        assert await client.mget_nonatomic(list(many("k"))) == [value.encode() for value in many("k").values()]
        assert sorted([key async for key in client.scan_iter("k:*", count=7)]) == sorted(
            key.encode() for key in many("k")
        )
        async with client.pipeline() as pipeline:
            for key, value in many("p").items():
                pipeline.set(key, value).get(key)
            replies = await pipeline.execute()
        assert replies == [reply for value in many("p").values() for reply in (True, value.encode())]
        assert sorted(await asyncio.gather(*(client.incr("n") for _ in range(50)))) == list(range(1, 51))

    with_async_client(cluster, work)


def test_asyncio_follows_a_moving_slot(cluster: RunningNodes) -> None:
    async def work(client: Client) -> None:
        await client.mset({"{way}a": "1", "{way}b": "2"})
        moving = await asyncio.to_thread(start_moving, cluster, "{way}a")
        assert [await client.get("{way}a"), await client.get("{way}b")] == [b"1", b"2"]
        await asyncio.to_thread(end_moving, cluster, *moving)
        assert await client.mget("{way}a", "{way}b") == [b"1", b"2"]

    with_async_client(cluster, work)


def test_asyncio_follows_a_failover(cluster: RunningNodes) -> None:
    async def work(client: Client) -> None:
        await client.set("failover", "1")
        await asyncio.to_thread(fail_over, cluster, "failover")
        assert await client.get("failover") == b"1"
        assert await client.incr("failover") == 2

    with_async_client(cluster, work)
