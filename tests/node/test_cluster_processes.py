"""The bus between real processes: joining, failover, manual failover, secrets, and restarts from nodes.conf."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyredis_cluster.client.errors import ClientError
from pyredis_cluster.gossip.slots import SLOT_COUNT

from ..conftest import Processes, ServerProcess, wait_until

KEY = "{x}key"


class Processed:
    """`primaries` share all slots; `replicas[i]` follows `primaries[i]`."""

    def __init__(self, processes: Processes, primaries: int, **options: str) -> None:
        def start() -> ServerProcess:
            return processes.node(cluster_enabled="yes", repl_diskless_sync_delay="0", **options)

        self.primaries = [start() for _ in range(primaries)]
        self.replicas = [start() for _ in range(primaries)]
        self.nodes = self.primaries + self.replicas
        share = -(-SLOT_COUNT // primaries)
        for index, node in enumerate(self.primaries):
            last = min((index + 1) * share, SLOT_COUNT) - 1
            node.call("CLUSTER", "ADDSLOTSRANGE", index * share, last)
        for node in self.nodes[1:]:
            node.call("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(
            lambda: all(info(node)["cluster_known_nodes"] == str(len(self.nodes)) for node in self.nodes),
            "joined",
        )
        for primary, replica in zip(self.primaries, self.replicas, strict=True):
            replica.call("CLUSTER", "REPLICATE", primary.call("CLUSTER", "MYID"))
        self.wait_until_ok()

    def wait_until_ok(self) -> None:
        def ok() -> bool:
            return all(info(node)["cluster_state"] == "ok" and in_sync(node) for node in self.nodes)

        wait_until(ok, "all nodes are ok")


def info(node: ServerProcess) -> dict[str, str]:
    lines = node.call("CLUSTER", "INFO").decode().split("\r\n")
    return dict(line.split(":", 1) for line in lines if line)


def in_sync(node: ServerProcess) -> bool:
    fields = node.info("replication")
    return fields["role"] == "master" or fields.get("master_link_status") == "up"


def writable(node: ServerProcess, key: str = KEY) -> bool:
    try:
        node.call("SET", key, "v")
    except ClientError:
        return False
    return True


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path)
    yield found
    found.stop()


def test_a_killed_primary_is_replaced_within_a_second_and_comes_back_as_a_replica(
    processes: Processes,
) -> None:
    cluster = Processed(processes, 3)
    old, new = cluster.primaries[0], cluster.replicas[0]
    key = next(key for key in map(str, range(100)) if writable(old, key))
    wait_until(
        lambda: new.info("replication")["slave_repl_offset"] == old.info("replication")["master_repl_offset"],
        "",
    )
    start = time.monotonic()
    old.kill()
    wait_until(lambda: writable(new, key), "the successor takes writes", 5.0)
    assert time.monotonic() - start < 2.0, "the usual time is a tenth of that"
    old.start()
    cluster.wait_until_ok()
    assert old.info("replication")["role"] == "slave"
    assert info(old)["cluster_known_nodes"] == "6"
    report = new.info("cluster")
    stages = dict(part.split("=") for part in report["cluster_last_failover"].split(","))
    assert stages["kind"] == "automatic"
    assert stages["primary"] == old.call("CLUSTER", "MYID").decode()
    times = [float(stages[name]) for name in ("failed", "election", "elected", "promoted", "first_write")]
    assert times == sorted(times)
    assert float(stages.get("suspected", 0)) <= times[0], "unless others were faster to suspect it"
    assert report["cluster_stats_elections_won"] == "1"
    assert report["cluster_bus_tcp_port"] in ("listening", "retrying")
    assert int(report["cluster_stats_probes_answered"]) > 0
    assert report["cluster_peer4"].startswith("id=")
    assert all(line.count(":") == 1 for line in new.call("CLUSTER", "INFO").decode().splitlines() if line)


def test_a_replica_keeps_its_data_from_an_empty_node_that_comes_up_in_its_primarys_place(processes: Processes) -> None:
    cluster = Processed(processes, 1)
    (primary,), (replica,) = cluster.primaries, cluster.replicas
    primary.call("SET", KEY, "v")
    wait_until(lambda: replica.call("DBSIZE") == 1, "the key is replicated")
    primary.kill()
    for path in primary.directory.glob("nodes*"):
        path.unlink()
    primary.start()
    wait_until(lambda: "is not our master" in replica.log(), "the replica has asked who that is")
    assert replica.call("DBSIZE") == 1
    assert replica.info("replication")["master_link_status"] == "down"


def test_one_shard_with_two_replicas_survives_a_frozen_primary(processes: Processes) -> None:
    cluster = Processed(processes, 1, cluster_node_timeout="500")
    third = processes.node(cluster_enabled="yes", repl_diskless_sync_delay="0", cluster_node_timeout="500")
    third.call("CLUSTER", "MEET", "127.0.0.1", cluster.primaries[0].port)
    wait_until(lambda: info(third)["cluster_known_nodes"] == "3", "joined")
    third.call("CLUSTER", "REPLICATE", cluster.primaries[0].call("CLUSTER", "MYID"))
    wait_until(lambda: in_sync(third), "in sync")
    cluster.primaries[0].kill(signal.SIGSTOP)
    survivors = [cluster.replicas[0], third]

    def failed_over() -> bool:
        return any(node.info("replication")["role"] == "master" and writable(node) for node in survivors)

    wait_until(failed_over, "failed over", 10.0)
    cluster.primaries[0].kill(signal.SIGCONT)
    with pytest.raises(ClientError):
        cluster.primaries[0].call("SET", KEY, 2)
    wait_until(
        lambda: cluster.primaries[0].info("replication")["role"] == "slave", "it follows its successor"
    )


def test_a_manual_failover_moves_the_role_and_keeps_the_data(processes: Processes) -> None:
    cluster = Processed(processes, 1)
    old, new = cluster.primaries[0], cluster.replicas[0]
    for number in range(100):
        old.call("SET", f"{KEY}{number}", number)
    assert new.call("CLUSTER", "FAILOVER") == b"OK"
    wait_until(lambda: new.info("replication")["role"] == "master", "promoted", 5.0)
    wait_until(lambda: old.info("replication")["role"] == "slave", "demoted", 5.0)
    assert new.call("DBSIZE") == 100
    stages = dict(part.split("=") for part in info(new)["cluster_last_failover"].split(","))
    times = {name: float(stages[name]) for name in ("requested", "paused", "caught_up", "elected", "promoted")}
    assert [*times.values()] == sorted(times.values())
    assert times["paused"] <= float(stages["election"]) <= times["elected"]
    wait_until(lambda: writable(new), "writable", 5.0)


def test_a_spare_replica_moves_to_a_primary_that_lost_its_only_one(processes: Processes) -> None:
    cluster = Processed(processes, 2)
    rich, poor = cluster.primaries
    spare = processes.node(cluster_enabled="yes", repl_diskless_sync_delay="0")
    spare.call("CLUSTER", "MEET", "127.0.0.1", rich.port)
    wait_until(lambda: info(spare)["cluster_known_nodes"] == "5", "joined")
    spare.call("CLUSTER", "REPLICATE", rich.call("CLUSTER", "MYID"))
    cluster.nodes.append(spare)
    cluster.wait_until_ok()
    cluster.replicas[1].kill()

    def follower() -> ServerProcess | None:
        spares = (cluster.replicas[0], spare)
        return next((one for one in spares if one.info("replication")["master_port"] == str(poor.port)), None)

    moved = wait_until(follower, "one of the two replicas moved")
    wait_until(lambda: in_sync(moved), "in sync")
    assert poor.call("SET", next(key for key in map(str, range(100)) if writable(poor, key)), 1) == b"OK"


def test_a_node_with_another_secret_does_not_get_in(processes: Processes) -> None:
    member = processes.node(cluster_enabled="yes", cluster_secret="one")
    stranger = processes.node(cluster_enabled="yes", cluster_secret="two")
    stranger.call("CLUSTER", "MEET", "127.0.0.1", member.port)
    wait_until(
        lambda: int(info(member).get("cluster_stats_messages_dropped_tag", 0)) > 0, "dropped and counted"
    )
    assert info(member)["cluster_known_nodes"] == info(stranger)["cluster_known_nodes"] == "1"


def test_a_whole_cluster_restarts_as_it_was(processes: Processes) -> None:
    cluster = Processed(processes, 1)
    before = {node.port: node.call("CLUSTER", "MYID") for node in cluster.nodes}
    epoch = info(cluster.primaries[0])["cluster_current_epoch"]
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        node.start()
    cluster.wait_until_ok()
    assert {node.port: node.call("CLUSTER", "MYID") for node in cluster.nodes} == before
    assert cluster.primaries[0].info("replication")["role"] == "master"
    assert info(cluster.primaries[0])["cluster_current_epoch"] == epoch


@pytest.mark.parametrize("saved", [True, False])
def test_replicas_that_restart_without_their_primary_elect_one_with_saved_data(
    processes: Processes, saved: bool
) -> None:
    cluster = Processed(processes, 1, save="", cluster_node_timeout="500")
    old, second = cluster.primaries[0], cluster.replicas[0]
    third = processes.node(cluster_enabled="yes", repl_diskless_sync_delay="0", save="", cluster_node_timeout="500")
    third.call("CLUSTER", "MEET", "127.0.0.1", old.port)
    nodes = [old, second, third]
    wait_until(lambda: all(info(node)["cluster_known_nodes"] == "3" for node in nodes), "joined")
    third.call("CLUSTER", "REPLICATE", old.call("CLUSTER", "MYID"))
    old.call("SET", KEY, "kept")
    replicas = [second, third]
    wait_until(lambda: all(node.call("DBSIZE") == 1 for node in replicas), "in sync")
    epoch = info(old)["cluster_current_epoch"]
    for node in replicas:
        if saved:
            node.call("SAVE")
    for node in [*replicas, old]:
        node.kill()
    for node in replicas:
        node.start()
    if saved:
        wait_until(lambda: any(node.info("replication")["role"] == "master" for node in replicas), "failed over")
        (new,) = [node for node in replicas if node.info("replication")["role"] == "master"]
        wait_until(lambda: info(new)["cluster_state"] == "ok", "ok")
        assert new.call("GET", KEY) == b"kept"
    else:
        wait_until(lambda: all(info(node)["cluster_slots_fail"] == str(SLOT_COUNT) for node in replicas), "failed")
        old.start()
        wait_until(lambda: all(info(node)["cluster_state"] == "ok" for node in cluster.nodes), "ok")
        assert info(old)["cluster_current_epoch"] == epoch, "replicas without data have called an election"


def test_forgotten_on_one_node_is_forgotten_on_all(processes: Processes) -> None:
    cluster = Processed(processes, 2)
    gone = cluster.replicas[1]
    cluster.primaries[0].call("CLUSTER", "FORGET", gone.call("CLUSTER", "MYID"))
    rest = [node for node in cluster.nodes if node is not gone]
    wait_until(lambda: all(info(node)["cluster_known_nodes"] == "3" for node in rest), "forgotten everywhere")


def test_a_primary_that_is_busy_for_a_second_and_a_half_stays_one_and_a_frozen_one_does_not(
    processes: Processes,
) -> None:
    """With default settings: a long command is no death, but silence for longer than the node timeout is."""
    cluster = Processed(processes, 3, enable_debug_command="yes")
    busy, standby = cluster.primaries[0], cluster.replicas[0]
    before = {node.port: info(node) for node in cluster.nodes}
    assert busy.call("DEBUG", "SLEEP", "1.5") == b"OK"
    answered = int(info(busy)["cluster_stats_probes_answered"])
    wait_until(lambda: int(info(busy)["cluster_stats_probes_answered"]) > answered + 4, "it is back")
    for node in cluster.nodes:
        for name in ("cluster_stats_failures", "cluster_stats_elections", "cluster_stats_promotions"):
            assert info(node)[name] == before[node.port][name]
    busy.kill(signal.SIGSTOP)
    wait_until(lambda: standby.info("replication")["role"] == "master", "the frozen one is replaced", 10.0)
    busy.kill(signal.SIGCONT)
    wait_until(lambda: busy.info("replication")["role"] == "slave", "it follows its successor")
