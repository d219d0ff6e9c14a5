"""The contract of a hasher: what every method shares, once.

A method file holds only its mathematics. It derives from :class:`LinearHasher` and fills in one
hook, ``_fit``; or from :class:`ScoringHasher`, with ``_scores``, when its scores are not linear; or
from :class:`BinaryHasher`, with ``_bits``, when its bits are not signs of scores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_is_fitted,
    validate_data,
)

from sigah import files
from sigah.codes import check_codes, check_n_bits, signs
from sigah.plugins import class_path
from sigah.rows.blocks import Rows, is_row_source

__all__ = ["BinaryHasher", "DecoderMixin", "LinearHasher", "ScoringHasher"]


class BinaryHasher(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Vectors in, packed binary codes out.

    Subclasses store parameters in ``__init__``, learn in :meth:`_fit` and encode in :meth:`_bits`.
    """

    name: ClassVar[str]  # what the command line and model files call the method
    revision: ClassVar[int] = 1  # raised when the same data and seed learn or encode differently
    fit_cost: ClassVar[str]  # "instant" or "seconds" (at most 60): 60,000 x 784, 64 bits, two cores
    exceeds_dimension: ClassVar[bool] = False  # whether n_bits may exceed the vectors' dimension
    min_rows_per_bit: ClassVar[int] = 1  # training rows needed for each bit; 0: any number
    fitted_arrays: ClassVar[tuple[str, ...]]  # the learned arrays, saved in model files
    optional_arrays: ClassVar[tuple[str, ...]] = ()  # those that only some settings learn

    n_bits: int
    random_state: Any = None  # methods that draw nothing have no such parameter

    @abstractmethod
    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        """Learn from ``rows`` and set the fitted attributes."""

    @abstractmethod
    def _bits(self, block: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Bits ``(m, n_bits)`` of a block of vectors ``(m, d)``.

        The bits of a vector must not depend on the other vectors of its block.
        """

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the hash functions from vectors.

        Parameters
        ----------
        X : array-like, shape (n, d)
            A NumPy array or memory map of floats or integers, or anything with ``shape``,
            ``dtype`` and row slicing. It is read in blocks and never copied whole.
        y : ignored
            Present for scikit-learn's pipelines.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``X`` is empty, not numeric, not finite, has too few rows for ``n_bits``, or if the
            method cannot make ``n_bits`` bits from ``d`` dimensions.
        """
        n_bits = check_n_bits(self.n_bits)
        rows = self._rows(X, reset=True)
        method = type(self).__name__
        if n_bits > rows.dim and not self.exceeds_dimension:
            raise ValueError(
                f"{method} cannot make more bits than the vectors have dimensions: n_bits={n_bits},"
                f" n_features={rows.dim}; lower n_bits or use SiGAH or LSH"
            )
        if len(rows) < self.min_rows_per_bit * n_bits:
            raise ValueError(
                f"{method} needs at least {self.min_rows_per_bit * n_bits} rows to learn {n_bits}"
                f" bits, got n_samples = {len(rows)}; add rows or lower n_bits"
            )
        self._fit(rows, check_random_state(self.random_state))
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.uint8]:
        """Encode vectors.

        Parameters
        ----------
        X : array-like, shape (n, d)

        Returns
        -------
        codes : ndarray of uint8, shape (n, n_bits // 8)
            Packed as by :func:`sigah.codes.pack`.
        """
        rows = self._fitted_rows(X)
        codes = np.empty((len(rows), self.n_bits // 8), np.uint8)
        for where, block in rows.blocks():
            codes[where] = self._codes(block)
        return codes

    def _codes(self, block: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Packed codes of a block of vectors that are known to be finite."""
        return np.packbits(self._bits(block), axis=1)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model to one safetensors file, atomically.

        Open it again with :func:`sigah.load`.
        """
        check_is_fitted(self)
        arrays = self._learned_arrays()
        header = {
            "method": self.name,
            "parameters": _jsonable(self.get_params()),
            "n_features_in": self.n_features_in_,
            "training": _jsonable(getattr(self, "training_", {})),
            "fingerprint": self.fingerprint,
        }
        if not type(self).__module__.startswith("sigah."):
            header["class"] = class_path(type(self))  # a plug-in's, for whoever loads it
        if hasattr(self, "feature_names_in_"):
            header["feature_names_in"] = list(self.feature_names_in_)
        files.save_model(path, header, arrays)

    @classmethod
    def _from_model(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Rebuild a fitted hasher from the content of a model file."""
        hasher = cls(**header["parameters"])
        missing = set(cls.fitted_arrays) - set(arrays)
        if missing:
            raise files.FileFormatError(f"the model lacks the arrays {sorted(missing)}")
        for name in (*cls.fitted_arrays, *(n for n in cls.optional_arrays if n in arrays)):
            setattr(hasher, name, arrays[name])
        hasher.n_features_in_ = header["n_features_in"]
        hasher.training_ = header["training"]
        if "feature_names_in" in header:
            hasher.feature_names_in_ = np.array(header["feature_names_in"], dtype=object)
        return hasher

    @property
    def fingerprint(self) -> str:
        """Identity of the fitted model (hex); code files carry it."""
        check_is_fitted(self)
        return files.fingerprint(
            {"method": self.name, "n_bits": self.n_bits}, self._learned_arrays()
        )

    def _learned_arrays(self) -> dict[str, NDArray[Any]]:
        optional = (name for name in self.optional_arrays if hasattr(self, name))
        return {name: getattr(self, name) for name in (*self.fitted_arrays, *optional)}

    def _rows(self, X: Any, *, reset: bool) -> Rows:
        if hasattr(X, "__next__"):
            raise ValueError(
                "X is an iterator, whose rows pass only once: fit on sigah.rows.sample(X, n),"
                " and encode with sigah.streams.encode(hasher, X, file)"
            )
        if not is_row_source(X):
            # finiteness is checked block by block, so that a memory map is read once
            return Rows(validate_data(self, X, reset=reset, ensure_all_finite=False))
        if not all(X.shape):
            raise ValueError(f"Found array with shape {X.shape}: it holds no vectors")
        _check_feature_names(self, X, reset=reset)
        _check_n_features(self, X, reset=reset)
        return Rows(X)

    def _fitted_rows(self, X: Any) -> Rows:
        check_is_fitted(self)
        return self._rows(X, reset=False)

    @property
    def _n_features_out(self) -> int:
        return self.n_bits // 8  # one output column a byte

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


class ScoringHasher(BinaryHasher):
    """A hasher whose bits are signs of scores: it learns in ``_fit`` and scores in ``_scores``."""

    @abstractmethod
    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.floating]:
        """Scores ``(m, n_bits)`` of a block of vectors ``(m, d)``; a bit is 1 where one is >= 0."""

    def _bits(self, block: NDArray[np.float32]) -> NDArray[np.bool_]:
        return self._scores(block) >= 0

    def project(self, X: ArrayLike) -> NDArray[np.float32]:
        """Real-valued scores whose sign is the bit (0 counts as positive).

        Returns
        -------
        scores : ndarray of float32, shape (n, n_bits)
        """
        rows = self._fitted_rows(X)
        scores = np.empty((len(rows), self.n_bits), np.float32)
        for where, block in rows.blocks():
            scores[where] = self._scores(block)
        return scores


class LinearHasher(ScoringHasher):
    """A hasher whose scores are ``X @ weights_ - thresholds_``; it encodes with NumPy alone.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (d, n_bits)
    thresholds_ : ndarray of float64, shape (n_bits,)
    """

    fitted_arrays: ClassVar[tuple[str, ...]] = ("weights_", "thresholds_")

    weights_: NDArray[np.float32]
    thresholds_: NDArray[np.float64]

    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.floating]:
        scores = block @ self.weights_
        scores -= self.thresholds_.astype(np.float32)
        # A float32 product depends on how BLAS splits the block, so a score within its rounding
        # error may fall on either side of 0. Those few are computed again in float64, one dot
        # product each: a vector has the same code alone, in a batch and on any machine.
        longest = np.sqrt(np.einsum("ij,ij->i", block, block).max())
        steepest = np.linalg.norm(self.weights_, axis=0).max()
        sums = (block.shape[1] + 2) * longest * steepest + 2 * np.abs(self.thresholds_).max()
        uncertain = np.abs(scores) <= np.finfo(np.float32).eps / 2 * sums
        rows, bits = np.divmod(np.flatnonzero(uncertain), scores.shape[1])
        if len(rows):
            exact = np.einsum(
                "ij,ij->i",
                block[rows].astype(np.float64),
                self.weights_.T[bits].astype(np.float64),
            )
            scores[rows, bits] = exact - self.thresholds_[bits]
        return scores


class DecoderMixin(ABC):
    """For methods that rebuild a vector from its code."""

    @abstractmethod
    def _decode(self, code_signs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors ``float32 (m, d)`` in original units from codes as -1/+1 ``(m, n_bits)``."""

    def reconstruct(self: Any, codes: ArrayLike) -> NDArray[np.float32]:
        """Rebuild vectors from packed codes.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, n_bits // 8)

        Returns
        -------
        X : ndarray of float32, shape (n, d)
            In the units of the training data.
        """
        check_is_fitted(self)
        packed = check_codes(codes, n_bits=self.n_bits)
        decoded = np.empty((len(packed), self.n_features_in_), np.float32)
        for start in range(0, len(packed), block := 4096):
            where = slice(start, start + block)
            decoded[where] = self._decode(signs(packed[where]))
        return decoded

    def score(self: Any, X: ArrayLike, y: object = None) -> float:
        """Negative mean squared reconstruction error of the binary codes (higher is better).

        The error of a vector is ``||x - reconstruct(transform(x))||^2`` in original units.
        """
        rows = self._fitted_rows(X)
        total = 0.0
        for _, block in rows.blocks():
            code_signs = np.where(self._bits(block), np.float32(1), np.float32(-1))
            total += float(np.square(block - self._decode(code_signs), dtype=np.float64).sum())
        return -total / len(rows)


def _jsonable(values: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON can hold them; a random generator object is not kept."""
    plain: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, np.generic):
            value = value.item()
        plain[key] = None if isinstance(value, np.random.RandomState) else value
    return plain
