"""DUMP, RESTORE and MIGRATE."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hiredis
import pytest
from pyredis_cluster.node.commands.migrate import find_keys
from pyredis_cluster.node.persistence.crc64 import crc64

FILL = [
    ("SET", "string", "value"),
    ("SET", "number", "12"),
    ("RPUSH", "list", "a", "b", "c"),
    ("SADD", "set", "x", "y"),
    ("SADD", "integers", "1", "2", "-70000"),
    ("HSET", "hash", "f", "1", "g", "two"),
    ("ZADD", "sorted", "1", "a", "2.5", "b", "inf", "c"),
]


def payload(body: bytes, version: int = 10) -> bytes:
    signed = body + bytes((version, 0))
    return signed + crc64(signed).to_bytes(8, "little")


@pytest.mark.parametrize("command", FILL, ids=lambda command: command[1])
def test_restore_makes_a_key_with_the_same_dump(node: Any, command: tuple[str, ...]) -> None:
    node.ask(*command)
    dumped = node.ask("DUMP", command[1])
    assert node.ask("RESTORE", "copy", 0, dumped) == b"OK"
    assert node.ask("DUMP", "copy") == dumped
    assert node.ask("TYPE", "copy") == node.ask("TYPE", command[1])


def test_dump_of_a_missing_key_is_null(node: Any) -> None:
    assert node.ask("DUMP", "none") is None


def test_restore_refuses_a_key_that_exists_unless_told_to_replace(node: Any) -> None:
    node.ask("SET", "a", "1")
    dumped = node.ask("DUMP", "a")
    assert node.error("RESTORE", "a", 0, dumped) == "BUSYKEY Target key name already exists."
    assert node.ask("RESTORE", "a", 0, dumped, "REPLACE") == b"OK"


def test_restore_with_a_relative_time_to_live_propagates_the_absolute_one(node: Any) -> None:
    node.ask("SET", "a", "1")
    dumped = node.ask("DUMP", "a")
    node.propagated()
    node.ask("RESTORE", "b", 5000, dumped)
    when_ms = node.server.clock.now_ms + 5000
    assert node.server.keyspace.databases[0].expiry_ms(b"b") == when_ms
    assert node.propagated() == [[b"RESTORE", b"b", b"%d" % when_ms, dumped, b"ABSTTL"]]


def test_restore_of_a_time_in_the_past_stores_nothing(node: Any) -> None:
    node.ask("SET", "a", "1")
    dumped = node.ask("DUMP", "a")
    node.propagated()
    assert node.ask("RESTORE", "b", 1, dumped, "ABSTTL") == b"OK"
    assert node.ask("EXISTS", "b") == 0
    assert node.propagated() == []
    assert node.ask("RESTORE", "a", 1, dumped, "ABSTTL", "REPLACE") == b"OK"
    assert node.ask("EXISTS", "a") == 0
    assert node.propagated() == [[b"DEL", b"a"]]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["-1"], "ERR Invalid TTL value, must be >= 0"),
        (["x"], "ERR value is not an integer or out of range"),
        (["0", "IDLETIME", "-1"], "ERR Invalid IDLETIME value, must be >= 0"),
        (["0", "FREQ", "256"], "ERR Invalid FREQ value, must be >= 0 and <= 255"),
        (["0", "IDLETIME", "1", "FREQ", "1"], "ERR syntax error"),
        (["0", "IDLETIME"], "ERR syntax error"),
        (["0", "NOPE"], "ERR syntax error"),
    ],
)
def test_restore_checks_its_options(node: Any, arguments: list[str], error: str) -> None:
    node.ask("SET", "a", "1")
    ttl, *options = arguments
    assert node.error("RESTORE", "b", ttl, node.ask("DUMP", "a"), *options) == error


def test_restore_takes_idletime_or_freq(node: Any) -> None:
    node.ask("SET", "a", "1")
    dumped = node.ask("DUMP", "a")
    assert node.ask("RESTORE", "b", 0, dumped, "IDLETIME", "1000") == b"OK"
    assert node.ask("RESTORE", "c", 0, dumped, "FREQ", "100") == b"OK"


@pytest.mark.parametrize(
    "data", [b"", b"foobar", payload(b"\x00\x01a", version=99), payload(b"\x00\x01a")[:-1] + b"?"]
)
def test_restore_refuses_a_wrong_footer(node: Any, data: bytes) -> None:
    assert node.error("RESTORE", "a", 0, data) == "ERR DUMP payload version or checksum are wrong"


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x05ab", b"\x00\x01ab", b"\x02\x00", b"\x63\x01a", b"\x10\x01a"])
def test_restore_refuses_bad_data_under_a_good_footer(node: Any, body: bytes) -> None:
    assert node.error("RESTORE", "a", 0, payload(body)) == "ERR Bad data format"
    assert node.ask("EXISTS", "a") == 0


def test_restore_takes_payloads_of_version_11(node: Any) -> None:
    assert node.ask("RESTORE", "a", 0, payload(b"\x00\x01v", version=11)) == b"OK"
    assert node.ask("GET", "a") == b"v"


# -- MIGRATE


class Target:
    """A node that takes connections one after the other: answers each command by `answer`, and keeps it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with sock:
                self._talk(sock)

    def _talk(self, sock: socket.socket) -> None:
        reader = hiredis.Reader()
        while data := sock.recv(65536):
            reader.feed(data)
            while (command := reader.gets()) is not False:
                self.commands.append(command)
                reply = self.answer(command)
                if reply is None:
                    return
                sock.sendall(reply)


