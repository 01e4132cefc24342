"""RDB files and DUMP payloads between this node and Debian's redis-server, both ways."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.node.clock import Clock
from pyredis_cluster.node.digest import hexadecimal, value_digest
from pyredis_cluster.node.keyspace import Keyspace
from pyredis_cluster.node.persistence.encode import dump_value, load_value
from pyredis_cluster.node.persistence.files import write_file
from pyredis_cluster.node.persistence.loading import FileLoad
from pyredis_cluster.node.persistence.values import DefaultLimits
from pyredis_cluster.node.persistence.writer import aux_fields, write_snapshot
from pyredis_cluster.node.values.hash import Hash
from pyredis_cluster.node.values.list import List
from pyredis_cluster.node.values.packed import unpacked
from pyredis_cluster.node.values.set import Set
from pyredis_cluster.node.values.sorted_set import SortedSet

from ..conftest import Processes, ServerProcess, wait_until

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Debian's redis-server")

LIMITS = DefaultLimits()
FAR_FUTURE_MS = 4_000_000_000_000


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sample() -> dict[bytes, Any]:
    """Values of all types in all of their encodings, and the odd ones."""
    rng = Random(7)
    words = [b"w%d" % rng.randrange(10**9) for _ in range(3000)]
    texts = [bytes(rng.randrange(256) for _ in range(size)) for size in (1, 63, 64, 300, 5000)]
    numbers = [b"0", b"-1", b"127", b"128", b"-4096", b"32768", b"-8388609", b"2147483648", b"9223372036854775807"]
    return {
        b"text": b"hello",
        b"empty": b"",
        b"raw": bytearray(b"grown"),
        b"large": b"x" * 200_000,
        b"binary\x00\r\n": bytes(range(256)),
        **{b"number:" + number: number for number in numbers},
        b"list": List.of([*numbers, *texts, b""], -2),
        b"list:quick": List.of([*words, *texts, b"z" * 20_000], -2),
        b"set:int": Set.of([b"%d" % number for number in range(-200, 200)], LIMITS),
        b"set:int:wide": Set.of([b"1", b"-9223372036854775808"], LIMITS),
        b"set:small": Set.of([b"a", b"b", b"12"], LIMITS),
        b"set": Set.of(words, LIMITS),
        b"hash:small": Hash.of(zip(words[:50], numbers * 6, strict=False), 512, 64),
        b"hash": Hash.of(zip(words, reversed(words), strict=True), 512, 64),
        b"zset:small": SortedSet({b"a": 1.0, b"b": -0.5, b"c": float("inf"), b"d": 1e300, b"e": 3.14159}),
        b"zset": SortedSet({word: number / 7 for number, word in enumerate(words)}, b"skiplist"),
        b"{tag}dies": b"later",
    }


def filled() -> Keyspace:
    keyspace = Keyspace(16, Clock(), Random(1))
    for key, value in sample().items():
        keyspace.databases[0].set(key, value)
    keyspace.databases[0].set_expiry(b"{tag}dies", FAR_FUTURE_MS)
    keyspace.databases[9].set(b"other", b"database")
    return keyspace


def contents(keyspace: Keyspace) -> dict[tuple[int, bytes], tuple[Any, int | None]]:
    return {
        (database.index, key): (plain(database.peek(key)), database.expiry_ms(key))
        for database in keyspace.databases
        for key in database.keys()  # noqa: SIM118 - a Database is no mapping
    }


def plain(value: Any) -> Any:
    value = unpacked(value)
    if isinstance(value, List):
        return [*value]
    if isinstance(value, Set):
        return {*value}
    if isinstance(value, Hash):
        return dict(value.fields.items())
    if isinstance(value, SortedSet):
        return value.items()
    return bytes(value)


def ask(server: ServerProcess, key: bytes) -> Any:
    """What a server holds at a key, in the form of `plain`."""
    kind = server.call("TYPE", key)
    if kind == b"string":
        return server.call("GET", key)
    if kind == b"list":
        return server.call("LRANGE", key, 0, -1)
    if kind == b"set":
        return {*server.call("SMEMBERS", key)}
    if kind == b"hash":
        flat = server.call("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2], strict=True))
    flat = server.call("ZRANGE", key, 0, -1, "WITHSCORES")
    return [(member, float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


def write(path: Path, keyspace: Keyspace) -> None:
    aux = aux_fields(now_ms=keyspace.clock.now_ms, used_memory_bytes=1 << 20)
    write_file(path, write_snapshot(keyspace, aux=aux), incremental_fsync=True)


def with_our_file(redis: ServerProcess, keyspace: Keyspace) -> None:
    """Start redis-server again with our snapshot of that keyspace."""
    redis.kill(signal.SIGTERM)
    write(redis.directory / "dump.rdb", keyspace)
    redis.start()


@pytest.fixture
def redis(processes: Processes, directory: Path) -> ServerProcess:
    return processes.redis(enable_debug_command="yes")


def test_redis_check_rdb_accepts_our_file(directory: Path) -> None:
    write(directory / "dump.rdb", filled())
    checked = subprocess.run(["redis-check-rdb", "dump.rdb"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "Checksum OK" in checked.stdout
    assert "RDB looks OK" in checked.stdout


def test_redis_check_rdb_refuses_our_file_when_a_byte_is_changed(directory: Path) -> None:
    write(directory / "dump.rdb", filled())
    content = bytearray((directory / "dump.rdb").read_bytes())
    content[len(content) // 2] ^= 1
    (directory / "dump.rdb").write_bytes(content)
    checked = subprocess.run(["redis-check-rdb", "dump.rdb"], capture_output=True, text=True, check=False)
    assert checked.returncode != 0


def test_redis_server_loads_our_file(redis: ServerProcess) -> None:
    keyspace = filled()
    with_our_file(redis, keyspace)
    values = sample()
    assert redis.call("DBSIZE") == len(values)
    for key, value in values.items():
        assert ask(redis, key) == plain(value), key
    assert redis.call("PEXPIRETIME", b"{tag}dies") == FAR_FUTURE_MS
    encodings = {
        b"list:quick": b"quicklist",
        b"set:int": b"intset",
        b"set": b"hashtable",
        b"hash:small": b"listpack",
        b"hash": b"hashtable",
        b"zset:small": b"listpack",
        b"zset": b"skiplist",
    }
    assert {key: redis.call("OBJECT", "ENCODING", key) for key in encodings} == encodings
    with Connection("127.0.0.1", redis.port) as link:
        link.call("SELECT", 9)
        assert link.call("GET", "other") == b"database"


def test_the_digests_of_values_agree_with_redis_server_s(redis: ServerProcess) -> None:
    keyspace = filled()
    with_our_file(redis, keyspace)
    # Redis before 7.2 writes scores into its digest with 17 digits, so that 0.1 makes another one there.
    for key in sample().keys() - {b"zset", b"zset:small"}:
        digest = hexadecimal(value_digest(keyspace.databases[0], key))
        assert redis.call("DEBUG", "DIGEST-VALUE", key) == [digest], key


@pytest.mark.parametrize("compression", ["yes", "no"])
def test_we_load_the_file_of_redis_server(redis: ServerProcess, compression: str) -> None:
    keyspace = filled()
    with_our_file(redis, keyspace)
    redis.call("CONFIG", "SET", "rdbcompression", compression)
    redis.call("SET", "repeating", b"abcabcab" * 500 + b"a" * 5000)
    keyspace.databases[0].set(b"repeating", b"abcabcab" * 500 + b"a" * 5000)
    redis.call("SAVE")
    loaded = Keyspace(16, Clock(), Random(1))
    load = FileLoad(redis.directory / "dump.rdb", loaded, LIMITS, expired_before_ms=loaded.clock.now_ms)
    load.run()
    assert contents(loaded) == contents(keyspace)
    assert load.reader.aux[b"redis-bits"] == b"64"
    for database in loaded.databases:
        database._check()


def test_payloads_of_dump_are_taken_by_either_side(redis: ServerProcess) -> None:
    for key, value in sample().items():
        redis.call("RESTORE", key, 0, dump_value(value))
        assert ask(redis, key) == plain(value), key
        assert plain(load_value(redis.call("DUMP", key), LIMITS)) == plain(value), key


def test_migrate_moves_keys_between_a_node_and_redis_server(processes: Processes, redis: ServerProcess) -> None:
    node = processes.node()
    names = [*sample()]
    for key, value in sample().items():
        node.call("RESTORE", key, 0, dump_value(value))
    assert node.call("MIGRATE", "127.0.0.1", redis.port, "", 0, 5000, "KEYS", *names) == b"OK"
    assert (node.call("DBSIZE"), redis.call("DBSIZE")) == (0, len(names))
    assert redis.call("MIGRATE", "127.0.0.1", node.port, "", 0, 5000, "KEYS", *names) == b"OK"
    assert (node.call("DBSIZE"), redis.call("DBSIZE")) == (len(names), 0)
    for key, value in sample().items():
        assert ask(node, key) == plain(value), key


def test_a_node_that_was_killed_has_its_last_background_save_again(processes: Processes) -> None:
    node = processes.node()
    for key, value in sample().items():
        node.call("RESTORE", key, 0, dump_value(value))
    node.call("BGSAVE")
    wait_until(lambda: node.info("persistence")["rdb_bgsave_in_progress"] == "0", "the end of the save")
    assert node.info("persistence")["rdb_last_bgsave_status"] == "ok", node.log()
    node.call("SET", "later", "lost")
    node.kill(signal.SIGKILL)
    node.start()
    assert node.call("DBSIZE") == len(sample()), node.log()
    for key, value in sample().items():
        assert ask(node, key) == plain(value), key
