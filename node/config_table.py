"""The registry of redis.conf directives: name, kind, default, range and flags, in one place, by subject.

Law: names and defaults are Redis 7.2's, apart from OURS and cluster-node-timeout (2 s, not 15).
A directive that only tunes what this node has no use for is accepted and kept; one that would promise
what the node can't do (TLS, defragmentation) refuses to be switched on.
"""

from __future__ import annotations

import locale
import re
from collections.abc import Callable
from typing import Any

from .config_kinds import (
    INT_MAX,
    LONG_MAX,
    ULONG_MAX,
    Bool,
    ConfigError,
    Directive,
    Enum,
    Flags,
    Int,
    Memory,
    MemoryOrPercent,
    Octal,
    String,
    WordSet,
)
from .config_special import SPECIAL

IMMUTABLE, SENSITIVE, PROTECTED = Flags.IMMUTABLE, Flags.SENSITIVE, Flags.PROTECTED
HIDDEN, DENY_LOADING, MULTI_ARG, VOLATILE = Flags.HIDDEN, Flags.DENY_LOADING, Flags.MULTI_ARG, Flags.VOLATILE
INT_MIN, UINT_MAX, PORT_MAX = -INT_MAX - 1, (1 << 32) - 1, 65535
HOST_NAME_MAX = 256

CLUSTER_NODE_TIMEOUT_DEFAULT_MS = 2000
PROTECTED_ACTION = ("no", "yes", "local")
SIGNAL_ACTIONS = ("default", "save", "nosave", "now", "force")
LOG_LEVELS = ("debug", "verbose", "notice", "warning", "nothing")
EVICTION_POLICIES = (
    *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
    *("allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"),
)
_TITLE_FIELDS = ("title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file")


def _file_name(directive: str, noun: str, *, may_be_empty: bool = False) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not value and not may_be_empty:
            raise ConfigError(f"{directive} can't be empty")
        if "/" in value or "\\" in value:
            raise ConfigError(f"{directive} can't be a path, just a {noun}")

    return check


def _refused(value: Any, why: str) -> None:
    if value:
        raise ConfigError(why)


def _no_defragmentation(value: bool) -> None:
    _refused(value, "Active defragmentation cannot be enabled: this server has no allocator that supports it")


def _no_tls(value: Any) -> None:
    _refused(value, "TLS is not supported by this server")


def _one_signal_action(value: tuple[str, ...]) -> None:
    if "save" in value and "nosave" in value:
        raise ConfigError("shutdown options SAVE and NOSAVE can't be used simultaneously")


def _host_name(value: str) -> None:
    if len(value) >= HOST_NAME_MAX:
        raise ConfigError(f"Hostnames must be less than {HOST_NAME_MAX} characters")
    if not re.fullmatch(r"[A-Za-z0-9.-]*", value):
        raise ConfigError("Hostnames may only contain alphanumeric characters, hyphens or dots")


def _node_name(value: str) -> None:
    if set(value) & set("!#$%&()*+:;<>?@[]^{|}~"):
        raise ConfigError("Announced human node name contained invalid character")


def _title_template(value: str) -> None:
    without_fields = re.sub("|".join(rf"\{{{field}\}}" for field in _TITLE_FIELDS), "", value)
    if not value.strip() or "{" in without_fields or "}" in without_fields:
        raise ConfigError("template format is invalid or contains unknown variables")


def _locale_name(value: str) -> None:
    try:
        locale.setlocale(locale.LC_COLLATE, value)
    except locale.Error:
        raise ConfigError("Invalid locale name") from None


