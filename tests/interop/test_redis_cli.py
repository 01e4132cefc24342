"""redis-cli as the operator's tool: every `--cluster` command runs against our nodes as against Redis's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..conftest import wait_until

RunningNodes = Any
Processes = Any

KEYS = 300
UNCOVERED = 3000
"""A slot that a test takes from its owner and lets `fix` give back."""


@pytest.fixture(scope="module")
def nodes(start_nodes: Callable[..., RunningNodes]) -> RunningNodes:
    """Six nodes that `redis-cli --cluster create` made a cluster of, with some keys of several types."""
    made = start_nodes([])
    shown = made.manage("create", *made.addresses(), "--cluster-replicas", "1", "--cluster-yes")
    assert "[OK] All nodes agree about slots configuration." in shown
    assert "[OK] All 16384 slots covered." in shown
    made.wait_until_agreed()
    lines = []
    for number in range(KEYS):
        lines += [f"SET key:{number} value:{number}", f"RPUSH list:{number} a b c", f"EXPIRE list:{number} 10000"]
    made.cli("-c", text="\n".join(lines) + "\n")
    return made


def check(nodes: RunningNodes) -> str:
    """check(nodes) -> what `--cluster check` says, which must be that all is well."""
    nodes.wait_until_agreed()
    shown: str = nodes.manage("check", nodes.addresses()[0])
    assert "[OK] All nodes agree about slots configuration." in shown, shown
    assert "[OK] All 16384 slots covered." in shown, shown
    assert f"[OK] {2 * KEYS} keys in 3 masters." in shown, shown
    assert "[ERR]" not in shown and "[WARNING]" not in shown, shown
    return shown


def assert_nothing_lost(nodes: RunningNodes) -> None:
    got = nodes.cli("-c", text="".join(f"GET key:{number}\n" for number in range(KEYS)))
    values = [line for line in got.splitlines() if not line.startswith("->")]
    assert values == [f"value:{number}" for number in range(KEYS)]
    ttls = nodes.cli("-c", text="".join(f"TTL list:{number}\n" for number in range(KEYS)))
    assert all(9000 < int(line) <= 10000 for line in ttls.splitlines() if not line.startswith("->"))
    assert sum(nodes.call(port, "DBSIZE") for port in nodes.primaries()) == 2 * KEYS


def test_create_makes_three_primaries_with_a_replica_each(nodes: RunningNodes) -> None:
    lines = nodes.nodes(nodes.port)
    assert sum("master" in words[2] for words in lines) == 3
    assert sum("slave" in words[2] for words in lines) == 3
    check(nodes)


def test_info_counts_keys_slots_and_replicas(nodes: RunningNodes) -> None:
    shown = nodes.manage("info", nodes.addresses()[0])
    assert len(re.findall(r"-> \d+ keys \| \d+ slots \| 1 slaves\.", shown)) == 3
    assert f"[OK] {2 * KEYS} keys in 3 masters." in shown


def test_redis_cli_follows_redirects(nodes: RunningNodes) -> None:
    shown = nodes.cli("-c", text="SET a 1\nSET b 2\nGET a\nGET b\n")
    assert shown.split()[-1] == "2"
    nodes.cli("-c", "DEL", "a")
    nodes.cli("-c", "DEL", "b")


def test_check_finds_no_slot_with_two_owners(nodes: RunningNodes) -> None:
    shown = nodes.manage("check", nodes.addresses()[0], "--cluster-search-multiple-owners")
    assert "[OK] No multiple owners found." in shown


def test_call_reaches_every_node_or_the_primaries_only(nodes: RunningNodes) -> None:
    assert nodes.manage("call", nodes.addresses()[0], "PING").count("PONG") == 6
    assert nodes.manage("call", nodes.addresses()[0], "PING", "--cluster-only-masters").count("PONG") == 3


def test_set_timeout_changes_every_node(nodes: RunningNodes) -> None:
    shown = nodes.manage("set-timeout", nodes.addresses()[0], "2500")
    assert "6 OK, 0 ERR" in shown
    for port in nodes.ports:
        assert nodes.call(port, "CONFIG", "GET", "cluster-node-timeout")[1] == b"2500"


def reshard(nodes: RunningNodes, source: int, target: int, slots: int) -> None:
    nodes.manage(
        "reshard", nodes.addresses()[0], "--cluster-from", nodes.node_id(source), "--cluster-to",
        nodes.node_id(target), "--cluster-slots", str(slots), "--cluster-yes", "--cluster-pipeline", "20",
    )  # fmt: skip
    nodes.wait_until_agreed()


def test_reshard_moves_slots_with_their_keys(nodes: RunningNodes) -> None:
    source, target, _ = nodes.primaries()
    before = nodes.slot_count(target)
    reshard(nodes, source, target, 300)
    check(nodes)
    assert nodes.slot_count(target) == before + 300
    assert_nothing_lost(nodes)


def test_rebalance_evens_out(nodes: RunningNodes) -> None:
    nodes.manage("rebalance", nodes.addresses()[0], "--cluster-threshold", "1")
    check(nodes)
    counts = [nodes.slot_count(port) for port in nodes.primaries()]
    assert max(counts) - min(counts) < 100
    assert_nothing_lost(nodes)


def test_fix_closes_an_open_slot_of_an_interrupted_reshard(nodes: RunningNodes) -> None:
    slot = nodes.call(nodes.port, "CLUSTER", "KEYSLOT", "key:1")
    source = nodes.owners(nodes.port)[slot]
    target = next(port for port in nodes.primaries() if port != source)
    nodes.call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", nodes.node_id(source))
    nodes.call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", nodes.node_id(target))
    nodes.call(source, "MIGRATE", "127.0.0.1", target, "key:1", 0, 5000)
    open_slot = nodes.run("redis-cli", "--cluster", "check", nodes.addresses()[0])
    assert open_slot.returncode == 1
    assert f"has slots in migrating state {slot}" in open_slot.stdout
    assert f"has slots in importing state {slot}" in open_slot.stdout
    nodes.manage("fix", nodes.addresses()[0])
    check(nodes)
    assert_nothing_lost(nodes)


def test_fix_closes_a_slot_that_only_imports(nodes: RunningNodes) -> None:
    slot = nodes.call(nodes.port, "CLUSTER", "KEYSLOT", "key:2")
    source = nodes.owners(nodes.port)[slot]
    target = next(port for port in nodes.primaries() if port != source)
    nodes.call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", nodes.node_id(source))
    nodes.manage("fix", nodes.addresses()[0])
    check(nodes)
    assert_nothing_lost(nodes)


def test_fix_covers_a_slot_that_nobody_owns(nodes: RunningNodes) -> None:
    owner = nodes.owners(nodes.port)[UNCOVERED]
    nodes.call(owner, "CLUSTER", "DELSLOTS", UNCOVERED)
    wait_until(lambda: all(UNCOVERED not in nodes.owners(port) for port in nodes.ports), "the slot is unbound")
    nodes.manage("fix", nodes.addresses()[0], text="yes\n")
    check(nodes)
    assert_nothing_lost(nodes)


def test_add_node_and_del_node(nodes: RunningNodes) -> None:
    fresh = nodes.extra_node()
    nodes.manage("add-node", f"127.0.0.1:{fresh}", nodes.addresses()[0])
    wait_until(lambda: all(len(nodes.nodes(port)) == 7 for port in nodes.ports), "all nodes know each other")
    source = nodes.primaries()[0]
    reshard(nodes, source, fresh, 100)
    assert nodes.slot_count(fresh) == 100
    assert_nothing_lost(nodes)
    refused = nodes.run("redis-cli", "--cluster", "del-node", nodes.addresses()[0], nodes.node_id(fresh))
    assert "is not empty" in refused.stdout
    reshard(nodes, fresh, source, 100)
    nodes.manage("del-node", nodes.addresses()[0], nodes.node_id(fresh))
    nodes.remove(fresh)
    wait_until(lambda: len(nodes.nodes(nodes.port)) == 6, "the node is forgotten")
    check(nodes)
    assert_nothing_lost(nodes)


def test_add_node_as_a_replica(nodes: RunningNodes) -> None:
    fresh = nodes.extra_node()
    primary = nodes.primaries()[1]
    nodes.manage(
        "add-node", f"127.0.0.1:{fresh}", nodes.addresses()[0], "--cluster-slave", "--cluster-master-id",
        nodes.node_id(primary),
    )  # fmt: skip
    wait_until(lambda: b"master_link_status:up" in nodes.call(fresh, "INFO", "replication"), "the replica is in sync")
    wait_until(lambda: nodes.call(fresh, "DBSIZE") == nodes.call(primary, "DBSIZE"), "the replica has the keys")
    nodes.manage("del-node", nodes.addresses()[0], nodes.node_id(fresh))
    nodes.remove(fresh)
    wait_until(lambda: len(nodes.nodes(nodes.port)) == 6, "the replica is forgotten")
    check(nodes)


def test_import_brings_the_keys_of_a_redis_server(nodes: RunningNodes, processes: Processes) -> None:
    source = processes.redis()
    for number in range(50):
        source.call("HSET", f"imported:{number}", "field", number)
    shown = nodes.manage("import", nodes.addresses()[0], "--cluster-from", f"127.0.0.1:{source.port}")
    assert "*** Importing 50 keys from DB 0" in shown
    assert source.call("DBSIZE") == 0
    got = nodes.cli("-c", text="".join(f"HGET imported:{number} field\n" for number in range(50)))
    assert [line for line in got.splitlines() if not line.startswith("->")] == [str(number) for number in range(50)]
    nodes.cli("-c", text="".join(f"DEL imported:{number}\n" for number in range(50)))


def test_backup_saves_every_primary_and_the_layout(nodes: RunningNodes, tmp_path: Path, processes: Processes) -> None:
    shown = nodes.manage("backup", nodes.addresses()[0], str(tmp_path))
    assert "[OK] Backup created into" in shown
    layout = json.loads((tmp_path / "nodes.json").read_text())
    assert len(layout) == 6
    files = sorted(tmp_path.glob("*.rdb"))
    assert len(files) == 3
    total = 0
    for file in files:
        checked = nodes.run("redis-check-rdb", str(file))
        assert checked.returncode == 0, checked.stdout
        total += int(re.findall(r"(\d+) keys read", checked.stdout)[0])
    assert total == 2 * KEYS
