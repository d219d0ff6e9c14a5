"""Threads that stand ready: starting one anew would cost more than a small search."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["available_threads", "run_together"]

_pool: ThreadPoolExecutor | None = None


def available_threads() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_together(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], n_threads: int
) -> None:
    """Call a function that releases the interpreter's lock, once for each of the arguments.

    The calling thread takes part. An error or an interruption (Ctrl-C) lets the calls that have
    begun end, begins no other, and is raised.
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
