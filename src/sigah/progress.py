"""Progress of long work, drawn with Rich when asked for; Rich is loaded when something is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["bar", "phase", "running", "track"]

T = TypeVar("T")

_shown: Progress | None = None  # the display on the terminal


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
    """Show on one line what goes on and for how long, until it ends; for work without steps.

    A bar that is shown meanwhile takes the place of the line. Text for standard output has to wait
    for the end of the block; standard error may be written to.
    """
    if not show:
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), SpinnerColumn(), TimeElapsedColumn()
    with _display(*columns, transient=True) as progress:
        progress.add_task(description, total=None)
        yield


@contextmanager
def _display(*columns: Any, transient: bool = False) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    progress = Progress(*columns, console=console, transient=transient, redirect_stdout=False)
    with running(progress):
        yield progress


@contextmanager
def running(progress: Progress) -> Iterator[None]:
    """Show progress bars for the length of a block; after an error none stays behind."""
    global _shown
    outer, _shown = _shown, progress
    if outer is not None and outer.live.transient:  # the line of a phase
        outer.stop()
    progress.start()
    try:
        yield
    except BaseException:
        progress.live.transient = True
        raise
    finally:
        # `Progress.stop` ends its last line where there is no terminal: of bars, which stay
        (progress.live if progress.live.transient else progress).stop()
        _shown = outer
        if outer is not None and outer.live.transient:
            outer.start()


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