@contextmanager
def target(answer: Any = lambda command: b"+OK\r\n") -> Iterator[Target]:
    made = Target(answer)
    try:
        yield made
    finally:
        made.listener.shutdown(socket.SHUT_RDWR)
        made.listener.close()
        made.thread.join(5)


@pytest.fixture
def filled(node: Any) -> Iterator[Any]:
    for command in FILL:
        node.ask(*command)
    node.propagated()
    yield node
    node.server.migrate_links.close()


def test_migrate_moves_keys_in_one_round_trip_and_propagates_their_deletion(filled: Any) -> None:
    expected = {name: filled.ask("DUMP", name) for name in ("list", "hash")}
    filled.server.keyspace.databases[0].set_expiry(b"hash", filled.server.clock.now_ms + 700)
    with target() as there:
        arguments = ("MIGRATE", "127.0.0.1", there.port, "", 3, 5000, "REPLACE", "KEYS", "list", "none", "hash")
        assert filled.ask(*arguments) == b"OK"
        assert there.commands == [
            [b"SELECT", b"3"],
            [b"RESTORE", b"list", b"0", expected["list"], b"REPLACE"],
            [b"RESTORE", b"hash", b"700", expected["hash"], b"REPLACE"],
        ]
        filled.server.migrate_links.close()
    assert filled.ask("EXISTS", "list", "hash") == 0
    assert filled.propagated() == [[b"DEL", b"list", b"hash"]]


def test_migrate_with_copy_keeps_the_keys(filled: Any) -> None:
    with target() as there:
        assert filled.ask("MIGRATE", "127.0.0.1", there.port, "list", 0, 5000, "COPY") == b"OK"
        filled.server.migrate_links.close()
    assert filled.ask("EXISTS", "list") == 1
    assert filled.propagated() == []


def test_migrate_of_missing_keys_is_nokey_and_connects_nowhere(filled: Any) -> None:
    assert filled.ask("MIGRATE", "127.0.0.1", 1, "none", 0, 5000) == b"NOKEY"


def test_migrate_reuses_its_connection_and_selects_once(filled: Any) -> None:
    with target() as there:
        for name in ("list", "hash"):
            filled.ask("MIGRATE", "127.0.0.1", there.port, name, 0, 5000)
        assert there.connections == 1
        assert [command[0] for command in there.commands] == [b"SELECT", b"RESTORE", b"RESTORE"]
        filled.server.migrate_links.drop_idle(filled.server.clock.now_ms + 10_001)
        assert len(filled.server.migrate_links) == 0


