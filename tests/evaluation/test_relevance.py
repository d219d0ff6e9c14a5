"""Relevance metrics agree with their definitions and scikit-learn; judgements are read back."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from sigah.evaluation import judgements_of, mrr, ndcg, read_qrels, recall
from sigah.evaluation.qrels import write_qrels
from sigah.shares import share_interval

METRICS = [ndcg, mrr, recall]


def test_ndcg_is_that_of_scikit_learn_on_graded_judgements() -> None:
    rng = np.random.default_rng(0)
    n, k = 12, 5
    rankings = np.array([rng.permutation(n) for _ in range(30)])
    grades = rng.integers(0, 4, size=(30, n))
    grades[:, 0] += 1
    judgements = [dict(enumerate(row.tolist())) for row in grades]
    found = ndcg(rankings, judgements, k).values
    places = np.argsort(rankings, axis=1)  # the earlier, the higher the score
    expected = [ndcg_score([g], [-p], k=k) for g, p in zip(grades, places, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_ndcg_of_a_worked_example_uses_linear_gains_and_the_binary_logarithm() -> None:
    # grades 3, 0, 1 at ranks 1, 2, 3; the best order is 3, 2, 1
    score = ndcg([["a", "x", "b"]], [{"a": 3, "b": 1, "c": 2}], k=3).mean
    expected = (3 + 1 / 2) / (3 + 2 / math.log2(3) + 1 / 2)
    assert score == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    ranking=st.permutations(range(8)),
    grades=st.dictionaries(st.integers(0, 11), st.integers(-1, 3)),
    k=st.integers(1, 8),
)
def test_reciprocal_rank_and_recall_follow_their_definitions(
    ranking: list[int], grades: dict[int, int], k: int
) -> None:
    relevant = {one for one, grade in grades.items() if grade > 0}
    if not relevant:
        for metric in METRICS:
            with pytest.raises(ValueError, match="no query has a relevant result"):
                metric([ranking], [grades], k)
        return
    ranks = [rank for rank, one in enumerate(ranking[:k], 1) if one in relevant]
    assert mrr([ranking], [grades], k).mean == (float(Fraction(1, ranks[0])) if ranks else 0)
    assert recall([ranking], [grades], k).mean == float(Fraction(len(ranks), len(relevant)))
    assert 0 <= ndcg([ranking], [grades], k).mean <= 1


@given(grades=st.lists(st.integers(0, 5), min_size=3, max_size=9).filter(any))
def test_the_best_ranking_has_ndcg_one_and_every_other_at_most_one(grades: list[int]) -> None:
    judged = dict(enumerate(grades))
    best = sorted(judged, key=lambda one: -judged[one])
    assert ndcg([best], [judged], k=3).mean == pytest.approx(1)
    assert ndcg([best[::-1]], [judged], k=3).mean <= 1 + 1e-12


@pytest.mark.parametrize("metric", METRICS)
def test_queries_without_relevant_results_are_nan_and_left_out_of_mean_and_interval(
    metric: Any,
) -> None:
    rankings = [["a", "b"]] * 4
    scores = metric(rankings, [{"b": 1}, {}, {"a": 0, "b": -1}, {"z": 1}], k=2)
    assert np.isnan(scores.values).tolist() == [False, True, True, False]
    kept = scores.values[[0, 3]]
    assert kept[1] == 0  # a relevant result that was not found counts
    assert scores.mean == kept.mean()
    assert scores.interval == share_interval(kept)


@pytest.mark.parametrize("metric", METRICS)
def test_numbers_and_texts_name_the_same_result_and_missing_results_count_for_nothing(
    metric: Any,
) -> None:
    judged = [{"7": 2, "9": 1}]
    as_numbers = metric(np.array([[3, 7, -1]]), judged, k=3).mean
    as_texts = metric(np.array([["3", "7", ""]]), judged, k=3).mean
    as_objects = metric(np.array([["3", "7", None]], object), judged, k=3).mean
    assert as_numbers == as_texts == as_objects > 0


@pytest.mark.parametrize(
    ("ranked", "judged", "k", "message"),
    [
        ([[1, 2]], [{1: 1}], 3, r"ranked_ids must be ids of shape \(q, at least k = 3\)"),
        ([1, 2], [{1: 1}], 1, "ranked_ids must be ids of shape"),
        ([[0.5]], [{1: 1}], 1, "ranked_ids must be ids of shape"),
        ([[1, 2]], [{1: 1}, {}], 1, "1 rankings and 2 mappings"),
        ([[1, 2, 1]], [{1: 1}], 3, "ranked_ids: query 0 has the id 1 twice"),
        ([[1]], [{1: 0.5}], 1, r"judgements: a grade of query 0 is 0\.5"),
        ([[1]], [{1: True}], 1, "judgements: a grade of query 0 is True"),
        ([[1]], [{1: 10**400}], 1, "judgements: a grade of query 0 is not below 1,000,000,000"),
        ([[1]], [{1: 1}], 0, "k"),
    ],
)
def test_wrong_arguments_are_named(ranked: Any, judged: Any, k: int, message: str) -> None:
    for metric in METRICS:
        with pytest.raises(ValueError, match=message):
            metric(ranked, judged, k)


def write(tmp_path: Path, content: str | bytes) -> Path:
    file = tmp_path / "qrels"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def test_both_formats_give_the_same_judgements(tmp_path: Path) -> None:
    trec = read_qrels(write(tmp_path, "q1 0 d3 2\n\nq1\t0\td8   0\r\nq2 0 d3 1"))
    table = read_qrels(
        write(tmp_path, "\ufeffquery-id\tcorpus-id\tscore\nq1\td3\t2\nq1\td8\t0\nq2\td3\t1\n")
    )
    assert trec == table == {"q1": {"d3": 2, "d8": 0}, "q2": {"d3": 1}}


def test_written_judgements_are_read_back(tmp_path: Path) -> None:
    judged = {"a query": {"x y": 3, "z": -1}, "2": {"é": 1}}
    write_qrels(tmp_path / "qrels.tsv", judged)
    assert read_qrels(tmp_path / "qrels.tsv") == judged
    with pytest.raises(ValueError, match="do not fit in one line"):
        write_qrels(tmp_path / "qrels.tsv", {"a\tb": {"c": 1}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "there are no judgements"),
        ("query-id\tcorpus-id\tscore\n", "there are no judgements"),
        ("q 0 d 1\nq d 1\n", "line 2 has 3 fields, expected four fields"),
        ("q d 1\n", "line 1 has 3 fields, expected four fields .* or BEIR's header"),
        ("query-id\tcorpus-id\tscore\nq 0 d 1\n", "line 2 has 1 fields, expected three fields"),
        ("q 0 d high\n", "line 1: the grade 'high' is not a whole number"),
        ("q 0 d 1.0\n", "line 1: the grade '1.0' is not a whole number"),
        ("q 0 d 1_0\n", "line 1: the grade '1_0' is not a whole number"),
        ("q 0 d \u0663\n", "line 1: the grade '\u0663' is not a whole number"),
        (f"q 0 d {'9' * 5000}\n", "line 1: the grade '9{40}' is not a whole number of at most"),
        ("q 0 d 1\nq 0 d 1\nq 0 d 2\n", "line 3: query q and result d had the grade 1 before"),
        (b"q 0 \xff 1\n", "not text in UTF-8"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_line(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    file = write(tmp_path, content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_qrels(file)
    assert str(refusal.value).startswith(f"{file}: ")


def test_judgements_are_put_in_the_order_of_the_queries() -> None:
    judged = {"1": {"a": 1}, "2": {"b": 1}}
    assert judgements_of(judged, [2, 3, 1]) == [{"b": 1}, {}, {"a": 1}]
    with pytest.raises(ValueError, match=r"none of the 2 queries .* begin with \['q1', 'q2'\]"):
        judgements_of(judged, ["q1", "q2"])
