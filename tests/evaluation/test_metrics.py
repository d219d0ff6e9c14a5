from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, mean_squared_error, r2_score

from sigah.codes import pack, unpack
from sigah.evaluation import (
    RankCounts,
    average_precision,
    average_precision_stable,
    bit_balance,
    bit_statistics,
    metrics,
    pr_area,
    pr_curve,
    precision_at,
    rank_counts,
    recall_at,
    reconstruction_error,
)

Codes = NDArray[np.uint8]
Truth = NDArray[np.integer[Any]]


def random_codes(n: int, n_bits: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, (n, n_bits // 8), dtype=np.uint8)


def random_truth(q: int, k: int, n: int, seed: int = 0) -> Truth:
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(n)[:k] for _ in range(q)])


def by_definition(base: Codes, queries: Codes) -> NDArray[np.int64]:
    """Distances counted bit by bit."""
    return (unpack(queries)[:, None, :] != unpack(base)[None, :, :]).sum(axis=2)


@dataclass
class Problem:
    """Codes with many ties, and any rows for their neighbours."""

    base: Codes
    queries: Codes
    truth: Truth

    @property
    def k(self) -> int:
        return self.truth.shape[1]

    @property
    def counts(self) -> RankCounts:
        return rank_counts(self.base, self.queries, self.truth, ks=[self.k])[self.k]

    def orders(self, query: int) -> Iterator[list[int]]:
        """Every ranking of the base that sorts the distances, as 0/1 relevances."""
        distances = by_definition(self.base, self.queries)[query]
        blocks = [np.flatnonzero(distances == d) for d in np.unique(distances)]
        for order in product(*map(permutations, blocks)):
            yield [int(row in self.truth[query]) for block in order for row in block]


@st.composite
def problems(draw: st.DrawFn, most: int = 6) -> Problem:
    n, q = draw(st.integers(1, most)), draw(st.integers(1, 3))
    few_bytes = st.sampled_from([0, 1, 2, 3, 255])
    codes = draw(st.lists(st.tuples(few_bytes, few_bytes), min_size=n + q, max_size=n + q))
    k = draw(st.integers(1, n))
    truth = [draw(st.permutations(range(n)))[:k] for _ in range(q)]
    array = np.array(codes, np.uint8)
    return Problem(array[:n], array[n:], np.array(truth))


def precisions(relevances: list[int]) -> list[Fraction]:
    """The precision at each relevant rank."""
    return [
        Fraction(sum(relevances[:rank]), rank)
        for rank in range(1, len(relevances) + 1)
        if relevances[rank - 1]
    ]


@given(problems())
@settings(deadline=None)
def test_average_precision_agrees_with_all_orders_of_ties(problem: Problem) -> None:
    by_ties = {t: average_precision(problem.counts, t) for t in ("expected", "best", "worst")}  # type: ignore[arg-type]
    for query in range(len(problem.queries)):
        scores = [sum(precisions(order)) / problem.k for order in problem.orders(query)]
        assert by_ties["expected"][query] == pytest.approx(float(sum(scores) / len(scores)))
        assert by_ties["best"][query] == pytest.approx(float(max(scores)))
        assert by_ties["worst"][query] == pytest.approx(float(min(scores)))


@given(problems(), st.data())
@settings(deadline=None)
def test_precision_and_recall_are_the_mean_over_all_orders(problem: Problem, data: Any) -> None:
    n = data.draw(st.integers(1, len(problem.base)))
    precision, recall = precision_at(problem.counts, n), recall_at(problem.counts, n)
    for query in range(len(problem.queries)):
        found = [sum(order[:n]) for order in problem.orders(query)]
        mean = Fraction(sum(found), len(found))
        assert precision[query] == pytest.approx(float(mean / n))
        assert recall[query] == pytest.approx(float(mean / problem.k))


