"""The program behind `make profile`: where the time of a command goes on its way through a node, stage by stage.

Law: each stage is the node's own code, run alone on the same bytes; what the stages don't explain of a whole
round is the connection's and the reactor's. The figures are medians of rounds, in microseconds for each operation.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from select import epoll
from statistics import median
from time import perf_counter_ns

import click
from pyredis_cluster.node.data_plane import NAME
from pyredis_cluster.node.parser import RequestParser
from rich.table import Table

from .bench_inprocess import RECEIVE_BYTES, REQUESTS, STORED_ELEMENTS, InProcessNode, Request, in_process_node
from .options import make_console

DEFAULT_ROUNDS = 400
FUNCTIONS_SHOWN = 30
READ_BYTES = 16 * 1024
"""What a node reads at once."""

PIPELINE_MAX = 256
"""So many requests of any kind fit into one read, and no more than STORED_ELEMENTS can be popped."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Microseconds for each operation; `whole` is a round of the reactor without its client."""

    whole: float
    syscalls: float
    parse: float
    dispatch: float
    function: float
    encode: float

    @property
    def rest(self) -> float:
        """What the connection and the reactor take."""
        return self.whole - self.syscalls - self.parse - self.dispatch - self.function - self.encode


class Profiler:
    """Profiler(node, name, depth, rounds): times the stages of that command, with so many in a round."""

    def __init__(self, node: InProcessNode, name: str, depth: int, rounds: int) -> None:
        self._node = node
        self._request: Request = REQUESTS[name]
        self._depth = depth
        self._rounds = rounds
        self._number = 0

    def _chunks(self) -> list[tuple[bytes, list[list[bytes]]]]:
        """The next rounds' requests, encoded and as arguments. None is sent twice."""
        chunks = []
        for _ in range(self._rounds):
            numbers = range(self._number, self._number + self._depth)
            self._number += self._depth
            chunks.append((self._request.encoded(numbers.start, self._depth), [*map(self._request.words, numbers)]))
        return chunks

    def _median_us(self, work: Callable[[bytes, list[list[bytes]]], int]) -> float:
        """The median of what `work` says it took, in ns, for one of the rounds' operations."""
        times = []
        refill_every = max(1, STORED_ELEMENTS // self._depth)
        for number, (data, commands) in enumerate(self._chunks()):
            if number % refill_every == 0:
                self._node.fill(self._request)
            times.append(work(data, commands))
        return median(times) / self._depth / 1000

    def _whole(self, data: bytes, commands: list[list[bytes]]) -> int:
        node = self._node
        node.socket.sendall(data)
        began = perf_counter_ns()
        node.round()
        took = perf_counter_ns() - began
        node.socket.recv(RECEIVE_BYTES)
        return took

    def _parse(self, data: bytes, commands: list[list[bytes]]) -> int:
        parser = RequestParser(self._node.server.config.proto_max_bulk_len)
        began = perf_counter_ns()
        parser.feed(data)
        return perf_counter_ns() - began

    def _run(self, data: bytes, commands: list[list[bytes]]) -> int:
        client = self._node.connection.client
        run = self._node.server.dispatcher.run
        began = perf_counter_ns()
        run(client, commands)
        took = perf_counter_ns() - began
        client.out.clear()
        return took

    def _functions(self, data: bytes, commands: list[list[bytes]]) -> int:
        client = self._node.connection.client
        function = self._node.server.dispatcher.table.resolve(commands[0]).function
        began = perf_counter_ns()
        for args in commands:
            function(client, args)
        return perf_counter_ns() - began

    def _encode(self, data: bytes, commands: list[list[bytes]]) -> int:
        encode = self._request.encode
        if encode is None:
            return 0
        began = perf_counter_ns()
        for _ in commands:
            encode()
        return perf_counter_ns() - began

    def _syscalls_us(self) -> float:
        """The system calls of a round: epoll_wait, recv and send, on sockets of their own."""
        self._node.fill(self._request)
        reply = self._node.exchange(self._chunks()[0][0])
        near, far = socket.socketpair()
        with near, far, epoll() as poll:
            near.setblocking(False)
            poll.register(near.fileno())

            def work(data: bytes, commands: list[list[bytes]]) -> int:
                far.sendall(data)
                began = perf_counter_ns()
                poll.poll(0)
                near.recv(READ_BYTES)
                near.send(reply)
                took = perf_counter_ns() - began
                far.recv(RECEIVE_BYTES)
                return took

            return self._median_us(work)

    def stages(self) -> Stages:
        """stages() -> Stages."""
        self._median_us(self._whole)  # caches and branches get warm
        whole = self._median_us(self._whole)
        syscalls = self._syscalls_us()
        run, function, encode = map(self._median_us, (self._run, self._functions, self._encode))
        return Stages(whole, syscalls, self._median_us(self._parse), run - function, function - encode, encode)

    def functions(self) -> str:
        """functions() -> cProfile's table of the functions of all rounds, those that take most first."""
        profile = cProfile.Profile()

        def work(data: bytes, commands: list[list[bytes]]) -> int:
            self._node.socket.sendall(data)
            profile.enable()
            self._node.round()
            profile.disable()
            self._node.socket.recv(RECEIVE_BYTES)
            return 0

        self._median_us(work)
        text = io.StringIO()
        pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(FUNCTIONS_SHOWN)
        return text.getvalue()


def _chosen(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str]:
    names = value.upper().split(",") if value else [*REQUESTS]
    if unknown := [name for name in names if name not in REQUESTS]:
        raise click.BadParameter(f"no {', '.join(unknown)}; there are {', '.join(REQUESTS)}")
    return names


def _depths(_context: click.Context, _parameter: click.Parameter, value: str) -> list[int]:
    depths = [int(word) if word.isdecimal() else 0 for word in value.split(",")]
    if not all(0 < depth <= PIPELINE_MAX for depth in depths):
        raise click.BadParameter(f"depths from 1 to {PIPELINE_MAX}, with commas between them")
    return depths


def table_of(results: Sequence[tuple[str, int, Stages]]) -> Table:
    """table_of([(command, depth, stages), ...]) -> the table for a terminal."""
    headers = ("P", "whole", "syscalls", "parse", "dispatch", "command", "encode", "reactor, connection")
    table = Table("command", box=None, pad_edge=False, header_style="dim")
    for header in headers:
        table.add_column(header, justify="right")
    for name, depth, stages in results:
        figures = (stages.whole, stages.syscalls, stages.parse, stages.dispatch, stages.function, stages.encode)
        table.add_row(name, str(depth), *(f"{figure:.2f}" for figure in (*figures, stages.rest)))
    return table


@click.command()
@click.option("--tests", "names", callback=_chosen, help="Only these, e.g. get,set. [all]")
@click.option("--pipeline", "depths", callback=_depths, default="1,16", show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=DEFAULT_ROUNDS, show_default=True)
@click.option("--cprofile", is_flag=True, help="Function by function, by cProfile, which makes calls look dear.")
def profile(names: list[str], depths: list[int], rounds: int, cprofile: bool) -> None:
    """Show where a command's time goes in a node, in microseconds for each operation, without its client's cost."""
    console = make_console()
    results = []
    for depth in depths:
        for name in names:
            with in_process_node() as node:
                profiler = Profiler(node, name, depth, rounds)
                if cprofile:
                    console.print(f"{name} -P {depth}, {rounds * depth:,} operations", style="bold")
                    console.print(profiler.functions(), soft_wrap=True)
                else:
                    results.append((name, depth, profiler.stages()))
    if results:
        console.print(table_of(results))
    console.print(f"data plane: {'compiled' if NAME == 'c' else 'plain Python'}; microseconds for each operation")


if __name__ == "__main__":
    profile()
