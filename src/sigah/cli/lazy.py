"""Commands that are imported when they run, and listed without imports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from sigah.cli.errors import INTERRUPTED, say

__all__ = ["Commands", "lazy_group"]


class Commands(MutableMapping[str, Any]):
    """Commands by name, each imported at its first use.

    Parameters
    ----------
    places : mapping of str to (str, str)
        For every name: ``module:function`` or ``module:app``, and its line in lists.
    package : str
        The package of the modules.
    """

    def __init__(self, places: Mapping[str, tuple[str, str]], package: str) -> None:
        self.places, self.package = places, package
        self.loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.loaded:
            module, _, attribute = self.places[name][0].partition(":")
            found = getattr(import_module(f"{self.package}.{module}"), attribute)
            if not isinstance(found, typer.Typer):  # one function is one command
                alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
                alone.command(name)(found)
                found = alone
            command: Any = get_command(found)
            command.name = name
            self.loaded[name] = command
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.places, **self.loaded})

    def __len__(self) -> int:
        return len({**self.places, **self.loaded})

    def __setitem__(self, name: str, command: Any) -> None:
        self.loaded[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("commands are not removed")


def lazy_group(places: Mapping[str, tuple[str, str]], *, package: str) -> type[TyperGroup]:
    """A group of commands that imports only the command that runs."""

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = Commands(places, package)

        @contextmanager
        def _listed(self) -> Iterator[None]:
            """Replace the commands by their names and lines."""
            commands = self.commands
            self.commands = {
                name: TyperCommand(name, help=line) for name, (_, line) in places.items()
            }
            try:
                yield
            finally:
                self.commands = commands

        def invoke(self, ctx: Any) -> Any:
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:  # Typer would exit with 130 and no message
                import ctypes

                say(INTERRUPTED)
                # If the interruption came in Python code called from C, as in torch, Python ends by
                # the signal and ignores the exit status, unless it runs more code.
                ctypes.pythonapi.PyRun_SimpleString(b"pass")
                raise typer.Exit(130) from None

        def format_help(self, ctx: Any, formatter: Any) -> None:
            with self._listed():
                super().format_help(ctx, formatter)

        def shell_complete(self, ctx: Any, incomplete: str) -> Any:
            with self._listed():
                return super().shell_complete(ctx, incomplete)

    return LazyGroup
