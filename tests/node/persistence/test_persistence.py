"""SAVE, BGSAVE, loading at the start, save points, and what happens when the disk fails."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from pyredis_cluster.node.persistence import files
from pyredis_cluster.node.persistence.errors import LoadError, RdbFormatError
from pyredis_cluster.node.persistence.loading import load_entries
from pyredis_cluster.node.persistence.persistence import BGSAVE_RETRY_DELAY_MS, ChildActiveError
from pyredis_cluster.node.persistence.reader import SnapshotReader

CHILD_TIMEOUT_SECONDS = 10
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wait(node: Any) -> None:
    """Until the child has ended."""
    assert node.server.persistence.child is not None
    node.server.persistence.child.wait()


def load(node: Any) -> None:
    """What a node does at its start."""
    node.server.persistence.prepare_load()
    trio.run(node.server.persistence.load)


def reloaded(node: Any) -> None:
    """The same node as if it were started again."""
    for database in node.server.keyspace.databases:
        database.flush()
    load(node)


def fail_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, the disk is full."""

    def write(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "write", write)


def test_save_writes_a_file_that_is_loaded_again(node: Any, directory: Path) -> None:
    node.ask("SET", "a", "1")
    node.ask("PEXPIREAT", "a", node.server.clock.now_ms + HOUR_MS)
    assert node.ask("SAVE") == b"OK"
    assert os.listdir(directory) == ["dump.rdb"]
    reloaded(node)
    assert node.ask("GET", "a") == b"1"
    assert node.server.persistence.keys_loaded == 1


def test_save_counts_the_changes_from_zero_again(node: Any) -> None:
    node.ask("SET", "a", "1")
    assert node.server.persistence.changes == 1
    node.advance(5000)
    node.ask("SAVE")
    assert node.server.persistence.changes == 0
    assert node.ask("LASTSAVE") == node.server.clock.now_ms // 1000


def test_bgsave_writes_what_was_there_when_it_began(node: Any) -> None:
    node.ask("SET", "a", "1")
    assert node.ask("BGSAVE") == b"Background saving started"
    node.ask("SET", "a", "2")
    wait(node)
    assert node.server.persistence.changes == 1
    assert node.server.persistence.info()["rdb_last_bgsave_status"] == "ok"
    reloaded(node)
    assert node.ask("GET", "a") == b"1"


def test_one_child_at_a_time(node: Any) -> None:
    node.ask("BGSAVE")
    assert node.error("BGSAVE") == "ERR Background save already in progress"
    assert node.error("SAVE") == "ERR Background save already in progress"
    with pytest.raises(ChildActiveError):
        node.server.persistence.bgsave()
    wait(node)
    assert node.ask("BGSAVE", "SCHEDULE") == b"Background saving started"
    wait(node)
    assert node.error("BGSAVE", "NOW") == "ERR syntax error"


def test_bgsave_in_a_transaction_is_scheduled(node: Any) -> None:
    node.ask("MULTI")
    node.ask("BGSAVE")
    assert node.ask("EXEC") == [b"Background saving scheduled"]
    node.server.persistence.cron()
    wait(node)
    assert node.server.persistence.saves == 1


def test_the_child_writes_to_a_pipe_what_the_file_would_hold(node: Any) -> None:
    node.ask("SET", "a", "1")
    read_fd, write_fd = os.pipe()
    ended: list[bool] = []
    node.server.persistence.fork_to_pipe(write_fd, ended.append)
    os.close(write_fd)
    with open(read_fd, "rb") as pipe:
        stream = pipe.read()
    wait(node)
    assert ended == [True]
    reader = SnapshotReader(node.server.config, 16)
    assert reader.feed(stream) == [(0, b"a", b"1", None)]
    assert reader.finished


def test_a_killed_child_leaves_the_old_file_and_no_failure(node: Any, directory: Path) -> None:
    node.ask("SET", "a", "1")
    node.ask("SAVE")
    node.ask("CONFIG", "SET", "rdb-key-save-delay", 10_000_000)
    node.ask("SET", "a", "2")
    node.ask("BGSAVE")
    assert node.server.persistence.info()["rdb_bgsave_in_progress"] == 1
    node.server.persistence.kill_child()
    wait(node)
    assert node.server.persistence.last_save_ok
    assert os.listdir(directory) == ["dump.rdb"]
    reloaded(node)
    assert node.ask("GET", "a") == b"1"


def test_a_child_that_dies_of_anything_else_is_a_failure(node: Any) -> None:
    node.ask("SET", "a", "1")
    node.server.config.rdb_key_save_delay = 10_000_000
    ended: list[bool] = []
    node.server.persistence.bgsave(ended.append)
    os.kill(node.server.persistence.child.pid, signal.SIGKILL)
    wait(node)
    assert ended == [False]
    assert not node.server.persistence.last_save_ok


