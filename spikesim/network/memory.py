"""Memory is asked for before it is taken."""

import os
from pathlib import Path

from spikesim.errors import UserError

MEMINFO = Path("/proc/meminfo")


def free_bytes() -> int | None:
    """Memory that can be had without swapping; ``None`` where it is not known."""
    if MEMINFO.is_file():
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def check_memory(needed: float, what: str, free: int | None = None) -> None:
    """Refuse what does not fit.

    Args:
        needed: bytes.
        what: needs them.
        free: bytes that there are; by default those of this machine.

    Raises:
        UserError: says how much is needed and how much is free.
    """
    free = free_bytes() if free is None else free
    if free is not None and needed > free:
        raise UserError(
            f"{what} need about {needed / 2**30:.3g} GiB, {free / 2**30:.3g} GiB are free"
        )
