"""The demo: codes of real images and of real text, as two pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sigah.lab.demo.images import SETS, write_images
from sigah.lab.demo.text import SET as TEXT
from sigah.lab.demo.text import write_text

__all__ = ["SETS", "TEXT", "demo"]


def demo(out: Path, *, announce: Callable[[Any], None], text: bool = True) -> Path:
    """Measure and write both pages; returns the path of the one on images.

    Parameters
    ----------
    out : Path
        Folder for ``index.html`` and ``results.json`` of images, and ``text.html``.
    announce : callable
        Told what happens: a line, or the table of a data set.
    text : bool, default=True
        Whether to measure text, which takes a minute and comes first.

    Raises
    ------
    OSError
        If a data set is not in the cache and cannot be fetched.
    """
    beside = None
    if text:
        page = write_text(out, announce=announce)
        announce(f"open {page} in a browser; images follow")
        beside = page.name
    return write_images(out, announce=announce, beside=beside)
