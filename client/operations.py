"""Every cluster operation, written once: generators that yield effects, which either driver performs.

An operation encodes, groups requests by node, settles the replies through the routing core, and repeats what
has to be repeated until all are answered, or its time or its attempts are used up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pyredis_cluster.gossip.slots import key_slot

from .combining import combine_replies
from .command_table import (
    COMMAND_TABLE,
    Combine,
    CommandSpec,
    Keys,
    Target,
    block_ms,
    find_spec,
    first_key,
    spec_from_info,
)
from .effects import Batch, Effect, Exchange, Retain, Sleep
from .errors import (
    ClientError,
    ClusterUnreachableError,
    NotRoutableError,
    ProtocolViolationError,
    ResponseError,
    TransportError,
)
from .resp import encode_command
from .routing import Next, Request, Router
from .topology import parse_slots
from .wire import Address

T = TypeVar("T")
Operation = Generator[Effect, None, T]
Shape = Callable[[Any], Any]

# A pipeline goes out in rounds of at most this many requests, so that one round fits the request time-out.
ROUND_REQUESTS_MAX: Final = 10_000
# Only a node that is alive and idle enough to serve is worth waiting for when the slots are asked for.
REFRESH_TIMEOUT_MS: Final = 1000.0
# No further node is asked after this: the request that waits for the slots has its own time limit.
REFRESH_TOTAL_MS: Final = 3000.0
LEARNED_COMMANDS_MAX: Final = 1024

ASKING: Final = encode_command([b"ASKING"])
CLUSTER_SLOTS: Final = encode_command([b"CLUSTER", b"SLOTS"])


@dataclass(slots=True)
class Plan:
    """The requests that one command turns into, and how their replies become one result."""

    requests: list[Request]
    combine: Callable[[list[Any]], Any] | None = None
    shape: Shape | None = None

    def outcome(self) -> Any:
        """outcome() -> the result, or the ClientError that the command has met."""
        if self.combine is None:
            reply = self.requests[0].reply
        else:
            replies = [request.reply for request in self.requests]
            failed = next((reply for reply in replies if isinstance(reply, ClientError)), None)
            reply = self.combine(replies) if failed is None else failed
        if self.shape is None or isinstance(reply, ClientError):
            return reply
        return self.shape(reply)


class Operations:
    """The operations of one client. `clock_ms` is the driver's monotonic clock."""

    def __init__(self, router: Router, clock_ms: Callable[[], float]) -> None:
        self.router = router
        self.clock_ms = clock_ms
        self._learned: dict[bytes, CommandSpec] = {}

    # -- topology ------------------------------------------------------------------------------------------

    def connect(self) -> Operation[None]:
        """connect(): learn the slots. Raises ClusterUnreachableError, or the last node's ResponseError."""
        error = yield from self._refresh()
        if error is None:
            return
        if isinstance(error, ResponseError):
            raise error
        raise ClusterUnreachableError(f"no node told its slots; the last one: {error}") from error

    def refresh_if_due(self) -> Operation[None]:
        """refresh_if_due(): ask for the slots again if an error has shown that the cache is out of date."""
        if self.router.refresh_due(self.clock_ms()):
            yield from self._refresh()

    def _refresh(self) -> Operation[ClientError | None]:
        """Ask node after node for the slots, until one answers; returns the last failure if none does."""
        router = self.router
        failure: ClientError | None = None
        started_ms = self.clock_ms()
        for address in router.refresh_candidates(started_ms):
            if self.clock_ms() - started_ms > REFRESH_TOTAL_MS:
                break
            timeout_ms = min(REFRESH_TIMEOUT_MS, router.options.request_timeout_ms)
            batch = Batch(address, CLUSTER_SLOTS, 1, timeout_ms)
            yield Exchange([batch])
            reply = batch.replies[0] if batch.error is None else batch.error
            if isinstance(reply, TransportError):
                router.suspect(address, self.clock_ms())
            if isinstance(reply, ClientError):
                failure = reply
                continue
            try:
                ranges = parse_slots(reply, address, router.options.address_remap)
            except ProtocolViolationError as error:
                failure = error
                continue
            if ranges or not router.slots.primaries():  # a node that was reset knows less than we do
                router.adopt(ranges, self.clock_ms())
                yield Retain(router.slots.nodes())
                return None
        return failure

    # -- planning ------------------------------------------------------------------------------------------

    def plan(
        self, args: Sequence[bytes], shape: Shape | None = None, node: Address | None = None
    ) -> Operation[Plan]:
        """plan(args) -> the Plan of one command. Raises NotRoutableError."""
        spec = find_spec(args, COMMAND_TABLE) or find_spec(args, self._learned)
        if spec is None:
            spec = yield from self._learn(args[0])
        if spec.target is Target.OWN_CONNECTION and not (node is not None and args[0].upper() == b"SCAN"):
            name = args[0].decode("utf-8", "replace").upper()
            raise NotRoutableError(
                f"{name} needs a connection of its own: see transaction(), scan_iter() and Connection"
            )
        if node is not None:
            return Plan([self._request(args, spec, fixed=node)], None, shape)
        if spec.target is Target.SLOT:
            key = first_key(spec, args)
            if key is None and spec.keys is Keys.ASK:
                key = yield from self._ask_first_key(args)
            slot = None if key is None else key_slot(key)
            return Plan([self._request(args, spec, slot=slot)], None, shape)
        if spec.target is Target.SPLIT:
            return self._split(args, spec, shape)
        if not self.router.known:
            yield from self.connect()
        return self._broadcast(args, spec, shape)

    def _request(
        self, args: Sequence[bytes], spec: CommandSpec, slot: int | None = None, fixed: Address | None = None
    ) -> Request:
        return Request(
            encode_command(args),
            slot=slot,
            fixed=fixed,
            replica=spec.replica,
            repeatable=spec.repeatable,
            extra_ms=block_ms(spec, args) if spec.block or spec.keys is Keys.STREAMS else 0.0,
        )

    def _split(self, args: Sequence[bytes], spec: CommandSpec, shape: Shape | None) -> Plan:
        """One request for each slot of the keys: a node takes several keys at once only within one slot."""
        step = spec.step
        by_slot: dict[int, list[int]] = {}
        for index in range(1, len(args), step):
            by_slot.setdefault(key_slot(args[index]), []).append(index)
        if len(by_slot) < 2 or (len(args) - 1) % step:
            # Wrong numbers of arguments are for the node to refuse.
            slot = next(iter(by_slot), None)
            return Plan([self._request(args, spec, slot=slot)], None, shape)
        requests = []
        for slot, indexes in by_slot.items():
            part = [args[0]]
            for index in indexes:
                part += args[index : index + step]
            requests.append(self._request(part, spec, slot=slot))
        order = [index - 1 for indexes in by_slot.values() for index in indexes]
        return Plan(requests, lambda replies: combine_replies(spec.combine, replies, order), shape)

    def _broadcast(self, args: Sequence[bytes], spec: CommandSpec, shape: Shape | None) -> Plan:
        router = self.router
        if spec.target is Target.NODES:
            requests = [self._request(args, spec, fixed=node) for node in router.slots.nodes()]
        else:
            # By slot, so that a retry after a failover goes to the shard's new primary.
            requests = [
                self._request(args, spec, slot=slot) for slot in router.slots.one_slot_of_each_shard()
            ]
        if spec.combine is Combine.PICK:
            router.shuffle(requests)
        requests = requests or [self._request(args, spec)]
        return Plan(requests, lambda replies: combine_replies(spec.combine, replies, ()), shape)

    def _learn(self, name: bytes) -> Operation[CommandSpec]:
        """Ask a node about a command that is not in the table. One it doesn't know is its to refuse."""
        name = name.upper()
        request = Request(encode_command([b"COMMAND", b"INFO", name]), repeatable=True)
        yield from self.run([request])
        spec = spec_from_info(request.reply[0]) if isinstance(request.reply, list) and request.reply else None
        if spec is None:
            return CommandSpec()
        if len(self._learned) < LEARNED_COMMANDS_MAX:
            self._learned[name] = spec
        return spec

    def _ask_first_key(self, args: Sequence[bytes]) -> Operation[bytes | None]:
        request = Request(encode_command([b"COMMAND", b"GETKEYS", *args]), repeatable=True)
        yield from self.run([request])
        if isinstance(request.reply, list) and request.reply:
            key = request.reply[0]
            return key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogateescape")
        return None

    # -- running -------------------------------------------------------------------------------------------

    def execute(
        self, args: Sequence[bytes], shape: Shape | None = None, node: Address | None = None
    ) -> Operation[Any]:
        """execute(args) -> the command's result. Raises ClientError."""
        plan = yield from self.plan(args, shape, node)
        yield from self.run(plan.requests)
        outcome = plan.outcome()
        if isinstance(outcome, ClientError):
            raise outcome
        return outcome

    def pipeline(
        self, commands: Iterable[tuple[Sequence[bytes], Shape | None]], raise_on_error: bool
    ) -> Operation[list[Any]]:
        """pipeline(commands) -> their results in order. The first ClientError is raised, or all are in it."""
        plans = []
        requests: list[Request] = []
        for args, shape in commands:
            plan = yield from self.plan(args, shape)
            plans.append(plan)
            requests += plan.requests
        yield from self.run(requests)
        outcomes = [plan.outcome() for plan in plans]
        if raise_on_error:
            for index, outcome in enumerate(outcomes):
                if isinstance(outcome, ClientError):
                    outcome.add_note(f"command {index} of the pipeline; the others were sent too")
                    raise outcome
        return outcomes

    def run(self, requests: list[Request]) -> Operation[None]:
        """run(requests): answer each request's `reply`, a ClientError if that is what came of it."""
        if not self.router.known:
            yield from self.connect()
        else:
            # An operation that may have been applied ends with the error: what it showed is for the next one.
            yield from self.refresh_if_due()
        if len(requests) <= ROUND_REQUESTS_MAX:
            yield from self._run_round(requests)
            return
        for start in range(0, len(requests), ROUND_REQUESTS_MAX):
            yield from self._run_round(requests[start : start + ROUND_REQUESTS_MAX])

    def _run_round(self, requests: list[Request]) -> Operation[None]:
        router, clock_ms = self.router, self.clock_ms
        now_ms = clock_ms()
        allowed_ms = router.options.retry_timeout_ms + sum([request.extra_ms for request in requests])
        deadline_ms = now_ms + allowed_ms
        for request in requests:
            router.choose(request, now_ms)
        pending = requests
        while True:
            batches, groups = self._group(pending, deadline_ms - now_ms)
            yield Exchange(batches)
            now_ms = clock_ms()
            pending, later = self._settle(batches, groups, now_ms)
            if not pending:
                break
            pause_ms = router.backoff_ms(min(request.failures for request in later)) if later else 0.0
            if now_ms + pause_ms >= deadline_ms:
                break
            if later:
                yield Sleep(pause_ms)
            yield from self.refresh_if_due()
            now_ms = clock_ms()
            for request in later:
                router.choose(request, now_ms)
        for request in requests:
            if isinstance(request.reply, TransportError):
                request.reply = _explain(request, request.reply)

    def _group(self, requests: list[Request], left_ms: float) -> tuple[list[Batch], list[list[Request]]]:
        """A batch for each node, and the requests in it, in their order."""
        by_node: dict[Address, list[Request]] = {}
        for request in requests:
            target = request.target
            assert target is not None, "a request is routed before it is sent"
            group = by_node.get(target)
            if group is None:
                by_node[target] = [request]
            else:
                group.append(request)
        batches = []
        limit_ms = min(self.router.options.request_timeout_ms, max(left_ms, 1.0))
        for target, group in by_node.items():
            payloads = []
            count = 0
            extra_ms = 0.0
            for request in group:
                if request.asking:
                    payloads.append(ASKING)
                    count += 1
                payloads.append(request.payload)
                count += request.count
                extra_ms += request.extra_ms
            payload = payloads[0] if len(payloads) == 1 else b"".join(payloads)
            batches.append(Batch(target, payload, count, limit_ms + extra_ms))
        return batches, list(by_node.values())

    def _settle(
        self, batches: list[Batch], groups: list[list[Request]], now_ms: float
    ) -> tuple[list[Request], list[Request]]:
        """Hand out the replies; returns what goes out again, and which of that not before a pause."""
        router = self.router
        again: list[Request] = []
        later: list[Request] = []
        for batch, group in zip(batches, groups, strict=True):
            replies = batch.replies
            index = 0
            for request in group:
                start = index + request.asking
                index = start + request.count
                if index <= len(replies):
                    reply = replies[start] if request.count == 1 else _transaction_reply(replies[start:index])
                    following = router.on_reply(request, reply, now_ms)
                else:
                    assert batch.error is not None, "a driver gives all replies or an error"
                    following = router.on_failure(request, batch.error, now_ms)
                if following is not Next.DONE:
                    again.append(request)
                    if following is Next.LATER:
                        later.append(request)
        return again, later


def _transaction_reply(replies: list[Any]) -> Any:
    """EXEC's reply, or why a command was refused when it was queued: EXECABORT doesn't tell."""
    refused = next((reply for reply in replies[:-1] if isinstance(reply, ResponseError)), None)
    return replies[-1] if refused is None else refused


def _explain(request: Request, error: TransportError) -> ClientError:
    """The error that the caller sees for a request that no node has answered."""
    if request.fixed is not None or (error.maybe_applied and not request.repeatable):
        return error
    attempts = request.failures + 1
    unreachable = ClusterUnreachableError(f"no node answered in {attempts} attempts; the last: {error}")
    unreachable.__cause__ = error
    return unreachable
