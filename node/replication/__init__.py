"""Asynchronous replication over Redis's protocol: the primary's side, the replica's side, and their identity."""
