"""redis-server's command line as config lines.

Law: options are what a config file's last lines would say; nothing is interpreted here.
"""

from __future__ import annotations

from collections.abc import Sequence

from .quoting import quote, split_args


def argv_to_lines(args: Sequence[str]) -> tuple[list[bytes], bool]:
    """argv_to_lines(["--port", "7000", "--save", ""]) -> ([b'port "7000"', b'save ""'], from stdin?).

    An argument with `--` starts a directive if the one before has its argument; a lone `--save` is `save ""`.
    """
    lines: list[bytearray] = []
    from_stdin = False
    complete = True
    for at, arg in enumerate(args):
        raw = arg.encode("utf-8", "surrogateescape")
        is_last = at == len(args) - 1
        if arg == "-" and (at == 0 or is_last):
            from_stdin = True
        elif complete and arg.startswith("--"):
            lines.append(bytearray(raw[2:] + b" "))
            complete = len(split_args(raw) or ()) != 1
            next_is_option = not is_last and args[at + 1].startswith("--")
            if not complete and arg.lower() == "--save" and (is_last or next_is_option):
                lines[-1] += b'""'
                complete = True
        else:
            if not lines:
                lines.append(bytearray())
            lines[-1] += quote(raw) + b" "
            complete = True
    return [bytes(line) for line in lines], from_stdin
