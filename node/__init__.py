"""One server process: reactor, dispatch, keyspace, commands, journal, persistence, replication, bus driver."""
