"""The persistence of a node: loading at the start, SAVE and BGSAVE, save points, and what INFO says of them.

Laws: at most one child at a time; the RDB file is replaced only by a complete one; while the last background
save failed, a node that is configured to save refuses writes (stop-writes-on-bgsave-error).
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from .. import oom_score
from ..client import GUARD_PRIMARY, Client
from ..command import GATE_ANY, GATE_NOT_LOADING, Command
from ..errors import CommandError
from ..logging import CHILD, set_role
from ..process import used_bytes
from .child import Child, Report, fork
from .errors import LoadError, RdbFormatError
from .files import temporary_path, write_file, write_pipe
from .loading import FileLoad, log_metadata
from .writer import Progress, aux_fields, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..server import Server

log = logging.getLogger("pyredis")

BGSAVE_RETRY_DELAY_MS: Final = 5000
"""After a failed background save, the next automatic one waits so long (Redis: CONFIG_BGSAVE_RETRY_DELAY)."""
REPORT_INTERVAL_NS: Final = 1_000_000_000
_DISK_ERROR_RANK: Final = 30
_LOADING_RANK: Final = 70
_LOADING = CommandError("Redis is loading the dataset in memory", "LOADING")
_MISCONF = CommandError(
    "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may "
    "modify the data set are disabled, because this instance is configured to report errors during writes if RDB "
    "snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the "
    "RDB error.",
    "MISCONF",
)
Ended = Callable[[bool], None]
"""Told once whether the child's work succeeded."""


class ChildActiveError(OSError):
    """A child is working already; there is one at a time."""


