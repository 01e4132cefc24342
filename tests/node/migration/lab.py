"""What the process tests of slot migration share: keys, a recorded load, a tap between source and target, verdicts."""

from __future__ import annotations

import itertools
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pyredis_cluster.admin import Access
from pyredis_cluster.client.blocking_driver import ClusterClient
from pyredis_cluster.client.errors import ClientError
from pyredis_cluster.gossip.slots import key_slot
from pyredis_cluster.node.migration.export import HANDOVER_TIMEOUT_MS
from pyredis_cluster.processes import kill, send_signal

from ...clusters import RunningNodes
from ...conftest import wait_until

SLOTS = 40
KEYS_OF_EACH_TYPE = 60
WRITERS = 3
COUNTERS_EACH = 20
HEAL_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_MS = HANDOVER_TIMEOUT_MS + 2000
"""Longer than writes are held back at most."""

TAG_OF_SLOT: dict[int, str] = {}
for _number in itertools.count():
    TAG_OF_SLOT.setdefault(key_slot(b"t%d" % _number), f"t{_number}")
    if len(TAG_OF_SLOT) == 16384:
        break


class Tap:
    """A transparent way to a node for the source of a migration, which `on` can do something to.

    on(marker, act): `act(self)` runs once, before what contains `marker` goes to the node; with `answer=True`,
    before the node's answer to it goes back. If it returns False, both sides are cut off.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._rules: dict[tuple[bytes, bool], Callable[[], bool | None]] = {}
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def on(self, marker: bytes, act: Callable[[], bool | None], *, answer: bool = False) -> None:
        self._rules[marker, answer] = act

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            awaiting: list[bytes] = []
            for source, sink, back in ((near, far, False), (far, near, True)):
                thread = threading.Thread(target=self._pump, args=(source, sink, back, awaiting))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, back: bool, awaiting: list[bytes]) -> None:
        try:
            while data := source.recv(1 << 16):
                if not self._passes(data, back, awaiting):
                    break
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _passes(self, data: bytes, back: bool, awaiting: list[bytes]) -> bool:
        markers = [marker for marker, answer in self._rules if answer and marker in awaiting] if back else []
        if not back:
            awaiting += [marker for marker, answer in self._rules if answer and marker in data]
            markers = [marker for marker, answer in self._rules if not answer and marker in data]
        acts = [act for marker in markers if (act := self._rules.pop((marker, back), None)) is not None]
        return all(act() is not False for act in acts)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._open:
            sock.close()


@dataclass
class Count:
    """One counter key: how often INCR was acknowledged, and how often it was tried."""

    key: str
    acknowledged: int = 0
    tried: int = 0


@dataclass
class Writer:
    """One thread that increments its counters, and notes what was acknowledged."""

    client: ClusterClient
    counts: list[Count]
    errors: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        for count in itertools.cycle(self.counts):
            if stop.is_set():
                return
            count.tried += 1
            try:
                self.client.execute("INCR", count.key)
                count.acknowledged += 1
            except ClientError as error:
                self.errors.append(str(error))
            stop.wait(0.001)


class Lab:
    """The cluster of a test: `source` is to give `slots` to `target`."""

    def __init__(self, nodes: RunningNodes) -> None:
        self.nodes = nodes
        self.heal()
        primaries = nodes.primaries()
        for port in primaries:
            nodes.call(port, "FLUSHALL")
        counts = Counter(nodes.owners(nodes.port).values())
        self.source, self.target, self.third = (port for port, _ in counts.most_common(3))
        self.slots = [slot for slot, owner in sorted(nodes.owners(self.source).items()) if owner == self.source][:SLOTS]
        self._taps: list[tuple[int, Tap]] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.writers: list[Writer] = []
        self._fill()
        self.digests = self._digests()

    # -- keys

    def key(self, number: int, name: str) -> str:
        return f"{{{TAG_OF_SLOT[self.slots[number % len(self.slots)]]}}}{name}:{number}"

    def _fill(self) -> None:
        commands: list[Sequence[str | bytes | int]] = []
        for number in range(KEYS_OF_EACH_TYPE):
            commands += [
                ("SET", self.key(number, "s"), "x" * number),
                ("SET", self.key(number, "e"), number, "EX", 10_000),
                ("HSET", self.key(number, "h"), "f", number, "g", "x"),
                ("RPUSH", self.key(number, "l"), *range(number + 1)),
                ("SADD", self.key(number, "t"), *range(number + 1)),
                ("ZADD", self.key(number, "z"), number, "m", 1.5, "n"),
                ("PEXPIRE", self.key(number, "z"), 10_000_000),
            ]
        replies = self.nodes.pipeline(self.source, commands)
        assert not [reply for reply in replies if isinstance(reply, Exception)]

    def _static_keys(self) -> list[str]:
        return [
            self.key(number, name) for number in range(KEYS_OF_EACH_TYPE) for name in ("s", "e", "h", "l", "t", "z")
        ]

    def _digests(self) -> list[tuple[bytes, int]]:
        """The digest of each static key and when it expires, read where the cluster says it is."""
        owner = self.owner()
        keys = self._static_keys()
        assert len({self.nodes.owners(owner)[slot] for slot in self.slots}) == 1
        digests = self.nodes.call(owner, "DEBUG", "DIGEST-VALUE", *keys)
        times = self.nodes.pipeline(owner, [("PEXPIRETIME", key) for key in keys])
        return list(zip(digests, times, strict=True))

    # -- doing

    def migrate(self, source: int | None = None, target: int | None = None, slots: Sequence[int] | None = None) -> None:
        """Begin to move the slots, source to target."""
        ranges = [bound for slot in slots or self.slots for bound in (slot, slot)]
        target_id = self.nodes.node_id(target or self.target)
        source = source or self.source
        self.nodes.call(source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", target_id)

    def jobs(self, port: int) -> list[dict[str, Any]]:
        found = self.nodes.call(port, "CLUSTER", "GETSLOTMIGRATIONS")
        return [dict(zip([name.decode() for name in job[::2]], job[1::2], strict=True)) for job in found]

    def state(self, port: int | None = None) -> str:
        """state(port) -> the state of that node's newest job."""
        return str(self.jobs(port or self.source)[0]["state"].decode())

    def wait_until_state(self, *states: str, port: int | None = None) -> str:
        return str(wait_until(lambda: (found := self.state(port)) in states and found, f"{states}", HEAL_TIMEOUT_S))

    def tap(self, port: int) -> Tap:
        """tap(port) -> a tap that the others believe to be that node."""
        made = Tap(port)
        self._taps.append((port, made))
        self._announce(port, made.port)
        return made

    def _announce(self, port: int, announced: int) -> None:
        self.nodes.call(port, "CONFIG", "SET", "cluster-announce-port", announced)
        node_id = self.nodes.node_id(port)
        shown = announced or port

        def seen(other: int) -> bool:
            return any(words[0] == node_id and f":{shown}@" in words[1] for words in self.nodes.nodes(other))

        wait_until(lambda: all(seen(other) for other in self.nodes.ports), "the address is known")

    def signal(self, port: int, number: int) -> None:
        process = self.nodes.local.node_at(port).process
        assert process is not None
        if number == signal.SIGKILL:
            kill([process])
        else:
            send_signal(process, number)

    def replaced(self, port: int) -> bool:
        """replaced(port) -> whether the others have a new primary for that node's slots."""
        other = next(other for other in self.nodes.ports if other != port and self.nodes.local.node_at(other).alive)
        return port not in self.nodes.owners(other).values()

    def fail_over(self, primary: int) -> None:
        replica = self.nodes.replica_of(primary)
        self.nodes.call(replica, "CLUSTER", "FAILOVER")
        wait_until(lambda: replica in self.nodes.primaries(), "the replica was promoted")

    def load(self, request_timeout_ms: float = REQUEST_TIMEOUT_MS) -> None:
        """Begin to increment counters in the slots that move, from several threads, until `stop_load`."""
        for writer in range(WRITERS):
            counts = [Count(self.key(number, f"n{writer}")) for number in range(COUNTERS_EACH)]
            seeds = [("127.0.0.1", port) for port in self.nodes.ports]
            client = ClusterClient(startup_nodes=seeds, request_timeout_ms=request_timeout_ms, retry_timeout_ms=20_000)
            self.writers.append(Writer(client, counts))
            thread = threading.Thread(target=self.writers[-1].run, args=(self._stop,))
            self._threads.append(thread)
            thread.start()
        wait_until(lambda: all(w.counts[-1].acknowledged for w in self.writers), "the load runs")

    def stop_load(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads = []

    # -- verdicts

    def owner(self) -> int:
        """owner() -> the port of the primary of the moving slots, which all nodes agree on."""
        self.nodes.wait_until_agreed()
        owners = {self.nodes.owners(port)[slot] for port in self.nodes.ports for slot in self.slots}
        assert len(owners) == 1
        shown = owners.pop()
        return next((port for port, tap in self._taps if tap.port == shown), shown)

    def assert_sound(self, *, lost_max: int = 0) -> None:
        """No key is lost, changed, or on two primaries; replicas have the same; every acknowledged write is there."""
        self.stop_load()
        owner = self.owner()
        wait_until(self._every_key_at_home, "each key is on its slot's primary only")
        assert self._digests() == self.digests
        counts = [count for writer in self.writers for count in writer.counts]
        values = [int(value or 0) for value in self.nodes.pipeline(owner, [("GET", count.key) for count in counts])]
        assert all(value <= count.tried for count, value in zip(counts, values, strict=True))
        lost = sum(max(0, count.acknowledged - value) for count, value in zip(counts, values, strict=True))
        assert lost <= lost_max, [(c.key, c.acknowledged, v) for c, v in zip(counts, values, strict=True)]
        for primary in self.nodes.primaries():
            replica = self.nodes.replica_of(primary)
            digest = self.nodes.call(primary, "DEBUG", "DIGEST")
            wait_until(lambda at=replica, d=digest: self.nodes.call(at, "DEBUG", "DIGEST") == d, "the replica follows")

    def _every_key_at_home(self) -> bool:
        for primary in self.nodes.primaries():
            owners = self.nodes.owners(primary)
            if any(owners[key_slot(key)] != primary for key in self.nodes.call(primary, "KEYS", "*")):
                return False
        return True

    def assert_no_failed_request(self) -> None:
        assert not [error for writer in self.writers for error in writer.errors]

    # -- the end

    def heal(self) -> None:
        """Every node runs, and the cluster is whole."""
        for node in self.nodes.local.nodes:
            if node.alive:
                self.signal(node.port, signal.SIGCONT)
            else:
                self.nodes.local.start([node], Access())
        self.nodes.wait_until_agreed()

    def close(self) -> None:
        self.stop_load()
        for writer in self.writers:
            writer.client.close()
        self.heal()
        for port, tap in self._taps:
            self._announce(port, 0)
            tap.close()
        self.heal()
