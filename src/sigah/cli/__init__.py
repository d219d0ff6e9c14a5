"""The ``sigah`` command: parse, call, print.

Modules are imported by the command that runs: NumPy, Numba and torch take longer to load than most
commands take to run.
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
    """Run the command line; bad input ends in one line on standard error, never a traceback."""
    if sys.argv[1:] == ["--version"]:  # asked by scripts, and often: nothing is imported for it
        print(__version__)
        sys.exit(0)
    # Threads that spin while they wait for each other take the core from those they wait for, and
    # threads that sleep at once lose a quarter on quiet cores: they spin for some microseconds.
    # Read when NumPy and torch are loaded, which is later; see docs/performance.md.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # of GNU's OpenMP
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")  # 2**16 cycles
    from sigah.cli.root import app

    try:
        app()
    except KeyboardInterrupt:
        say(INTERRUPTED)
        sys.exit(130)
    except (ValueError, OSError) as error:
        from rich.markup import escape

        # what stands in brackets is not markup: sigah[onnx], a file's name
        say("[red]Error:[/] " + escape(str(error)))
        sys.exit(1)
