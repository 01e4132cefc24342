"""Parked clients: commands that wait for keys, for an offset or for the end of a pause, and their time-outs.

Laws: a parked client runs nothing else until it is served, timed out or unblocked; clients that wait for
the same key are served in the order in which they came; a parked command is simply run again when a key it
waits for changed, and stays parked if it parks again. Deadlines are Unix milliseconds of the node's clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from time import perf_counter_ns
from typing import TYPE_CHECKING

from .client import GUARD_PARKED, GUARD_REPLICA, GUARD_TRUSTED, Client, Parked
from .command import Command
from .errors import CommandError
from .pausing import PausePurpose, Pauses
from .reply import NO_REPLY
from .values.packed import kind_of

if TYPE_CHECKING:
    from .server import Server

UNBLOCKED = CommandError("client unblocked via CLIENT UNBLOCK", "UNBLOCKED")
Condition = Callable[[], bytes | None]
"""Looked at again when something happened: the reply, or None to go on waiting."""

SERVE_ROUNDS_MAX = 1000
"""Serving a key may make others ready (BLMOVE chains); a round for each, so this many at a time."""

DEADLINES_SPARE = 64
"""Deadlines of clients that were served may lie about until they outnumber the parked clients and so many."""


class Blocking:
    """The registry of parked clients of one node."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._deadlines: list[tuple[int, int, Client, Parked]] = []
        self._sequence = count()
        self._serving = False
        self._served: list[Client] = []
        """Clients that go on, in this order, when the ready keys have been dealt with."""
        self.clients: dict[Client, None] = {}
        self.pauses = Pauses()
        self._postponed: dict[Client, None] = {}
        self._conditions: dict[Client, Condition] = {}
        self.on_deadline: Callable[[], None] = lambda: None
        """Called when the next deadline may have moved closer: the timer task sleeps anew."""

    # -- parking

    def park(
        self,
        client: Client,
        args: list[bytes],
        keys: list[bytes],
        timeout_ms: int,
        on_timeout: Callable[[Client], bytes],
        kind: str = "keys",
        value_type: type | None = None,
    ) -> bytes:
        """park(client, args, keys, timeout_ms, on_timeout) -> NO_REPLY; `args` runs again when a key changes.

        `timeout_ms` 0 waits for ever. `on_timeout(client)` gives the reply at the deadline. With a
        `value_type` only a value of that class wakes the client. A command that parks again while it is being
        served keeps its place and its deadline. The caller checked `client.may_block`. O(keys).
        """
        if client.parked is not None:
            return NO_REPLY
        assert client.command is not None
        deadline_ms = self._server.clock.now_ms + timeout_ms if timeout_ms else None
        parked = Parked(
            kind,
            client.command,
            args,
            client.db,
            keys,
            deadline_ms,
            on_timeout,
            perf_counter_ns(),
            value_type,
        )
        self._enter(client, parked)
        for key in keys:
            client.db.blocked.setdefault(key, {})[client] = None
        return NO_REPLY

    def park_until(
        self,
        client: Client,
        args: list[bytes],
        timeout_ms: int,
        condition: Condition,
        on_timeout: Callable[[Client], bytes],
    ) -> bytes:
        """park_until(client, args, timeout_ms, condition, on_timeout) -> NO_REPLY; for WAIT and its like.

        The client waits until `condition()` gives a reply; `check_conditions` looks. O(1).
        """
        self.park(client, args, [], timeout_ms, on_timeout, kind="wait")
        self._conditions[client] = condition
        return NO_REPLY

    def check_conditions(self) -> None:
        """check_conditions(): end the waits whose condition holds now. O(clients in WAIT)."""
        for client, condition in [*self._conditions.items()]:
            reply = condition()
            if reply is not None:
                self.complete(client, reply)

    def _enter(self, client: Client, parked: Parked) -> None:
        client.parked = parked
        client.guard |= GUARD_PARKED
        self.clients[client] = None
        if parked.deadline_ms is not None:
            deadlines = self._deadlines
            if len(deadlines) > 2 * len(self.clients) + DEADLINES_SPARE:
                deadlines[:] = [entry for entry in deadlines if entry[2].parked is entry[3]]
                heapq.heapify(deadlines)
            entry = parked.deadline_ms, next(self._sequence), client, parked
            heapq.heappush(deadlines, entry)
            if deadlines[0] is entry:
                self.on_deadline()

    def release(self, client: Client) -> None:
        """release(client): it waits no longer, whatever the reason. Nothing is sent. O(keys)."""
        parked = client.parked
        if parked is None:
            return
        client.parked = None
        client.guard &= ~GUARD_PARKED
        self.clients.pop(client, None)
        self._postponed.pop(client, None)
        self._conditions.pop(client, None)
        for key in parked.keys:
            waiting = parked.database.blocked.get(key)
            if waiting is not None:
                waiting.pop(client, None)
                if not waiting:
                    del parked.database.blocked[key]

    def complete(self, client: Client, reply: bytes) -> None:
        """complete(client, reply): the parked command ends with this reply and the client goes on."""
        args = client.parked.args if client.parked is not None else []
        self.release(client)
        client.out += self._server.dispatcher.filtered(client, args, reply)
        if self._serving:
            self._served.append(client)
        else:
            self._server.resume(client)

    def unblock(self, client: Client, with_error: bool) -> bool:
        """unblock(client, with_error) -> whether it was parked; ends it as timed out or with an error."""
        parked = client.parked
        if parked is None or parked.kind == "pause":
            return False
        parked.command.calls += 1
        dispatcher = self._server.dispatcher
        failed = dispatcher.failed(parked.command, UNBLOCKED) if with_error else None
        self.complete(client, failed or parked.on_timeout(client))
        return True

    def abort_all(self, error: CommandError, keep: Callable[[Client], bool] = lambda client: False) -> None:
        """abort_all(error): every parked client gets the error, as after a demotion to replica."""
        for client in [*self.clients]:
            parked = client.parked
            if parked is not None and parked.kind != "pause" and not keep(client):
                parked.command.calls += 1
                self.complete(client, self._server.dispatcher.failed(parked.command, error))

    # -- serving

    def serve_ready(self) -> None:
        """serve_ready(): run again the commands that wait for changed keys. O(their parked clients)."""
        if self._serving:
            return
        self._serving = True
        ready = self._server.keyspace.ready
        try:
            for _ in range(SERVE_ROUNDS_MAX):
                if not ready:
                    break
                index, key = next(iter(ready))
                del ready[index, key]
                self._serve_key(index, key)
        finally:
            self._serving = False
            served, self._served = self._served, []
            for client in served:
                self._server.resume(client)
            if ready:
                self._server.reactor.continue_later(self)

    def on_turn(self) -> None:
        self.serve_ready()

    def on_fault(self) -> None:
        return None

    def _serve_key(self, index: int, key: bytes) -> None:
        database = self._server.keyspace.databases[index]
        for client in [*database.blocked.get(key, ())]:
            value = database.peek(key)
            if value is None or database.is_expired(key):
                return
            parked = client.parked
            if (
                parked is not None
                and parked.database is database
                and parked.value_type in (None, kind_of(value))
            ):
                self._rerun(client, parked)

    def _rerun(self, client: Client, parked: Parked) -> None:
        reply = self._server.dispatcher.call(client, parked.command, parked.args)
        if reply and client.parked is parked:
            self.complete(client, reply)

    # -- time

    def next_deadline_ms(self) -> int | None:
        """next_deadline_ms() -> when `expire` has something to do, or None."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][2].parked is not deadlines[0][3]:
            heapq.heappop(deadlines)
        pause_ms = self.pauses.next_end_ms()
        if not deadlines:
            return pause_ms
        return deadlines[0][0] if pause_ms is None else min(pause_ms, deadlines[0][0])

    def expire(self, now_ms: int) -> None:
        """expire(now_ms): answer the parked clients whose deadline passed, and end a pause that is over."""
        if self.pauses.active:
            self.pauses.drop_ended(now_ms)
            self._pauses_changed()
        while True:
            next_ms = self.next_deadline_ms()
            if next_ms is None or next_ms > now_ms or not self._deadlines:
                return
            _, _, client, parked = heapq.heappop(self._deadlines)
            parked.command.calls += 1
            self.complete(client, parked.on_timeout(client))

    # -- CLIENT PAUSE

    def pause(self, purpose: PausePurpose, until_ms: int, writes_only: bool) -> None:
        """pause(purpose, until_ms, writes_only): hold back commands, besides what other purposes hold back."""
        self.pauses.set(purpose, until_ms, writes_only)
        self._pauses_changed()
        self.on_deadline()

    def unpause(self, purpose: PausePurpose) -> None:
        """unpause(purpose): that reason is gone; with the last one the commands held back run, in order."""
        self.pauses.drop(purpose)
        self._pauses_changed()

    def _pauses_changed(self) -> None:
        self._server.pauses_changed(self.pauses)
        for client in [*self._postponed]:
            parked = client.parked
            if parked is not None and not self._holds(client, parked.command):
                self.release(client)
                self._server.resume(client, [parked.args])

    def _holds(self, client: Client, command: Command) -> bool:
        pauses = self.pauses
        return pauses.active and (not pauses.writes_only or self._writes(client, command))

    def postpone(self, client: Client, command: Command, args: list[bytes]) -> bool:
        """postpone(client, command, args) -> True if a pause holds the command back; it runs when it ends."""
        if client.guard & (GUARD_TRUSTED | GUARD_REPLICA):
            return False
        if not self._holds(client, command) or command.full_name == "client|unpause":
            return False
        parked = Parked("pause", command, args, client.db, [], None, lambda _: NO_REPLY, perf_counter_ns())
        self._enter(client, parked)
        self._postponed[client] = None
        return True

    @staticmethod
    def _writes(client: Client, command: Command) -> bool:
        if command.name == "exec":
            return client.transaction is not None and client.transaction.has_write
        return command.is_write or "may_replicate" in command.flags

    def __iter__(self) -> Iterator[Client]:
        return iter([*self.clients])
