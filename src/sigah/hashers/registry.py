"""Names of methods: ``sigah``, ``sigah.paper``, ``itq:n_iter=20``, ``my_module:MyHash``.

The grammar of a method on the command line::

    NAME[:SETTING=VALUE]...              a method of sigah, or of an installed plug-in
    MODULE:CLASS[:SETTING=VALUE]...      a class of a module (installed, or in the current folder)
    FILE.py:CLASS[:SETTING=VALUE]...     a class of a file
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sigah.hashers.base import BinaryHasher
from sigah.hashers.methods import FOR_IMAGES, METHODS
from sigah.metric import check_metric
from sigah.plugins import (
    VARIABLE,
    class_path,
    load_class,
    loaded_subclasses,
    plugins,
    split_words,
)

__all__ = [
    "METHOD_NAMES",
    "RECIPES",
    "class_of_model",
    "knows_metric",
    "make_hasher",
    "method_class",
    "method_label",
    "method_names",
    "methods_for_any_vectors",
]

# what SiGAH offers beside its defaults, by the name of its class method
RECIPES = ("sigah.paper", "sigah.semantic")
METHOD_NAMES = ("sigah", *RECIPES, *[name for name in METHODS if name != "sigah"])
GROUP = "sigah.hashers"


def method_names() -> list[str]:
    """Every method that has a name: sigah's own, then plug-ins."""
    return [*METHOD_NAMES, *(name for name in plugins(GROUP, BinaryHasher) if name not in METHODS)]


def methods_for_any_vectors() -> list[str]:
    """The names that ``--methods all`` stands for.

    Methods for images are not among them: those on pixels refuse other vectors and other metrics
    than l2, and their training takes minutes to days.
    """
    return [name for name in method_names() if name not in {"sigah.semantic", *FOR_IMAGES}]


def method_class(method: str) -> type[BinaryHasher]:
    """The class of a named method.

    Raises
    ------
    ValueError
        If there is no such method, or a plug-in uses a name of sigah's own.

    Examples
    --------
    >>> from sigah.hashers.registry import method_class
    >>> method_class("sigah.paper:n_steps=10").__name__
    'SiGAH'
    >>> method_class("sigah.hashers.itq:ITQ").__name__
    'ITQ'
    """
    name, _ = _split(method)
    if name in METHOD_NAMES:
        return METHODS[name.partition(".")[0]]
    if ":" in name:
        return _checked(load_class(name, BinaryHasher))
    others = plugins(GROUP, BinaryHasher)
    if name not in others:
        raise ValueError(
            f"unknown method {name!r}; known: {', '.join([*METHOD_NAMES, *others])}; for your own"
            " class, write my_module:MyHash or ./my_file.py:MyHash"
        )
    return _checked(others[name])


def method_label(method: str) -> str:
    """The label of a method in results: its name and settings, without the place of its class.

    Examples
    --------
    >>> from sigah.hashers.registry import method_label
    >>> method_label("sigah.hashers.itq:ITQ:n_iter=9")
    'itq:n_iter=9'
    """
    name, settings = _split(method)
    if ":" in name:
        name = method_class(method).name
    return ":".join([name, *settings])


def knows_metric(method: str, metric: str) -> bool:
    """Whether a named method serves a metric.

    Examples
    --------
    >>> from sigah.hashers.registry import knows_metric
    >>> knows_metric("sigah", "cosine"), knows_metric("hash_gan", "cosine")
    (True, False)
    """
    kind: Any = method_class(method)
    hasher: BinaryHasher = kind(8)
    return metric == hasher.metric or "metric" in hasher.get_params()


def make_hasher(
    method: str,
    n_bits: int,
    seed: int | None,
    settings: Iterable[str] = (),
    *,
    metric: str | None = None,
) -> BinaryHasher:
    """Make an unfitted hasher by the name of its method.

    Parameters
    ----------
    method : str
        See the grammar above; ``sigah.paper`` is the literal reading of the paper, and
        ``sigah.semantic`` is for vectors of the same kind.
    n_bits : int
    seed : int or None
        Deterministic methods ignore it.
    settings : iterable of str
        More ``name=value`` pairs.
    metric : {"l2", "cosine", "ip"}, optional
        By default the method's own, which is l2 unless a setting says otherwise.

    Raises
    ------
    ValueError
        If there is no such method, setting or metric, or the method does not know the metric.

    Examples
    --------
    >>> from sigah.hashers.registry import make_hasher
    >>> make_hasher("sigah:pair=0", 32, 0).pair
    0
    """
    name, attached = _split(method)
    kind: Any = method_class(method)
    recipe = name.partition(".")[2] if name in RECIPES else ""
    hasher: BinaryHasher = (getattr(kind, recipe) if recipe else kind)(n_bits)
    if "random_state" in hasher.get_params():  # some are deterministic
        hasher.set_params(random_state=seed)
    if metric is not None and hasher.metric != check_metric(metric):
        if "metric" not in hasher.get_params():
            raise ValueError(
                f"{name} knows the metric {hasher.metric} only, not {metric}: its __init__ has no"
                " parameter metric"
            )
        hasher.set_params(metric=metric)
    for setting in [*attached, *settings]:
        key, equals, value = setting.partition("=")
        if not equals or key not in hasher.get_params():
            raise ValueError(
                f"{setting!r} is not a setting; {name} has {', '.join(hasher.get_params())}"
            )
        try:
            hasher.set_params(**{key: json.loads(value.lower())})
        except json.JSONDecodeError:
            hasher.set_params(**{key: value})
    if metric is not None and hasher.metric != metric:
        raise ValueError(
            f"{name} cannot have two metrics: {hasher.metric} by its settings, and {metric}"
        )
    return hasher


def class_of_model(header: Mapping[str, Any]) -> type[BinaryHasher]:
    """The class of a saved model: sigah's own, a plug-in's, or one that is already imported.

    A file never causes an import.

    Raises
    ------
    ValueError
        If the class is not known.
    """
    name, path = header["method"], header.get("class")
    if path is None:
        if name in METHODS:
            return METHODS[name]
        raise ValueError(f"it holds a model of the method {name!r}; upgrade sigah")
    known = [*plugins(GROUP, BinaryHasher).values(), *loaded_subclasses(BinaryHasher)]
    known = [kind for kind in known if getattr(kind, "name", None) == name]
    # the class of the same path; otherwise a class of that name, if only one path has it
    same = [kind for kind in known if class_path(kind) == path] or list(dict.fromkeys(known))
    if not same or (len(same) > 1 and class_path(same[0]) != path):
        module = path.partition(":")[0]
        raise ValueError(
            f"it holds a model of {path} ({name!r}), which is not known here: import the class"
            f" before you load the model, or set {VARIABLE} to its module or file, as in"
            f" {VARIABLE}={module}"
        )
    return same[-1]  # the newest, if a module was loaded again


def _split(method: str) -> tuple[str, list[str]]:
    first = method.partition(":")[0]
    return split_words(method, first if first in METHOD_NAMES else None)


def _checked(kind: type[BinaryHasher]) -> type[BinaryHasher]:
    if METHODS.get(kind.name, kind) is not kind:
        raise ValueError(
            f"{class_path(kind)} has the name {kind.name!r}, which is a method of sigah's own; give"
            " it another name"
        )
    return kind
