"""Rows of a few bytes that rank vectors well: a code, and bytes that say what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigah.checks import check_random_state, check_whole
from sigah.files import FileFormatError
from sigah.files.seals import fingerprint
from sigah.hashers import BinaryHasher, from_content
from sigah.metric import as_compared, check_metric
from sigah.progress import bar
from sigah.refinement.codebooks import (
    HALF,
    VALUES,
    choose,
    choose_halves,
    decoded,
    improve,
    improve_halves,
    of_halves,
    product_starts,
    starts_of_halves,
)
from sigah.refinement.levels import (
    BELOW,
    BYTES_FOR_BELOW,
    FINE,
    LEVELS,
    WITH_BELOW,
    levels_of,
    nearest_level,
    nearest_with_level,
)
from sigah.refinement.principal_axes import centred, principal_axes
from sigah.refinement.squared_distances import (
    beyond_axes,
    counted,
    parts_of,
    squared_lengths,
    with_length,
)
from sigah.rows.blocks import LARGEST, Rows
from sigah.rows.dtypes import check_rows
from sigah.rows.sampling import sample_rows
from sigah.search.query_tables import QueryTables

__all__ = ["Queries", "RefinedCodes"]

TRAINING_ROWS = 1 << 17
START_ROUNDS = 2  # show which of two starts is the better one
CODE_ROUNDS = 4  # rounds over the codewords of the code alone, at the start
ROUNDS = 6  # rounds over all bytes
FEWER_ROWS = 1 << 15  # are enough for halves, levels and squares
CHOICES = 3  # rounds over the bytes of a new vector
# The last two bytes are chosen with the level. An error of the vector falls on the direction of a
# query by about a hundredth, an error of the squared length as a whole.
BYTES_WITH_LEVEL, LEVEL_WEIGHT, LEVEL_BLOCK = 2, 100, 2048
LEAST_AXES, AXES_PER_BYTE = 256, 8  # principal axes that codewords have: twice as many gain little


@dataclass(frozen=True)
class Queries:
    """Queries in the form that :meth:`sigah.search.HammingIndex.search_tables` takes.

    Attributes
    ----------
    tables : ndarray of float32, shape (q, n_bytes, 256)
    factors : ndarray of float32, shape (256,), or None
    shifts : ndarray of float32, shape (q, 1)
        Added to a score, they make it a distance.
    """

    tables: NDArray[np.float32]
    factors: NDArray[np.float32] | None
    shifts: NDArray[np.float32]


class RefinedCodes:
    """Codes, and codebooks that refine them within a budget of bytes.

    A vector becomes a row of ``n_bytes``: a code, which finds candidates, and refinement bytes,
    which rank them. All bytes together decode to an approximation of the vector. The code is that
    of a hasher, or half of the bytes, learned from the vectors for this purpose.

    A sum of table entries gives the inner product with that approximation. The metrics l2 and
    cosine also need its length, of which the last byte keeps a level: of the length itself for
    cosine; for l2 of what a sum over bytes (``squares_``) leaves of its square. The square then
    counts what the row does not say of the vector, and so do distances.

    Compare Jegou, Tavenard, Douze and Amsaleg, "Searching in one billion vectors: re-rank with
    source coding", ICASSP 2011. :mod:`sigah.refinement.codebooks` says how the codebooks are
    learned.

    Parameters
    ----------
    hasher : BinaryHasher or None
        Fitted, if there is one. Its metric is the metric of the rows.
    n_bytes : int
        Bytes of a row, more than the bytes of the hasher's code; at least 2.
    metric : {"cosine", "l2", "ip"}, optional
        Without a hasher only, and then needed.

    Attributes
    ----------
    n_code : int
        Bytes of the code, which searches scan.
    metric : str
    mean_ : ndarray of float32, shape (d,)
    axes_ : ndarray of float32, shape (d, p)
        Principal axes, in which codewords are kept.
    codebooks_ : ndarray of float32, shape (n_bytes, 256, p)
    levels_ : ndarray of float32, shape (n_levels,)
        Ascending: 32 for l2, 20 for cosine and at least 16 bytes, else 16; empty for the metric ip.
        Models of earlier versions have 16.
    squares_ : ndarray of float32, shape (n_bytes, 256)
        What each byte adds to the squared length; empty unless the metric is l2.
    halves_ : ndarray of float32, shape (n_code, 2, 16, p) or (n_code, 2, 16, p + 1)
        Codewords for the halves of a byte, by which vectors get their code; without a hasher only.
        For l2, codes also see the squared distance from the mean, as one more axis, the first.
    length_ : ndarray of float32, shape (2,) or (0,)
        That distance becomes an axis less its mean, divided by the square root of the variance.
        Empty where there is no such axis, and in models of earlier versions.

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
    squares_: NDArray[np.float32]
    halves_: NDArray[np.float32]
    length_: NDArray[np.float32]

    def __init__(
        self, hasher: BinaryHasher | None, n_bytes: int, *, metric: str | None = None
    ) -> None:
        self.n_bytes = check_whole(n_bytes, "n_bytes", least=1 if hasher is not None else 2)
        self.hasher = hasher
        if hasher is None:
            self.n_code = self.n_bytes // 2
            self.metric = check_metric(metric)
            return
        if not isinstance(hasher, BinaryHasher) or not hasattr(hasher, "n_features_in_"):
            raise ValueError(f"hasher must be a fitted hasher, got {hasher!r}")
        if metric is not None:
            raise ValueError("metric is that of the hasher: leave it out, or give no hasher")
        self.n_code = hasher.n_bits // 8
        self.metric = str(getattr(hasher, "metric", "l2"))
        if self.n_bytes <= self.n_code:
            raise ValueError(
                f"n_bytes must exceed the {self.n_code} bytes of the hash code, got {n_bytes}; the"
                " bytes beyond them refine it"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in MADE}

    def _forget_tables(self) -> None:
        for name in MADE:
            self.__dict__.pop(name, None)

    @property
    def n_features(self) -> int:
        """Dimensions of the vectors."""
        if self.hasher is not None:
            return int(self.hasher.n_features_in_)
        self._check_fitted()
        return len(self.mean_)

    @property
    def method(self) -> str:
        """The name of the hasher, or "learned"."""
        return "learned" if self.hasher is None else self.hasher.name

    @property
    def fingerprint(self) -> str:
        """Identity of the hasher and the codebooks (hex)."""
        return fingerprint(self._about(), self._arrays())

    def fit(self, X: ArrayLike, *, random_state: Any = None, verbose: bool = False) -> Self:
        """Learn codebooks from vectors, of which at most 131,072 are drawn.

        Parameters
        ----------
        X : array-like, shape (n, d)
            Such vectors as will be encoded; with a hasher, such as it learned from.
        random_state : int, RandomState or None
        verbose : bool, default=False
            Whether to show progress.

        Raises
        ------
        ValueError
            If the vectors are not finite, or have another dimension than those of a hasher.
        MissingLibraryError
            If scikit-learn is not installed.
        """
        random_state = check_random_state(random_state)
        if self.hasher is None:
            source = Rows(check_rows(X, "X"), largest=LARGEST)
        else:
            source = self.rows(X, largest=LARGEST)
        drawn = sample_rows(source, TRAINING_ROWS, random_state)
        vectors = as_compared(drawn, self.metric)
        has_direction = (vectors != 0).any(axis=1)
        if self.metric == "l2":
            mean, vectors = centred(vectors)
        else:
            mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
            vectors = vectors - mean
        axes = principal_axes(vectors, max(LEAST_AXES, AXES_PER_BYTE * self.n_bytes))
        p = axes.shape[1]
        targets = vectors @ axes
        beyond = beyond_axes(vectors, targets)
        variance = _error(vectors) or 1.0
        sizes = self._sizes(self._n_levels)
        with bar(show=verbose) as progress:
            task = progress.add_task("refinement", total=2 + ROUNDS, detail="")
            length = np.empty(0, np.float32)
            halves_seen = np.zeros((self.n_code, 2, HALF, p), np.float32)
            if self.hasher is None:
                seen, seen_axes = targets, axes
                if self.metric == "l2":
                    squares = squared_lengths(targets) + beyond
                    unit = np.sqrt(variance / len(targets))
                    length = np.array([squares.mean(dtype=np.float64), unit], np.float32)
                    seen = with_length(targets, squares, length)
                    seen_axes = np.pad(axes, ((1, 0), (1, 0)))
                    seen_axes[0, 0] = 1
                halves_seen = self._learned_halves(seen, seen_axes, random_state)
            rows = self._codes(drawn, targets, beyond, halves_seen, length)
            halves = np.ascontiguousarray(halves_seen[..., -p:])
            progress.advance(task)
            residual = targets - decoded(rows, of_halves(halves))
            if self.hasher is not None:
                for _ in range(CODE_ROUNDS):
                    improve_halves(residual, rows, halves, given=True)
            codebooks = np.zeros((self.n_code, VALUES, p), np.float32)  # what halves leave
            for _ in range(CODE_ROUNDS):
                improve(residual, rows, codebooks, self.n_code, sizes)
            more, start = _refinement(residual, sizes[self.n_code :], axes, random_state)
            rows = np.hstack([rows, more])
            codebooks = np.concatenate([codebooks, start])
            progress.advance(task)
            for _ in range(ROUNDS):
                improve(residual, rows, codebooks, self.n_code, sizes)
                progress.advance(task)
                progress.update(task, detail=f"error {_error(residual) / variance:.3f}")
        codebooks[: self.n_code] += of_halves(halves)
        # the last byte is a codeword and, times their number, a level, which changes no codeword
        codebooks[-1] = np.resize(codebooks[-1, : sizes[-1]], codebooks[-1].shape)
        self._forget_tables()
        self.mean_, self.axes_, self.codebooks_ = mean, axes, codebooks
        self.halves_ = halves_seen if self.hasher is None else halves[:0]
        self.length_ = length
        self.levels_ = np.zeros(self._n_levels * self._has_levels, np.float32)
        self.squares_ = np.empty((0, VALUES), np.float32)
        some = _fewer(len(targets))
        targets = targets[some]
        rows = self._without_levels(rows[some, : self.n_code], targets)  # as new vectors get them
        if self.metric == "cosine":
            lengths = self._lengths(rows)
            if has_direction[some].any():
                # zeros decode to nearly nothing: divided by such a length, it would look near
                lengths = lengths[has_direction[some]]
            self.levels_ = levels_of(lengths, self._n_levels, BELOW * self._has_levels_below)
        elif self.metric == "l2":
            y = decoded(rows, codebooks)
            squares = counted(squared_lengths(targets - y), squared_lengths(y), beyond[some])
            parts = parts_of(rows, squares, self.n_code, sizes)
            self.squares_ = (parts + self._of_mean).astype(np.float32)
            self.levels_ = levels_of(squares - self._sum_of_parts(rows), self._n_levels)
        return self

    def _learned_halves(
        self,
        targets: NDArray[np.float32],
        axes: NDArray[np.float32],
        random_state: np.random.RandomState,
    ) -> NDArray[np.float32]:
        some = targets[_fewer(len(targets))]
        found = []
        for rows, halves in starts_of_halves(some, self.n_code, axes, random_state):
            residual = some - decoded(rows, of_halves(halves))
            for _ in range(ROUNDS):
                improve_halves(residual, rows, halves)
            found.append((_error(residual), halves))
        return min(found, key=itemgetter(0))[1]

    def _codes(
        self,
        vectors: NDArray[np.float32],
        targets: NDArray[np.float32],
        beyond: NDArray[np.float32],
        halves: NDArray[np.float32],
        length: NDArray[np.float32],
    ) -> NDArray[np.uint8]:
        """The codes of vectors, which are ``targets`` in the principal axes."""
        if self.hasher is not None:
            return self.hasher.transform(vectors)
        rows, residual = np.zeros((len(targets), self.n_code), np.uint8), targets.copy()
        if len(length):
            residual = with_length(targets, squared_lengths(targets) + beyond, length)
            # of a vector that lies far out, the code should say more than that
            least, most = (of(halves[..., 0], axis=2).sum() for of in (np.min, np.max))
            residual[:, 0] = residual[:, 0].clip(least, most)
        for round_ in range(CHOICES):
            choose_halves(residual, rows, halves, anew=not round_)
        return rows

    def encode(self, X: ArrayLike) -> NDArray[np.uint8]:
        """Rows of vectors.

        Equal vectors may differ in a byte that no hasher made, where two choices are equally good
        up to rounding.

        Parameters
        ----------
        X : array-like, shape (n, d)

        Returns
        -------
        rows : ndarray of uint8, shape (n, n_bytes)
            The first ``n_code`` bytes are the code.

        Raises
        ------
        ValueError
            If the vectors are not finite, of another dimension or larger than ``largest``.
        """
        return self.encode_rows(self.rows(X))

    def encode_rows(self, vectors: Rows) -> NDArray[np.uint8]:
        """As :meth:`encode`, of vectors from :meth:`rows`."""
        self._check_fitted()
        rows = np.zeros((len(vectors), self.n_bytes), np.uint8)
        for where, block in vectors.blocks():
            rows[where] = self._encode(block)
        return rows

    def _encode(self, block: NDArray[np.float32]) -> NDArray[np.uint8]:
        vectors = as_compared(block, self.metric) - self.mean_
        targets: Any = vectors @ self.axes_
        beyond = beyond_axes(vectors, targets)
        codes = self._codes(block, targets, beyond, self.halves_, self.length_)
        rows = self._without_levels(codes, targets)
        if self.metric == "cosine":
            levels = nearest_level(self._lengths(rows), self.levels_)
            rows[:, -1] += (levels * (VALUES // len(self.levels_))).astype(np.uint8)
        elif self.metric == "l2":
            for start in range(0, len(rows), LEVEL_BLOCK):
                some = slice(start, start + LEVEL_BLOCK)
                self._choose_with_level(rows[some], targets[some], beyond[some])
        return rows

    def _choose_with_level(
        self, rows: NDArray[np.uint8], targets: NDArray[np.float32], beyond: NDArray[np.float32]
    ) -> None:
        """Choose the last bytes of rows anew, and with them the level."""
        y, known = decoded(rows, self.codebooks_), self._sum_of_parts(rows)
        sizes = self._sizes(len(self.levels_))
        for byte in range(max(self.n_code, self.n_bytes - BYTES_WITH_LEVEL), self.n_bytes):
            codewords = self.codebooks_[byte, : sizes[byte]]
            parts = self._squares_from_mean[byte, : sizes[byte]]
            y -= codewords[rows[:, byte]]
            known -= parts[rows[:, byte]]
            norms = squared_lengths(codewords)
            rest = targets - y
            errors: Any = squared_lengths(rest)[:, np.newaxis] - 2 * rest @ codewords.T + norms
            squares: Any = squared_lengths(y)[:, np.newaxis] + 2 * y @ codewords.T + norms
            if len(self.levels_) == FINE:  # models of earlier versions count no more than squares
                squares = counted(errors, squares, beyond[:, np.newaxis])
            kept = squares - (known[:, np.newaxis] + parts)
            rows[:, byte], levels = nearest_with_level(errors, kept, self.levels_, self._weight)
            y += codewords[rows[:, byte]]
            known += parts[rows[:, byte]]
        rows[:, -1] += (levels * sizes[-1]).astype(np.uint8)

    def decode(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Approximations of the vectors behind rows; of unit vectors for the metric cosine.

        Parameters
        ----------
        rows : array-like of uint8, shape (n, n_bytes)

        Returns
        -------
        vectors : ndarray of float32, shape (n, d)
        """
        self._check_fitted()
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
        l2 about the squared distance from the vector, for cosine the negative cosine. Equal queries
        have equal tables, alone or among others.
        """
        self._check_fitted()
        return self.queries_of(np.concatenate([block for _, block in self.rows(X).blocks()]))

    def queries_of(self, block: NDArray[np.float32], n_threads: int = 1) -> Queries:
        """As :meth:`queries`, of vectors from :meth:`rows`."""
        tables, squares = self._query_tables.of(block, n_threads)
        shifts = np.full((len(block), 1), self.metric == "cosine", np.float32)
        if self.metric == "l2":
            shifts[:, 0] = squares
        return Queries(tables, self._factors, shifts)

    @cached_property
    def _query_tables(self) -> QueryTables:
        """By <q, x> = <q - mean, x> + <mean, x>, and for l2 |q - x| = |(q - mean) - (x - mean)|."""
        offsets = np.zeros((self.n_bytes, VALUES), np.float32)
        origin = mean = self.mean_
        if self.metric == "l2":
            mean = np.zeros_like(mean)
            offsets = self._squares_from_mean.copy()
            offsets[-1] += self._level_of_byte
        elif self.metric == "cosine":
            offsets = (-self._products_with_mean).astype(np.float32)
        else:  # queries need not be like vectors
            origin = np.zeros_like(origin)
        return QueryTables(
            origin, mean, self.axes_, self.codebooks_, offsets,
            factor=-2 if self.metric == "l2" else -1, unit=self.metric == "cosine",
        )  # fmt: skip

    @property
    def _products_with_mean(self) -> NDArray[np.float64]:
        """What each value of each byte adds to <mean, x>; the first byte also <mean, mean>."""
        mean = self.mean_.astype(np.float64)
        products = self.codebooks_ @ (mean @ self.axes_)
        products[0] += mean @ mean
        return products

    @property
    def _of_mean(self) -> NDArray[np.float64]:
        """What each value of each byte adds to |x|^2 - |x - mean|^2 = 2 <mean, x> - |mean|^2."""
        parts = 2 * self._products_with_mean
        parts[0] -= np.square(self.mean_, dtype=np.float64).sum()
        return parts

    @cached_property
    def _squares_from_mean(self) -> NDArray[np.float32]:
        """What each value of each byte adds to |x - mean|^2."""
        return (self.squares_ - self._of_mean).astype(np.float32)

    @cached_property
    def _factors(self) -> NDArray[np.float32] | None:
        if self.metric != "cosine":
            return None
        lengths = np.maximum(self._level_of_byte, np.finfo(np.float32).tiny)
        return np.divide(1, lengths, dtype=np.float32)

    def content(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and arrays for a file; :meth:`from_content` takes them."""
        header, arrays = (None, {}) if self.hasher is None else self.hasher.content()
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
        of_hasher = {
            name.removeprefix("hasher."): array
            for name, array in own.items()
            if name.startswith("hasher.")
        }
        if header["hasher"] is None:
            refined = cls(None, header["n_bytes"], metric=header["metric"])
        else:
            refined = cls(from_content(header["hasher"], of_hasher), header["n_bytes"])
        refined.halves_ = np.empty((0, 2, HALF, 0), np.float32)
        refined.length_ = own.get("length_", np.empty(0, np.float32))
        for name in refined._names:
            setattr(refined, name, own[name])
        d, p = refined.n_features, refined.axes_.shape[1]
        n_levels = refined._n_levels
        if len(refined.levels_) != n_levels:
            n_levels = LEVELS  # as in models of earlier versions
        shapes = {
            "mean_": (d,),
            "axes_": (d, p),
            "codebooks_": (refined.n_bytes, VALUES, p),
            "levels_": (n_levels * refined._has_levels,),
            "squares_": (refined.n_bytes * (refined.metric == "l2"), VALUES),
        }
        if refined.hasher is None:
            has_length = len(refined.levels_) == FINE
            shapes["length_"] = (2 * has_length,)
            shapes["halves_"] = (refined.n_code, 2, HALF, p + has_length)
        for name, shape in shapes.items():
            array = getattr(refined, name)
            if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
                raise FileFormatError(f"its {name.rstrip('_')} contradict its header")
        if len(refined.length_) and refined.length_[1] <= 0:
            raise FileFormatError("its length contradicts its header")
        return refined

    def _about(self) -> dict[str, Any]:
        if self.hasher is None:
            return {"n_bytes": self.n_bytes, "model": None, "metric": self.metric}
        return {"n_bytes": self.n_bytes, "model": self.hasher.fingerprint}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        self._check_fitted()
        return {name: getattr(self, name) for name in self._names}

    @property
    def _names(self) -> tuple[str, ...]:
        if self.hasher is not None:
            return ARRAYS
        return (*ARRAYS, "halves_", "length_") if len(self.length_) else (*ARRAYS, "halves_")

    @property
    def _has_levels(self) -> bool:
        return self.metric != "ip"

    @property
    def _has_levels_below(self) -> bool:
        return self.metric == "cosine" and self.n_bytes >= BYTES_FOR_BELOW

    @property
    def _n_levels(self) -> int:
        if self.metric == "l2":
            return FINE
        return WITH_BELOW if self._has_levels_below else LEVELS

    def _sizes(self, n_levels: int) -> list[int]:
        """How many codewords each byte has."""
        last = VALUES // n_levels if self._has_levels else VALUES
        return [VALUES] * (self.n_bytes - 1) + [last]

    @property
    def _level_of_byte(self) -> NDArray[np.float32]:
        levels = np.repeat(self.levels_, VALUES // len(self.levels_))
        return np.pad(levels, (0, VALUES - len(levels)), mode="edge")

    @property
    def largest(self) -> float:
        """The largest value, of either sign, in vectors and queries; infinity for cosine."""
        return np.inf if self.metric == "cosine" else LARGEST

    def rows(self, X: ArrayLike, *, name: str = "X", largest: float | None = None) -> Rows:
        """Vectors to be read in blocks, of the right dimension; each block is checked."""
        most = self.largest if largest is None else largest
        rows = Rows(check_rows(X, name), largest=most, name=name)
        if rows.dim != self.n_features:
            raise ValueError(
                f"{name} has {rows.dim} features, but these codes are of {self.n_features}"
            )
        return rows

    def _check_fitted(self) -> None:
        if not hasattr(self, "codebooks_"):
            raise ValueError("these RefinedCodes are not fitted: call fit with vectors")

    def _decode(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        return decoded(rows, self.codebooks_) @ self.axes_.T + self.mean_

    def _without_levels(
        self, codes: NDArray[np.uint8], targets: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """Rows of vectors, given in the principal axes; all have the lowest level."""
        rows = np.zeros((len(codes), self.n_bytes), np.uint8)
        rows[:, : self.n_code] = codes
        residual = targets - decoded(codes, self.codebooks_[: self.n_code])
        sizes = self._sizes(len(self.levels_))
        for round_ in range(CHOICES):
            choose(residual, rows, self.codebooks_, self.n_code, sizes, anew=not round_)
        return rows

    def _lengths(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Of decoded vectors: ``|mean + y|`` from ``y`` in the principal axes."""
        y = decoded(rows, self.codebooks_)
        shift = self.mean_ @ self.axes_
        squares = np.square(y).sum(axis=1) + 2 * (y @ shift) + float(self.mean_ @ self.mean_)
        return np.sqrt(np.maximum(squares, 0))

    @cached_property
    def _weight(self) -> float:
        """Of errors of levels, which have the unit of squared lengths."""
        variance = float(np.square(self.codebooks_).sum(axis=2).mean(axis=1).sum())
        return float(np.sqrt(LEVEL_WEIGHT / variance)) if variance else 0.0

    def _sum_of_parts(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        return decoded(rows, self._squares_from_mean[:, :, np.newaxis])[:, 0]


# when first needed, from the arrays
MADE = ("_query_tables", "_factors", "_squares_from_mean", "_weight")
ARRAYS = ("mean_", "axes_", "codebooks_", "levels_", "squares_")


def _refinement(
    residual: NDArray[np.float32],
    sizes: list[int],
    axes: NDArray[np.float32],
    random_state: np.random.RandomState,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Refinement bytes and codebooks to start from; the residual becomes what they leave."""
    some = residual[_fewer(len(residual))]
    found = []
    for rows, codebooks in product_starts(some, sizes, axes, random_state):
        left = some - decoded(rows, codebooks)
        for _ in range(START_ROUNDS):
            improve(left, rows, codebooks, 0, sizes)
        found.append((_error(left), codebooks))
    codebooks = min(found, key=itemgetter(0))[1]
    rows = np.zeros((len(residual), len(sizes)), np.uint8)
    choose(residual, rows, codebooks, 0, sizes, anew=True)
    return rows, codebooks


def _error(residual: NDArray[np.float32]) -> float:
    return float(np.square(residual).sum(dtype=np.float64))


def _fewer(n: int) -> slice:
    """Every so many of ``n`` rows."""
    return slice(None, None, -(-n // FEWER_ROWS))
