"""Redirects and CLUSTER replies of one node that knows others, without processes: Redis's texts and shapes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
from pyredis_cluster.gossip import bitmap
from pyredis_cluster.gossip.nodes import NodeRecord
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.node.client import Client
from pyredis_cluster.node.config import Config
from pyredis_cluster.node.server import Server

from ..conftest import free_port

OTHER, REPLICA = "b" * 40, "c" * 40
MINE = bitmap.range_mask(0, 8191)
THEIRS = bitmap.ALL_SLOTS & ~MINE


class ClusterNode:
    """A cluster node that owns slots 0-8191; node b owns the others and has replica c."""

    def __init__(self, directory: Path, **values: str) -> None:
        path = str(directory / "nodes.conf")
        self.server = Server(
            Config(cluster_enabled="yes", port=str(free_port()), cluster_config_file=path, **values)
        )
        self.cluster = self.server.cluster
        self.core = self.cluster.core
        self.core.merge(
            NodeRecord(OTHER, 1, "127.0.0.2", 7001, 17001, "b.example", "", "b" * 40, "", 2, THEIRS, 0)
        )
        self.core.merge(NodeRecord(REPLICA, 1, "127.0.0.3", 7002, 17002, "", "", "b" * 40, OTHER))
        self.core.change_self(ip="127.0.0.1", slots=MINE, config_epoch=1)
        self.cluster.bus.perform()
        self.client = Client(self.server, 1)

    def ask(self, *args: bytes | str | int, client: Client | None = None) -> Any:
        client = client or self.client
        encoded = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
        client.out.clear()
        self.server.dispatcher.run(client, [encoded])
        reader = hiredis.Reader()
        reader.feed(bytes(client.out))
        return reader.gets()

    def error(self, *args: bytes | str | int) -> str:
        reply = self.ask(*args)
        assert isinstance(reply, hiredis.ReplyError), reply
        return str(reply)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ClusterNode]:
    found = ClusterNode(tmp_path)
    yield found
    if found.server.replication.link is not None:
        found.server.replication.link.close()
    found.cluster.bus.close()


def key_in(mask: int, tail: str = "") -> str:
    """key_in(mask) -> a key of one of the slots in `mask`, with a hash tag."""
    number = next(number for number in range(100_000) if mask >> key_slot(b"%d" % number) & 1)
    return f"{{{number}}}{tail}"


HERE, THERE = key_in(MINE), key_in(THEIRS)
HERE_SLOT, THERE_SLOT = key_slot(HERE.encode()), key_slot(THERE.encode())


def test_own_slots_are_served_and_others_are_redirected(node: ClusterNode) -> None:
    assert node.ask("SET", HERE, "v") == b"OK"
    assert node.ask("GET", HERE) == b"v"
    assert node.error("GET", THERE) == f"MOVED {THERE_SLOT} 127.0.0.2:7001"
    assert node.error("MSET", THERE, 1, THERE + "x", 2) == f"MOVED {THERE_SLOT} 127.0.0.2:7001"


def test_keys_of_several_slots_are_refused(node: ClusterNode) -> None:
    assert node.error("MGET", HERE, THERE) == "CROSSSLOT Keys in request don't hash to the same slot"


@pytest.mark.parametrize(
    ("kind", "endpoint"), [("ip", "127.0.0.2"), ("hostname", "b.example"), ("unknown-endpoint", "")]
)
def test_redirects_name_the_preferred_endpoint(node: ClusterNode, kind: str, endpoint: str) -> None:
    assert node.ask("CONFIG", "SET", "cluster-preferred-endpoint-type", kind) == b"OK"
    assert node.error("GET", THERE) == f"MOVED {THERE_SLOT} {endpoint}:7001"
    owner = node.ask("CLUSTER", "SLOTS")[1][2]
    assert owner[0] == (None if kind == "unknown-endpoint" else endpoint.encode())


def test_a_migrating_slot_asks_for_what_is_gone_and_tries_again_for_what_is_split(node: ClusterNode) -> None:
    node.ask("SET", HERE, "v")
    assert node.ask("CLUSTER", "SETSLOT", HERE_SLOT, "MIGRATING", OTHER) == b"OK"
    assert node.ask("GET", HERE) == b"v"
    assert node.error("GET", HERE + "gone") == f"ASK {HERE_SLOT} 127.0.0.2:7001"
    assert node.error("MGET", HERE, HERE + "gone") == (
        "TRYAGAIN Multiple keys request during rehashing of slot"
    )
    assert node.ask("CLUSTER", "SETSLOT", HERE_SLOT, "STABLE") == b"OK"
    assert node.ask("GET", HERE + "gone") is None


def test_an_importing_slot_is_served_once_to_who_asks(node: ClusterNode) -> None:
    assert node.ask("CLUSTER", "SETSLOT", THERE_SLOT, "IMPORTING", OTHER) == b"OK"
    assert node.error("SET", THERE, "v").startswith("MOVED")
    assert node.ask("ASKING") == b"OK"
    assert node.ask("SET", THERE, "v") == b"OK"
    assert node.error("GET", THERE).startswith("MOVED")
    node.ask("ASKING")
    assert node.error("MGET", THERE, THERE + "other").startswith("TRYAGAIN")


def test_a_transaction_is_refused_as_soon_as_a_command_goes_elsewhere(node: ClusterNode) -> None:
    assert node.ask("MULTI") == b"OK"
    assert node.error("SET", THERE, "v").startswith("MOVED")
    assert node.error("EXEC").startswith("EXECABORT")


def test_exec_looks_again_at_all_its_keys(node: ClusterNode) -> None:
    node.ask("MULTI")
    assert node.ask("SET", HERE, "v") == b"QUEUED"
    other_slot = key_in(MINE & ~(1 << HERE_SLOT))
    assert node.ask("SET", other_slot, "v") == b"QUEUED"
    assert node.error("EXEC").startswith("CROSSSLOT")
    assert node.ask("EXISTS", HERE) == 0
    assert node.error("EXEC") == "ERR EXEC without MULTI"


def test_a_slot_lost_between_multi_and_exec_is_redirected(node: ClusterNode) -> None:
    node.ask("MULTI")
    assert node.ask("SET", HERE, "v") == b"QUEUED"
    node.core.merge(
        NodeRecord(
            OTHER, 2, "127.0.0.2", 7001, 17001, "b.example", "", "b" * 40, "", 9, THEIRS | 1 << HERE_SLOT, 0
        )
    )
    node.cluster.bus.perform()
    assert node.error("EXEC") == f"MOVED {HERE_SLOT} 127.0.0.2:7001"


def test_an_unassigned_slot_is_down(node: ClusterNode) -> None:
    node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    assert node.ask("CLUSTER", "DELSLOTS", HERE_SLOT) == b"OK"
    assert node.error("GET", HERE) == "CLUSTERDOWN Hash slot not served"


def test_a_cluster_that_is_down_says_so_and_reads_only_if_allowed(node: ClusterNode) -> None:
    node.core.mark_failed(node.core.nodes[OTHER], origin=False)
    node.cluster.bus.perform()
    assert node.error("GET", HERE) == "CLUSTERDOWN The cluster is down"
    node.ask("CONFIG", "SET", "cluster-allow-reads-when-down", "yes")
    assert node.ask("GET", HERE) is None
    assert node.error("SET", HERE, 1) == "CLUSTERDOWN The cluster is down and only accepts read commands"
    node.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    assert node.ask("SET", HERE, 1) == b"OK"


def test_a_replica_reads_for_who_said_readonly(node: ClusterNode) -> None:
    assert node.ask("CLUSTER", "FLUSHSLOTS") == b"OK"
    node.core.merge(
        NodeRecord(OTHER, 2, "127.0.0.2", 7001, 17001, "b.example", "", "b" * 40, "", 2, bitmap.ALL_SLOTS, 0)
    )
    assert node.ask("CLUSTER", "REPLICATE", OTHER) == b"OK"
    assert node.error("GET", HERE).startswith("MOVED")
    assert node.ask("READONLY") == b"OK"
    assert node.ask("GET", HERE) is None
    assert node.error("SET", HERE, 1).startswith("MOVED")
    assert node.ask("READWRITE") == b"OK"
    assert node.error("GET", HERE).startswith("MOVED")


def test_a_parked_client_is_redirected_when_its_slot_goes(node: ClusterNode) -> None:
    assert node.ask("BLPOP", HERE, 0) is False
    node.core.merge(
        NodeRecord(OTHER, 2, "127.0.0.2", 7001, 17001, "", "", "b" * 40, "", 9, THEIRS | 1 << HERE_SLOT, 0)
    )
    node.cluster.bus.perform()
    assert bytes(node.client.out) == f"-MOVED {HERE_SLOT} 127.0.0.2:7001\r\n".encode()


def test_slots_and_shards_have_redis_shapes(node: ClusterNode) -> None:
    first, second = node.ask("CLUSTER", "SLOTS")
    assert first[:2] == [0, 8191]
    assert first[2] == [b"127.0.0.1", node.server.config.port, node.cluster.my_id.encode(), []]
    assert second[2] == [b"127.0.0.2", 7001, OTHER.encode(), [b"hostname", b"b.example"]]
    assert len(second) == 3, "a replica that has replicated nothing yet is not shown"
    shard = dict(zip(*[iter(node.ask("CLUSTER", "SHARDS")[1])] * 2, strict=True))
    assert shard[b"slots"] == [8192, 16383]
    roles = [dict(zip(*[iter(member)] * 2, strict=True)) for member in shard[b"nodes"]]
    assert [role[b"role"] for role in roles] == [b"master", b"replica"]
    assert roles[1][b"health"] == b"loading"


def test_info_counts_slots_and_nodes(node: ClusterNode) -> None:
    lines = node.ask("CLUSTER", "INFO").decode().split("\r\n")
    info = dict(line.split(":") for line in lines if line)
    assert info["cluster_state"] == "ok"
    assert info["cluster_slots_assigned"] == info["cluster_slots_ok"] == "16384"
    assert (info["cluster_known_nodes"], info["cluster_size"]) == ("3", "2")


def test_keys_in_slots_are_counted_and_listed(node: ClusterNode) -> None:
    for tail in ("a", "b", "c"):
        node.ask("SET", HERE + tail, 1)
    assert node.ask("CLUSTER", "COUNTKEYSINSLOT", HERE_SLOT) == 3
    assert len(node.ask("CLUSTER", "GETKEYSINSLOT", HERE_SLOT, 2)) == 2
    assert node.ask("CLUSTER", "KEYSLOT", HERE) == HERE_SLOT


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("ADDSLOTS", "x"), "ERR Invalid or out of range slot"),
        (("ADDSLOTS", "16384"), "ERR Invalid or out of range slot"),
        (("ADDSLOTSRANGE", "5", "1"), "ERR start slot number 5 is greater than end slot number 1"),
        (
            ("ADDSLOTSRANGE", "5", "1", "3"),
            "ERR wrong number of arguments for 'cluster|addslotsrange' command",
        ),
        (("COUNTKEYSINSLOT", "-1"), "ERR Invalid slot"),
        (("GETKEYSINSLOT", "1", "-1"), "ERR Invalid slot or number of keys"),
        (
            ("SETSLOT", "1", "WHAT"),
            "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
        ),
        (("FAILOVER", "LATER"), "ERR syntax error"),
        (("RESET", "NOW"), "ERR syntax error"),
        (("REPLICAS", REPLICA), "ERR The specified node is not a master"),
        (("REPLICAS", "x"), "ERR Unknown node x"),
        (("MEET", "127.0.0.9", "x"), "ERR Invalid base port specified: x"),
        (("MEET", "127.0.0.9", "1", "x"), "ERR Invalid bus port specified: x"),
        (("SET-CONFIG-EPOCH", "x"), "ERR value is not an integer or out of range"),
    ],
)
def test_arguments_are_refused_with_redis_texts(node: ClusterNode, args: tuple[str, ...], text: str) -> None:
    assert node.error("CLUSTER", *args) == text


def test_a_node_without_a_cluster_refuses() -> None:
    server = Server(Config())
    client = Client(server, 1)
    for command in ([b"CLUSTER", b"INFO"], [b"ASKING"], [b"READONLY"]):
        client.out.clear()
        server.dispatcher.run(client, [command])
        assert bytes(client.out) == b"-ERR This instance has cluster support disabled\r\n"


def test_a_second_node_on_the_same_file_is_refused(node: ClusterNode, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="already used by a different Redis Cluster node"):
        ClusterNode(tmp_path)


def test_a_restarted_node_is_the_same(tmp_path: Path) -> None:
    first = ClusterNode(tmp_path)
    name = first.cluster.my_id
    first.cluster.bus.close()
    second = ClusterNode(tmp_path)
    assert second.cluster.my_id == name
    assert {OTHER, REPLICA} <= set(second.core.nodes)
    assert not second.core.health.ok, "it has to hear a majority before it serves"
    second.cluster.bus.close()
