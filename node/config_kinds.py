"""The kinds of redis.conf directives: how each one's arguments are parsed, shown by CONFIG GET and rewritten.

Law: a directive has no state; the value it parses is immutable, so that keeping the old one is a rollback.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Flag, auto
from typing import Any, NamedTuple

from .quoting import quote

INT_MAX = (1 << 31) - 1
LONG_MAX = (1 << 63) - 1
ULONG_MAX = (1 << 64) - 1

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_MEMORY = re.compile(r"([0-9]*)(b|k|kb|m|mb|g|gb|)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30}


class ConfigError(Exception):
    """A value is refused; the text says why, as Redis would."""


class Flags(Flag):
    """What may be done with a directive at run time, and how it is shown."""

    NONE = 0
    IMMUTABLE = auto()
    """Only at start: CONFIG SET refuses it."""
    SENSITIVE = auto()
    """Its value is redacted wherever commands are shown."""
    PROTECTED = auto()
    """CONFIG SET needs enable-protected-configs."""
    HIDDEN = auto()
    """CONFIG GET shows it by its exact name only."""
    DENY_LOADING = auto()
    """CONFIG SET refuses it while the data set is loaded."""
    MULTI_ARG = auto()
    """It takes any number of arguments."""
    VOLATILE = auto()
    """Listeners are told even if the text is the same: what it names (a file) may have changed."""


Check = Callable[[Any], None]
"""Raises ConfigError for a value that parses but makes no sense."""


def parse_memory(text: str) -> int | None:
    """parse_memory("1gb") -> 1073741824; None if it is no memory value. Source: memtoull."""
    match = _MEMORY.fullmatch(text)
    if match is None or len(match[1]) >= 128:
        return None
    value = int(match[1] or "0") * _UNITS[match[2].lower()]
    return value if value <= ULONG_MAX else None


def parse_integer(text: str) -> int | None:
    """parse_integer("-3") -> -3; None for what isn't a canonical 64-bit integer. Source: string2ll."""
    if _INTEGER.fullmatch(text) is None or len(text) > 20:
        return None
    value = int(text)
    return value if -LONG_MAX - 1 <= value <= LONG_MAX else None


def format_memory(value: int) -> str:
    """format_memory(1048576) -> "1mb": the largest unit that divides it, as CONFIG REWRITE writes."""
    for unit in ("gb", "mb", "kb"):
        if value and value % _UNITS[unit] == 0:
            return f"{value // _UNITS[unit]}{unit}"
    return str(value)


def quote_text(text: str) -> str:
    """quote_text("a b") -> '"a b"', in the quoting of redis.conf."""
    return quote(text.encode("utf-8", "surrogateescape")).decode("ascii")


class Directive:
    """One directive. `default` is the parsed value; `check` refuses values beyond what the kind knows."""

    def __init__(
        self,
        name: str,
        default: Any,
        flags: Flags = Flags.NONE,
        *,
        alias: str = "",
        check: Check | None = None,
    ) -> None:
        self.name = name
        self.attribute = name.replace("-", "_")
        self.default = default
        self.flags = flags
        self.alias = alias
        self.check = check

    @property
    def takes_many(self) -> bool:
        """Whether it takes any number of arguments."""
        return Flags.MULTI_ARG in self.flags

    def parse(self, args: Sequence[str], current: Any) -> Any:
        """parse(["yes"], old value) -> the new value; ConfigError with Redis's text."""
        raise NotImplementedError

    def text(self, value: Any) -> str:
        """text(value) -> what CONFIG GET shows, and CONFIG SET reads."""
        return str(value)

    def lines(self, value: Any) -> list[tuple[str, bool]]:
        """lines(value) -> its lines in a config file, each with whether it must be written (not default)."""
        return [(f"{self.name} {self.file_text(value)}", value != self.default)]

    def file_text(self, value: Any) -> str:
        """file_text(value) -> its arguments as CONFIG REWRITE writes them."""
        return self.text(value)

    def effect(self, value: Any) -> Any:
        """effect(value) -> the value to keep, after what setting it does by itself."""
        return value


class Bool(Directive):
    """`name yes|no` -> bool."""

    def parse(self, args: Sequence[str], current: Any) -> bool:
        word = args[0].lower()
        if word not in ("yes", "no"):
            raise ConfigError("argument must be 'yes' or 'no'")
        return word == "yes"

    def text(self, value: Any) -> str:
        return "yes" if value else "no"


