"""The interface of a hasher, and the code that all methods share.

A method's file holds only its mathematics. Its class derives from :class:`LinearHasher` and defines
``_fit``. If its scores are not linear, it derives from :class:`ScoringHasher` and also defines
``_scores``. If its bits are not signs of scores, it derives from :class:`BinaryHasher` and also
defines ``_bits``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah import files
from sigah.checks import check_flag, check_random_state, plain
from sigah.codes import check_codes, check_n_bits, signs
from sigah.hashers.estimator import Estimator
from sigah.hashers.rounding import mend_signs
from sigah.metric import METRICS, as_compared, check_metric
from sigah.plugins import class_path
from sigah.rows.blocks import BLOCK_BYTES, LARGEST, Rows
from sigah.rows.dtypes import check_rows

__all__ = ["BinaryHasher", "DecoderMixin", "LinearHasher", "ScoringHasher", "TrainingInterrupted"]


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C ended the training early; the hasher keeps what it has learned."""


class BinaryHasher(Estimator, ABC):
    """Vectors in, packed binary codes out.

    Subclasses store parameters in ``__init__``, learn in :meth:`_fit` and encode in :meth:`_bits`.
    If ``__init__`` has a parameter ``metric``, this class serves it: for ``"cosine"``, the vectors
    that a subclass learns from and encodes have unit length, and so have those that it rebuilds.

    See Also
    --------
    LinearHasher : For methods whose bits are signs of linear scores.
    ScoringHasher : For methods whose bits are signs of other scores.
    sigah.testing.check_hasher : Checks a class of your own.
    """

    name: ClassVar[str]  # name of the method on the command line and in model files
    revision: ClassVar[int] = 1  # raised when the same data and seed learn or encode differently
    # "instant", "seconds" (at most 60) or "minutes": 60,000 x 784, 64 bits, two cores
    fit_cost: ClassVar[str]
    exceeds_dimension: ClassVar[bool] = False  # whether n_bits may exceed the vectors' dimension
    min_rows_per_bit: ClassVar[int] = 1  # training rows needed for each bit; 0: any number
    fitted_arrays: ClassVar[tuple[str, ...]]  # the learned arrays, saved in model files
    optional_arrays: ClassVar[tuple[str, ...]] = ()  # arrays that only some settings learn

    n_bits: int
    metric: str = "l2"  # by which codes of near vectors shall be near; a class may know l2 only
    metric_: str = "l2"  # the metric of the fit
    random_state: Any = None  # deterministic methods have no such parameter
    training_: dict[str, Any]  # a summary of the fit

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
            A NumPy array or memory map of numbers, a torch tensor, or anything with ``shape``,
            ``dtype`` and row slicing. It is read in blocks as float32 and never copied as a whole;
            :mod:`sigah.rows.dtypes` lists the dtypes.
        y : ignored
            For scikit-learn's pipelines.

        Returns
        -------
        self
            After an error, the hasher is unchanged.

        Raises
        ------
        ValueError
            If ``X`` is empty, not numeric, not finite, has too few rows for ``n_bits``, or values
            beyond 1e15; if a parameter is invalid; or if the method cannot make ``n_bits`` bits
            from ``d`` dimensions.
        MissingLibraryError
            If fitting needs a library that is not installed.
        KeyboardInterrupt
            If Ctrl-C is pressed. SiGAH raises the subclass ``TrainingInterrupted`` and keeps what
            it has learned, so the hasher can be used.
        """
        with self._all_or_nothing():
            self._learn_from(X)
        return self

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Learn within this context: after an error, the hasher is unchanged."""
        before = dict(vars(self))
        try:
            try:
                yield
            except TrainingInterrupted:
                self._check_learned()
                raise
            self._check_learned()
        except TrainingInterrupted:
            raise
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _learn_from(self, X: Any) -> None:
        self._take_plain_parameters()
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

    def _take_plain_parameters(self) -> None:
        """Convert NumPy numbers, which a search over an array of values sets, to Python numbers."""
        defaults = self._parameters()
        for parameter, value in self.get_params().items():
            if (python := plain(value)) is not value:
                setattr(self, parameter, python)
            default = defaults[parameter]
            if isinstance(default, bool):
                check_flag(python, parameter)
            elif isinstance(python, np.ndarray) and isinstance(default, (int, float, str)):
                raise ValueError(f"{parameter} must be a single value, got {python!r}")
            elif (
                isinstance(default, float) and isinstance(python, int | float) and python > LARGEST
            ):
                raise ValueError(f"{parameter} must be finite and at most {LARGEST:g}")

    def fit_transform(self, X: ArrayLike, y: object = None) -> NDArray[np.uint8]:
        """Learn from vectors and encode them: :meth:`fit`, then :meth:`transform`."""
        return self.fit(X).transform(X)

    def transform(self, X: ArrayLike) -> NDArray[np.uint8]:
        """Encode vectors.

        Memory and time depend on the shape of ``X``, not on its values.

        Parameters
        ----------
        X : array-like, shape (n, d)
            As for :meth:`fit`; any finite float32 is encoded.

        Returns
        -------
        codes : ndarray of uint8, shape (n, n_bits // 8)
            Packed as by :func:`sigah.codes.pack`; a table if ``set_output`` asks for one.

        Raises
        ------
        ValueError
            If the hasher is not fitted, or ``X`` is not finite numbers of its dimension.
        """
        rows = self._fitted_rows(X)
        codes = np.empty((len(rows), self.n_bits // 8), np.uint8)
        for where, block in rows.blocks():
            codes[where] = self._codes(block)
        contained: NDArray[np.uint8] = self._contained(codes, X)
        return contained

    def _codes(self, block: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Packed codes of a block of vectors, as they were given, that are known to be finite."""
        codes = np.empty((len(block), self.n_bits // 8), np.uint8)
        # a code may be wider than its vector, so scores are computed for a few rows at a time
        step = max(1, BLOCK_BYTES // (4 * self.n_bits))
        for start in range(0, len(block), step):
            part = as_compared(block[start : start + step], self.metric_)
            codes[start : start + step] = np.packbits(self._bits(part), axis=1)
        return codes

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted model to one safetensors file, atomically.

        Open it again with :func:`sigah.load`.

        Parameters
        ----------
        path : str or path-like
            An existing model file is replaced.
        overwrite : bool, default=False
            Whether a file that is not a model may also be replaced.

        Raises
        ------
        ValueError
            If the hasher is not fitted, or ``path`` is a file of another kind.
        OSError
            If the file cannot be written.
        """
        header, arrays = self.content()
        files.save_model(path, header, arrays, overwrite=overwrite)

    def content(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays of the fitted model, for a file that has more in it than the model.

        :func:`sigah.hashers.from_content` rebuilds the model from them.
        """
        self._check_is_fitted()
        arrays = self._check_learned()
        header = {
            "method": self.name,
            "parameters": _jsonable(self.get_params()),
            "n_features_in": self.n_features_in_,
            "training": _jsonable(getattr(self, "training_", {})),
            "fingerprint": self.fingerprint,
        }
        if not type(self).__module__.startswith("sigah."):
            header["class"] = class_path(type(self))  # for loading a plug-in's model
        if hasattr(self, "feature_names_in_"):
            header["feature_names_in"] = list(self.feature_names_in_)
        return header, arrays

    @classmethod
    def _from_model(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Rebuild a fitted hasher from the content of a model file."""
        hasher = cls(**header["parameters"])
        if hasher.metric not in METRICS:
            raise files.FileFormatError(
                f"the model has the metric {hasher.metric!r}, which this sigah does not know;"
                " upgrade sigah"
            )
        hasher.metric_ = hasher.metric
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
        self._check_is_fitted()
        identity = {"method": self.name, "n_bits": plain(self.n_bits)}
        if self.metric_ != "l2":  # fingerprints of before there were metrics remain
            identity["metric"] = self.metric_
        return files.fingerprint(identity, self._learned_arrays())

    def _learned_arrays(self) -> dict[str, NDArray[Any]]:
        optional = (name for name in self.optional_arrays if hasattr(self, name))
        return {name: getattr(self, name) for name in (*self.fitted_arrays, *optional)}

    def _check_learned(self) -> dict[str, NDArray[Any]]:
        """The learned arrays; raises an error if one is not finite."""
        for name, value in self.get_params().items():
            if isinstance(value, (float, np.floating)) and not np.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value!r}")
        arrays = self._learned_arrays()
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{type(self).__name__} has learned no finite {name}: scale the vectors, remove"
                    " outliers among them, or change its parameters"
                )
        return arrays

    def _rows(self, X: Any, *, reset: bool, learn: bool = False) -> Rows:
        if hasattr(X, "__next__"):
            raise ValueError(
                "X is an iterator, which gives its rows only once: fit on sigah.rows.sample(X, n),"
                " and encode with sigah.streams.encode(hasher, X, file)"
            )
        source = check_rows(X)
        if reset:
            self.metric_ = check_metric(self.metric)
        else:
            self._check_is_fitted()
        self._check_features(X, int(source.shape[1]), reset=reset)
        if not (reset or learn):
            return Rows(source)
        return Rows(source, largest=LARGEST, unit=self.metric_ == "cosine")

    def _fitted_rows(self, X: Any) -> Rows:
        """Rows to encode, as they were given."""
        self._check_is_fitted()
        return self._rows(X, reset=False)

    def _check_is_fitted(self) -> None:
        super()._check_is_fitted()
        if self.metric != self.metric_:
            raise ValueError(
                f"the hasher was fitted with metric={self.metric_!r}, but metric is now"
                f" {self.metric!r}: fit it again, or set the metric back"
            )

    @property
    def _n_features_out(self) -> int:
        return self.n_bits // 8  # one output column per byte


class ScoringHasher(BinaryHasher):
    """A hasher whose bits are signs of scores: it learns in ``_fit`` and scores in ``_scores``."""

    @abstractmethod
    def _scores(self, block: NDArray[np.float32]) -> NDArray[np.floating]:
        """Scores ``(m, n_bits)`` of a block of vectors ``(m, d)``; a bit is 1 for scores >= 0."""

    def _bits(self, block: NDArray[np.float32]) -> NDArray[np.bool_]:
        return self._scores(block) >= 0

    def project(self, X: ArrayLike) -> NDArray[np.float32]:
        """Real-valued scores whose sign is the bit (0 counts as positive).

        A score beyond float32, such as one of a vector of 3e38, is infinite.

        Parameters
        ----------
        X : array-like, shape (n, d)
            As for :meth:`transform`.

        Returns
        -------
        scores : ndarray of float32, shape (n, n_bits)

        Raises
        ------
        ValueError
            As for :meth:`transform`.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah import ITQ
        >>> from sigah.codes import unpack
        >>> X = np.random.default_rng(0).normal(size=(100, 16))
        >>> itq = ITQ(n_bits=16, random_state=0).fit(X)
        >>> bool(((itq.project(X) >= 0) == unpack(itq.transform(X))).all())
        True
        """
        rows = self._fitted_rows(X)
        scores = np.empty((len(rows), self.n_bits), np.float32)
        for where, block in rows.blocks():
            with np.errstate(over="ignore"):
                scores[where] = self._scores(as_compared(block, self.metric_))
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
        with np.errstate(over="ignore", invalid="ignore"):  # huge vectors overflow; mended below
            scores = block @ self.weights_
            scores -= self.thresholds_.astype(np.float32)
            mend_signs(scores, block, self.weights_, self.thresholds_)
        return scores


class DecoderMixin(ABC):
    """For methods that reconstruct a vector from its code: they define ``_decode``."""

    @abstractmethod
    def _decode(self, code_signs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors ``float32 (m, d)`` in original units from codes as -1/+1 ``(m, n_bits)``."""

    def reconstruct(self: Any, codes: ArrayLike) -> NDArray[np.float32]:
        """Reconstruct vectors from packed codes.

        Parameters
        ----------
        codes : array-like of uint8, shape (n, n_bits // 8)

        Returns
        -------
        X : ndarray of float32, shape (n, d)
            In the units of the training data; for the metric ``"cosine"``, those of vectors of unit
            length.

        Raises
        ------
        ValueError
            If the hasher is not fitted, or ``codes`` are not packed codes of ``n_bits`` bits.

        Examples
        --------
        >>> import numpy as np
        >>> from sigah import ITQ
        >>> X = np.random.default_rng(0).normal(size=(100, 16))
        >>> itq = ITQ(n_bits=16, random_state=0).fit(X)
        >>> itq.reconstruct(itq.transform(X[:2])).shape
        (2, 16)
        """
        self._check_is_fitted()
        packed = check_codes(codes, n_bits=self.n_bits)
        decoded = np.empty((len(packed), self.n_features_in_), np.float32)
        for start in range(0, len(packed), block := 4096):
            where = slice(start, start + block)
            decoded[where] = self._decode(signs(packed[where]))
        return decoded

    def score(self: Any, X: ArrayLike, y: object = None) -> float:
        """Negative mean squared reconstruction error of the binary codes (higher is better).

        The error of a vector is ``||x - reconstruct(transform(x))||^2`` in original units; for the
        metric ``"cosine"``, x is scaled to unit length.
        """
        rows = self._fitted_rows(X)
        total = 0.0
        for _, given in rows.blocks():
            block = as_compared(given, self.metric_)
            code_signs = np.where(self._bits(block), np.float32(1), np.float32(-1))
            total += float(np.square(block - self._decode(code_signs), dtype=np.float64).sum())
        return -total / len(rows)


def _jsonable(values: dict[str, Any]) -> dict[str, Any]:
    """Parameters in types that JSON has; a random generator object is dropped."""
    return {
        key: None if isinstance(value, np.random.RandomState) else plain(value)
        for key, value in values.items()
    }
