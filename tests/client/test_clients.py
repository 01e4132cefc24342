"""Both clients against a real cluster: each test runs with the blocking driver and with the Trio driver."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from pyredis_cluster import ClusterClient, Connection, TrioClusterClient
from pyredis_cluster.client.errors import (
    AuthenticationError,
    ClusterUnreachableError,
    CrossSlotError,
    ExecAbortError,
    PoolExhaustedError,
    RequestTimeoutError,
    ResponseError,
    WatchError,
    WrongTypeError,
)
from pyredis_cluster.gossip.slots import key_slot


class Awaited:
    """A blocking object whose methods can be awaited, so that one test serves both drivers."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.wrapped, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await trio.to_thread.run_sync(lambda: method(*args, **kwargs))

        return call


class Driver:
    """What tests need of either driver, in one form."""

    def __init__(self, kind: str, cluster: Any) -> None:
        self.kind = kind
        self.cluster = cluster
        self.opened: list[Any] = []

    def client(self, **options: Any) -> Any:
        options.setdefault("startup_nodes", self.cluster.addresses)
        client = (TrioClusterClient if self.kind == "trio" else ClusterClient)(**options)
        self.opened.append(client)
        return client if self.kind == "trio" else Awaited(client)

    def queue(self, client: Any, kind: str) -> tuple[Any, Any]:
        """(the queue itself, the same with methods to be awaited)"""
        if self.kind == "trio":
            queue = getattr(client, kind)()
            return queue, queue
        queue = getattr(client.wrapped, kind)()
        return queue, Awaited(queue)

    async def keys(self, client: Any, **options: Any) -> list[Any]:
        if self.kind == "trio":
            return [key async for key in client.scan_iter(**options)]
        return await trio.to_thread.run_sync(lambda: list(client.wrapped.scan_iter(**options)))

    async def close(self) -> None:
        for client in self.opened:
            if self.kind == "trio":
                await client.aclose()
            else:
                client.close()


@pytest.fixture(params=["blocking", "trio"])
async def driver(request: Any, cluster: Any) -> AsyncIterator[Driver]:
    driver = Driver(request.param, cluster)
    await driver.client().flushall()
    yield driver
    await driver.close()


async def test_strings(driver: Driver) -> None:
    client = driver.client()
    assert await client.set("k", "v") is True
    assert await client.get("k") == b"v"
    assert await client.set("k", "w", nx=True) is None
    assert await client.set("k", "w", get=True, ex=100) == b"v"
    assert 0 < await client.ttl("k") <= 100
    assert await client.append("k", b"\x00\xff") == 3
    assert await client.getrange("k", 1, -1) == b"\x00\xff"
    assert await client.incr("n") == 1
    assert await client.decr("n", 3) == -2
    assert await client.incrbyfloat("f", 1.5) == 1.5
    assert await client.getdel("k") == b"w\x00\xff"
    assert await client.get("k") is None


async def test_hashes(driver: Driver) -> None:
    client = driver.client()
    assert await client.hset("h", "a", 1) == 1
    assert await client.hset("h", mapping={"b": 2, "c": 3}) == 2
    assert await client.hgetall("h") == {b"a": b"1", b"b": b"2", b"c": b"3"}
    assert await client.hmget("h", "a", "x") == [b"1", None]
    assert await client.hexists("h", "a") is True
    assert await client.hincrbyfloat("h", "a", 0.5) == 1.5
    assert await client.hdel("h", "a", "x") == 1
    assert (await client.hscan("h"))[0] == 0
    assert await client.hgetall("absent") == {}


async def test_lists(driver: Driver) -> None:
    client = driver.client()
    assert await client.rpush("l", 1, 2, 3) == 3
    assert await client.lrange("l", 0, -1) == [b"1", b"2", b"3"]
    assert await client.lpop("l", 2) == [b"1", b"2"]
    assert await client.blpop("l", timeout_s=1) == (b"l", b"3")
    assert await client.blpop("l", timeout_s=0.01) is None


async def test_sets(driver: Driver) -> None:
    client = driver.client()
    assert await client.sadd("s", "a", "b") == 2
    assert await client.smembers("s") == {b"a", b"b"}
    assert await client.smismember("s", "a", "x") == [True, False]
    assert await client.sadd("{s}2", "b", "c") == 2
    assert await client.sinter("s", "{s}2") == {b"b"}
    with pytest.raises(CrossSlotError):
        await client.sinter("s", "elsewhere")


