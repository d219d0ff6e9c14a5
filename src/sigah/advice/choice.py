"""Which candidate to take: a decision on measured figures, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sigah.advice.prediction import Interval

__all__ = ["NEAR", "RAW", "Candidate", "Choice", "Wishes", "choose", "undominated"]

RAW = ("disk", "memory", "none")
SIMPLEST = ("floats", "sign", "itq", "sq8", "pq", "vectors", "opq", "rabitq", "sigah")
ALIKE = 1.1  # costs up to a tenth apart are equal
NEAR = 0.01  # so are recalls up to a hundredth apart
RUNNERS_UP = 3


@dataclass(frozen=True)
class Candidate:
    """A way to search, and what it gives and costs at the full size.

    Attributes
    ----------
    method : str
        "sign", "itq", "sigah", "vectors" (:class:`~sigah.VectorIndex`), "pq", "opq", "rabitq" or
        "sq8" (of FAISS), or "floats": an exact search of all vectors in memory.
    ranking : str
        What orders the candidates: "hamming", "asymmetric", "tables", "codes" or "exact".
    bytes : int
        In memory for each vector, side data too; the original vectors are not counted.
    bits : int
        Of the hash code; 0 without one.
    reads : int
        Original vectors that a query reads to rank the best once more; 0: none.
    recall : Interval
        Of the ``k`` true neighbours among the ``k`` returned.
    measured_recall : float
        The same, as measured among ``measured_rows`` vectors.
    measured_rows : int
    microseconds : float or None
        One query, encoding included, with the original vectors in memory; None: not timed.
    cost : float
        Bytes in memory for each vector, with the original vectors if they are kept there.
    memory_bytes, disk_bytes : int
        Of all vectors.
    extrapolated : tuple of str
        Which of these figures were not measured at the full size.
    ndcg : Interval or None
        With judgements: the nDCG of the ``k`` returned.
    kept : Interval or None
        With judgements: the same as a share of the nDCG of the full vectors.
    """

    method: str
    ranking: str
    bytes: int
    bits: int
    reads: int
    recall: Interval
    measured_recall: float
    measured_rows: int
    microseconds: float | None
    cost: float
    memory_bytes: int
    disk_bytes: int
    extrapolated: tuple[str, ...] = ()
    ndcg: Interval | None = None
    kept: Interval | None = None

    @property
    def quality(self) -> Interval:
        """What is wished and compared: the share of the nDCG that is kept, or else the recall."""
        return self.recall if self.kept is None else self.kept


@dataclass(frozen=True)
class Wishes:
    """What a search must give and may cost.

    Attributes
    ----------
    recall : float or None
        Wanted, of the true neighbours, or with judgements of the nDCG of the full vectors: the low
        end of the interval must reach it. None: as much as possible.
    bytes : float
        At most, for each vector in memory.
    microseconds : float
        At most, for one query.
    reads : int
        Original vectors that a query may read.
    raw : {"disk", "memory", "none"}
        Where the original vectors are.
    """

    recall: float | None = 0.95
    bytes: float = math.inf
    microseconds: float = math.inf
    reads: int = 200
    raw: str = "disk"

    def unmet(self, candidate: Candidate) -> tuple[str, ...]:
        """Which of the wishes a candidate does not meet."""
        slow = candidate.microseconds is not None and candidate.microseconds > self.microseconds
        fails = {
            "recall": self.recall is not None and candidate.quality.low < self.recall,
            "bytes": candidate.bytes > self.bytes,
            "latency": slow,
            "reads": candidate.reads > (0 if self.raw == "none" else self.reads),
        }
        return tuple(name for name, failed in fails.items() if failed)


@dataclass(frozen=True)
class Choice:
    """A recommendation.

    Attributes
    ----------
    recommended : Candidate
        If no candidate meets the wishes: the nearest.
    unmet : tuple of str
        The wishes that the recommended one does not meet.
    runners_up : tuple of Candidate
        The best of each other method, best first.
    """

    recommended: Candidate
    unmet: tuple[str, ...]
    runners_up: tuple[Candidate, ...]


def choose(candidates: Iterable[Candidate], wishes: Wishes) -> Choice:
    """Choose among candidates.

    By recall, or with judgements by the share of the nDCG that is kept.

    With a wanted recall, the candidate with the fewest bytes in memory is taken; of those within a
    tenth of its cost, the one with the fewest reads (if the original vectors are in memory: the
    fastest), then the simplest. Without one, the candidate with the highest recall within the
    other limits; of those within .01 of it, the one with the fewest bytes.

    Raises
    ------
    ValueError
        If there are no candidates.
    """
    every = list(candidates)
    if not every:
        raise ValueError("there are no candidates to choose from")
    best = _best(every, wishes)
    families = {one.method: one for one in every if one.method != best.method}
    others = [_best([c for c in every if c.method == name], wishes) for name in families]
    others = [one for one in others if len(wishes.unmet(one)) <= len(wishes.unmet(best))] or others
    ordered: list[Candidate] = []
    while others and len(ordered) < RUNNERS_UP:
        ordered.append(_best(others, wishes))
        others.remove(ordered[-1])
    return Choice(best, wishes.unmet(best), tuple(ordered))


def _best(candidates: Sequence[Candidate], wishes: Wishes) -> Candidate:
    """The candidate to take; if none meets the wishes, the one that comes nearest."""
    allowed = [one for one in candidates if not wishes.unmet(one)]
    if wishes.recall is not None and allowed:
        cheapest = min(one.cost for one in allowed)
        alike = [one for one in allowed if one.cost <= ALIKE * cheapest]
        return min(alike, key=lambda one: _effort(one, wishes))
    if not allowed:  # recall gives way first: the other limits are those of a machine
        allowed = [one for one in candidates if not set(wishes.unmet(one)) - {"recall"}]
    if not allowed:
        fewest = min(len(wishes.unmet(one)) for one in candidates)
        allowed = [one for one in candidates if len(wishes.unmet(one)) == fewest]
    highest = max(one.quality.expected for one in allowed)
    alike = [one for one in allowed if one.quality.expected >= highest - NEAR]
    return min(alike, key=lambda one: (one.cost, *_effort(one, wishes)))


def _effort(one: Candidate, wishes: Wishes) -> tuple[float, ...]:
    time = math.inf if one.microseconds is None else one.microseconds
    simple = SIMPLEST.index(one.method) if one.method in SIMPLEST else len(SIMPLEST)
    if wishes.raw == "memory":
        return time, simple, one.reads
    return one.reads, simple, one.cost, time


def undominated(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Without those that another one beats in quality at no more bytes and no more reads."""
    every = list(candidates)
    return [
        one
        for one in every
        if not any(
            other.quality.expected > one.quality.expected
            and other.cost <= one.cost
            and other.reads <= one.reads
            for other in every
        )
    ]
