"""From vectors to a recommendation: sample, measure, predict, choose."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from numpy.typing import ArrayLike

from sigah import __version__
from sigah.advice.candidates import FullSize, candidates_of, floats
from sigah.advice.choice import NEAR, RAW, Candidate, Choice, Wishes, choose, undominated
from sigah.advice.contenders import Contender, contenders, families
from sigah.advice.measurement import measure, time_floats
from sigah.advice.prediction import Interval
from sigah.advice.recipe import Recipe
from sigah.advice.trials import FIRST, Trial, Trials, draw_sample
from sigah.checks import check_positive, check_whole
from sigah.evaluation.provenance import environment
from sigah.evaluation.relevance import Grades
from sigah.metric import check_metric
from sigah.progress import bar, phase

__all__ = ["Advice", "AdviceInterrupted", "Judgements", "advise"]

SAMPLE = 100_000
SAMPLE_JUDGED = 200_000  # judgements are about all vectors
LEAST_ROWS = 1000
FINALISTS = 4  # besides plain signs


@dataclass(frozen=True)
class Judgements:
    """Relevance judgements that an advice rests on.

    Attributes
    ----------
    n_results : int
        Judged results, each counted once.
    n_unknown : int
        Of these, those that are not among the vectors: no search finds them.
    ndcg : Interval
        Of an exact search by the full vectors.
    """

    n_results: int
    n_unknown: int
    ndcg: Interval


@dataclass(frozen=True)
class Advice:
    """The result of :func:`advise`.

    Attributes
    ----------
    n_vectors, dim : int
        Of the vectors.
    metric : str
    k : int
        Neighbours wanted.
    wishes : Wishes
    n_sampled, n_queries : int
        Vectors drawn as a base, and queries.
    held_out : bool
        Whether the queries were drawn from the vectors.
    judgements : Judgements or None
        What the nDCG rests on.
    candidates : tuple of Candidate
        All that was measured, without those that another one beats at every cost; plain signs stay.
    choice : Choice or None
        None if nothing was measured.
    finished : bool
        False after an interruption.
    seconds : float
        That advising took.
    seed : int
    name : str
        Of the vectors.
    environment : dict
        Versions, processor and threads.
    """

    n_vectors: int
    dim: int
    metric: str
    k: int
    wishes: Wishes
    n_sampled: int
    n_queries: int
    held_out: bool
    judgements: Judgements | None
    candidates: tuple[Candidate, ...]
    choice: Choice | None
    finished: bool
    seconds: float
    seed: int
    name: str
    environment: dict[str, Any]

    @property
    def full(self) -> FullSize:
        """What the candidates are predicted for."""
        n_indexed = self.n_vectors - self.n_queries * self.held_out
        return FullSize(self.n_vectors, n_indexed, self.dim, self.k, self.seed)

    @property
    def recommended(self) -> Candidate | None:
        """The candidate to take."""
        return None if self.choice is None else self.choice.recommended

    def __str__(self) -> str:
        from sigah.advice.words import plain_words

        return "\n".join(plain_words(self))

    def to_json(self) -> str:
        """JSON of everything, as ``sigah advise --json`` writes it (docs/advise.md)."""
        from sigah.advice.words import plain_words

        content = {
            "format": "sigah advice 1",
            "finished": self.finished,
            "recommended": None if self.recommended is None else asdict(self.recommended),
            "unmet": [] if self.choice is None else list(self.choice.unmet),
            "runners_up": [] if self.choice is None else list(map(asdict, self.choice.runners_up)),
            "words": plain_words(self),
            "data": {
                "name": self.name,
                "n_vectors": self.n_vectors,
                "dimensions": self.dim,
                "metric": self.metric,
                "k": self.k,
                "n_sampled": self.n_sampled,
                "n_queries": self.n_queries,
                "queries": "held out" if self.held_out else "given",
                "judgements": None if self.judgements is None else asdict(self.judgements),
                "seed": self.seed,
            },
            "wishes": {
                name: None if value == math.inf else value
                for name, value in asdict(self.wishes).items()
            },
            "candidates": [asdict(one) for one in self.candidates],
            "seconds": self.seconds,
            "environment": self.environment,
        }
        return json.dumps(content, indent=1, allow_nan=False)

    def recipe(self) -> Recipe:
        """The recommendation in the form that other commands accept.

        Raises
        ------
        ValueError
            If nothing was measured.
        """
        one = self.recommended
        if one is None:
            raise ValueError("nothing was measured, so there is no recipe")
        seeded = one.method in ("itq", "sigah", "vectors")
        return Recipe(
            metric=self.metric,
            method=one.method,
            bytes=one.bytes,
            bits=one.bits,
            ranking=one.ranking,
            reads=one.reads,
            k=self.k,
            parameters={"seed": self.seed} if seeded else {},
            recall=asdict(one.recall),
            ndcg_kept={} if one.kept is None else asdict(one.kept),
            made_from={
                "name": self.name,
                "rows": self.n_vectors,
                "dimensions": self.dim,
                "sampled": self.n_sampled,
            },
            version=__version__,
        )


class AdviceInterrupted(KeyboardInterrupt):
    """Ctrl-C ended :func:`advise`; ``advice`` has what was measured before."""

    def __init__(self, advice: Advice) -> None:
        super().__init__("interrupted: advice.candidates has what was measured before")
        self.advice = advice


def advise(
    vectors: Any,
    queries: ArrayLike | None = None,
    *,
    truth: ArrayLike | None = None,
    grades: Sequence[Grades] | None = None,
    ids: ArrayLike | None = None,
    metric: str = "cosine",
    k: int = 10,
    recall: float | None = None,
    n_bytes: float | None = None,
    latency: float | None = None,
    reads: int = 200,
    raw: str = "disk",
    methods: Sequence[str] | None = None,
    sample: int | None = None,
    seed: int = 0,
    name: str = "vectors",
    show: bool = False,
) -> Advice:
    """Recommend a method, a size and a way of ranking, from measurements on a sample.

    Every contender is fitted to a small sample, and the promising ones to the whole sample. The
    recall of each is measured at several sizes of the base, and predicted for all vectors
    (:func:`~sigah.advice.prediction.predict`).

    Parameters
    ----------
    vectors : array-like, shape (n, d), or batches
        The vectors to be searched: an array, a memory map, what :func:`sigah.rows.open_vectors`
        returns, or batches. They are read once.
    queries : array-like, shape (q, d), optional
        Typical queries; by default, some of the vectors are held out.
    truth : array-like of int, shape (q, at least k), optional
        True neighbours of ``queries``, as row numbers; only if ``sample`` takes in all vectors.
        By default they are found by an exact search of the sample.
    grades : sequence of mappings, length q, optional
        Relevance judgements of ``queries``, as :func:`~sigah.evaluation.judgements_of` returns
        them; only if ``sample`` takes in all vectors. Then the share that a candidate keeps of the
        nDCG of the full vectors takes the place of recall in what is wished and compared.
    ids : array-like of int or str, shape (n,), optional
        Names of the vectors in ``grades``, compared as text; by default their row numbers.
    metric : {"cosine", "l2", "ip"}
    k : int, default=10
        Neighbours wanted.
    recall : float, optional
        Share of the ``k`` true neighbours wanted among the ``k`` returned; with ``grades``, share
        of the nDCG of the full vectors. By default .95, or, if ``n_bytes`` are given, as much as
        they allow.
    n_bytes : float, optional
        In memory, for each vector, at most.
    latency : float, optional
        Seconds of a query, at most.
    reads : int, default=200
        Original vectors that a query may read, to rank the best once more.
    raw : {"disk", "memory", "none"}
        Where the original vectors are.
    methods : sequence of str, optional
        Of "sign", "itq", "vectors", "sigah", "sq8", "pq", "opq", "rabitq"; by default all for which
        the libraries are installed.
    sample : int, optional
        Vectors to measure on, by default 100,000; with ``grades``, at most 200,000.
    seed : int, default=0
    name : str
        Of the vectors, for the recipe.
    show : bool, default=False
        Whether to show progress.

    Returns
    -------
    Advice

    Raises
    ------
    ValueError
        If the vectors are fewer than 1,000 or not finite, or an argument is out of range.
    AdviceInterrupted
        On Ctrl-C, if something was measured before.

    Examples
    --------
    >>> import numpy as np
    >>> from sigah import advise
    >>> vectors = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    >>> advice = advise(vectors, metric="l2", recall=0.9, methods=["sign", "itq"])
    >>> advice.recommended.recall.low >= 0.9
    True
    """
    began = time.perf_counter()
    wishes = _wishes(recall, n_bytes, latency, reads, raw)
    k = check_whole(k, "k")
    check_metric(metric)
    seed = check_whole(seed, "seed", least=0)
    chosen = _check_methods(methods)
    usual = SAMPLE if grades is None else SAMPLE_JUDGED
    size = usual if sample is None else check_whole(sample, "sample", least=LEAST_ROWS)
    with phase("reading a sample", show=show):
        drawn, n_vectors = draw_sample(vectors, size, seed)
    if len(drawn) < LEAST_ROWS:
        raise ValueError(f"vectors: at least {LEAST_ROWS:,} are needed to judge, got {len(drawn)}")
    trials = Trials(drawn, n_vectors, queries, truth, metric, k, seed, grades, ids)
    depth = max(k, wishes.reads if wishes.raw != "none" else 0)
    with phase("finding the true neighbours", show=show):
        first = trials.first()
    told = Advice(
        n_vectors=n_vectors,
        dim=drawn.shape[1],
        metric=metric,
        k=k,
        wishes=wishes,
        n_sampled=len(trials.base),
        n_queries=len(trials.queries),
        held_out=queries is None,
        judgements=None
        if first.judged is None
        else Judgements(trials.n_judged, trials.n_unknown, first.judged.ndcg()),
        candidates=(),
        choice=None,
        finished=False,
        seconds=0.0,
        seed=seed,
        name=name,
        environment=environment(),
    )
    found: dict[tuple[str, int], list[Candidate]] = {}
    try:
        _measure_all(found, trials, first, told, chosen, depth, show=show)
        finished = True
    except KeyboardInterrupt:
        if not found:
            raise
        finished = False
    every = [one for some in found.values() for one in some]
    # what was measured on few rows only was no match for the others
    fully = [one for one in every if finished and one.measured_rows >= len(trials.base) // 2]
    choice = choose(fully or every, wishes)
    named = (choice.recommended, *choice.runners_up)
    best = undominated(every)
    shown = [one for one in every if one in best or one in named or one.method == "sign"]
    advice = replace(
        told,
        candidates=tuple(sorted(shown, key=lambda one: (one.cost, one.reads))),
        choice=choice,
        finished=finished,
        seconds=time.perf_counter() - began,
    )
    if not finished:
        raise AdviceInterrupted(advice)
    return advice


def _measure_all(
    found: dict[tuple[str, int], list[Candidate]],
    trials: Trials,
    first: Trial,
    told: Advice,
    chosen: Sequence[str],
    depth: int,
    *,
    show: bool,
) -> None:
    """Measure all contenders on the first rows, and the promising ones on all; fills ``found``.

    What an interruption leaves in ``found`` is whole.
    """
    wishes = told.wishes
    alone = told.n_sampled < 2 * FIRST
    whole = told.n_sampled >= told.full.n_indexed
    tried = list(contenders(told.dim, told.n_sampled, chosen, wishes.bytes))
    if not tried:
        raise ValueError(
            f"no method fits: vectors have {told.dim} dimensions, and at most {wishes.bytes:g}"
            " bytes are allowed"
        )
    # SiGAH starts from ITQ and trains for long: it is compared where ITQ is among the best
    late = [one for one in tried if one.family == "sigah" and "itq" in chosen]
    early = [one for one in tried if one not in late]
    with bar(show=show) as progress:
        task = progress.add_task("measuring", total=len(early), detail="")
        for contender in early:
            progress.update(task, detail=contender.name)
            if _worthwhile(contender, found, wishes):
                measured = measure(contender, first, depth, told.seed, whole=alone and whole)
                found[contender.family, contender.bytes] = candidates_of(
                    measured, told.full, wishes
                )
            progress.advance(task)
        seconds = time_floats(trials.base, trials.queries, told.k, told.metric)
        found["floats", 4 * told.dim] = [floats(seconds, told.full, first.judged)]
        finalists = _finalists(early, found, wishes)
        compared = [] if alone else finalists
        sizes_of_itq = {one.bytes for one in finalists if one.family == "itq"}
        compared += [one for one in late if one.bytes in sizes_of_itq]
        if not compared:
            return
        large = first
        if len(first.base) < told.n_sampled:
            with phase("finding the true neighbours", show=show):
                large = trials.of(told.n_sampled)
        task = progress.add_task("comparing", total=len(compared), detail="")
        for contender in compared:
            progress.update(task, detail=contender.name)
            measured = measure(contender, large, depth, told.seed, whole=whole)
            found[contender.family, contender.bytes] = candidates_of(measured, told.full, wishes)
            progress.advance(task)


def _worthwhile(
    contender: Contender, found: dict[tuple[str, int], list[Candidate]], wishes: Wishes
) -> bool:
    """Whether a contender may be needed: not if a shorter one of its family leaves no wish open."""
    enough = 1 - NEAR if wishes.recall is None else wishes.recall
    return not any(
        not wishes.unmet(one) and one.quality.low >= enough
        for (family, n_bytes), some in found.items()
        if family == contender.family and n_bytes < contender.bytes
        for one in some
    )


def _finalists(
    tried: Sequence[Contender], found: dict[tuple[str, int], list[Candidate]], wishes: Wishes
) -> list[Contender]:
    """Plain signs, and the contenders that could turn out to be the one to take.

    Each is given the benefit of the doubt once: its quality is taken to be the high end of the
    interval. The contenders that would then be chosen first, second, ... go on.
    """
    left = {key: some for key, some in found.items() if key[0] != "floats"}
    chosen = [("sign", key[1]) for key in left if key[0] == "sign"]
    for pick in (lambda quality: quality.expected, lambda quality: quality.high):
        rest = {key: some for key, some in left.items() if key not in chosen}
        for _ in range(FINALISTS // 2):
            hoped = [
                # a share that is kept stands before the recall, and so for both
                replace(one, kept=Interval(pick(one.quality), pick(one.quality), 1.0))
                for some in rest.values()
                for one in some
            ]
            if not hoped:
                break
            best = choose(hoped, wishes).recommended
            chosen.append((best.method, best.bytes))
            rest.pop((best.method, best.bytes))
    return [one for one in tried if (one.family, one.bytes) in chosen]


def _wishes(
    recall: float | None, n_bytes: float | None, latency: float | None, reads: int, raw: str
) -> Wishes:
    if recall is not None and not 0 < check_positive(recall, "recall") <= 1:
        raise ValueError(f"recall must be above 0 and at most 1, got {recall!r}")
    if raw not in RAW:
        raise ValueError(f"raw must be one of {', '.join(RAW)}, got {raw!r}")
    most = math.inf if n_bytes is None else check_positive(n_bytes, "n_bytes")
    slowest = math.inf if latency is None else 1e6 * check_positive(latency, "latency")
    if recall is None and n_bytes is None:
        recall = Wishes.recall
    return Wishes(recall, most, slowest, check_whole(reads, "reads", least=0), raw)


def _check_methods(methods: Sequence[str] | None) -> list[str]:
    here = families()
    if methods is None:
        return here
    for name in methods:
        if name not in here:
            raise ValueError(
                f"methods: {name!r} is not one of those that run here: {', '.join(here)}"
            )
    return [name for name in here if name in methods]
