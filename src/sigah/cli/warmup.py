"""``sigah warmup``: compile the search kernels in advance."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["warmup"]


def warmup(
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Store compiled kernels here; later processes find them through NUMBA_CACHE_DIR.",
        ),
    ] = None,
) -> None:
    """Compile the search kernels now, so that later processes need not.

    Run this while you build a container image, and set NUMBA_CACHE_DIR=DIR in the container: it
    then starts without compiling, even with a read-only file system. Kernels work only on the type
    of processor that they were compiled on.

    Example: sigah warmup --cache /opt/kernels
    """
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        os.environ["NUMBA_CACHE_DIR"] = str(cache.resolve())
    from sigah.search.warmup import compile_kernels

    began = time.perf_counter()
    n = compile_kernels()
    typer.echo(f"{n} kernels are compiled ({time.perf_counter() - began:.1f} s)")
    if cache is not None:
        typer.echo(f"in {cache}; set NUMBA_CACHE_DIR={cache.resolve()} for processes that search")
