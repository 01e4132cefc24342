"""The definition of a command: one decorator carries what dispatch, COMMAND, ACL, routing and docs need.

Law: a command is defined in one place, its function under node/commands/; modules there are discovered.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter_ns
from typing import TYPE_CHECKING

from .errors import CommandError, SyntaxError_

if TYPE_CHECKING:
    from .client import Client

Function = Callable[["Client", list[bytes]], bytes]
"""(client, arguments with the command's name first) -> the encoded reply; raises CommandError."""

GATE_WRITE = 1
GATE_DENYOOM = 2
GATE_NOT_LOADING = 4
GATE_NOT_STALE = 8
GATE_ANY = 16
GATE_KEYS = 32
"""A command's gates; a server state closes some of them (`Server.gates`), which sends it on the slow path."""

FLAGS = (
    "write",
    "readonly",
    "denyoom",
    "admin",
    "pubsub",
    "noscript",
    "blocking",
    "loading",
    "stale",
    "skip_monitor",
    "skip_slowlog",
    "asking",
    "fast",
    "no_auth",
    "may_replicate",
    "no_async_loading",
    "no_multi",
    "movablekeys",
    "allow_busy",
)
"""What a command's `flags` may hold, in the order in which COMMAND INFO lists them."""


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Where a command's keys are, in the terms of Redis's key specifications (COMMAND INFO, field 8).

    `flags`: e.g. "RO access", "RW update". Begin: `index`, or `keyword` (word, start from). Find: `last`
    (relative to the begin; -1 is the last argument, -2 the one before), `step`, `limit`; or `keynum`:
    (index of the count, first key, step), relative to the begin.
    """

    flags: str
    index: int = 1
    keyword: tuple[bytes, int] | None = None
    last: int = 0
    step: int = 1
    limit: int = 0
    keynum: tuple[int, int, int] | None = None

    def positions(self, args: Sequence[bytes]) -> range:
        """positions(args) -> the indexes of the keys in `args` (name first); empty if they are not there."""
        begin = self.index
        count = len(args)
        if self.keyword is not None:
            word, start = self.keyword
            order = range(start, count) if start > 0 else range(count + start, 0, -1)
            begin = next((i for i in order if args[i].upper() == word), 0)
            if begin == 0:
                return range(0)
            begin += 1
        if begin >= count:
            return range(0)
        if self.keynum is not None:
            at, first, step = self.keynum
            if begin + at >= count or not args[begin + at].isdigit():
                return range(0)
            number = int(args[begin + at])
            begin += first
            stop = begin + number * step
            return range(begin, stop, step) if number and stop - step < count else range(0)
        if self.last >= 0:
            last = begin + self.last
        elif self.limit > 1:
            last = begin + (count - begin) // self.limit + self.last
        else:
            last = count + self.last
        return range(begin, min(last, count - 1) + 1, self.step)


def key(flags: str, index: int = 1) -> tuple[KeySpec, ...]:
    """key("RO access") -> the spec of a command with one key."""
    return (KeySpec(flags, index),)


def keys(flags: str, first: int = 1, last: int = -1, step: int = 1) -> tuple[KeySpec, ...]:
    """keys("RO access") -> the spec of a command whose keys are the arguments first to last.

    `last` is absolute if positive, and counted from the end if negative, as in COMMAND's legacy fields.
    """
    return (KeySpec(flags, first, last=last - first if last > 0 else last, step=step),)


def numkeys(flags: str, index: int = 1) -> tuple[KeySpec, ...]:
    """numkeys("RO access", 1) -> the spec of `... numkeys key [key ...]` with the count at `index`."""
    return (KeySpec(flags, index, keynum=(0, 1, 1)),)


KeyFinder = Callable[[list[bytes]], list[int]]
"""Finds key positions where key specs can't say it all (SORT's STORE, MIGRATE's KEYS)."""


@dataclass(slots=True, eq=False)
class Command:
    """One command or subcommand as registered; statistics of INFO commandstats are counted on it."""

    name: str
    function: Function
    arity: int
    flags: frozenset[str]
    key_specs: tuple[KeySpec, ...]
    categories: tuple[str, ...]
    since: str
    group: str
    tips: tuple[str, ...] = ()
    find_keys: KeyFinder | None = None
    parent: Command | None = None
    subcommands: dict[bytes, Command] = field(default_factory=dict)
    history: tuple[tuple[str, str], ...] = ()

    gates: int = 0
    is_write: bool = False
    single_key: int = 0
    """The position of the only key, 0 if there is none, or not always exactly one."""
    key_first: int = 0
    """Where its keys begin if they are a plain range of the arguments, else 0."""
    key_last: int = 0
    key_step: int = 0
    """As in KeySpec."""
    args_min: int = 0
    args_max: int = 0
    """How many arguments, the name included, the arity allows; args_max is huge if it is open."""

    calls: int = 0
    nanoseconds: int = 0
    rejected: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        unknown = self.flags.difference(FLAGS)
        assert not unknown, f"{self.name}: unknown flags {unknown}"
        self.is_write = "write" in self.flags
        self.gates = (
            GATE_ANY
            | (GATE_WRITE if self.is_write or "may_replicate" in self.flags else 0)
            | (GATE_DENYOOM if "denyoom" in self.flags else 0)
            | (0 if "loading" in self.flags else GATE_NOT_LOADING)
            | (0 if "stale" in self.flags else GATE_NOT_STALE)
            | (GATE_KEYS if self.key_specs or self.find_keys else 0)
        )
        self.args_min = abs(self.arity)
        self.args_max = self.arity if self.arity > 0 else 1 << 62
        specs = self.key_specs
        if len(specs) == 1 and self.find_keys is None:
            spec = specs[0]
            if spec.keyword is None and spec.keynum is None and spec.last == 0 and spec.index < self.args_min:
                self.single_key = spec.index
            if spec.keyword is None and spec.keynum is None and spec.limit == 0:
                self.key_first, self.key_last, self.key_step = spec.index, spec.last, spec.step

    @property
    def full_name(self) -> str:
        """`client|list` for a subcommand, `get` for a command."""
        return f"{self.parent.name}|{self.name}" if self.parent else self.name

    @property
    def syntax(self) -> str:
        """The first line of the function's docstring: `GET key -> bulk or null`."""
        return (self.function.__doc__ or "").strip().split("\n", 1)[0]

    @property
    def summary(self) -> str:
        """The docstring's paragraph after the syntax line, without the `Complexity:` line."""
        lines = (self.function.__doc__ or "").strip().split("\n")[1:]
        text = [line.strip() for line in lines]
        start = next((i for i, line in enumerate(text) if line), len(text))
        stop = next(
            (i for i in range(start, len(text)) if not text[i] or text[i].startswith("Complexity:")),
            len(text),
        )
        return " ".join(text[start:stop])

    @property
    def complexity(self) -> str:
        """What the docstring says after `Complexity:`."""
        for line in (self.function.__doc__ or "").split("\n"):
            if line.strip().startswith("Complexity:"):
                return line.strip().removeprefix("Complexity:").strip()
        return ""

    def count(self, calls: int, started_ns: int) -> int:
        """count(calls, started_ns) -> the present time: these calls were run since then."""
        now_ns = perf_counter_ns()
        self.calls += calls
        self.nanoseconds += now_ns - started_ns
        return now_ns

    def key_positions(self, args: list[bytes]) -> list[int]:
        """key_positions(args) -> the indexes of all keys in `args`, in the order of the specs."""
        if self.find_keys is not None:
            return self.find_keys(args)
        return [position for spec in self.key_specs for position in spec.positions(args)]

    def takes(self, count: int) -> bool:
        """takes(len(args)) -> whether the arity allows that many arguments, the name included."""
        return self.args_min <= count <= self.args_max

    def arity_error(self) -> CommandError:
        """arity_error() -> Redis's error for a wrong number of arguments."""
        return CommandError(f"wrong number of arguments for '{self.full_name}' command")


_registered: list[Command] = []


def command(
    name: str,
    *,
    arity: int,
    flags: str,
    keys: tuple[KeySpec, ...] = (),
    categories: str = "",
    since: str,
    group: str,
    tips: tuple[str, ...] = (),
    find_keys: KeyFinder | None = None,
) -> Callable[[Function], Function]:
    """@command("get", arity=2, flags="readonly fast", keys=key("RO access"), since="1.0.0", group="string")

    `name` is lower case, "container|sub" for a subcommand. `arity` counts the name; negative: at least.
    `categories`: ACL categories beyond those that flags imply (read, write, fast/slow, admin, dangerous,
    blocking, pubsub) and the group. The docstring gives syntax and reply in its first line, then a summary,
    and a `Complexity:` line; COMMAND DOCS answers from it.
    """

    def register(function: Function) -> Function:
        _registered.append(
            Command(
                name=name,
                function=function,
                arity=arity,
                flags=frozenset(flags.split()),
                key_specs=keys,
                categories=tuple(categories.split()),
                since=since,
                group=group,
                tips=tips,
                find_keys=find_keys,
            )
        )
        return function

    return register


class CommandTable:
    """All commands by name: `table.get(b"GET")`. Lower and upper case names hit directly."""

    def __init__(self, commands: list[Command]) -> None:
        self.by_name: dict[bytes, Command] = {}
        for found in commands:
            if "|" not in found.name:
                self._add(self.by_name, found)
        for found in commands:
            container, _, sub = found.name.partition("|")
            if sub:
                parent = self.by_name.get(container.encode())
                if parent is None:
                    parent = _container(container, found)
                    self._add(self.by_name, parent)
                found.name = sub
                found.parent = parent
                self._add(parent.subcommands, found)

    @staticmethod
    def _add(table: dict[bytes, Command], found: Command) -> None:
        name = found.name.encode()
        assert name not in table, f"{found.name} is defined twice"
        table[name] = table[name.upper()] = found

    def get(self, name: bytes) -> Command | None:
        """get(name) -> the command of that name in any case, or None. O(1)."""
        return self.by_name.get(name) or self.by_name.get(name.lower())

    def __iter__(self) -> Iterator[Command]:
        """Each top-level command once, by name."""
        return (self.by_name[name] for name in sorted(self.by_name) if name == name.lower())

    def rename(self, name: bytes, new_name: bytes) -> None:
        """rename(b"flushall", b"") removes a command, or gives it another name (rename-command).

        KeyError if there is no such command; ValueError if the new name is taken.
        """
        found = self.by_name[name.lower()]
        if new_name and self.get(new_name) is not None:
            raise ValueError(new_name)
        del self.by_name[name.lower()], self.by_name[name.upper()]
        if new_name:
            self.by_name[new_name.lower()] = self.by_name[new_name.upper()] = found

    def resolve(self, args: list[bytes]) -> Command:
        """resolve(args) -> the command or subcommand that `args` names; CommandError with Redis's text."""
        found = self.get(args[0])
        if found is None:
            raise _unknown_command(args)
        if found.subcommands and len(args) > 1:
            sub = found.subcommands.get(args[1]) or found.subcommands.get(args[1].lower())
            if sub is None:
                name = args[1][:128].decode("utf-8", "backslashreplace")
                raise CommandError(f"unknown subcommand '{name}'. Try {found.name.upper()} HELP.")
            return sub
        return found


def _unknown_command(args: list[bytes]) -> CommandError:
    shown = ""
    for arg in args[1:]:
        if len(shown) >= 128:
            break
        shown += f"'{arg[: 128 - len(shown)].decode('utf-8', 'backslashreplace')}' "
    name = args[0][:128].decode("utf-8", "backslashreplace")
    return CommandError(f"unknown command '{name}', with args beginning with: {shown}")


def _container(name: str, sub: Command) -> Command:
    def run(client: Client, args: list[bytes]) -> bytes:
        raise SyntaxError_

    run.__doc__ = f"{name.upper()} subcommand\n\nA container for {sub.group} subcommands."
    return Command(
        name=name,
        function=run,
        arity=-2,
        flags=frozenset(),
        key_specs=(),
        categories=(),
        since=sub.since,
        group=sub.group,
    )


@cache
def discover() -> CommandTable:
    """discover() -> the table of every command defined in a module of node/commands/; one for the process."""
    package = importlib.import_module(".commands", __package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return CommandTable([*_registered])
