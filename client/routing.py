"""The routing core: which node gets a request, and what a redirect, an error or a lost connection means.

Pure: no sockets, no clock and no randomness of its own. `choose` picks the node, `on_reply` and `on_failure`
say whether the request is done, goes out again at once, or later; the caller performs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from random import Random
from typing import Any, Final

from .errors import (
    AskError,
    ClientError,
    ClusterDownError,
    ConnectionLostError,
    LoadingError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    RedirectError,
    RequestTimeoutError,
    ResponseError,
    TryAgainError,
)
from .options import ClientOptions, ReadFrom
from .topology import SlotMap, SlotRange
from .wire import Address

REDIRECTS_AT_ONCE_MAX: Final = 5
REFRESH_CANDIDATES_MAX: Final = 16
# How long a node that did not answer comes last among several that could serve a request.
SUSPECT_MS: Final = 1000.0


class Next(Enum):
    """What becomes of a request."""

    DONE = auto()
    NOW = auto()
    LATER = auto()


class Request:
    """One command (or one whole transaction) on its way through the cluster.

    Without a slot any primary will do; `fixed` names the one node that is meant, asked once. `extra_ms`
    is what a blocking command may wait on the node. Of `count` replies, the one that counts is the last,
    except that an error among the earlier ones (a command refused while it was queued) says more than the
    EXECABORT after it.
    """

    __slots__ = (
        "asking",
        "count",
        "extra_ms",
        "failures",
        "fixed",
        "payload",
        "redirects",
        "repeatable",
        "replica",
        "reply",
        "slot",
        "target",
        "tried",
    )

    def __init__(
        self,
        payload: bytes,
        *,
        slot: int | None = None,
        fixed: Address | None = None,
        replica: bool = False,
        repeatable: bool = False,
        extra_ms: float = 0.0,
        count: int = 1,
    ) -> None:
        self.payload = payload
        self.slot = slot
        self.fixed = fixed
        self.replica = replica
        self.repeatable = repeatable
        self.extra_ms = extra_ms
        self.count = count
        self.target: Address | None = None
        self.asking = False
        self.tried: set[Address] = set()
        self.failures = 0
        self.redirects = 0
        self.reply: Any = None


# What each error reply means: when to go on, and whether the slot cache is out of date. LATER gives the node
# time to load, to finish a migration or to be replaced. Errors that are not here are the caller's to see.
ERROR_RULES: Final[dict[type[ResponseError], tuple[Next, bool]]] = {
    MovedError: (Next.NOW, True),
    AskError: (Next.NOW, False),
    TryAgainError: (Next.LATER, False),
    ClusterDownError: (Next.LATER, True),
    LoadingError: (Next.LATER, False),
    MasterDownError: (Next.LATER, False),
    ReadOnlyError: (Next.LATER, True),
}

_NODE_CANT_SERVE: Final = (LoadingError, MasterDownError)


class Router:
    """The slot cache and what is known of the nodes' health; shared by all operations of one client."""

    def __init__(self, seeds: Iterable[Address], options: ClientOptions, rng: Random) -> None:
        self.options = options
        self.slots = SlotMap()
        self.known = False
        self._seeds = tuple(seeds)
        self._rng = rng
        self._suspects: dict[Address, float] = {}
        self._stale = False
        self._hint: Address | None = None
        self._refreshed_at_ms = float("-inf")

    def choose(self, request: Request, now_ms: float) -> Address:
        """choose(request, now_ms) -> the node to send it to, which is also put into `request.target`."""
        target = request.fixed
        if target is None:
            slot = request.slot
            shard = None if slot is None else self.slots.shards[slot]
            if shard is None:
                target = self._pick(self.slots.primaries() or self._seeds, request.tried, now_ms)
            elif request.replica and shard.replicas and self.options.read_from is not ReadFrom.PRIMARY:
                if self.options.read_from is ReadFrom.ANY:
                    target = self._pick((shard.primary, *shard.replicas), request.tried, now_ms)
                else:
                    target = self._pick(shard.replicas, request.tried, now_ms, shard.primary)
            else:
                target = shard.primary
        request.target = target
        return target

    def _pick(
        self,
        nodes: Iterable[Address],
        tried: set[Address],
        now_ms: float,
        last_resort: Address | None = None,
    ) -> Address:
        """One of `nodes` at random, not yet tried and not suspect where that can be had."""
        candidates = list(nodes)
        untried = [node for node in candidates if node not in tried]
        healthy = [node for node in untried if self._suspects.get(node, now_ms) <= now_ms]
        if healthy:
            return self._rng.choice(healthy)
        if last_resort is not None and last_resort not in tried:
            return last_resort
        return self._rng.choice(untried or candidates)

    def on_reply(self, request: Request, reply: Any, now_ms: float) -> Next:
        """on_reply(request, reply, now_ms) -> what is next; NOW and LATER have set `request.target` anew.

        An error reply means that nothing was applied, so that a write may go out again.
        """
        request.reply = reply
        rule = ERROR_RULES.get(type(reply))
        if rule is None:
            return Next.DONE
        when, stale = rule
        answered_by = request.target
        assert answered_by is not None, "a reply to a request that was never sent"
        self._stale = self._stale or stale
        if request.fixed is not None:
            return Next.DONE
        if isinstance(reply, RedirectError):
            self._redirect(request, reply, answered_by)
            request.redirects += 1
            return when if request.redirects <= REDIRECTS_AT_ONCE_MAX else self._later(request)
        request.asking = False
        if isinstance(reply, _NODE_CANT_SERVE):
            self._suspects[answered_by] = now_ms + SUSPECT_MS
            request.tried.add(answered_by)
            if self.choose(request, now_ms) not in request.tried:
                return Next.NOW
            return self._later(request)
        self.choose(request, now_ms)
        return self._later(request)

    def _redirect(self, request: Request, error: RedirectError, answered_by: Address) -> None:
        host = error.host if error.host not in ("", "?") else answered_by[0]
        target = (host, error.port)
        if self.options.address_remap is not None:
            target = self.options.address_remap(target)
        request.target = target
        request.asking = isinstance(error, AskError)
        if not request.asking:
            self.slots.move(error.slot, target)
            self._hint = target

    def on_failure(self, request: Request, error: ClientError, now_ms: float) -> Next:
        """on_failure(request, error, now_ms) -> what is next for a request that got no reply.

        One that may have been applied goes out again only if that does no harm, or by `retry_writes`.
        """
        request.reply = error
        if isinstance(error, ResponseError):  # of the handshake of a new connection
            return self.on_reply(request, error, now_ms)
        if not isinstance(error, (ConnectionLostError, RequestTimeoutError)):
            return Next.DONE
        assert request.target is not None
        self._suspects[request.target] = now_ms + SUSPECT_MS
        self._stale = True
        if request.fixed is not None:
            return Next.DONE
        if error.maybe_applied and not request.repeatable and not self.options.retry_writes:
            return Next.DONE
        request.asking = False
        request.tried.add(request.target)
        if self.choose(request, now_ms) not in request.tried:
            return Next.NOW
        return self._later(request)

    def _later(self, request: Request) -> Next:
        request.failures += 1
        request.asking = False
        request.tried.clear()
        return Next.LATER if request.failures < self.options.attempts_max else Next.DONE

    def backoff_ms(self, failures: int) -> float:
        """backoff_ms(failures) -> how long to wait: exponential, bounded, and jittered by up to a half."""
        options = self.options
        # The exponent is bounded too: 2.0 ** 1024 overflows.
        ceiling_ms = min(options.backoff_max_ms, options.backoff_base_ms * 2.0 ** min(failures - 1, 32))
        return ceiling_ms * self._rng.uniform(0.5, 1.0)

    def refresh_due(self, now_ms: float) -> bool:
        """refresh_due(now_ms) -> True, once for each interval, if the slot cache is known to be out of date.

        The caller that got True is the one to refresh.
        """
        if not self._stale or now_ms - self._refreshed_at_ms < self.options.refresh_interval_ms:
            return False
        self._refreshed_at_ms = now_ms
        return True

    def refresh_candidates(self, now_ms: float) -> list[Address]:
        """refresh_candidates(now_ms) -> up to REFRESH_CANDIDATES_MAX nodes to ask for the slots, best first.

        The node that the last MOVED named knows of the change; suspects come last.
        """
        nodes = self.slots.nodes()
        self._rng.shuffle(nodes)
        nodes.sort(key=lambda node: (self._suspects.get(node, now_ms) > now_ms, node != self._hint))
        half = REFRESH_CANDIDATES_MAX // 2
        # The seeds may be names that resolve anew when all addresses have changed.
        candidates = dict.fromkeys((*nodes[:half], *self._seeds, *nodes[half:]))
        return list(candidates)[:REFRESH_CANDIDATES_MAX]

    def adopt(self, ranges: list[SlotRange], now_ms: float) -> None:
        """adopt(ranges, now_ms): take a fresh slot map."""
        self.slots.adopt(ranges)
        self.known = True
        self._stale = False
        self._hint = None
        self._refreshed_at_ms = now_ms
        self._suspects = {node: until for node, until in self._suspects.items() if until > now_ms}

    def shuffle(self, requests: list[Request]) -> None:
        """shuffle(requests): put them into a random order, in place."""
        self._rng.shuffle(requests)

    def suspect(self, address: Address, now_ms: float) -> None:
        """suspect(address, now_ms): it did not answer a refresh."""
        self._suspects[address] = now_ms + SUSPECT_MS
