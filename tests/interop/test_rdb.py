"""RDB files and DUMP payloads between this node and Debian's redis-server, both ways."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.errors import ClientError
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
from pyredis_cluster.node.values.set import Set
from pyredis_cluster.node.values.sorted_set import SortedSet

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Debian's redis-server")

LIMITS = DefaultLimits()
FAR_FUTURE_MS = 4_000_000_000_000
START_TIMEOUT_SECONDS = 10
POLL_SECONDS = 0.02


class RedisServer:
    """A redis-server in its own directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.process = subprocess.Popen(
            [
                "redis-server",
                "--port",
                str(self.port),
                "--dir",
                str(directory),
                "--save",
                "",
                "--bind",
                "127.0.0.1",
                "--enable-debug-command",
                "yes",
            ],
            stdout=subprocess.DEVNULL,
        )
        self.connection = self._connect()

    def _connect(self) -> Connection:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                connection = Connection("127.0.0.1", self.port)
                connection.call("PING")
                return connection
            except ClientError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.close()
                    raise
                time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """close() ends it."""
        self.process.terminate()
        self.process.wait(10)


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
    if isinstance(value, List):
        return [*value]
    if isinstance(value, Set):
        return {*value}
    if isinstance(value, Hash):
        return dict(value.fields.items())
    if isinstance(value, SortedSet):
        return value.items()
    return bytes(value)


def ask(connection: Connection, key: bytes) -> Any:
    """What redis-server holds at a key, in the form of `plain`."""
    kind = connection.call("TYPE", key)
    if kind in (b"string", "OK"):
        return connection.call("GET", key)
    if kind == b"list":
        return connection.call("LRANGE", key, 0, -1)
    if kind == b"set":
        return {*connection.call("SMEMBERS", key)}
    if kind == b"hash":
        flat = connection.call("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2], strict=True))
    flat = connection.call("ZRANGE", key, 0, -1, "WITHSCORES")
    return [(member, float(score)) for member, score in zip(flat[::2], flat[1::2], strict=True)]


def encodings(connection: Connection, keys: list[bytes]) -> dict[bytes, bytes]:
    return {key: connection.call("OBJECT", "ENCODING", key) for key in keys}


def write(path: Path, keyspace: Keyspace) -> None:
    aux = aux_fields(now_ms=keyspace.clock.now_ms, used_memory_bytes=1 << 20)
    write_file(path, write_snapshot(keyspace, aux=aux), incremental_fsync=True)


@pytest.fixture
def redis_server(directory: Path) -> Iterator[Any]:
    started: list[RedisServer] = []

    def start() -> RedisServer:
        started.append(RedisServer(directory))
        return started[-1]

    yield start
    for server in started:
        server.connection.close()
        server.close()


def test_redis_check_rdb_accepts_our_file(directory: Path) -> None:
    write(directory / "dump.rdb", filled())
    checked = subprocess.run(["redis-check-rdb", "dump.rdb"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "Checksum OK" in checked.stdout
    assert "RDB looks OK" in checked.stdout


def test_redis_server_loads_our_file(directory: Path, redis_server: Any) -> None:
    keyspace = filled()
    write(directory / "dump.rdb", keyspace)
    connection = redis_server().connection
    values = sample()
    assert connection.call("DBSIZE") == len(values)
    for key, value in values.items():
        assert ask(connection, key) == plain(value), key
    assert connection.call("PEXPIRETIME", b"{tag}dies") == FAR_FUTURE_MS
    found = encodings(connection, [b"list:quick", b"set:int", b"set", b"hash:small", b"hash", b"zset:small", b"zset"])
    assert [*found.values()] == [
        b"quicklist",
        b"intset",
        b"hashtable",
        b"listpack",
        b"hashtable",
        b"listpack",
        b"skiplist",
    ]
    # Redis before 7.2 writes scores into its digest with 17 digits, so that 0.1 makes another one there.
    for key in values.keys() - {b"zset", b"zset:small"}:
        digest = hexadecimal(value_digest(keyspace.databases[0], key))
        assert connection.call("DEBUG", "DIGEST-VALUE", key) == [digest], key
    connection.call("SELECT", 9)
    assert connection.call("GET", "other") == b"database"


@pytest.mark.parametrize("compression", ["yes", "no"])
def test_we_load_the_file_of_redis_server(directory: Path, redis_server: Any, compression: str) -> None:
    keyspace = filled()
    write(directory / "dump.rdb", keyspace)
    connection = redis_server().connection
    connection.call("CONFIG", "SET", "rdbcompression", compression)
    connection.call("SET", "repeating", b"abcabcab" * 500 + b"a" * 5000)
    keyspace.databases[0].set(b"repeating", b"abcabcab" * 500 + b"a" * 5000)
    connection.call("SAVE")
    loaded = Keyspace(16, Clock(), Random(1))
    load = FileLoad(directory / "dump.rdb", loaded, LIMITS, expired_before_ms=loaded.clock.now_ms)
    load.run()
    assert contents(loaded) == contents(keyspace)
    assert load.reader.aux[b"redis-bits"] == b"64"
    for database in loaded.databases:
        database._check()


def test_payloads_of_dump_are_taken_by_either_side(directory: Path, redis_server: Any) -> None:
    connection = redis_server().connection
    for key, value in sample().items():
        connection.call("RESTORE", key, 0, dump_value(value))
        assert ask(connection, key) == plain(value), key
        assert plain(load_value(connection.call("DUMP", key), LIMITS)) == plain(value), key


def test_redis_server_refuses_our_file_when_a_byte_is_changed(directory: Path) -> None:
    write(directory / "dump.rdb", filled())
    content = bytearray((directory / "dump.rdb").read_bytes())
    content[len(content) // 2] ^= 1
    (directory / "dump.rdb").write_bytes(content)
    checked = subprocess.run(["redis-check-rdb", "dump.rdb"], capture_output=True, text=True, check=False)
    assert checked.returncode != 0