def test_the_parent_learns_of_the_end_from_its_reactor(node: Any) -> None:
    node.ask("BGSAVE")
    child = node.server.persistence.child
    for _ in range(100):
        assert select.select([child._fd], [], [], CHILD_TIMEOUT_SECONDS)[0]
        child.on_readable()
        if node.server.persistence.child is None:
            return
    raise AssertionError("the child's pipe never ended")


def test_a_full_disk_fails_the_save_and_keeps_the_old_file(
    node: Any, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.ask("SET", "a", "1")
    node.ask("SAVE")
    node.ask("SET", "a", "2")
    with monkeypatch.context() as context:
        fail_writes(context)
        assert node.error("SAVE").startswith("ERR")
    assert os.listdir(directory) == ["dump.rdb"]
    reloaded(node)
    assert node.ask("GET", "a") == b"1"


def test_writes_are_refused_after_a_failed_background_save_until_one_succeeds(
    node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.ask("SET", "a", "1")
    node.server.config.dbfilename = "missing/dump.rdb"
    node.ask("BGSAVE")
    wait(node)
    assert node.server.persistence.info()["rdb_last_bgsave_status"] == "err"
    assert node.error("SET", "a", "2").startswith("MISCONF Redis is configured to save RDB snapshots")
    assert node.error("PING").startswith("MISCONF")
    assert node.ask("GET", "a") == b"1"
    node.server.config.dbfilename = "dump.rdb"
    node.ask("BGSAVE")
    wait(node)
    assert node.ask("SET", "a", "2") == b"OK"


def test_failed_saves_refuse_no_writes_if_the_node_is_not_to_save(node: Any) -> None:
    node.server.config.dbfilename = "missing/dump.rdb"
    node.ask("CONFIG", "SET", "save", "")
    node.ask("BGSAVE")
    wait(node)
    assert node.ask("SET", "a", "1") == b"OK"
    node.ask("CONFIG", "SET", "save", "3600 1")
    assert node.error("SET", "a", "1").startswith("MISCONF")
    node.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
    assert node.ask("SET", "a", "1") == b"OK"


def test_a_save_point_starts_a_background_save(node: Any) -> None:
    node.ask("SAVE")
    node.ask("CONFIG", "SET", "save", "60 2")
    node.ask("SET", "a", "1")
    node.advance(61_000)
    node.server.persistence.cron()
    assert node.server.persistence.child is None
    node.ask("SET", "b", "1")
    node.server.persistence.cron()
    wait(node)
    assert node.server.persistence.changes == 0
    assert Path("dump.rdb").exists()


def test_after_a_failure_a_save_point_waits_before_it_tries_again(node: Any) -> None:
    node.ask("SAVE")
    node.ask("CONFIG", "SET", "save", "1 1")
    node.server.config.dbfilename = "missing/dump.rdb"
    node.ask("SET", "a", "1")
    node.advance(2000)
    node.server.persistence.cron()
    wait(node)
    node.server.persistence.cron()
    assert node.server.persistence.child is None
    node.advance(BGSAVE_RETRY_DELAY_MS + 1)
    node.server.persistence.cron()
    wait(node)


def test_no_file_at_the_start_means_an_empty_data_set(node: Any) -> None:
    load(node)
    assert node.ask("DBSIZE") == 0


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_file_at_the_start_is_fatal(node: Any, damage: str) -> None:
    node.ask("SET", "a", "some text")
    node.ask("SAVE")
    content = Path("dump.rdb").read_bytes()
    damaged = {"cut": content[:-1], "changed": content.replace(b"some", b"sane"), "empty": b""}[damage]
    Path("dump.rdb").write_bytes(damaged)
    with pytest.raises(LoadError):
        reloaded(node)


def test_a_primary_leaves_out_what_has_expired_and_keeps_the_count(node: Any) -> None:
    node.ask("SET", "a", "1", "PX", 1000)
    node.ask("SET", "b", "1")
    node.ask("SAVE")
    for database in node.server.keyspace.databases:
        database.flush()
    database = node.server.keyspace.databases[0]
    entries = SnapshotReader(node.server.config, 16).feed(Path("dump.rdb").read_bytes())
    later_ms = node.server.clock.now_ms + 1001
    assert load_entries(node.server.keyspace, entries, expired_before_ms=later_ms) == [(0, b"a")]
    assert [*database.keys()] == [b"b"]
    database.flush()
    assert load_entries(node.server.keyspace, entries) == []
    assert sorted(database.keys()) == [b"a", b"b"]


def test_a_key_that_comes_twice_is_refused_unless_it_may_be_replaced(node: Any) -> None:
    entries = [(0, b"a", b"1", 9_000_000_000_000), (0, b"a", b"2", None)]
    with pytest.raises(RdbFormatError, match="duplicated"):
        load_entries(node.server.keyspace, entries)
    load_entries(node.server.keyspace, entries, may_replace=True)
    assert node.ask("GET", "a") == b"2"
    assert node.ask("TTL", "a") == -1


def test_reload_saves_empties_and_loads(node: Any) -> None:
    node.ask("RPUSH", "list", "a", "b")
    assert node.server.persistence.reload()
    assert node.server.persistence.changes == 0
    assert node.ask("LRANGE", "list", 0, -1) == [b"a", b"b"]
    node.ask("SET", "later", "1")
    assert node.server.persistence.reload(save=False)
    assert node.ask("EXISTS", "later") == 0
    node.ask("SET", "later", "1")
    assert node.server.persistence.reload(save=False, flush=False, merge=True)
    assert node.ask("DBSIZE") == 2


def test_flushall_kills_the_child_and_empties_the_file(node: Any) -> None:
    node.ask("SET", "a", "1")
    node.ask("SAVE")
    node.server.config.rdb_key_save_delay = 10_000_000
    node.ask("BGSAVE")
    node.ask("FLUSHALL")
    wait(node)
    assert node.server.persistence.last_save_ok
    reloaded(node)
    assert node.ask("DBSIZE") == 0


@pytest.mark.parametrize(("save", "written"), [(None, True), (True, True), (False, False)])
def test_shutdown_saves_if_it_is_to(node: Any, save: bool | None, written: bool) -> None:
    node.ask("SET", "a", "1")
    node.server.config.rdb_key_save_delay = 10_000_000
    node.ask("BGSAVE")
    node.server.config.rdb_key_save_delay = 0
    assert node.server.persistence.prepare_shutdown(save)
    assert node.server.persistence.child is None
    assert Path("dump.rdb").exists() == written


def test_shutdown_is_refused_if_the_save_fails(node: Any) -> None:
    node.server.config.dbfilename = "missing/dump.rdb"
    assert not node.server.persistence.prepare_shutdown()


def test_the_file_names_the_history_it_belongs_to(node: Any) -> None:
    replication = node.server.replication
    replication.primary.open_backlog()
    node.server.journal.offset = 1234
    replid = replication.identity.replid
    node.ask("SAVE")
    node.server.journal.offset = 0
    reloaded(node)
    assert replication.identity.replid2 == replid
    assert node.server.journal.offset == 1234


def test_while_the_data_set_is_loaded_commands_that_need_it_are_refused(node: Any) -> None:
    node.ask("SET", "a", "1")
    node.ask("SAVE")
    node.ask("CONFIG", "SET", "save", "")
    node.ask("FLUSHALL")
    node.ask("CONFIG", "SET", "key-load-delay", 1_000_000)

    async def load_and_ask() -> None:
        async with trio.open_nursery() as nursery:
            node.server.persistence.prepare_load()
            nursery.start_soon(node.server.persistence.load)
            await trio.testing.wait_all_tasks_blocked()
            assert node.server.loading
            assert node.error("GET", "a") == "LOADING Redis is loading the dataset in memory"
            assert node.error("SAVE").startswith("LOADING")
            info = node.server.persistence.info()
            assert info["loading"] == 1
            assert info["loading_loaded_bytes"] == info["loading_total_bytes"] > 0
            assert node.server.persistence.prepare_shutdown(True)

    trio.run(load_and_ask, clock=trio.testing.MockClock(autojump_threshold=0.01))
    assert not node.server.loading
    assert node.ask("GET", "a") == b"1"


def test_a_replica_s_file_names_the_database_that_its_stream_has_selected(node: Any) -> None:
    replication = node.server.replication
    replication.follow("127.0.0.1", 1, connect=False)
    replication.link.client.select(3)
    assert node.server.persistence.save()
    reader = SnapshotReader(node.server.config, 16)
    reader.feed(Path("dump.rdb").read_bytes())
    assert reader.aux[b"repl-stream-db"] == b"3"
    replication.promote()


def test_keys_that_expired_before_a_restart_are_deleted_in_the_restored_history(node: Any) -> None:
    node.server.replication.primary.open_backlog()
    node.ask("SET", "a", "1", "PX", 1000)
    node.ask("SAVE")
    offset = node.server.journal.offset
    node.server.keyspace.flush()
    node.propagated()
    node.advance(1001)
    load(node)
    assert node.server.persistence.keys_expired == 1
    assert node.propagated() == [[b"DEL", b"a"]]
    assert node.server.journal.offset > offset
