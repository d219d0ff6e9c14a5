"""Binary autoencoder, trained with the method of auxiliary coordinates.

M. A. Carreira-Perpinan and R. Raziperchikolaei, "Hashing with binary autoencoders", CVPR 2015
(arXiv:1501.00756).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.hashers.base import DecoderMixin, LinearHasher
from sigah.hashers.itq import random_rotation, rotate_to_codes
from sigah.progress import track
from sigah.rows.blocks import Rows

__all__ = [
    "BinaryAutoencoder",
    "binary_codes",
    "code_step",
    "fit_decoder",
    "fit_encoders",
    "neighbour_precision",
]

BLOCK = 4096  # rows whose scores fit in the cache
ENUMERABLE = 16  # codes of at most so many bits are enumerated, as in the original code
STEPS = 5  # steps of the encoders' optimiser, from the last solution
SWEEPS = 100  # most sweeps of coordinate descent over the bits
RELAXED_ROUNDS = 30  # rounds of ADMM
ITQ_ROUNDS = 50
QUERIES, NEIGHBOURS = 200, 0.002  # for validation; neighbours as a share of n


def principal_rows(
    rows: Rows,
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centred rows in their principal coordinates, in memory.

    The support vector machines and the errors do not depend on the coordinates. In these
    coordinates the second moments are diagonal, so their inverse is a cheap preconditioner.

    Returns
    -------
    X : ndarray of float32, shape (n, k)
        Of total variance 1, without coordinates of no variance.
    variances : ndarray of float64, shape (k,)
    mean : ndarray of float64, shape (d,)
    axes : ndarray of float64, shape (k, d)
        Orthogonal rows of equal length; a row of the data is ``mean + x @ axes``.
    """
    mean, covariance = rows.mean_and_covariance()
    variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = variances[::-1], vectors[:, ::-1]
    total = max(float(np.trace(covariance)), 0.0) or 1.0
    k = max(1, int((variances > 1e-7 * variances[0]).sum()))
    X = np.empty((len(rows), k), np.float32)
    P = (vectors[:, :k] / np.sqrt(total)).astype(np.float32)
    for where, block in rows.blocks():
        X[where] = (block - mean.astype(np.float32)) @ P
    return X, np.maximum(variances[:k], 0) / total, mean, vectors[:, :k].T * np.sqrt(total)


def itq_hyperplanes(
    X: NDArray[np.float32], n_bits: int, random_state: np.random.RandomState
) -> NDArray[np.float32]:
    """Hyperplanes ``(k, n_bits)`` of ITQ in principal coordinates, with scores of mean size 1.

    If there are more bits than coordinates, several rotations with different random starts supply
    them.
    """
    k = min(n_bits, X.shape[1])
    V = np.ascontiguousarray(X[:, :k])
    W = np.zeros((X.shape[1], n_bits), np.float32)
    for first in range(0, n_bits, k):
        R = random_rotation(k, random_state)
        for _ in range(ITQ_ROUNDS):
            R, _ = rotate_to_codes(V, R)
        W[:k, first : first + k] = R[:, : n_bits - first]
    return W / (np.abs(V @ W[:k]).mean() or np.float32(1))


