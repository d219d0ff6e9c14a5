"""When two measurements are the same: a key made of all that goes into one.

The key of a unit of work is made of its data (checksums, neighbours), its method with every setting
that is not the default, and its code length; its seed stands beside the key. Whether an earlier
measurement of it still holds depends on two more things: the code of the method, and the versions
of the packages it computes with. Runs written before these were recorded are taken as they are.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sigah.hashers import METHODS, BinaryHasher

__all__ = ["code_version", "package_versions", "still_holds", "unit_key"]

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch")
# what every method stands on; an edit there does not change codes, or tests fail
SHARED = (
    "sigah.hashers",
    "sigah.hashers.base",
    "sigah.rows.blocks",
    "sigah.files",
    "sigah.progress",
)
# not part of what a method is: given beside it, or of no consequence for the codes
APART = ("n_bits", "random_state", "verbose", "device")


def unit_key(
    data: Mapping[str, Any], method: str, parameters: Mapping[str, Any], n_bits: int
) -> str:
    """The SHA-256 of what is measured, for all seeds the same.

    Parameters
    ----------
    data : mapping
        The block ``data`` of results.
    method : str
        Its name, with or without settings: only the class counts, ``parameters`` hold the rest.
    parameters : mapping
        As of ``get_params``.
    n_bits : int

    Examples
    --------
    >>> from sigah import SiGAH
    >>> from sigah.lab.experiments.keys import unit_key
    >>> data = {"base_sha256": "a", "queries_sha256": "b", "k": 10, "n_train": 99}
    >>> plain = unit_key(data, "sigah", SiGAH(32).get_params(), 32)
    >>> plain == unit_key(data, "sigah", SiGAH(32, margin=0.05).get_params(), 32)
    True
    >>> plain == unit_key(data, "sigah", SiGAH(32, margin=0.1).get_params(), 32)
    False
    """
    hasher = METHODS[method.partition(":")[0].partition(".")[0]]
    content = {
        **{key: data[key] for key in ("base_sha256", "queries_sha256", "k", "n_train")},
        "method": hasher.name,
        "parameters": changed(hasher, parameters),
        "n_bits": n_bits,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def changed(hasher: type[BinaryHasher], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that differ from the defaults; numbers as floats, so that 0 is 0.0."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(hasher).parameters.items()
        if name not in APART
    }
    return {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in parameters.items()
        if name in defaults and value != defaults[name]
    }


def still_holds(run: Mapping[str, Any], method: type[BinaryHasher]) -> bool:
    """Whether a run was measured with this code and these versions, as far as it tells."""
    code, versions = run.get("code"), run.get("versions")
    return (code is None or code == code_version(method)) and (
        versions is None or versions == package_versions()
    )


@cache
def package_versions() -> dict[str, str]:
    """Major and minor versions of what methods compute with; patches do not change results."""
    return {name: ".".join(version(name).split(".")[:2]) for name in PACKAGES}


@cache
def code_version(method: type[BinaryHasher]) -> str:
    """The SHA-256 (16 digits) of the code of a method: its module and the hashers' it imports.

    Comments, docstrings and layout do not count, and neither does what all methods share: tests
    hold reading, packing and files to the same codes.

    Examples
    --------
    >>> from sigah import ITQ, LSH
    >>> from sigah.lab.experiments.keys import code_version
    >>> code_version(ITQ) != code_version(LSH)
    True
    """
    todo, seen = [method.__module__], {}
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ImportError(f"the source of {module} is not here")
        tree = ast.parse(Path(spec.origin).read_bytes())
        seen[module] = ast.unparse(without_docstrings(tree))
        todo += [
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("sigah.")
            and node.module is not None
            and node.module not in SHARED
        ]
    content = json.dumps(sorted(seen.items()))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same code; bare strings that stand as statements are left out."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [
                line
                for line in body
                if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return tree
