"""Optional libraries: imported where they are needed, named in one line where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["MissingLibraryError", "require"]


class MissingLibraryError(OSError):
    """Something needs a library that is not installed."""


def require(module: str, purpose: str, extra: str) -> Any:
    """Import a module of an optional library, or say in one line how to get it.

    Parameters
    ----------
    module : str
        Such as ``"scipy.linalg"``.
    purpose : str
        What needs it, as the subject of a sentence: ``"fitting SiGAH"``.
    extra : str
        The extra of sigah that installs it.

    Raises
    ------
    MissingLibraryError
        If the library is not installed.

    Examples
    --------
    >>> from sigah.extras import require
    >>> require("no_such_library", "flying", "wings")
    Traceback (most recent call last):
    sigah.extras.MissingLibraryError: flying needs no_such_library, which is not installed: \
pip install 'sigah[wings]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != library:
            raise  # the library is there, and lacks one of its own
        raise MissingLibraryError(
            f"{purpose} needs {library}, which is not installed: pip install 'sigah[{extra}]'"
        ) from error
