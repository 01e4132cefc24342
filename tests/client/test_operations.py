"""The operations, performed on a cluster of dictionaries: no sockets, and a clock that moves when they sleep."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from pyredis_cluster.client.effects import Batch, Exchange, Lease, Release, Retain, Sleep
from pyredis_cluster.client.errors import (
    ClusterDownError,
    ClusterUnreachableError,
    ConnectionLostError,
    CrossSlotError,
    NotRoutableError,
    PoolExhaustedError,
    RequestTimeoutError,
    ResponseError,
    WatchError,
    WrongTypeError,
    reply_error,
)
from pyredis_cluster.client.operations import ROUND_REQUESTS_MAX, Operation, Operations
from pyredis_cluster.client.options import ClientOptions
from pyredis_cluster.client.resp import INCOMPLETE, ReplyDecoder, to_args
from pyredis_cluster.client.routing import Router
from pyredis_cluster.client.scanning import ScanState
from pyredis_cluster.client.transactions import TransactionState
from pyredis_cluster.client.wire import Address
from pyredis_cluster.gossip.slots import key_slot

A, B = ("a", 1), ("b", 2)
HALF = 8192
Node = Callable[[list[bytes]], Any]


class FakeCluster:
    """Two nodes, A with the lower half of the slots and B with the upper, which answer by `rules`.

    A rule gets (address, command) and returns a reply, raises a ClientError that the exchange then has, or
    passes with NotImplemented; the default is GET and SET on dictionaries. `log` has what was sent where.
    """

    def __init__(self, **options: Any) -> None:
        self.now_ms = 0.0
        self.data: dict[bytes, bytes] = {}
        self.log: list[tuple[Address, list[bytes]]] = []
        self.rules: list[Callable[[Address, list[bytes]], Any]] = []
        self.sleeps: list[float] = []
        self.leases = 0
        self.exchanges = 0
        self.timeouts: list[float] = []
        self.router = Router([A], ClientOptions(**options), Random(1))
        self.operations = Operations(self.router, lambda: self.now_ms)
        self.slots: Any = [[0, HALF - 1, [b"a", 1]], [HALF, 16383, [b"b", 2]]]

    def run(self, operation: Operation[Any]) -> Any:
        try:
            while True:
                self.perform(operation.send(None))
        except StopIteration as stop:
            return stop.value

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self.operations.execute(to_args(args), **kwargs))

    def pipeline(self, *commands: Any, raise_on_error: bool = True) -> Any:
        queue = [(to_args(command), None) for command in commands]
        return self.run(self.operations.pipeline(queue, raise_on_error))

    def perform(self, effect: Any) -> None:
        if isinstance(effect, Exchange):
            self.exchanges += 1
            assert len({batch.address for batch in effect.batches}) == len(effect.batches)
            for batch in effect.batches:
                self.answer(batch)
        elif isinstance(effect, Sleep):
            self.sleeps.append(effect.duration_ms)
            self.now_ms += effect.duration_ms
        elif isinstance(effect, Lease):
            self.leases += 1
            effect.connection = effect.address
        elif isinstance(effect, Release):
            self.leases -= 1
        else:
            assert isinstance(effect, Retain)

    def answer(self, batch: Batch) -> None:
        self.timeouts.append(batch.timeout_ms)
        decoder = ReplyDecoder()
        decoder.feed(batch.payload)
        while (command := decoder.next_reply()) is not INCOMPLETE:
            try:
                batch.replies.append(self.reply(batch.address, command))
            except (ConnectionLostError, RequestTimeoutError, PoolExhaustedError) as error:
                batch.error = error
                return
        assert len(batch.replies) == batch.count

    def reply(self, address: Address, command: list[bytes]) -> Any:
        self.log.append((address, command))
        for rule in self.rules:
            reply = rule(address, command)
            if reply is not NotImplemented:
                return reply
        return self.default_reply(command)

    def default_reply(self, command: list[bytes]) -> Any:
        name, *args = command
        if name == b"CLUSTER":
            return self.slots
        if name == b"GET":
            return self.data.get(args[0])
        if name == b"MGET":
            return [self.data.get(key) for key in args]
        if name in (b"SET", b"MSET"):
            self.data.update(zip(args[::2], args[1::2], strict=True))
            return b"OK"
        if name == b"DEL":
            return sum(self.data.pop(key, None) is not None for key in args)
        return b"OK"

    def sent(self) -> list[tuple[Address, list[bytes]]]:
        return [(address, command) for address, command in self.log if command[0] != b"CLUSTER"]


def key_in(low: bool, nth: int = 0) -> bytes:
    """A key whose slot is in the lower or the upper half."""
    keys = (b"key%d" % number for number in range(10_000))
    matching = [key for key in keys if (key_slot(key) < HALF) is low]
    return matching[nth]


LOW, HIGH = key_in(True), key_in(False)


def first_times(count: int, name: bytes, answer: Any) -> Callable[[Address, list[bytes]], Any]:
    """A rule: the first `count` commands called `name` get `answer`, which is raised if it is no reply."""
    left = [count]

    def rule(address: Address, command: list[bytes]) -> Any:
        if command[0] != name or left[0] == 0:
            return NotImplemented
        left[0] -= 1
        if isinstance(answer, Exception) and not isinstance(answer, ResponseError):
            raise answer
        return answer

    return rule


def test_a_command_goes_to_the_owner_of_its_slot() -> None:
    cluster = FakeCluster()
    assert cluster.execute("SET", LOW, "1") == b"OK"
    assert cluster.execute("set", HIGH, "2") == b"OK"
    assert [address for address, _ in cluster.sent()] == [A, B]


def test_the_slots_are_asked_for_once() -> None:
    cluster = FakeCluster()
    for _ in range(3):
        cluster.execute("GET", LOW)
    assert [command for _, command in cluster.log].count([b"CLUSTER", b"SLOTS"]) == 1


def test_a_client_that_reaches_no_node_says_so_at_once() -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(99, b"CLUSTER", ConnectionLostError("refused")))
    with pytest.raises(ClusterUnreachableError, match="refused"):
        cluster.execute("GET", LOW)
    assert cluster.sleeps == []


def test_a_node_without_cluster_support_is_told_by_its_own_words() -> None:
    cluster = FakeCluster()
    cluster.rules.append(
        first_times(1, b"CLUSTER", ResponseError("ERR This instance has cluster support disabled"))
    )
    with pytest.raises(ResponseError, match="cluster support disabled"):
        cluster.execute("GET", LOW)


def test_moved_is_followed_and_remembered() -> None:
    cluster = FakeCluster()
    cluster.data[LOW] = b"v"
    cluster.execute("PING")
    cluster.slots = [[0, 16383, [b"b", 2]]]
    cluster.rules.append(
        lambda address, command: (
            reply_error(f"MOVED {key_slot(LOW)} b:2") if address == A and command[0] == b"GET" else NotImplemented
        )
    )
    cluster.log.clear()
    cluster.now_ms += 1000
    assert cluster.execute("GET", LOW) == b"v"
    assert cluster.execute("GET", LOW) == b"v"
    assert [address for address, _ in cluster.sent()] == [A, B, B]
    assert cluster.router.slots.primaries() == [B]  # the slots were asked for again
    assert cluster.sleeps == []


def test_ask_is_followed_with_asking_and_not_remembered() -> None:
    cluster = FakeCluster()
    cluster.data[LOW] = b"v"
    cluster.rules.append(
        lambda address, command: (
            reply_error(f"ASK {key_slot(LOW)} b:2") if address == A and command[0] == b"GET" else NotImplemented
        )
    )
    assert cluster.execute("GET", LOW) == b"v"
    assert cluster.execute("GET", LOW) == b"v"
    asked = [(A, [b"GET", LOW]), (B, [b"ASKING"]), (B, [b"GET", LOW])]
    assert cluster.sent() == asked + asked


@pytest.mark.parametrize("message", ["TRYAGAIN x", "CLUSTERDOWN x", "LOADING x"])
def test_a_passing_condition_is_waited_out(message: str) -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(5, b"SET", reply_error(message)))
    assert cluster.execute("SET", LOW, "1") == b"OK"
    assert len(cluster.sleeps) == 5
    assert sum(cluster.sleeps) < 500


def test_a_condition_that_does_not_pass_ends_in_its_own_error_within_the_time_allowed() -> None:
    cluster = FakeCluster(retry_timeout_ms=2000)
    cluster.rules.append(first_times(10_000, b"SET", reply_error("CLUSTERDOWN x")))
    with pytest.raises(ClusterDownError):
        cluster.execute("SET", LOW, "1")
    assert 1500 < cluster.now_ms <= 2000


def test_attempts_are_bounded_too() -> None:
    cluster = FakeCluster(attempts_max=4)
    cluster.rules.append(first_times(10_000, b"SET", reply_error("TRYAGAIN x")))
    with pytest.raises(ResponseError, match="TRYAGAIN"):
        cluster.execute("SET", LOW, "1")
    assert len(cluster.sent()) == 4


def test_a_refused_connection_is_retried_after_asking_for_the_slots() -> None:
    cluster = FakeCluster()
    cluster.execute("PING")
    cluster.now_ms += 1000

    def rule(address: Address, command: list[bytes]) -> Any:
        if address == A:
            raise ConnectionLostError("refused")
        return NotImplemented

    cluster.rules.append(rule)
    cluster.slots = [[0, 16383, [b"b", 2]]]
    assert cluster.execute("SET", LOW, "1") == b"OK"
    assert cluster.sent()[-1] == (B, [b"SET", LOW, b"1"])


def test_a_node_that_stays_away_ends_in_an_error_that_names_the_cause() -> None:
    cluster = FakeCluster(retry_timeout_ms=1000)
    cluster.rules.append(first_times(10_000, b"SET", ConnectionLostError("refused by a:1")))
    with pytest.raises(ClusterUnreachableError, match="refused by a:1") as caught:
        cluster.execute("SET", LOW, "1")
    assert isinstance(caught.value.__cause__, ConnectionLostError)


def test_a_lost_write_is_raised_and_says_that_it_may_have_been_applied() -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(1, b"INCR", ConnectionLostError("reset", maybe_applied=True)))
    with pytest.raises(ConnectionLostError) as caught:
        cluster.execute("INCR", LOW)
    assert caught.value.maybe_applied


@pytest.mark.parametrize(("options", "name"), [({}, "GET"), ({"retry_writes": True}, "SET")])
def test_a_lost_read_and_on_request_a_lost_write_is_repeated(options: Any, name: str) -> None:
    cluster = FakeCluster(**options)
    cluster.rules.append(first_times(1, name.encode(), RequestTimeoutError("late", maybe_applied=True)))
    args = (name, LOW) if name == "GET" else (name, LOW, "1")
    assert cluster.execute(*args) in (None, b"OK")
    assert len(cluster.sent()) == 2


def test_an_exhausted_pool_is_not_retried() -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(1, b"GET", PoolExhaustedError("all in use")))
    with pytest.raises(PoolExhaustedError):
        cluster.execute("GET", LOW)


def test_a_pipeline_is_split_by_node_and_merged_in_order() -> None:
    cluster = FakeCluster()
    keys = [key_in(low, nth) for nth in range(5) for low in (True, False)]
    cluster.pipeline(*[("SET", key, b"v" + key) for key in keys])
    before = cluster.exchanges
    assert cluster.pipeline(*[("GET", key) for key in keys]) == [b"v" + key for key in keys]
    assert cluster.exchanges == before + 1


def test_only_the_redirected_items_of_a_pipeline_go_out_again() -> None:
    cluster = FakeCluster()
    cluster.execute("PING")
    second = key_in(True, 1)
    moved = reply_error(f"MOVED {key_slot(second)} b:2")
    cluster.rules.append(
        lambda address, command: moved if address == A and command[1:2] == [second] else NotImplemented
    )
    cluster.log.clear()
    assert cluster.pipeline(("SET", LOW, "1"), ("SET", second, "2"), ("SET", HIGH, "3")) == [b"OK"] * 3
    assert [command[1] for address, command in cluster.sent() if address == A] == [LOW, second]
    assert [command[1] for address, command in cluster.sent() if address == B] == [HIGH, second]


def test_errors_of_a_pipeline_stay_with_their_items() -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(2, b"LPUSH", reply_error("WRONGTYPE x")))
    commands = [("SET", LOW, "1"), ("LPUSH", LOW, "1"), ("GET", LOW)]
    results = cluster.pipeline(*commands, raise_on_error=False)
    assert results[0] == b"OK"
    assert isinstance(results[1], WrongTypeError)
    assert results[2] == b"1"
    with pytest.raises(WrongTypeError) as caught:
        cluster.pipeline(*commands)
    assert "command 1 of the pipeline" in caught.value.__notes__[0]


def test_a_connection_lost_in_a_pipeline_leaves_the_replies_before_it() -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(1, b"INCR", ConnectionLostError("reset", maybe_applied=True)))
    results = cluster.pipeline(
        ("SET", LOW, "1"), ("INCR", LOW), ("SET", LOW, "3"), ("GET", LOW), ("SET", HIGH, "1"), raise_on_error=False
    )
    assert results[0] == results[4] == b"OK"
    assert isinstance(results[1], ConnectionLostError)
    assert isinstance(results[2], ConnectionLostError)
    assert results[3] == b"1"  # a read is repeated


def test_a_long_pipeline_goes_out_in_rounds() -> None:
    cluster = FakeCluster()
    count = ROUND_REQUESTS_MAX + 1
    assert len(cluster.pipeline(*[("SET", LOW, b"%d" % index) for index in range(count)])) == count
    assert cluster.data[LOW] == b"%d" % (count - 1)
    assert cluster.exchanges == 3  # the slots, and two rounds


def test_keys_of_one_command_are_gathered_from_their_slots_in_order() -> None:
    cluster = FakeCluster()
    keys = [key_in(low, nth) for nth in range(4) for low in (True, False)]
    assert cluster.execute("MSET", *[item for key in keys for item in (key, b"v" + key)]) == b"OK"
    assert cluster.execute("MGET", *keys, b"absent", keys[0]) == [b"v" + key for key in keys] + [
        None,
        b"v" + keys[0],
    ]
    assert cluster.execute("DEL", *keys, b"absent") == len(keys)
    assert all(len({key_slot(key) for key in command[1:]}) == 1 for _, command in cluster.sent()
               if command[0] in (b"MGET", b"DEL"))  # fmt: skip


def test_a_wrong_number_of_arguments_is_for_the_node_to_refuse() -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(2, b"MSET", reply_error("ERR wrong number of arguments for 'mset' command")))
    for args in (("MSET",), ("MSET", LOW, "1", HIGH)):
        with pytest.raises(ResponseError, match="wrong number"):
            cluster.execute(*args)
    assert len(cluster.sent()) == 2


def test_a_failed_part_fails_the_whole() -> None:
    cluster = FakeCluster()
    cluster.rules.append(
        lambda address, command: (
            reply_error("OOM x") if address == B and command[0] == b"MSET" else NotImplemented
        )
    )
    with pytest.raises(ResponseError, match="OOM"):
        cluster.execute("MSET", LOW, "1", HIGH, "2")


@pytest.mark.parametrize(
    ("command", "replies", "result"),
    [
        (("DBSIZE",), {A: 3, B: 4}, 7),
        (("KEYS", "*"), {A: [b"x"], B: [b"y"]}, [b"x", b"y"]),
        (("FLUSHALL",), {A: b"OK", B: b"OK"}, b"OK"),
        (("SCRIPT", "EXISTS", "s", "t"), {A: [1, 1], B: [1, 0]}, [1, 0]),
        (("WAIT", "1", "10"), {A: 2, B: 1}, 1),
        (("RANDOMKEY",), {A: None, B: b"y"}, b"y"),
        (("CONFIG", "SET", "x", "y"), {A: b"OK", B: b"OK"}, b"OK"),
        (("slowlog", "len"), {A: 1, B: 2}, 3),
    ],
)
def test_a_command_for_all_is_answered_by_all(command: Any, replies: Any, result: Any) -> None:
    cluster = FakeCluster()
    cluster.rules.append(
        lambda address, command: NotImplemented if command[0] == b"CLUSTER" else replies[address]
    )
    assert cluster.execute(*command) == result
    assert {address for address, _ in cluster.sent()} == {A, B}


def test_a_node_that_is_named_gets_the_command() -> None:
    cluster = FakeCluster()
    cluster.execute("PING", node=B)
    cluster.execute("GET", LOW, node=B)
    cluster.execute("SCAN", 0, node=B)
    assert [address for address, _ in cluster.sent()] == [B, B, B]


@pytest.mark.parametrize("name", ["MULTI", "WATCH", "SUBSCRIBE", "monitor", "SELECT", "CLIENT REPLY", "SCAN"])
def test_what_changes_its_connection_is_refused(name: str) -> None:
    with pytest.raises(NotRoutableError):
        FakeCluster().execute(*name.split(), "x")


def test_an_unknown_command_is_learned_from_a_node_once() -> None:
    cluster = FakeCluster()
    entry = [b"fancy", 3, [b"readonly"], 2, 2, 1]
    cluster.rules.append(lambda _, command: [entry] if command[0] == b"COMMAND" else NotImplemented)
    cluster.execute("FANCY", "x", HIGH)
    cluster.execute("fancy", "x", LOW)
    assert [(address, command[0]) for address, command in cluster.sent()][1:] == [(B, b"FANCY"), (A, b"fancy")]


def test_movable_keys_are_asked_for() -> None:
    cluster = FakeCluster()

    def rule(_: Address, command: list[bytes]) -> Any:
        if command[:2] == [b"COMMAND", b"INFO"]:
            return [[b"odd", -2, [b"write", b"movablekeys"], 0, 0, 0]]
        if command[:2] == [b"COMMAND", b"GETKEYS"]:
            return [command[-1]]
        return NotImplemented

    cluster.rules.append(rule)
    cluster.execute("ODD", "1", HIGH)
    assert cluster.sent()[-1] == (B, [b"ODD", b"1", HIGH])


def test_what_no_node_knows_is_sent_for_a_node_to_refuse() -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(1, b"COMMAND", [None]))
    cluster.rules.append(first_times(1, b"NOSUCH", reply_error("ERR unknown command 'NOSUCH'")))
    with pytest.raises(ResponseError, match="unknown command"):
        cluster.execute("NOSUCH")


@pytest.mark.parametrize(
    ("command", "extra_ms"),
    [
        (("BLPOP", LOW, "2"), 2000),
        (("BLMPOP", "1.5", "1", LOW, "LEFT"), 1500),
        (("XREAD", "BLOCK", "700", "STREAMS", LOW, "$"), 700),
        (("BLPOP", LOW, "0"), float("inf")),
        (("GET", LOW), 0),
    ],
)
def test_a_blocking_command_gets_its_own_time_on_top(command: Any, extra_ms: float) -> None:
    cluster = FakeCluster(request_timeout_ms=100)
    cluster.execute(*command)
    assert cluster.timeouts[-1] == 100 + extra_ms


def transaction(cluster: FakeCluster, *commands: Any) -> tuple[TransactionState, list[Any]]:
    state = TransactionState(cluster.operations)
    queue = []
    for command in commands:
        args = to_args(command)
        state.check(args)
        queue.append((args, None))
    return state, queue


def multi_rule(exec_reply: Any) -> Callable[[Address, list[bytes]], Any]:
    """Answer commands as within MULTI; EXEC gets `exec_reply`."""

    def rule(_: Address, command: list[bytes]) -> Any:
        if command[0] == b"EXEC":
            return exec_reply
        return b"QUEUED" if command[0] == b"SET" else NotImplemented

    return rule


def test_a_transaction_is_one_request_to_the_owner_of_its_slot() -> None:
    cluster = FakeCluster()
    cluster.rules.append(multi_rule([b"OK", b"OK"]))
    state, queue = transaction(cluster, ("SET", HIGH, "1"), ("SET", HIGH, "2"))
    before = cluster.exchanges
    assert cluster.run(state.execute(queue)) == [b"OK", b"OK"]
    assert [command[0] for _, command in cluster.sent()] == [b"MULTI", b"SET", b"SET", b"EXEC"]
    assert {address for address, _ in cluster.sent()} == {B}
    assert cluster.exchanges == before + 2  # one for the slots


def test_a_transaction_over_two_slots_is_refused_when_it_is_queued() -> None:
    cluster = FakeCluster()
    with pytest.raises(CrossSlotError):
        transaction(cluster, ("SET", LOW, "1"), ("SET", HIGH, "2"))
    with pytest.raises(CrossSlotError):
        transaction(cluster, ("MGET", LOW, HIGH))
    assert cluster.log == []


def test_a_redirected_transaction_goes_out_again_as_a_whole() -> None:
    cluster = FakeCluster()
    slot = key_slot(LOW)

    def rule(address: Address, command: list[bytes]) -> Any:
        if address == A and command[0] == b"SET":
            return reply_error(f"ASK {slot} b:2")
        if address == A and command[0] == b"EXEC":
            return reply_error("EXECABORT Transaction discarded because of previous errors.")
        return NotImplemented

    cluster.rules += [rule, multi_rule([b"OK"])]
    state, queue = transaction(cluster, ("SET", LOW, "1"))
    assert cluster.run(state.execute(queue)) == [b"OK"]
    at_b = [command[0] for address, command in cluster.sent() if address == B]
    assert at_b == [b"ASKING", b"MULTI", b"SET", b"EXEC"]


def test_a_command_refused_when_queued_is_raised_with_its_own_error() -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(1, b"SET", reply_error("ERR syntax error")))
    cluster.rules.append(multi_rule(reply_error("EXECABORT Transaction discarded because of previous errors.")))
    state, queue = transaction(cluster, ("SET", LOW, "1", "BAD"))
    with pytest.raises(ResponseError, match="syntax error"):
        cluster.run(state.execute(queue))


def test_a_changed_watched_key_is_a_watch_error_and_gives_the_connection_back() -> None:
    cluster = FakeCluster()
    cluster.rules.append(multi_rule(None))
    state, queue = transaction(cluster, ("SET", LOW, "1"))
    cluster.run(state.watch([LOW]))
    assert cluster.leases == 1
    assert cluster.run(state.immediate([b"GET", LOW])) is None
    with pytest.raises(WatchError):
        cluster.run(state.execute(queue))
    assert cluster.leases == 0


def test_a_watch_is_placed_where_the_slot_has_moved_to() -> None:
    cluster = FakeCluster()
    cluster.rules.append(first_times(1, b"WATCH", reply_error(f"MOVED {key_slot(LOW)} b:2")))
    state, _ = transaction(cluster)
    cluster.run(state.watch([LOW]))
    assert [address for address, command in cluster.sent() if command[0] == b"WATCH"] == [A, B]
    cluster.run(state.release())
    assert cluster.leases == 0


def test_a_slot_that_moves_away_under_a_watch_is_a_watch_error() -> None:
    cluster = FakeCluster()
    state, _ = transaction(cluster)
    cluster.run(state.watch([LOW]))
    cluster.rules.append(first_times(1, b"GET", reply_error(f"MOVED {key_slot(LOW)} b:2")))
    with pytest.raises(WatchError):
        cluster.run(state.immediate([b"GET", LOW]))
    assert cluster.leases == 0


def test_a_watched_transaction_that_is_lost_may_have_been_applied() -> None:
    cluster = FakeCluster()
    state, queue = transaction(cluster, ("SET", LOW, "1"))
    cluster.run(state.watch([LOW]))
    cluster.rules.append(first_times(1, b"EXEC", ConnectionLostError("reset", maybe_applied=True)))
    with pytest.raises(ConnectionLostError) as caught:
        cluster.run(state.execute(queue))
    assert caught.value.maybe_applied


def test_a_scan_visits_all_primaries_to_their_ends() -> None:
    cluster = FakeCluster()
    pages = {
        (A, b"0"): [b"7", [b"a1"]],
        (A, b"7"): [b"0", [b"a2"]],
        (B, b"0"): [b"0", [b"b1"]],
    }
    cluster.rules.append(
        lambda address, command: pages[address, command[1]] if command[0] == b"SCAN" else NotImplemented
    )
    state = ScanState(cluster.operations, [b"COUNT", b"1"])
    keys = []
    while not state.done:
        keys += cluster.run(state.next_page())
    assert sorted(keys) == [b"a1", b"a2", b"b1"]


def test_a_scan_of_a_shard_starts_again_when_its_primary_has_changed() -> None:
    cluster = FakeCluster()
    cluster.slots = [[0, 16383, [b"a", 1]]]
    pages = {(A, b"0"): [b"7", [b"k1"]], (B, b"0"): [b"0", [b"k1", b"k2"]], (B, b"7"): [b"0", [b"k2"]]}
    cluster.rules.append(
        lambda address, command: pages[address, command[1]] if command[0] == b"SCAN" else NotImplemented
    )
    state = ScanState(cluster.operations, [])
    keys = cluster.run(state.next_page())
    cluster.router.adopt([(0, 16383, type(cluster.router.slots.shards[0])(B))], cluster.now_ms)  # type: ignore[misc]
    while not state.done:
        keys += cluster.run(state.next_page())
    assert set(keys) == {b"k1", b"k2"}
