"""What an application sees while a primary dies: reads and writes that take longer, and nothing else."""

from __future__ import annotations

import threading
from typing import Any

import trio
from pyredis_cluster import ClusterClient, TrioClusterClient
from pyredis_cluster.client.errors import TransportError

WRITERS = 4
WRITES_AFTER_KILL = 200


def test_writes_outlive_the_death_of_a_primary(own_cluster: Any) -> None:
    """Each write either succeeds or is reported as one whose fate is unknown; at most one for each writer."""
    unknown: list[TransportError] = []
    unexpected: list[BaseException] = []
    written = [0] * WRITERS
    killed = threading.Event()

    def write(number: int) -> None:
        left = WRITES_AFTER_KILL
        while left:
            left -= killed.is_set()
            written[number] += 1
            try:
                client.set(f"{number}:{written[number] % 100}", "value")
            except TransportError as error:
                (unknown if error.maybe_applied else unexpected).append(error)
            except BaseException as error:
                unexpected.append(error)
                return

    with ClusterClient(startup_nodes=own_cluster.addresses, retry_timeout_ms=30_000) as client:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        own_cluster.wait_until(lambda: min(written) > 0, "all writers write")
        victim = own_cluster.processes[own_cluster.ports[0]]
        victim.kill()
        victim.wait()
        killed.set()
        for thread in threads:
            thread.join(60)
        assert unexpected == []
        assert len(unknown) <= WRITERS, "one request in flight for each writer"
        assert min(written) > WRITES_AFTER_KILL
        # Every slot is written again, by the same client, without a restart.
        for number in range(200):
            assert client.set(f"after:{number}", number) is True
        assert ("127.0.0.1", own_cluster.ports[0]) not in client.primaries()


async def test_reads_outlive_the_freezing_of_a_replica(own_cluster: Any) -> None:
    async with TrioClusterClient(
        startup_nodes=own_cluster.addresses, read_from="replica", request_timeout_ms=200
    ) as client:
        for number in range(30):
            await client.set(f"k{number}", number)
        replica = own_cluster.processes[own_cluster.ports[3]]
        replica.send_signal(19)
        try:
            with trio.fail_after(20):
                for number in range(30):
                    await client.get(f"k{number}")
        finally:
            replica.send_signal(18)
