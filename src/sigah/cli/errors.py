"""Messages for commands that fail or are interrupted."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "say"]

INTERRUPTED = "[red]Interrupted[/]; no incomplete files remain."


def say(message: str) -> None:
    """Print a line on standard error."""
    from rich.console import Console

    Console(stderr=True).print(message, highlight=False, soft_wrap=True)
