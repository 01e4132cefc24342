"""List commands of several keys: LMPOP, LMOVE, RPOPLPUSH, and what their blocking forms share.

Law: the first key that holds a list is the one that is used, in the order of the arguments.
"""

from __future__ import annotations

from ..client import Client
from ..command import command, key, numkeys
from ..errors import SyntaxError_
from ..parsing import INT64_MAX, parse_integer_between
from ..reply import array, bulk, bulk_array
from ..values.list import List
from .lists import find_list, take

LEFT_RIGHT = (b"left", b"right")


def first_list(client: Client, names: list[bytes]) -> tuple[bytes, List] | None:
    """first_list(client, keys) -> the first key that holds a list, and the list; None if none exists."""
    for name in names:
        value = find_list(client, name)
        if value is not None:
            return name, value
    return None


def parse_multi_pop(
    args: list[bytes], at: int, sides: tuple[bytes, bytes] = LEFT_RIGHT
) -> tuple[list[bytes], bool, int]:
    """parse_multi_pop(args, 1) -> (keys, left, count) of `numkeys key [key ...] <LEFT | RIGHT> [COUNT count]`.

    ZMPOP gives (b"min", b"max") for `sides`; the second result says whether the first of them was given.
    """
    number = parse_integer_between(args[at], 1, INT64_MAX, "numkeys should be greater than 0")
    side_at = at + 1 + number
    if side_at >= len(args):
        raise SyntaxError_
    left = parse_side(args[side_at], sides)
    options = args[side_at + 1 :]
    count = 1
    if options:
        if len(options) == 1 or options[0].upper() != b"COUNT":
            raise SyntaxError_
        count = parse_integer_between(options[1], 1, INT64_MAX, "count should be greater than 0")
        if len(options) > 2:
            raise SyntaxError_
    return args[at + 1 : side_at], left, count


def parse_side(text: bytes, sides: tuple[bytes, bytes] = LEFT_RIGHT) -> bool:
    """parse_side(b"LEFT") -> True; False for RIGHT; SyntaxError_ for anything else."""
    side = text.lower()
    if side not in sides:
        raise SyntaxError_
    return side == sides[0]


def pop_with_key(client: Client, found: tuple[bytes, List], count: int, *, left: bool) -> bytes:
    """pop_with_key(...) -> LMPOP's reply, [key, [elements]]; propagated as LPOP or RPOP."""
    name, value = found
    taken = take(client, name, value, count, left=left)
    client.propagate_as([b"LPOP" if left else b"RPOP", name, b"%d" % len(taken)])
    return array([bulk(name), bulk_array(taken)])


@command(
    "lmpop",
    arity=-4,
    flags="write movablekeys",
    keys=numkeys("RW access delete"),
    since="7.0.0",
    group="list",
    categories="list",
)
def lmpop(client: Client, args: list[bytes]) -> bytes:
    """LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count] -> [key, [element ...]] or null

    Returns multiple elements from a list after removing them. Deletes the list if the last one was popped.
    Complexity: O(N+M) where N is the number of provided keys and M is the number of elements returned
    """
    names, left, count = parse_multi_pop(args, 1)
    found = first_list(client, names)
    return client.resp.null_array if found is None else pop_with_key(client, found, count, left=left)


def move(
    client: Client, source: bytes, destination: bytes, *, from_left: bool, to_left: bool
) -> bytes | None:
    """move(...) -> the element moved from one list's end to another's, or None without source."""
    origin = find_list(client, source)
    if origin is None:
        return None
    target = find_list(client, destination)
    db = client.db
    fill = client.server.config.list_max_listpack_size
    element = origin.popleft(fill) if from_left else origin.pop(fill)
    before = db.keyspace.dirty
    if target is None:
        target = List()
        db.put(destination, target)
    elif target is not origin:
        db.modified(destination)
    if to_left:
        target.appendleft(element, fill)
    else:
        target.append(element, fill)
    db.shrunk(source, origin)
    db.keyspace.dirty = before + 1  # a move counts as one change
    return element


MOVE_KEYS = key("RW access delete") + key("RW insert", 2)


@command(
    "lmove", arity=5, flags="write denyoom", keys=MOVE_KEYS, since="6.2.0", group="list", categories="list"
)
def lmove(client: Client, args: list[bytes]) -> bytes:
    """LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT> -> bulk or null

    Returns an element after popping it from one list and pushing it to another.
    Complexity: O(1)
    """
    from_left, to_left = parse_side(args[3]), parse_side(args[4])
    return client.resp.bulk_or_null(move(client, args[1], args[2], from_left=from_left, to_left=to_left))


@command(
    "rpoplpush",
    arity=3,
    flags="write denyoom",
    keys=MOVE_KEYS,
    since="1.2.0",
    group="list",
    categories="list",
)
def rpoplpush(client: Client, args: list[bytes]) -> bytes:
    """RPOPLPUSH source destination -> bulk or null

    Returns the last element of a list after removing and pushing it to another list.
    Complexity: O(1)
    """
    return client.resp.bulk_or_null(move(client, args[1], args[2], from_left=False, to_left=True))
