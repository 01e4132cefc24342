"""The Trio driver: `TrioClusterClient`, and the pipelines and transactions that it makes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from .commands import CommandMethods, CommandQueue
from .effects import Batch, Effect, Exchange, Lease, Release, Retain, Sleep
from .errors import ClientError
from .operations import Operation, Operations, Shape
from .options import DEFAULT_PORT, ClientOptions, parse_address, seed_addresses
from .resp import Argument, to_args
from .routing import Router
from .scanning import ScanState, scan_options
from .transactions import TransactionState
from .trio_pool import TrioPools
from .wire import Address

T = TypeVar("T")


def _clock_ms() -> float:
    return trio.current_time() * 1000


class TrioClusterClient(CommandMethods):
    """TrioClusterClient(host="127.0.0.1", port=7000, *, startup_nodes=(), **options): for Trio.

    The methods of `ClusterClient`, to be awaited, and its errors. Any number of tasks may share it. An async
    context manager, which connects. A cancelled request closes its connection; whether it was applied is
    not known.
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
        self._pools = TrioPools(self.options)

    async def connect(self) -> Self:
        """connect() -> self: learn the slots. Raises ClusterUnreachableError, AuthenticationError."""
        await self.run(self.operations.connect())
        return self

    async def execute(self, *args: Argument, node: str | Address | None = None) -> Any:
        """execute("SET", "key", "value") -> the reply; see `ClusterClient.execute`."""
        address = parse_address(node) if isinstance(node, str) else node
        return await self.run(self.operations.execute(to_args(args), None, address))

    async def _issue(self, *args: Argument, shape: Shape | None = None) -> Any:
        return await self.run(self.operations.execute(to_args(args), shape))

    def pipeline(self) -> TrioPipeline:
        """pipeline() -> a queue of commands, sent together by its `execute`."""
        return TrioPipeline(self)

    def transaction(self) -> TrioTransaction:
        """transaction() -> a queue of commands on one slot, applied as one by its `execute`."""
        return TrioTransaction(self)

    async def scan_iter(
        self, match: Argument | None = None, count: int | None = None, type_name: str | None = None
    ) -> AsyncIterator[Any]:
        """scan_iter(match, count, type_name) -> the keys of all primaries, as SCAN guarantees them."""
        state = ScanState(self.operations, scan_options(match, count, type_name))
        while not state.done:
            for key in await self.run(state.next_page()):
                yield key

    def nodes(self) -> list[Address]:
        """nodes() -> the addresses of all nodes that serve slots, replicas too, as known so far."""
        return self.operations.router.slots.nodes()

    def primaries(self) -> list[Address]:
        """primaries() -> the addresses of the primaries that serve slots, as known so far."""
        return self.operations.router.slots.primaries()

    async def aclose(self) -> None:
        """aclose(): close the connections. The client opens new ones if it is used again."""
        self._pools.close()
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pools.close()

    async def run(self, operation: Operation[T]) -> T:
        """run(operation) -> its result: perform its effects in this task."""
        try:
            effect = operation.send(None)
            while True:
                await self._perform(effect)
                effect = operation.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Exchange):
            if len(effect.batches) == 1:
                await self._exchange(effect.batches[0])
            else:
                async with trio.open_nursery() as nursery:
                    for batch in effect.batches:
                        nursery.start_soon(self._exchange, batch)
        elif isinstance(effect, Sleep):
            await trio.sleep(effect.duration_ms / 1000)
        elif isinstance(effect, Lease):
            try:
                effect.connection = await self._pools.acquire(effect.address)
            except ClientError as error:
                effect.error = error
        elif isinstance(effect, Release):
            if not effect.reusable:
                effect.connection.wire.close()
            self._pools.release(effect.connection)
        elif isinstance(effect, Retain):
            self._pools.retain(effect.addresses)

    async def _exchange(self, batch: Batch) -> None:
        connection = batch.lease
        if connection is None:
            try:
                connection = await self._pools.acquire(batch.address)
            except ClientError as error:
                batch.error = error
                return
        try:
            batch.replies = await connection.exchange(batch.payload, batch.count, batch.timeout_ms)
        except ClientError as error:
            batch.error = error
            batch.replies = connection.wire.replies
        except BaseException:
            connection.wire.close()
            raise
        finally:
            if batch.lease is None or connection.wire.closed:
                self._pools.release(connection)


class TrioPipeline(CommandQueue):
    """Commands for any slots, sent to all their nodes at once. Its methods queue; `execute` is awaited."""

    def __init__(self, client: TrioClusterClient) -> None:
        super().__init__()
        self._client = client

    async def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        """execute() -> the results in the order of the commands; see `Pipeline.execute`."""
        return await self._client.run(self._client.operations.pipeline(self.take_queue(), raise_on_error))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.take_queue()


class TrioTransaction(CommandQueue):
    """MULTI/EXEC on the keys of one slot. Use it as a context manager: that ends a WATCH for certain."""

    def __init__(self, client: TrioClusterClient) -> None:
        super().__init__()
        self._client = client
        self._state = TransactionState(client.operations)

    def _issue(self, *args: Argument, shape: Shape | None = None) -> Any:
        encoded = to_args(args)
        self._state.check(encoded)
        self._queue.append((encoded, shape))
        return self

    async def watch(self, *keys: Argument) -> None:
        """watch(key, ...): `execute` raises WatchError if one of them changes before. Raises ClientError."""
        await self._client.run(self._state.watch(to_args(keys)))

    async def immediate(self, *args: Argument) -> Any:
        """immediate("GET", "key") -> the reply, now, while the keys are watched. Raises ClientError."""
        return await self._client.run(self._state.immediate(to_args(args)))

    async def execute(self) -> list[Any]:
        """execute() -> the results of the queued commands; see `Transaction.execute`."""
        return await self._client.run(self._state.execute(self.take_queue()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.take_queue()
        await self._client.run(self._state.release())
