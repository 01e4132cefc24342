"""What a caller can catch: error replies by their code word, transport failures by what is known of them.

Everything raised on purpose derives from `ClientError`; no name here shadows a builtin.
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of everything that this client raises on purpose."""


class ResponseError(ClientError):
    """An error reply of a node. `code` is its first word, such as `ERR` or `WRONGTYPE`.

    A node that answers with an error has not applied the command.
    """

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else ""

    @property
    def code(self) -> str:
        return self.message.partition(" ")[0]


class RedirectError(ResponseError):
    """A reply that names the node to ask. `host` is empty where the node that answered is meant."""

    slot: int
    host: str
    port: int

    def __init__(self, message: str) -> None:
        super().__init__(message)
        fields = message.split(" ")
        self.slot = int(fields[1])
        host, _, port = fields[2].rpartition(":")
        self.host = host
        self.port = int(port)


class MovedError(RedirectError):
    """MOVED: the slot belongs to another node."""


class AskError(RedirectError):
    """ASK: this one request goes to another node, after ASKING; the slot is on its way there."""


class TryAgainError(ResponseError):
    """TRYAGAIN: the keys of a multi-key command are on both sides of a slot migration."""


class ClusterDownError(ResponseError):
    """CLUSTERDOWN: the node can't serve the slot, or thinks that the cluster is down."""


class CrossSlotError(ResponseError):
    """CROSSSLOT: the keys of one command or transaction hash to different slots."""


class ReadOnlyError(ResponseError):
    """READONLY: a write was sent to a replica."""


class LoadingError(ResponseError):
    """LOADING: the node is still reading its data set."""


class MasterDownError(ResponseError):
    """MASTERDOWN: a replica has lost its primary and doesn't serve stale data."""


class AuthenticationError(ResponseError):
    """NOAUTH, WRONGPASS: the connection is not, or not rightly, authenticated."""


class NoPermissionError(ResponseError):
    """NOPERM: the user may not run the command or touch the key."""


class WrongTypeError(ResponseError):
    """WRONGTYPE: the key holds another kind of value."""


class NoScriptError(ResponseError):
    """NOSCRIPT: the node doesn't know the script."""


class BusyError(ResponseError):
    """BUSY: the node runs a script that takes too long."""


class BusyKeyError(ResponseError):
    """BUSYKEY: the target of a RESTORE exists."""


class OutOfMemoryError(ResponseError):
    """OOM: the node has reached maxmemory."""


class ExecAbortError(ResponseError):
    """EXECABORT: a command of the transaction was refused when it was queued."""


class NoReplicasError(ResponseError):
    """NOREPLICAS: fewer good replicas than min-replicas-to-write."""


class MisconfError(ResponseError):
    """MISCONF: the node can't persist and refuses writes."""


class UnblockedError(ResponseError):
    """UNBLOCKED: a blocking command was cut short, for instance because its node became a replica."""


ERROR_BY_CODE: dict[str, type[ResponseError]] = {
    "MOVED": MovedError,
    "ASK": AskError,
    "TRYAGAIN": TryAgainError,
    "CLUSTERDOWN": ClusterDownError,
    "CROSSSLOT": CrossSlotError,
    "READONLY": ReadOnlyError,
    "LOADING": LoadingError,
    "MASTERDOWN": MasterDownError,
    "NOAUTH": AuthenticationError,
    "WRONGPASS": AuthenticationError,
    "NOPERM": NoPermissionError,
    "WRONGTYPE": WrongTypeError,
    "NOSCRIPT": NoScriptError,
    "BUSY": BusyError,
    "BUSYKEY": BusyKeyError,
    "OOM": OutOfMemoryError,
    "EXECABORT": ExecAbortError,
    "NOREPLICAS": NoReplicasError,
    "MISCONF": MisconfError,
    "UNBLOCKED": UnblockedError,
}


def reply_error(message: str) -> ResponseError:
    """reply_error("MOVED 1 host:1") -> MovedError: the typed error for the text of an error reply."""
    kind = ERROR_BY_CODE.get(message.partition(" ")[0], ResponseError)
    try:
        return kind(message)
    except (ValueError, IndexError):
        # A redirect that does not parse is an error reply like any other, not a crash of the decoder.
        return ResponseError(message)


class TransportError(ClientError):
    """The request or its reply did not get through.

    `maybe_applied` is True where the request had been sent, so that a node may have carried it out.
    """

    maybe_applied: bool

    def __init__(self, message: str, *, maybe_applied: bool = False) -> None:
        super().__init__(message)
        self.maybe_applied = maybe_applied


class ConnectionLostError(TransportError):
    """The connection could not be opened, or was closed or reset by the other side."""


class RequestTimeoutError(TransportError):
    """No connection, or no whole reply, within the time allowed. The connection is closed."""


class ProtocolViolationError(TransportError):
    """What came back is not RESP, or more than was asked for. The connection is closed."""


class PoolExhaustedError(ClientError):
    """All connections to a node stayed in use for as long as a request may wait for one."""


class ClusterUnreachableError(ClientError):
    """No node gave a usable answer within the bounded number of attempts. `__cause__` is the last failure."""


class NotRoutableError(ClientError):
    """The command changes the state of its connection, so that it can't run on one out of a pool."""


class WatchError(ClientError):
    """A watched key changed before EXEC; nothing of the transaction was applied."""
