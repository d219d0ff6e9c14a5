"""Keys that identify a measurement by everything that its result depends on.

A key covers the data (checksums, neighbours, training rows, metric), the method with all settings
that differ from the defaults, and the code length; the seed is kept beside the key. An earlier
measurement is still valid if the ``revision`` of the method and the versions of the packages that
it uses are the same.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sigah.hashers import METHODS, BinaryHasher
from sigah.plugins import class_path

__all__ = ["identity", "package_versions", "run_key", "still_holds", "unit_key"]

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch")
# parameters outside the key: stored beside it, or without influence on the codes
APART = ("n_bits", "random_state", "verbose", "device")
# before methods had revisions, runs recorded the checksum of the method's source; these are the
# checksums of revision 1
FIRST_SOURCES = {
    "sigah": "b938348a6bbe1997",
    "itq": "3c7fabf6529143cc",
    "pca_rotation": "e07d670fcfa95f94",
    "binary_autoencoder": "9d123e8c8a4ac883",
    "stochastic_generative": "65372e9ef8395f4a",
    "kmeans": "4084e3a60faa052c",
    "spherical": "f1e72627360df449",
    "ordinal_constrained": "85f36ab530914dcb",
    "spectral": "081a4d612447553d",
    "anchor_graph": "0bb4aca8c64391be",
    "discrete_graph": "c59355dc98063f4d",
    "scalable_graph": "767f7071bd647a78",
    "lsh": "90c5f388459dd5c2",
    "qolsh": "d0fd02c2e9e5eb5c",
    "sign": "fb57e34919d71341",
}
# methods whose training Ctrl-C used to end early: if a run records neither revision nor source, its
# training may be incomplete
CUT_SHORT = ("sigah",)


def unit_key(data: Mapping[str, Any], hasher: BinaryHasher) -> str:
    """The SHA-256 that identifies a measurement; it is the same for all seeds.

    Parameters
    ----------
    data : mapping
        The block ``data`` of results.
    hasher : BinaryHasher
        Unfitted.

    Examples
    --------
    >>> from sigah import SiGAH
    >>> from sigah.evaluation.keys import unit_key
    >>> data = {"base_sha256": "a", "queries_sha256": "b", "k": 10, "n_train": 99}
    >>> plain = unit_key(data, SiGAH(32))
    >>> plain == unit_key(data, SiGAH(32, margin=0.05, random_state=7))
    True
    >>> plain == unit_key(data, SiGAH(32, margin=0.1))
    False
    """
    return _key(data, type(hasher), identity(type(hasher)), hasher.get_params(), hasher.n_bits)


def run_key(data: Mapping[str, Any], run: Mapping[str, Any]) -> str | None:
    """The key of an earlier run; None if this version cannot compute it.

    For sigah's own methods, the key is computed from the run's parameters, because a method may
    have gained parameters since. A plug-in may no longer be installed, so its runs store their key.
    """
    if "class" in run:
        return str(run["key"])
    method = METHODS.get(str(run["method"]).partition(":")[0].partition(".")[0])
    if method is None:
        return None
    return _key(data, method, method.name, run["parameters"], run["n_bits"])


def identity(method: type[BinaryHasher]) -> str:
    """What identifies a method: the name of one of sigah's own, the path and name of a plug-in."""
    own = METHODS.get(method.name) is method
    return method.name if own else f"{class_path(method)} {method.name}"


def still_holds(run: Mapping[str, Any], method: type[BinaryHasher]) -> bool:
    """Whether a run is complete and has this revision and these versions."""
    measured = run.get("versions", {})
    here = package_versions()
    return revision_of(run, method.name) == method.revision and all(
        measured[name] == here[name] for name in measured.keys() & here.keys()
    )


def revision_of(run: Mapping[str, Any], method: str) -> int | None:
    """The revision of the method that a run was measured with; None if that is unknown."""
    if "revision" in run:
        return int(run["revision"])
    if "code" in run:
        return 1 if run["code"] == FIRST_SOURCES.get(method) else None
    return None if method in CUT_SHORT else 1


@cache
def package_versions() -> dict[str, str]:
    """Major and minor versions of the packages that methods use; patches do not change results."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):  # most methods do not need torch
            found[name] = ".".join(version(name).split(".")[:2])
    return found


def _key(
    data: Mapping[str, Any],
    method: type[BinaryHasher],
    name: str,
    parameters: Mapping[str, Any],
    n_bits: int,
) -> str:
    content = {
        **{key: data[key] for key in ("base_sha256", "queries_sha256", "k", "n_train")},
        # keys of before there were metrics remain
        **({} if data.get("metric", "l2") == "l2" else {"metric": data["metric"]}),
        "method": name,
        "parameters": changed(method, parameters),
        "n_bits": n_bits,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def changed(method: type[BinaryHasher], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that differ from the defaults; numbers as floats, so that 0 is 0.0."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(method).parameters.items()
        if name not in APART
    }
    return {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in parameters.items()
        if name in defaults and value != defaults[name]
    }
