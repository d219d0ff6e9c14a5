"""How many threads this process may use, libraries held to it, and a pool of threads.

Machines say how many cores there are; a container, a batch system or ``taskset`` may allow fewer.
Threads beyond the allowance wait for each other: two BLAS threads on one busy core take many times
what one thread takes (``docs/performance.md``).
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["available_threads", "limit_threads", "run_together"]

_limit: int | None = None  # what `limit_threads` allows
_pool: ThreadPoolExecutor | None = None


def available_threads() -> int:
    """How many threads this process may use.

    What :func:`limit_threads` says; by default the least of three: the cores of the process's
    affinity, its CPU quota (cgroups) and ``OMP_NUM_THREADS``.

    Examples
    --------
    >>> from sigah.threads import available_threads, limit_threads
    >>> with limit_threads(1):
    ...     available_threads()
    1
    """
    if _limit is not None:
        return _limit
    asked = threads_asked(os.environ.get("OMP_NUM_THREADS"))
    return min(number for number in (cores(), quota(), asked) if number)


def cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def quota(root: Path = Path("/")) -> int | None:
    """Cores that the CPU quota of the control groups is worth, rounded up; None: no quota.

    A group's quota binds its children too, so the groups above are read as well. Where a container
    shows its own group as the root, the path that the kernel names does not exist.
    """
    shares: list[float] = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return None
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:  # version 2
            mounts = [root / "sys/fs/cgroup"]
        elif "cpu" in controllers.split(","):
            mounts = [root / "sys/fs/cgroup" / name for name in (controllers, "cpu")]
        else:
            continue
        inner = Path(path.lstrip("/"))
        for mount in mounts:
            for group in (inner, *inner.parents):
                share = _share(mount / group)
                if share is not None:
                    shares.append(share)
    return max(1, math.ceil(min(shares))) if shares else None


def _share(group: Path) -> float | None:
    """Cores that one control group is worth."""
    try:
        if (group / "cpu.max").is_file():
            allowed, period = (group / "cpu.max").read_text().split()
        else:
            allowed = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        share = int(allowed) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such group; "max": no quota
        return None
    return share if share > 0 else None  # version 1 says -1 for no quota


def threads_asked(text: str | None) -> int | None:
    """The first number of ``OMP_NUM_THREADS``, a list by nesting such as "4,2"; else None."""
    found = re.match(r"\s*(\d+)\s*(,|$)", text or "")
    return (int(found[1]) or None) if found else None


@contextmanager
def limit_threads(n: int | None = None) -> Iterator[int]:
    """Hold this package's threads, BLAS, OpenMP and torch to ``n`` threads.

    Parameters
    ----------
    n : int, optional
        By default what :func:`available_threads` says: only a quota or a variable that a library
        does not know by itself makes a difference then.

    Examples
    --------
    >>> from sigah.threads import limit_threads
    >>> with limit_threads(2) as n:
    ...     n
    2
    """
    global _limit
    from sigah.checks import check_whole  # NumPy comes with it, and listing commands needs none

    wanted = available_threads() if n is None else check_whole(n, "threads", least=1)
    before = _limit, os.environ.get("OMP_NUM_THREADS")
    if n is None and wanted == cores():  # the libraries' own choice
        yield wanted
        return
    from threadpoolctl import threadpool_limits

    _limit = wanted
    os.environ["OMP_NUM_THREADS"] = str(wanted)  # for libraries that are not loaded yet
    torch = sys.modules.get("torch")
    torch_before = torch.get_num_threads() if torch else 0
    try:
        if torch:
            torch.set_num_threads(wanted)
        with threadpool_limits(wanted):  # those that are
            yield wanted
    finally:
        if torch:
            torch.set_num_threads(torch_before)
        _limit, variable = before
        if variable is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = variable


def run_together(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], n_threads: int
) -> None:
    """Call a function that releases the interpreter's lock, once for each of the arguments.

    The calling thread takes part; the others stand ready, because starting one anew would cost more
    than a small search. An error or an interruption (Ctrl-C) lets the calls that have begun end,
    begins no other, and is raised.
    """
    global _pool
    waiting = deque(arguments)
    n_others = min(n_threads, len(waiting)) - 1
    if n_others < 1:
        for some in waiting:
            function(*some)
        return

    def work() -> None:
        while True:
            try:
                some = waiting.popleft()
            except IndexError:  # all are taken
                return
            try:
                function(*some)
            except BaseException:
                waiting.clear()
                raise

    if _pool is None:
        _pool = ThreadPoolExecutor(available_threads(), thread_name_prefix="sigah")
    pool = _pool
    others = [pool.submit(work) for _ in range(n_others)]
    try:
        work()
    finally:
        failures = [other.exception() for other in others]
    for failure in failures:
        if failure is not None:
            raise failure


def _forget_threads() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)  # a forked child has no threads
