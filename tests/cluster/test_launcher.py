"""Local processes: they are known by more than a pid, and whatever fails to start leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pyredis_cluster import processes
from pyredis_cluster.admin import Access
from pyredis_cluster.errors import LaunchError
from pyredis_cluster.launcher import (
    DESCRIPTION_NAME,
    LocalCluster,
    NodeCommand,
    prepare,
    quote_argument,
    require_free_ports,
)
from pyredis_cluster.processes import ProcessHandle

from ..conftest import free_port, wait_until

DYING = NodeCommand((sys.executable, "-c", "print('FATAL: a bad line'); raise SystemExit(1)"))
# Ends with a few seconds' delay should a test fail to end it.
SLEEPING = NodeCommand((sys.executable, "-c", "import time; time.sleep(30)"))


def make(directory: Path, command: NodeCommand, nodes: int = 2, **settings: str) -> LocalCluster:
    ports = [free_port() for _ in range(nodes)]
    return prepare(directory, ports, "127.0.0.1", list(settings.items()), command)


def test_a_spawned_process_writes_to_its_log_and_has_a_session_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = "import os, sys; print('out', os.getsid(0) == os.getpid()); print('err', file=sys.stderr)"
    handle = processes.spawn([sys.executable, "-c", program], log)
    assert processes.wait_until_gone([handle], 10) == []
    assert sorted(log.read_text().split()) == ["True", "err", "out"]


def test_a_pid_with_another_start_time_is_not_our_process() -> None:
    fields = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()
    ours = ProcessHandle(os.getpid(), int(fields[19]))
    assert processes.is_alive(ours)
    recycled = ProcessHandle(ours.pid, ours.start_ticks + 1)
    assert not processes.is_alive(recycled)
    assert not processes.send_signal(recycled, signal.SIGTERM)


def test_a_zombie_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        handle = ProcessHandle(child.pid, int(fields[19]))
        wait_until(lambda: not processes.is_alive(handle), "the child is a zombie or reaped")


def test_a_frozen_process_can_be_stopped(tmp_path: Path) -> None:
    handle = processes.spawn([*SLEEPING.argv], tmp_path / "log")
    processes.send_signal(handle, signal.SIGSTOP)
    assert processes.stop([handle]) == []
    assert not processes.is_alive(handle)


def test_a_process_that_ignores_sigterm_is_killed_when_the_time_is_up(tmp_path: Path) -> None:
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(30)"
    log = tmp_path / "log"
    handle = processes.spawn([sys.executable, "-c", program], log)
    wait_until(lambda: log.exists() and log.read_text(), "the process runs")
    assert processes.stop([handle], timeout_s=0.05) == [handle]
    assert not processes.is_alive(handle)


def test_the_log_tail_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(5000)))
    assert processes.log_tail(log, 2) == "line 4998\nline 4999"
    assert processes.log_tail(tmp_path / "none", 2) == ""


def test_a_cluster_is_described_so_that_it_can_be_loaded_again(tmp_path: Path) -> None:
    made = make(tmp_path / "c", SLEEPING, appendonly="yes")
    made.nodes[0].process = ProcessHandle(123456789, 5)
    made.save()
    loaded = LocalCluster.load(tmp_path / "c")
    assert (loaded.nodes, loaded.settings, loaded.bind) == (made.nodes, [("appendonly", "yes")], "127.0.0.1")
    assert not loaded.nodes[0].alive


def test_the_config_has_the_nodes_port_directory_secret_and_settings(tmp_path: Path) -> None:
    made = make(tmp_path / "a b", SLEEPING, nodes=1, requirepass="secret")
    port = made.nodes[0].port
    lines = (made.node_directory(port) / "redis.conf").read_text().splitlines()
    assert lines == [
        f"port {port}",
        "bind 127.0.0.1",
        f'dir "{tmp_path}/a b/{port}"',
        "cluster-enabled yes",
        "cluster-config-file nodes.conf",
        f'cluster-secret-file "{tmp_path}/a b/cluster.secret"',
        "repl-diskless-sync-delay 0",
        "masterauth secret",
        "requirepass secret",
    ]


def test_secret_config_and_description_are_for_their_owner_only(tmp_path: Path) -> None:
    made = make(tmp_path / "c", SLEEPING, nodes=1)
    directory = made.node_directory(made.nodes[0].port)
    for path in (tmp_path / "c/cluster.secret", tmp_path / "c/cluster.json", directory / "redis.conf"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_directory_that_holds_a_cluster_is_refused(tmp_path: Path) -> None:
    make(tmp_path, SLEEPING)
    with pytest.raises(LaunchError, match="already holds a cluster"):
        make(tmp_path, SLEEPING)


def test_a_directory_with_a_nodes_files_but_no_description_is_not_overwritten(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / str(port)).mkdir()
    (tmp_path / str(port) / "dump.rdb").write_text("precious")
    with pytest.raises(LaunchError, match=f"{port} exists already"):
        prepare(tmp_path, [port], "127.0.0.1", [], SLEEPING)
    assert (tmp_path / str(port) / "dump.rdb").read_text() == "precious"


@pytest.mark.parametrize("offset", [0, 10_000])
def test_a_taken_port_or_bus_port_is_named(offset: int) -> None:
    port = free_port()
    text = f"port {port + offset} on 127.0.0.1 can't be used: Address already"
    with socket.create_server(("127.0.0.1", port + offset)), pytest.raises(LaunchError, match=text):
        require_free_ports("127.0.0.1", port)


@pytest.mark.parametrize("port", [0, 55_536, 70_000])
def test_a_port_without_room_for_the_bus_is_refused(port: int) -> None:
    with pytest.raises(LaunchError, match="needs a port between 1 and 55535"):
        require_free_ports("127.0.0.1", port)


def test_an_optional_address_that_this_machine_lacks_is_no_obstacle() -> None:
    require_free_ports("127.0.0.1 -192.0.2.1", free_port())
    with pytest.raises(LaunchError, match=r"192\.0\.2\.1"):
        require_free_ports("127.0.0.1 192.0.2.1", free_port())


@pytest.mark.parametrize("name", ["port", "dir", "Cluster-Enabled", "bad name", "x\ny"])
def test_settings_that_are_ours_or_no_directive_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LaunchError):
        prepare(tmp_path / "c", [free_port()], "127.0.0.1", [(name, "1")], SLEEPING)
    assert not (tmp_path / "c").exists()


def test_a_node_that_dies_at_start_is_reported_with_its_log_and_the_others_are_ended(tmp_path: Path) -> None:
    cluster = make(tmp_path / "c", DYING, nodes=3)
    with pytest.raises(LaunchError, match="ended while it was starting; its log ends:\nFATAL: a bad line"):
        cluster.start(cluster.nodes, Access())
    assert not any(node.alive for node in cluster.nodes)


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    cluster = make(tmp_path / "c", NodeCommand(("/nonexistent/node",)), nodes=1)
    with pytest.raises(LaunchError, match="/nonexistent/node can't be executed: No such file"):
        cluster.start(cluster.nodes, Access())


def test_destroy_removes_what_was_made_and_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    cluster = make(directory, SLEEPING)
    (directory / "mine.txt").write_text("kept")
    cluster.destroy()
    assert [path.name for path in directory.iterdir()] == ["mine.txt"]


def test_a_directory_without_a_cluster_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="there is no cluster in"):
        LocalCluster.load(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{", '{"version": 2}', json.dumps({"version": 1, "bind": "x"})])
def test_a_description_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / DESCRIPTION_NAME).write_text(text)
    with pytest.raises(LaunchError, match=DESCRIPTION_NAME):
        LocalCluster.load(tmp_path)


@pytest.mark.parametrize(("text", "quoted"), [("/tmp/x", "/tmp/x"), ("a b", '"a b"'), ('a"b', '"a\\"b"'), ("", '""')])
def test_arguments_are_quoted_as_redis_conf_wants_it(text: str, quoted: str) -> None:
    assert quote_argument(text) == quoted


@pytest.mark.parametrize(("bind", "host"), [("0.0.0.0", "127.0.0.1"), ("-::1 127.0.0.1", "::1"), ("*", "127.0.0.1")])
def test_nodes_on_a_wildcard_address_are_reached_over_loopback(bind: str, host: str) -> None:
    assert LocalCluster(Path(), bind, []).host == host