GENERAL: tuple[Directive, ...] = (
    Bool("daemonize", False, IMMUTABLE),
    Enum("supervised", "no", ("upstart", "systemd", "auto", "no"), IMMUTABLE),
    String("pidfile", "", IMMUTABLE),
    Enum("loglevel", "notice", LOG_LEVELS),
    String("logfile", "", IMMUTABLE, nullable=False),
    Bool("syslog-enabled", False, IMMUTABLE),
    String("syslog-ident", "redis", IMMUTABLE, nullable=False),
    Enum("syslog-facility", "local0", ("user", *(f"local{n}" for n in range(8))), IMMUTABLE),
    Bool("crash-log-enabled", True),
    Bool("crash-memcheck-enabled", True),
    Bool("use-exit-on-panic", False, HIDDEN),
    Bool("disable-thp", True, IMMUTABLE),
    Int("databases", 16, 1, INT_MAX, IMMUTABLE),
    Bool("always-show-logo", False, IMMUTABLE),
    Bool("set-proc-title", True, IMMUTABLE),
    String("proc-title-template", "{title} {listen-addr} {server-mode}", nullable=False, check=_title_template),
    String("locale-collate", "", nullable=False, check=_locale_name),
    String("ignore-warnings", "", nullable=False),
    Int("hz", 10, 0, INT_MAX),
    Bool("dynamic-hz", True),
    Bool("activerehashing", True),
    Int("active-expire-effort", 1, 1, 10),
    Int("watchdog-period", 0, 0, INT_MAX, HIDDEN),
    Int("shutdown-timeout", 10, 0, INT_MAX),
    WordSet("shutdown-on-sigint", (), SIGNAL_ACTIONS, MULTI_ARG, check=_one_signal_action),
    WordSet("shutdown-on-sigterm", (), SIGNAL_ACTIONS, MULTI_ARG, check=_one_signal_action),
    Int("io-threads", 1, 1, 128, IMMUTABLE),
    Bool("io-threads-do-reads", False, IMMUTABLE),
    *(String(f"{name}_cpulist", "", IMMUTABLE) for name in ("server", "bio", "aof_rewrite", "bgsave")),
    Enum("oom-score-adj", "no", ("no", "yes", "absolute"), synonyms={"relative": "yes"}),
    Enum("enable-protected-configs", "no", PROTECTED_ACTION, IMMUTABLE),
    Enum("enable-debug-command", "no", PROTECTED_ACTION, IMMUTABLE),
    Enum("enable-module-command", "no", PROTECTED_ACTION, IMMUTABLE),
)
NETWORK: tuple[Directive, ...] = (
    Int("port", 6379, 0, PORT_MAX),
    Int("tcp-backlog", 511, 0, INT_MAX, IMMUTABLE),
    Int("tcp-keepalive", 300, 0, INT_MAX),
    String("bind-source-addr", ""),
    String("unixsocket", "", IMMUTABLE),
    Octal("unixsocketperm", 0, 0, 0o777, IMMUTABLE),
    Int("socket-mark-id", 0, 0, UINT_MAX, IMMUTABLE),
    Bool("protected-mode", True),
    Int("timeout", 0, 0, INT_MAX),
    Int("maxclients", 10000, 1, UINT_MAX),
    MemoryOrPercent("maxmemory-clients", 0, -100, LONG_MAX),
    Memory("client-query-buffer-limit", 1 << 30, 1 << 20, LONG_MAX),
    Memory("proto-max-bulk-len", 512 << 20, 1 << 20, LONG_MAX),
    Int("tracking-table-max-keys", 1000000, 0, LONG_MAX),
)
TLS: tuple[Directive, ...] = (
    Int("tls-port", 0, 0, PORT_MAX, check=_no_tls),
    Bool("tls-cluster", False, check=_no_tls),
    Bool("tls-replication", False, check=_no_tls),
    Enum("tls-auth-clients", "yes", ("no", "yes", "optional")),
    Bool("tls-prefer-server-ciphers", False),
    Bool("tls-session-caching", True),
    Int("tls-session-cache-size", 20 << 10, 0, INT_MAX),
    Int("tls-session-cache-timeout", 300, 0, INT_MAX),
    *(String(f"tls-{name}", "", VOLATILE) for name in ("cert-file", "key-file", "client-cert-file", "client-key-file")),
    *(String(f"tls-{name}", "", VOLATILE) for name in ("dh-params-file", "ca-cert-file", "ca-cert-dir")),
    *(String(f"tls-{name}", "", SENSITIVE) for name in ("key-file-pass", "client-key-file-pass")),
    *(String(f"tls-{name}", "") for name in ("protocols", "ciphers", "ciphersuites")),
)
SECURITY: tuple[Directive, ...] = (
    String("requirepass", "", SENSITIVE),
    String("aclfile", "", IMMUTABLE, nullable=False),
    Enum("acl-pubsub-default", "resetchannels", ("allchannels", "resetchannels")),
    Int("acllog-max-len", 128, 0, LONG_MAX),
)
MEMORY: tuple[Directive, ...] = (
    Memory("maxmemory", 0, 0, ULONG_MAX),
    Enum("maxmemory-policy", "noeviction", EVICTION_POLICIES),
    Int("maxmemory-samples", 5, 1, INT_MAX),
    Int("maxmemory-eviction-tenacity", 10, 0, 100),
    Int("lfu-log-factor", 10, 0, INT_MAX),
    Int("lfu-decay-time", 1, 0, INT_MAX),
    *(Bool(f"lazyfree-lazy-{name}", False) for name in ("eviction", "expire", "server-del", "user-del", "user-flush")),
    Bool("jemalloc-bg-thread", True),
    Bool("activedefrag", False, check=_no_defragmentation),
    Memory("active-defrag-ignore-bytes", 100 << 20, 1, LONG_MAX),
    Int("active-defrag-threshold-lower", 10, 0, 1000),
    Int("active-defrag-threshold-upper", 100, 0, 1000),
    Int("active-defrag-cycle-min", 1, 1, 99),
    Int("active-defrag-cycle-max", 25, 1, 99),
    Int("active-defrag-max-scan-fields", 1000, 1, LONG_MAX),
)
PERSISTENCE: tuple[Directive, ...] = (
    String(
        "dbfilename",
        "dump.rdb",
        PROTECTED,
        nullable=False,
        check=_file_name("dbfilename", "filename", may_be_empty=True),
    ),
    Bool("rdbchecksum", True, IMMUTABLE),
    Bool("rdbcompression", True),
    Bool("rdb-del-sync-files", False),
    Bool("rdb-save-incremental-fsync", True),
    Int("rdb-key-save-delay", 0, INT_MIN, INT_MAX, HIDDEN),
    Int("key-load-delay", 0, INT_MIN, INT_MAX, HIDDEN),
    Int("loading-process-events-interval-bytes", 2 << 20, 1024, INT_MAX, HIDDEN),
    Bool("stop-writes-on-bgsave-error", True),
    Enum("sanitize-dump-payload", "no", ("no", "yes", "clients")),
    Bool("appendonly", False, DENY_LOADING),
    String(
        "appendfilename",
        "appendonly.aof",
        IMMUTABLE,
        nullable=False,
        check=_file_name("appendfilename", "filename"),
    ),
    String(
        "appenddirname",
        "appendonlydir",
        IMMUTABLE,
        nullable=False,
        check=_file_name("appenddirname", "dirname"),
    ),
    Enum("appendfsync", "everysec", ("everysec", "always", "no")),
    Bool("no-appendfsync-on-rewrite", False),
    Int("auto-aof-rewrite-percentage", 100, 0, INT_MAX),
    Memory("auto-aof-rewrite-min-size", 64 << 20, 0, LONG_MAX),
    Bool("aof-load-truncated", True),
    Bool("aof-use-rdb-preamble", True),
    Bool("aof-timestamp-enabled", False),
    Bool("aof-rewrite-incremental-fsync", True),
    Bool("aof-disable-auto-gc", False, HIDDEN),
)
REPLICATION: tuple[Directive, ...] = (
    String("masterauth", "", SENSITIVE),
    String("masteruser", "", SENSITIVE),
    Bool("replica-serve-stale-data", True, alias="slave-serve-stale-data"),
    Bool("replica-read-only", True, alias="slave-read-only"),
    Bool("replica-lazy-flush", False, alias="slave-lazy-flush"),
    Bool("replica-ignore-maxmemory", True, alias="slave-ignore-maxmemory"),
    Bool("replica-ignore-disk-write-errors", False),
    Bool("replica-announced", True),
    String("replica-announce-ip", "", alias="slave-announce-ip"),
    Int("replica-announce-port", 0, 0, PORT_MAX, alias="slave-announce-port"),
    Int("replica-priority", 100, 0, INT_MAX, alias="slave-priority"),
    Bool("repl-diskless-sync", True),
    Int("repl-diskless-sync-delay", 5, 0, INT_MAX),
    Int("repl-diskless-sync-max-replicas", 0, 0, INT_MAX),
    Enum("repl-diskless-load", "disabled", ("disabled", "on-empty-db", "swapdb"), DENY_LOADING),
    Bool("repl-disable-tcp-nodelay", False),
    Memory("repl-backlog-size", 1 << 20, 1, LONG_MAX),
    Int("repl-backlog-ttl", 3600, 0, LONG_MAX),
    Int("repl-timeout", 60, 1, INT_MAX),
    Int("repl-ping-replica-period", 10, 1, INT_MAX, alias="repl-ping-slave-period"),
    Int("min-replicas-to-write", 0, 0, INT_MAX, alias="min-slaves-to-write"),
    Int("min-replicas-max-lag", 10, 0, INT_MAX, alias="min-slaves-max-lag"),
    Enum("propagation-error-behavior", "ignore", ("ignore", "panic", "panic-on-replicas")),
)
CLUSTER: tuple[Directive, ...] = (
    Bool("cluster-enabled", False, IMMUTABLE),
    String("cluster-config-file", "nodes.conf", IMMUTABLE, nullable=False),
    Int("cluster-node-timeout", CLUSTER_NODE_TIMEOUT_DEFAULT_MS, 0, LONG_MAX),
    Int("cluster-ping-interval", 0, 0, LONG_MAX, HIDDEN),
    Int("cluster-port", 0, 0, PORT_MAX, IMMUTABLE),
    String("cluster-announce-ip", ""),
    Int("cluster-announce-port", 0, 0, PORT_MAX),
    Int("cluster-announce-bus-port", 0, 0, PORT_MAX),
    Int("cluster-announce-tls-port", 0, 0, PORT_MAX),
    String("cluster-announce-hostname", "", check=_host_name),
    String("cluster-announce-human-nodename", "", check=_node_name),
    Enum("cluster-preferred-endpoint-type", "ip", ("ip", "hostname", "unknown-endpoint")),
    Bool("cluster-require-full-coverage", True),
    Bool("cluster-allow-reads-when-down", False),
    Bool("cluster-allow-pubsubshard-when-down", True),
    Bool("cluster-allow-replica-migration", True),
    Int("cluster-migration-barrier", 1, 0, INT_MAX),
    Bool("cluster-replica-no-failover", False, alias="cluster-slave-no-failover"),
    Int("cluster-replica-validity-factor", 10, 0, INT_MAX, alias="cluster-slave-validity-factor"),
    Memory("cluster-link-sendbuf-limit", 0, 0, ULONG_MAX),
)
OURS: tuple[Directive, ...] = (
    # Hidden from CONFIG GET *: tools that carry one server's configuration to another mustn't meet them.
    String("cluster-secret", "", SENSITIVE | IMMUTABLE | HIDDEN),
    # Volatile, so that setting it to the same path reads the file again.
    String("cluster-secret-file", "", VOLATILE | HIDDEN),
    Bool("cluster-witness", False, IMMUTABLE | HIDDEN),
    Enum("cluster-voters", "members", ("members", "primaries"), IMMUTABLE | HIDDEN),
)
ENCODINGS: tuple[Directive, ...] = (
    Int("hash-max-listpack-entries", 512, 0, LONG_MAX, alias="hash-max-ziplist-entries"),
    Memory("hash-max-listpack-value", 64, 0, LONG_MAX, alias="hash-max-ziplist-value"),
    Int("list-max-listpack-size", -2, INT_MIN, INT_MAX, alias="list-max-ziplist-size"),
    Int("list-compress-depth", 0, 0, INT_MAX),
    Int("set-max-intset-entries", 512, 0, LONG_MAX),
    Int("set-max-listpack-entries", 128, 0, LONG_MAX),
    Int("set-max-listpack-value", 64, 0, LONG_MAX),
    Int("zset-max-listpack-entries", 128, 0, LONG_MAX, alias="zset-max-ziplist-entries"),
    Memory("zset-max-listpack-value", 64, 0, LONG_MAX, alias="zset-max-ziplist-value"),
    Memory("hll-sparse-max-bytes", 3000, 0, LONG_MAX),
    Memory("stream-node-max-bytes", 4096, 0, LONG_MAX),
    Int("stream-node-max-entries", 100, 0, LONG_MAX),
)
OBSERVABILITY: tuple[Directive, ...] = (
    Int("slowlog-log-slower-than", 10000, -1, LONG_MAX),
    Int("slowlog-max-len", 128, 0, LONG_MAX),
    Int("latency-monitor-threshold", 0, 0, LONG_MAX),
    Bool("latency-tracking", True),
    Int("busy-reply-threshold", 5000, 0, LONG_MAX, alias="lua-time-limit"),
)

DIRECTIVES: tuple[Directive, ...] = (
    *(*GENERAL, *NETWORK, *TLS, *SECURITY, *MEMORY, *PERSISTENCE, *REPLICATION),
    *(*CLUSTER, *OURS, *ENCODINGS, *OBSERVABILITY, *SPECIAL),
)
DEPRECATED = ("list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands")
"""Accepted in a config file with one argument, and ignored, as Redis does."""


def by_name() -> dict[str, Directive]:
    """by_name() -> the directive for each name and alias, in table order."""
    table: dict[str, Directive] = {}
    for directive in DIRECTIVES:
        for name in filter(None, (directive.name, directive.alias)):
            assert name not in table, f"{name} is registered twice"
            table[name] = directive
    return table