async def test_sorted_sets(driver: Driver) -> None:
    client = driver.client()
    assert await client.zadd("z", {"a": 1, "b": 2.5}) == 2
    assert await client.zrange("z", 0, -1, withscores=True) == [(b"a", 1.0), (b"b", 2.5)]
    assert await client.zrange("z", "(1", "+inf", by="BYSCORE") == [b"b"]
    assert await client.zscore("z", "b") == 2.5
    assert await client.zmscore("z", "a", "x") == [1.0, None]
    assert await client.zpopmin("z") == [(b"a", 1.0)]
    assert await client.bzpopmin("z", timeout_s=1) == (b"z", b"b", 2.5)


@pytest.mark.parametrize("resp", [2, 3])
async def test_shapes_are_the_same_in_both_protocols(driver: Driver, resp: int) -> None:
    client = driver.client(resp=resp, decode_responses=True)
    await client.hset("h", mapping={"a": 1})
    await client.zadd("z", {"a": 1, "b": 2})
    await client.sadd("s", "x")
    assert await client.hgetall("h") == {"a": "1"}
    assert await client.zrange("z", 0, -1, withscores=True) == [("a", 1.0), ("b", 2.0)]
    assert await client.zpopmax("z") == [("b", 2.0)]
    assert await client.zscore("z", "a") == 1.0
    assert await client.smembers("s") == {"x"}
    assert await client.type("z") == "zset"
    assert (await client.info("server"))["redis_mode"] == "cluster"
    assert sorted(await driver.keys(client)) == ["h", "s", "z"]


async def test_keys_in_many_slots_are_scattered_and_gathered(driver: Driver) -> None:
    client = driver.client()
    keys = [f"key:{number}" for number in range(300)]
    assert await client.mset({key: key for key in keys}) is True
    assert await client.mget(*keys, "absent") == [key.encode() for key in keys] + [None]
    assert await client.exists(*keys, "absent", keys[0]) == 301
    assert await client.touch(*keys) == 300
    assert await client.dbsize() == 300
    assert sorted(await client.keys("key:*")) == sorted(key.encode() for key in keys)
    assert sorted(await driver.keys(client, count=7)) == sorted(key.encode() for key in keys)
    assert len(await driver.keys(client, match="key:1*")) == 111
    assert await client.delete(*keys[:100]) == 100
    assert await client.unlink(*keys) == 200
    assert await client.randomkey() is None


async def test_a_pipeline_keeps_order_over_all_nodes(driver: Driver) -> None:
    client = driver.client()
    queue, awaited = driver.queue(client, "pipeline")
    for number in range(500):
        queue.set(f"k{number}", number).get(f"k{number}")
    assert await awaited.execute() == [item for number in range(500) for item in (True, b"%d" % number)]
    assert len(queue) == 0


async def test_a_pipeline_larger_than_all_socket_buffers_does_not_lock_up(driver: Driver) -> None:
    client = driver.client(request_timeout_ms=20_000)
    value = b"x" * 1_000_000
    queue, awaited = driver.queue(client, "pipeline")
    for number in range(30):
        queue.set(f"k{number}", value)
    for number in range(30):
        queue.get(f"k{number}")
    assert await awaited.execute() == [True] * 30 + [value] * 30


async def test_pipeline_errors_are_raised_or_left_in_place(driver: Driver) -> None:
    client = driver.client()
    queue, awaited = driver.queue(client, "pipeline")
    queue.set("k", 1).lpush("k", 1).command("NOSUCH").get("k")
    results = await awaited.execute(raise_on_error=False)
    assert results[0] is True
    assert isinstance(results[1], WrongTypeError)
    assert isinstance(results[2], ResponseError)
    assert results[3] == b"1"
    queue.set("k", 1).lpush("k", 1)
    with pytest.raises(WrongTypeError):
        await awaited.execute()


