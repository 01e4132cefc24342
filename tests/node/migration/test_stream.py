"""The stream of a slot migration, run on an empty node, gives the source's keys, whatever was written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.node.digest import value_digest
from pyredis_cluster.node.keyspace import ExpiryPolicy
from pyredis_cluster.node.migration import stream as stream_module
from pyredis_cluster.node.migration.stream import BATCH_MAX_KEYS, LARGE_MIN_ELEMENTS, SlotStream
from pyredis_cluster.node.parser import RequestParser

Node = Any

TAGS = (b"{a}", b"{b}", b"{c}")
SLOTS = tuple(sorted(key_slot(tag) for tag in TAGS))
OTHER = b"{elsewhere}"
FAR_MS = 1_800_000_000_000


class Migration:
    """A source, a target, and the stream between them; what was put is run on the target by `settle`."""

    def __init__(self, source: Node, target: Node) -> None:
        self.source = source
        self.target = target
        self.sent: list[list[bytes]] = []
        self.flushed = False
        server = source.server
        self._parser = RequestParser(1 << 30)
        table = server.dispatcher.table
        self.stream = SlotStream(server.keyspace.databases[0], SLOTS, table, self._put, self._flush)

    def begin(self) -> None:
        self.source.server.journal.subscribe(self)

    def _put(self, data: bytes) -> None:
        self.sent += self._parser.feed(data)

    def _flush(self) -> None:
        self.flushed = True

    def journal_entry(self, data: bytes, offset: int, database: int, args: list[bytes]) -> None:
        self.stream.entry(data, args)

    def finish(self) -> None:
        while self.stream.step():
            pass

    def settle(self) -> None:
        """The target runs what was sent, without an error."""
        keyspace = self.target.server.keyspace
        keyspace.expiry_policy = ExpiryPolicy.IGNORE
        for args in self.sent:
            reply = self.target.run(*args)
            assert not reply.startswith(b"-"), (args, reply)
        self.sent = []
        keyspace.expiry_policy = ExpiryPolicy.DELETE

    def assert_equal(self) -> None:
        self.settle()
        assert contents(self.target) == contents(self.source)
        self.target.server.keyspace.databases[0]._check()


def contents(node: Node) -> dict[bytes, tuple[int, int | None]]:
    """Digest and time to live of every key in the slots."""
    database = node.server.keyspace.databases[0]
    return {
        key: (value_digest(database, key), database.expiry_ms(key))
        for slot in SLOTS
        for key in database.keys_in_slot(slot)
    }


@pytest.fixture
def migration(make_node: type[Node]) -> Migration:
    return Migration(make_node(), make_node())


def fill(node: Node) -> None:
    """Every type, with and without a time to live, in each of the slots and in another one."""
    for tag in (*TAGS, OTHER):
        node.run(b"SET", tag + b"s", b"text")
        node.run(b"SET", tag + b"n", b"12")
        node.run(b"SET", tag + b"st", b"text", b"PXAT", b"%d" % FAR_MS)
        node.run(b"APPEND", tag + b"raw", b"appended")
        for name in (b"h", b"ht"):
            node.run(b"HSET", tag + name, b"f", b"1", b"g", b"two")
        for name in (b"l", b"lt"):
            node.run(b"RPUSH", tag + name, b"1", b"two", b"", b"3")
        node.run(b"SADD", tag + b"i", b"1", b"2", b"30000")
        for name in (b"t", b"tt"):
            node.run(b"SADD", tag + name, b"1", b"two")
        for name in (b"z", b"zt"):
            node.run(b"ZADD", tag + name, b"1.5", b"m", b"-inf", b"low", b"inf", b"high", b"3e100", b"x")
        for name in (b"ht", b"lt", b"tt", b"zt"):
            node.run(b"PEXPIREAT", tag + name, b"%d" % FAR_MS)


def test_every_type_arrives_with_its_time_to_live(migration: Migration) -> None:
    fill(migration.source)
    migration.begin()
    migration.finish()
    migration.assert_equal()
    assert len(contents(migration.target)) == 13 * len(TAGS)


def test_only_keys_of_the_slots_are_sent(migration: Migration) -> None:
    fill(migration.source)
    migration.begin()
    migration.finish()
    migration.source.run(b"SET", OTHER + b"s", b"later")
    migration.settle()
    assert migration.target.ask("EXISTS", OTHER + b"s") == 0


def test_small_strings_go_together_within_a_slot(migration: Migration) -> None:
    for number in range(BATCH_MAX_KEYS + 1):
        migration.source.run(b"SET", b"{a}%d" % number, b"x")
    migration.begin()
    migration.finish()
    assert [(args[0], len(args) // 2) for args in migration.sent] == [(b"MSET", BATCH_MAX_KEYS), (b"MSET", 1)]
    migration.assert_equal()


def test_writes_to_a_slot_not_begun_are_not_sent(migration: Migration) -> None:
    migration.begin()
    migration.source.run(b"SET", b"{a}k", b"1")
    migration.source.run(b"INCR", b"{a}k")
    assert migration.sent == []
    migration.finish()
    migration.assert_equal()
    assert migration.target.ask("GET", "{a}k") == b"2"


def test_writes_to_a_slot_that_is_done_follow_verbatim(migration: Migration) -> None:
    fill(migration.source)
    migration.begin()
    migration.finish()
    migration.settle()
    migration.source.run(b"INCRBY", b"{a}n", b"5")
    migration.source.run(b"RENAME", b"{b}h", b"{b}new")
    migration.source.run(b"DEL", b"{c}s")
    assert [args[0] for args in migration.sent] == [b"INCRBY", b"RENAME", b"DEL"]
    migration.assert_equal()


def begin_slot_of_many(migration: Migration, keys: int = 3 * BATCH_MAX_KEYS) -> None:
    """One slot with more keys than go in a step, the walk in the middle of it."""
    for number in range(keys):
        migration.source.run(b"SET", b"{a}%d" % number, b"%d" % number)
    migration.begin()
    while not 0 < migration.stream.keys_sent < keys:
        assert migration.stream.step()


def split_by_sent(migration: Migration, keys: int = 3 * BATCH_MAX_KEYS) -> tuple[list[bytes], list[bytes]]:
    """(keys that went out, keys that did not)."""
    migration.settle()
    names = [b"{a}%d" % number for number in range(keys)]
    gone = [name for name in names if migration.target.ask("EXISTS", name)]
    return gone, [name for name in names if name not in gone]


def test_a_key_under_way_that_went_out_is_followed_verbatim(migration: Migration) -> None:
    begin_slot_of_many(migration)
    gone, waiting = split_by_sent(migration)
    migration.source.run(b"INCR", gone[0])
    assert migration.sent == [[b"INCR", gone[0]]]
    migration.source.run(b"INCR", waiting[-1])
    assert migration.sent[-1][0] == b"SET"
    migration.source.run(b"INCR", waiting[-1])
    assert migration.sent[-1] == [b"INCR", waiting[-1]]
    migration.finish()
    migration.assert_equal()


def test_keys_deleted_made_and_renamed_while_their_slot_is_under_way(migration: Migration) -> None:
    begin_slot_of_many(migration)
    gone, waiting = split_by_sent(migration)
    run = migration.source.run
    run(b"DEL", gone[0], waiting[0])
    run(b"RENAME", gone[1], b"{a}renamed")
    run(b"RENAME", waiting[1], gone[2])
    run(b"RENAME", gone[3], waiting[2])
    run(b"SET", b"{a}made", b"1")
    run(b"INCR", b"{a}made")
    run(b"DEL", waiting[3])
    run(b"SET", waiting[3], b"again")
    run(b"COPY", waiting[4], gone[4], b"REPLACE")
    run(b"MSET", gone[5], b"x", waiting[5], b"y")
    run(b"GETDEL", waiting[6])
    migration.finish()
    migration.assert_equal()


def test_a_transaction_under_way_arrives_once(migration: Migration) -> None:
    begin_slot_of_many(migration)
    gone, waiting = split_by_sent(migration)
    run = migration.source.run
    for key in (gone[0], waiting[0], b"{a}made"):
        run(b"MULTI")
        run(b"INCR", key)
        run(b"INCRBY", key, b"10")
        run(b"APPEND", key, b"0")
        run(b"EXEC")
    run(b"MULTI")
    run(b"INCR", waiting[1])
    run(b"RENAME", waiting[1], gone[1])
    run(b"INCR", gone[1])
    run(b"INCR", gone[2])
    run(b"COPY", gone[2], waiting[2], b"REPLACE")
    run(b"INCR", gone[2])
    run(b"INCR", waiting[2])
    run(b"EXEC")
    run(b"INCR", gone[2])
    migration.finish()
    migration.assert_equal()


def test_a_key_that_expires_while_its_slot_is_under_way_is_gone(migration: Migration) -> None:
    begin_slot_of_many(migration)
    gone, waiting = split_by_sent(migration)
    for key in (gone[0], waiting[0]):
        migration.source.run(b"PEXPIRE", key, b"100")
    migration.source.advance(200)
    assert migration.source.ask("GET", gone[0]) is None
    migration.finish()
    assert migration.source.ask("GET", waiting[0]) is None
    migration.assert_equal()


def test_an_expired_key_is_as_old_on_the_target(migration: Migration) -> None:
    """The target's clock is ahead: what the source does with a key that lives still must not make it anew."""
    migration.source.run(b"SET", b"{a}k", b"1", b"PX", b"100")
    migration.begin()
    migration.finish()
    migration.target.advance(1000)
    migration.source.run(b"INCR", b"{a}k")
    migration.source.run(b"HSET", b"{a}h", b"f", b"1")
    migration.source.run(b"PEXPIRE", b"{a}h", b"100")
    migration.source.run(b"PERSIST", b"{a}h")
    migration.assert_equal()


