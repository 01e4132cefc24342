"""A read-write load that remembers what was acknowledged, so that outages and losses can be counted afterwards.

Every write has a key of its own: no later write can hide that an earlier one was lost.
"""

from __future__ import annotations

import random
import threading
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from typing import Any

from pyredis_cluster.client.blocking_driver import ClusterClient
from pyredis_cluster.client.errors import ClientError, ResponseError
from pyredis_cluster.gossip.slots import key_slot

from .admin import Access, NodeLink
from .errors import NodeRefused
from .plan import Address

KEY_PREFIX = "chaos"
DEFAULT_RATE_PER_S = 1_000
WRITES_MAX = 5_000_000
# Bounds one request, so that a frozen node costs the client less than it costs the cluster to replace it.
REQUEST_TIMEOUT_MS = 300.0
RETRY_TIMEOUT_MS = 30_000.0
RECENT_WRITES = 1_000
ERRORS_KEPT_MAX = 20
STOP_TIMEOUT_S = 40.0
BALLAST_WAIT_MS = 1_000
PROBE_EXPIRE_MS = 60_000
_PROBE_POLL_S = 0.005
_TAG_SEARCH_MAX = 200_000


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Hash tags whose slots belonged to one shard when the load began: one writer's keys.

    `series` keeps the keys of one load apart from those of an earlier one.
    """

    name: str
    series: str
    tags: tuple[str, ...]

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(key_slot(f"{{{tag}}}".encode()) for tag in self.tags)

    def key(self, number: int) -> str:
        """key(number) -> the key of that write of this group."""
        return f"{KEY_PREFIX}:{{{self.tags[number % len(self.tags)]}}}:{self.series}:{number}"


def make_groups(slots_by_name: dict[str, Iterable[int]], series: str, tags_each: int) -> list[KeyGroup]:
    """make_groups(name -> slots, series, tags_each) -> a group a name, with tags in different slots of it."""
    wanted = {slot: name for name, slots in slots_by_name.items() for slot in slots}
    tags: dict[str, list[str]] = {name: [] for name in slots_by_name}
    open_names = len(tags)
    for number in range(_TAG_SEARCH_MAX):
        if not open_names:
            break
        tag = f"t{number}"
        name = wanted.pop(key_slot(f"{{{tag}}}".encode()), None)
        if name is not None and len(tags[name]) < tags_each:
            tags[name].append(tag)
            open_names -= len(tags[name]) == tags_each
    return [KeyGroup(name, series, tuple(found)) for name, found in tags.items() if found]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One write that the cluster has acknowledged: its key and value, and when (monotonic seconds)."""

    key: str
    value: bytes
    slot: int
    at_s: float


class _Writer:
    """One thread's share of the load: writes to one group, and reads of what it wrote before."""

    def __init__(self, group: KeyGroup, client: ClusterClient, rate_per_s: float, seed: int) -> None:
        self.group = group
        self.client = client
        self.interval_s = 1 / rate_per_s
        self.rng = random.Random(seed)
        self.numbers = array("L")
        self.times_s = array("d")
        self.reads = 0
        self.missing_reads: list[str] = []
        self.errors: list[tuple[float, str]] = []
        self.error_count = 0

    def run(self, stopping: threading.Event) -> None:
        next_s = time.monotonic()
        for number in range(WRITES_MAX):
            if stopping.is_set():
                return
            self._write(number)
            if number % 2:
                self._read()
            # After an outage the load goes on at its rate; it does not make up for what it missed.
            next_s = max(next_s + self.interval_s, time.monotonic() - self.interval_s)
            stopping.wait(max(0.0, next_s - time.monotonic()))

    def _write(self, number: int) -> None:
        try:
            self.client.execute("SET", self.group.key(number), number)
        except ClientError as error:
            self._failed(error)
            return
        self.numbers.append(number)
        self.times_s.append(time.monotonic())

    def _read(self) -> None:
        if not self.numbers:
            return
        recent = min(len(self.numbers), RECENT_WRITES)
        number = self.numbers[-1 - self.rng.randrange(recent)]
        try:
            value = self.client.execute("GET", self.group.key(number))
        except ClientError as error:
            self._failed(error)
            return
        self.reads += 1
        if value != b"%d" % number and len(self.missing_reads) < ERRORS_KEPT_MAX:
            self.missing_reads.append(self.group.key(number))

    def _failed(self, error: ClientError) -> None:
        self.error_count += 1
        if len(self.errors) < ERRORS_KEPT_MAX:
            self.errors.append((time.monotonic(), f"{type(error).__name__}: {error}"))