class Persistence:
    """`save()`, `bgsave()`, `load()`; `info()` for INFO's persistence section."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.child: Child | None = None
        self.saves = 0
        self.last_save_ms = server.clock.now_ms
        self.last_save_ok = True
        self.last_duration_seconds = -1
        self.last_cow_bytes = 0
        self.last_fork_us = 0
        self.forks = 0
        self.keys_loaded = 0
        self.keys_expired = 0
        self.more_aux: Callable[[], dict[bytes, bytes]] = dict
        """What else a snapshot says about itself, in AUX fields of our own, which redis-server passes over."""
        self.loaded_aux: dict[bytes, bytes] = {}
        self.loading: FileLoad | None = None
        self.scheduled = False
        """BGSAVE SCHEDULE: one is due as soon as no child is working."""
        self.verify_checksums = True
        """DEBUG SET-SKIP-CHECKSUM-VALIDATION clears it, for files and RESTORE alike."""
        self._saved_dirty = server.keyspace.dirty
        self._dirty_at_fork = 0
        self._child_keys = 0
        self._child_started_ms = 0
        self._last_try_ms = 0
        server.cron.append(self.cron)
        server.before_serving.append(self.prepare_load)
        server.at_exit.append(self.close)
        for name in ("save", "stop-writes-on-bgsave-error"):
            server.config.on_change(name, self.update_gate)

    @property
    def rdb_path(self) -> Path:
        """Where the RDB file is: `dbfilename` in the working directory, which is `dir`."""
        return Path(self.server.config.dbfilename)

    @property
    def child_active(self) -> bool:
        """Whether a forked child is working."""
        return self.child is not None

    @property
    def changes(self) -> int:
        """Changes since the last save (rdb_changes_since_last_save)."""
        return self.server.keyspace.dirty - self._saved_dirty

    # -- snapshots

    def _snapshot(self, progress: Progress | None = None) -> Iterator[bytes]:
        """The chunks of a snapshot as of now, with the history that it belongs to."""
        replication = self.server.replication
        link = replication.link
        has_history = link is not None or replication.primary.backlog is not None
        # A replica's stream goes on in the database that its primary has selected last.
        database = link.client.db.index if link is not None else self.server.journal.database
        aux = aux_fields(
            now_ms=self.server.clock.now_ms,
            used_memory_bytes=used_bytes(),
            repl_id=replication.identity.replid if has_history else "",
            repl_offset=self.server.journal.offset,
            stream_database=max(0, database),
        ) | self.more_aux()
        checksum = self.server.config.rdbchecksum
        return write_snapshot(self.server.keyspace, aux=aux, checksum=checksum, progress=progress)

    def save(self) -> bool:
        """save() -> whether the RDB file was written, here and now (SAVE). Blocks. O(data)."""
        self.saves += 1
        try:
            fsync = self.server.config.rdb_save_incremental_fsync
            write_file(self.rdb_path, self._snapshot(), incremental_fsync=fsync)
        except OSError as error:
            log.warning("Failed saving the DB: %s", error)
            return False
        log.info("DB saved on disk")
        self._saved(self.server.keyspace.dirty)
        return True

    def _saved(self, dirty: int) -> None:
        self._saved_dirty = dirty
        self.last_save_ms = self.server.clock.now_ms
        self.last_save_ok = True
        self.update_gate()

    def bgsave(self, on_end: Ended = lambda ok: None) -> None:
        """bgsave(on_end) begins to write the RDB file in a child. Raises OSError, also if a child is active."""
        path, fsync = self.rdb_path, self.server.config.rdb_save_incremental_fsync

        def work(report: Report) -> None:
            write_file(path, self._reported(report), incremental_fsync=fsync)

        def ended(child: Child) -> None:
            self._save_ended(child)
            on_end(child.error is None)

        if self.child is None:
            self._last_try_ms = self.server.clock.now_ms
            self._dirty_at_fork = self.server.keyspace.dirty
        try:
            self._fork(work, ended)
        except ChildActiveError:
            raise
        except OSError as error:
            log.warning("Can't save in background: fork: %s", error.strerror)
            self._failed()
            raise
        assert self.child is not None
        log.info("Background saving started by pid %d", self.child.pid)

    def fork_to_pipe(self, write_fd: int, on_end: Ended = lambda ok: None) -> None:
        """fork_to_pipe(fd, on_end): a child writes the snapshot to a blocking descriptor. Raises OSError.

        The caller closes its `fd` after the call, so that the reader sees the end when the child's is closed.
        """

        def work(report: Report) -> None:
            write_pipe(write_fd, self._reported(report))

        def ended(child: Child) -> None:
            if child.error is None:
                log.info("Background RDB transfer terminated with success")
            else:
                log.warning("Background transfer error: %s", child.error)
            on_end(child.error is None)

        self._fork(work, ended, write_fd)
        assert self.child is not None
        log.info("Background RDB transfer started by pid %d", self.child.pid)

    def _fork(self, work: Callable[[Report], None], ended: Callable[[Child], None], *keep: int) -> None:
        if self.child is not None:
            raise ChildActiveError("a child is working already")

        def on_end(child: Child) -> None:
            self.child = None
            self.last_cow_bytes = child.cow_bytes
            seconds = (self.server.clock.now_ms - self._child_started_ms) // 1000
            self.last_duration_seconds = max(0, seconds)
            ended(child)

        def in_child(report: Report) -> None:
            self.server.oom_score.become(oom_score.CHILD)
            set_role(CHILD)
            work(report)

        self.child = fork(self.server.reactor, in_child, on_end, keep)
        self.saves += 1
        self.forks += 1
        self.last_fork_us = self.child.fork_us
        self._child_started_ms = self.server.clock.now_ms
        self._child_keys = sum(map(len, self.server.keyspace.databases))

    def _reported(self, report: Report) -> Iterator[bytes]:
        """In the child: the snapshot's chunks, with a report now and then and one at the end."""
        delay_us = self.server.config.rdb_key_save_delay
        progress = Progress((lambda: time.sleep(delay_us / 1e6)) if delay_us > 0 else None)
        reported_ns = time.monotonic_ns()
        for chunk in self._snapshot(progress):
            yield chunk
            if time.monotonic_ns() - reported_ns > REPORT_INTERVAL_NS:
                reported_ns = time.monotonic_ns()
                report(progress.keys_done)
        report(progress.keys_done)

    def _save_ended(self, child: Child) -> None:
        if child.error is None:
            log.info("Background saving terminated with success")
            self._saved(self._dirty_at_fork)
            return
        with contextlib.suppress(OSError):
            os.unlink(temporary_path(child.pid))
        log.warning("Background saving error: %s", child.error)
        if not child.killed:
            self._failed()

    def _failed(self) -> None:
        self.last_save_ok = False
        self.update_gate()

    def kill_child(self) -> None:
        """kill_child() ends the child, if there is one; its end is no failure."""
        if self.child is not None:
            self.child.kill()

    # -- stop-writes-on-bgsave-error

    def update_gate(self) -> None:
        """update_gate(): refuse writes while saving is configured, wanted for writes, and failing."""
        config = self.server.config
        if config.stop_writes_on_bgsave_error and config.save and not self.last_save_ok:
            self.server.dispatcher.close_gate("misconf", GATE_ANY, _DISK_ERROR_RANK, self._refuse_write)
        else:
            self.server.dispatcher.open_gate("misconf")

    @staticmethod
    def _refuse_write(client: Client, command: Command) -> CommandError | None:
        refused = (command.is_write or command.name == "ping") and not client.guard & GUARD_PRIMARY
        return _MISCONF if refused else None

    # -- loading

    def prepare_load(self) -> None:
        """prepare_load(): if there is an RDB file, commands that need the data are refused until `load` is done."""
        if self.server.config.dbfilename and self.rdb_path.exists():
            self.loading = self._file_load()
            self.server.dispatcher.close_gate(
                "loading", GATE_NOT_LOADING, _LOADING_RANK, lambda client, command: _LOADING
            )

    async def load(self) -> None:
        """load(): the RDB file into the empty keyspace; others get their turn meanwhile. Raises LoadError.

        `prepare_load` comes before it, and before the first client is served.
        """
        load = self.loading
        if load is None:
            return
        started_ns = time.monotonic_ns()
        try:
            for keys in load.steps():
                await trio.sleep(max(0, keys * self.server.config.key_load_delay) / 1e6)
        except (OSError, RdbFormatError) as error:
            log.warning("%s: %s. Terminating server after rdb file reading failure.", self.rdb_path, error)
            raise LoadError("Fatal error loading the DB, check server logs. Exiting.") from error
        finally:
            self.loading = None
        self.server.dispatcher.open_gate("loading")
        self._loaded(load)
        self.data_replaced()
        log.info("DB loaded from disk: %.3f seconds", (time.monotonic_ns() - started_ns) / 1e9)
        self._restore_history(load)

    def _file_load(self, *, may_replace: bool = False) -> FileLoad:
        config = self.server.config
        # A replica waits for its primary's DEL.
        expired_before_ms = None if self.server.replication.is_replica else self.server.clock.now_ms
        return FileLoad(
            self.rdb_path,
            self.server.keyspace,
            config,
            expired_before_ms=expired_before_ms,
            may_replace=may_replace,
            verify_checksum=config.rdbchecksum and self.verify_checksums,
        )

    def _loaded(self, load: FileLoad) -> None:
        self.loaded_aux = load.reader.aux
        self.keys_loaded = load.keys_loaded
        self.keys_expired = len(load.expired)
        log_metadata(load.reader, self.server.clock.now_ms)
        skipped = load.reader.empty_keys_skipped
        text = f"Done loading RDB, keys loaded: {load.keys_loaded}, keys expired: {self.keys_expired}"
        log.info("%s%s.", text, f", empty keys skipped: {skipped}" if skipped else "")

    def _restore_history(self, load: FileLoad) -> None:
        """A file that names the history it belongs to lets this node, or its replicas, go on from there.

        The replicas still hold the keys that expired meanwhile: they are deleted in the journal.
        """
        aux = load.reader.aux
        replid = aux.get(b"repl-id", b"")
        offset = aux.get(b"repl-offset", b"")
        database = aux.get(b"repl-stream-db", b"0")
        in_range = database.isdigit() and int(database) < len(self.server.keyspace.databases)
        if len(replid) == 40 and replid.isalnum() and offset.isdigit() and in_range:
            self.server.replication.restore(replid.decode(), int(offset), int(database))
            for index, key in load.expired:
                self.server.journal.append(index, [b"DEL", key])

    def data_replaced(self) -> None:
        """data_replaced(): the keyspace is as it was saved or received; nothing is to be saved."""
        self._saved_dirty = self.server.keyspace.dirty

    def reload(self, *, save: bool = True, flush: bool = True, merge: bool = False) -> bool:
        """reload() -> whether saving the data set, emptying it and loading the file worked (DEBUG RELOAD)."""
        if save and not self.save():
            return False
        changes = self.changes
        if flush:
            self.server.keyspace.flush()
        load = self._file_load(may_replace=merge)
        try:
            load.run()
        except (OSError, RdbFormatError) as error:
            log.warning("DEBUG RELOAD failed: %s", error)
            return False
        self._loaded(load)
        self._saved_dirty = self.server.keyspace.dirty - changes  # a reload itself changes nothing
        log.info("DB reloaded by DEBUG RELOAD")
        return True

    # -- what commands and cron do

    def flushed_all(self) -> None:
        """flushed_all(): FLUSHALL ran. A running save is of no use any more, and the file must be empty too."""
        self.kill_child()
        if self.server.config.save:
            self.save()

    def prepare_shutdown(self, save: bool | None = None) -> bool:
        """prepare_shutdown(save) -> whether the node may end; False if a save that is wanted failed.

        None saves if save points are configured (SHUTDOWN without SAVE and NOSAVE). The child is killed. A data
        set that is only half loaded is never saved.
        """
        if self.child is not None:
            log.warning("There is a child saving an .rdb. Killing it!")
            self.close()
        if self.loading is not None:
            return True
        wanted = bool(self.server.config.save) if save is None else save
        if not wanted:
            return True
        log.info("Saving the final RDB snapshot before exiting.")
        if self.save():
            return True
        log.warning("Error trying to save the DB, can't exit.")
        return False

    def close(self) -> None:
        """close(): kill the child and wait for its end."""
        if self.child is not None:
            child = self.child
            child.kill()
            child.wait()

    def cron(self) -> None:
        """cron(): save points, and a scheduled BGSAVE."""
        if self.child is not None:
            return
        now_ms = self.server.clock.now_ms
        may_try = self.last_save_ok or now_ms - self._last_try_ms > BGSAVE_RETRY_DELAY_MS
        if not may_try:
            return
        for seconds, changes in self.server.config.save:
            if self.changes >= changes and now_ms - self.last_save_ms > seconds * 1000:
                log.info("%d changes in %d seconds. Saving...", changes, seconds)
                self.scheduled = True
                break
        if self.scheduled:
            with contextlib.suppress(OSError):  # logged and remembered by bgsave; tried again later
                self.bgsave()
                self.scheduled = False

    # -- INFO

    def info(self) -> dict[str, str | int]:
        """info() -> the fields of INFO's persistence section that are about RDB files, in Redis's order."""
        child = self.child
        now_ms = self.server.clock.now_ms
        running_seconds = (now_ms - self._child_started_ms) // 1000 if child is not None else -1
        return {
            "loading": int(self.loading is not None),
            "async_loading": 0,
            **self._loading_info(),
            "current_cow_peak": child.cow_bytes if child is not None else 0,
            "current_cow_size": child.cow_bytes if child is not None else 0,
            "current_cow_size_age": 0,
            "current_fork_perc": self._fork_percent(),
            "current_save_keys_processed": child.keys_done if child is not None else 0,
            "current_save_keys_total": self._child_keys if child is not None else 0,
            "rdb_changes_since_last_save": self.changes,
            "rdb_bgsave_in_progress": int(child is not None),
            "rdb_last_save_time": self.last_save_ms // 1000,
            "rdb_last_bgsave_status": "ok" if self.last_save_ok else "err",
            "rdb_last_bgsave_time_sec": self.last_duration_seconds,
            "rdb_current_bgsave_time_sec": running_seconds,
            "rdb_saves": self.saves,
            "rdb_last_cow_size": self.last_cow_bytes,
            "rdb_last_load_keys_expired": self.keys_expired,
            "rdb_last_load_keys_loaded": self.keys_loaded,
        }

    def _loading_info(self) -> dict[str, str | int]:
        load = self.loading
        if load is None:
            return {}
        elapsed_seconds = max(0, self.server.clock.now_ms - load.started_ms) // 1000
        left_bytes = load.bytes_total - load.bytes_loaded
        memory = load.reader.aux.get(b"used-mem", b"")
        return {
            "loading_start_time": load.started_ms // 1000,
            "loading_total_bytes": load.bytes_total,
            "loading_rdb_used_mem": int(memory) if memory.isdigit() else 0,
            "loading_loaded_bytes": load.bytes_loaded,
            "loading_loaded_perc": f"{load.bytes_loaded * 100 / max(1, load.bytes_total):.2f}",
            "loading_eta_seconds": elapsed_seconds * left_bytes // (load.bytes_loaded + 1),
        }

    def _fork_percent(self) -> str:
        if self.child is None or not self._child_keys:
            return "0.00"
        return f"{self.child.keys_done * 100 / self._child_keys:.2f}"
