"""The redis.conf directives with a syntax of their own: save, bind, dir, replicaof, output buffer limits ...

Law: as in config_kinds: no state here; values are immutable.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import Any

from .config_kinds import (
    BufferLimit,
    ConfigError,
    Directive,
    Flags,
    format_memory,
    parse_memory,
    quote_text,
)

BIND_ADDRESSES_MAX = 16
_NOTIFY_ALL = "g$lshzxetd"
_NOTIFY_CLASSES = "g$lshzxetdnKEm"
_NOTIFY_SHOWN = "g$lshzxetdn"
_SIGNED = re.compile(r"\s*[+-]?[0-9]+")
_BUFFER_CLASSES = {"normal": "normal", "slave": "replica", "replica": "replica", "pubsub": "pubsub"}


class Dir(Directive):
    """`dir path`: the working directory; setting it changes the process's, as in Redis."""

    def parse(self, args: Sequence[str], current: Any) -> str:
        return args[0]

    def effect(self, value: Any) -> str:
        try:
            os.chdir(value)
        except OSError as error:
            raise ConfigError(os.strerror(error.errno or 0)) from None
        return os.getcwd()

    def text(self, value: Any) -> str:
        return os.getcwd()

    def lines(self, value: Any) -> list[tuple[str, bool]]:
        return [(f"{self.name} {quote_text(os.getcwd())}", True)]


class Save(Directive):
    """`save seconds changes ...` -> ((seconds, changes), ...). Repeated lines of one config file add up."""

    def parse(self, args: Sequence[str], current: Any) -> tuple[tuple[int, int], ...]:
        if list(args) == [""]:
            return ()
        if len(args) % 2 or not all(_SIGNED.fullmatch(arg) for arg in args):
            raise ConfigError("Invalid save parameters")
        numbers = [int(arg) for arg in args]
        points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        if any(seconds < 1 or changes < 0 for seconds, changes in points):
            raise ConfigError("Invalid save parameters")
        return points

    def text(self, value: Any) -> str:
        return " ".join(f"{seconds} {changes}" for seconds, changes in value)

    def lines(self, value: Any) -> list[tuple[str, bool]]:
        if not value:
            return [('save ""', True)]
        return [(f"save {seconds} {changes}", True) for seconds, changes in value]


class OutputBufferLimits(Directive):
    """`client-output-buffer-limit class hard soft seconds ...` -> BufferLimit for each class in a dict."""

    def parse(self, args: Sequence[str], current: Any) -> dict[str, BufferLimit]:
        if len(args) % 4:
            raise ConfigError("Wrong number of arguments in buffer limit configuration.")
        limits: dict[str, BufferLimit] = dict(current)
        for at in range(0, len(args), 4):
            name = _BUFFER_CLASSES.get(args[at].lower())
            if name is None:
                raise ConfigError("Invalid client class specified in buffer limit configuration.")
            hard, soft, seconds = parse_memory(args[at + 1]), parse_memory(args[at + 2]), args[at + 3]
            if hard is None or soft is None or not _SIGNED.fullmatch(seconds) or int(seconds) < 0:
                raise ConfigError("Error in hard, soft or soft_seconds setting in buffer limit configuration.")
            limits[name] = BufferLimit(hard, soft, int(seconds))
        return limits

    def text(self, value: Any) -> str:
        shown = {"replica": "slave"}
        return " ".join(f"{shown.get(name, name)} {' '.join(map(str, limit))}" for name, limit in value.items())

    def lines(self, value: Any) -> list[tuple[str, bool]]:
        lines = []
        for name, limit in value.items():
            sizes = f"{format_memory(limit.hard_bytes)} {format_memory(limit.soft_bytes)}"
            lines.append((f"{self.name} {name} {sizes} {limit.soft_seconds}", limit != self.default[name]))
        return lines


