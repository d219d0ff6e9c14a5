"""Rows of a few bytes that rank vectors well: a hash code, and bytes that say what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_random_state, check_whole
from sigah.files import FileFormatError
from sigah.files.seals import fingerprint
from sigah.hashers import BinaryHasher, from_content
from sigah.metric import as_compared
from sigah.progress import bar
from sigah.refinement.codebooks import VALUES, choose, decoded, improve, product_codebooks
from sigah.rows.blocks import LARGEST, Rows
from sigah.rows.dtypes import check_rows
from sigah.rows.sampling import sample

__all__ = ["Queries", "RefinedCodes"]

TRAINING_ROWS = 1 << 17
HASH_ROUNDS = 4  # rounds over the codewords of hash bytes alone, at the start
ROUNDS = 10  # rounds over all bytes
CHOICES = 3  # rounds over the refinement bytes of a new vector
LEVELS = 16  # of the length, in the high half of the last byte
AXES_PER_BYTE = 16  # principal axes that codewords have, for each byte of a row


@dataclass(frozen=True)
class Queries:
    """Queries in the form that :meth:`sigah.search.HammingIndex.search_tables` takes.

    Attributes
    ----------
    codes : ndarray of uint8, shape (q, n_hash)
        Hash codes, which find the shortlist.
    tables : ndarray of float32, shape (q, n_bytes, 256)
    factors : ndarray of float32, shape (256,), or None
    shifts : ndarray of float32, shape (q, 1)
        Added to a score, they make it a distance.
    """

    codes: NDArray[np.uint8]
    tables: NDArray[np.float32]
    factors: NDArray[np.float32] | None
    shifts: NDArray[np.float32]


class RefinedCodes:
    """A fitted hasher, and codebooks that refine its codes within a budget of bytes.

    A vector becomes a row of ``n_bytes``: its hash code, which finds candidates, and refinement
    bytes, which rank them. All bytes together decode to an approximation of the vector. For the
    metrics l2 and cosine, half of the last byte holds the length of that approximation, which
    tables alone do not give.

    Compare Jegou, Tavenard, Douze and Amsaleg, "Searching in one billion vectors: re-rank with
    source coding", ICASSP 2011. :mod:`sigah.refinement.codebooks` says how the codebooks are
    learned.

    Parameters
    ----------
    hasher : BinaryHasher
        Fitted. Its metric is the metric of the rows.
    n_bytes : int
        Bytes of a row, more than the bytes of the hash code.

    Attributes
    ----------
    n_hash : int
        Bytes of the hash code.
    metric : str
    mean_ : ndarray of float32, shape (d,)
    axes_ : ndarray of float32, shape (d, p)
        Principal axes, in which codewords are kept.
    codebooks_ : ndarray of float32, shape (n_bytes, 256, p)
    levels_ : ndarray of float32, shape (16,)
        Lengths of decoded vectors, ascending; empty for the metric ip.

    See Also
    --------
    VectorIndex : searches such rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import ITQ
    >>> from sigah.refinement import RefinedCodes
    >>> X = np.random.default_rng(0).normal(size=(2000, 32)).astype(np.float32)
    >>> hasher = ITQ(n_bits=32, metric="cosine", random_state=0).fit(X)
    >>> refined = RefinedCodes(hasher, n_bytes=12).fit(X, random_state=0)
    >>> rows = refined.encode(X[:3])
    >>> rows.shape, bool((rows[:, :4] == hasher.transform(X[:3])).all())
    ((3, 12), True)
    """

    mean_: NDArray[np.float32]
    axes_: NDArray[np.float32]
    codebooks_: NDArray[np.float32]
    levels_: NDArray[np.float32]

    def __init__(self, hasher: BinaryHasher, n_bytes: int) -> None:
        self.hasher = hasher
        self.n_hash = hasher.n_bits // 8
        self.n_bytes = check_whole(n_bytes, "n_bytes", least=1)
        if self.n_bytes <= self.n_hash:
            raise ValueError(
                f"n_bytes must exceed the {self.n_hash} bytes of the hash code, got {n_bytes}; the"
                " bytes beyond them refine it"
            )

    @property
    def metric(self) -> str:
        """The metric of the hasher."""
        return str(getattr(self.hasher, "metric", "l2"))

    @property
    def n_features(self) -> int:
        """Dimensions of the vectors."""
        return int(self.hasher.n_features_in_)

    @property
    def fingerprint(self) -> str:
        """Identity of the hasher and the codebooks (hex)."""
        return fingerprint(self._about(), self._arrays())

    def fit(self, X: ArrayLike, *, random_state: Any = None, verbose: bool = False) -> Self:
        """Learn codebooks from vectors, of which at most 131,072 are drawn.

        Parameters
        ----------
        X : array-like, shape (n, d)
            Such vectors as the hasher learned from.
        random_state : int, RandomState or None
        verbose : bool, default=False
            Whether to show progress.

        Raises
        ------
        ValueError
            If the vectors are not finite or have another dimension than those of the hasher.
        MissingLibraryError
            If scikit-learn is not installed.
        """
        random_state = check_random_state(random_state)
        drawn = sample(self._rows(X, largest=LARGEST).source, TRAINING_ROWS, random_state)
        vectors = as_compared(drawn, self.metric)
        mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        vectors = vectors - mean
        p = min(self.n_features, AXES_PER_BYTE * self.n_bytes)
        axes = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :p]
        axes = np.ascontiguousarray(axes, np.float32)
        targets = vectors @ axes
        sizes = self._sizes
        rows = self.hasher.transform(drawn)
        codebooks = np.zeros((self.n_hash, VALUES, p), np.float32)
        with bar(show=verbose) as progress:
            task = progress.add_task("refinement", total=1 + ROUNDS, detail="")
            residual = targets.copy()
            for _ in range(HASH_ROUNDS):
                improve(residual, rows, codebooks, self.n_hash, sizes)
            more, start = product_codebooks(residual, sizes[self.n_hash :], random_state)
            rows = np.hstack([rows, more])
            codebooks = np.concatenate([codebooks, start])
            residual = targets - decoded(rows, codebooks)
            progress.advance(task)
            for _ in range(ROUNDS):
                improve(residual, rows, codebooks, self.n_hash, sizes)
                error = float(np.square(residual).sum(dtype=np.float64))
                share = error / (float(np.square(vectors).sum(dtype=np.float64)) or 1.0)
                progress.advance(task)
                progress.update(task, detail=f"error {share:.3f}")
        # the high half of the last byte holds the level: it does not change the codeword
        codebooks[-1] = np.tile(codebooks[-1, : sizes[-1]], (VALUES // sizes[-1], 1))
        self.mean_, self.axes_, self.codebooks_ = mean, axes, codebooks
        self.levels_ = np.empty(0, np.float32)
        if self._has_levels:
            lengths = np.sort(self._lengths(rows))
            self.levels_ = np.array(
                [part.mean() for part in np.array_split(lengths, LEVELS)], np.float32
            )
        return self

    def encode(self, X: ArrayLike) -> NDArray[np.uint8]:
        """Rows of vectors.

        Equal vectors may differ in a refinement byte where two choices are equally good up to
        rounding.

        Parameters
        ----------
        X : array-like, shape (n, d)

        Returns
        -------
        rows : ndarray of uint8, shape (n, n_bytes)
            The first ``n_hash`` bytes are the hasher's code.

        Raises
        ------
        ValueError
            If the vectors are not finite or of another dimension.
        """
        vectors = self._rows(X)
        rows = np.zeros((len(vectors), self.n_bytes), np.uint8)
        for where, block in vectors.blocks():
            rows[where] = self._encode(block)
        return rows

    def _encode(self, block: NDArray[np.float32]) -> NDArray[np.uint8]:
        rows = np.zeros((len(block), self.n_bytes), np.uint8)
        rows[:, : self.n_hash] = self.hasher.transform(block)
        residual = (as_compared(block, self.metric) - self.mean_) @ self.axes_
        hash_codebooks = self.codebooks_[: self.n_hash]
        residual -= decoded(rows[:, : self.n_hash], hash_codebooks)
        for byte in range(self.n_hash, self.n_bytes):  # choose adds the codeword that it replaces
            residual -= self.codebooks_[byte, 0]
        for _ in range(CHOICES):
            choose(residual, rows, self.codebooks_, self.n_hash, self._sizes)
        if self._has_levels:
            borders = (self.levels_[1:] + self.levels_[:-1]) / 2
            levels = np.searchsorted(borders, self._lengths(rows))
            rows[:, -1] |= (levels * (VALUES // LEVELS)).astype(np.uint8)
        return rows

    def decode(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Approximations of the vectors behind rows; of unit vectors for the metric cosine.

        Parameters
        ----------
        rows : array-like of uint8, shape (n, n_bytes)

        Returns
        -------
        vectors : ndarray of float32, shape (n, d)
        """
        array = np.asarray(rows)
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != self.n_bytes:
            raise ValueError(
                f"rows must be uint8 of shape (n, {self.n_bytes}), got {array.dtype} of shape"
                f" {array.shape}"
            )
        return self._decode(array)

    def queries(self, X: ArrayLike) -> Queries:
        """Queries in the form that :meth:`sigah.search.HammingIndex.search_tables` takes.

        Scores are, up to ``shifts``: for ip the negative inner product with the decoded vector, for
        l2 the squared distance from it, for cosine the negative cosine.
        """
        block = np.concatenate([block for _, block in self._rows(X).blocks()] or [self._none()])
        codes = self.hasher.transform(block)
        views = as_compared(block, self.metric)
        p = self.codebooks_.shape[2]
        tables = (views @ self.axes_) @ self.codebooks_.reshape(-1, p).T
        tables = tables.reshape(len(views), self.n_bytes, VALUES)
        tables[:, 0] += (views @ self.mean_)[:, np.newaxis]
        factors, shifts = None, np.zeros((len(views), 1), np.float32)
        if self.metric == "l2":
            tables *= -2
            tables[:, -1] += np.square(self.levels_)[LEVEL_OF_BYTE]
            shifts = np.square(views).sum(axis=1, keepdims=True)
        else:
            np.negative(tables, out=tables)
        if self.metric == "cosine":
            factors = 1 / np.maximum(self.levels_, np.finfo(np.float32).tiny)[LEVEL_OF_BYTE]
            shifts += 1
        return Queries(codes, tables, factors, shifts)

    def content(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays for a file; :meth:`from_content` takes them."""
        header, arrays = self.hasher.content()
        return {**self._about(), "hasher": header}, {
            **self._arrays(),
            **{f"hasher.{name}": array for name, array in arrays.items()},
        }

    @classmethod
    def from_content(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Rebuild what :meth:`content` returned.

        Raises
        ------
        FileFormatError
            If the content contradicts itself.
        """
        own = {name: array.copy() for name, array in arrays.items()}
        hashers = {
            name.removeprefix("hasher."): array
            for name, array in own.items()
            if name.startswith("hasher.")
        }
        refined = cls(from_content(header["hasher"], hashers), header["n_bytes"])
        for name in ("mean_", "axes_", "codebooks_", "levels_"):
            setattr(refined, name, own[name])
        d, p = refined.axes_.shape
        shapes = {
            "mean_": (refined.n_features,),
            "axes_": (refined.n_features, p),
            "codebooks_": (refined.n_bytes, VALUES, p),
            "levels_": (LEVELS * refined._has_levels,),
        }
        for name, shape in shapes.items():
            array = getattr(refined, name)
            if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
                raise FileFormatError(f"its {name.rstrip('_')} contradict its header")
        return refined

    def _about(self) -> dict[str, Any]:
        return {"n_bytes": self.n_bytes, "model": self.hasher.fingerprint}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        if not hasattr(self, "codebooks_"):
            raise ValueError("these RefinedCodes are not fitted: call fit with vectors")
        return {name: getattr(self, name) for name in ("mean_", "axes_", "codebooks_", "levels_")}

    @property
    def _has_levels(self) -> bool:
        return self.metric != "ip"

    @property
    def _sizes(self) -> list[int]:
        last = VALUES // LEVELS if self._has_levels else VALUES
        return [VALUES] * (self.n_bytes - 1) + [last]

    def _rows(self, X: ArrayLike, *, largest: float = np.inf) -> Rows:
        rows = Rows(check_rows(X), largest=largest)
        if rows.dim != self.n_features:
            raise ValueError(
                f"X has {rows.dim} features, but the hasher was fitted with {self.n_features}"
            )
        return rows

    def _none(self) -> NDArray[np.float32]:
        return np.empty((0, self.n_features), np.float32)

    def _decode(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        return decoded(rows, self.codebooks_) @ self.axes_.T + self.mean_

    def _lengths(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Lengths of decoded vectors: ``|mean + y|`` from ``y`` in the principal axes."""
        y = decoded(rows, self.codebooks_)
        shift = self.mean_ @ self.axes_
        squares = np.square(y).sum(axis=1) + 2 * (y @ shift) + float(self.mean_ @ self.mean_)
        return np.sqrt(np.maximum(squares, 0))


LEVEL_OF_BYTE = np.arange(VALUES) // (VALUES // LEVELS)
