"""Advice by relevance judgements: nDCG, the share that is kept, and judgements that do not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from sigah import HammingIndex, SignHashing, TwoStageSearch, advise
from sigah.advice import judgements
from sigah.advice.judgements import Found, Judged
from sigah.advice.recipe import read_recipe

N, Q, DIM = 2400, 60, 128


@pytest.fixture(scope="module")
def texts() -> dict[str, Any]:
    """Vectors by topic; what is relevant lies near its query, but not always nearest."""
    rng = np.random.default_rng(0)
    topics = rng.normal(scale=1.5, size=(40, DIM))
    base = topics[rng.integers(40, size=N)] + rng.normal(size=(N, DIM))
    about = rng.choice(N, (Q, 4), replace=False)
    queries = base[about].mean(axis=1) + 0.3 * rng.normal(size=(Q, DIM))
    base[about] += 2 * (queries[:, None] - base[about]) / 3
    ids = [f"text {row}" for row in rng.permutation(N)]
    grades = [
        {ids[row]: grade for row, grade in zip(rows, (3, 1, 1, 0), strict=True)} for rows in about
    ]
    return {
        "base": base.astype(np.float32), "queries": queries.astype(np.float32), "ids": ids,
        "grades": grades,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(texts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as files: ids in columns, and judgements by them."""
    folder = tmp_path_factory.mktemp("judged")
    names = {"base": texts["ids"], "queries": [f"q{row}" for row in range(Q)]}
    for part, ids in names.items():
        column = pyarrow.FixedSizeListArray.from_arrays(texts[part].ravel(), DIM)
        table = pyarrow.table({"id": ids, "vector": column})
        pyarrow.parquet.write_table(table, folder / f"{part}.parquet")
    lines = [
        f"{query}\t{name}\t{grade}\n"
        for query, one in zip(names["queries"], texts["grades"], strict=True)
        for name, grade in one.items()
    ]
    (folder / "qrels").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def by_hand(ids: np.ndarray, texts: dict[str, Any]) -> np.ndarray:
    """The nDCG@10 of each query, from its definition."""
    discounts = [1 / np.log2(rank + 1) for rank in range(1, 11)]
    values = []
    for row, grades in zip(ids, texts["grades"], strict=True):
        gains = [grades.get(texts["ids"][one], 0) for one in row[:10]]
        best = sorted(grades.values(), reverse=True)[:10]
        values.append(
            sum(g * d for g, d in zip(gains, discounts, strict=True))
            / sum(g * d for g, d in zip(best, discounts, strict=False))
        )
    return np.array(values)