def test_a_flush_is_told(migration: Migration) -> None:
    fill(migration.source)
    migration.begin()
    migration.stream.step()
    migration.source.run(b"FLUSHALL")
    assert migration.flushed


def add_large(node: Node, kind: bytes) -> bytes:
    key = b"{a}large"
    for start in range(0, 2 * LARGE_MIN_ELEMENTS, 500):
        words = [b"%d" % number for number in range(start, min(start + 500, 2 * LARGE_MIN_ELEMENTS))]
        if kind in (b"HSET", b"ZADD"):
            words = [word for number in words for word in (number, number)]
        node.run(kind, key, *words)
    return key


@pytest.mark.parametrize("kind", [b"HSET", b"RPUSH", b"SADD", b"ZADD"])
def test_a_large_collection_goes_out_in_steps(migration: Migration, kind: bytes) -> None:
    key = add_large(migration.source, kind)
    migration.source.run(b"PEXPIREAT", key, b"%d" % FAR_MS)
    migration.begin()
    steps = 0
    while migration.stream.step():
        steps += 1
        assert max((len(args) for args in migration.sent), default=0) <= stream_module.LARGE_MIN_ELEMENTS
    assert steps > 2 * LARGE_MIN_ELEMENTS // 512
    migration.assert_equal()


def test_a_large_list_that_is_read_in_the_middle_is_held_otherwise_and_goes_out_all_the_same(
    migration: Migration,
) -> None:
    key = add_large(migration.source, b"RPUSH")
    value = migration.source.server.keyspace.databases[0].peek(key)
    while value.hidden and type(value.items[100]) is bytes:
        migration.source.run(b"LPOP", key)
    migration.begin()
    for _ in range(4):
        migration.stream.step()
    before = len(value.items)
    migration.source.run(b"LRANGE", key, b"0", b"200")
    assert len(value.items) > before
    while migration.stream.step():
        pass
    migration.assert_equal()


