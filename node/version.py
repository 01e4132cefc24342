"""The versions this node tells: its own, and the Redis release whose behaviour it follows."""

from __future__ import annotations

REDIS_VERSION = "7.2.4"
"""Clients and tools decide by it what they may use (HELLO, INFO redis_version, RDB's redis-ver)."""
