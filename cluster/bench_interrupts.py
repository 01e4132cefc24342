"""Signals that end a program, and the processes that end with it, whenever a signal comes.

Law: a signal that arrives while a process is being started or stopped counts afterwards; what was started and not
stopped is stopped when the interpreter exits. (Signals belong to the whole process, and so does this.)
"""

from __future__ import annotations

import atexit
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from . import processes
from .processes import ProcessHandle

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """`take_over()` once; then `start` and `stop` processes as one likes."""

    def __init__(self) -> None:
        self._running: set[ProcessHandle] = set()
        self._held = 0
        self._arrived = 0

    def take_over(self) -> None:
        """take_over(): SIGINT raises KeyboardInterrupt, SIGTERM and SIGHUP SystemExit, but not within `held`.

        One that is ignored stays so (nohup; a shell's background job).
        """
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._held:
            self._arrived = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """held(): a signal that arrives in this block is raised at its end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if self._arrived and not self._held:
                number, self._arrived = self._arrived, 0
                self._on_signal(number, None)

    def start(self, argv: Sequence[str], log_path: Path) -> ProcessHandle:
        """start(argv, log_path) -> as processes.spawn; it ends when this program does. OSError."""
        with self.held():
            process = processes.spawn(argv, log_path)
            self._running.add(process)
        return process

    def stop(self, process: ProcessHandle) -> None:
        """stop(process) ends one that was started here, and waits for that."""
        with self.held():
            processes.stop([process])
            self._running.discard(process)

    def stop_all(self) -> None:
        """stop_all(): what is still running ends. No signal is heard any more."""
        self._held += 1
        processes.stop(self._running)
        self._running.clear()


INTERRUPTS = Interrupts()
atexit.register(INTERRUPTS.stop_all)