@given(problems(most=40))
@settings(deadline=None)
def test_block_end_is_what_scikit_learn_computes(problem: Problem) -> None:
    distances = by_definition(problem.base, problem.queries)
    for query, score in enumerate(average_precision(problem.counts, "block_end")):
        relevant = np.isin(np.arange(len(problem.base)), problem.truth[query])
        assert score == pytest.approx(average_precision_score(relevant, -distances[query]))


@given(problems(most=40))
@settings(deadline=None)
def test_stable_ties_keep_the_order_of_the_base(problem: Problem) -> None:
    distances = by_definition(problem.base, problem.queries)
    stable = average_precision_stable(problem.base, problem.queries, problem.truth)
    for query, score in enumerate(stable):
        order = sorted(range(len(problem.base)), key=lambda row: (distances[query, row], row))
        relevances = [int(row in problem.truth[query]) for row in order]
        assert score == pytest.approx(float(sum(precisions(relevances)) / problem.k))


@given(problems(most=40))
@settings(deadline=None)
def test_worst_and_best_enclose_the_others(problem: Problem) -> None:
    worst = average_precision(problem.counts, "worst") - 1e-12
    best = average_precision(problem.counts, "best") + 1e-12
    stable = average_precision_stable(problem.base, problem.queries, problem.truth)
    for scores in (average_precision(problem.counts), stable):
        assert (worst <= scores).all()
        assert (scores <= best).all()
    assert (worst > -1e-12).all()
    assert (best < 1 + 1e-11).all()


def test_all_ties_are_the_same_where_nothing_is_tied() -> None:
    base = pack(np.tri(65, 64, -1)[np.random.default_rng(0).permutation(65)])
    problem = Problem(base, np.zeros((4, 8), np.uint8), random_truth(4, 9, 65))
    relevant = [np.isin(np.arange(65), row) for row in problem.truth]
    distances = by_definition(problem.base, problem.queries)
    expected = [average_precision_score(r, -d) for r, d in zip(relevant, distances, strict=True)]
    for ties in ("expected", "best", "worst", "block_end"):
        np.testing.assert_allclose(average_precision(problem.counts, ties), expected)  # type: ignore[arg-type]
    stable = average_precision_stable(problem.base, problem.queries, problem.truth)
    np.testing.assert_allclose(stable, expected)


@pytest.mark.parametrize("seen", [0, 10, 10**6])
@pytest.mark.parametrize(("size", "hits"), [(1, 1), (2, 1), (1000, 7), (1000, 1000), (30000, 29)])
def test_the_closed_form_holds_in_large_bases(seen: int, size: int, hits: int) -> None:
    found = min(seen, 5)
    both = RankCounts(np.array([[seen, size]]), np.array([[found, hits]]))
    gained = average_precision(both)[0] * (found + hits)
    if seen:
        alone = RankCounts(np.array([[seen]]), np.array([[found]]))
        gained -= average_precision(alone)[0] * found
    terms = [
        hits / size * (found + 1 + (j - 1) * (hits - 1) / max(size - 1, 1)) / (seen + j)
        for j in range(1, size + 1)
    ]
    assert gained == pytest.approx(math.fsum(terms), rel=1e-9)


def test_the_curve_begins_where_something_is_found() -> None:
    """At smaller radii there is no precision: it is that of the first radius with a code."""
    base = pack(np.arange(8) < np.array([[3], [5]]))  # 3 and 5 bits from the query
    counts = rank_counts(base, np.zeros((1, 1), np.uint8), np.array([[0]]), ks=[1])[1]
    assert pr_curve(counts)[1].tolist() == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    assert pr_area(counts) == 1


@given(problems(most=30))
@settings(deadline=None)
def test_pr_area_is_the_naive_sum_over_radii(problem: Problem) -> None:
    distances = by_definition(problem.base, problem.queries)
    area, previous = 0.0, None
    for radius in range(problem.base.shape[1] * 8 + 1):
        pairs = [
            row in problem.truth[query]
            for query in range(len(problem.queries))
            for row in range(len(problem.base))
            if distances[query, row] <= radius
        ]
        if not pairs:
            continue
        recall, precision = sum(pairs) / problem.truth.size, sum(pairs) / len(pairs)
        if previous is None:
            area = recall * precision
        else:
            area += (recall - previous[0]) * (precision + previous[1]) / 2
        previous = recall, precision
    assert pr_area(problem.counts) == pytest.approx(area)
    assert -1e-12 <= area <= 1 + 1e-12


