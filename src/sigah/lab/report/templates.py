"""The pages of the lab as templates; they share one style sheet."""

from __future__ import annotations

from importlib import resources

import jinja2

__all__ = ["templates"]


def templates() -> jinja2.Environment:
    """Templates by their path below ``sigah.lab``, such as ``report/report.html``."""
    folder = resources.files("sigah.lab")
    return jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text()),
    )
