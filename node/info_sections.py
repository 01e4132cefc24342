"""The fields of INFO's sections that no other part of the node owns.

Law: as in info: Redis's names, true values. Fields that describe an allocator, scripts, functions, tracking or
pub/sub are zero where there is none. The allocator is Python's and keeps no statistics: what it has from the system
stands in its place.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from typing import TYPE_CHECKING

from .client_info import client_type, memory_bytes, query_bytes
from .command_docs import subcommands_of
from .data_plane import NAME as DATA_PLANE
from .process import human_bytes, resident_bytes, system_memory_bytes
from .version import REDIS_VERSION

if TYPE_CHECKING:
    from .server import Server

Fields = dict[str, object]

SECONDS_PER_DAY = 86400
LRU_CLOCK_MASK = (1 << 24) - 1


def server_fields(server: Server) -> Fields:
    """server_fields(server) -> the section `server`."""
    config = server.config
    uptime_seconds = (server.clock.now_ms - server.started_ms) // 1000
    system = platform.uname()
    fields: Fields = {
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": 0,
        "redis_mode": "cluster" if config.cluster_enabled else "standalone",
        "os": f"{system.system} {system.release} {system.machine}",
        "arch_bits": 64 if sys.maxsize > 2**32 else 32,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": "epoll",
        "atomicvar_api": "none",
        "gcc_version": "0.0.0",
        "process_id": os.getpid(),
        "process_supervised": "no",
        "run_id": server.run_id,
        "tcp_port": config.port,
        "server_time_usec": server.clock.now_ms * 1000,
        "uptime_in_seconds": uptime_seconds,
        "uptime_in_days": uptime_seconds // SECONDS_PER_DAY,
        "hz": config.hz,
        "configured_hz": config.hz,
        "lru_clock": server.clock.now_ms // 1000 & LRU_CLOCK_MASK,
        "data_plane": DATA_PLANE,
        "executable": os.path.abspath(sys.argv[0]),
        "config_file": config.path or "",
        "io_threads_active": 0,
        "python_version": platform.python_version(),
    }
    if server.shutdown.in_progress:
        fields["shutdown_in_milliseconds"] = max(0, server.shutdown.deadline_ms - server.clock.now_ms)
    listeners = []
    if config.port:
        addresses = "".join(f",bind={address}" for address in config.bind)
        listeners.append(f"name=tcp{addresses},port={config.port}")
    if config.unixsocket:
        listeners.append(f"name=unix,bind={config.unixsocket}")
    fields.update({f"listener{number}": text for number, text in enumerate(listeners)})
    return fields


def clients_fields(server: Server) -> Fields:
    """clients_fields(server) -> the section `clients`."""
    clients = [*server.clients.values()]
    pauses = server.blocking.pauses
    parked = [client for client in clients if client.parked is not None]
    return {
        "connected_clients": sum(client_type(client) != "replica" for client in clients),
        "cluster_connections": 0,
        "maxclients": server.config.maxclients,
        "client_recent_max_input_buffer": max(map(query_bytes, clients), default=0),
        "client_recent_max_output_buffer": max((len(client.out) for client in clients), default=0),
        "blocked_clients": len(parked),
        "tracking_clients": 0,
        "clients_in_timeout_table": sum(client.parked.deadline_ms is not None for client in parked if client.parked),
        "total_blocking_keys": sum(len(database.blocked) for database in server.keyspace.databases),
        "total_blocking_keys_on_nokey": 0,
        "paused_reason": pauses.reason,
        "paused_actions": ("write" if pauses.writes_only else "all") if pauses.active else "none",
        "paused_timeout_milliseconds": max(0, pauses.until_ms - server.clock.now_ms) if pauses.active else 0,
    }


def memory_overhead(server: Server) -> dict[str, int]:
    """memory_overhead(server) -> bytes that aren't data: startup, clients by kind, and the total."""
    sizes = {"normal": 0, "replica": 0, "pubsub": 0, "master": 0}
    for client in server.clients.values():
        sizes[client_type(client)] += memory_bytes(client)
    startup = server.info.startup_bytes
    normal = sizes["normal"] + sizes["pubsub"]
    return {
        "startup": startup,
        "normal": normal,
        "replica": sizes["replica"],
        "total": startup + sum(sizes.values()),
    }


_NO_SCRIPTS = {
    **dict.fromkeys(("used_memory_lua", "used_memory_vm_eval"), 0),
    "used_memory_lua_human": human_bytes(0),
    **dict.fromkeys(("used_memory_scripts_eval", "number_of_cached_scripts", "number_of_functions"), 0),
    **dict.fromkeys(("number_of_libraries", "used_memory_vm_functions", "used_memory_vm_total"), 0),
    "used_memory_vm_total_human": human_bytes(0),
    **dict.fromkeys(("used_memory_functions", "used_memory_scripts"), 0),
    "used_memory_scripts_human": human_bytes(0),
}
"""The section `memory` of a node without scripts and functions."""