async def test_a_transaction_is_applied_as_one(driver: Driver) -> None:
    client = driver.client()
    queue, awaited = driver.queue(client, "transaction")
    queue.set("{t}a", 1).hset("{t}h", "f", 1).hgetall("{t}h").lpush("{t}a", 1)
    results = await awaited.execute()
    assert results[:3] == [True, 1, {b"f": b"1"}]
    assert isinstance(results[3], WrongTypeError)


async def test_a_transaction_with_a_bad_command_applies_nothing(driver: Driver) -> None:
    client = driver.client()
    queue, awaited = driver.queue(client, "transaction")
    queue.set("{t}a", 1).command("GET")
    with pytest.raises(ResponseError) as caught:
        await awaited.execute()
    assert not isinstance(caught.value, ExecAbortError)
    assert await client.get("{t}a") is None


async def test_watch_notices_a_change(driver: Driver) -> None:
    client = driver.client()
    queue, awaited = driver.queue(client, "transaction")
    await client.set("k", 1)
    await awaited.watch("k")
    assert await awaited.immediate("GET", "k") == b"1"
    queue.incr("k")
    assert await awaited.execute() == [2]
    await awaited.watch("k")
    await client.set("k", 10)
    queue.incr("k")
    with pytest.raises(WatchError):
        await awaited.execute()
    assert await client.get("k") == b"10"


async def test_scripts_are_loaded_everywhere_and_run_where_the_key_is(driver: Driver) -> None:
    client = driver.client()
    sha1 = await client.script_load("return redis.call('SET', KEYS[1], ARGV[1])")
    for number in range(20):
        assert await client.evalsha(sha1, [f"k{number}"], [number]) == b"OK"
    assert await client.get("k7") == b"7"


@pytest.mark.parametrize("policy", ["replica", "any"])
async def test_reads_are_served_by_replicas(driver: Driver, policy: str) -> None:
    cluster = driver.cluster
    writer, reader = driver.client(), driver.client(read_from=policy)

    def reads_of_replicas() -> int:
        total = 0
        for port in cluster.ports[3:]:
            with Connection("127.0.0.1", port) as node:
                stats = node.call("INFO", "commandstats").decode()
            total += sum(int(line.split("calls=")[1].split(",")[0]) for line in stats.splitlines()
                         if line.startswith("cmdstat_get:"))  # fmt: skip
        return total

    keys = [f"k{number}" for number in range(60)]
    for key in keys:
        await writer.set(key, "v")
    before = await trio.to_thread.run_sync(reads_of_replicas)
    for key in keys:
        with trio.fail_after(10):
            while await reader.get(key) != b"v":
                await trio.sleep(0.01)
    served = await trio.to_thread.run_sync(reads_of_replicas) - before
    assert served >= (60 if policy == "replica" else 10)
    assert await reader.set("k1", "w") is True


