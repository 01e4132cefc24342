"""MULTI/EXEC on one slot, with or without WATCH: the state of one transaction and its operations.

Without WATCH the whole transaction is one request, which goes out again when it was redirected, as nothing of
it has been applied then. With WATCH it lives on one leased connection and is not repeated: a watch that can't
be kept is a WatchError, as if a watched key had changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pyredis_cluster.gossip.slots import key_slot

from .command_table import COMMAND_TABLE, Target, find_spec, first_key
from .effects import Batch, Exchange, Lease, Release, Sleep
from .errors import (
    AskError,
    ClientError,
    CrossSlotError,
    MovedError,
    NotRoutableError,
    WatchError,
)
from .operations import Operation, Operations, Shape
from .resp import encode_command, encode_commands
from .routing import Next, Request

MULTI: Final = encode_command([b"MULTI"])
EXEC: Final = encode_command([b"EXEC"])


class TransactionState:
    """The slot of a transaction, and the connection that watches, if there is one."""

    def __init__(self, operations: Operations) -> None:
        self.slot: int | None = None
        self.lease: Any = None
        self._operations = operations
        self._target: tuple[str, int] | None = None

    def check(self, args: Sequence[bytes]) -> None:
        """check(args): the command may be part of it. Raises CrossSlotError, NotRoutableError."""
        spec = find_spec(args, COMMAND_TABLE)
        if spec is None:
            return
        if spec.target is Target.OWN_CONNECTION:
            name = args[0].decode("utf-8", "replace").upper()
            raise NotRoutableError(f"{name} can't be part of a transaction")
        if spec.target is Target.SPLIT:
            self._claim_keys(args[1 :: spec.step])
        elif (key := first_key(spec, args)) is not None:
            self._claim_keys((key,))

    def _claim_keys(self, keys: Sequence[bytes]) -> None:
        slots = {key_slot(key) for key in keys}
        if self.slot is not None:
            slots.add(self.slot)
        if len(slots) > 1:
            raise CrossSlotError("CROSSSLOT Keys in request don't hash to the same slot")
        self.slot = next(iter(slots), None)

    def execute(self, queue: Sequence[tuple[Sequence[bytes], Shape | None]]) -> Operation[list[Any]]:
        """execute(queue) -> the results of its commands, ResponseErrors of single ones among them.

        Raises WatchError, TransportError, or the ResponseError for which a command was refused.
        """
        if not queue and self.lease is None:
            return []
        payload = b"".join((MULTI, encode_commands([args for args, _ in queue]), EXEC))
        count = len(queue) + 2
        if self.lease is None:
            request = Request(payload, slot=self.slot, count=count)
            yield from self._operations.run([request])
            reply = request.reply
        else:
            reply = yield from self._execute_leased(payload, count)
        if isinstance(reply, ClientError):
            raise reply
        if reply is None:
            raise WatchError("a watched key was changed")
        return [
            item if shape is None or isinstance(item, ClientError) else shape(item)
            for item, (_, shape) in zip(reply, queue, strict=True)
        ]

    def _execute_leased(self, payload: bytes, count: int) -> Operation[Any]:
        replies = yield from self._exchange_leased(payload, count)
        refused = next((reply for reply in replies[:-1] if isinstance(reply, ClientError)), None)
        reply = replies[-1] if refused is None else refused
        # EXEC has ended the watch, whatever it answered; only an unread reply would spoil the connection.
        yield from self.release(reusable=True)
        if isinstance(reply, (MovedError, AskError)):
            return WatchError(f"the watched slot has moved: {reply}")
        return reply

    def _exchange_leased(self, payload: bytes, count: int) -> Operation[list[Any]]:
        assert self._target is not None, "a lease comes with the node that it is for"
        batch = Batch(
            self._target, payload, count, self._operations.router.options.request_timeout_ms, self.lease
        )
        yield Exchange([batch])
        if batch.error is not None:
            self.lease = None  # the driver has closed it
            raise batch.error
        return batch.replies

    def watch(self, keys: Sequence[bytes]) -> Operation[None]:
        """watch(keys): WATCH them, on a connection of the transaction's own. Raises ClientError."""
        self._claim_keys(keys)
        payload = encode_command([b"WATCH", *keys])
        if self.lease is not None:
            reply = (yield from self._exchange_leased(payload, 1))[0]
            if isinstance(reply, ClientError):
                yield from self.release()
                raise WatchError(f"the watched slot has moved: {reply}") from reply
            return
        operations = self._operations
        router = operations.router
        if not router.known:
            yield from operations.connect()
        request = Request(payload, slot=self.slot, repeatable=True)
        deadline_ms = operations.clock_ms() + router.options.retry_timeout_ms
        attempts = 0
        while (yield from self._try_watch(request)) is not Next.DONE:
            # A slot on its way elsewhere (ASK) can't be watched: wait until it has arrived.
            attempts += 1
            pause_ms = router.backoff_ms(attempts)
            if operations.clock_ms() + pause_ms >= deadline_ms:
                break
            yield Sleep(pause_ms)
            yield from operations.refresh_if_due()
        if isinstance(request.reply, ClientError):
            raise request.reply

    def _try_watch(self, request: Request) -> Operation[Next]:
        operations = self._operations
        router = operations.router
        target = router.choose(request, operations.clock_ms())
        lease = Lease(target)
        yield lease
        if lease.error is not None:
            return router.on_failure(request, lease.error, operations.clock_ms())
        batch = Batch(target, request.payload, 1, router.options.request_timeout_ms, lease.connection)
        yield Exchange([batch])
        if batch.error is not None:
            return router.on_failure(request, batch.error, operations.clock_ms())
        following = router.on_reply(request, batch.replies[0], operations.clock_ms())
        if isinstance(request.reply, ClientError):
            yield Release(lease.connection, reusable=True)
        else:
            self.lease, self._target = lease.connection, target
        return following

    def immediate(self, args: Sequence[bytes]) -> Operation[Any]:
        """immediate(args) -> the reply of a command that runs now, on the connection that watches."""
        if self.lease is None:
            raise NotRoutableError("nothing is watched: run the command on the client itself")
        self.check(args)
        reply = (yield from self._exchange_leased(encode_command(args), 1))[0]
        if isinstance(reply, (MovedError, AskError)):
            yield from self.release()
            raise WatchError(f"the watched slot has moved: {reply}") from reply
        if isinstance(reply, ClientError):
            raise reply
        return reply

    def release(self, *, reusable: bool = False) -> Operation[None]:
        """release(): give the connection back, if one is held; a watch that is still on ends with it."""
        lease, self.lease = self.lease, None
        if lease is not None:
            yield Release(lease, reusable)
