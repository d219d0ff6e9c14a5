"""From measurements to candidates: what each gives and costs at the full size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sigah.advice.choice import Candidate, Wishes
from sigah.advice.judgements import Judged
from sigah.advice.measurement import Measured, scaled
from sigah.advice.prediction import FITTED, Constants, Interval, predict, share_found, towards_known
from sigah.refinement.refined_codes import TRAINING_ROWS

__all__ = ["FullSize", "candidates_of", "floats"]

READS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
RAW_ITEM = 4  # bytes of a number of an original vector


@dataclass(frozen=True)
class FullSize:
    """What candidates are predicted for.

    Attributes
    ----------
    n_vectors : int
        All of them.
    n_indexed : int
        Of these, what is searched: queries that were held out are not.
    dim, k, seed : int
    constants : Constants
        Of the prediction.
    """

    n_vectors: int
    n_indexed: int
    dim: int
    k: int
    seed: int
    constants: Constants = FITTED


def candidates_of(measured: Sequence[Measured], full: FullSize, wishes: Wishes) -> list[Candidate]:
    """The candidates of a contender: each of its orders alone, and with the original vectors."""
    found = []
    for one in measured:
        shortlists = [] if one.for_vectors else [0]
        if wishes.raw != "none" and one.for_vectors is not False:
            steps = {*READS, wishes.reads}
            shortlists += sorted(step for step in steps if full.k < step <= wishes.reads)
        found += [_candidate(one, reads, full, wishes) for reads in shortlists]
    return found


def _candidate(measured: Measured, reads: int, full: FullSize, wishes: Wishes) -> Candidate:
    contender, rows = measured.contender, max(measured.places)
    whole = rows >= full.n_indexed
    shortlist = reads or full.k
    in_use = min(full.n_indexed, TRAINING_ROWS)
    recall = predict(
        measured.places,
        shortlist,
        full.n_indexed,
        known=measured.known,
        towards=towards_known(measured.learned, in_use, full.n_indexed),
        seed=full.seed,
        constants=full.constants,
    )
    ndcg = kept = None
    if measured.found is not None:
        ndcg, kept = measured.found.scores(reads)
    raw_bytes = RAW_ITEM * full.dim
    in_memory = raw_bytes if reads and wishes.raw == "memory" else 0
    time = None
    if measured.seconds:
        time = 1e6 * scaled(measured.seconds, full.n_vectors)
        time += 1e6 * reads * measured.seconds_per_read
    return Candidate(
        method=contender.family,
        ranking=measured.ranking,
        bytes=contender.bytes,
        bits=contender.bits,
        reads=reads,
        recall=recall,
        measured_recall=float(share_found(measured.places[rows], full.k, shortlist).mean()),
        measured_rows=rows,
        microseconds=time,
        cost=contender.bytes + in_memory,
        memory_bytes=full.n_vectors * (contender.bytes + in_memory),
        disk_bytes=full.n_vectors * raw_bytes if reads and wishes.raw == "disk" else 0,
        extrapolated=() if whole else ("recall", "microseconds"),
        ndcg=ndcg,
        kept=kept,
    )


def floats(seconds: dict[int, float], full: FullSize, judged: Judged | None) -> Candidate:
    """An exact search of all vectors in memory, as a yardstick."""
    rows, size = max(seconds), RAW_ITEM * full.dim
    return Candidate(
        method="floats",
        ranking="exact",
        bytes=size,
        bits=0,
        reads=0,
        recall=Interval(1.0, 1.0, 1.0),
        measured_recall=1.0,
        measured_rows=rows,
        microseconds=1e6 * scaled(seconds, full.n_vectors),
        cost=size,
        memory_bytes=size * full.n_vectors,
        disk_bytes=0,
        extrapolated=("microseconds",) if rows < full.n_indexed else (),
        ndcg=None if judged is None else judged.ndcg(),
        kept=None if judged is None else Interval(1.0, 1.0, 1.0),
    )
