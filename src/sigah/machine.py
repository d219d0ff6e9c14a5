"""What the machine is, and how much of its memory this process has taken."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

__all__ = ["peak_memory_bytes", "processor_name"]


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held so far; None where the system does not tell.

    Examples
    --------
    >>> from sigah.machine import peak_memory_bytes
    >>> (peak_memory_bytes() or 1 << 30) > 1 << 20
    True
    """
    status = Path("/proc/self/status")
    if status.exists():  # Linux; what `resource` says there includes the parent's memory
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ModuleNotFoundError:  # no POSIX
        return _peak_on_windows() if sys.platform == "win32" else None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # BSD counts in KiB


def _peak_on_windows() -> int | None:
    import ctypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("size", ctypes.c_uint32),
            ("page_faults", ctypes.c_uint32),
            ("peak_working_set", ctypes.c_size_t),
            ("others", ctypes.c_size_t * 7),
        )

    counters = Counters(size=ctypes.sizeof(Counters))
    kernel = ctypes.CDLL("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    if not kernel.K32GetProcessMemoryInfo(
        ctypes.c_void_p(kernel.GetCurrentProcess()), ctypes.byref(counters), counters.size
    ):
        return None
    return int(counters.peak_working_set)


def processor_name() -> str:
    """The processor's name where the system tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