def memory_fields(server: Server) -> Fields:
    """memory_fields(server) -> the section `memory`."""
    config = server.config
    used = server.info.note_peak()
    peak = server.info.peak_bytes
    resident = resident_bytes()
    overhead = memory_overhead(server)
    dataset = max(0, used - overhead["total"])
    above_startup = max(1, used - overhead["startup"])
    return {
        "used_memory": used,
        "used_memory_human": human_bytes(used),
        "used_memory_rss": resident,
        "used_memory_rss_human": human_bytes(resident),
        "used_memory_peak": peak,
        "used_memory_peak_human": human_bytes(peak),
        "used_memory_peak_perc": f"{used * 100 / peak:.2f}%",
        "used_memory_overhead": overhead["total"],
        "used_memory_startup": overhead["startup"],
        "used_memory_dataset": dataset,
        "used_memory_dataset_perc": f"{min(100.0, dataset * 100 / above_startup):.2f}%",
        "allocator_allocated": used,
        "allocator_active": used,
        "allocator_resident": used,
        "total_system_memory": system_memory_bytes(),
        "total_system_memory_human": human_bytes(system_memory_bytes()),
        **_NO_SCRIPTS,
        "maxmemory": config.maxmemory,
        "maxmemory_human": human_bytes(config.maxmemory),
        "maxmemory_policy": config.maxmemory_policy,
        "allocator_frag_ratio": "1.00",
        "allocator_frag_bytes": 0,
        "allocator_rss_ratio": "1.00",
        "allocator_rss_bytes": 0,
        "rss_overhead_ratio": f"{resident / used:.2f}",
        "rss_overhead_bytes": resident - used,
        "mem_fragmentation_ratio": f"{resident / used:.2f}",
        "mem_fragmentation_bytes": resident - used,
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": 0,
        "mem_total_replication_buffers": 0,
        "mem_clients_slaves": overhead["replica"],
        "mem_clients_normal": overhead["normal"],
        "mem_cluster_links": 0,
        "mem_aof_buffer": 0,
        "mem_allocator": "python",
        "active_defrag_running": 0,
        "lazyfree_pending_objects": server.reclaimer.lazy_free.pending,
        "lazyfreed_objects": server.reclaimer.lazy_free.freed,
    }


def append_only_fields() -> Fields:
    """append_only_fields() -> the part of the section `persistence` about an append-only file: there is none."""
    return {
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_rewrites": 0,
        "aof_rewrites_consecutive_failures": 0,
        "aof_last_write_status": "ok",
        "aof_last_cow_size": 0,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
    }


_ZERO_STATS_BEFORE = ("sync_full", "sync_partial_ok", "sync_partial_err")
_ZERO_STATS_AFTER = (
    *("pubsub_channels", "pubsub_patterns", "pubsubshard_channels"),
    *("slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses"),
    *(
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
    ),
    *("tracking_total_keys", "tracking_total_items", "tracking_total_prefixes", "unexpected_error_replies"),
)


def stats_fields(server: Server) -> Fields:
    """stats_fields(server) -> the section `stats`; replication and persistence contribute theirs."""
    stats, info, keyspace = server.stats, server.info, server.keyspace
    fields: Fields = {
        "total_connections_received": stats.connections_received,
        "total_commands_processed": server.dispatcher.commands_processed,
        "instantaneous_ops_per_sec": round(info.commands_rate.per_second()),
        "total_net_input_bytes": stats.net_input_bytes,
        "total_net_output_bytes": stats.net_output_bytes,
        "total_net_repl_input_bytes": stats.net_repl_input_bytes,
        "total_net_repl_output_bytes": stats.net_repl_output_bytes,
        "instantaneous_input_kbps": f"{info.input_rate.per_second() / 1024:.2f}",
        "instantaneous_output_kbps": f"{info.output_rate.per_second() / 1024:.2f}",
        "rejected_connections": stats.connections_rejected,
    }
    fields |= dict.fromkeys(_ZERO_STATS_BEFORE, 0)
    fields |= {
        "expired_keys": keyspace.expired_keys,
        "evicted_keys": 0,
        "evicted_clients": 0,
        "total_eviction_exceeded_time": 0,
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": keyspace.hits,
        "keyspace_misses": keyspace.misses,
    }
    fields |= {"latest_fork_usec": server.persistence.last_fork_us, "total_forks": server.persistence.forks}
    fields |= dict.fromkeys(_ZERO_STATS_AFTER, 0)
    fields["migrate_cached_sockets"] = len(server.migrate_links)
    return fields | {
        "total_error_replies": sum(server.dispatcher.errors.values()),
        "dump_payload_sanitizations": 0,
        "total_reads_processed": stats.reads_processed,
        **_event_loop_fields(server),
        "client_query_buffer_limit_disconnections": stats.query_limit_disconnections,
        "client_output_buffer_limit_disconnections": stats.output_limit_disconnections,
    }


def _event_loop_fields(server: Server) -> Fields:
    """What the reactor did: rounds with ready sockets, and the microseconds they and their commands took."""
    cycles_per_second = server.info.cycles_rate.per_second()
    busy_us_per_second = server.info.busy_rate.per_second() / 1000
    commands = server.dispatcher.table
    command_ns = sum(each.nanoseconds for parent in commands for each in (parent, *subcommands_of(parent)))
    return {
        "eventloop_cycles": server.reactor.cycles,
        "eventloop_duration_sum": server.reactor.busy_ns // 1000,
        "eventloop_duration_cmd_sum": command_ns // 1000,
        "instantaneous_eventloop_cycles_per_sec": round(cycles_per_second),
        "instantaneous_eventloop_duration_usec": round(busy_us_per_second / cycles_per_second)
        if cycles_per_second
        else 0,
    }


def cpu_fields() -> Fields:
    """cpu_fields() -> the section `cpu`."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    thread = resource.getrusage(resource.RUSAGE_THREAD)
    return {
        "used_cpu_sys": f"{own.ru_stime:.6f}",
        "used_cpu_user": f"{own.ru_utime:.6f}",
        "used_cpu_sys_children": f"{children.ru_stime:.6f}",
        "used_cpu_user_children": f"{children.ru_utime:.6f}",
        "used_cpu_sys_main_thread": f"{thread.ru_stime:.6f}",
        "used_cpu_user_main_thread": f"{thread.ru_utime:.6f}",
    }