WRITES_TO_LARGE: list[list[bytes]] = [
    [b"DEL", b"{a}large"],
    [b"PEXPIREAT", b"{a}large", b"%d" % FAR_MS],
    [b"RENAME", b"{a}large", b"{a}other"],
    [b"COPY", b"{a}large", b"{a}copy"],
]


@pytest.mark.parametrize("kind", [b"HSET", b"RPUSH", b"SADD", b"ZADD"])
@pytest.mark.parametrize("write", WRITES_TO_LARGE, ids=lambda write: write[0].decode())
@pytest.mark.parametrize("transaction", [False, True], ids=["alone", "in a transaction"])
def test_a_large_collection_is_written_in_the_middle(
    migration: Migration, kind: bytes, write: list[bytes], transaction: bool
) -> None:
    remove = {b"HSET": b"HDEL", b"RPUSH": b"LREM", b"SADD": b"SREM", b"ZADD": b"ZREM"}[kind]
    key = add_large(migration.source, kind)
    migration.begin()
    for _ in range(4):
        migration.stream.step()
    run = migration.source.run
    if transaction:
        run(b"MULTI")
    run(*([remove, key, b"0", b"17"] if kind == b"RPUSH" else [remove, key, b"17"]))
    run(*write)
    if transaction:
        run(b"EXEC")
    run(b"SET", b"{a}after", b"1")
    migration.finish()
    migration.assert_equal()