class OomScoreValues(Directive):
    """`oom-score-adj-values primary replica child` -> three ints."""

    def parse(self, args: Sequence[str], current: Any) -> tuple[int, ...]:
        if len(args) != 3:
            raise ConfigError("wrong number of arguments")
        if not all(_SIGNED.fullmatch(arg) and -2000 <= int(arg) <= 2000 for arg in args):
            raise ConfigError("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
        return tuple(int(arg) for arg in args)

    def text(self, value: Any) -> str:
        return " ".join(map(str, value))


class NotifyEvents(Directive):
    """`notify-keyspace-events KEA` -> the classes, normalised (A for all of them)."""

    def parse(self, args: Sequence[str], current: Any) -> str:
        if len(args) != 1:
            raise ConfigError("wrong number of arguments")
        classes = set(args[0])
        if not classes <= set(_NOTIFY_CLASSES) | {"A"}:
            raise ConfigError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
        if "A" in classes or set(_NOTIFY_ALL) <= classes:
            shown = "A"
        else:
            shown = "".join(letter for letter in _NOTIFY_SHOWN if letter in classes)
        return shown + "".join(letter for letter in "KEm" if letter in classes)

    def file_text(self, value: Any) -> str:
        return quote_text(value)


class Bind(Directive):
    """`bind address ...` -> the addresses; one with a leading `-` may be missing on this host."""

    def parse(self, args: Sequence[str], current: Any) -> tuple[str, ...]:
        if len(args) > BIND_ADDRESSES_MAX:
            raise ConfigError("Too many bind addresses specified.")
        return () if list(args) == [""] else tuple(args)

    def text(self, value: Any) -> str:
        return " ".join(value)

    def lines(self, value: Any) -> list[tuple[str, bool]]:
        return [] if value == self.default else [("bind " + (self.text(value) or '""'), True)]


class ReplicaOf(Directive):
    """`replicaof host port` -> (host, port) or None."""

    def parse(self, args: Sequence[str], current: Any) -> tuple[str, int] | None:
        if len(args) != 2:
            raise ConfigError("wrong number of arguments")
        host, port = args
        if (host.lower(), port.lower()) == ("no", "one"):
            return None
        if not _SIGNED.fullmatch(port) or not 0 <= int(port) <= 65535:
            raise ConfigError("Invalid master port")
        return host, int(port)

    def text(self, value: Any) -> str:
        return f"{value[0]} {value[1]}" if value else ""

    def lines(self, value: Any) -> list[tuple[str, bool]]:
        return [(f"{self.name} {self.text(value)}", True)] if value else []


class Percentiles(Directive):
    """`latency-tracking-info-percentiles 50 99 99.9` -> floats."""

    def parse(self, args: Sequence[str], current: Any) -> tuple[float, ...]:
        if list(args) == [""]:
            return ()
        try:
            values = tuple(float(arg) for arg in args)
        except ValueError:
            raise ConfigError("Invalid latency-tracking-info-percentiles parameters") from None
        if not all(not math.isnan(value) and 0 <= value <= 100 for value in values):
            raise ConfigError("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
        return values

    def text(self, value: Any) -> str:
        return " ".join(f"{percentile:f}".rstrip("0").rstrip(".") for percentile in value)

    def lines(self, value: Any) -> list[tuple[str, bool]]:
        return [(f"{self.name} " + (self.text(value) or '""'), True)]


MULTI_ARG = Flags.MULTI_ARG
SPECIAL: tuple[Directive, ...] = (
    Dir("dir", "", Flags.PROTECTED | Flags.DENY_LOADING),
    Save("save", ((3600, 1), (300, 100), (60, 10000)), MULTI_ARG),
    OutputBufferLimits(
        "client-output-buffer-limit",
        {
            "normal": BufferLimit(0, 0, 0),
            "replica": BufferLimit(256 << 20, 64 << 20, 60),
            "pubsub": BufferLimit(32 << 20, 8 << 20, 60),
        },
        MULTI_ARG,
    ),
    OomScoreValues("oom-score-adj-values", (0, 200, 800), MULTI_ARG),
    NotifyEvents("notify-keyspace-events", ""),
    Bind("bind", ("*", "-::*"), MULTI_ARG),
    ReplicaOf("replicaof", None, Flags.IMMUTABLE | MULTI_ARG, alias="slaveof"),
    Percentiles("latency-tracking-info-percentiles", (50.0, 99.0, 99.9), MULTI_ARG),
)
