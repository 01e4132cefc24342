"""INFO: sections of fields, gathered from the parts of the node when somebody asks.

Law: Redis 7.2's section and field names; every value is true. Parts that own facts (replication, persistence, the
cluster) give them by `contribute`; a field whose feature isn't there says so by a zero that is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .command import Command
from .command_docs import subcommands_of
from .info_replication import replication_fields, replication_loading, replication_memory, replication_stats
from .info_sections import append_only_fields, clients_fields, cpu_fields, memory_fields, server_fields, stats_fields
from .metrics import Rate
from .process import used_bytes

if TYPE_CHECKING:
    from .server import Server

Fields = dict[str, object]
Provider = Callable[[], Fields]

DEFAULT_SECTIONS = (
    *("server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "errorstats"),
    *("cluster", "keyspace"),
)
ALL_SECTIONS = (
    *("server", "clients", "memory", "persistence", "stats", "replication", "cpu", "modules", "commandstats"),
    *("errorstats", "latencystats", "cluster", "keyspace"),
)
_ALIASES = {"module_list": "modules"}
_UNSAFE = str.maketrans("#:\n\r", "____")


class Info:
    """The node's facts. `contribute` adds to a section, `text` gives INFO's reply, `reset` is CONFIG RESETSTAT."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.commands_rate = Rate()
        self.input_rate = Rate()
        self.output_rate = Rate()
        self.cycles_rate = Rate()
        self.busy_rate = Rate()
        self.startup_bytes = used_bytes()
        self.peak_bytes = self.startup_bytes
        self.on_reset: list[Callable[[], None]] = []
        """Called by CONFIG RESETSTAT, after the counters that are reset here."""
        self._sections: dict[str, list[Provider]] = {name: [] for name in ALL_SECTIONS}
        self.contribute("server", lambda: server_fields(server))
        self.contribute("clients", lambda: clients_fields(server))
        self.contribute("memory", lambda: memory_fields(server))
        self.contribute("persistence", lambda: {**server.persistence.info(), **append_only_fields()})
        self.contribute("stats", lambda: stats_fields(server))
        self.contribute("stats", lambda: replication_stats(server))
        self.contribute("memory", lambda: replication_memory(server))
        self.contribute("replication", lambda: replication_fields(server))
        self.contribute("persistence", lambda: replication_loading(server))
        self.contribute("cpu", cpu_fields)
        self.contribute("commandstats", self._commandstats)
        self.contribute("errorstats", self._errorstats)
        self.contribute("cluster", lambda: {"cluster_enabled": int(server.config.cluster_enabled)})
        self.contribute("keyspace", self._keyspace)
        server.cron.append(self._sample)

    def contribute(self, section: str, provider: Provider) -> None:
        """contribute("stats", lambda: {"sync_full": 3}): these fields replace those of the same name, or follow."""
        self._sections.setdefault(section, []).append(provider)

    def fields(self, section: str) -> Fields:
        """fields("memory") -> the section's fields in order."""
        merged: Fields = {}
        for provider in self._sections[section]:
            merged.update(provider())
        return merged

    def text(self, names: Iterable[str] = ()) -> str:
        """text(["memory", "stats"]) -> INFO's text of those sections, in INFO's order; unknown ones give nothing.

        `default` (also: no names) is what INFO shows without arguments; `all` and `everything` are all sections.
        """
        wanted = {_ALIASES.get(name.lower(), name.lower()) for name in names} or {"default"}
        if wanted & {"all", "everything"}:
            wanted |= set(ALL_SECTIONS)
        if "default" in wanted:
            wanted |= set(DEFAULT_SECTIONS)
        parts = []
        for section in self._sections:
            if section in wanted:
                lines = [f"{name}:{value}\r\n" for name, value in self.fields(section).items()]
                parts.append(f"# {section.capitalize() if section != 'cpu' else 'CPU'}\r\n" + "".join(lines))
        return "\r\n".join(parts)

    def reset(self) -> None:
        """reset(): CONFIG RESETSTAT sets the counters to zero; gauges and what the data says stay."""
        server = self._server
        server.reset_stats()
        keyspace = server.keyspace
        keyspace.hits = keyspace.misses = keyspace.expired_keys = 0
        dispatcher = server.dispatcher
        dispatcher.commands_processed = 0
        dispatcher.errors.clear()
        for command in _each_command(dispatcher.table):
            command.calls = command.nanoseconds = command.rejected = command.failed = 0
        server.reactor.cycles = server.reactor.busy_ns = 0
        primary = server.replication.primary
        primary.full_syncs = primary.partial_syncs = primary.partial_refused = 0
        server.persistence.saves = server.persistence.forks = server.persistence.last_fork_us = 0
        for hook in self.on_reset:
            hook()

    def _sample(self) -> None:
        server = self._server
        now_ms = server.clock.now_ms
        self.commands_rate.sample(now_ms, server.dispatcher.commands_processed)
        self.input_rate.sample(now_ms, server.stats.net_input_bytes)
        self.output_rate.sample(now_ms, server.stats.net_output_bytes)
        self.cycles_rate.sample(now_ms, server.reactor.cycles)
        self.busy_rate.sample(now_ms, server.reactor.busy_ns)
        self.note_peak()

    def note_peak(self) -> int:
        """note_peak() -> the memory used now; the peak is never less."""
        used = used_bytes()
        self.peak_bytes = max(self.peak_bytes, used)
        return used

    def _commandstats(self) -> Fields:
        fields: Fields = {}
        for command in _each_command(self._server.dispatcher.table):
            if command.calls or command.rejected or command.failed:
                microseconds = command.nanoseconds // 1000
                mean = command.nanoseconds / 1000 / command.calls if command.calls else 0.0
                fields[f"cmdstat_{command.full_name.translate(_UNSAFE)}"] = (
                    f"calls={command.calls},usec={microseconds},usec_per_call={mean:.2f},"
                    f"rejected_calls={command.rejected},failed_calls={command.failed}"
                )
        return fields

    def _errorstats(self) -> Fields:
        errors = self._server.dispatcher.errors
        return {f"errorstat_{code.translate(_UNSAFE)}": f"count={errors[code]}" for code in sorted(errors)}

    def _keyspace(self) -> Fields:
        keyspace = self._server.keyspace
        return {
            f"db{database.index}": f"keys={len(database)},expires={len(database.expires)},"
            f"avg_ttl={database.expires.mean_ttl_ms(keyspace.clock.now_ms)}"
            for database in keyspace.databases
            if len(database)
        }


def _each_command(table: Iterable[Command]) -> Iterable[Command]:
    for command in table:
        yield command
        yield from subcommands_of(command)
