"""Log lines in Redis's format, where the configuration wants them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyredis_cluster.node.config import Config
from pyredis_cluster.node.logging import PRIMARY, REPLICA, VERBOSE, configure_logging, set_role

log = logging.getLogger("pyredis")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    set_role(PRIMARY)
    yield
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    log.handlers[:] = handlers
    log.setLevel(level)
    log.propagate = propagate
    set_role(PRIMARY)


def test_a_line_has_pid_role_time_and_level(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    configure_logging(Config(logfile=str(path), loglevel="debug"))
    log.debug("a")
    log.log(VERBOSE, "b")
    log.info("c %d", 3)
    set_role(REPLICA)
    log.warning("d")
    lines = path.read_text().splitlines()
    form = r"(\d+):([MSC]) \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} ([.*#-]) (.*)"
    matches = [re.fullmatch(form, line) for line in lines]
    pid = str(os.getpid())
    assert [match.groups() for match in matches if match] == [
        (pid, "M", ".", "a"),
        (pid, "M", "-", "b"),
        (pid, "M", "*", "c 3"),
        (pid, "S", "#", "d"),
    ]


def test_loglevel_is_obeyed_and_may_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    config = Config(logfile=str(path), loglevel="warning")
    configure_logging(config)
    log.info("unseen")
    config.set({"loglevel": "notice"})
    log.info("seen")
    config.set({"loglevel": "nothing"})
    log.critical("unseen")
    assert [line.rsplit(" ", 1)[1] for line in path.read_text().splitlines()] == ["seen"]


def test_a_log_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    configure_logging(Config(logfile=str(path)))
    log.warning("one")
    path.rename(tmp_path / "node.log.1")
    log.warning("two")
    assert path.read_text().endswith("two\n")


def test_without_a_log_file_lines_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Config())
    log.warning("hello")
    assert capsys.readouterr().out.endswith("# hello\n")