def binary_codes(
    X: NDArray[np.float32], W: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Codes ``sgn(X W + bias)`` in {-1, +1}."""
    B = np.empty((len(X), W.shape[1]), np.float32)
    for start in range(0, len(X), BLOCK):
        scores = X[start : start + BLOCK] @ W + bias
        B[start : start + BLOCK] = np.where(scores >= 0, np.float32(1), np.float32(-1))
    return B


def fit_encoders(
    X: NDArray[np.float32],
    variances: NDArray[np.float64],
    Z: NDArray[np.float32],
    W: NDArray[np.float32],
    bias: NDArray[np.float32],
    *,
    C: float,
    n_steps: int,
    tol: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The h step: one linear support vector machine per bit, all at once.

    Minimises, for each bit, ``|w|^2 / (2 C n) + mean max(0, 1 - z (w^T x + bias))^2``, which is
    LIBLINEAR's L2-regularised squared hinge loss, except that the bias is not regularised. The
    curvature is at most that of least squares: twice the second moments plus the regulariser, a
    diagonal matrix in principal coordinates. Every step is a Newton step on that bound with
    Nesterov's momentum. A bit's momentum restarts when it points uphill. A step costs two products
    with ``X`` for all bits together.

    Parameters
    ----------
    X : ndarray of float32, shape (n, k)
        Centred, in principal coordinates.
    variances : ndarray of float64, shape (k,)
        Their second moments.
    Z : ndarray of float32, shape (n, r)
        Labels -1 or +1.
    W, bias : ndarrays of float32, shapes (k, r) and (r,)
        The start.
    C : float
        Weight of the loss, as LIBLINEAR counts it.
    n_steps : int
        Most steps.
    tol : float
        Stop when the norm of every bit's preconditioned gradient is below this; it is about 1 at
        zero weights.

    Returns
    -------
    W, bias : ndarrays of float32
    """
    n, regulariser = len(X), np.float32(1 / (C * len(X)))
    inverse = (1 / (2 * variances + regulariser)).astype(np.float32)[:, np.newaxis]
    scores = np.empty((min(n, BLOCK), W.shape[1]), np.float32)
    ahead, bias_ahead = W, bias  # the extrapolated points of the momentum
    t = np.ones(W.shape[1], np.float32)
    for _ in range(n_steps):
        slope, bias_slope = np.zeros_like(W), np.zeros_like(bias)
        for start in range(0, n, BLOCK):
            x, z = X[start : start + BLOCK], Z[start : start + BLOCK]
            hinge = np.matmul(x, ahead, out=scores[: len(x)])
            hinge += bias_ahead
            hinge *= z
            np.subtract(1, hinge, out=hinge)
            np.maximum(hinge, 0, out=hinge)
            hinge *= z
            slope += x.T @ hinge
            bias_slope += hinge.sum(axis=0)
        slope *= np.float32(-2 / n)
        slope += regulariser * ahead
        bias_slope *= np.float32(-2 / n)
        step = inverse * slope
        next_W, next_bias = ahead - step, bias_ahead - np.float32(0.5) * bias_slope
        # a bit whose last step went uphill loses its momentum (O'Donoghue and Candes, 2015)
        climbed = np.einsum("ij,ij->j", slope, next_W - W) + bias_slope * (next_bias - bias) > 0
        t[climbed] = 1
        t_next = ((1 + np.sqrt(1 + 4 * t * t)) / 2).astype(np.float32)
        momentum = ((t - 1) / t_next).astype(np.float32)
        ahead = next_W + momentum * (next_W - W)
        bias_ahead = next_bias + momentum * (next_bias - bias)
        W, bias, t = next_W, next_bias, t_next
        if (np.einsum("ij,ij->j", slope, step) + bias_slope**2 / 2 <= tol**2).all():
            break
    return W, bias


def fit_decoder(
    X: NDArray[np.float32], B: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The f step: least squares of centred rows on their codes.

    Returns
    -------
    F : ndarray of float64, shape (r, k)
    offset : ndarray of float64, shape (k,)
        The rows are about ``B @ F + offset``.
    error : float
        Mean squared error per row.
    """
    n = len(X)
    balance = B.mean(axis=0, dtype=np.float64)
    gram = (B.T @ B).astype(np.float64) / n - np.outer(balance, balance)
    cross = (B.T @ X).astype(np.float64) / n
    # repeated and constant bits make the problem singular: the least-norm solution gives equal
    # weights to the former and none to the latter
    F = np.asarray(np.linalg.lstsq(gram, cross, rcond=1e-6)[0], np.float64)
    energy = sum(
        float(np.vdot(X[start : start + BLOCK], X[start : start + BLOCK]))
        for start in range(0, n, BLOCK)
    )
    return F, -balance @ F, max(energy / n - float(np.vdot(F, cross)), 0.0)


def code_step(
    X: NDArray[np.float32],
    V: NDArray[np.float32],
    Z: NDArray[np.float32],
    F: NDArray[np.float64],
    offset: NDArray[np.float64],
    mu: float,
) -> NDArray[np.float32]:
    """The Z step: lower the penalised error of the codes, row by row.

    For bits -1 and +1 the error is ``b^T G b - a^T b`` plus a constant, with ``G = F F^T`` and ``a
    = 2 F (x - offset) + mu h(x) / 2``. Short codes are enumerated. Longer codes descend bit by bit
    from three starts: the solution relaxed to the cube, the current code, and h(x). The best result
    is kept, so no row gets worse. (The first sweep from the relaxed solution is the greedy
    truncation of the original code.)

    Parameters
    ----------
    X : ndarray of float32, shape (n, k)
    V : ndarray of float32, shape (n, r)
        Codes h(x) of the encoder.
    Z : ndarray of float32, shape (n, r)
        The current codes.
    F, offset : ndarrays of float64, shapes (r, k) and (k,)
        The decoder.
    mu : float
        Penalty of a bit that differs from h(x).

    Returns
    -------
    Z : ndarray of float32, shape (n, r)
    """
    n_bits = len(F)
    gram = F @ F.T
    decoder, origin = 2 * F.astype(np.float32).T, offset.astype(np.float32)
    new = np.empty_like(Z)
    for start in range(0, len(X), BLOCK):
        where = slice(start, start + BLOCK)
        linear = np.matmul(X[where] - origin, decoder, dtype=np.float32)
        linear += np.float32(mu / 2) * V[where]
        if n_bits < ENUMERABLE:
            new[where] = enumerate_codes(linear, gram)
            continue
        a = np.ascontiguousarray(linear.T)  # each bit is contiguous over all rows
        starts = (relax(a, gram), np.ascontiguousarray(Z[where].T), V[where].T.copy())
        found = [descend(a, gram, codes) for codes in starts]
        G = gram.astype(np.float32)
        energies = [np.einsum("ij,ij->j", codes, G @ codes - a) for codes in found]
        new[where] = np.choose(np.argmin(energies, axis=0), found).T
    return new


def enumerate_codes(linear: NDArray[np.float32], gram: NDArray[np.float64]) -> NDArray[np.float32]:
    """For each row a of ``linear``, the code b that minimises ``b^T G b - a^T b``."""
    n_bits = len(gram)
    numbers = np.arange(2**n_bits)[:, np.newaxis] >> np.arange(n_bits)
    codes = (2 * (numbers & 1) - 1).astype(np.float32)
    energy = np.einsum("ij,ij->i", codes @ gram, codes).astype(np.float32)
    return codes[np.argmin(energy - linear @ codes.T, axis=1)]


def relax(a: NDArray[np.float32], gram: NDArray[np.float64]) -> NDArray[np.float32]:
    """Columns b in [-1, 1]^r that minimise ``b^T G b - a^T b``, by ADMM for all at once."""
    n_bits = len(gram)
    rho = 2 * float(np.trace(gram)) / n_bits or 1.0
    # one inverse for all columns and rounds
    solve = np.linalg.inv(2 * gram + rho * np.eye(n_bits)).astype(np.float32)
    cube = np.clip(solve @ a, -1, 1)
    dual = np.zeros_like(cube)
    for _ in range(RELAXED_ROUNDS):
        cube -= dual
        cube *= np.float32(rho)
        cube += a
        dual += solve @ cube
        np.clip(dual, -1, 1, out=cube)
        dual -= cube
    return cube


def descend(
    a: NDArray[np.float32], gram: NDArray[np.float64], start: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Codes at which no single bit lowers ``b^T G b - a^T b``, column by column.

    Sweeps over the bits until a sweep changes nothing; finished columns drop out. The start may be
    real-valued: the first sweep replaces its entries by signs.
    """
    coupling = 2 * gram.astype(np.float32)
    np.fill_diagonal(coupling, 0)  # b_j^2 = 1 for both values of the bit
    done = np.empty_like(start)
    live, b = np.arange(start.shape[1]), start
    for _ in range(SWEEPS):
        before = b.copy()
        for j in range(len(b)):
            b[j] = np.where(a[j] >= coupling[j] @ b, np.float32(1), np.float32(-1))
        done[:, live] = b
        moved = (b != before).any(axis=0)
        if not moved.any():
            break
        live, a, b = live[moved], a[:, moved], b[:, moved]
    return done


def neighbour_precision(
    B: NDArray[np.float32], queries: NDArray[np.intp], neighbours: NDArray[np.intp]
) -> float:
    """Mean share of the true neighbours among the nearest codes, for queries that are rows.

    A query's k nearest codes are compared with its k true neighbours; codes at the same distance as
    the k-th count with the probability that a random order selects them.

    Parameters
    ----------
    B : ndarray of float32, shape (n, r)
    queries : ndarray, shape (q,)
        Numbers of the query rows; a query does not find itself.
    neighbours : ndarray, shape (q, k)
    """
    k = neighbours.shape[1]
    total = 0.0
    for query, true in zip(queries, neighbours, strict=True):
        distances = -(B @ B[query])
        distances[query] = np.inf
        last = np.partition(distances, k - 1)[k - 1]
        closer, tied = distances < last, distances == last
        places = (k - closer.sum()) / tied.sum()
        total += (closer[true].sum() + places * tied[true].sum()) / k
    return float(total / len(queries))


def true_neighbours(X: NDArray[np.float32], queries: NDArray[np.intp], k: int) -> NDArray[np.intp]:
    """The ``k`` nearest other rows of each query row."""
    squares = np.einsum("ij,ij->i", X, X)
    nearest = np.empty((len(queries), k), np.intp)
    for place, query in enumerate(queries):
        distances = squares - 2 * (X @ X[query])
        distances[query] = np.inf
        nearest[place] = np.argpartition(distances, k - 1)[:k]
    return nearest


class BinaryAutoencoder(DecoderMixin, LinearHasher):
    """Linear encoder and decoder learned around explicit binary codes.

    Minimises the reconstruction error ``sum_i ||x_i - f(h(x_i))||^2`` of the training rows, where h
    is the signs of linear scores and f is linear. In the method of auxiliary coordinates, the codes
    are separate variables Z, and a growing penalty pulls them towards the encoder: ``sum_i ||x_i -
    f(z_i)||^2 + mu ||z_i - h(x_i)||^2``. For each mu three problems are solved in turn: the codes
    of each row, the decoder by least squares, and the encoder as ``n_bits`` linear support vector
    machines. Training starts from ITQ and ends when Z = h(X).

    After each mu, 200 training rows search for the nearest 0.2 % of the training set. If the
    precision has fallen, the previous encoder, decoder and codes are restored. The final decoder is
    the least-squares decoder of the final codes. Better reconstruction often means that fewer
    neighbours are found, so a validated result stays close to ITQ.

    Fitting costs O(n d r + n r^2) per step of the optimiser and holds the n rows in memory as
    float32; encoding costs O(d r) per vector.

    Parameters
    ----------
    n_bits : int, default=64
        Code length r, a multiple of 8; may exceed the dimension of the vectors.
    metric : {"l2", "cosine", "ip"}, default="l2"
        What makes vectors near; for "cosine", they are scaled to unit length.
    mu : float, default=0.1
        First penalty of a differing bit, in units of the variance per bit: the total variance of
        the vectors divided by ``n_bits``.
    growth : float, default=1.2
        Factor from one penalty to the next.
    n_iter : int, default=26
        Most penalties; training ends earlier if the codes agree with the encoder.
    C : float, default=100
        Weight of the support vector machines' loss, for vectors of total variance 1.
    validate : bool, default=True
        Undo a penalty that lowered the precision, as the authors' program does. Without validation,
        reconstruction is better and search is worse.
    random_state : int, RandomState or None, default=None
        Draws ITQ's first rotation and the validation queries.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    weights_ : ndarray of float32, shape (d, n_bits)
    thresholds_ : ndarray of float64, shape (n_bits,)
    decoder_ : ndarray of float32, shape (n_bits, d)
    offset_ : ndarray of float32, shape (d,)
        A code b of signs decodes to ``b @ decoder_ + offset_``.
    history_ : list of dict
        For each penalty: ``mu``, ``differing`` (share of the bits in which Z and h(X) differ),
        ``error`` (of the result, in units of the total variance), ``precision`` and whether it was
        ``accepted``.

    References
    ----------
    Carreira-Perpinan and Raziperchikolaei, CVPR 2015, sections 2 to 4; the validation is that of
    the authors' program. C is not: the authors' C is for data in other units, and would be about
    fifty times as large in these units.

    Notes
    -----
    The authors list absolute penalties (0 to 0.2) for data divided by its largest range. On MNIST
    those never make Z equal h(X). Penalties relative to the variance do, in any units, with nearly
    the same precision and a lower error. One solver for all bits replaces one support vector
    machine per bit. A few steps from the last solution are enough, because the codes change again
    anyway. The bias is not regularised, so a translation of the data changes nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import BinaryAutoencoder
    >>> X = np.random.default_rng(0).normal(size=(500, 32))
    >>> ba = BinaryAutoencoder(n_bits=16, validate=False, random_state=0).fit(X)
    >>> ba.transform(X).shape, ba.training_["error"] < ba.training_["error_itq"]
    ((500, 2), True)
    """

    name: ClassVar[str] = "binary_autoencoder"
    fit_cost = "seconds"
    exceeds_dimension = True
    fitted_arrays = ("weights_", "thresholds_", "decoder_", "offset_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        metric: str = "l2",
        mu: float = 0.1,
        growth: float = 1.2,
        n_iter: int = 26,
        C: float = 100.0,
        validate: bool = True,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.metric = metric
        self.mu = mu
        self.growth = growth
        self.n_iter = n_iter
        self.C = C
        self.validate = validate
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        self._check_parameters()
        X, variances, mean, axes = principal_rows(rows)
        W = itq_hyperplanes(X, self.n_bits, random_state)
        bias = np.zeros(self.n_bits, np.float32)
        # ITQ's hyperplanes encode its codes without error: no first h step is needed
        Z = V = binary_codes(X, W, bias)
        F, offset, error_itq = fit_decoder(X, V)
        queries = np.sort(random_state.permutation(len(X))[:QUERIES])
        k = min(max(10, round(NEIGHBOURS * len(X))), len(X) - 1)
        neighbours = true_neighbours(X, queries, k)
        start = best = neighbour_precision(V, queries, neighbours)
        self.history_: list[dict[str, Any]] = []
        with track(range(self.n_iter), "binary autoencoder", show=self.verbose) as rounds:
            for round_ in rounds:
                mu = self.mu * self.growth**round_
                codes = code_step(X, V, Z, F, offset, mu / self.n_bits)
                differing = float((codes != V).mean())
                if not differing:
                    break
                new_W, new_bias = W.copy(), bias.copy()
                stale = (codes != Z).any(axis=0)  # the other encoders are already fitted
                new_W[:, stale], new_bias[stale] = fit_encoders(
                    X, variances, codes[:, stale], W[:, stale], bias[stale], C=self.C, n_steps=STEPS
                )
                new_V = binary_codes(X, new_W, new_bias)
                precision = neighbour_precision(new_V, queries, neighbours)
                accepted = not self.validate or precision >= best
                self.history_.append(
                    {
                        "mu": mu,
                        "differing": differing,
                        "error": fit_decoder(X, new_V)[2],
                        "precision": precision,
                        "accepted": accepted,
                    }
                )
                if accepted:
                    W, bias, V, Z, best = new_W, new_bias, new_V, codes, precision
                    F, offset, _ = fit_decoder(X, Z)
        F, offset, error = fit_decoder(X, V)
        unit = float(axes[0] @ axes[0])  # the total variance
        self.weights_ = (axes.T @ (W / unit)).astype(np.float32)
        self.thresholds_ = mean @ self.weights_ - bias
        self.decoder_ = (F @ axes).astype(np.float32)
        self.offset_ = (mean + offset @ axes).astype(np.float32)
        self.training_ = {
            "n_rows": len(X),
            "rounds": len(self.history_),
            "accepted": sum(entry["accepted"] for entry in self.history_),
            "error_itq": error_itq * unit,
            "error": error * unit,
            "precision_itq": start,
            "precision": best,
        }

    def _check_parameters(self) -> None:
        check_whole(self.n_iter, "n_iter")
        for name, least in (("mu", 0), ("growth", 1), ("C", 0)):
            value = getattr(self, name)
            if not (
                isinstance(value, (int, float, np.number)) and np.isfinite(value) and value >= least
            ):
                raise ValueError(f"{name} must be a finite number of at least {least}: {value!r}")
        if self.C == 0:
            raise ValueError("C must be positive, got 0")

    def _decode(self, code_signs: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.offset_ + code_signs @ self.decoder_
