"""ping.py PORT: exit status 0 if the node there answers, loading included; for health checks of containers."""

from __future__ import annotations

import os
import sys

from pyredis_cluster.client.connection import Connection
from pyredis_cluster.client.errors import ClientError, ResponseError

TIMEOUT_MS = 3_000.0


def main() -> int:
    try:
        with Connection("127.0.0.1", int(sys.argv[1]), TIMEOUT_MS, password=os.environ.get("REDISCLI_AUTH")) as link:
            link.call("PING")
    except ResponseError as error:
        return 0 if str(error).startswith(("LOADING", "MASTERDOWN")) else 1
    except ClientError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