class Int(Directive):
    """`name N` in a range -> int."""

    form = "argument couldn't be parsed into an integer"

    def __init__(
        self,
        name: str,
        default: int,
        low: int,
        high: int,
        flags: Flags = Flags.NONE,
        *,
        alias: str = "",
        check: Check | None = None,
    ) -> None:
        super().__init__(name, default, flags, alias=alias, check=check)
        self.low = low
        self.high = high

    def read(self, text: str) -> int | None:
        """read(text) -> the number, None if it isn't one."""
        return parse_integer(text)

    def parse(self, args: Sequence[str], current: Any) -> int:
        value = self.read(args[0])
        if value is None:
            raise ConfigError(self.form)
        if not self.low <= value <= self.high:
            raise ConfigError(f"argument must be between {self.text(self.low)} and {self.text(self.high)} inclusive")
        return value


class Octal(Int):
    """`unixsocketperm 700` -> int."""

    form = "argument couldn't be parsed as an octal number"

    def read(self, text: str) -> int | None:
        return int(text, 8) if re.fullmatch(r"-?[0-7]+", text) else None

    def text(self, value: Any) -> str:
        return f"{value:o}"


class Memory(Int):
    """`name 100mb` -> bytes, as int."""

    form = "argument must be a memory value"

    def read(self, text: str) -> int | None:
        return parse_memory(text)

    def file_text(self, value: Any) -> str:
        return format_memory(value)


class MemoryOrPercent(Memory):
    """`maxmemory-clients 5%` -> bytes, or the negated percentage."""

    form = "argument must be a memory or percent value"

    def read(self, text: str) -> int | None:
        value = parse_memory(text)
        if value is None and text.endswith("%"):
            percent = parse_integer(text[:-1])
            if percent is not None and percent >= 0:
                if percent > -self.low:
                    raise ConfigError(f"percentage argument must be less or equal to {-self.low}")
                return -percent
        return value

    def text(self, value: Any) -> str:
        return f"{-value}%" if value < 0 else str(value)

    def file_text(self, value: Any) -> str:
        return f"{-value}%" if value < 0 else format_memory(value)


class String(Directive):
    """`name text` -> str. `nullable`: the empty string means that it isn't set; no line is written for it."""

    def __init__(
        self,
        name: str,
        default: str = "",
        flags: Flags = Flags.NONE,
        *,
        alias: str = "",
        check: Check | None = None,
        nullable: bool = True,
    ) -> None:
        super().__init__(name, default, flags, alias=alias, check=check)
        self.nullable = nullable

    def parse(self, args: Sequence[str], current: Any) -> str:
        return args[0]

    def lines(self, value: Any) -> list[tuple[str, bool]]:
        return [] if self.nullable and not value else super().lines(value)

    def file_text(self, value: Any) -> str:
        return quote_text(value)


class Enum(Directive):
    """`name word` -> the word, from `choices`; `synonyms` maps further words to a choice."""

    def __init__(
        self,
        name: str,
        default: str | tuple[str, ...],
        choices: Sequence[str],
        flags: Flags = Flags.NONE,
        *,
        check: Check | None = None,
        synonyms: dict[str, str] | None = None,
    ) -> None:
        super().__init__(name, default, flags, check=check)
        self.choices = choices
        self.synonyms = synonyms or {}

    def refusal(self) -> ConfigError:
        """refusal() -> the error that lists the choices."""
        words = ", ".join([*self.choices, *self.synonyms])
        return ConfigError(f"argument(s) must be one of the following: {words}")

    def parse(self, args: Sequence[str], current: Any) -> Any:
        word = args[0].lower() if len(args) == 1 else ""
        word = self.synonyms.get(word, word)
        if word not in self.choices:
            raise self.refusal()
        return word


class WordSet(Enum):
    """`shutdown-on-sigterm nosave force` -> the words, a tuple in table order; `default` is the empty one."""

    def parse(self, args: Sequence[str], current: Any) -> tuple[str, ...]:
        words = {arg.lower() for arg in args}
        if not words or not words <= set(self.choices):
            raise self.refusal()
        return tuple(word for word in self.choices[1:] if word in words)

    def text(self, value: Any) -> str:
        return " ".join(value) or self.choices[0]


class BufferLimit(NamedTuple):
    """One class of client-output-buffer-limit; 0 is no limit."""

    hard_bytes: int
    soft_bytes: int
    soft_seconds: int