def exact(texts: dict[str, Any]) -> np.ndarray:
    distances = ((texts["queries"][:, None] - texts["base"]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1)


@pytest.fixture(scope="module")
def advice(texts: dict[str, Any]) -> Any:
    return advise(
        texts["base"], texts["queries"], grades=texts["grades"], ids=texts["ids"], metric="l2",
        methods=["sign", "itq"], recall=0.9,
    )  # fmt: skip


def test_ndcg_and_what_is_kept_are_those_of_a_search(advice: Any, texts: dict[str, Any]) -> None:
    order = exact(texts)
    full = by_hand(order, texts)
    assert 0.3 < full.mean() < 0.95
    assert advice.judgements.ndcg.expected == pytest.approx(full.mean())
    hasher = SignHashing(DIM, metric="l2").fit(texts["base"])
    index = HammingIndex.of(hasher)
    index.add(hasher.transform(texts["base"]))
    by_score = TwoStageSearch(index, hasher, "asymmetric", oversampling=np.inf)
    # which of equal Hamming distances come first depends on the order of the rows
    for ranking, reads, near in (("asymmetric", 0, 1e-9), ("hamming", 20, 0.02)):
        if reads:
            found = index.search(hasher.transform(texts["queries"]), reads)[1]
            found = np.array(
                [[row for row in o if row in f] for o, f in zip(order, found, strict=True)]
            )
        else:
            found = by_score.search(texts["queries"], 10)[1]
        reached = by_hand(found, texts)
        one = next(
            one
            for one in advice.candidates
            if (one.method, one.ranking, one.reads) == ("sign", ranking, reads)
        )
        assert one.ndcg.expected == pytest.approx(reached.mean(), abs=near)
        assert one.kept.expected == pytest.approx(one.ndcg.expected / full.mean())
        assert one.kept.low <= one.kept.expected <= one.kept.high
        assert one.extrapolated == ()
    floats = next(one for one in advice.candidates if one.method == "floats")
    assert (floats.ndcg.expected, floats.kept.low) == (pytest.approx(full.mean()), 1)


def test_the_share_that_is_kept_decides(texts: dict[str, Any]) -> None:
    advice = advise(
        texts["base"], texts["queries"], grades=texts["grades"], ids=texts["ids"], metric="l2",
        methods=["sign", "itq"], recall=0.92, raw="none",
    )  # fmt: skip
    best = advice.recommended
    assert best is not None
    assert advice.choice is not None
    assert advice.choice.unmet == ()
    assert best.kept is not None
    assert best.kept.low >= 0.92
    assert best.recall.high < 0.92  # by recall it would not be enough
    cheaper = [one.kept for one in advice.candidates if one.cost < best.cost / 1.1]
    assert cheaper
    assert all(kept is not None and kept.low < 0.92 for kept in cheaper)


def test_intervals_cover_what_other_queries_keep() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        # one relevant result a query; both searches find it or not, the second one less often
        first = rng.random(400) < 0.6
        second = first & (rng.random(400) < 0.8)
        grades = [{0: 1}] * 400
        truth = np.where(first[:, None], [[0, 1]], [[1, 2]])
        _, kept = Judged.of(grades, truth).scores(np.where(second[:, None], [[0, 1]], [[1, 2]]))
        hits += kept.low <= 0.8 <= kept.high
    assert 180 <= hits <= 199


def test_queries_that_lose_nothing_do_not_say_that_others_do_not() -> None:
    truth = np.tile([0, 1], (100, 1))
    _, kept = Judged.of([{0: 1}] * 100, truth).scores(truth)
    assert 0.96 < kept.low < 0.98
    assert kept.expected == kept.high == 1


def test_missing_results_come_last() -> None:
    base = np.eye(4, dtype=np.float32)
    judged = Judged.of([{2: 1}], np.array([[2, 3]]))
    found = Found.of(judged, np.array([[-1, 3, 2]]), base, base[2:3], "l2")
    ndcg, kept = found.scores(3)
    assert (ndcg.expected, kept.expected) == (1, 1)


def test_from_judgements_to_a_search_that_keeps_as_much(
    folder: Path, tmp_path: Path, run: Any
) -> None:
    files = {name: tmp_path / name for name in ("a.json", "a.html", "r.json", "m", "c.parquet")}
    base, queries, qrels = folder / "base.parquet", folder / "queries.parquet", folder / "qrels"
    of_judgements = ("--query-ids", "id", "--qrels", qrels)
    status, told, error = run(
        "advise", base, "--ids", "id", "--queries", queries, *of_judgements, "--metric", "l2",
        "--methods", "itq", "--recall", "0.9", "--json", files["a.json"], "--html",
        files["a.html"], "--recipe", files["r.json"],
    )  # fmt: skip
    assert status == 0, error
    content = json.loads(files["a.json"].read_text())
    best, data = content["recommended"], content["data"]
    assert content["unmet"] == []
    assert data["judgements"]["n_results"] == 4 * Q
    assert data["judgements"]["n_unknown"] == 0
    share = best["ndcg"]["expected"] / data["judgements"]["ndcg"]["expected"]
    assert best["kept"]["expected"] == pytest.approx(share)
    said = next(one for one in content["words"] if one.startswith("nDCG@10 of 60 judged queries"))
    assert " ".join(said.split()) in " ".join(told.split())
    assert "kept (95 %)" in told
    html = files["a.html"].read_text()
    assert "share of the nDCG@10 kept" in html
    assert f"<td>{best['ndcg']['expected']:.3f}</td>" in html
    assert read_recipe(files["r.json"]).ndcg_kept == best["kept"]

    by = ("--recipe", files["r.json"])
    assert run("fit", base, *by, "--out", files["m"])[0] == 0
    status, _, error = run(
        "encode", files["m"], base, *by, "--ids", "id", "--out", files["c.parquet"]
    )
    assert status == 0, error
    status, _, error = run(
        "evaluate", files["m"], files["c.parquet"], queries, *by, *of_judgements,
        "--vectors", base, "--json", tmp_path / "e",
    )  # fmt: skip
    assert status == 0, error
    row = json.loads((tmp_path / "e").read_text())["measurements"][0]
    # ITQ learned from the rows in another order
    assert row["metrics"]["ndcg@10"] == pytest.approx(best["ndcg"]["expected"], abs=0.02)


def test_some_unknown_results_are_told_and_count(texts: dict[str, Any]) -> None:
    grades = [one | {"gone": 3} for one in texts["grades"]]
    options: Any = {"ids": texts["ids"], "metric": "l2", "methods": ["sign"], "raw": "none"}
    advice = advise(texts["base"], texts["queries"], grades=grades, **options)
    assert advice.judgements is not None
    assert (advice.judgements.n_results, advice.judgements.n_unknown) == (4 * Q + 1, 1)
    assert "1 of 241 judged results are not among the vectors" in str(advice)
    whole = advise(texts["base"], texts["queries"], grades=texts["grades"], **options)
    assert whole.judgements is not None
    assert advice.judgements.ndcg.expected < whole.judgements.ndcg.expected


def test_queries_without_judgements_are_left_out(texts: dict[str, Any]) -> None:
    grades = [one if row % 2 else {} for row, one in enumerate(texts["grades"])]
    grades[1] = dict.fromkeys(grades[1], 0)  # nothing relevant
    options: Any = {"ids": texts["ids"], "metric": "l2", "methods": ["sign"]}
    advice = advise(texts["base"], texts["queries"], grades=grades, **options)
    assert advice.n_queries == Q // 2 - 1
    left = [row for row, one in enumerate(grades) if any(one.values())]
    some = advise(
        texts["base"], texts["queries"][left], grades=[grades[row] for row in left], **options
    )
    assert [one.ndcg for one in advice.candidates] == [one.ndcg for one in some.candidates]


def test_many_judged_queries_are_sampled() -> None:
    some = judgements.judged_queries([{"a": 1}, {}] * 500, 1000, 100, 7)
    assert len(set(some.tolist())) == 100
    assert (some % 2 == 0).all()
    assert (some == judgements.judged_queries([{"a": 1}, {}] * 500, 1000, 100, 7)).all()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"queries": None}, "grades need queries"),
        ({"grades": [{"text 1": 1}]}, "one mapping for each query: there are 60 queries and 1"),
        ({"grades": [{"text 1": 1}] * 9 + [{}] * 51}, "9 of 60 queries have a relevant result"),
        ({"grades": [{"text 1": 0.5}] * 60}, "a grade of query 0 is 0.5, not a whole number"),
        ({"grades": [{"text 1": "high"}] * 60}, "a grade of query 0 is 'high', not a whole"),
        ({"grades": [{"text 1": None}] * 60}, "a grade of query 0 is None"),
        ({"grades": [{"doc": 1}] * 60}, "none of the judged results is among the vectors"),
        ({"ids": ["a"]}, r"ids must have shape \(2400,\), one for each vector, got \(1,\)"),
        ({"ids": ["text 1"] * N}, "'text 1' is given twice"),
        ({"sample": 1000}, "all 2,400 vectors, but only 1,000 are sampled"),
        ({"truth": np.zeros((60, 10), int)}, "leave one of them out"),
        ({"grades": None}, "ids are needed for grades only"),
    ],
)
def test_judgements_that_do_not_fit(
    texts: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    given = texts | changes
    with pytest.raises(ValueError, match=reason):
        advise(given.pop("base"), given.pop("queries"), metric="l2", methods=["sign"], **given)


def test_judgements_of_which_nothing_is_found(texts: dict[str, Any]) -> None:
    far = [texts["ids"][row] for row in exact(texts)[:, -1]]
    with pytest.raises(ValueError, match="finds no relevant result among the 10 nearest"):
        advise(
            texts["base"], texts["queries"], grades=[{name: 1} for name in far], ids=texts["ids"],
            metric="l2", methods=["sign"],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("qrels", "words", "reason"),
    [
        ("", "", "--qrels bad: there are no judgements"),
        ("q1 0 d1 high\n", "", "line 1: the grade 'high' is not a whole number"),
        ("q1 0 d1\n", "", "line 1 has 3 fields"),
        ("q1 0 d1 1\n", "", "--qrels bad: grades: 1 of 60 queries have a relevant result"),
        ("zz 0 d1 1\n", "", "none of the 60 queries has judgements"),
        (None, "", "--qrels bad: no such file"),
        ("q1 0 d1 1\n", "--ids name", "--ids name: .*name"),
        ("q1 0 d1 1\n", "--sample 1000", "--qrels bad: grades judge results among all 2,400"),
        ("q1 0 d1 1\n", "--truth t.npy", "leave one of them out"),
    ],
)
def test_bad_files_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, run: Any, qrels: str | None, words: str,
    reason: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    Path("bad").unlink(missing_ok=True)
    if qrels is not None:
        Path("bad").write_text(qrels)
    status, _, error = run(
        "advise", "base.parquet", "--queries", "queries.parquet", "--query-ids", "id",
        "--qrels", "bad", "--metric", "l2", *(words or "--ids id").split(),
    )  # fmt: skip
    assert (status, error.count("\n")) == (1, 1), error
    assert re.search(reason, error), error


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--qrels qrels", "--qrels qrels needs --queries"),
        ("--ids id", "--ids id needs --qrels"),
        ("--query-ids id", "--query-ids id needs --qrels"),
    ],
)
def test_options_that_need_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch, run: Any, words: str, reason: str
) -> None:
    monkeypatch.chdir(folder)
    status, _, error = run("advise", "base.parquet", *words.split())
    assert (status, reason in error) == (1, True), error
