"""What the operator's side raises: every text is a whole message, fit to be printed as it is."""

from __future__ import annotations


class OperatorError(Exception):
    """Something the operator asked for could not be done."""


class PlanError(OperatorError):
    """What was asked for can't be planned."""


class LaunchError(OperatorError):
    """A local node could not be started, stopped or found."""


class NodeUnreachable(OperatorError):
    """A node did not answer: refused, silent for the time-out, or gone in the middle of a reply."""


class NodeRefused(OperatorError):
    """A node answered with an error. `message` is its text as the node sent it."""

    def __init__(self, address: object, command: str, message: str) -> None:
        super().__init__(f"{address} refused {command}: {message}")
        self.message = message


class ClusterUnready(OperatorError):
    """The cluster did not get into the state that was waited for within the bound."""


class MigrationFailed(OperatorError):
    """Slots could not be moved within the bounded number of attempts."""
