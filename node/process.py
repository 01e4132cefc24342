"""What the operating system knows about this process and its host: memory, as INFO and MEMORY show it.

Law: measured when asked; nothing is estimated. The memory used is the private resident memory: what the process
holds itself, without the pages that it shares (program text, libraries, pages shared with a saving child).
"""

from __future__ import annotations

import functools
import os

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM_MAX_BYTES = 256


def _statm() -> tuple[int, int]:
    """(resident, shared) pages of this process."""
    # Sampled ten times a second: without a file object around it that costs a third.
    fd = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(fd, _STATM_MAX_BYTES).split()
    finally:
        os.close(fd)
    return int(fields[1]), int(fields[2])


def resident_bytes() -> int:
    """resident_bytes() -> the physical memory that this process occupies, shared pages included."""
    return _statm()[0] * PAGE_BYTES


def used_bytes() -> int:
    """used_bytes() -> used_memory: the resident memory without file-backed and shared pages."""
    resident, shared = _statm()
    return (resident - shared) * PAGE_BYTES


@functools.cache
def system_memory_bytes() -> int:
    """system_memory_bytes() -> the host's physical memory."""
    return os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES


def human_bytes(count: int) -> str:
    """human_bytes(1536) -> "1.50K" (Redis: bytesToHuman)."""
    if count < 1024:
        return f"{count}B"
    size = float(count)
    for unit in "KMGTP":
        size /= 1024
        if size < 1024 or unit == "P":
            break
    return f"{size:.2f}{unit}"
