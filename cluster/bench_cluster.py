"""Clusters of three primaries and three replicas: redis-benchmark --cluster, making one, and moving slots.

Law: both clusters run on the same core, as the single servers do; CPU time is summed over the primaries, and over all.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from pyredis_cluster.gossip.slots import key_slot

from .admin import Access
from .bench_measure import Load, Repeats, load, measure_loads
from .bench_results import Figure, Section
from .bench_servers import OURS, BenchServer, Launch, spawned, wait_until_ready
from .bench_site import Scale, Site
from .bench_workloads import VALUE, find_workloads
from .create import create_cluster
from .errors import OperatorError
from .topology import Topology, read_topology
from .waiting import unready, wait_until_members

PRIMARIES = 3
NODES = 2 * PRIMARIES
TESTS = "set,get,incr,lpush,sadd,hset"
PIPELINES = (1, 16)
RESHARD_SLOTS = 1_000
RESHARD_PIPELINE = 100
TOOL_TIMEOUT_S = 120.0
NOTES = (
    "Three primaries and three replicas each, all on one core, and `redis-benchmark --cluster`. CPU is that of the "
    "primaries for each operation; the last ratio is that of all six processes. Creating: `pyredis-cluster`'s own way "
    "and `redis-cli --cluster create`, from the first process's start until all nodes agree and all replicas are in "
    f"sync. Moving {RESHARD_SLOTS:,} slots: `pyredis-cluster reshard` and `redis-cli --cluster reshard "
    f"--cluster-pipeline {RESHARD_PIPELINE}`."
)


def _tool(argv: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TOOL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OperatorError(f"{what} took over {TOOL_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise OperatorError(f"{what} failed: {done.stdout.strip()[-500:]}")


@contextmanager
def running_cluster(site: Site, name: str) -> Iterator[tuple[BenchServer, float]]:
    """running_cluster(site, OURS) -> the cluster, and in how many seconds it was made. OperatorError."""
    program = dict(site.programs.servers())[name]
    with ExitStack() as stack:
        home = stack.enter_context(site.directory(name))
        began = time.monotonic()
        homes = [home / str(number) for number in range(NODES)]
        launches = [Launch(name, program, each, site.cores.server, clustered=True) for each in homes]
        nodes = [stack.enter_context(spawned(launch)) for launch in launches]
        for node, each in zip(nodes, homes, strict=True):
            wait_until_ready(node, each)
        addresses = [node.link.address for node in nodes]
        if name == OURS:
            create_cluster(addresses, 1, Access(), lambda what: None)
        else:
            argv = [site.programs.cli, "--cluster", "create", *map(str, addresses)]
            _tool([*argv, "--cluster-replicas", "1", "--cluster-yes"], "redis-cli --cluster create")
        members = wait_until_members([node.link for node in nodes], unready)
        took_s = time.monotonic() - began
        primaries = [node for node, member in zip(nodes, members, strict=True) if member.is_primary]
        replicas = [node for node in nodes if node not in primaries]
        yield (
            BenchServer(
                name,
                tuple(node.primaries[0] for node in primaries),
                primaries[0].link,
                tuple(node.primaries[0] for node in replicas),
            ),
            took_s,
        )


def _fill_evenly(topology: Topology, keys: int) -> None:
    """redis-benchmark's keys are in a few of the slots; these are in all."""
    names: dict[str, list[bytes]] = {}
    for number in range(keys):
        name = b"move:%d" % number
        names.setdefault(topology.owners[key_slot(name)], []).append(name)
    for owner, owned in names.items():
        topology.members[owner].link.pipeline((b"SET", name, VALUE) for name in owned)


def reshard(site: Site, cluster: BenchServer, keys: int, home: Path) -> float:
    """reshard(site, cluster, keys, home) -> keys a second of a move of slots to the first primary; of so many keys."""
    with read_topology([cluster.link.address], Access()) as topology:
        _fill_evenly(topology, keys)
        target, source = _ends(topology, cluster)
    before, began = cluster.link.call("DBSIZE"), time.monotonic()
    if cluster.name == OURS:
        argv = [sys.executable, "-P", "-m", "pyredis_cluster", "reshard", str(cluster.link.address), "--yes"]
        argv += ["--dir", str(home), "--from", source, "--to", target, "--slots", str(RESHARD_SLOTS)]
    else:
        argv = [site.programs.cli, "--cluster", "reshard", str(cluster.link.address), "--cluster-yes"]
        argv += ["--cluster-from", source, "--cluster-to", target, "--cluster-slots", str(RESHARD_SLOTS)]
        argv += ["--cluster-pipeline", str(RESHARD_PIPELINE)]
    _tool(argv, f"the reshard of {cluster.name}")
    return float((cluster.link.call("DBSIZE") - before) / (time.monotonic() - began))


def _ends(topology: Topology, cluster: BenchServer) -> tuple[str, str]:
    """The ids of the first primary, which gets slots, and of another one."""
    target = topology.find(str(cluster.link.address)).node_id
    return target, next(node_id for node_id, slots in topology.owned.items() if slots and node_id != target)


def measure_clusters(site: Site, scale: Scale, repeats: Repeats) -> Section:
    """measure_clusters(site, scale, repeats) -> Section. OperatorError."""
    create = Figure(f"a cluster of {NODES} nodes is made", "s")
    moving = Figure(f"moving {RESHARD_SLOTS:,} slots", "keys/s", less_is_better=False)
    section = Section("cluster", "Clusters", NOTES, figures=[create, moving])
    with ExitStack() as stack:
        clusters = []
        for name, _ in site.programs.servers():
            site.tell(f"making a cluster: {name}")
            cluster, took_s = stack.enter_context(running_cluster(site, name))
            (create.ours if name == OURS else create.redis).append(took_s)
            clusters.append(cluster)
        loads = [
            replace(load(workload, pipeline, scale.requests, scale.keyspace), cluster=True)
            for pipeline in PIPELINES
            for workload in find_workloads(TESTS)
        ]
        ours, redis = clusters
        tell = site.tell
        benchmark = site.programs.benchmark
        fill = Load(loads[0].workload, 64, scale.keyspace, scale.keyspace, cluster=True)
        measure_loads([fill], (ours, redis), Repeats(1, 0.0), benchmark, False, tell)
        section.rows = measure_loads(loads, (ours, redis), repeats, benchmark, False, tell)
        home = stack.enter_context(site.directory("reshard"))
        for cluster in clusters:
            tell(f"moving slots: {cluster.name}")
            (moving.ours if cluster is ours else moving.redis).append(reshard(site, cluster, scale.keys, home))
    return section
