"""The ``sigah`` command: parse, call, print.

Each command imports its own modules: NumPy, Numba and torch take longer to load than most commands
take to run.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from sigah import __version__
from sigah.cli.errors import INTERRUPTED, say

if TYPE_CHECKING:
    from sigah.cli.root import app

__all__ = ["app", "main"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "app":
            from sigah.cli.root import app

            return app
        raise AttributeError(f"module 'sigah.cli' has no attribute {name!r}")


def main() -> None:
    """Run the command line; bad input gives one line on standard error, never a traceback."""
    if sys.argv[1:] == ["--version"]:  # scripts call this often: it imports nothing
        print(__version__)
        sys.exit(0)
    # Threads that spin while they wait take cores from the threads that work; threads that sleep at
    # once lose a quarter of the speed on idle cores. So they spin for some microseconds. NumPy and
    # torch read these variables when they are loaded, later; see docs/performance.md.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # for GNU OpenMP
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")  # 2**16 cycles
    from sigah.cli.root import app

    try:
        app()
    except KeyboardInterrupt:
        say(INTERRUPTED)
        sys.exit(130)
    except (ValueError, OSError) as error:
        from rich.markup import escape

        # text in brackets is not markup: sigah[onnx], file names
        say("[red]Error:[/] " + escape(str(error)))
        sys.exit(1)
