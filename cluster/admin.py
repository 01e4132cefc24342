"""Talking to nodes as an operator does: one link a node, made when first used and made again after it broke.

Every call is bounded in time, and raises NodeUnreachable or NodeRefused with the node's address in its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.errors import ResponseError, TransportError
from pyredis_cluster.client.resp import Argument

from .errors import NodeRefused, NodeUnreachable
from .plan import Address

CALL_TIMEOUT_MS = 3_000.0
# Replies to this many commands may be held at once by a node and by us.
PIPELINE_COMMANDS_MAX = 2_048
# Nodes asked at the same time: a silent one then delays the picture by one time-out, not by one each.
PARALLEL_NODES_MAX = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Access:
    """How nodes are spoken to: the user, the password if there is one, and the bound of one call."""

    username: str = "default"
    password: str | None = None
    timeout_ms: float = CALL_TIMEOUT_MS


class NodeLink:
    """NodeLink(address, access): an administrative connection to one node; connects when first used."""

    __slots__ = ("_connection", "access", "address")

    def __init__(self, address: Address, access: Access) -> None:
        self.address = address
        self.access = access
        self._connection: Connection | None = None

    def __repr__(self) -> str:
        return f"NodeLink({self.address})"

    def call(self, *args: Argument, timeout_ms: float | None = None) -> Any:
        """call("CLUSTER", "MYID") -> reply. NodeRefused for an error reply."""
        reply = self.pipeline([args], timeout_ms)[0]
        if isinstance(reply, ResponseError):
            raise NodeRefused(self.address, command_text(args), reply.message)
        return reply

    def text(self, *args: Argument) -> str:
        """text("CLUSTER", "NODES") -> the reply decoded from UTF-8."""
        reply = self.call(*args)
        return reply.decode() if isinstance(reply, bytes) else str(reply)

    def pipeline(self, commands: Iterable[Sequence[Argument]], timeout_ms: float | None = None) -> list[Any]:
        """pipeline(commands) -> their replies in order, error replies among them as ResponseError."""
        replies: list[Any] = []
        remaining = iter(commands)
        while batch := list(islice(remaining, PIPELINE_COMMANDS_MAX)):
            try:
                replies += self._connected().pipeline(batch, timeout_ms)
            except TransportError as error:
                self.close()
                raise NodeUnreachable(str(error)) from error
        return replies

    def _connected(self) -> Connection:
        if self._connection is None:
            access = self.access
            try:
                self._connection = Connection(
                    self.address.host,
                    self.address.port,
                    access.timeout_ms,
                    username=access.username,
                    password=access.password,
                )
            except ResponseError as error:
                raise NodeRefused(self.address, "AUTH", error.message) from error
        return self._connection

    def close(self) -> None:
        """close(): close the connection if there is one; the next call makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def command_text(args: Sequence[Argument]) -> str:
    """command_text(["CLUSTER", "NODES"]) -> "CLUSTER NODES", the first words only: the rest may be long."""
    shown = " ".join(arg.decode(errors="replace") if isinstance(arg, bytes) else str(arg) for arg in args[:4])
    return shown if len(args) <= 4 else f"{shown} ..."


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """in_parallel(function, items) -> its results in the items' order; the first exception is raised."""
    if len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(len(items), PARALLEL_NODES_MAX)) as pool:
        return list(pool.map(function, items))
