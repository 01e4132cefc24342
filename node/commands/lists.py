"""Commands of a single list (Redis: t_list.c); see also `lists_moving` and `lists_blocking`.

Law: a list is never empty: the command that takes its last element deletes the key.
"""

from __future__ import annotations

from ..client import Client
from ..command import command, key
from ..errors import CommandError, NoSuchKeyError, OutOfRangeError, SyntaxError_
from ..parsing import INT64_MAX, parse_integer, parse_integer_between, parse_non_negative
from ..reply import EMPTY_ARRAY, MINUS_ONE, OK, ZERO, array, bulk, bulk_array, integer
from ..values.list import List


def find_list(client: Client, name: bytes) -> List | None:
    """find_list(client, key) -> the list for a writing command, or None; WrongTypeError for another type."""
    value = client.db.find(name)
    if value is None or type(value) is List:
        return value
    return client.db.opened(name, value, List)


def read_list(client: Client, name: bytes) -> List | None:
    """read_list(client, key) -> the list for a reading command, or None; WrongTypeError for another type."""
    value = client.db.read(name)
    if value is None or type(value) is List:
        return value
    return client.db.opened(name, value, List)


# -- pushing


@command(
    "lpush",
    arity=-3,
    flags="write denyoom fast",
    keys=key("RW insert"),
    since="1.0.0",
    group="list",
    categories="list",
)
def lpush(client: Client, args: list[bytes]) -> bytes:
    """LPUSH key element [element ...] -> the length of the list

    Prepends one or more elements to a list. Creates the key if it doesn't exist.
    Complexity: O(1) for each element added
    """
    db = client.db
    name = args[1]
    value = db.find(name)
    if value is None:
        value = List()
        db.put(name, value)
    else:
        if type(value) is not List:
            value = db.opened(name, value, List)
        db.modified(name)
    fill = client.server.config.list_max_listpack_size
    if len(args) == 3:
        value.appendleft(args[2], fill)
    else:
        value.extendleft(args[2:], fill)
        db.keyspace.dirty += len(args) - 3
    return integer(len(value.items) + value.hidden)


@command(
    "rpush",
    arity=-3,
    flags="write denyoom fast",
    keys=key("RW insert"),
    since="1.0.0",
    group="list",
    categories="list",
)
def rpush(client: Client, args: list[bytes]) -> bytes:
    """RPUSH key element [element ...] -> the length of the list

    Appends one or more elements to a list. Creates the key if it doesn't exist.
    Complexity: O(1) for each element added
    """
    db = client.db
    name = args[1]
    value = db.find(name)
    if value is None:
        value = List()
        db.put(name, value)
    else:
        if type(value) is not List:
            value = db.opened(name, value, List)
        db.modified(name)
    fill = client.server.config.list_max_listpack_size
    if len(args) == 3:
        value.append(args[2], fill)
    else:
        value.extend(args[2:], fill)
        db.keyspace.dirty += len(args) - 3
    return integer(len(value.items) + value.hidden)


@command(
    "lpushx",
    arity=-3,
    flags="write denyoom fast",
    keys=key("RW insert"),
    since="2.2.0",
    group="list",
    categories="list",
)
def lpushx(client: Client, args: list[bytes]) -> bytes:
    """LPUSHX key element [element ...] -> the length of the list, 0 if there is none

    Prepends one or more elements to a list only when the list exists.
    Complexity: O(1) for each element added
    """
    return ZERO if find_list(client, args[1]) is None else lpush(client, args)


@command(
    "rpushx",
    arity=-3,
    flags="write denyoom fast",
    keys=key("RW insert"),
    since="2.2.0",
    group="list",
    categories="list",
)
def rpushx(client: Client, args: list[bytes]) -> bytes:
    """RPUSHX key element [element ...] -> the length of the list, 0 if there is none

    Appends one or more elements to a list only when the list exists.
    Complexity: O(1) for each element added
    """
    return ZERO if find_list(client, args[1]) is None else rpush(client, args)


