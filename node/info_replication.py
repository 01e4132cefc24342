"""The fields of INFO that tell about replication: the section `replication`, and its counters in `stats` and `memory`.

Law: read-only view of `server.replication`; Redis's field names, with its words for the roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .replication.replica import LinkState, PrimaryLink

if TYPE_CHECKING:
    from .server import Server

Fields = dict[str, object]


def replication_fields(server: Server) -> Fields:
    """replication_fields(server) -> the section `replication`."""
    replication, config = server.replication, server.config
    primary, identity = replication.primary, replication.identity
    fields: Fields = {"role": "slave" if replication.is_replica else "master"}
    if replication.link is not None:
        fields |= _link_fields(server, replication.link)
    fields["connected_slaves"] = len(primary.links)
    if config.min_replicas_to_write and config.min_replicas_max_lag:
        fields["min_slaves_good_slaves"] = primary.good_replicas()
    shown = 0
    for link in primary.links.values():
        if link.state is None:
            continue
        host, port = link.address
        lag = max(0, server.clock.now_ms - link.ack_time_ms) // 1000 if link.in_sync else 0
        fields[f"slave{shown}"] = f"ip={host},port={port},state={link.state.shown},offset={link.ack_offset},lag={lag}"
        shown += 1
    backlog = primary.backlog
    return fields | {
        "master_failover_state": "no-failover",
        "master_replid": identity.replid,
        "master_replid2": identity.replid2,
        "master_repl_offset": replication.offset,
        "second_repl_offset": identity.second_offset,
        "repl_backlog_active": int(backlog is not None),
        "repl_backlog_size": config.repl_backlog_size,
        "repl_backlog_first_byte_offset": backlog.start if backlog is not None else 0,
        "repl_backlog_histlen": len(backlog) if backlog is not None else 0,
    }


def _link_fields(server: Server, link: PrimaryLink) -> Fields:
    """What a replica tells about its primary."""
    config, now_ms = server.config, server.clock.now_ms
    up = link.state is LinkState.CONNECTED
    fields: Fields = {
        "master_host": link.host,
        "master_port": link.port,
        "master_link_status": "up" if up else "down",
        "master_last_io_seconds_ago": max(0, now_ms - link.last_io_ms) // 1000 if up else -1,
        "master_sync_in_progress": int(link.state is LinkState.TRANSFER),
        "slave_read_repl_offset": link.read_offset,
        "slave_repl_offset": server.replication.offset,
    }
    if link.transfer is not None:
        read, total = link.transfer.read_bytes, link.transfer.total_bytes
        fields |= {
            "master_sync_total_bytes": max(0, total),
            "master_sync_read_bytes": read,
            "master_sync_left_bytes": max(0, total - read),
            "master_sync_perc": f"{read * 100 / max(1, total) if total > 0 else 0:.2f}",
            "master_sync_last_io_seconds_ago": max(0, now_ms - link.last_io_ms) // 1000,
        }
    if not up:
        fields["master_link_down_since_seconds"] = max(0, now_ms - link.down_since_ms) // 1000
    return fields | {
        "slave_priority": config.replica_priority,
        "slave_read_only": int(config.replica_read_only),
        "replica_announced": int(config.replica_announced),
    }


def replication_stats(server: Server) -> Fields:
    """replication_stats(server) -> what replication counts, in the section `stats`."""
    primary = server.replication.primary
    return {
        "sync_full": primary.full_syncs,
        "sync_partial_ok": primary.partial_syncs,
        "sync_partial_err": primary.partial_refused,
    }


def replication_memory(server: Server) -> Fields:
    """replication_memory(server) -> what the backlog occupies, in the section `memory`."""
    backlog = server.replication.primary.backlog
    size = len(backlog) if backlog is not None else 0
    links = server.replication.primary.links.values()
    copied = sum(len(link.client.out) for link in links if link.in_sync)
    return {"mem_replication_backlog": size, "mem_total_replication_buffers": size + copied}


def replication_loading(server: Server) -> Fields:
    """replication_loading(server) -> in the section `persistence`, a full sync that is loaded as it comes in."""
    replication = server.replication
    link = replication.link
    if link is None or link.transfer is None or not (replication.loading or replication.async_loading):
        return {}
    transfer = link.transfer
    return {
        "loading": int(replication.loading),
        "async_loading": int(replication.async_loading),
        "loading_start_time": transfer.started_ms // 1000,
        "loading_total_bytes": max(0, transfer.total_bytes),
        "loading_loaded_bytes": transfer.read_bytes,
    }