async def test_a_slot_on_its_way_is_read_and_written_on_both_sides(driver: Driver) -> None:
    cluster, client = driver.cluster, driver.client()
    keys = [f"{{moving}}{number}" for number in range(6)]
    await client.mset(dict.fromkeys(keys[:4], "v"))
    slot = key_slot(b"moving")
    nodes = {port: Connection("127.0.0.1", port) for port in cluster.ports[:3]}
    try:
        source = next(port for port, node in nodes.items() if node.call("CLUSTER", "COUNTKEYSINSLOT", slot))
        target = next(port for port in nodes if port != source)
        ids = {port: node.call("CLUSTER", "MYID") for port, node in nodes.items()}
        nodes[target].call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        nodes[source].call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        nodes[source].call("MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *keys[:2])
        # Half of the keys have arrived: single keys are found behind ASK, and new ones are made there.
        for key in keys[:4]:
            assert await client.get(key) == b"v"
        assert await client.set(keys[4], "v") is True
        queue, awaited = driver.queue(client, "pipeline")
        for key in keys[:5]:
            queue.get(key)
        assert await awaited.execute() == [b"v"] * 5
        queue, awaited = driver.queue(client, "transaction")
        queue.get(keys[0]).set(keys[0], "w")
        assert await awaited.execute() == [b"v", True]
        # Keys on both sides in one command: TRYAGAIN, until the slot has arrived.
        async with trio.open_nursery() as nursery:
            found: list[Any] = []

            async def read_all() -> None:
                found.extend(await client.mget(*keys[:5]))

            nursery.start_soon(read_all)
            await trio.sleep(0.05)
            assert found == []
            nodes[source].call("MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *keys[2:4])
            for port in (target, source, *nodes):
                nodes[port].call("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
        assert found == [b"w", b"v", b"v", b"v", b"v"]
        assert await client.get(keys[2]) == b"v"
        assert client_slots(driver)[slot].primary[1] == target
        # Back again, so that the cluster is as other tests know it.
        await client.delete(*keys)
        for port in (source, *nodes):
            nodes[port].call("CLUSTER", "SETSLOT", slot, "NODE", ids[source])
        assert await client.set(keys[0], "x") is True
    finally:
        for node in nodes.values():
            node.close()


def client_slots(driver: Driver) -> Any:
    return driver.opened[-1].operations.router.slots.shards


async def test_a_seed_that_does_not_answer_is_passed_over(driver: Driver) -> None:
    seeds = ["127.0.0.1:1", f"127.0.0.1:{driver.cluster.ports[5]}"]
    client = driver.client(startup_nodes=seeds)
    assert await client.ping() is True


async def test_no_seed_that_answers_is_an_error_at_once(driver: Driver) -> None:
    client = driver.client(startup_nodes=["127.0.0.1:1"])
    with trio.fail_after(5), pytest.raises(ClusterUnreachableError):
        await client.connect()


async def test_a_wrong_password_is_an_authentication_error(driver: Driver) -> None:
    client = driver.client(username="nobody", password="wrong")
    with pytest.raises(AuthenticationError):
        await client.get("k")


async def test_a_node_that_hangs_is_a_timeout_that_leaves_the_fate_open(driver: Driver) -> None:
    client = driver.client(request_timeout_ms=100)
    await client.connect()
    address = driver.opened[-1].primaries()[0]
    with pytest.raises(RequestTimeoutError) as caught:
        await client.execute("DEBUG", "SLEEP", "0.4", node=address)
    assert caught.value.maybe_applied
    slow_reader = driver.client()
    assert await slow_reader.execute("PING", node=address) == b"PONG"


async def test_more_requests_than_connections_wait_and_then_fail(driver: Driver) -> None:
    client = driver.client(pool_connections_max=1, pool_wait_ms=100)
    await client.connect()
    failures: list[BaseException] = []

    async def pop() -> None:
        try:
            await client.blpop("empty", timeout_s=0.5)
        except PoolExhaustedError as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pop)
        nursery.start_soon(pop)
    assert len(failures) == 1
    assert await client.set("empty", "no longer") is True


async def test_many_users_share_a_client(driver: Driver) -> None:
    client = driver.client(pool_connections_max=4)

    async def work(number: int) -> None:
        for step in range(20):
            assert await client.mset({f"{number}:{step}": step, f"{step}:{number}": step}) is True
            assert await client.mget(f"{number}:{step}", f"{step}:{number}") == [b"%d" % step] * 2

    async with trio.open_nursery() as nursery:
        for number in range(100, 116):
            nursery.start_soon(work, number)
    pools = driver.opened[-1]._pools._pools.values()
    assert all(len(pool._idle) <= 4 for pool in pools)


async def test_a_connection_that_the_node_closed_is_not_used_again(driver: Driver) -> None:
    client = driver.client()
    for number in range(30):
        await client.set(f"k{number}", 0)
    for port in driver.cluster.ports:
        with Connection("127.0.0.1", port) as node:
            node.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    for number in range(30):
        assert await client.incr(f"k{number}") == 1


async def test_an_argument_without_a_redis_form_is_refused_before_it_is_sent(driver: Driver) -> None:
    client = driver.client()
    with pytest.raises(TypeError):
        await client.set("k", None)


def test_both_clients_have_the_same_public_methods() -> None:
    def public(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")} - {"close", "aclose"}

    assert public(ClusterClient) == public(TrioClusterClient)


async def test_a_cancelled_request_does_not_spoil_the_next(cluster: Any) -> None:
    async with TrioClusterClient(startup_nodes=cluster.addresses) as client:
        with trio.move_on_after(0.05):
            await client.blpop("nothing", timeout_s=5)
        assert await client.set("nothing", "x") is True
        assert await client.get("nothing") == b"x"
