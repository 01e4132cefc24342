"""SHUTDOWN waits for replicas, within shutdown-timeout, and can be aborted."""

from __future__ import annotations

from typing import Any

import pytest
from pyredis_cluster.node.shutdown import Options, Shutdown


@pytest.fixture
def lagging(node: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A node whose replicas lag until `node.caught_up` is True."""
    node.caught_up = False
    monkeypatch.setattr(Shutdown, "_replicas_have_all", lambda self: node.caught_up)
    return node


def ended(node: Any) -> bool:
    return bool(node.server._stop.is_set())


def cron(node: Any) -> None:
    node.server.shutdown._check()


def test_options_come_from_words() -> None:
    assert Options.of(("nosave", "now")) == Options(save=False, now=True)
    assert Options.of(("save", "force")) == Options(save=True, force=True)
    assert Options.of(()) == Options()


def test_it_ends_when_the_replicas_have_all(lagging: Any) -> None:
    client = lagging.connect()
    assert lagging.run(b"SHUTDOWN", b"NOSAVE", client=client) == b""
    cron(lagging)
    assert not ended(lagging)
    lagging.caught_up = True
    cron(lagging)
    assert ended(lagging)


def test_writes_wait_meanwhile(lagging: Any) -> None:
    lagging.run(b"SHUTDOWN", b"NOSAVE", client=lagging.connect())
    assert lagging.run(b"SET", b"k", b"v") == b""
    assert lagging.client.parked is not None


def test_it_ends_at_the_timeout(lagging: Any) -> None:
    lagging.run(b"SHUTDOWN", b"NOSAVE", client=lagging.connect())
    lagging.advance(lagging.server.config.shutdown_timeout * 1000)
    cron(lagging)
    assert ended(lagging)


def test_now_waits_for_nobody(lagging: Any) -> None:
    lagging.run(b"SHUTDOWN", b"NOSAVE", b"NOW")
    assert ended(lagging)


def test_abort_lets_the_node_go_on(lagging: Any) -> None:
    client = lagging.connect()
    lagging.run(b"SHUTDOWN", b"NOSAVE", client=client)
    assert lagging.run(b"SHUTDOWN", b"ABORT") == b"+OK\r\n"
    assert bytes(client.out) == b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n"
    assert lagging.run(b"SET", b"k", b"v") == b"+OK\r\n"
    cron(lagging)
    assert not ended(lagging)


def test_a_save_that_fails_after_the_wait_tells_the_client(
    lagging: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = lagging.connect()
    lagging.run(b"SHUTDOWN", client=client)
    monkeypatch.setattr(lagging.server.persistence, "prepare_shutdown", lambda save: False)
    lagging.caught_up = True
    cron(lagging)
    assert not ended(lagging)
    assert bytes(client.out) == b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n"
