"""How many candidates a search of vectors ranks, and what a calibration says of that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole

__all__ = ["Shortlist", "ShortlistCalibration", "doubled", "share_found"]


@dataclass(frozen=True)
class Shortlist:
    """How many candidates are ranked: at least some, and a share of the index."""

    least: int
    share: float

    def __post_init__(self) -> None:
        check_whole(self.least, "shortlist")
        if not isinstance(self.share, (int, float)) or not 0 <= self.share < math.inf:
            raise ValueError(f"the share of a shortlist must be from 0 on, got {self.share!r}")

    @classmethod
    def of(cls, candidates: int, n: int) -> Shortlist:
        """So many candidates among ``n``, and more where there are more."""
        least = check_whole(candidates, "shortlist")
        return cls(least, least / max(1, n))

    def among(self, n: int) -> int:
        """Candidates of an index of ``n`` vectors."""
        return max(self.least, math.ceil(self.share * n))


@dataclass(frozen=True)
class ShortlistCalibration:
    """The result of :meth:`VectorIndex.calibrate`.

    Attributes
    ----------
    shortlist : int
        Candidates that are ranked for each query.
    recall : float
        Mean share of the true neighbours that were returned.
    low, high : float
        An interval of 95 % of the recall on other queries of the same kind.
    reached : bool
        Whether ``recall`` is at least ``target_recall``.
    target_recall : float
    curve : tuple of (int, float)
        Shortlists that were tried, and the recall at each.
    """

    shortlist: int
    recall: float
    low: float
    high: float
    reached: bool
    target_recall: float
    curve: tuple[tuple[int, float], ...]

    def __str__(self) -> str:
        found = (
            f"recall {self.recall:.3f} (95 % of such samples: {self.low:.3f} to {self.high:.3f})"
            f" with {self.shortlist:,} candidates"
        )
        if self.reached:
            return found
        return f"recall {self.target_recall:.3g} is out of reach: {found} at best"


def share_found(found: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each query, the share of the wanted ids that were found."""
    return np.array([np.isin(w, f).mean() for f, w in zip(found, wanted, strict=True)])


def doubled(first: int, n: int) -> list[int]:
    """first, 2 first, 4 first, ... and n."""
    tried = []
    while first < n:
        tried.append(first)
        first *= 2
    return [*tried, max(1, n)]