@command(
    "linsert",
    arity=5,
    flags="write denyoom",
    keys=key("RW insert"),
    since="2.2.0",
    group="list",
    categories="list",
)
def linsert(client: Client, args: list[bytes]) -> bytes:
    """LINSERT key <BEFORE | AFTER> pivot element -> the length of the list, 0 without list, -1 without pivot

    Inserts an element before or after another element in a list.
    Complexity: O(N) where N is the number of elements to traverse before seeing the value pivot
    """
    where = args[2].lower()
    if where not in (b"before", b"after"):
        raise SyntaxError_
    value = find_list(client, args[1])
    if value is None:
        return ZERO
    fill = client.server.config.list_max_listpack_size
    if not value.insert(args[3], args[4], fill, after=where == b"after"):
        return MINUS_ONE
    client.db.modified(args[1])
    return integer(len(value))


# -- popping


@command(
    "lpop",
    arity=-2,
    flags="write fast",
    keys=key("RW access delete"),
    since="1.0.0",
    group="list",
    categories="list",
)
def lpop(client: Client, args: list[bytes]) -> bytes:
    """LPOP key [count] -> bulk or null; with a count, an array of bulks or null

    Returns the first elements in a list after removing it. Deletes the list if the last element was popped.
    Complexity: O(N) where N is the number of elements returned
    """
    if len(args) != 2:
        return _pop_count(client, args, left=True)
    db = client.db
    name = args[1]
    value = db.find(name)
    if value is None:
        return client.resp.null
    if type(value) is not List:
        value = db.opened(name, value, List)
    element = value.popleft(client.server.config.list_max_listpack_size)
    if value.items:
        db.modified(name)
    else:
        db.remove(name)
    return bulk(element)


@command(
    "rpop",
    arity=-2,
    flags="write fast",
    keys=key("RW access delete"),
    since="1.0.0",
    group="list",
    categories="list",
)
def rpop(client: Client, args: list[bytes]) -> bytes:
    """RPOP key [count] -> bulk or null; with a count, an array of bulks or null

    Returns and removes the last elements of a list. Deletes the list if the last element was popped.
    Complexity: O(N) where N is the number of elements returned
    """
    if len(args) != 2:
        return _pop_count(client, args, left=False)
    db = client.db
    name = args[1]
    value = db.find(name)
    if value is None:
        return client.resp.null
    if type(value) is not List:
        value = db.opened(name, value, List)
    element = value.pop(client.server.config.list_max_listpack_size)
    if value.items:
        db.modified(name)
    else:
        db.remove(name)
    return bulk(element)


def _pop_count(client: Client, args: list[bytes], *, left: bool) -> bytes:
    if len(args) > 3:
        assert client.command is not None
        raise client.command.arity_error()
    count = parse_non_negative(args[2])
    value = find_list(client, args[1])
    if value is None:
        return client.resp.null_array
    return bulk_array(take(client, args[1], value, count, left=left)) if count else EMPTY_ARRAY


def take(client: Client, name: bytes, value: List, count: int, *, left: bool) -> list[bytes]:
    """take(client, key, list, 3, left=True) -> up to 3 elements taken off; an empty list's key goes."""
    taken = value.take(count, client.server.config.list_max_listpack_size, left=left)
    client.db.shrunk(name, value)
    client.db.keyspace.dirty += len(taken) - 1
    return taken


# -- reading


@command(
    "llen", arity=2, flags="readonly fast", keys=key("RO"), since="1.0.0", group="list", categories="list"
)
def llen(client: Client, args: list[bytes]) -> bytes:
    """LLEN key -> the length of the list, 0 without key

    Returns the length of a list.
    Complexity: O(1)
    """
    value = read_list(client, args[1])
    return ZERO if value is None else integer(len(value))


@command(
    "lindex", arity=3, flags="readonly", keys=key("RO access"), since="1.0.0", group="list", categories="list"
)
def lindex(client: Client, args: list[bytes]) -> bytes:
    """LINDEX key index -> bulk or null

    Returns an element from a list by its index.
    Complexity: O(N) where N is the number of elements between it and the nearer end
    """
    value = read_list(client, args[1])
    if value is None:
        return client.resp.null
    index = parse_integer(args[2])
    try:
        return bulk(value[index])
    except IndexError:
        return client.resp.null


@command(
    "lrange", arity=4, flags="readonly", keys=key("RO access"), since="1.0.0", group="list", categories="list"
)
def lrange(client: Client, args: list[bytes]) -> bytes:
    """LRANGE key start stop -> array of bulks

    Returns a range of elements from a list.
    Complexity: O(S+N) where S is the distance of start from the nearer end and N the number of elements
    """
    start, stop = parse_integer(args[2]), parse_integer(args[3])
    value = read_list(client, args[1])
    if value is None:
        return EMPTY_ARRAY
    start, stop = _bounds(start, stop, len(value))
    return bulk_array(value.slice(start, stop)) if start < stop else EMPTY_ARRAY


