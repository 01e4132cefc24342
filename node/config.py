"""The node's configuration: redis.conf and the command line in, typed attributes out, CONFIG GET and SET.

Law: every directive's value lives here, parsed (`config.port`, `config.cluster_node_timeout`), and changes in
one place; a refused change leaves all of them as they were.
"""

from __future__ import annotations

import contextlib
import glob
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config_kinds import ConfigError, Directive, Flags
from .config_table import DEPRECATED, by_name
from .config_text import argv_to_lines
from .errors import CommandError, SyntaxError_
from .glob import matches
from .quoting import split_args
from .version import REDIS_VERSION

HZ_MIN, HZ_MAX = 1, 500
INCLUDE_DEPTH_MAX = 16

Listener = Callable[[], None]
"""Told after a CONFIG SET changed a directive; raises ConfigError to refuse the change."""


class ConfigFileError(Exception):
    """The configuration can't be used; the text is what Redis prints before it exits with status 1."""


class Config:
    """All directives, each an attribute with `_` for `-`. Text is str, non-UTF-8 bytes surrogate-escaped."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, **values: str) -> None:
        """Config(port="7000") starts from the defaults and the directives given, spelled with `_`."""
        self.table = by_name()
        self.path: Path | None = None
        """The config file in use, absolute; CONFIG REWRITE needs one."""
        self.renames: list[tuple[str, str]] = []
        """rename-command lines: (command, new name or "" to remove it)."""
        self._listeners: dict[str, list[Listener]] = {}
        self._save_given = False
        for directive in self.table.values():
            setattr(self, directive.attribute, directive.default)
        self._set_values(values)

    # Loading

    def load_file(self, path: str | Path) -> None:
        """load_file("redis.conf"): its directives over what is set. ConfigFileError as Redis words it."""
        self.path = Path(path).absolute()
        self._load(self._read(str(path)).split(b"\n"))

    def load_args(self, args: Sequence[str]) -> None:
        """load_args(["redis.conf", "--port", "7000", "--save", ""]): what redis-server takes after its name.

        The config file, if any, is first; `-` as first or last argument reads more of it from standard
        input; options come last and win. ConfigFileError as Redis words it.
        """
        content = b""
        if args and not args[0].startswith("-"):
            self.path = Path(args[0]).absolute()
            content = self._read(args[0])
            args = args[1:]
        elif not args:
            return
        options, from_stdin = argv_to_lines(args)
        if from_stdin:
            content += sys.stdin.buffer.read()
        self._load((content + b"\n" + b"\n".join(options)).split(b"\n"))

    @staticmethod
    def _read(path: str) -> bytes:
        paths = sorted(glob.glob(path)) if any(mark in path for mark in "*?[") else [path]
        try:
            return b"".join(Path(name).read_bytes() for name in paths)
        except OSError as error:
            text = f"Fatal error, can't open config file '{error.filename}': {error.strerror}"
            raise ConfigFileError(text) from None

    def _load(self, lines: Sequence[bytes]) -> None:
        self._save_given = False
        self._apply_lines(lines, depth=0)
        if self.cluster_enabled and self.replicaof is not None:
            raise _file_error("replicaof directive not allowed in cluster mode")
        if self.cluster_enabled:
            self.databases = 1
        self._clamp_hz()
        if self.logfile:
            try:
                with open(self.logfile, "a"):
                    pass
            except OSError as error:
                raise _file_error(f"Can't open the log file: {error.strerror}") from None

    def _apply_lines(self, lines: Sequence[bytes], depth: int) -> None:
        for number, raw in enumerate(lines, 1):
            line = raw.strip(b" \t\r\n")
            if not line or line.startswith(b"#"):
                continue
            try:
                self._apply_line(line, depth)
            except ConfigError as error:
                raise _file_error(str(error), number, line) from None

    def _apply_line(self, line: bytes, depth: int) -> None:
        split = split_args(line)
        if split is None:
            raise ConfigError("Unbalanced quotes in configuration line")
        args = [_text(arg) for arg in split]
        if not args:
            return
        name = args.pop(0).lower()
        directive = self.table.get(name)
        if directive is not None:
            if directive.takes_many and len(args) == 1 and args[0]:
                inner = split_args(split[1])
                if inner is None:
                    raise ConfigError("Unbalanced quotes in configuration line")
                args = [_text(arg) for arg in inner]
            elif not directive.takes_many and len(args) != 1:
                raise ConfigError("wrong number of arguments")
            value = self._parse(directive, args)
            if name == "save":
                # Save lines add up; the first one of a configuration replaces the default points.
                value = (*self.save, *value) if self._save_given and value else value
                self._save_given = True
            setattr(self, directive.attribute, directive.effect(value))
        elif name == "include" and len(args) == 1:
            if depth >= INCLUDE_DEPTH_MAX:
                raise ConfigError("include files are nested too deeply")
            self._apply_lines(self._read(args[0]).split(b"\n"), depth + 1)
        elif name == "rename-command" and len(args) == 2:
            self.renames.append((args[0], args[1]))
        elif not (name in DEPRECATED and len(args) == 1):
            raise ConfigError("Bad directive or wrong number of arguments")

    def _parse(self, directive: Directive, args: Sequence[str]) -> Any:
        value = directive.parse(args, getattr(self, directive.attribute))
        if directive.check is not None:
            directive.check(value)
        return value

    def _clamp_hz(self) -> None:
        self.hz: int = min(max(self.hz, HZ_MIN), HZ_MAX)

    # CONFIG GET and SET

    def text(self, name: str) -> str:
        """text("maxmemory") -> the value as CONFIG GET shows it. KeyError for an unknown name."""
        directive = self.table[name]
        return directive.text(getattr(self, directive.attribute))

    def get(self, *patterns: str) -> dict[str, str]:
        """get("max*", "port") -> {name: text}. Patterns match names and aliases, hidden ones excepted."""
        found: dict[str, str] = {}
        for pattern in patterns:
            folded = pattern.lower()
            if not any(mark in pattern for mark in "[*?"):
                if folded in self.table and folded not in map(str.lower, found):
                    found[pattern] = self.text(folded)
                continue
            for name, directive in self.table.items():
                if (
                    Flags.HIDDEN not in directive.flags
                    and name not in found
                    and matches(_bytes(pattern), name.encode(), nocase=True)
                ):
                    found[name] = self.text(name)
        return found

    def set(self, values: Mapping[str, str], *, protected: bool = True, loading: bool = False) -> None:
        """set({"maxmemory": "1gb", "hz": "20"}): all of them or, with CommandError in Redis's words, none.

        `protected`: whether enable-protected-configs lets this caller change the protected ones.
        """
        chosen: dict[Directive, str] = {}
        for name, value in values.items():
            directive = self.table.get(name.lower())
            if directive is None:
                raise CommandError(f"Unknown option or number of arguments for CONFIG SET - '{name}'")
            if Flags.IMMUTABLE in directive.flags:
                raise _set_error(name, "can't set immutable config")
            if Flags.PROTECTED in directive.flags and not protected:
                raise _set_error(name, "can't set protected config")
            if Flags.DENY_LOADING in directive.flags and loading:
                raise CommandError("Redis is loading the dataset in memory", "LOADING")
            if directive in chosen:
                raise _set_error(name, "duplicate parameter")
            chosen[directive] = value
        self._change(chosen)

    def set_pairs(self, args: Sequence[str], *, protected: bool = True, loading: bool = False) -> None:
        """set_pairs(["maxmemory", "1gb"]): `set` of CONFIG SET's arguments, duplicates refused."""
        if len(args) % 2:
            raise SyntaxError_
        values: dict[str, str] = {}
        for name, value in zip(args[::2], args[1::2], strict=True):
            if name in values and name.lower() in self.table:
                raise _set_error(name, "duplicate parameter")
            values[name] = value
        self.set(values, protected=protected, loading=loading)

    def on_change(self, name: str, listener: Listener) -> None:
        """on_change("port", rebind): called after CONFIG SET changed `port`; refuses with ConfigError.

        A listener of several directives is called once for a CONFIG SET of several of them.
        """
        self._listeners.setdefault(self.table[name].name, []).append(listener)

    def _set_values(self, values: Mapping[str, str]) -> None:
        by_attribute = {directive.attribute: directive for directive in self.table.values()}
        for name, value in values.items():
            directive = by_attribute[name]
            args = value.split(" ") if directive.takes_many else [value]
            setattr(self, directive.attribute, directive.effect(self._parse(directive, args)))

    def _change(self, chosen: Mapping[Directive, str]) -> None:
        old = {directive: getattr(self, directive.attribute) for directive in chosen}
        told: dict[Listener, str] = {}
        for directive, text in chosen.items():
            args = text.split(" ") if directive.takes_many else [text]
            try:
                value = directive.effect(self._parse(directive, args))
            except ConfigError as error:
                self._restore(old)
                raise _set_error(directive.name, str(error)) from None
            setattr(self, directive.attribute, value)
            if value != old[directive] or Flags.VOLATILE in directive.flags:
                for listener in self._listeners.get(directive.name, ()):
                    told.setdefault(listener, directive.name)
        self._clamp_hz()
        self._tell(told, old)

    def _tell(self, told: Mapping[Listener, str], old: Mapping[Directive, Any]) -> None:
        for count, (listener, name) in enumerate(told.items(), 1):
            try:
                listener()
            except ConfigError as error:
                self._restore(old)
                for earlier in list(told)[:count]:
                    with contextlib.suppress(ConfigError):
                        earlier()
                raise _set_error(name, str(error)) from None

    def _restore(self, old: Mapping[Directive, Any]) -> None:
        for directive, value in old.items():
            if getattr(self, directive.attribute) != value:
                setattr(self, directive.attribute, directive.effect(value))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _set_error(name: str, reason: str) -> CommandError:
    return CommandError(f"CONFIG SET failed (possibly related to argument '{name}') - {reason}")


def _file_error(reason: str, number: int = 0, line: bytes = b"") -> ConfigFileError:
    where = f"Reading the configuration file, at line {number}\n>>> '{_text(line)}'\n" if number else ""
    return ConfigFileError(f"\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n{where}{reason}\n")
