"""Detached processes, known by pid and start time: a pid that was given away is never signalled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STOP_TIMEOUT_S = 10.0
KILL_TIMEOUT_S = 5.0
STDERR_FD = 2
_POLL_S = 0.01
_LOG_TAIL_BYTES = 4096

# Fields of /proc/PID/stat, counted from behind the command name, which may itself hold spaces and brackets.
_STATE_FIELD = 0
_START_TIME_FIELD = 19


@dataclass(frozen=True, slots=True)
class ProcessHandle:
    """A process of this machine: its pid and, in clock ticks since boot, when it was started."""

    pid: int
    start_ticks: int


def _stat_fields(pid: int) -> list[str] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat[stat.rindex(")") + 2 :].split()


def is_alive(process: ProcessHandle) -> bool:
    """is_alive(process) -> bool. False for a zombie and for another process with the same pid."""
    fields = _stat_fields(process.pid)
    if fields is None or int(fields[_START_TIME_FIELD]) != process.start_ticks:
        return False
    if fields[_STATE_FIELD] not in ("Z", "X"):
        return True
    with suppress(ChildProcessError):
        # Where it was started by this very process, nobody else takes note of its end.
        os.waitpid(process.pid, os.WNOHANG)
    return False


def send_signal(process: ProcessHandle, signal_number: int) -> bool:
    """send_signal(process, number) -> whether there still was such a process."""
    if not is_alive(process):
        return False
    try:
        os.kill(process.pid, signal_number)
    except ProcessLookupError:
        return False
    return True


def _inherited_descriptors() -> Iterator[int]:
    """Those beyond the standard ones that whoever started us left open: the lock of `flock FILE COMMAND`, for one."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own is closed by now
            if int(name) > STDERR_FD and os.get_inheritable(int(name)):
                yield int(name)


def spawn(argv: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None) -> ProcessHandle:
    """spawn(argv, log_path) -> ProcessHandle of a detached process that writes to the log.

    It has a session of its own, keeps no descriptor of ours and outlives this process.
    OSError where the program can't be executed.
    """
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        argv[0],
        list(argv),
        dict(os.environ if environment is None else environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log_path), log_flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_CLOSE, fd) for fd in _inherited_descriptors()),
        ],
        setsid=True,
    )
    fields = _stat_fields(pid)
    # Ours to reap and not reaped yet, so the entry is there even if the program has already ended.
    assert fields is not None
    return ProcessHandle(pid, int(fields[_START_TIME_FIELD]))


def wait_until_gone(processes: Iterable[ProcessHandle], timeout_s: float) -> list[ProcessHandle]:
    """wait_until_gone(processes, timeout_s) -> those that are still there when the time is up."""
    left = list(processes)
    deadline = time.monotonic() + timeout_s
    while left := [process for process in left if is_alive(process)]:
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_S)
    return left


def stop(processes: Iterable[ProcessHandle], timeout_s: float = STOP_TIMEOUT_S) -> list[ProcessHandle]:
    """stop(processes) -> those that had to be killed, since SIGTERM did not end them in time."""
    running = [process for process in processes if send_signal(process, signal.SIGTERM)]
    for process in running:
        # A stopped process takes no SIGTERM before it is continued.
        send_signal(process, signal.SIGCONT)
    stubborn = wait_until_gone(running, timeout_s)
    kill(stubborn)
    return stubborn


def kill(processes: Iterable[ProcessHandle]) -> None:
    """kill(processes): SIGKILL, and wait until they are gone."""
    killed = [process for process in processes if send_signal(process, signal.SIGKILL)]
    wait_until_gone(killed, KILL_TIMEOUT_S)


def log_tail(log_path: Path, lines: int) -> str:
    """log_tail(path, lines) -> the last lines of a log, "" where there is none."""
    try:
        with log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