@given(problems(most=30))
@settings(deadline=None)
def test_the_curve_ends_with_everything(problem: Problem) -> None:
    recall, precision = pr_curve(problem.counts)
    assert len(recall) == len(precision) == problem.base.shape[1] * 8 + 1
    assert (np.diff(recall) >= 0).all()
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx(problem.k / len(problem.base))


@pytest.mark.parametrize("n_bits", [8, 24, 64, 72, 256])
def test_counts_are_those_of_unpacked_bits(n_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PAIRS_PER_BLOCK", 130)  # three queries at a time
    base, queries = random_codes(40, n_bits), random_codes(7, n_bits, seed=1)
    truth = random_truth(7, 12, 40)
    distances = by_definition(base, queries)
    several = rank_counts(base, queries, truth.astype(np.uint16), ks=(1, 5, 12))
    assert list(several) == [1, 5, 12]
    for k, counts in several.items():
        assert (counts.k, counts.n_base) == (k, 40)
        assert counts.total.dtype == counts.relevant.dtype == np.int64
        for query in range(7):
            total, relevant = Counter(distances[query]), Counter(distances[query][truth[query, :k]])
            assert counts.total[query].tolist() == [total[d] for d in range(n_bits + 1)]
            assert counts.relevant[query].tolist() == [relevant[d] for d in range(n_bits + 1)]


@given(problems(most=20), st.randoms())
@settings(deadline=None)
def test_the_order_of_the_base_matters_to_stable_ties_only(problem: Problem, random: Any) -> None:
    order = list(range(len(problem.base)))
    random.shuffle(order)
    shuffled = Problem(problem.base[order], problem.queries, np.argsort(order)[problem.truth])
    np.testing.assert_array_equal(shuffled.counts.total, problem.counts.total)
    np.testing.assert_array_equal(shuffled.counts.relevant, problem.counts.relevant)


def test_the_order_of_the_base_does_matter_to_stable_ties() -> None:
    base, query = np.zeros((4, 1), np.uint8), np.zeros((1, 1), np.uint8)
    first, last = (average_precision_stable(base, query, np.array([[row]]))[0] for row in (0, 3))
    assert (first, last) == (1, 0.25)


def test_perfect_codes_score_one() -> None:
    base = pack(np.tri(65, 64, -1))  # code i has i ones
    truth = np.array([range(10)])
    counts = rank_counts(base, base[:1], truth, ks=[10])[10]
    assert pr_area(counts) == pytest.approx(1)
    for ties in ("expected", "best", "worst", "block_end"):
        assert average_precision(counts, ties)[0] == pytest.approx(1)  # type: ignore[arg-type]
    assert average_precision_stable(base, base[:1], truth)[0] == 1
    assert precision_at(counts, 10)[0] == recall_at(counts, 10)[0] == 1
    assert recall_at(counts, 5)[0] == 0.5


def test_codes_that_say_nothing_score_the_share_of_neighbors() -> None:
    codes, truth = np.zeros((1000, 4), np.uint8), random_truth(1, 100, 1000)
    counts = rank_counts(codes, codes[:1], truth, ks=[100])[100]
    assert pr_area(counts) == pytest.approx(0.1)
    assert precision_at(counts, 37)[0] == pytest.approx(0.1)
    assert recall_at(counts, 370)[0] == pytest.approx(0.37)


CODES = random_codes(5, 16)


@pytest.mark.parametrize(
    ("base", "queries", "truth", "ks", "message"),
    [
        (CODES, random_codes(2, 8), [[0], [1]], [1], "query_codes have 8 bits, expected 16"),
        (CODES.astype(int), CODES, [[0]] * 5, [1], "base_codes must be packed bytes"),
        (CODES[:0], CODES, [[0]] * 5, [1], "base_codes must hold at least one"),
        (CODES, CODES[:0], np.zeros((0, 1), int), [1], "query_codes must hold at least one"),
        (CODES, CODES, [[0]], [1], "truth has 1 rows, but there are 5 queries"),
        (CODES, CODES, [[0.0]] * 5, [1], "truth must be row numbers"),
        (CODES, CODES, [0] * 5, [1], "truth must be row numbers"),
        (CODES, CODES, [[5]] * 5, [1], "rows of the base, 0 to 4, got 5 to 5"),
        (CODES, CODES, [[-1]] * 5, [1], "rows of the base, 0 to 4, got -1 to -1"),
        (CODES, CODES, [[2, 0, 2]] * 5, [1], "twice"),
        (CODES, CODES, [[2, 0]] * 5, [1, 3], r"ks must be from 1 to 2, .* \[3\]"),
        (CODES, CODES, [[2, 0]] * 5, [0], "each of ks must be a whole number of at least 1"),
        (CODES, CODES, [[2, 0]] * 5, [True], "each of ks must be a whole number"),
        (CODES, CODES, [[2, 0]] * 5, ["2"], "each of ks must be a whole number"),
    ],
)
def test_bad_input_is_named(base: Any, queries: Any, truth: Any, ks: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank_counts(base, queries, truth, ks=ks)


@pytest.mark.parametrize("n", [0, -1, 6, True, 1.5, "2", np.nan, 10**400])
def test_cutoffs_outside_the_base_are_refused(n: Any) -> None:
    counts = Problem(CODES, CODES, np.zeros((5, 1), int)).counts
    for metric in (precision_at, recall_at):
        with pytest.raises(ValueError, match=r"n must be (a whole number|from 1 to the 5 codes)"):
            metric(counts, n)


def test_unknown_ties_are_refused() -> None:
    with pytest.raises(ValueError, match="expected, best, worst or block_end, got 'stable'"):
        average_precision(Problem(CODES, CODES, np.zeros((5, 1), int)).counts, "stable")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("total", "relevant", "message"),
    [
        ([[1, 2]], [[1]], "one shape"),
        ([1, 2], [1, 2], "one shape"),
        ([[1, 2]], [[2, 0]], "between 0 and total"),
        ([[1, 2]], [[-1, 2]], "between 0 and total"),
        ([[1, 2]], [[0, 0]], "the same number of relevant"),
        ([[1, 2], [1, 2]], [[1, 0], [1, 1]], "the same number of relevant"),
        ([[1, 2], [1, 1]], [[1, 0], [0, 1]], "the same base"),
    ],
)
def test_impossible_counts_are_refused(total: Any, relevant: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RankCounts(np.array(total), np.array(relevant))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reconstruction_error_is_unexplained_variance(
    dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "ROWS_PER_BLOCK", 30)
    rng = np.random.default_rng(0)
    original = (50 + rng.normal(size=(100, 6)) * [1, 2, 3, 4, 5, 6]).astype(dtype)
    decoded = (original + rng.normal(size=(100, 6))).astype(dtype)
    error, relative = reconstruction_error(original, decoded)
    assert error == pytest.approx(6 * mean_squared_error(original, decoded), rel=1e-5)
    explained = r2_score(original, decoded, multioutput="variance_weighted")
    assert relative == pytest.approx(1 - explained, rel=1e-5)


def test_reconstruction_error_of_the_mean_is_all_of_the_variance() -> None:
    original = np.random.default_rng(0).integers(0, 255, (100, 6), dtype=np.uint8)
    mean = np.tile(original.mean(axis=0), (100, 1))
    assert reconstruction_error(original, mean)[1] == pytest.approx(1)
    assert reconstruction_error(original, original) == (0, 0)
    zero_and_two, ones = np.array([[0], [2]], np.uint8), np.ones((2, 1), np.uint8)
    assert reconstruction_error(zero_and_two, ones) == (1, 1)  # bytes must not wrap around


@pytest.mark.parametrize(
    ("original", "decoded", "message"),
    [
        (np.eye(3), np.eye(2), "one shape"),
        (np.eye(3) * 1j, np.eye(3), "Complex data not supported: original"),
        (np.eye(3), np.ma.masked_equal(np.eye(3), 1), "decoded is masked"),
        (np.arange(3.0), np.arange(3.0), "one shape"),
        (np.full((3, 2), 0.1), np.eye(3, 2), "all the same"),
        (np.eye(0, 2), np.eye(0, 2), "all the same"),
        (np.array([[0.0], [np.nan]]), np.zeros((2, 1)), "finite"),
        (np.array([[0.0], [np.inf]]), np.full((2, 1), np.inf), "finite"),
        (np.array([[0.0], [1e200]]), np.zeros((2, 1)), "finite"),
    ],
)
def test_vectors_without_an_error_are_refused(original: Any, decoded: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reconstruction_error(original, decoded)


def test_bit_statistics_agree_with_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "ROWS_PER_BLOCK", 64)
    scores = np.random.default_rng(0).normal(size=(300, 16)) + np.linspace(-1, 1, 16)
    scores[:, 1] = scores[:, 0] + 0.1 * scores[:, 1]
    bits = scores > 0
    bits[150:] = bits[:150]
    statistics = bit_statistics(pack(bits))
    np.testing.assert_allclose(bit_balance(pack(bits)), bits.mean(axis=0))
    assert statistics["bit_imbalance"] == pytest.approx(abs(2 * bits.mean(axis=0) - 1).mean())
    correlation = abs(np.corrcoef(bits.T))[~np.eye(16, dtype=bool)].mean()
    assert statistics["bit_correlation"] == pytest.approx(correlation)
    repeats = Counter(map(bytes, pack(bits))).values()
    entropy = -sum(r / 300 * math.log2(r / 300) for r in repeats)
    assert statistics["code_entropy"] == pytest.approx(entropy)
    assert statistics["distinct_codes"] == len(repeats)


def test_constant_bits_are_left_out_of_the_correlation() -> None:
    bits = np.random.default_rng(0).random((200, 8)) < 0.4
    wider = np.hstack([bits, np.zeros((200, 4)), np.ones((200, 4))])
    narrow, wide = bit_statistics(pack(bits)), bit_statistics(pack(wider))
    assert wide["bit_correlation"] == pytest.approx(narrow["bit_correlation"])
    assert wide["bit_imbalance"] == pytest.approx((narrow["bit_imbalance"] + 1) / 2)


def test_statistics_of_constant_and_of_copied_bits() -> None:
    assert bit_statistics(np.full((9, 2), 77, np.uint8)) == {
        "bit_imbalance": 1,
        "bit_correlation": 0,
        "code_entropy": 0,
        "distinct_codes": 1,
    }
    copied = bit_statistics(np.array([[0], [255]] * 3, np.uint8))
    assert copied["bit_correlation"] == pytest.approx(1)
    assert copied["code_entropy"] == 1


def test_statistics_of_no_codes_are_refused() -> None:
    for statistic in (bit_statistics, bit_balance):
        with pytest.raises(ValueError, match="at least one code"):
            statistic(np.empty((0, 2), np.uint8))


def test_harmonic_numbers_agree_with_exact_sums_and_with_scipy() -> None:
    from fractions import Fraction

    from scipy.special import digamma

    from sigah.evaluation.metrics import harmonic_numbers

    exact, total = [0.0], Fraction(0)
    for i in range(1, 1500):
        total += Fraction(1, i)
        exact.append(float(total))
    np.testing.assert_allclose(harmonic_numbers(np.arange(1500)), exact, rtol=1e-15)
    large = np.array([10**4, 10**6, 10**9, 2**40])
    np.testing.assert_allclose(harmonic_numbers(large), digamma(large + 1) + np.euler_gamma, 1e-15)
