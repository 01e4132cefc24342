"""`python -m pyredis_cluster` is `pyredis-cluster`."""

from __future__ import annotations

from .cli import main

main()
