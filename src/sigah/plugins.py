"""Classes from outside of sigah: installed plug-ins, and classes named by module or file.

A plug-in is found in three ways. An installed package names it as an entry point. The variable
``SIGAH_PLUGINS`` lists modules or files to import. The command line names one class, as
``my_module:MyHash`` or ``./my_hash.py:MyHash``. Nothing is imported that none of them names: a
model file never decides what code runs.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, cast

__all__ = [
    "VARIABLE",
    "class_path",
    "load_class",
    "load_function",
    "loaded_subclasses",
    "plugins",
    "split_words",
]

VARIABLE = "SIGAH_PLUGINS"

# a module or a file, a colon and a class; in front of the settings, which have an equals sign
CLASS = re.compile(r"((?:[A-Za-z]:[\\/])?[^:=]+):([A-Za-z_]\w*)(?=:|$)")


def split_words(text: str, known: str | None = None) -> tuple[str, list[str]]:
    """Split ``NAME:SETTING=VALUE:...`` into the name and the settings.

    Parameters
    ----------
    text : str
        The name is one word, or ``MODULE:CLASS``, or ``FILE.py:CLASS``.
    known : str, optional
        The part before the first colon, if that is a name already and no module.

    Examples
    --------
    >>> from sigah.plugins import split_words
    >>> split_words("sigah:pair=0:n_steps=500", known="sigah")
    ('sigah', ['pair=0', 'n_steps=500'])
    >>> split_words("my_module:MyHash:n_iter=3")
    ('my_module:MyHash', ['n_iter=3'])
    """
    found = None if known else CLASS.match(text)
    name = found[0] if found else text.partition(":")[0]
    rest = text[len(name) + 1 :]
    return name, rest.split(":") if rest else []


def class_path(kind: type) -> str:
    """What names a class: ``my_module:MyHash``."""
    return f"{kind.__module__}:{kind.__qualname__}"


def load_class(path: str, base: type) -> type[Any]:
    """The class that ``MODULE:CLASS`` or ``FILE.py:CLASS`` names.

    Parameters
    ----------
    path : str
        A module is looked for in the current folder too.
    base : type
        What the class has to derive from.

    Raises
    ------
    ValueError
        If the module cannot be imported, or has no such class.
    """
    source, _, name = path.rpartition(":")
    module = _load_module(source)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        here = ", ".join(kind.__name__ for kind in _defined(module, base)) or "none"
        raise ValueError(
            f"{source} has no class {name}; its classes derived from {base.__name__}: {here}"
        )
    if not issubclass(found, base):
        raise ValueError(f"{path} does not derive from sigah's {base.__name__}")
    _name(found)
    return found


def load_function(path: str) -> Callable[..., Any]:
    """The function that ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION`` names.

    Raises
    ------
    ValueError
        If the module cannot be imported, or has no such function.
    """
    source, _, name = path.rpartition(":")
    found: Any = getattr(_load_module(source), name, None)
    if not callable(found):
        raise ValueError(f"{source} has no function {name}")
    return cast(Callable[..., Any], found)


def plugins(group: str, base: type) -> dict[str, type[Any]]:
    """All plug-ins by their ``name``: entry points, and the modules of ``SIGAH_PLUGINS``.

    Parameters
    ----------
    group : str
        Of the entry points: ``sigah.hashers`` or ``sigah.engines``.
    base : type
        Classes that do not derive from it are left out.

    Raises
    ------
    ValueError
        If a plug-in cannot be imported.
    """
    found: dict[str, type[Any]] = {}
    for entry in entry_points(group=group):
        kind = load_class(entry.value.partition("[")[0].strip(), base)
        found[_name(kind)] = kind
    for source in filter(None, os.environ.get(VARIABLE, "").split(",")):
        for kind in _defined(_load_module(source.strip()), base):
            found[_name(kind)] = kind
    return found


def loaded_subclasses(base: type) -> Iterator[type[Any]]:
    """Every class derived from ``base`` that this process has imported."""
    kinds: list[type[Any]] = base.__subclasses__()
    for kind in kinds:
        yield kind
        yield from loaded_subclasses(kind)


def _name(kind: type) -> str:
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(
            f'{class_path(kind)} needs a class attribute `name`, one word: name = "my_hash"'
        )
    return name


def _defined(module: ModuleType, base: type) -> list[type[Any]]:
    """The classes derived from ``base`` that a module defines and names."""
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, base)
        and kind.__module__ == module.__name__
        and hasattr(kind, "name")
    ]


def _load_module(source: str) -> ModuleType:
    try:
        return _load_file(Path(source)) if source.endswith(".py") else _import(source)
    except Exception as error:  # whatever a stranger's module raises
        raise ValueError(f"{source} cannot be imported: {error}") from error


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        here = str(Path.cwd())
        if error.name != name.partition(".")[0] or here in sys.path:
            raise
    sys.path.insert(0, here)  # where `python -m` looks too, and the `sigah` command does not
    return import_module(name)


def _load_file(path: Path) -> ModuleType:
    """Run a file as a module of its own name, once."""
    path = path.resolve()
    loaded = sys.modules.get(path.stem)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(path):
            return loaded
        raise ImportError(f"another module is called {path.stem}; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # pickle and spawned workers look the class up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module
