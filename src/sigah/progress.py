"""Progress of long work, drawn with Rich when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

__all__ = ["bar", "running", "track"]

T = TypeVar("T")


@contextmanager
def bar(*, show: bool) -> Iterator[Progress]:
    """A Rich progress display on standard error; silent when ``show`` is false.

    Each task may carry a ``detail`` field, shown at the end of its line.
    """
    progress = Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[detail]}", table_column=Column(overflow="ellipsis", no_wrap=True)),
        console=Console(stderr=True),
        disable=not show,
    )
    with running(progress):
        yield progress


@contextmanager
def running(progress: Progress) -> Iterator[None]:
    """Show progress bars for the length of a block; after an error none stays behind."""
    progress.start()
    try:
        yield
    except BaseException:
        progress.live.transient = True
        progress.live.stop()
        raise
    progress.stop()


def track(items: Sequence[T], description: str, *, show: bool) -> Iterable[T]:
    """Iterate with a progress bar."""
    with bar(show=show) as progress:
        task = progress.add_task(description, total=len(items), detail="")
        for item in items:
            yield item
            progress.advance(task)
