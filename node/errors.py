"""Typed command errors. Each knows its own reply line, with Redis's text; nothing else builds an error reply."""

from __future__ import annotations


class CommandError(Exception):
    """CommandError("message") or CommandError("message", "CODE"): an error reply, `-CODE message`.

    Raised by command functions; the dispatcher turns it into the reply. Nothing may have been changed
    when it is raised, as in Redis: a command that fails has no effect.
    """

    code = "ERR"
    message = "unknown error"

    def __init__(self, message: str | None = None, code: str | None = None) -> None:
        if message is not None:
            self.message = message
        if code is not None:
            self.code = code
        super().__init__(f"{self.code} {self.message}")

    def encode(self) -> bytes:
        """encode() -> the RESP error line. Line breaks in the text become spaces (Redis: afterErrorReply)."""
        text = f"{self.code} {self.message}".replace("\r", " ").replace("\n", " ")
        return b"-" + text.encode("utf-8", "surrogateescape") + b"\r\n"


class WrongTypeError(CommandError):
    """The key holds a value of another type."""

    code = "WRONGTYPE"
    message = "Operation against a key holding the wrong kind of value"


class SyntaxError_(CommandError):  # noqa: N801 - Python's SyntaxError must stay visible
    """The arguments don't follow the command's syntax."""

    message = "syntax error"


class NotIntegerError(CommandError):
    """An argument or value is no 64-bit signed integer."""

    message = "value is not an integer or out of range"


class NotFloatError(CommandError):
    """An argument or value is no finite-or-infinite float."""

    message = "value is not a valid float"


class NoSuchKeyError(CommandError):
    """The command needs the key to exist."""

    message = "no such key"


class OutOfRangeError(CommandError):
    """An index lies outside of the list, or an offset outside of what a string may hold."""

    message = "index out of range"


def subcommand_error(args: list[bytes]) -> CommandError:
    """subcommand_error(args) -> the error of a container whose subcommand got arguments that fit no form."""
    name = args[1][:128].decode("utf-8", "surrogateescape")
    container = args[0].upper().decode("utf-8", "surrogateescape")
    return CommandError(f"unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP.")


class ProtocolError(Exception):
    """The client broke RESP; it gets `-ERR Protocol error: ...` and is disconnected."""
