"""The request parser: RESP commands and inline commands out of a byte stream, with Redis's limits and errors.

Laws: hiredis only ever sees a chunk from a command boundary on, and its result is used only for commands
that are complete in it and hold nothing but bulk strings; everything else goes through the strict parser
below, an incremental state machine that checks each header before it keeps anything (Redis: networking.c,
processInlineBuffer and processMultibulkBuffer). It hands over to hiredis again at the next boundary.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import hiredis
from pyredis_cluster.client.resp import encode_command

from .data_plane import native
from .errors import ProtocolError
from .quoting import split_args

parse_whole: Callable[[bytes, int], tuple[list[list[bytes]], int]] | None = None if native is None else native.parse
"""parse_whole(data, bulk_max_bytes) -> (commands, end): those that are whole from the start on; it takes no more
than the strict parser does."""

INLINE_MAX_BYTES = 64 * 1024
MULTIBULK_MAX_ARGUMENTS = (1 << 31) - 1
LONE_COMMAND_MAX_BYTES = 512
UNAUTHENTICATED_MAX_ARGUMENTS = 10
UNAUTHENTICATED_MAX_BULK_BYTES = 16384

# hiredis reserves 8 bytes for each announced element; counts of five digits and more go the strict way.
_LARGE_COUNT = re.compile(rb"\*\d{5}")
_ARRAY_MARK = 42

# A bulk string that no client can guess. If hiredis returns it from the top level, then the chunk that was
# fed before it ended at a command boundary.
_BOUNDARY = os.urandom(16)
_BOUNDARY_BULK = b"$16\r\n" + _BOUNDARY + b"\r\n"
_ONLY_BYTES = {bytes}
_ONLY_LISTS = {list}


class RequestParser:
    """feed(chunk) -> the commands that are complete now. `error` is set once the stream is broken.

    The commands before the broken one are still returned; after an error nothing more is parsed.
    `bulk_max_bytes` is proto-max-bulk-len. `authenticated` False narrows the limits, as Redis does.
    """

    __slots__ = (
        "_args",
        "_args_bytes",
        "_buffer",
        "_bulk_bytes",
        "_gets",
        "_large",
        "_large_bytes",
        "_reader",
        "_remaining",
        "authenticated",
        "bulk_max_bytes",
        "error",
        "pending_bytes",
        "tail_bytes",
    )  # fmt: skip

    def __init__(self, bulk_max_bytes: int) -> None:
        self.bulk_max_bytes = bulk_max_bytes
        self.authenticated = True
        self.error: ProtocolError | None = None
        self._reader = hiredis.Reader()
        self._gets = self._reader.gets
        self._buffer = bytearray()
        self._args: list[bytes] = []
        self._args_bytes = 0
        self._remaining = 0
        self._bulk_bytes = -1
        self._large: bytes | None = None
        """The argument that the compiled data plane receives (native/large.c), the rest of it not yet written."""
        self._large_bytes = 0
        """How much of it there is."""
        self.pending_bytes = 0
        """How many bytes of an incomplete command are held."""
        self.tail_bytes = 0
        """How many of the bytes fed came after the last complete command: the replica's offset ends before them."""

    def feed(self, data: bytes) -> list[list[bytes]]:
        """feed(data) -> complete commands, each a non-empty list of bytes. O(len(data))."""
        if self._remaining or self._buffer or not self.authenticated:
            return self._feed_strict(data, may_hand_over=self.authenticated)
        if parse_whole is not None:
            whole, end = parse_whole(data, self.bulk_max_bytes)
            return whole + self._feed_strict(data[end:], may_hand_over=False) if end < len(data) else whole
        if data[0] == _ARRAY_MARK:
            if len(data) <= LONE_COMMAND_MAX_BYTES and data.find(b"\n*") < 0:
                # What splitting gives is the command if its encoding is the chunk: a third of hiredis's time.
                args = data.split(b"\r\n")[2::2]
                if args and encode_command(args) == data:
                    return [args]
            commands = self._feed_hiredis(data)
            if commands is not None:
                return commands
        elif b"\n*" not in data and len(data) <= INLINE_MAX_BYTES:
            return self._feed_inline(data)
        return self._feed_strict(data, may_hand_over=False)

    def _feed_hiredis(self, data: bytes) -> list[list[bytes]] | None:
        """What hiredis makes of it; None where it may hold anything but commands of bulk strings.

        hiredis returns statuses, big numbers and verbatim strings (`+`, `(`, `=`) as it does bulk strings.
        """
        if (
            _LARGE_COUNT.search(data)
            or (43 in data and b"\n+" in data)  # to look for the number first takes a tenth of the time
            or (40 in data and b"\n(" in data)
            or (61 in data and b"\n=" in data)
        ):
            return None
        reader = self._reader
        reader.feed(data)
        reader.feed(_BOUNDARY_BULK)
        commands: list[Any] = []
        try:
            commands.extend(iter(self._gets, False))
            whole = commands[-1:] == [_BOUNDARY]
        except (hiredis.HiredisError, TypeError):  # TypeError: a map with a key that can't be hashed
            whole = False  # the strict parser says what is wrong behind the commands that came before it
        if whole:
            commands.pop()
        else:
            self._reader = hiredis.Reader()
            self._gets = self._reader.gets
        if (
            set(map(type, commands)) != _ONLY_LISTS
            or set(map(type, chain.from_iterable(commands))) != _ONLY_BYTES
            or [] in commands
        ):
            return None
        if not whole:
            end = _keep_complete(commands, len(data))
            commands += self._feed_strict(data[end:], may_hand_over=False)
        return commands

    def _feed_inline(self, data: bytes) -> list[list[bytes]]:
        """Lines that are all inline commands, as far as they are simple; the strict parser takes the rest."""
        lines = data.split(b"\n")
        if b'"' in data or b"'" in data or b"\0" in data or lines[-1]:
            return self._feed_strict(data, may_hand_over=False)
        return [words for words in map(bytes.split, lines) if words]

    def _feed_strict(self, data: bytes, may_hand_over: bool) -> list[list[bytes]]:
        buffer = self._buffer
        if self._large is not None:
            buffer += memoryview(self._large)[: self._large_bytes]
            self._large = None
        buffer += data
        commands: list[list[bytes]] = []
        self.tail_bytes += len(data)
        self.pending_bytes = len(buffer) + self._args_bytes
        if self.error is not None or len(buffer) < self._bulk_bytes + 2:
            return commands
        view = bytes(buffer)
        position = 0
        try:
            while position < len(view):
                if not self._remaining:
                    after = self._start(view, position, commands)
                else:
                    after = self._argument(view, position)
                    if after >= 0 and not self._remaining:
                        commands.append(self._args)
                        self._args = []
                        self._args_bytes = 0
                if after < 0:
                    break
                position = after
                if not self._remaining:
                    self.tail_bytes = len(view) - position
                    if may_hand_over and self.tail_bytes and view[position] == _ARRAY_MARK:
                        buffer.clear()
                        self.tail_bytes = self.pending_bytes = 0
                        return commands + self.feed(view[position:])
        except ProtocolError as error:
            self.error = error.with_traceback(None)  # whose frames would refer to this parser
        del buffer[:position]
        self.pending_bytes = len(buffer) + self._args_bytes
        return commands

    def _start(self, view: bytes, position: int, commands: list[list[bytes]]) -> int:
        """A command's first line; the position after it, or -1 if it isn't complete."""
        if view[position] != _ARRAY_MARK:
            return self._inline(view, position, commands)
        end = view.find(b"\r", position)
        if end < 0:
            if len(view) - position > INLINE_MAX_BYTES:
                raise ProtocolError("too big mbulk count string")
            return -1
        if end + 1 >= len(view):
            return -1
        count = _number(view[position + 1 : end])
        if count is None or count > MULTIBULK_MAX_ARGUMENTS:
            raise ProtocolError("invalid multibulk length")
        if count > UNAUTHENTICATED_MAX_ARGUMENTS and not self.authenticated:
            raise ProtocolError("unauthenticated multibulk length")
        if count > 0:
            self._remaining = count
        return end + 2

    def _inline(self, view: bytes, position: int, commands: list[list[bytes]]) -> int:
        end = view.find(b"\n", position)
        if end < 0:
            if len(view) - position > INLINE_MAX_BYTES:
                raise ProtocolError("too big inline request")
            return -1
        words = split_args(view[position:end].removesuffix(b"\r"))
        if words is None:
            raise ProtocolError("unbalanced quotes in request")
        if words:
            commands.append(words)
        return end + 1

    def _argument(self, view: bytes, position: int) -> int:
        """One bulk string, or only its header; the position after it, or -1 if it isn't complete."""
        if self._bulk_bytes < 0:
            end = view.find(b"\r", position)
            if end < 0:
                if len(view) - position > INLINE_MAX_BYTES:
                    raise ProtocolError("too big bulk count string")
                return -1
            if end + 1 >= len(view):
                return -1
            if view[position] != 36:
                raise ProtocolError(f"expected '$', got '{chr(view[position])}'")
            size = _number(view[position + 1 : end])
            if size is None or size < 0 or size > self.bulk_max_bytes:
                raise ProtocolError("invalid bulk length")
            if size > UNAUTHENTICATED_MAX_BULK_BYTES and not self.authenticated:
                raise ProtocolError("unauthenticated bulk length")
            self._bulk_bytes = size
            return end + 2
        stop = position + self._bulk_bytes
        if len(view) < stop + 2:
            return -1
        self._args.append(view[position:stop])
        self._args_bytes += self._bulk_bytes
        self._remaining -= 1
        self._bulk_bytes = -1
        return stop + 2


def _keep_complete(commands: list[list[bytes]], size: int) -> int:
    """Drop the command that took in what was fed behind the chunk of `size` bytes; where the others end.

    hiredis takes canonical lengths only, so a command is as long as its encoding.
    """
    end = 0
    for count, args in enumerate(commands):
        after = end + len(encode_command(args))
        if after > size:
            del commands[count:]
            break
        end = after
    return end


def _number(text: bytes) -> int | None:
    """A canonical 64-bit decimal (Redis: string2ll): no sign but '-', no leading zero, no space."""
    if not re.fullmatch(rb"0|-?[1-9]\d{0,18}", text):
        return None
    value = int(text)
    return value if -(1 << 63) <= value < 1 << 63 else None
