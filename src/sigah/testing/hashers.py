"""Checks of a hasher, one for each requirement."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.codes import unpack
from sigah.hashers import BinaryHasher, DecoderMixin, ScoringHasher, load
from sigah.metric import as_compared, normalized
from sigah.testing.expect import expect, refused

__all__ = ["HASHER_CHECKS", "check_hasher"]

Vectors = NDArray[np.float32]


def check_hasher(hasher: BinaryHasher, X: Vectors | None = None) -> None:
    """Check that a hasher meets every requirement.

    Parameters
    ----------
    hasher : BinaryHasher
        Unfitted, with quick settings: copies of it are fitted about thirty times. It does not
        change.
    X : ndarray of float32, shape (n, d), optional
        Vectors to learn from, with values around 0 to 10; by default 1,000 vectors in clusters,
        with 24 dimensions or as many as the code has bits.

    Raises
    ------
    AssertionError
        Names the requirement that is not met, and the reason.

    See Also
    --------
    HASHER_CHECKS : The single checks, for a test framework.

    Examples
    --------
    >>> from sigah import LSH
    >>> from sigah.testing import check_hasher
    >>> check_hasher(LSH(16, random_state=0))
    """
    if X is None:
        X = _clusters(max(24, hasher.n_bits))
    for check in HASHER_CHECKS:
        try:
            check(copy(hasher), X)
        except AssertionError as error:
            promise = check.__name__.replace("_", " ")
            raise AssertionError(f"{type(hasher).__name__}, {promise}: {error}") from error


def copy(hasher: BinaryHasher, **changes: Any) -> Any:
    """The same hasher, unfitted."""
    return type(hasher)(**{**hasher.get_params(), **changes})


def is_random(hasher: BinaryHasher) -> bool:
    """Whether it draws random numbers."""
    return "random_state" in hasher.get_params()


def seeded(hasher: BinaryHasher, seed: int = 0) -> Any:
    """The same hasher, unfitted, with a seed if it takes one."""
    return copy(hasher, random_state=seed) if is_random(hasher) else copy(hasher)


def parameters_are_stored_as_given(hasher: BinaryHasher, X: Vectors) -> None:
    """Everything that __init__ takes is an attribute of the same name."""
    for name, value in hasher.get_params().items():
        expect(getattr(hasher, name, None) is value, f"{name} is changed in __init__")
    fitted = copy(hasher).fit(X)
    expect(fitted.get_params().keys() == hasher.get_params().keys(), "fit changes the parameters")


def codes_are_packed_bits(hasher: BinaryHasher, X: Vectors) -> None:
    """Codes are uint8 with n_bits / 8 columns; if there are scores, bits are their signs."""
    codes = hasher.fit(X).transform(X)
    expect(codes.dtype == np.uint8, f"codes are {codes.dtype}, not uint8")
    shape = (len(X), hasher.n_bits // 8)
    expect(codes.shape == shape, f"codes have shape {codes.shape}, not {shape}")
    expect(len(hasher.get_feature_names_out()) == shape[1], "there is not one name per column")
    if isinstance(hasher, ScoringHasher):
        bits = hasher.project(X) >= 0
    else:
        bits = hasher._bits(as_compared(X, hasher.metric))
    expect((unpack(codes) == bits).all(), "codes are not the signs of the scores")


def a_vector_has_one_code(hasher: BinaryHasher, X: Vectors) -> None:
    """A vector has the same code alone, in any batch, and repeated."""
    hasher.fit(X)
    whole = hasher.transform(X)
    for size in (1, 7, 500):
        blocks = [hasher.transform(X[i : i + size]) for i in range(0, 500, size)]
        same = np.concatenate(blocks)[:500] == whole[: min(500, len(X))]
        expect(same.all(), f"the code of a vector changes in batches of {size}")
    copies = hasher.transform(np.repeat(X[:3], 50, axis=0))
    expect((copies == np.repeat(whole[:3], 50, axis=0)).all(), "equal vectors have different codes")


def same_seed_same_codes(hasher: BinaryHasher, X: Vectors) -> None:
    """The same data and seed give the same codes; another seed gives others."""
    codes = seeded(hasher).fit(X).transform(X)
    again = seeded(hasher).fit(X).transform(X)
    expect((codes == again).all(), "the same seed gives other codes")
    if is_random(hasher):
        other = seeded(hasher, 1).fit(X).transform(X)
        expect((other != codes).any(), "random_state changes nothing")


def fit_begins_anew(hasher: BinaryHasher, X: Vectors) -> None:
    """A fit does not depend on an earlier fit."""
    once = seeded(hasher).fit(X).transform(X)
    twice = seeded(hasher).fit(X[::-1]).fit(X).transform(X)
    expect((once == twice).all(), "a second fit depends on the first")


def every_number_type_is_read(hasher: BinaryHasher, X: Vectors) -> None:
    """Floats and integers of any width give the same codes as their values in float32."""
    rounded = np.clip(np.round(10 * X), 0, 255).astype(np.float32)
    expected = seeded(hasher).fit(rounded).transform(rounded)
    for dtype in (np.float16, np.float64, np.int16, np.uint8):
        typed = rounded.astype(dtype)
        codes = seeded(hasher).fit(typed).transform(typed)
        expect((codes == expected).all(), f"{np.dtype(dtype)} gives other codes than float32")


class Slices:
    """A source with only a shape, a dtype and row slices, like HDF5 or Zarr."""

    def __init__(self, array: Any) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key: slice) -> Any:
        expect(isinstance(key, slice), "a source is not read by slices of rows")
        return self._array[key]


def sources_of_any_kind_are_read(hasher: BinaryHasher, X: Vectors) -> None:
    """Memory maps, and sources with only a shape, a dtype and row slices."""
    expected = seeded(hasher).fit(X).transform(X)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        np.save(Path(folder, "x.npy"), X)
        mapped = np.load(Path(folder, "x.npy"), mmap_mode="r")
        for name, source in (("a memory map", mapped), ("a foreign source", Slices(X))):
            codes = seeded(hasher).fit(source).transform(source)
            expect((codes == expected).all(), f"{name} gives other codes than its array")
        del mapped, source


def a_saved_model_is_the_same_model(hasher: BinaryHasher, X: Vectors) -> None:
    """Saving and pickling keep class, parameters, fingerprint, codes and decoded vectors."""
    hasher = seeded(hasher).fit(X)
    codes = hasher.transform(X)
    with tempfile.TemporaryDirectory() as folder:
        hasher.save(Path(folder, "model"))
        loaded: Any = load(Path(folder, "model"))
    expect(type(loaded) is type(hasher), f"it is loaded as {type(loaded).__name__}")
    expect(loaded.get_params() == hasher.get_params(), "parameters are lost in the file")
    expect(loaded.fingerprint == hasher.fingerprint, "the loaded model has another fingerprint")
    expect((loaded.transform(X) == codes).all(), "the loaded model makes other codes")
    if isinstance(hasher, DecoderMixin):
        same = loaded.reconstruct(codes) == hasher.reconstruct(codes)
        expect(same.all(), "the loaded model decodes differently")
    pickled = pickle.loads(pickle.dumps(hasher))
    expect((pickled.transform(X) == codes).all(), "the pickled model makes other codes")


def fingerprints_tell_models_apart(hasher: BinaryHasher, X: Vectors) -> None:
    """The same model has the same fingerprint; another model has another one."""
    first = seeded(hasher).fit(X).fingerprint
    expect(seeded(hasher).fit(X).fingerprint == first, "one model has two fingerprints")
    other = seeded(hasher, 1).fit(X if is_random(hasher) else 1 - X)
    expect(other.fingerprint != first, "two models have one fingerprint")


def cosine_is_l2_of_unit_rows(hasher: BinaryHasher, X: Vectors) -> None:
    """With a parameter metric: by cosine, vectors are learned from and encoded at unit length."""
    if "metric" not in hasher.get_params():
        expect(hasher.metric == "l2", "a metric other than l2 must be a parameter")
        return
    lengths = np.random.RandomState(0).uniform(0.1, 10, (len(X), 1))
    scaled = (X * lengths).astype(np.float32)
    units = normalized(scaled)
    by_cosine = copy(seeded(hasher), metric="cosine").fit(scaled)
    by_l2 = copy(seeded(hasher), metric="l2").fit(units)
    codes = by_cosine.transform(scaled)
    expect((codes == by_l2.transform(units)).all(), "by cosine, the codes are not of unit rows")
    expect(by_cosine.fingerprint != by_l2.fingerprint, "two metrics have one fingerprint")
    if isinstance(hasher, ScoringHasher):
        same = by_cosine.project(scaled) == by_l2.project(units)
        expect(same.all(), "by cosine, the scores are not of unit rows")
    if isinstance(hasher, DecoderMixin):
        same = by_cosine.reconstruct(codes) == by_l2.reconstruct(codes)
        expect(same.all(), "by cosine, decoded vectors are not those of unit rows")
        same = by_cosine.score(scaled) == by_l2.score(units)
        expect(bool(same), "by cosine, the score is not that of unit rows")


def decoding_is_scored(hasher: BinaryHasher, X: Vectors) -> None:
    """The score is the negative error of the binary codes; wrong codes are refused."""
    if not isinstance(hasher, DecoderMixin):
        expect(not hasattr(hasher, "score"), "score needs reconstruct: derive from DecoderMixin")
        expect(not hasattr(hasher, "reconstruct"), "reconstruct: derive from DecoderMixin")
        return
    decoder: Any = hasher.fit(X)
    decoded = decoder.reconstruct(decoder.transform(X))
    expect(decoded.dtype == np.float32, f"decoded vectors are {decoded.dtype}, not float32")
    expect(decoded.shape == X.shape, f"decoded vectors have shape {decoded.shape}")
    error = float(np.square(as_compared(X, hasher.metric) - decoded).sum(axis=1).mean())
    expect(np.isclose(decoder.score(X), -error, rtol=1e-4), "score is not the negative error")
    with refused("codes of another length", f"expected {hasher.n_bits}"):
        decoder.reconstruct(np.zeros((3, hasher.n_bits // 8 + 2), np.uint8))
    with refused("codes of floats", "packed bytes"):
        decoder.reconstruct(np.zeros((3, 16)))


def bad_vectors_are_refused(hasher: BinaryHasher, X: Vectors) -> None:
    """Empty, text, complex and infinite data, and wrong shapes; errors name row and column."""
    n, d = X.shape
    for X_bad, message in (
        (np.empty((0, d)), "0 sample"),
        (np.empty((d, 0)), "0 feature"),
        (np.zeros(d), "2D array"),
        (np.zeros((n, 4, 6)), r"2D array.*4, 6\)"),
        (np.full((n, d), "seven"), "numeric|convert"),
        (np.full((n, d), np.nan), "row 0, column 0"),
        (np.full((n, d), 1e300), "too large for float32"),
        (np.ones((n, d), complex), "[Cc]omplex"),
    ):
        with refused(f"data of shape {X_bad.shape} and {X_bad.dtype}", message):
            copy(hasher).fit(X_bad)
    hasher.fit(X)
    for row, column in ((17, 3), (len(X) - 1, d - 1)):
        broken = X.copy()
        broken[row, column] = np.inf
        for name, use in (("fit", copy(hasher).fit), ("transform", hasher.transform)):
            with refused(f"infinity in {name}", f"row {row}, column {column}"):
                use(broken)
    with refused("one dimension too few", f"{d - 1} features.*{d} features"):
        hasher.transform(X[:, : d - 1])


def impossible_code_lengths_are_refused(hasher: BinaryHasher, X: Vectors) -> None:
    """Code lengths are multiples of 8, and no longer than the method can make from the data."""
    for n_bits in (0, -8, 12, 8.0, "64", None, True):
        with refused(f"n_bits={n_bits!r}", "n_bits must be"):
            copy(hasher, n_bits=n_bits).fit(X)
    n_bits = (2 * X.shape[1] + 7) // 8 * 8
    wide = copy(hasher, n_bits=n_bits)
    if hasher.exceeds_dimension:
        bits = unpack(wide.fit(X).transform(X))
        distinct = len(np.unique(bits.T, axis=0))
        expect(distinct == n_bits, f"only {distinct} of {n_bits} bits differ")
    else:
        with refused("more bits than dimensions", "more bits than the vectors have dimensions"):
            wide.fit(X)


def too_few_rows_are_refused(hasher: BinaryHasher, X: Vectors) -> None:
    """Each bit needs min_rows_per_bit rows."""
    if not hasher.min_rows_per_bit:
        rows = X[: hasher.n_bits - 1]
        expect(len(hasher.fit(rows).transform(rows)) == len(rows), "few rows are not encoded")
        return
    needed = hasher.n_bits * hasher.min_rows_per_bit
    with refused(f"{needed - 1} rows", f"at least {needed} rows"):
        hasher.fit(X[: needed - 1])


def nothing_works_before_fit(hasher: BinaryHasher, X: Vectors) -> None:
    """An unfitted hasher raises an error, and writes no file."""
    with refused("transform before fit", "not fitted"):
        hasher.transform(X)
    with tempfile.TemporaryDirectory() as folder:
        with refused("save before fit", "not fitted"):
            hasher.save(Path(folder, "model"))
        expect(not list(Path(folder).iterdir()), "a failed save leaves a file")


HASHER_CHECKS: tuple[Callable[[BinaryHasher, Vectors], None], ...] = (
    parameters_are_stored_as_given,
    codes_are_packed_bits,
    a_vector_has_one_code,
    same_seed_same_codes,
    fit_begins_anew,
    every_number_type_is_read,
    sources_of_any_kind_are_read,
    a_saved_model_is_the_same_model,
    fingerprints_tell_models_apart,
    cosine_is_l2_of_unit_rows,
    decoding_is_scored,
    bad_vectors_are_refused,
    impossible_code_lengths_are_refused,
    too_few_rows_are_refused,
    nothing_works_before_fit,
)


def _clusters(dim: int) -> Vectors:
    """1,000 vectors in 20 overlapping clusters, off-centre."""
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=2, size=(20, dim))
    points = centres[rng.integers(20, size=1000)] + rng.normal(size=(1000, dim))
    return (3 + points).astype(np.float32)
