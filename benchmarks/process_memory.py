"""The memory of this process as Linux counts it.

`resource.getrusage` would not do: its peak begins with that of the process that started this one.
"""

from __future__ import annotations

from pathlib import Path


def peak() -> float:
    """Return the most memory that this process held since it began, in GB."""
    return _read("VmHWM")


def resident() -> float:
    """Return the memory that this process holds, in GB."""
    return _read("VmRSS")


def _read(name: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024 / 1e9
