"""Faults of the process and its host: signals at bad moments, a full disk, torn files, garbage on the bus."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.errors import ClientError, ResponseError
from pyredis_cluster.client.resp import encode_command

from ..conftest import BUS_PORT_OFFSET, free_port, wait_until

Processes = Any
Node = Any
STOP_TIMEOUT_S = 20.0
SEED = 7
GARBAGE = 20_000


def wait_for_end(node: Node) -> int:
    return int(node.process.wait(STOP_TIMEOUT_S))


def populate(node: Node, keys: int, size: int = 10) -> None:
    node.call("CONFIG", "SET", "loglevel", "notice")
    with Connection("127.0.0.1", node.port) as link:
        assert link.call("DEBUG", "POPULATE", keys, "key", size) == b"OK"


def saving(node: Node) -> bool:
    return any(name.startswith("temp-") for name in os.listdir(node.directory))


def parked(node: Node, *args: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", node.port), timeout=STOP_TIMEOUT_S)
    sock.sendall(encode_command(list(args)))
    return sock


def wait_for(seconds: float, what: str) -> None:
    """Let so much time pass."""
    ends_at = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > ends_at, what)


def run_to_end(directory: Path, *options: str) -> tuple[int, str]:
    """run_to_end(directory, ...) -> (exit status, output) of a node that is not expected to stay."""
    command = [sys.executable, "-m", "pyredis_cluster.node", "--port", str(free_port()), "--dir", str(directory)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=STOP_TIMEOUT_S)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


# -- signals


def test_sigterm_under_load_with_parked_clients_saves_and_ends(processes: Processes) -> None:
    node = processes.node(save="3600 1", enable_debug_command="yes")
    populate(node, 1000)
    with (
        parked(node, b"BLPOP", b"q", b"0") as waiting,
        socket.create_connection(("127.0.0.1", node.port), timeout=STOP_TIMEOUT_S) as deaf,
        socket.create_connection(("127.0.0.1", node.port), timeout=STOP_TIMEOUT_S) as busy,
    ):
        deaf.sendall(encode_command([b"SET", b"big", b"x" * 1_000_000]) + encode_command([b"GET", b"big"]) * 20)
        wait_until(lambda: int(node.info("stats")["total_net_output_bytes"]) > 1_000_000, "output piles up")
        busy.sendall(encode_command([b"SET", b"k", b"v"]) * 20_000)
        node.process.send_signal(signal.SIGTERM)
        assert wait_for_end(node) == 0
        assert waiting.recv(1) == b""
    assert "ready to exit, bye bye" in node.log()
    assert "Traceback" not in node.log()
    node.start()
    assert int(node.call("DBSIZE")) >= 1001


def test_a_second_sigterm_changes_nothing(processes: Processes) -> None:
    node = processes.node(save="3600 1", enable_debug_command="yes")
    populate(node, 300_000)
    node.process.send_signal(signal.SIGTERM)
    wait_until(lambda: saving(node), "the last save began")
    node.process.send_signal(signal.SIGTERM)
    assert wait_for_end(node) == 0
    assert (node.directory / "dump.rdb").exists()


def test_a_second_sigint_ends_the_last_save(processes: Processes) -> None:
    node = processes.node(save="3600 1", enable_debug_command="yes")
    populate(node, 300_000)
    node.process.send_signal(signal.SIGINT)
    wait_until(lambda: saving(node), "the last save began")
    node.process.send_signal(signal.SIGINT)
    assert wait_for_end(node) == 1
    assert "You insist... exiting now." in node.log()
    assert not saving(node)
    assert not (node.directory / "dump.rdb").exists()


def test_a_hang_up_is_ignored(processes: Processes) -> None:
    node = processes.node()
    node.process.send_signal(signal.SIGHUP)
    assert node.call("PING") == b"PONG"


def test_sigterm_while_loading_ends_at_once_and_keeps_the_file(processes: Processes) -> None:
    node = processes.node(enable_debug_command="yes")
    populate(node, 50_000)
    node.call("SAVE")
    node.kill()
    saved = (node.directory / "dump.rdb").read_bytes()
    command = [sys.executable, "-m", "pyredis_cluster.node", "--port", str(node.port), "--dir", str(node.directory)]
    with open(node.log_path, "ab") as log:
        node.process = subprocess.Popen([*command, "--key-load-delay", "500"], stdout=log, stderr=log)
    wait_until(lambda: node.log().count("Server initialized") == 2, "it listens")
    with pytest.raises(ResponseError, match="LOADING"):
        node.call("GET", "k")
    started = time.monotonic()
    node.process.send_signal(signal.SIGTERM)
    assert wait_for_end(node) == 0
    assert time.monotonic() - started < 5
    assert (node.directory / "dump.rdb").read_bytes() == saved


def test_sigterm_during_bgsave_kills_the_child_and_leaves_no_file(processes: Processes) -> None:
    node = processes.node(rdb_key_save_delay="1000", enable_debug_command="yes")
    populate(node, 20_000)
    node.call("BGSAVE")
    wait_until(lambda: saving(node), "the child writes")
    node.process.send_signal(signal.SIGTERM)
    assert wait_for_end(node) == 0
    assert not saving(node)


def test_a_frozen_node_serves_what_waited_when_it_goes_on(processes: Processes) -> None:
    node = processes.node(timeout="1")
    with socket.create_connection(("127.0.0.1", node.port), timeout=STOP_TIMEOUT_S) as sock:
        sock.sendall(b"PING\r\n")
        assert sock.recv(100) == b"+PONG\r\n"
        wait_for(0.05, "the reactor is parked")
        node.process.send_signal(signal.SIGSTOP)
        sock.sendall(b"PING\r\n")
        wait_for(1.5, "it is frozen for longer than its idle timeout")
        node.process.send_signal(signal.SIGCONT)
        assert sock.recv(100) == b"+PONG\r\n"


# -- disks and files


def test_a_full_disk_refuses_writes_until_a_save_works_again(processes: Processes) -> None:
    node = processes.node(save="3600 1000000", enable_debug_command="yes")
    populate(node, 20_000)
    unlimited = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    with pytest.raises(ResponseError):
        node.call("SAVE")
    node.call("BGSAVE")
    wait_until(lambda: node.info("persistence")["rdb_last_bgsave_status"] == "err", "the save failed")
    with pytest.raises(ResponseError, match="MISCONF"):
        node.call("SET", "a", "1")
    assert node.call("GET", "a") is None
    assert not saving(node)
    node.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "can't exit" in node.log(), "the last save failed")
    with pytest.raises(ResponseError, match="Errors trying to SHUTDOWN"):
        node.call("SHUTDOWN")
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, unlimited)
    node.call("BGSAVE")
    wait_until(lambda: node.info("persistence")["rdb_last_bgsave_status"] == "ok", "the save worked")
    assert node.call("SET", "a", "1") == b"OK"


def test_a_kill_in_the_middle_of_a_save_leaves_the_old_file(processes: Processes) -> None:
    node = processes.node(enable_debug_command="yes")
    node.call("SET", "a", "1")
    node.call("SAVE")
    old = (node.directory / "dump.rdb").read_bytes()
    populate(node, 300_000)
    with parked(node, b"SAVE"):
        wait_until(lambda: saving(node), "the save began")
        node.kill()
    assert (node.directory / "dump.rdb").read_bytes() == old
    node.start()
    assert node.call("DBSIZE") == 1


@pytest.fixture(scope="module")
def rdb(module_processes: Processes) -> bytes:
    node = module_processes.node()
    node.call("SET", "a", "1" * 100)
    node.call("SAVE")
    return bytes((node.directory / "dump.rdb").read_bytes())


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda data: data[:-1], "unexpected end"),
        (lambda data: data[: len(data) // 2], "unexpected end"),
        (lambda data: b"", "unexpected end"),
        (lambda data: data[:-2] + bytes([data[-2] ^ 1, data[-1]]), "RDB CRC error"),
        (lambda data: b"no RDB file at all", "wrong signature"),
    ],
    ids=["one byte", "half", "empty", "checksum", "garbage"],
)
def test_a_torn_file_is_named_and_the_node_does_not_start(rdb: bytes, tmp_path: Path, damage: Any, text: str) -> None:
    (tmp_path / "dump.rdb").write_bytes(damage(rdb))
    status, output = run_to_end(tmp_path)
    assert status == 1
    assert "dump.rdb: " in output
    assert text in output
    assert (tmp_path / "dump.rdb").read_bytes() == damage(rdb)


def test_a_directory_that_takes_no_nodes_conf_is_named_at_start(tmp_path: Path) -> None:
    (tmp_path / "nodes.conf.lock").mkdir()
    status, output = run_to_end(tmp_path, "--cluster-enabled", "yes")
    assert status == 1
    assert "nodes.conf.lock in order to acquire a lock" in output


def test_a_node_that_cannot_save_nodes_conf_stops_at_once(processes: Processes) -> None:
    node = processes.node(cluster_enabled="yes")
    (node.directory / "nodes.conf").unlink()
    (node.directory / "nodes.conf").mkdir()
    with pytest.raises(ClientError):
        node.call("CLUSTER", "ADDSLOTS", 1)
    assert wait_for_end(node) == 1
    assert "can't update cluster config file" in node.log()


# -- the bus


def test_garbage_on_the_bus_is_dropped_and_clients_are_served(processes: Processes) -> None:
    node = processes.node(cluster_enabled="yes", cluster_secret="of-this-test")
    node.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    wait_until(lambda: b"cluster_state:ok" in node.call("CLUSTER", "INFO"), "the cluster is ok")
    address = ("127.0.0.1", node.port + BUS_PORT_OFFSET)
    rng = Random(SEED)
    datagrams = [rng.randbytes(size) for size in (0, 1, 9, 60, 1400, 4000)] + [b"\x01" + rng.randbytes(300)]
    slowest = 0.0
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        Connection("127.0.0.1", node.port) as client,
    ):
        for number in range(GARBAGE):
            sender.sendto(datagrams[number % len(datagrams)], address)
            if number % 200 == 0:
                started = time.monotonic()
                assert client.call("SET", "k", number) == b"OK"
                slowest = max(slowest, time.monotonic() - started)
        streams = [socket.create_connection(address, timeout=STOP_TIMEOUT_S) for _ in range(30)]
        for number, stream in enumerate(streams):
            stream.sendall(rng.randbytes(1 + number * 100))
        assert client.call("GET", "k") == b"%d" % (GARBAGE - 200)
        for stream in streams:
            stream.close()
    assert slowest < 1
    assert b"cluster_state:ok" in node.call("CLUSTER", "INFO")
    assert b"cluster_stats_messages_dropped" in node.call("CLUSTER", "INFO")
    assert "Traceback" not in node.log()
    assert "Internal error" not in node.log()