def _bounds(start: int, stop: int, length: int) -> tuple[int, int]:
    """_bounds(0, -1, 5) -> (0, 5): Redis's inclusive range, negative from the end, as a half-open one."""
    if start < 0:
        start = max(start + length, 0)
    stop = stop + length + 1 if stop < 0 else min(stop + 1, length)
    return (start, stop) if start < stop else (0, 0)


@command(
    "lpos", arity=-3, flags="readonly", keys=key("RO access"), since="6.0.6", group="list", categories="list"
)
def lpos(client: Client, args: list[bytes]) -> bytes:
    """LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len] -> integer or null; with COUNT, an array

    Returns the index of matching elements in a list.
    Complexity: O(N) where N is the number of elements compared, at most MAXLEN
    """
    rank, count, limit = 1, -1, 0
    options = args[3:]
    for option, text in zip(options[::2], options[1::2], strict=False):
        name = option.upper()
        if name == b"RANK":
            rank = parse_integer_between(text, -INT64_MAX, INT64_MAX)
            if rank == 0:
                raise CommandError(
                    "RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
                    "or use negative to start from the end of the list"
                )
        elif name == b"COUNT":
            count = parse_non_negative(text, "COUNT can't be negative")
        elif name == b"MAXLEN":
            limit = parse_non_negative(text, "MAXLEN can't be negative")
        else:
            raise SyntaxError_
    if len(options) % 2:
        raise SyntaxError_
    value = read_list(client, args[1])
    found = []
    if value is not None:
        wanted = 1 if count < 0 else count or len(value)
        compared = min(limit, len(value)) if limit else len(value)
        found = value.positions(args[2], backward=rank < 0, skip=abs(rank) - 1, count=wanted, limit=compared)
    if count >= 0:
        return array([integer(index) for index in found])
    return integer(found[0]) if found else client.resp.null


# -- changing in place


@command(
    "lset",
    arity=4,
    flags="write denyoom",
    keys=key("RW update"),
    since="1.0.0",
    group="list",
    categories="list",
)
def lset(client: Client, args: list[bytes]) -> bytes:
    """LSET key index element -> OK

    Sets the value of an element in a list by its index.
    Complexity: O(N) where N is the distance from the nearer end
    """
    value = find_list(client, args[1])
    if value is None:
        raise NoSuchKeyError
    index = parse_integer(args[2])
    try:
        value.replace(index, args[3], client.server.config.list_max_listpack_size)
    except IndexError:
        raise OutOfRangeError from None
    client.db.modified(args[1])
    return OK


@command(
    "lrem", arity=4, flags="write", keys=key("RW delete"), since="1.0.0", group="list", categories="list"
)
def lrem(client: Client, args: list[bytes]) -> bytes:
    """LREM key count element -> how many were removed

    Removes elements from a list. Deletes the list if the last element was removed.
    Complexity: O(N) where N is the length of the list
    """
    count = parse_integer(args[2])
    value = find_list(client, args[1])
    if value is None:
        return ZERO
    removed = value.remove(args[3], count, client.server.config.list_max_listpack_size)
    if removed:
        client.db.shrunk(args[1], value)
        client.db.keyspace.dirty += removed - 1
    return integer(removed)


@command(
    "ltrim", arity=4, flags="write", keys=key("RW delete"), since="1.0.0", group="list", categories="list"
)
def ltrim(client: Client, args: list[bytes]) -> bytes:
    """LTRIM key start stop -> OK

    Removes elements from both ends a list. Deletes the list if all elements were trimmed.
    Complexity: O(N) where N is the number of elements to be removed by the operation
    """
    start, stop = parse_integer(args[2]), parse_integer(args[3])
    value = find_list(client, args[1])
    if value is None:
        return OK
    start, stop = _bounds(start, stop, len(value))
    removed = value.trim(start, stop, client.server.config.list_max_listpack_size)
    if removed:
        client.db.shrunk(args[1], value)
        client.db.keyspace.dirty += removed - 1
    return OK
