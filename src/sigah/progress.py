"""Progress of long work, drawn with Rich when asked for; Rich is loaded when something is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["bar", "phase", "running", "track"]

T = TypeVar("T")


class _Nothing:
    """A progress display that shows nothing."""

    def add_task(self, description: str, **fields: Any) -> int:
        return 0

    def update(self, task: int, **fields: Any) -> None:
        pass

    def advance(self, task: int, advance: float = 1) -> None:
        pass


@contextmanager
def bar(*, show: bool) -> Iterator[Any]:
    """A Rich progress display on standard error; silent when ``show`` is false.

    Each task may carry a ``detail`` field, shown at the end of its line.
    """
    if not show:
        yield _Nothing()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    with _display(
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[detail]}", table_column=Column(overflow="ellipsis", no_wrap=True)),
    ) as progress:
        yield progress


@contextmanager
def phase(description: str, *, show: bool) -> Iterator[None]:
    """Say what goes on, and for how long, during work that cannot count its steps."""
    if not show:
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with _display(
        TextColumn("{task.description}"), SpinnerColumn(finished_text=""), TimeElapsedColumn()
    ) as progress:
        task = progress.add_task(description, total=1)
        yield
        progress.advance(task)


@contextmanager
def _display(*columns: Any) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress

    progress = Progress(*columns, console=Console(stderr=True))
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


@contextmanager
def track(items: Sequence[T], description: str, *, show: bool) -> Iterator[Iterator[T]]:
    """Iterate with a progress bar: ``with track(range(9), "rounds", show=True) as rounds: ...``.

    A block, because a generator does not learn of the error that ends the loop over it.
    """
    with bar(show=show) as progress:
        task = progress.add_task(description, total=len(items), detail="")

        def advancing() -> Iterator[T]:
            for item in items:
                yield item
                progress.advance(task)

        yield advancing()
