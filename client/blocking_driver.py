"""The blocking driver: `ClusterClient`, and the pipelines and transactions that it makes, for threads."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from .blocking_pool import BlockingPools, exchange_together
from .commands import CommandMethods, CommandQueue
from .effects import Batch, Effect, Exchange, Lease, Release, Retain, Sleep
from .errors import ClientError
from .operations import Operation, Operations, Shape
from .options import DEFAULT_PORT, ClientOptions, parse_address, seed_addresses
from .resp import Argument, to_args
from .routing import Router
from .scanning import ScanState, scan_options
from .transactions import TransactionState
from .wire import Address

T = TypeVar("T")


def _clock_ms() -> float:
    return time.monotonic() * 1000


class ClusterClient(CommandMethods):
    """ClusterClient(host="127.0.0.1", port=7000, *, startup_nodes=(), **options): a client of a cluster.

    Any of its nodes will do to start with; the slots are asked for with the first command, or by `connect`.
    `startup_nodes` ("host:port" or pairs) takes the place of host and port; the options are those of
    `ClientOptions`. Thread-safe; a context manager, which connects.

    All methods raise ResponseError for an error reply, ClusterUnreachableError if no node answered in time,
    and TransportError with `maybe_applied=True` for a write that was sent but not answered.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        startup_nodes: Iterable[str | Address] = (),
        **options: Any,
    ) -> None:
        self.options = ClientOptions(**options)
        router = Router(seed_addresses(host, port, startup_nodes), self.options, random.Random())
        self.operations = Operations(router, _clock_ms)
        self._pools = BlockingPools(self.options)

    def connect(self) -> Self:
        """connect() -> self: learn the slots. Raises ClusterUnreachableError, AuthenticationError."""
        self.run(self.operations.connect())
        return self

    def execute(self, *args: Argument, node: str | Address | None = None) -> Any:
        """execute("SET", "key", "value") -> the reply: any command, sent to the node or nodes that it is for.

        `node` sends it to one node in particular, which is asked once, without redirects and retries.
        Raises NotRoutableError for commands that change the state of their connection.
        """
        address = parse_address(node) if isinstance(node, str) else node
        return self.run(self.operations.execute(to_args(args), None, address))

    def _issue(self, *args: Argument, shape: Shape | None = None) -> Any:
        return self.run(self.operations.execute(to_args(args), shape))

    def pipeline(self) -> Pipeline:
        """pipeline() -> a queue of commands, sent together by its `execute`."""
        return Pipeline(self)

    def transaction(self) -> Transaction:
        """transaction() -> a queue of commands on one slot, applied as one by its `execute`."""
        return Transaction(self)

    def scan_iter(
        self, match: Argument | None = None, count: int | None = None, type_name: str | None = None
    ) -> Iterator[Any]:
        """scan_iter(match, count, type_name) -> the keys of all primaries, as SCAN guarantees them."""
        state = ScanState(self.operations, scan_options(match, count, type_name))
        while not state.done:
            yield from self.run(state.next_page())

    def nodes(self) -> list[Address]:
        """nodes() -> the addresses of all nodes that serve slots, replicas too, as known so far."""
        return self.operations.router.slots.nodes()

    def primaries(self) -> list[Address]:
        """primaries() -> the addresses of the primaries that serve slots, as known so far."""
        return self.operations.router.slots.primaries()

    def close(self) -> None:
        """close(): close the connections. The client opens new ones if it is used again."""
        self._pools.close()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, operation: Operation[T]) -> T:
        """run(operation) -> its result: perform its effects on this thread."""
        try:
            effect = operation.send(None)
            while True:
                self._perform(effect)
                effect = operation.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Exchange):
            if len(effect.batches) == 1:
                self._exchange_one(effect.batches[0])
            else:
                self._exchange_many(effect.batches)
        elif isinstance(effect, Sleep):
            time.sleep(effect.duration_ms / 1000)
        elif isinstance(effect, Lease):
            try:
                effect.connection = self._pools.acquire(effect.address)
            except ClientError as error:
                effect.error = error
        elif isinstance(effect, Release):
            if not effect.reusable:
                effect.connection.close()
            self._pools.release(effect.connection)
        elif isinstance(effect, Retain):
            self._pools.retain(effect.addresses)

    def _exchange_one(self, batch: Batch) -> None:
        connection = batch.lease
        if connection is None:
            try:
                connection = self._pools.acquire(batch.address)
            except ClientError as error:
                batch.error = error
                return
        try:
            batch.replies = connection.exchange(batch.payload, batch.count, batch.timeout_ms)
        except ClientError as error:
            batch.error = error
            batch.replies = connection.wire.replies
        except BaseException:
            connection.close()
            raise
        finally:
            if batch.lease is None or connection.wire.closed:
                self._pools.release(connection)

    def _exchange_many(self, batches: list[Batch]) -> None:
        connections = []
        try:
            # In the order of addresses: two threads that take them crosswise would wait for each other.
            for batch in sorted(batches, key=lambda batch: batch.address):
                try:
                    connections.append((self._pools.acquire(batch.address), batch))
                except ClientError as error:
                    batch.error = error
            exchange_together([(connection.wire, batch) for connection, batch in connections])
        except BaseException:
            for connection, _ in connections:
                connection.close()
            raise
        finally:
            for connection, _ in connections:
                self._pools.release(connection)


class Pipeline(CommandQueue):
    """Commands for any slots, sent to all their nodes at once. Leaving its context drops what is queued."""

    def __init__(self, client: ClusterClient) -> None:
        super().__init__()
        self._client = client

    def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        """execute() -> the results in the order of the commands.

        All commands are sent, whatever becomes of single ones. Raises the first ClientError, or leaves all
        of them in the list. Commands on the same key keep their order, except around a slot's migration.
        """
        return self._client.run(self._client.operations.pipeline(self.take_queue(), raise_on_error))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.take_queue()


class Transaction(CommandQueue):
    """MULTI/EXEC on the keys of one slot. Use it as a context manager: that ends a WATCH for certain."""

    def __init__(self, client: ClusterClient) -> None:
        super().__init__()
        self._client = client
        self._state = TransactionState(client.operations)

    def _issue(self, *args: Argument, shape: Shape | None = None) -> Any:
        encoded = to_args(args)
        self._state.check(encoded)
        self._queue.append((encoded, shape))
        return self

    def watch(self, *keys: Argument) -> None:
        """watch(key, ...): `execute` raises WatchError if one of them changes before. Raises ClientError."""
        self._client.run(self._state.watch(to_args(keys)))

    def immediate(self, *args: Argument) -> Any:
        """immediate("GET", "key") -> the reply, now, while the keys are watched. Raises ClientError."""
        return self._client.run(self._state.immediate(to_args(args)))

    def execute(self) -> list[Any]:
        """execute() -> the results of the queued commands, all applied, or none.

        An error that a command met when it ran is in the list, as Redis applies the others all the same.
        Raises WatchError, CrossSlotError, ResponseError if a command was refused, TransportError.
        """
        return self._client.run(self._state.execute(self.take_queue()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.take_queue()
        self._client.run(self._state.release())
