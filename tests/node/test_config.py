"""Configuration: files, the command line, CONFIG GET and SET over the registry."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from pyredis_cluster.node.config import Config, ConfigFileError
from pyredis_cluster.node.config_kinds import BufferLimit, ConfigError, Flags
from pyredis_cluster.node.config_rewrite import rewrite
from pyredis_cluster.node.config_table import DIRECTIVES
from pyredis_cluster.node.errors import CommandError


def loaded(tmp_path: Path, text: str, *args: str) -> Config:
    """A configuration from a file with that text and the arguments after it."""
    path = tmp_path / "redis.conf"
    path.write_text(text)
    config = Config()
    config.load_args([str(path), *args])
    return config


def refused(config: Config, **values: str) -> str:
    with pytest.raises(CommandError) as caught:
        config.set({name.replace("_", "-"): value for name, value in values.items()})
    return caught.value.message


def test_defaults_are_typed() -> None:
    config = Config()
    assert config.port == 6379
    assert config.appendonly is False
    assert config.save == ((3600, 1), (300, 100), (60, 10000))
    assert config.bind == ("*", "-::*")
    assert config.client_output_buffer_limit["replica"] == BufferLimit(256 << 20, 64 << 20, 60)
    assert config.cluster_node_timeout == 2000


def test_each_default_is_shown_and_read_back() -> None:
    config = Config()
    for directive in DIRECTIVES:
        if directive.name == "dir":
            continue
        value = directive.default
        text = directive.text(value)
        args = text.split(" ") if directive.takes_many else [text]
        if directive.name == "replicaof":
            continue
        assert directive.parse(args, value) == value, directive.name
        assert config.text(directive.name) == text


def test_a_file_is_read_with_comments_quotes_units_and_aliases(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        """# a comment
        port 7000
        maxmemory 100mb
        requirepass "a \\"b\\" c"
        slave-read-only no
        unixsocketperm 770
        maxmemory-clients 5%
        PORT 7001
        """,
    )
    assert (config.port, config.maxmemory, config.requirepass) == (7001, 100 << 20, 'a "b" c')
    assert config.replica_read_only is False
    assert config.unixsocketperm == 0o770
    assert config.maxmemory_clients == -5


def test_arguments_win_over_the_file(tmp_path: Path) -> None:
    config = loaded(tmp_path, "port 7000\ntimeout 5\n", "--port", "7001", "--bind", "127.0.0.1", "::1")
    assert (config.port, config.timeout, config.bind) == (7001, 5, ("127.0.0.1", "::1"))


def test_several_arguments_may_come_as_one() -> None:
    config = Config()
    config.load_args(["--client-output-buffer-limit", "pubsub 1mb 2mb 3", "--port 7002"])
    assert config.client_output_buffer_limit["pubsub"] == BufferLimit(1 << 20, 2 << 20, 3)
    assert config.port == 7002


@pytest.mark.parametrize("args", [["--save", ""], ["--save"], ["--save", "--port", "7000"]])
def test_an_empty_save_switches_the_save_points_off(args: list[str]) -> None:
    config = Config()
    config.load_args(args)
    assert config.save == ()


def test_save_lines_of_a_file_add_up(tmp_path: Path) -> None:
    assert loaded(tmp_path, "save 60 1\nsave 10 2\n").save == ((60, 1), (10, 2))


def test_standard_input_comes_between_file_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"port 7003\ntimeout 9")))
    config = Config()
    config.load_args(["-", "--port", "7004"])
    assert (config.port, config.timeout) == (7004, 9)


def test_included_files_are_read_in_place(tmp_path: Path) -> None:
    (tmp_path / "inner.conf").write_text("timeout 7\n")
    config = loaded(tmp_path, f"timeout 1\ninclude {tmp_path}/inner.conf\ninclude {tmp_path}/none-*.conf\n")
    assert config.timeout == 7


def test_a_file_that_includes_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="nested too deeply"):
        loaded(tmp_path, f"include {tmp_path}/redis.conf\n")


def test_an_unknown_directive_is_refused_by_name_and_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError) as caught:
        loaded(tmp_path, "port 7000\nno-such-thing 1\n")
    assert str(caught.value) == (
        "\n*** FATAL CONFIG FILE ERROR (Redis 7.2.4) ***\nReading the configuration file, at line 2\n"
        ">>> 'no-such-thing 1'\nBad directive or wrong number of arguments\n"
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("port x", "argument couldn't be parsed into an integer"),
        ("port 70000", "argument must be between 0 and 65535 inclusive"),
        ("port 1 2", "wrong number of arguments"),
        ("appendonly maybe", "argument must be 'yes' or 'no'"),
        ("maxmemory -1", "argument must be a memory value"),
        ("unixsocketperm 999", "argument couldn't be parsed as an octal number"),
        ("unixsocketperm 1777", "argument must be between 0 and 777 inclusive"),
        ("maxmemory-clients 101%", "percentage argument must be less or equal to 100"),
        ("save 1", "Invalid save parameters"),
        ("appendfsync often", "argument(s) must be one of the following: everysec, always, no"),
        ('requirepass "x', "Unbalanced quotes in configuration line"),
        ("dbfilename a/b", "dbfilename can't be a path, just a filename"),
        (
            "client-output-buffer-limit master 1 1 1",
            "Invalid client class specified in buffer limit configuration.",
        ),
        ("shutdown-on-sigterm save nosave", "shutdown options SAVE and NOSAVE can't be used simultaneously"),
        ("tls-port 6380", "TLS is not supported by this server"),
        ("notify-keyspace-events Q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
    ],
)
def test_a_bad_value_is_refused_in_redis_words(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(ConfigFileError) as caught:
        loaded(tmp_path, line)
    assert reason in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="can't open config file"):
        Config().load_args([str(tmp_path / "none.conf")])


def test_cluster_mode_has_one_database_and_no_replicaof(tmp_path: Path) -> None:
    assert loaded(tmp_path, "cluster-enabled yes\ndatabases 16\n").databases == 1
    with pytest.raises(ConfigFileError, match="replicaof directive not allowed in cluster mode"):
        loaded(tmp_path, "cluster-enabled yes\nreplicaof 127.0.0.1 7000\n")


def test_dir_changes_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    config = Config()
    config.set({"dir": "data"})
    assert os.getcwd() == config.dir == config.get("dir")["dir"] == str(tmp_path / "data")
    assert "No such file or directory" in refused(config, dir="none")


def test_get_matches_patterns_and_aliases_but_no_hidden_names() -> None:
    config = Config()
    assert set(config.get("slave-*")) == {name for name in config.table if name.startswith("slave-")}
    assert config.get("PORT") == {"PORT": "6379"}
    assert config.get("no-such-thing") == {}
    hidden = {directive.name for directive in DIRECTIVES if Flags.HIDDEN in directive.flags}
    assert hidden
    assert not hidden & set(config.get("*"))
    assert config.get("cluster-secret") == {"cluster-secret": ""}


def test_set_changes_all_or_none() -> None:
    config = Config()
    config.set({"maxmemory": "1gb", "hz": "20"})
    assert (config.maxmemory, config.hz) == (1 << 30, 20)
    text = refused(config, maxmemory="2gb", hz="x")
    assert text == (
        "CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer"
    )
    assert (config.maxmemory, config.hz) == (1 << 30, 20)


def test_set_refuses_what_it_must() -> None:
    config = Config()
    assert refused(config, nothing="1") == "Unknown option or number of arguments for CONFIG SET - 'nothing'"
    assert refused(config, databases="1").endswith("can't set immutable config")
    with pytest.raises(CommandError, match="can't set protected config"):
        config.set({"dir": "/"}, protected=False)
    with pytest.raises(CommandError, match="LOADING"):
        config.set({"appendonly": "yes"}, loading=True)
    with pytest.raises(CommandError, match="duplicate parameter"):
        config.set_pairs(["hz", "1", "hz", "2"])
    with pytest.raises(CommandError, match="duplicate parameter"):
        config.set({"slave-priority": "1", "replica-priority": "2"})


def test_listeners_hear_of_changes_and_may_refuse_them() -> None:
    config = Config()
    heard: list[int] = []

    def listener() -> None:
        heard.append(config.port)
        if config.port == 1:
            raise ConfigError("Unable to listen on this port.")

    config.on_change("port", listener)
    config.on_change("bind", listener)
    config.set({"port": "6379"})
    assert heard == []
    config.set({"port": "7000", "bind": "127.0.0.1"})
    assert heard == [7000]
    text = refused(config, maxmemory="1mb", port="1")
    assert text == "CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port."
    assert (config.port, config.maxmemory) == (7000, 0)
    assert heard == [7000, 1, 7000]


def test_hz_is_kept_in_its_range() -> None:
    config = Config()
    config.set({"hz": "10000"})
    assert config.hz == 500


def test_rewrite_keeps_comments_order_and_includes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner.conf").write_text("")
    config = loaded(
        tmp_path,
        "# the port\nport 7000\n\n\n\nsave 60 1\nsave 10 2\n"
        f"include {tmp_path}/inner.conf\nslave-priority 5\ndir {tmp_path}\n",
    )
    config.set({"save": "30 3", "maxmemory": "1gb", "port": "7001", "requirepass": 'a "b"'})
    assert config.path is not None
    rewrite(config, config.path)
    lines = config.path.read_text().split("\n")
    assert lines[:3] == ["# the port", "port 7001", ""]
    assert lines[3] == "save 30 3"
    assert f"include {tmp_path}/inner.conf" in lines
    assert "replica-priority 5" in lines
    assert "save 10 2" not in lines
    generated = lines[lines.index("# Generated by CONFIG REWRITE") :]
    assert "maxmemory 1gb" in generated
    assert 'requirepass "a \\"b\\""' in generated
    assert config.path.stat().st_mode & 0o777 == 0o644 & ~_umask()
    again = Config()
    again.load_file(config.path)
    assert again.get("*") == config.get("*")


def test_rewriting_everything_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = loaded(tmp_path, "# empty\n")
    assert config.path is not None
    rewrite(config, config.path, everything=True)
    again = Config()
    again.load_file(config.path)
    assert again.get("*") == config.get("*")


def test_rewrite_makes_comments_of_lines_that_nobody_understands(tmp_path: Path) -> None:
    config = loaded(tmp_path, "port 7000\n")
    assert config.path is not None
    config.path.write_text('port 7000\nmodule-thing 1\nrequirepass "x\n')
    rewrite(config, config.path)
    text = config.path.read_text()
    assert "# ??? module-thing 1\n" in text
    assert '# ??? requirepass "x\n' in text


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
