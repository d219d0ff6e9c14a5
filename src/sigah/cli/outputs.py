"""Files that a command writes: checked before the work; errors name them as the user did."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sigah import files
from sigah.cli.vectors import file_named

__all__ = ["check_output", "show_neighbours"]


def check_output(
    path: Path | None,
    kind: str,
    inputs: Iterable[Path | str | None] = (),
    *,
    overwrite: bool,
    option: str = "--out",
) -> None:
    """Refuse an output that cannot be written, is an input, or would replace something else.

    ``inputs`` are arguments: files, folders, named sets, lists of ids, or None if not given.
    """
    if path is not None:
        read = [file_named(str(one)) for one in inputs if one is not None]
        name = f"{option} {path}"
        files.check_target(path, kind=kind, inputs=read, overwrite=overwrite, name=name)


def show_neighbours(
    distances: NDArray[Any],
    ids: NDArray[Any],
    out: Path | None,
    size: int,
    by: str,
    among: str = "codes",
) -> None:
    """Write neighbours (ids or keys) to a file, or print those of the first queries."""
    k = ids.shape[1]
    if out is not None:
        with files.atomic_write(out) as file:
            np.savez(file, distances=distances, ids=ids)
        typer.echo(f"{out}: {k} neighbours of {len(ids):,} queries among {size:,} {among}")
        return
    shown: Callable[[Any], str] = str if distances.dtype.kind == "i" else "{:.4g}".format
    table = Table("query", f"ids ({by} distance)", title=f"first of {len(ids):,} queries")
    for row in range(min(10, len(ids))):
        pairs = zip(ids[row].tolist(), distances[row], strict=True)
        found = [f"{one} ({shown(d)})" for one, d in pairs if one not in (-1, "")]
        table.add_row(str(row), escape("  ".join(found)))
    Console().print(table)
