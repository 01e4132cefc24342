"""List commands that wait for an element: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH (Redis: t_list.c).

Law: each is propagated as its non-blocking form; inside a transaction none waits.
"""

from __future__ import annotations

from ..client import Client
from ..command import KeySpec, command, keys
from ..parsing import parse_timeout_ms
from ..reply import bulk
from ..values.list import List
from .lists import find_list
from .lists_moving import MOVE_KEYS, first_list, move, parse_multi_pop, parse_side, pop_with_key


def _timed_out(client: Client) -> bytes:
    return client.resp.null_array


def _wait(client: Client, args: list[bytes], names: list[bytes], timeout_ms: int) -> bytes:
    return client.server.blocking.park(client, args, names, timeout_ms, _timed_out, value_type=List)


def _pop(client: Client, args: list[bytes], *, left: bool) -> bytes:
    timeout_ms = parse_timeout_ms(args[-1], client.server.clock.now_ms)
    names = args[1:-1]
    found = first_list(client, names)
    if found is None:
        return _wait(client, args, names, timeout_ms) if client.may_block else client.resp.null_array
    name, value = found
    fill = client.server.config.list_max_listpack_size
    element = value.popleft(fill) if left else value.pop(fill)
    client.db.shrunk(name, value)
    client.propagate_as([b"LPOP" if left else b"RPOP", name])
    return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(element), element)


@command(
    "blpop",
    arity=-3,
    flags="write blocking",
    keys=keys("RW access delete", 1, -2),
    since="2.0.0",
    group="list",
    categories="list",
)
def blpop(client: Client, args: list[bytes]) -> bytes:
    """BLPOP key [key ...] timeout -> [key, element], or null at the timeout

    Removes and returns the first element in a list. Blocks until an element is available otherwise.
    Complexity: O(N) where N is the number of provided keys
    """
    return _pop(client, args, left=True)


@command(
    "brpop",
    arity=-3,
    flags="write blocking",
    keys=keys("RW access delete", 1, -2),
    since="2.0.0",
    group="list",
    categories="list",
)
def brpop(client: Client, args: list[bytes]) -> bytes:
    """BRPOP key [key ...] timeout -> [key, element], or null at the timeout

    Removes and returns the last element in a list. Blocks until an element is available otherwise.
    Complexity: O(N) where N is the number of provided keys
    """
    return _pop(client, args, left=False)


@command(
    "blmpop",
    arity=-5,
    flags="write blocking movablekeys",
    keys=(KeySpec("RW access delete", 2, keynum=(0, 1, 1)),),
    since="7.0.0",
    group="list",
    categories="list",
)
def blmpop(client: Client, args: list[bytes]) -> bytes:
    """BLMPOP timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count] -> [key, [element ...]], or null

    Pops the first element from one of multiple lists. Blocks until an element is available otherwise.
    Complexity: O(N+M) where N is the number of provided keys and M is the number of elements returned
    """
    names, left, count = parse_multi_pop(args, 2)
    timeout_ms = parse_timeout_ms(args[1], client.server.clock.now_ms)
    found = first_list(client, names)
    if found is None:
        return _wait(client, args, names, timeout_ms) if client.may_block else client.resp.null_array
    return pop_with_key(client, found, count, left=left)


@command(
    "blmove",
    arity=6,
    flags="write denyoom blocking",
    keys=MOVE_KEYS,
    since="6.2.0",
    group="list",
    categories="list",
)
def blmove(client: Client, args: list[bytes]) -> bytes:
    """BLMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> timeout -> bulk, or null at the timeout

    Pops an element from a list, pushes it to another list and returns it. Blocks until there is one.
    Complexity: O(1)
    """
    from_left, to_left = parse_side(args[3]), parse_side(args[4])
    return _move(client, args, [b"LMOVE", *args[1:5]], from_left=from_left, to_left=to_left)


@command(
    "brpoplpush",
    arity=4,
    flags="write denyoom blocking",
    keys=MOVE_KEYS,
    since="2.2.0",
    group="list",
    categories="list",
)
def brpoplpush(client: Client, args: list[bytes]) -> bytes:
    """BRPOPLPUSH source destination timeout -> bulk, or null at the timeout

    Pops an element from a list, pushes it to another list and returns it. Blocks until there is one.
    Complexity: O(1)
    """
    return _move(client, args, [b"RPOPLPUSH", *args[1:3]], from_left=False, to_left=True)


def _move(
    client: Client, args: list[bytes], propagated: list[bytes], *, from_left: bool, to_left: bool
) -> bytes:
    timeout_ms = parse_timeout_ms(args[-1], client.server.clock.now_ms)
    if find_list(client, args[1]) is None:
        return _wait(client, args, [args[1]], timeout_ms) if client.may_block else client.resp.null
    element = move(client, args[1], args[2], from_left=from_left, to_left=to_left)
    assert element is not None
    client.propagate_as(propagated)
    return bulk(element)
