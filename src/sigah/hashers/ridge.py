"""Ridge regression from sums over rows, so that the rows need not be kept in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigah.extras import require

__all__ = ["PENALTIES", "Moments", "best_regression"]

# Penalties tried on held-out rows, strongest first; without held-out rows, the strongest is taken.
# The unit is the weight of one vector on all coefficients together. Weaker penalties gain almost
# nothing on held-out rows, and lose much on vectors unlike all of these rows.
PENALTIES = (1.0, 0.1)
# Codes were also learned from the held-out rows, which favours weak penalties if rows are few: for
# unseen vectors, the best penalty was three times as strong with 1,000 rows, and no stronger with
# 30,000 (docs/methods.md).
FEW_ROWS = 1000


@dataclass(frozen=True)
class Moments:
    """``Z^T Z`` ``(n, n)`` and ``Z^T Y`` ``(n, d)`` of some rows; moments can be added."""

    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    n_rows: int

    @classmethod
    def of(cls, Z: NDArray[np.float32], Y: NDArray[np.float32]) -> Moments:
        """The moments of a block of rows."""
        return cls((Z.T @ Z).astype(np.float64), (Z.T @ Y).astype(np.float64), len(Z))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.gram + other.gram, self.cross + other.cross, self.n_rows + other.n_rows)

    def regression(self, penalty: float) -> NDArray[np.float64]:
        """``B``, ``(n, d)``, that minimises ``||Y - Z B||^2 + penalty mean ||z||^2 ||B||^2``."""
        gram = self.gram.copy()
        gram[np.diag_indices(len(gram))] += penalty * (np.trace(gram) / self.n_rows or 1.0)
        linalg = require("scipy.linalg", "refitting a dictionary", "train")
        coefficients: NDArray[np.float64] = linalg.solve(gram, self.cross, assume_a="pos")
        return coefficients

    def error(self, B: NDArray[np.float64]) -> float:
        """``||Y - Z B||^2`` less ``||Y||^2``, which is the same for every B."""
        return float(np.vdot(B, self.gram @ B) - 2 * np.vdot(B, self.cross))


def best_regression(rest: Moments, held_out: Moments) -> NDArray[np.float64]:
    """The regression on all rows, with the penalty of least error on the held-out rows.

    If rows are few, the penalty is made up to three times as strong, because the codes were also
    learned from the held-out rows.

    Parameters
    ----------
    rest, held_out : Moments
        Moments of different rows, about four to one.

    Returns
    -------
    ndarray of float64, shape (n, d)
    """
    best = min(PENALTIES, key=lambda penalty: held_out.error(rest.regression(penalty)))
    everything = rest + held_out
    return everything.regression(best * (1 + 2 * min(1.0, FEW_ROWS / everything.n_rows)))
