"""What `make bench` measures: redis-benchmark's tests as a table, and what each needs in the server before it.

Law: preparing is not measured, and leaves both servers with the same data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pyredis_cluster.gossip.slots import SLOT_COUNT

from .admin import NodeLink

CLIENTS = 50
LIST_ELEMENTS = 10_000
"""How long the list is that LRANGE reads the head of."""

FILL_BATCH = 500
"""Elements in one command of a fill."""

VALUE = b"xxx"
"""What redis-benchmark writes: `-d 3`."""

MSET_KEYS = 10

LONE_CLIENT_DIVISOR = 4
"""Without pipelining an operation takes about this much longer, in both servers: it gets fewer requests."""

COST_MAX = 10
"""No test gets fewer than one in this many of the requests: the 50 connects must not show."""

Prepare = Callable[[NodeLink, int], None]
"""prepare(link, requests): bring the keys of a test into the state that it starts from."""


def _batches(count: int) -> Iterator[range]:
    for start in range(0, count, FILL_BATCH):
        yield range(start, min(start + FILL_BATCH, count))


def fill_keys(link: NodeLink, keyspace: int, value_bytes: int) -> None:
    """fill_keys(link, keyspace, value_bytes): every key that GET may ask for is there; there was none before."""
    value = b"x" * value_bytes
    link.pipeline((b"SET", b"key:%012d" % number, value) for number in range(keyspace))


def _nothing(link: NodeLink, requests: int) -> None:
    pass


def _no(key: str) -> Prepare:
    def prepare(link: NodeLink, requests: int) -> None:
        link.call("DEL", key)

    return prepare


def _fill_list(link: NodeLink, requests: int) -> None:
    link.call("DEL", "mylist")
    link.pipeline(("RPUSH", "mylist", *[VALUE] * len(batch)) for batch in _batches(requests))


def _fill_list_head(link: NodeLink, requests: int) -> None:
    _fill_list(link, LIST_ELEMENTS)


def _fill_set(link: NodeLink, requests: int) -> None:
    link.call("DEL", "myset")
    link.pipeline(("SADD", "myset", *(b"element:%012d" % number for number in batch)) for batch in _batches(requests))


def _fill_sorted_set(link: NodeLink, requests: int) -> None:
    link.call("DEL", "myzset")
    link.pipeline(
        ("ZADD", "myzset", *(word for number in batch for word in (number, b"element:%012d" % number)))
        for batch in _batches(requests)
    )


@dataclass(frozen=True, slots=True)
class Workload:
    """One test. `arguments` are redis-benchmark's; `cost` divides the number of requests it gets."""

    name: str
    arguments: tuple[str, ...]
    prepare: Prepare = _nothing
    cost: int = 1

    def requests(self, total: int, pipeline: int, clients: int = CLIENTS) -> int:
        """requests(total, pipeline) -> how many it gets: whole pipelines for each client, COST_MAX kept."""
        divisor = self.cost * (LONE_CLIENT_DIVISOR if pipeline == 1 else 1)
        wanted = total // min(divisor, COST_MAX)
        step = clients * pipeline
        return max(wanted // step, 1) * step

    def command_line(self, keyspace: int, clustered: bool) -> list[str]:
        """command_line(keyspace, clustered) -> redis-benchmark's arguments for the test and its keys.

        MSET's keys must share a slot in a cluster, which then has as many keys as any other slot.
        """
        if clustered and self.name == "MSET":
            pairs = ["key:{tag}:__rand_int__", VALUE.decode()] * MSET_KEYS
            return ["-r", str(max(keyspace // SLOT_COUNT, MSET_KEYS)), "MSET", *pairs]
        return ["-r", str(keyspace), *self.arguments]


def _default(name: str, prepare: Prepare = _nothing, cost: int = 1) -> Workload:
    return Workload(name, ("-t", name.lower()), prepare, cost)


def _lrange(count: int, cost: int) -> Workload:
    # As a command line of its own: `-t lrange_100` would push a list first and count that in.
    return Workload(f"LRANGE_{count}", ("LRANGE", "mylist", "0", str(count - 1)), _fill_list_head, cost)


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        _default("PING_INLINE"),
        _default("PING_MBULK"),
        _default("SET"),
        _default("GET"),
        _default("INCR"),
        _default("LPUSH", _no("mylist")),
        _default("RPUSH", _no("mylist")),
        _default("LPOP", _fill_list),
        _default("RPOP", _fill_list),
        _default("SADD", _no("myset")),
        _default("HSET", _no("myhash")),
        _default("SPOP", _fill_set),
        _default("ZADD", _no("myzset")),
        _default("ZPOPMIN", _fill_sorted_set),
        _lrange(100, 5),
        _lrange(300, 10),
        _lrange(500, 10),
        _lrange(600, 10),
        _default("MSET", cost=5),
    )
}
"""redis-benchmark's default set, in its order, without XADD."""


def find_workloads(names: str) -> list[Workload]:
    """find_workloads("set,lrange") -> these tests in the table's order; KeyError with the unknown name.

    A name stands for every test that begins with it, as `ping` and `lrange` do for redis-benchmark.
    """
    chosen: set[str] = set()
    for name in names.upper().split(","):
        found = [workload for workload in WORKLOADS if workload == name or workload.startswith(f"{name}_")]
        if not found:
            raise KeyError(name)
        chosen.update(found)
    return [workload for name, workload in WORKLOADS.items() if name in chosen]
