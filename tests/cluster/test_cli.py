"""The command line as an operator meets it: messages, exit codes, and a real cluster from create to destroy."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pyredis_cluster import processes
from pyredis_cluster.admin import Access
from pyredis_cluster.cli import cli
from pyredis_cluster.client.blocking_driver import ClusterClient
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.launcher import LocalCluster, NodeCommand
from pyredis_cluster.options import Operator
from pyredis_cluster.topology import Topology, read_topology

from ..conftest import free_port, wait_until

KEY_COUNT = 2_000


def run(*args: object, command: NodeCommand | None = None, answer: str | None = None) -> Result:
    operator = Operator(node_command=command or NodeCommand())
    return CliRunner().invoke(cli, [str(arg) for arg in args], obj=operator, input=answer)


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that are free, with their bus ports."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + count):
                for number in (port, port + 10_000):
                    with socket.socket() as probe:
                        probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        return first


# --- without a cluster


def test_without_a_cluster_the_message_says_how_to_make_one(tmp_path: Path) -> None:
    result = run("status", "--dir", tmp_path)
    assert result.exit_code == 1
    assert "there is no cluster in" in result.output
    assert "`pyredis-cluster create` makes one" in result.output


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("create", "nowhere"), "'nowhere' is not an address of the form HOST:PORT"),
        (("create", "127.0.0.1:7000", "--nodes", "3"), "no local nodes are started"),
        (("create", "--set", "appendonly"), "'appendonly' is not of the form NAME=VALUE"),
        (("create", "--nodes", "0"), "0 is not in the range"),
        (("status", "--watch", "--json", "--cluster", "7000"), "don't go together"),
        (("reshard", "--slots", "5"), "Missing option '--to'"),
        (("rebalance", "--weight", "7000"), "not of the form NODE=WEIGHT"),
        (("add-node", "7000", "--port", "7001", "--cluster", "7002"), "--port is for a new local node"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(args: tuple[str, ...], text: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert text in result.output


def test_too_few_nodes_start_nothing(tmp_path: Path) -> None:
    result = run("create", "--nodes", 1, "--dir", tmp_path / "c")
    assert result.exit_code == 1
    assert "2 nodes are needed for each shard" in result.output
    assert not (tmp_path / "c").exists()


def test_a_taken_port_starts_nothing(tmp_path: Path) -> None:
    port = free_ports(3)
    with socket.create_server(("127.0.0.1", port + 1)):
        result = run("create", "--nodes", 2, "--replicas", 0, "--port", port, "--dir", tmp_path / "c")
    assert result.exit_code == 1
    assert f"port {port + 1} on 127.0.0.1 can't be used" in result.output
    assert not (tmp_path / "c").exists()


def test_a_node_that_dies_at_start_shows_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    dying = NodeCommand((sys.executable, "-c", "print('*** FATAL CONFIG FILE ERROR ***'); raise SystemExit(1)"))
    directory = tmp_path / "c"
    result = run("create", "--port", free_ports(6), "--dir", directory, command=dying)
    assert result.exit_code == 1
    assert "*** FATAL CONFIG FILE ERROR ***" in result.output
    assert not directory.exists()


def test_a_setting_that_the_node_refuses_is_shown_in_its_own_words(tmp_path: Path) -> None:
    result = run("create", "--port", free_ports(6), "--dir", tmp_path / "c", "--set", "no-such-directive=1")
    assert result.exit_code == 1
    assert "no-such-directive" in result.output
    assert not (tmp_path / "c").exists()


def test_running_nodes_that_do_not_answer_are_named(tmp_path: Path) -> None:
    port = free_port()
    result = run("create", f"127.0.0.1:{port}", "--replicas", 0)
    assert result.exit_code == 1
    assert f"can't connect to 127.0.0.1:{port}" in result.output


def test_help_lists_the_commands_in_the_order_of_their_life() -> None:
    output = run("--help").output
    positions = [output.index(f"\n  {name} ") for name in ("create", "status", "reshard", "stop", "destroy", "chaos")]
    assert positions == sorted(positions)


# --- with one cluster of six nodes, which each test leaves whole


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("cli") / "cluster"
    result = run("create", "--port", free_ports(6), "--dir", directory, "--set", "save=")
    assert result.exit_code == 0, result.output
    assert "6 nodes run" in result.output
    with client_of(directory) as client:
        pipeline = client.pipeline()
        for number in range(KEY_COUNT):
            pipeline.set(f"key:{number}", number)
        pipeline.execute()
    yield directory
    assert run("destroy", "--yes", "--dir", directory).exit_code == 0


def client_of(directory: Path) -> ClusterClient:
    return ClusterClient(startup_nodes=[(a.host, a.port) for a in LocalCluster.load(directory).addresses])


def topology_of(directory: Path) -> Topology:
    return read_topology(LocalCluster.load(directory).addresses, Access())


def all_keys_are_there(directory: Path) -> bool:
    with client_of(directory) as client:
        names = [f"key:{number}" for number in range(KEY_COUNT)]
        return bool(client.execute("EXISTS", *names) == KEY_COUNT)


def is_whole(directory: Path) -> bool:
    return run("check", "--dir", directory).exit_code == 0


def status_of(directory: Path) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(run("status", "--json", "--dir", directory).output)
    return status


def test_the_new_cluster_is_ok_in_every_nodes_eyes(directory: Path) -> None:
    status = status_of(directory)
    assert (status["state"], status["slots_covered"], len(status["shards"])) == ("ok", 16384, 3)
    assert [shard["ranges"] for shard in status["shards"]] == [[[0, 5460]], [[5461, 10922]], [[10923, 16383]]]
    assert all(len(shard["replicas"]) == 1 for shard in status["shards"])
    assert is_whole(directory)


def test_the_status_shows_nodes_and_slot_map(directory: Path) -> None:
    port = LocalCluster.load(directory).nodes[0].port
    for where in (("--dir", directory), (f"127.0.0.1:{port}",)):
        output = run("status", *where).output
        assert "cluster ok" in output
        assert f"127.0.0.1:{port}" in output
        assert "█" * 60 in output


def test_a_second_create_in_the_same_directory_is_refused_and_harms_nothing(directory: Path) -> None:
    result = run("create", "--port", free_ports(6), "--dir", directory)
    assert result.exit_code == 1
    assert "already holds a cluster" in result.output
    assert is_whole(directory)


def test_call_runs_a_command_on_every_node(directory: Path) -> None:
    output = run("call", "--dir", directory, "ping").output
    assert output.count("PONG") == 6
    assert run("call", "--dir", directory, "--primaries", "ping").output.count("PONG") == 3
    assert run("call", "--dir", directory, "no-such-command").exit_code == 1


def test_reshard_moves_slots_with_their_keys(directory: Path) -> None:
    with topology_of(directory) as topology:
        source, target = topology.primaries[0], topology.primaries[1]
        before = len(topology.owned[target.node_id])
    args = ("reshard", "--from", source.node_id, "--to", target.address.port, "--slots", 300, "--dir", directory)
    assert run(*args, answer="n\n").exit_code == 1
    result = run(*args, "--yes")
    assert result.exit_code == 0, result.output
    assert "300 slots and" in result.output
    with topology_of(directory) as topology:
        assert len(topology.owned[target.node_id]) == before + 300
    assert all_keys_are_there(directory)
    assert is_whole(directory)
    assert not list(directory.glob("reshard-*.json"))


def test_rebalance_evens_out_and_then_has_nothing_to_do(directory: Path) -> None:
    assert run("rebalance", "--threshold", 0, "--yes", "--dir", directory).exit_code == 0
    with topology_of(directory) as topology:
        sizes = [len(slots) for slots in topology.owned.values()]
    assert max(sizes) - min(sizes) <= 1
    assert "nothing to move" in run("rebalance", "--dir", directory).output
    assert all_keys_are_there(directory)


def test_failover_makes_the_replica_the_primary(directory: Path) -> None:
    with topology_of(directory) as topology:
        primary = topology.primaries[0]
        replica = topology.replicas_of(primary.node_id)[0]
    result = run("failover", primary.address.port, "--dir", directory)
    assert result.exit_code == 0, result.output
    assert f"{replica.address} ({replica.node_id[:8]}) is the primary" in result.output
    wait_until(lambda: is_whole(directory), "the cluster is whole after the failover")
    assert all_keys_are_there(directory)


def test_a_killed_node_is_found_by_check_and_started_again(directory: Path) -> None:
    port = LocalCluster.load(directory).nodes[-1].port
    assert run("kill", port, "--dir", directory).exit_code == 0
    result = run("check", "--dir", directory)
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} does not answer" in result.output
    assert "does not run" in run("kill", port, "--dir", directory).output
    result = run("start", "--dir", directory)
    assert "1 nodes started, 6 of 6 run" in result.output
    wait_until(lambda: is_whole(directory), "the cluster is whole after the start")


def test_fix_closes_open_slots_brings_keys_home_and_covers_what_is_uncovered(directory: Path) -> None:
    with topology_of(directory) as topology:
        giver, taker = topology.primaries[0], topology.primaries[1]
        owned = topology.owned[giver.node_id]
        loaded = next(slot for slot in (key_slot(b"key:%d" % number) for number in range(KEY_COUNT)) if slot in owned)
        # As redis-cli leaves it when it is killed in the middle of a slot.
        taker.link.call("CLUSTER", "SETSLOT", loaded, "IMPORTING", giver.node_id)
        giver.link.call("CLUSTER", "SETSLOT", loaded, "MIGRATING", taker.node_id)
        half_open = next(slot for slot in owned if slot != loaded)
        giver.link.call("CLUSTER", "SETSLOT", half_open, "MIGRATING", taker.node_id)
        uncovered = next(slot for slot in reversed(owned) if slot != loaded)
        for primary in topology.primaries:
            # Refused by those who have heard of it before they are asked.
            primary.link.pipeline([("CLUSTER", "DELSLOTS", uncovered)])
    result = run("check", "--dir", directory)
    assert result.exit_code == 1
    assert f"slots {loaded}: each was being moved" in result.output
    result = run("fix", "--yes", "--dir", directory)
    assert result.exit_code == 0, result.output
    assert "3 slots repaired" in result.output
    wait_until(lambda: is_whole(directory), "the cluster is whole after the fix")
    with topology_of(directory) as topology:
        assert topology.owners[loaded] == taker.node_id
    assert all_keys_are_there(directory)


def test_a_node_is_added_filled_emptied_and_removed(directory: Path) -> None:
    result = run("add-node", "--dir", directory)
    assert result.exit_code == 0, result.output
    port = LocalCluster.load(directory).nodes[-1].port
    assert f"127.0.0.1:{port}" in result.output
    assert run("rebalance", "--use-empty-primaries", "--yes", "--dir", directory).exit_code == 0
    refused = run("del-node", port, "--dir", directory)
    assert refused.exit_code == 1
    assert "still owns slots" in refused.output
    assert run("rebalance", "--weight", f"{port}=0", "--yes", "--dir", directory).exit_code == 0
    result = run("del-node", port, "--dir", directory)
    assert result.exit_code == 0, result.output
    assert len(LocalCluster.load(directory).nodes) == 6
    assert not (directory / str(port)).exists()
    assert all_keys_are_there(directory)
    wait_until(lambda: is_whole(directory), "the cluster is whole without the node")


def test_a_replica_is_added_to_the_primary_that_is_named(directory: Path) -> None:
    primary = LocalCluster.load(directory).nodes[0].port
    with topology_of(directory) as topology:
        member = topology.find(str(primary))
        primary_id = member.node_id if member.is_primary else member.myself.primary_id
    result = run("add-node", "--replica-of", primary_id, "--dir", directory)
    assert result.exit_code == 0, result.output
    port = LocalCluster.load(directory).nodes[-1].port
    with topology_of(directory) as topology:
        assert topology.find(str(port)).myself.primary_id == primary_id
    assert run("del-node", port, "--dir", directory).exit_code == 0
    wait_until(lambda: is_whole(directory), "the cluster is whole without the replica")


def test_stop_ends_all_processes_and_start_brings_the_cluster_back(directory: Path) -> None:
    handles = [node.process for node in LocalCluster.load(directory).nodes if node.process is not None]
    assert "0 of 6 run" in run("stop", "--dir", directory).output
    assert not any(processes.is_alive(handle) for handle in handles)
    assert "`pyredis-cluster start` starts them" in run("status", "--dir", directory).output
    result = run("start", "--dir", directory)
    assert result.exit_code == 0, result.output
    assert status_of(directory)["state"] == "ok"


def test_destroy_asks_before_it_removes_anything(directory: Path) -> None:
    assert run("destroy", "--dir", directory, answer="n\n").exit_code == 1
    assert is_whole(directory)


def test_no_process_of_the_cluster_belongs_to_this_session(directory: Path) -> None:
    node = LocalCluster.load(directory).nodes[0]
    assert node.process is not None
    assert os.getsid(node.process.pid) == node.process.pid


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--load",), "need --runs or --calm-minutes"),
        (("--json",), "need --runs or --calm-minutes"),
        (("--runs", "1", "--calm-minutes", "1"), "don't go together"),
    ],
)
def test_options_of_chaos_that_do_not_go_together(directory: Path, options: tuple[str, ...], text: str) -> None:
    result = run("chaos", "--dir", directory, *options)
    assert result.exit_code == 2
    assert text in result.output
