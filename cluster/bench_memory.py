"""Memory for each key or element, by type: the same data in our node and in redis-server.

Law: each type gets fresh servers; what is compared is how much their resident memory grew, in both, whatever
they report themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from .bench_results import Figure, Section
from .bench_servers import BenchServer
from .bench_site import Scale, Site

ELEMENTS_SMALL = 10
FILL_BATCH = 500
FIRST_INTEGER = 1_000_000
"""No number that either server has ready as a shared object."""

AT_REST_S = 8.0
"""After the last write and before the memory is read: a node packs collections that nobody uses."""

STRING_RATIO_MAX = 1.5
COLLECTION_RATIO_MAX = 2.5
NOTES = (
    "How much the resident memory of each server grew when the same data were written to it; fresh servers for each "
    f"line; small collections {AT_REST_S:.0f} s after the last write. Strings have 16-byte keys and 64-byte values, "
    "small collections 10 elements, elements 16 bytes. In cluster mode Redis links the keys of each slot, which takes "
    "16 bytes a key."
)

Command = list[bytes]


@dataclass(frozen=True, slots=True)
class Kind:
    """A type: `add(key, number, count)` adds the elements `number` to `number + count`."""

    name: str
    add: Callable[[bytes, int, int], Command]


def _name(number: int) -> bytes:
    return b"element:%08d" % number


def _hash(key: bytes, first: int, count: int) -> Command:
    return [b"HSET", key, *(word for n in range(first, first + count) for word in (_name(n), b"value:%010d" % n))]


def _set(key: bytes, first: int, count: int) -> Command:
    return [b"SADD", key, *map(_name, range(first, first + count))]


def _sorted_set(key: bytes, first: int, count: int) -> Command:
    return [b"ZADD", key, *(word for n in range(first, first + count) for word in (b"%d" % n, _name(n)))]


def _list(key: bytes, first: int, count: int) -> Command:
    return [b"RPUSH", key, *map(_name, range(first, first + count))]


KINDS = (Kind("hash", _hash), Kind("set", _set), Kind("sorted set", _sorted_set), Kind("list", _list))


def _strings(count: int) -> Iterator[Command]:
    return ([b"SET", b"key:%012d" % number, b"%064d" % number] for number in range(count))


def _integers(count: int) -> Iterator[Command]:
    return ([b"SET", b"key:%012d" % number, b"%d" % (FIRST_INTEGER + number)] for number in range(count))


def _small(kind: Kind, count: int) -> Iterator[Command]:
    return (kind.add(b"key:%012d" % number, number * ELEMENTS_SMALL, ELEMENTS_SMALL) for number in range(count))


def _large(kind: Kind, count: int, elements: int) -> Iterator[Command]:
    for number in range(count):
        for first in range(0, elements, FILL_BATCH):
            yield kind.add(b"key:%012d" % number, number * elements + first, min(FILL_BATCH, elements - first))


def _grown_bytes(servers: Sequence[BenchServer], fill: Callable[[], Iterator[Command]], rest_s: float) -> list[int]:
    before = []
    for server in servers:
        server.settle()
        before.append(server.rss_bytes())
        server.link.pipeline(fill())
    time.sleep(rest_s)
    for server in servers:
        server.settle()
    return [server.rss_bytes() - bytes_before for server, bytes_before in zip(servers, before, strict=True)]


@dataclass(frozen=True, slots=True)
class Case:
    """What is written, and by what its memory is divided. `rests`: a node may change it when it is not used."""

    figure: Figure
    divisor: int
    fill: Callable[[], Iterator[Command]]
    rests: bool = False


def _cases(scale: Scale) -> list[Case]:
    strings, count, elements = scale.strings, scale.large_collections, scale.collection_elements
    string = Figure(f"string, of {strings:,}", "bytes/key", ratio_max=STRING_RATIO_MAX)
    integer = Figure(f"string of a number, of {strings:,}", "bytes/key", ratio_max=STRING_RATIO_MAX)
    cases = [Case(string, strings, partial(_strings, strings)), Case(integer, strings, partial(_integers, strings))]
    for kind in KINDS:
        what = f"{kind.name} of {ELEMENTS_SMALL}, of {scale.collections:,}"
        figure = Figure(what, "bytes/key", ratio_max=COLLECTION_RATIO_MAX)
        cases.append(Case(figure, scale.collections, partial(_small, kind, scale.collections), rests=True))
    for kind in KINDS:
        figure = Figure(f"{kind.name} of {elements:,}, of {count}", "bytes/element", ratio_max=COLLECTION_RATIO_MAX)
        cases.append(Case(figure, count * elements, partial(_large, kind, count, elements)))
    return cases


def measure_memory(site: Site, scale: Scale, clustered: bool) -> Section:
    """measure_memory(site, scale, clustered) -> Section. OperatorError."""
    empty = Figure("an empty server", "MB")
    section = Section("memory", "Memory", NOTES, figures=[empty])
    for case in _cases(scale):
        site.tell(f"memory, {case.figure.what}")
        with site.pair(clustered=clustered) as servers:
            if not empty.ours:
                empty.ours, empty.redis = ([server.rss_bytes() / 1e6] for server in servers)
            grown = _grown_bytes(servers, case.fill, AT_REST_S if case.rests else 0.0)
        case.figure.ours, case.figure.redis = ([bytes_ / case.divisor] for bytes_ in grown)
        section.figures.append(case.figure)
    return section
