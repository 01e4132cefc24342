"""HRANDFIELD: random fields of a hash (Redis: t_hash.c).

Law: every field is as likely as any other, whatever the hash's size; the randomness is the keyspace's.
"""

from __future__ import annotations

from ..client import Client
from ..command import command, key
from ..errors import CommandError, SyntaxError_
from ..parsing import INT64_MAX, parse_integer_between
from ..reply import EMPTY_ARRAY, array, bulk, bulk_array
from ..values.hash import Hash
from ..values.table import random_key
from .hashes import read_hash

SAMPLE_ALL_FACTOR = 3
"""Asked for more than a third of the fields, a sample of all is drawn instead of one after the other."""

REPLY_MAX_ELEMENTS = 16 * 1024 * 1024
"""A negative count may ask for any number; more than this is refused instead of exhausting memory."""


def _chosen(value: Hash, count: int, client: Client) -> list[bytes]:
    """|count| fields: distinct ones if positive (all, if there are fewer), with repetition if negative."""
    rng = client.server.keyspace.rng
    fields = value.fields
    size = len(fields)
    if count < 0:
        if -count > REPLY_MAX_ELEMENTS:
            raise CommandError("value is out of range")
        if -count * SAMPLE_ALL_FACTOR > size:
            return rng.choices([*fields], k=-count)
        return [random_key(fields, rng) for _ in range(-count)]
    if count >= size:
        return [*fields]
    if count * SAMPLE_ALL_FACTOR > size:
        return rng.sample([*fields], count)
    chosen: dict[bytes, None] = {}
    while len(chosen) < count:
        chosen[random_key(fields, rng)] = None
    return [*chosen]


@command(
    "hrandfield",
    arity=-2,
    flags="readonly",
    keys=key("RO access"),
    since="6.2.0",
    group="hash",
    tips=("nondeterministic_output",),
)
def hrandfield(client: Client, args: list[bytes]) -> bytes:
    """HRANDFIELD key [count [WITHVALUES]] -> bulk | null | array

    Returns one or more random fields from a hash.
    Complexity: O(N) where N is the number of fields returned
    """
    if len(args) == 2:
        value = read_hash(client, args[1])
        if value is None:
            return client.resp.null
        return bulk(random_key(value.fields, client.server.keyspace.rng))
    count = parse_integer_between(args[2], -INT64_MAX, INT64_MAX)
    with_values = len(args) == 4
    if len(args) > 4 or (with_values and args[3].upper() != b"WITHVALUES"):
        raise SyntaxError_
    if with_values and abs(count) > INT64_MAX // 2:
        raise CommandError("value is out of range")
    value = read_hash(client, args[1])
    if value is None or count == 0:
        return EMPTY_ARRAY
    names = _chosen(value, count, client)
    if not with_values:
        return bulk_array(names)
    fields = value.fields
    if client.resp.version == 2:
        return bulk_array([text for name in names for text in (name, fields[name])])
    return array([bulk_array([name, fields[name]]) for name in names])
