"""What can be set on a client, with its defaults: its limits and time-outs have their names here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from .resp import Argument, encode_commands, to_args
from .wire import Address

DEFAULT_PORT = 7000


class ReadFrom(Enum):
    """Which nodes may serve commands that only read.

    Replicas answer with what has reached them: a read may not see a write that was just acknowledged.
    """

    PRIMARY = "primary"
    REPLICA = "replica"  # a replica if one answers, else the primary
    ANY = "any"  # the primary and its replicas by turns at random


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """The keyword arguments of `ClusterClient` and `TrioClusterClient`; times are in milliseconds.

    `retry_timeout_ms` bounds one operation from its start, over all retries; `request_timeout_ms` one request
    to one node (a blocking command may take its own timeout on top of both). With `retry_writes`, a write
    whose connection died after it was sent is sent again, so that an INCR may count twice; without it
    (the default) it raises a TransportError with `maybe_applied=True`.
    `read_from` is "primary", "replica" or "any". `address_remap` translates the addresses that the cluster
    announces, for clients behind NAT.
    """

    username: str = "default"
    password: str | None = None
    client_name: str | None = None
    resp: int = 2
    decode_responses: bool = False
    read_from: ReadFrom | str = ReadFrom.PRIMARY
    retry_writes: bool = False
    connect_timeout_ms: float = 1000.0
    request_timeout_ms: float = 3000.0
    retry_timeout_ms: float = 10_000.0
    attempts_max: int = 64
    backoff_base_ms: float = 8.0
    backoff_max_ms: float = 250.0
    refresh_interval_ms: float = 100.0
    pool_connections_max: int = 64
    pool_wait_ms: float = 3000.0
    address_remap: Callable[[Address], Address] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "read_from", ReadFrom(self.read_from))
        if self.resp not in (2, 3):
            raise ValueError("resp must be 2 or 3")
        if self.attempts_max < 1 or self.pool_connections_max < 1:
            raise ValueError("attempts_max and pool_connections_max must be at least 1")

    def handshake(self) -> tuple[bytes, int]:
        """handshake() -> (payload, count of replies): what a new connection sends first.

        There is always something to answer. The kernel takes connections to a dying process until its listener is
        closed, which it is after the connections; a write sent into one of them would be of unknown fate.
        """
        commands = handshake_commands(
            username=self.username, password=self.password, resp=self.resp, client_name=self.client_name
        )
        if self.read_from is not ReadFrom.PRIMARY:
            commands.append(("READONLY",))
        commands = commands or [("CLIENT", "ID")]
        return encode_commands(map(to_args, commands)), len(commands)


def handshake_commands(
    *, username: str, password: str | None, resp: int, client_name: str | None
) -> list[tuple[Argument, ...]]:
    """handshake_commands(...) -> the commands that bring a new connection into the wanted state."""
    commands: list[tuple[Argument, ...]] = []
    if password is not None:
        # AUTH with one argument is all that servers without users know.
        commands.append(("AUTH", password) if username == "default" else ("AUTH", username, password))
    if resp == 3:
        commands.append(("HELLO", 3))
    if client_name is not None:
        commands.append(("CLIENT", "SETNAME", client_name))
    return commands


def parse_address(text: str) -> Address:
    """parse_address("host:port") -> (host, port); `[::1]:7000` and a bare host (port 7000) are fine too.

    Raises ValueError.
    """
    host, separator, port = text.rpartition(":")
    if not separator or "]" in port:
        host, port = text, str(DEFAULT_PORT)
    elif ":" in host and not host.startswith("["):
        raise ValueError(f"an IPv6 address needs brackets before a port: {text!r}")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"not a HOST:PORT: {text!r}")
    return host, int(port)


def seed_addresses(host: str, port: int, startup_nodes: Iterable[str | Address]) -> list[Address]:
    """seed_addresses(host, port, startup_nodes) -> the nodes to ask first."""
    seeds = [parse_address(node) if isinstance(node, str) else node for node in startup_nodes]
    return seeds or [(host, port)]
