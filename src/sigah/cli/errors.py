"""What the command line says when a command does not end well."""

from __future__ import annotations

__all__ = ["INTERRUPTED", "say"]

INTERRUPTED = "[red]Interrupted[/]; nothing half-written was left behind."


def say(message: str) -> None:
    """Print a line on standard error."""
    from rich.console import Console

    Console(stderr=True).print(message, highlight=False, soft_wrap=True)
