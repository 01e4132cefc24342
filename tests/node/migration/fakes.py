"""A cluster of a few words, for a migration's two sides without sockets of a bus, and the other side as a script."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis
from pyredis_cluster.client.resp import encode_command
from pyredis_cluster.node.migration.export import SlotExport
from pyredis_cluster.node.migration.job import Job
from pyredis_cluster.node.parser import RequestParser
from pyredis_cluster.node.server import Server

ME, OTHER, THIRD = "a" * 40, "b" * 40, "c" * 40
CLAIM = b"$40\r\n" + OTHER.encode()
"""What the target answers to FINISH when it has claimed the slots: its record, which is its id here."""


class FakeBus:
    now = 0.0

    def now_ms(self) -> float:
        return self.now


class FakeCluster:
    """What the migration asks of `Cluster`: owners by slot, epochs as numbers, and a record of what was done."""

    my_id = ME

    def __init__(self) -> None:
        self.owners: dict[int, str] = {}
        self.unconfirmed: set[int] = set()
        """Slots whose new owner has not spoken for itself yet."""
        self.importing: set[int] = set()
        """Slots that are importing by CLUSTER SETSLOT, or by a restart."""
        self.up = True
        self.agreed = False
        self.epoch = 10
        self.done: list[str] = []
        self.bus = FakeBus()

    def give(self, slots: Iterable[int], owner: str) -> None:
        self.owners.update(dict.fromkeys(slots, owner))

    def serves_all(self, slots: Iterable[int]) -> bool:
        return self.owned_by(slots, ME)

    def owned_by(self, slots: Iterable[int], node_id: str) -> bool:
        return all(self.owners.get(slot) == node_id for slot in slots)

    def moved_by_hand(self, slots: Iterable[int]) -> bool:
        return False

    def stop_importing(self, slots: Iterable[int]) -> None:
        self.importing.difference_update(slots)

    def is_ours(self, slot: int) -> bool:
        return self.owners.get(slot) == ME or slot in self.importing

    def is_foreign(self, slot: int) -> bool:
        return slot in self.owners and not self.is_ours(slot) and slot not in self.unconfirmed

    def agreed_since(self, since_ms: float) -> bool:
        return self.agreed

    def may_hand_over(self) -> bool:
        return self.up

    def primary_address(self, node_id: str) -> tuple[str, int]:
        return "127.0.0.1", 1

    def reserve_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def heard_epoch(self, epoch: int) -> None:
        self.epoch = max(self.epoch, epoch)

    def highest_epoch_beside(self, reserved: int) -> int:
        return self.epoch

    def claim_slots(self, slots: Iterable[int], epoch: int) -> None:
        self.give(slots, ME)
        self.done.append(f"claim under {epoch}")

    def my_record(self) -> bytes:
        return ME.encode()

    def hear_claim(self, data: bytes, slots: Iterable[int], node_id: str) -> bool:
        if data != node_id.encode():
            return False
        self.give(slots, node_id)
        self.done.append("cede")
        return True

    def reclaim_slots(self) -> None:
        self.done.append("reclaim")


def with_cluster(node: Any) -> FakeCluster:
    """with_cluster(node) -> the fake cluster that the in-process node believes to be in."""
    cluster = FakeCluster()
    node.server._cluster = cluster
    return cluster


class ScriptedTarget:
    """The target of a `SlotExport`: a listening socket, what came in, and the answers that the test gives."""

    def __init__(self, server: Server, slots: Sequence[int]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        now_ms = server.clock.now_ms
        self.job = Job("j" * 40, True, tuple(slots), ME, OTHER, now_ms, now_ms)
        self.ended: list[SlotExport] = []
        self.export = SlotExport(server, server.migrations, self.job, self.listener.getsockname(), self.ended.append)
        self.export.start()
        self.sock, _ = self.listener.accept()
        self._parser = RequestParser(1 << 30)

    def received(self) -> list[list[bytes]]:
        """received() -> the commands that came since the last call."""
        self.export.on_writable()
        self.sock.setblocking(False)
        found: list[list[bytes]] = []
        try:
            while data := self.sock.recv(1 << 20):
                found += self._parser.feed(data)
        except BlockingIOError:
            pass
        self.sock.setblocking(True)
        return found

    def answer(self, *replies: bytes) -> None:
        """answer(b"+OK") -> the export has read that."""
        self.sock.sendall(b"".join(reply + b"\r\n" for reply in replies))
        self.export.on_readable()

    def answer_all(self) -> list[list[bytes]]:
        """answer_all() -> what came, answered with OK."""
        commands = self.received()
        if commands:
            self.answer(*[b"+OK"] * len(commands))
        return commands

    def until_finish(self) -> list[bytes]:
        """until_finish() -> the FINISH that is not answered yet; everything before it is."""
        while True:
            commands = self.received()
            if commands and commands[-1][:3] == [b"CLUSTER", b"SYNCSLOTS", b"FINISH"]:
                assert len(commands) == 1
                return commands[0]
            assert commands, "the export does not go on"
            self.answer(*[b"+OK"] * len(commands))

    def close(self) -> None:
        self.export.cancel()
        if not self.ended:
            self.export.fail("the test ends")
        self.sock.close()
        self.listener.close()


class ScriptedSource:
    """The source of a `SlotImport`: one end of a connection whose other end is a node's client."""

    def __init__(self, server: Server) -> None:
        from pyredis_cluster.node.connection import Connection

        self.sock, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.server = server
        self.connection = Connection(server, theirs, next(server.client_ids))
        server.accept(self.connection, b"test")
        self._reader = hiredis.Reader()

    def send(self, *commands: Sequence[bytes]) -> list[Any]:
        """send([b"SET", ...]) -> the replies that came at once."""
        self.sock.sendall(b"".join(encode_command(list(command)) for command in commands))
        handler = self.server.reactor._handlers.get(self.connection.fd)
        if handler is not None:
            handler.on_readable()
        return self.replies()

    def replies(self) -> list[Any]:
        """replies() -> those that came since."""
        self.sock.setblocking(False)
        found = []
        try:
            while data := self.sock.recv(1 << 16):
                self._reader.feed(data)
        except BlockingIOError:
            pass
        self.sock.setblocking(True)
        while (reply := self._reader.gets()) is not False:
            found.append(reply)
        return found

    def establish(self, slots: Sequence[int]) -> list[Any]:
        bounds = [b"%d" % slot for slot in slots for _ in range(2)]
        return self.send([b"CLUSTER", b"SYNCSLOTS", b"ESTABLISH", OTHER.encode(), b"job", b"SLOTSRANGE", *bounds])

    def finish(self, epoch: int) -> list[Any]:
        return self.send([b"CLUSTER", b"SYNCSLOTS", b"FINISH", b"job", b"%d" % epoch])

    def close(self) -> None:
        self.connection.close("the test ends")
        self.sock.close()
