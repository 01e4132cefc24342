"""What reading a snapshot can fail with. Law: garbage gives an `RdbFormatError`, never another exception."""

from __future__ import annotations


class RdbFormatError(Exception):
    """Bytes that are no valid RDB data: `reason`, and the `offset` of the element that is wrong."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        self.reason = reason
        self.offset = offset
        super().__init__(f"{reason} (at offset {offset})")


class LoadError(Exception):
    """The data set can't be loaded at the start; the text is what is logged before the node exits."""
