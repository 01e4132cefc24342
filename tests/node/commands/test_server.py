"""INFO, CONFIG, COMMAND, TIME, SHUTDOWN, MEMORY and FUNCTION."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def info(node: Any, *sections: str) -> dict[str, str]:
    text = node.ask("INFO", *sections).decode()
    lines = [line for line in text.split("\r\n") if line and not line.startswith("#")]
    return dict(line.split(":", 1) for line in lines)


def sections(node: Any, *names: str) -> list[str]:
    return [line[2:] for line in node.ask("INFO", *names).decode().split("\r\n") if line.startswith("# ")]


DEFAULT = [
    *("Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules", "Errorstats"),
    *("Cluster", "Keyspace"),
]


def test_info_without_arguments_shows_the_default_sections(node: Any) -> None:
    assert sections(node) == DEFAULT
    assert sections(node, "default") == DEFAULT


def test_info_shows_the_sections_asked_for(node: Any) -> None:
    assert sections(node, "MEMORY", "cpu", "memory") == ["Memory", "CPU"]
    assert sections(node, "nothing") == []
    assert sections(node, "commandstats", "default") == [*DEFAULT[:8], "Commandstats", *DEFAULT[8:]]
    assert set(sections(node, "all")) == {*DEFAULT, "Commandstats", "Latencystats"}
    assert sections(node, "everything") == sections(node, "all")


def test_info_keyspace_names_only_databases_with_keys(node: Any) -> None:
    assert info(node, "keyspace") == {}
    node.ask("SET", "a", 1)
    node.ask("SET", "b", 1, "PX", 1000)
    node.ask("SELECT", 2)
    node.ask("SET", "c", 1)
    assert info(node, "keyspace") == {
        "db0": "keys=2,expires=1,avg_ttl=1000",
        "db2": "keys=1,expires=0,avg_ttl=0",
    }


def test_info_counts_hits_commands_and_errors(node: Any) -> None:
    node.ask("CONFIG", "RESETSTAT")
    node.ask("SET", "a", 1)
    node.ask("GET", "a")
    node.ask("GET", "none")
    node.error("INCR", "a", "b")
    node.ask("LPUSH", "list", "x")
    node.error("GET", "list")
    stats = info(node, "stats")
    assert (stats["keyspace_hits"], stats["keyspace_misses"]) == ("2", "1")
    assert stats["total_error_replies"] == "2"
    assert info(node, "errorstats") == {"errorstat_ERR": "count=1", "errorstat_WRONGTYPE": "count=1"}
    commands = info(node, "commandstats")
    assert commands["cmdstat_get"].startswith("calls=3,")
    assert commands["cmdstat_get"].endswith("rejected_calls=0,failed_calls=1")
    assert commands["cmdstat_incr"].endswith("rejected_calls=1,failed_calls=0")


def test_resetstat_sets_the_counters_to_zero(node: Any) -> None:
    node.ask("GET", "none")
    node.error("GET")
    assert node.run(b"CONFIG", b"RESETSTAT") == b"+OK\r\n"
    assert info(node, "stats")["keyspace_misses"] == "0"
    assert info(node, "errorstats") == {}
    assert set(info(node, "commandstats")) <= {"cmdstat_info", "cmdstat_config|resetstat"}


def test_info_tells_the_process_and_its_memory(node: Any) -> None:
    facts = info(node)
    assert facts["redis_version"] == "7.2.4"
    assert facts["redis_mode"] == "standalone"
    assert int(facts["used_memory"]) > 1 << 20
    assert int(facts["used_memory_peak"]) >= int(facts["used_memory"])
    assert int(facts["used_memory_rss"]) >= int(facts["used_memory"])
    assert facts["role"] == "master"
    assert facts["cluster_enabled"] == "0"


def test_rates_follow_the_counters(node: Any) -> None:
    server = node.server
    for _ in range(32):
        server.dispatcher.commands_processed += 50
        node.advance(100)
        server.info._sample()
    assert 400 <= int(info(node, "stats")["instantaneous_ops_per_sec"]) <= 600


def test_config_get_and_set(node: Any) -> None:
    assert node.run(b"CONFIG", b"SET", b"maxmemory", b"10mb", b"timeout", b"5") == b"+OK\r\n"
    assert node.ask("CONFIG", "GET", "maxmemory", "time*") == [b"maxmemory", b"10485760", b"timeout", b"5"]
    assert node.error("CONFIG", "SET", "nothing", "1").startswith("ERR Unknown option or number of arguments")
    assert node.error("CONFIG", "SET", "timeout", "1", "port") == "ERR syntax error"
    assert node.error("CONFIG", "SET", "dir", "/").endswith("can't set protected config")


def test_config_rewrite_needs_a_file_and_writes_it(node: Any, tmp_path: Path) -> None:
    assert node.error("CONFIG", "REWRITE") == "ERR The server is running without a config file"
    node.server.config.path = tmp_path / "redis.conf"
    node.ask("CONFIG", "SET", "timeout", "7")
    assert node.run(b"CONFIG", b"REWRITE") == b"+OK\r\n"
    assert "timeout 7\n" in (tmp_path / "redis.conf").read_text()


def test_command_counts_and_lists_itself(node: Any) -> None:
    entries = node.ask("COMMAND")
    assert node.ask("COMMAND", "COUNT") == len(entries) == len({entry[0] for entry in entries})
    names = node.ask("COMMAND", "LIST")
    assert {b"get", b"config", b"config|get"} <= set(names)
    assert node.ask("COMMAND", "LIST", "FILTERBY", "PATTERN", "config|g*") == [b"config|get"]
    assert b"zadd" in node.ask("COMMAND", "LIST", "FILTERBY", "ACLCAT", "sortedset")
    assert node.ask("COMMAND", "LIST", "FILTERBY", "ACLCAT", "none") == []
    assert node.ask("COMMAND", "LIST", "FILTERBY", "MODULE", "none") == []
    assert node.error("COMMAND", "LIST", "FILTERBY", "X", "y") == "ERR syntax error"


def test_command_info_has_ten_fields(node: Any) -> None:
    (get, none, sub) = node.ask("COMMAND", "INFO", "GET", "none", "config|get")
    assert none is None
    assert get[:6] == [b"get", 2, [b"readonly", b"fast"], 1, 1, 1]
    assert get[6] == [b"@read", b"@string", b"@fast"]
    assert len(get) == 10
    assert sub[0] == b"config|get"


def test_command_getkeys_finds_the_keys(node: Any) -> None:
    assert node.ask("COMMAND", "GETKEYS", "MSET", "a", 1, "b", 2) == [b"a", b"b"]
    assert node.ask("COMMAND", "GETKEYS", "ZUNIONSTORE", "d", 2, "a", "b") == [b"d", b"a", b"b"]
    assert node.ask("COMMAND", "GETKEYSANDFLAGS", "LMOVE", "a", "b", "left", "right") == [
        [b"a", [b"RW", b"access", b"delete"]],
        [b"b", [b"RW", b"insert"]],
    ]
    assert node.error("COMMAND", "GETKEYS", "NONE") == "ERR Invalid command specified"
    assert node.error("COMMAND", "GETKEYS", "PING") == "ERR The command has no key arguments"
    assert node.error("COMMAND", "GETKEYS", "GET") == "ERR Invalid number of arguments specified for command"
    text = "ERR Invalid arguments specified for command"
    assert node.error("COMMAND", "GETKEYS", "ZUNIONSTORE", "d", "x", "a") == text


def test_command_docs_describe_a_command(node: Any) -> None:
    node.ask("HELLO", 3)
    docs = node.ask("COMMAND", "DOCS", "GET", "none")
    assert set(docs) == {b"get"}
    assert docs[b"get"][b"group"] == b"string"
    assert docs[b"get"][b"arguments"] == [
        {b"name": b"key", b"type": b"key", b"display_text": b"key", b"key_spec_index": 0}
    ]
    assert len(node.ask("COMMAND", "DOCS")) == node.ask("COMMAND", "COUNT")


def test_time_is_seconds_and_microseconds(node: Any) -> None:
    seconds, microseconds = node.ask("TIME")
    assert int(seconds) > 1_700_000_000
    assert 0 <= int(microseconds) < 1_000_000


@pytest.mark.parametrize("words", [("x",), ("SAVE", "NOSAVE"), ("ABORT", "NOW")])
def test_shutdown_refuses_words_that_dont_go_together(node: Any, words: tuple[str, ...]) -> None:
    assert node.error("SHUTDOWN", *words) == "ERR syntax error"


def test_shutdown_stops_the_node(node: Any) -> None:
    assert node.error("SHUTDOWN", "ABORT") == "ERR No shutdown in progress."
    assert node.run(b"SHUTDOWN", b"NOSAVE") == b""
    assert node.server._stop.is_set()


def test_shutdown_that_cannot_save_is_refused_unless_forced(
    node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.server.persistence, "prepare_shutdown", lambda save: False)
    assert node.error("SHUTDOWN") == "ERR Errors trying to SHUTDOWN. Check logs."
    assert not node.server._stop.is_set()
    assert node.run(b"SHUTDOWN", b"FORCE") == b""
    assert node.server._stop.is_set()


def test_memory_usage_grows_with_the_value(node: Any) -> None:
    assert node.ask("MEMORY", "USAGE", "none") is None
    node.ask("SET", "small", "x")
    node.ask("SET", "large", "x" * 10000)
    small, large = node.ask("MEMORY", "USAGE", "small"), node.ask("MEMORY", "USAGE", "large")
    assert large - small == 9999
    node.ask("RPUSH", "list", *range(1000))
    node.ask("HSET", "hash", *range(1000))
    node.ask("SADD", "set", *range(1000))
    node.ask("ZADD", "zset", *range(1000))
    for key in ("list", "hash", "set", "zset"):
        assert node.ask("MEMORY", "USAGE", key, "SAMPLES", 0) > 10000
    assert node.error("MEMORY", "USAGE", "small", "SAMPLES", -1) == "ERR syntax error"
    assert node.error("MEMORY", "USAGE", "small", "SAMPLES") == "ERR syntax error"


def test_memory_stats_add_up(node: Any) -> None:
    flat = node.ask("MEMORY", "STATS")
    stats = dict(zip(flat[::2], flat[1::2], strict=True))
    assert stats[b"peak.allocated"] >= stats[b"total.allocated"] > 0
    assert stats[b"keys.count"] == 0


def test_a_node_without_functions_says_so(node: Any) -> None:
    payload = node.ask("FUNCTION", "DUMP")
    assert node.ask("FUNCTION", "LIST", "LIBRARYNAME", "*", "WITHCODE") == []
    assert node.run(b"FUNCTION", b"RESTORE", payload, b"APPEND") == b"+OK\r\n"
    assert node.ask("FUNCTION", "STATS") == [b"running_script", None, b"engines", []]
    assert node.run(b"FUNCTION", b"FLUSH") == b"+OK\r\n"
    assert node.error("FUNCTION", "DELETE", "x") == "ERR Library not found"
    assert (
        node.error("FUNCTION", "RESTORE", payload[:-1] + b"x")
        == "ERR DUMP payload version or checksum are wrong"
    )
    assert node.error("FUNCTION", "LIST", "x") == "ERR Unknown argument x"
    node.ask("SET", "k", "v")
    assert node.error("FUNCTION", "RESTORE", node.ask("DUMP", "k")) == "ERR given type is not a function"
    assert node.propagated() == [[b"SET", b"k", b"v"]]


@pytest.mark.parametrize("container", ["CLIENT", "CONFIG", "COMMAND", "MEMORY", "FUNCTION", "OBJECT"])
def test_containers_help(node: Any, container: str) -> None:
    assert node.ask(container, "HELP")[0].startswith(b"%b <subcommand>" % container.encode())
    assert node.error(container, "NOTHING") == f"ERR unknown subcommand 'NOTHING'. Try {container} HELP."
