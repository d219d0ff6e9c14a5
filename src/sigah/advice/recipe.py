"""Recipes: what to build and how to search it, in a small file that other commands accept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from sigah.files.atomic import atomic_write
from sigah.metric import METRICS

__all__ = ["FACTORIES", "FORMAT", "OF_HASHERS", "Recipe", "read_recipe", "write_recipe"]

FORMAT = "sigah recipe 1"
#: What FAISS's ``index_factory`` takes, with the bytes of a vector as ``m``.
FACTORIES = {"sq8": "SQ8", "pq": "PQ{m}x8", "opq": "OPQ{m},PQ{m}x8", "rabitq": "RaBitQ"}
OF_HASHERS = ("sign", "itq", "sigah")  # what `sigah fit` makes
METHODS = (*OF_HASHERS, "vectors", *FACTORIES, "floats")
RANKINGS = ("hamming", "asymmetric", "tables", "codes", "exact")


@dataclass(frozen=True)
class Recipe:
    """What to build, and how to search it.

    Attributes
    ----------
    metric : {"cosine", "l2", "ip"}
    method : str
        "sign", "itq" or "sigah": a model of `sigah fit`. "vectors": an index of `sigah vectors
        build`. The others are made without sigah.
    bytes, bits : int
        Of a vector, and of its hash code; 0 bits without one.
    ranking : str
        "hamming" or "asymmetric" for codes; "tables" for an index of vectors.
    reads : int
        Original vectors that rank the best of each query once more; 0: none.
    k : int
        Neighbours that it was measured for.
    parameters : dict
        Of the method, beyond these.
    recall : dict
        ``low``, ``expected`` and ``high`` at the full size.
    ndcg_kept : dict
        The same of the share of the nDCG of the full vectors; empty without judgements.
    made_from : dict
        The vectors: ``name``, ``rows``, ``dimensions``, and ``sampled``, rows measured.
    version : str
        Of sigah.
    """

    metric: str
    method: str
    bytes: int
    bits: int
    ranking: str
    reads: int
    k: int
    parameters: dict[str, Any] = field(default_factory=dict)
    recall: dict[str, float] = field(default_factory=dict)
    ndcg_kept: dict[str, float] = field(default_factory=dict)
    made_from: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    def __post_init__(self) -> None:
        _one_of(self.metric, METRICS, "metric")
        _one_of(self.method, METHODS, "method")
        _one_of(self.ranking, RANKINGS, "ranking")
        for name, least in (("bytes", 1), ("bits", 0), ("reads", 0), ("k", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}")
        if self.bits % 8 or (self.method in OF_HASHERS and not self.bits):
            raise ValueError(f"bits must be a multiple of 8, got {self.bits}")
        for name in ("parameters", "recall", "ndcg_kept", "made_from"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} must be a table of names and values")

    @property
    def by(self) -> str:
        """The ranking as ``sigah search --by`` takes it."""
        return "raw" if self.reads else self.ranking

    def oversampling(self, k: int) -> float:
        """Candidates for each neighbour, as ``sigah search --oversampling`` takes them."""
        return max(1.0, self.reads / k) if self.reads else math.inf


def write_recipe(path: str | PathLike[str], recipe: Recipe) -> None:
    """Write a recipe as JSON, atomically."""
    with atomic_write(path) as file:
        content = {"format": FORMAT, **asdict(recipe)}
        file.write((json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_recipe(path: str | PathLike[str]) -> Recipe:
    """Read a recipe.

    Raises
    ------
    ValueError
        If the file is not a recipe, or contradicts itself; the message names the entry.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sigah.advice import Recipe, read_recipe, write_recipe
    >>> recipe = Recipe("cosine", "itq", bytes=16, bits=128, ranking="hamming", reads=100, k=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_recipe(Path(folder) / "recipe.json", recipe)
    ...     read_recipe(Path(folder) / "recipe.json") == recipe
    True
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a recipe of `sigah advise` (not JSON: {error})") from None
    if not isinstance(content, Mapping) or not str(content.get("format")).startswith("sigah rec"):
        raise ValueError(f"{path} is not a recipe of `sigah advise`")
    if content["format"] != FORMAT:
        raise ValueError(f"{path} has the format {content['format']!r}; this sigah reads {FORMAT}")
    entries = {name: value for name, value in content.items() if name != "format"}
    try:
        return Recipe(**entries)
    except TypeError:
        known = set(Recipe.__dataclass_fields__)
        needed = {"metric", "method", "bytes", "bits", "ranking", "reads", "k"}
        wrong = sorted(set(entries) - known) or sorted(needed - set(entries))
        what = "has unknown entries" if set(entries) - known else "lacks entries"
        raise ValueError(f"{path}: the recipe {what}: {', '.join(wrong)}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _one_of(value: object, known: tuple[str, ...], name: str) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
