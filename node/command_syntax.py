"""The syntax line of a command's docstring as the argument tree that COMMAND DOCS answers with.

Law: the line is the only source. `[x]` is optional, `<a | b>` one of them, `WORD name` a token before an argument,
`WORD` alone a pure token, `name [name ...]` one or more of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

_TOKENS = re.compile(r"\.\.\.|[][<>|]|[^][<>|\s]+")
_KEY_NAMES = re.compile(r"key|source|destination|newkey|(src|dst|from|to)?key\d*|.*-key|first-key|second-key")
_INTEGER_NAMES = frozenset(
    [
        "count",
        "seconds",
        "milliseconds",
        "start",
        "stop",
        "end",
        "index",
        "numkeys",
        "cursor",
        "offset",
        "db",
        "rank",
        "num-matches",
        "len",
        "maxlen",
        "timeout-ms",
        "decrement",
        "increment",
        "limit",
        "numreplicas",
        "port",
        "samples",
        "frequency",
        "ttl",
        "client-id",
        "protover",
        "position",
        "bit",
        "destination-db",
        "index1",
        "index2",
        "min-match-len",
        "cursor-count",
        "element-count",
        "length",
        "slot",
    ]
)
_DOUBLE_NAMES = frozenset(
    ["timeout", "score", "weight", "longitude", "latitude", "radius", "width", "height"]
)


@dataclass(frozen=True)
class Argument:
    """One node of the tree. `kind` is Redis's argument type: string, key, pure-token, oneof, block ..."""

    name: str
    kind: str = "string"
    token: str = ""
    optional: bool = False
    multiple: bool = False
    multiple_token: bool = False
    children: tuple[Argument, ...] = field(default=())


def parse_syntax(syntax: str, words: int) -> tuple[Argument, ...]:
    """parse_syntax("GET key -> bulk", 1) -> (Argument("key", "key"),); the command's name has `words` words."""
    text = syntax.split(" -> ", 1)[0]
    return _Parser(_TOKENS.findall(text)[words:]).sequence(())


def _kind(name: str) -> str:
    if _KEY_NAMES.fullmatch(name):
        return "key"
    if name == "pattern":
        return "pattern"
    if name.startswith("unix-time"):
        return "unix-time"
    if name in _DOUBLE_NAMES:
        return "double"
    return "integer" if name in _INTEGER_NAMES else "string"


def _is_token(word: str) -> bool:
    return any(char.isalpha() for char in word) and word.upper() == word


class _Parser:
    """Recursive descent over the tokens; what doesn't fit the grammar is taken as a plain argument."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def next(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def sequence(self, ends: tuple[str, ...]) -> tuple[Argument, ...]:
        """Arguments up to one of `ends` (not taken) or the end."""
        found: list[Argument] = []
        while self.peek() and self.peek() not in ends:
            word = self.next()
            if word == "[":
                self._optional(found)
            elif word == "<":
                found.append(self._choice(">"))
            elif _is_token(word):
                found.append(self._after_token(word, ends))
            else:
                found.append(Argument(word, _kind(word)))
        return tuple(found)

    def _after_token(self, token: str, ends: tuple[str, ...]) -> Argument:
        following = self.peek()
        if following == "<":
            self.next()
            return replace(self._choice(">"), token=token)
        if (
            not following
            or following in ends
            or following in "[]|>"
            or following == "..."
            or _is_token(following)
        ):
            return Argument(token.lower(), "pure-token", token)
        self.next()
        return Argument(following, _kind(following), token)

    def _choice(self, close: str) -> Argument:
        alternatives = [_as_one(self.sequence(("|", close)))]
        while self.peek() == "|":
            self.next()
            alternatives.append(_as_one(self.sequence(("|", close))))
        if self.peek() == close:
            self.next()
        if len(alternatives) == 1:
            return alternatives[0]
        return Argument("-or-".join(one.name for one in alternatives), "oneof", children=tuple(alternatives))

    def _optional(self, before: list[Argument]) -> None:
        start = self.at
        inner = self.sequence(("|", "]", "..."))
        repeats = self.peek() == "..."
        if repeats:
            self.next()
        if self.peek() == "|":
            self.at = start
            before.append(replace(self._choice("]"), optional=True))
            return
        if self.peek() == "]":
            self.next()
        count = len(inner)
        if repeats and count and tuple(before[-count:]) == inner:
            # `field value [field value ...]`: what stands before it may be given several times.
            before[-count:] = [replace(_as_one(inner), multiple=True, multiple_token=bool(inner[0].token))]
        elif count:
            before.append(replace(_as_one(inner), optional=True, multiple=repeats))


def _as_one(arguments: tuple[Argument, ...]) -> Argument:
    if len(arguments) == 1:
        return arguments[0]
    name = "-".join(argument.name for argument in arguments[:2]) or "arguments"
    return Argument(name, "block", children=arguments)
