"""nodes.conf on disk: locked while the node lives, replaced as a whole, synced before anything depends on it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from pathlib import Path

from pyredis_cluster.gossip.errors import CorruptedConfig
from pyredis_cluster.gossip.nodesconf import SavedState, load

log = logging.getLogger("pyredis")


class NodesFileError(Exception):
    """The file cannot be used; the text says why, as Redis words it."""


class NodesFile:
    """NodesFile(path): raises NodesFileError where another node has it. `close` gives the lock back.

    The lock is on a file beside it, for the file itself is replaced by renaming.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._lock_path = self._path.with_name(self._path.name + ".lock")
        try:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise NodesFileError(
                f"Can't open {self._lock_path} in order to acquire a lock: {error.strerror}"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise NodesFileError(
                f"Sorry, the cluster configuration file {path} is already used by a different Redis Cluster node. "
                "Please make sure that different nodes use different cluster configuration files."
            ) from None

    def load(self) -> SavedState | None:
        """load() -> what the file says, or None if there is none yet. Raises NodesFileError."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise NodesFileError(f"Loading the cluster node config from {self._path}: {error}") from None
        if not text.strip():
            return None
        try:
            return load(text)
        except CorruptedConfig as error:
            raise NodesFileError(f'Unrecoverable error: corrupted cluster config file "{error}".') from None

    def save(self, text: str, *, durable: bool = True) -> None:
        """save(text): afterwards the node's death leaves this text or a later one. Raises OSError.

        If `durable`, so does the machine's.
        """
        temporary = self._path.with_name(f"{self._path.name}.tmp-{os.getpid()}")
        try:
            with open(temporary, "w") as file:
                file.write(text)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if not durable:
            return
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def close(self) -> None:
        """close(): another node may use the file."""
        os.close(self._lock)