@pytest.mark.parametrize(
    ("options", "auth"),
    [(("AUTH", "secret"), [b"AUTH", b"secret"]), (("AUTH2", "me", "secret"), [b"AUTH", b"me", b"secret"])],
)
def test_migrate_authenticates(filled: Any, options: tuple[str, ...], auth: list[bytes]) -> None:
    with target() as there:
        filled.ask("MIGRATE", "127.0.0.1", there.port, "list", 0, 5000, *options)
        assert there.commands[0] == auth
        filled.server.migrate_links.close()


def test_migrate_keeps_the_keys_that_the_target_refused(filled: Any) -> None:
    def answer(command: list[bytes]) -> bytes:
        return b"-BUSYKEY Target key name already exists.\r\n" if command[1] == b"hash" else b"+OK\r\n"

    with target(answer) as there:
        error = filled.error("MIGRATE", "127.0.0.1", there.port, "", 0, 5000, "KEYS", "hash", "list")
        filled.server.migrate_links.close()
    assert error == "ERR Target instance replied with error: BUSYKEY Target key name already exists."
    assert filled.ask("EXISTS", "hash", "list") == 1
    assert filled.propagated() == [[b"DEL", b"list"]]


def test_migrate_deletes_what_was_acknowledged_before_the_connection_was_lost(filled: Any) -> None:
    def answer(command: list[bytes]) -> bytes | None:
        return None if command[1] == b"hash" else b"+OK\r\n"

    with target(answer) as there:
        error = filled.error("MIGRATE", "127.0.0.1", there.port, "", 0, 5000, "KEYS", "list", "hash")
    assert error == "IOERR error or timeout reading to target instance"
    assert filled.ask("EXISTS", "list") == 0
    assert filled.ask("EXISTS", "hash") == 1


def test_migrate_connects_anew_when_the_cached_connection_is_dead(filled: Any) -> None:
    with target() as there:
        filled.ask("MIGRATE", "127.0.0.1", there.port, "list", 0, 5000)
        link = filled.server.migrate_links.get(("127.0.0.1", there.port), 1000, 0)
        link.wire.sock.shutdown(socket.SHUT_RDWR)
        assert filled.ask("MIGRATE", "127.0.0.1", there.port, "hash", 0, 5000) == b"OK"
        assert there.connections == 2
        filled.server.migrate_links.close()


def test_migrate_times_out_on_a_silent_target(filled: Any) -> None:
    with target(lambda command: b"") as there:
        error = filled.error("MIGRATE", "127.0.0.1", there.port, "list", 0, 20)
        assert error == "IOERR error or timeout reading to target instance"
        assert there.connections == 1
    assert filled.ask("EXISTS", "list") == 1


def test_migrate_to_a_closed_port_is_an_ioerr(filled: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = filled.error("MIGRATE", "127.0.0.1", port, "list", 0, 500)
    assert error == "IOERR error or timeout connecting to the client"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("k", "0", "10", "KEYS", "a"),
            "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ),
        (("k", "0", "10", "AUTH"), "ERR syntax error"),
        (("k", "0", "10", "AUTH2", "me"), "ERR syntax error"),
        (("k", "0", "10", "WHAT"), "ERR syntax error"),
        (("k", "x", "10"), "ERR value is not an integer or out of range"),
        (("k", "0", "x"), "ERR value is not an integer or out of range"),
    ],
)
def test_migrate_checks_its_arguments(node: Any, arguments: tuple[str, ...], error: str) -> None:
    assert node.error("MIGRATE", "127.0.0.1", "1", *arguments) == error


@pytest.mark.parametrize(
    ("line", "positions"),
    [
        (b"migrate h 1 k 0 9", [3]),
        (b"migrate h 1 - 0 9 copy keys a b", [8, 9]),
        (b"migrate h 1 - 0 9 auth keys keys a", [9]),
        (b"migrate h 1 - 0 9 auth2 keys keys", [3]),
        (b"migrate h 1 k 0 9 keys a", [3]),
    ],
)
def test_migrate_s_keys_are_found(line: bytes, positions: list[int]) -> None:
    assert find_keys([b"" if word == b"-" else word for word in line.split()]) == positions
