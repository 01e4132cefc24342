"""The RDB codec, saving and loading (Redis: rdb.c): the snapshot of a node on disk and on the wire."""
