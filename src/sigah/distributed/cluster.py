"""Start Ray on this machine for the time of a call, or connect to a running cluster."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sigah.threads import available_threads

__all__ = ["cluster", "require_ray"]

OBJECT_STORE_BYTES = 256 << 20  # small, because vectors and codes go through files
PRIVATE = {  # Ray reads these when it is imported
    "RAY_USAGE_STATS_ENABLED": "0",  # send no usage statistics
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on the loopback device only, on Linux too
}


def require_ray() -> Any:
    """Return the module of Ray, or raise an OSError that says how to install it."""
    try:
        for name in ("pandas", "pyarrow"):  # without them, Ray Data fails late
            importlib.import_module(name)
        return importlib.import_module("ray")
    except ImportError as error:
        missing = (error.name or "ray").partition(".")[0]
        raise OSError(
            f"{missing} is not installed; install it with `pip install 'sigah[ray]'`"
        ) from error


@contextmanager
def cluster(address: str | None = None) -> Iterator[Any]:
    """A context with a connection to Ray.

    An existing connection of the program (``ray.init``) is used and left open.

    Parameters
    ----------
    address : str, optional
        Of a running cluster that includes this machine: ``"host:6379"``, or ``"auto"`` to find it.
        By default, and for ``"local"``, Ray starts on this machine, closed to other machines, and
        stops at the end of the block.

    Yields
    ------
    ray : module

    Raises
    ------
    OSError
        If Ray is not installed, or no cluster answers at the address.

    Examples
    --------
    >>> from sigah.distributed.cluster import cluster
    >>> with cluster() as ray:  # doctest: +SKIP
    ...     ray.get(ray.put("a note"))
    'a note'
    """
    here = address in (None, "local")
    for name, value in PRIVATE.items() if here else ():
        os.environ.setdefault(name, value)
    ray = require_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if here:
        ray.init(
            address="local",
            num_cpus=available_threads(),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
    else:
        try:
            knock(str(address))
            ray.init(address=address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise OSError(f"no Ray cluster answers at {address}: {reason}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def knock(address: str) -> None:
    """Raise an OSError at once if nothing listens: Ray would keep trying for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
