"""The bus against those who don't belong: floods, idle and hostile streams, amplification, and a change of secrets."""

from __future__ import annotations

import itertools
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyredis_cluster import ClusterClient
from pyredis_cluster.client.errors import ResponseError
from pyredis_cluster.gossip.messages import MEET_PADDED_BYTES, PING_PADDING, Keyring, Kind, Message, decode, encode
from pyredis_cluster.gossip.nodes import NodeRecord
from pyredis_cluster.node.bus_streams import INBOUND_MAX

from ..conftest import BUS_PORT_OFFSET, Processes, ServerProcess, wait_until
from .test_cluster_processes import Processed, info

FLOOD_PER_S = 50_000
FLOOD_SECONDS = 2.0
FLOOD = """
import socket, sys, time
port, rate, seconds, *datagrams = sys.argv[1:]
datagrams = [bytes.fromhex(one) for one in datagrams]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect(("127.0.0.1", int(port)))
begin, sent = time.monotonic(), 0
while (passed := time.monotonic() - begin) < float(seconds):
    for sent in range(sent + 1, int(passed * float(rate)) + 1):
        sock.send(datagrams[sent % len(datagrams)])
    time.sleep(0.0005)
print(sent)
"""
BIG = random.Random(1)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path)
    yield found
    found.stop()


def dropped(node: ServerProcess) -> int:
    return int(info(node)["cluster_stats_dropped"])