def random_writes(rng: Random, tag: bytes) -> Iterator[list[bytes]]:
    """Writes of every kind to a few keys of one slot; many fail for the type, which is as well."""

    def key() -> bytes:
        return tag + rng.choice(
            [b"s", b"n", b"st", b"h", b"ht", b"l", b"lt", b"i", b"t", b"z", b"zt", b"new1", b"new2"]
        )

    def word() -> bytes:
        return b"%d" % rng.randrange(40)

    makers = [
        lambda: [b"SET", key(), word()],
        lambda: [b"SET", key(), word(), b"PX", b"%d" % rng.choice([5, 100_000])],
        lambda: [b"INCR", key()],
        lambda: [b"APPEND", key(), word()],
        lambda: [b"SETRANGE", key(), b"3", word()],
        lambda: [b"INCRBYFLOAT", key(), b"0.5"],
        lambda: [b"DEL", key(), key()],
        lambda: [b"UNLINK", key()],
        lambda: [b"PEXPIRE", key(), b"%d" % rng.choice([1, 50_000])],
        lambda: [b"PERSIST", key()],
        lambda: [b"RENAME", key(), key()],
        lambda: [b"RENAMENX", key(), key()],
        lambda: [b"COPY", key(), key(), b"REPLACE"],
        lambda: [b"GETEX", key(), b"PERSIST"],
        lambda: [b"GETDEL", key()],
        lambda: [b"MSET", key(), word(), key(), word()],
        lambda: [b"HSET", key(), word(), word(), word(), word()],
        lambda: [b"HDEL", key(), word(), word()],
        lambda: [b"HINCRBY", key(), word(), b"2"],
        lambda: [b"LPUSH", key(), word(), word()],
        lambda: [b"RPUSH", key(), word()],
        lambda: [b"LPOP", key()],
        lambda: [b"LMOVE", key(), key(), b"LEFT", b"RIGHT"],
        lambda: [b"LTRIM", key(), b"0", b"5"],
        lambda: [b"SADD", key(), word(), word()],
        lambda: [b"SPOP", key()],
        lambda: [b"SMOVE", key(), key(), word()],
        lambda: [b"SUNIONSTORE", key(), key(), key()],
        lambda: [b"ZADD", key(), word(), word()],
        lambda: [b"ZINCRBY", key(), b"1.5", word()],
        lambda: [b"ZPOPMIN", key()],
        lambda: [b"ZRANGESTORE", key(), key(), b"0", b"3"],
        lambda: [b"ZUNIONSTORE", key(), b"2", key(), key()],
        lambda: [b"ZREMRANGEBYRANK", key(), b"0", b"1"],
    ]
    while True:
        yield rng.choice(makers)()


@pytest.mark.parametrize("seed", range(12))
def test_any_writes_between_any_steps(migration: Migration, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "BATCH_MAX_KEYS", 2)
    monkeypatch.setattr(stream_module, "LARGE_MIN_ELEMENTS", 3)
    monkeypatch.setattr("pyredis_cluster.node.migration.rebuild.ELEMENTS_MAX", 2)
    rng = Random(seed)
    fill(migration.source)
    writes = [random_writes(rng, tag) for tag in TAGS]
    migration.begin()
    more = True
    rounds = 0
    while more or rounds < 60:
        rounds += 1
        if rng.random() < 0.5:
            more = migration.stream.step()
        for _ in range(rng.randrange(6)):
            write = rng.choice(writes)
            if rng.random() < 0.2:
                migration.source.run(b"MULTI")
                for _ in range(rng.randrange(5)):
                    migration.source.run(*next(write))
                migration.source.run(b"EXEC")
            else:
                migration.source.run(*next(write))
        migration.source.advance(rng.randrange(3))
        if rng.random() < 0.2:
            migration.settle()
    migration.assert_equal()
