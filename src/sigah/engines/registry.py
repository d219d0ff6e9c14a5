"""Names of engines, whose modules are loaded when they are first used.

A name is one of sigah's own engines, one of an installed plug-in, or a class:
``my_module:MyEngine`` or ``./my_engine.py:MyEngine``.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from os import PathLike
from typing import Any

from sigah.engines.base import Engine
from sigah.plugins import load_class, plugins

__all__ = ["ENGINES", "engine_class", "make_engine", "parse_settings"]

ENGINES = {
    "clickhouse": "sigah.engines.clickhouse:ClickHouse",
    "faiss": "sigah.engines.faiss:Faiss",
    "lancedb": "sigah.engines.lancedb:LanceDB",
    "milvus": "sigah.engines.milvus:Milvus",
    "pgvector": "sigah.engines.pgvector:PgVector",
    "usearch": "sigah.engines.usearch:USearch",
}
GROUP = "sigah.engines"


def engine_class(name: str) -> type[Engine]:
    """The class of an engine; this does not load the engine's library."""
    if path := ENGINES.get(name) or (name if ":" in name else None):
        return load_class(path, Engine)
    others = plugins(GROUP, Engine)
    if name not in others:
        raise ValueError(
            f"unknown engine {name!r}; known: {', '.join([*ENGINES, *others])}; for your own class,"
            " write my_module:MyEngine or ./my_file.py:MyEngine"
        )
    return others[name]


def make_engine(name: str, target: str | PathLike[str], **settings: Any) -> Engine:
    """Make an engine for a target, without connecting to it.

    Parameters
    ----------
    name : str
        A name of :data:`ENGINES`, of a plug-in, or ``module:Class``.
    target : str or path-like
        A path or an address.
    **settings
        Of the engine: ``kind`` and the other settings of its class.

    Raises
    ------
    ValueError
        If there is no such engine or setting.
    """
    engine = engine_class(name)
    known = _settings_of(engine)
    for key in settings:
        if key not in known:
            raise ValueError(f"{key!r} is not a setting of {name}; it has {', '.join(known)}")
    return engine(str(target), **settings)


def parse_settings(name: str, words: Iterable[str]) -> dict[str, Any]:
    """Settings from ``name=value`` words.

    Examples
    --------
    >>> from sigah.engines.registry import parse_settings
    >>> parse_settings("faiss", ["kind=ivf", "probes=16"])
    {'kind': 'ivf', 'probes': 16}
    """
    settings: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            known = ", ".join(_settings_of(engine_class(name)))
            raise ValueError(f"{word!r} is not a setting (NAME=VALUE); {name} has {known}")
        try:
            settings[key] = json.loads(value.lower())
        except json.JSONDecodeError:
            settings[key] = value
    return settings


def _settings_of(engine: type[Engine]) -> list[str]:
    parameters = inspect.signature(engine).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