class RecordedLoad:
    """RecordedLoad(seeds, access, groups, rate_per_s): a context manager; one thread a group, together at the rate.

    Leaving it stops the threads. After that, or before, `acknowledged` tells what is owed.
    """

    def __init__(
        self,
        seeds: Sequence[Address],
        access: Access,
        groups: Sequence[KeyGroup],
        rate_per_s: float = DEFAULT_RATE_PER_S,
        seed: int = 0,
    ) -> None:
        self.client = ClusterClient(
            startup_nodes=[(seed_address.host, seed_address.port) for seed_address in seeds],
            username=access.username,
            password=access.password,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_timeout_ms=RETRY_TIMEOUT_MS,
            attempts_max=int(RETRY_TIMEOUT_MS),
            # The same SET twice is the same as once.
            retry_writes=True,
        )
        self._writers = [
            _Writer(group, self.client, rate_per_s / len(groups), seed + index) for index, group in enumerate(groups)
        ]
        self._ballast: list[Acknowledged] = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=writer.run, args=(self._stopping,), name=f"load-{writer.group.name}")
            for writer in self._writers
        ]

    def __enter__(self) -> RecordedLoad:
        self.client.connect()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """stop(): end the threads, each after the request it is waiting for."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)
        self.client.close()

    def write_ballast(self, link: NodeLink, slots: frozenset[int], count: int) -> None:
        """write_ballast(link, slots, count): so many keys in those of the slots that the load knows tags of.

        They are owed like every other write. `link` leads to the slots' owner; its replica has them as well
        when this returns, or BALLAST_WAIT_MS are over.
        """
        tags = [
            (tag, slot)
            for writer in self._writers
            for tag, slot in zip(writer.group.tags, writer.group.slots, strict=True)
            if slot in slots
        ]
        series = self._writers[0].group.series
        keys = [
            (f"{KEY_PREFIX}:{{{tag}}}:{series}:ballast:{number}", slot)
            for number, (tag, slot) in zip(range(count), cycle(tags), strict=False)
        ]
        for reply in link.pipeline(("SET", key, key) for key, _ in keys):
            if isinstance(reply, ResponseError):
                raise NodeRefused(link.address, "SET", reply.message)
        link.call("WAIT", 1, BALLAST_WAIT_MS)
        self._ballast += [Acknowledged(key, key.encode(), slot, time.monotonic()) for key, slot in keys]

    def probe(self, slots: frozenset[int]) -> None:
        """probe(slots): one write to one of the slots, begun now, and the next success of the load there.

        ClientError where it does not succeed within the client's bound; it is not recorded.
        """
        writer, tag = next(
            (writer, tag)
            for writer in self._writers
            for tag, slot in zip(writer.group.tags, writer.group.slots, strict=True)
            if slot in slots
        )
        self.client.execute("SET", f"{KEY_PREFIX}:{{{tag}}}:probe", 1, "PX", PROBE_EXPIRE_MS)
        succeeded_s = time.monotonic()
        while len(writer.times_s) == 0 or writer.times_s[-1] < succeeded_s:
            if time.monotonic() - succeeded_s > RETRY_TIMEOUT_MS / 1000 or self._stopping.is_set():
                return
            time.sleep(_PROBE_POLL_S)

    @property
    def slots(self) -> frozenset[int]:
        """The slots that are written to."""
        return frozenset(slot for writer in self._writers for slot in writer.group.slots)

    @property
    def read_count(self) -> int:
        return sum(writer.reads for writer in self._writers)

    @property
    def error_count(self) -> int:
        return sum(writer.error_count for writer in self._writers)

    @property
    def errors(self) -> list[tuple[float, str]]:
        """When and what, the first few of each thread."""
        return sorted(error for writer in self._writers for error in writer.errors)

    @property
    def missing_reads(self) -> list[str]:
        """Keys that a read did not find although their write had been acknowledged; the first few."""
        return [key for writer in self._writers for key in writer.missing_reads]

    def acknowledged(self, since_s: float = 0.0, until_s: float = float("inf")) -> list[Acknowledged]:
        """acknowledged(since_s, until_s) -> the writes acknowledged in that time."""
        found = [write for write in self._ballast if since_s <= write.at_s < until_s]
        for writer in self._writers:
            slots = writer.group.slots
            # The threads append a number before its time: the shorter one says how many are complete.
            for index in range(len(writer.times_s)):
                at_s = writer.times_s[index]
                if since_s <= at_s < until_s:
                    number = writer.numbers[index]
                    key, slot = writer.group.key(number), slots[number % len(slots)]
                    found.append(Acknowledged(key, b"%d" % number, slot, at_s))
        return found


def longest_gap_s(writes: Iterable[Acknowledged], slots: frozenset[int], since_s: float, until_s: float) -> float:
    """longest_gap_s(writes, slots, since_s, until_s) -> the longest time without a success on these slots."""
    times_s = sorted(write.at_s for write in writes if write.slot in slots and since_s <= write.at_s < until_s)
    points = [since_s, *times_s, until_s]
    return max(later - earlier for earlier, later in pairwise(points))


def lost_writes(writes: Sequence[Acknowledged], owners: dict[int, NodeLink]) -> list[Acknowledged]:
    """lost_writes(writes, slot -> its primary) -> the acknowledged writes whose keys are gone or different."""
    by_link: dict[NodeLink, list[Acknowledged]] = {}
    for write in writes:
        by_link.setdefault(owners[write.slot], []).append(write)
    lost: list[Acknowledged] = []
    for link, asked in by_link.items():
        replies: list[Any] = link.pipeline([("GET", write.key) for write in asked])
        for write, reply in zip(asked, replies, strict=True):
            if isinstance(reply, ResponseError):
                raise NodeRefused(link.address, f"GET {write.key}", reply.message)
            if reply != write.value:
                lost.append(write)
    return lost
