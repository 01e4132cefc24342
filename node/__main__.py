"""`python -m pyredis_cluster.node` is `pyredis-node`."""

from __future__ import annotations

from .main import main

main()