def overflowed(port: int) -> int:
    """overflowed(port) -> the datagrams that its socket's buffer had no room for: the machine did not let us run."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if int(row[1].partition(":")[2], 16) == port)


def forgeries() -> list[bytes]:
    """Forged, foreign, truncated, oversized, of another version, and noise."""
    ping = Message(Kind.PING, "ab" * 20, 2**60, 2**32, 5, 2**63, 1000, (77, PING_PADDING))
    foreign, unsigned = encode(ping, Keyring([b"another cluster"])), encode(ping, Keyring())
    noise = BIG.randbytes(80)
    return [foreign, unsigned, foreign[:12], foreign + bytes(1400), b"\xff" + foreign[1:], noise]


def test_a_flood_of_forged_datagrams_is_counted_and_disturbs_nobody(processes: Processes) -> None:
    cluster = Processed(processes, 3, cluster_secret="secret")
    victim = cluster.primaries[0]
    before = {node.port: info(node) for node in cluster.nodes}
    bus_port = victim.port + BUS_PORT_OFFSET
    arguments = [str(bus_port), str(FLOOD_PER_S), str(FLOOD_SECONDS)]
    arguments += [one.hex() for one in forgeries()]
    flood = subprocess.Popen([sys.executable, "-c", FLOOD, *arguments], stdout=subprocess.PIPE, text=True)
    with ClusterClient(startup_nodes=[("127.0.0.1", victim.port)]) as client:
        for number in itertools.count():
            assert client.set(f"k{number}", number) is True
            if flood.poll() is not None:
                break
    sent = int(flood.communicate()[0])
    assert sent > FLOOD_PER_S * FLOOD_SECONDS / 4, "the flood was one"
    wait_until(lambda: dropped(victim) >= sent - overflowed(bus_port), "all that arrived are dropped and counted")
    report = info(victim)
    for reason in ("tag", "truncated", "oversized", "version"):
        assert int(report[f"cluster_stats_messages_dropped_{reason}"]) > sent / 20
    for node in cluster.nodes:
        after = info(node)
        assert after["cluster_state"] == "ok"
        for name in ("failures", "elections", "promotions"):
            key = f"cluster_stats_{name}"
            assert after[key] == before[node.port][key]
    assert victim.log().count("datagram") == 0


def test_idle_streams_are_ended_and_keep_no_place_from_peers(processes: Processes) -> None:
    one, other = (processes.node(cluster_enabled="yes", cluster_secret="secret") for _ in range(2))
    bus = ("127.0.0.1", one.port + BUS_PORT_OFFSET)
    wait_until(lambda: info(one)["cluster_bus_tcp_port"] == "listening", "listening")
    idle = [socket.create_connection(bus) for _ in range(3 * INBOUND_MAX)]
    try:
        one.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        other.call("CLUSTER", "MEET", "127.0.0.1", one.port)
        wait_until(lambda: info(other)["cluster_state"] == "ok", "joined, with the slots")
        for stream in idle:
            stream.settimeout(10)
            assert stream.recv(1) == b""
    finally:
        for stream in idle:
            stream.close()
    counted = info(one)
    assert int(counted["cluster_stats_messages_dropped_sync_evicted"]) > INBOUND_MAX


def test_a_stream_of_rubbish_is_closed_at_once(processes: Processes) -> None:
    node = processes.node(cluster_enabled="yes", cluster_secret="secret")
    wait_until(lambda: info(node)["cluster_bus_tcp_port"] == "listening", "listening")
    streams = (b"\xff" * 64, b"\x00\x00\x00\x20" + b"x" * 32, b"GET / HTTP/1.0\r\n\r\n", b"\x00" * 4)
    for count, rubbish in enumerate(streams, 1):
        with socket.create_connection(("127.0.0.1", node.port + BUS_PORT_OFFSET), timeout=10) as stream:
            stream.sendall(rubbish)
            assert stream.recv(1) == b""
        assert dropped(node) == count


def test_no_reply_to_an_unproved_address_is_longer_than_its_request(processes: Processes) -> None:
    node = processes.node(cluster_enabled="yes", cluster_announce_hostname="h" * 200)
    ranges = [str(slot) for first in range(0, 12000, 3) for slot in (first, first)]
    node.call("CLUSTER", "ADDSLOTSRANGE", *ranges)
    ring = Keyring()
    stranger = NodeRecord("ab" * 20, shard_id="cd" * 20)
    bus = ("127.0.0.1", node.port + BUS_PORT_OFFSET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        for padding in (b"", bytes(500), bytes(MEET_PADDED_BYTES - len(stranger.packed))):
            body = (1, "127.0.0.1", stranger.packed, padding)
            request = encode(Message(Kind.MEET, stranger.id, 2**60, 2**32, 0, 0, 0, body), ring)
            sock.sendto(request, bus)
        reply = sock.recv(2048)
        assert decode(reply, ring).kind == Kind.MEET_PONG
        assert len(reply) <= len(request)
    wait_until(lambda: dropped(node) == 2, "the shorter ones are not answered")


def test_the_secret_changes_while_the_cluster_works(processes: Processes, tmp_path: Path) -> None:
    """Accept the new one, sign with it, drop the old one: each step on every node, by CONFIG SET."""
    path = tmp_path / "secret"
    path.write_text("old\n")
    cluster = Processed(processes, 2, cluster_secret_file=str(path))
    before = {node.port: info(node) for node in cluster.nodes}
    stop, failures, written = threading.Event(), list[Exception](), 0

    def write() -> None:
        nonlocal written
        with ClusterClient(startup_nodes=[("127.0.0.1", cluster.primaries[0].port)]) as client:
            while not stop.is_set():
                try:
                    client.set(f"k{written % 100}", written)
                    written += 1
                except Exception as error:
                    failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for content in ("old\nnew\n", "new\nold\n", "new\n"):
            path.write_text(content)
            for node in cluster.nodes:
                assert node.call("CONFIG", "SET", "cluster-secret-file", str(path)) == b"OK"
                answered = int(info(node)["cluster_stats_probes_answered"])
                wait_until(
                    lambda: int(info(node)["cluster_stats_probes_answered"]) > answered + 1,  # noqa: B023
                    "peers answer",
                )
    finally:
        stop.set()
        writer.join(30)
    assert failures == []
    assert written > 0
    for node in cluster.nodes:
        after = info(node)
        for name in ("cluster_stats_failures", "cluster_stats_elections", "cluster_stats_messages_dropped_tag"):
            assert after.get(name) == before[node.port].get(name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        ping = Message(Kind.PING, "ab" * 20, 2**60, 2**32, 5, 1, 1, (77, PING_PADDING))
        sock.sendto(encode(ping, Keyring([b"old"])), ("127.0.0.1", cluster.primaries[0].port + BUS_PORT_OFFSET))
        wait_until(lambda: info(cluster.primaries[0]).get("cluster_stats_messages_dropped_tag"), "the old one is gone")


def test_a_secret_file_of_no_use_is_refused_and_the_old_secrets_stay(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old\n")
    node = processes.node(cluster_enabled="yes", cluster_secret_file=str(path))
    path.write_text("\n")
    for value in (str(path), str(tmp_path / "missing"), ""):
        with pytest.raises(ResponseError, match="cluster-secret-file"):
            node.call("CONFIG", "SET", "cluster-secret-file", value)
    assert node.call("CONFIG", "GET", "cluster-secret-file") == [b"cluster-secret-file", str(path).encode()]
    given = processes.node(cluster_enabled="yes", cluster_secret="directive")
    with pytest.raises(ResponseError, match="takes precedence"):
        given.call("CONFIG", "SET", "cluster-secret-file", str(path))
