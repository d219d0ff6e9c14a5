"""``sigah evaluate MODEL INDEX QUERIES`` measures what exists, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sigah import ITQ, HammingIndex, TwoStageSearch, VectorIndex
from sigah.advice import Recipe, write_recipe
from sigah.cli import app
from sigah.engines import export
from sigah.evaluation import exact_neighbors, ndcg, recall
from sigah.files import save_codes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its codes and index, vectors, queries, truth and judgements."""
    at = tmp_path_factory.mktemp("deployed")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(430, 24)).astype(np.float32)
    base, queries = vectors[:400], vectors[400:]
    hasher = ITQ(n_bits=16, random_state=0).fit(base)
    hasher.save(at / "m.model")
    header = {"method": "itq", "fingerprint": hasher.fingerprint}
    save_codes(at / "codes.npy", hasher.transform(base), header)
    index = HammingIndex.of(hasher)
    index.add(hasher.transform(base))
    index.save(at / "i.index")
    shifted = HammingIndex.of(hasher)
    shifted.add(hasher.transform(base), ids=np.arange(400) + 5)
    shifted.save(at / "shifted.index")
    np.save(at / "base.npy", base)
    np.save(at / "queries.npy", queries)
    truth = exact_neighbors(base, queries, 12).ids
    np.save(at / "truth.npy", truth)
    (at / "qrels.txt").write_text(
        "".join(f"{q} 0 {truth[q, 0]} 2\n{q} 0 {truth[q, 5]} 1\n" for q in range(0, 30, 2))
    )
    (at / "others.txt").write_text("0 0 d7 1\n")
    (at / "padded.txt").write_text(f"0 0 007 1\n0 0 {'7' * 5000} 1\n")
    np.save(at / "others.npy", np.full((30, 1), 1000))
    rows = VectorIndex.build(base, 6, metric="l2", random_state=0)
    rows.save(at / "rows.vectors")
    export("faiss", at / "codes.faiss", hasher.transform(base), fingerprint=hasher.fingerprint)
    return at


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SIGAH_CACHE", str(folder / "cache"))
    return CliRunner().invoke(app, ["--threads", "1", "evaluate", *words])


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    from sigah.evaluation import deployed

    timed = deployed.measure_latency
    monkeypatch.setattr(
        deployed, "measure_latency", lambda search, queries, k, _: timed(search, queries, k, 0.001)
    )


def test_metrics_are_those_of_the_same_search_in_python(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        "m.model i.index queries.npy --vectors base.npy --by raw -k 5 --oversampling 1,4"
        " --qrels qrels.txt --json r.json"
    )
    done = run(folder, monkeypatch, *words.split())
    assert done.exit_code == 0, done.output
    results = json.loads((folder / "r.json").read_text())
    from sigah.hashers import load

    hasher, base, queries = load(folder / "m.model"), np.load("base.npy"), np.load("queries.npy")
    index, truth = HammingIndex.open(folder / "i.index"), np.load("truth.npy")
    assert [row["oversampling"] for row in results["measurements"]] == [1, 4]
    for row in results["measurements"]:
        search = TwoStageSearch(
            index, hasher, "raw", oversampling=row["oversampling"], vectors=base
        )
        found = search.search(queries, 5)[1]
        true = [dict.fromkeys(ids, 1) for ids in truth[:, :5].tolist()]
        judged = [
            {int(truth[q, 0]): 2, int(truth[q, 5]): 1} if q % 2 == 0 else {} for q in range(30)
        ]
        assert row["metrics"]["recall5@5"] == recall(found, true, 5).mean
        assert row["metrics"]["ndcg@5"] == ndcg(found, judged, 5).mean
        assert row["n_judged"] == 15
        assert row["latency"]["single"]["queries_per_call"] == 1
    assert results["index"]["bytes_per_vector"] == index.stats()["code_bytes"] / 400
    assert results["index"]["raw_bytes_per_vector"] == 96
    assert results["environment"]["threads"] == 1


def test_truth_of_a_file_and_of_the_vectors_agree_and_codes_serve_as_an_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    for source in ("--truth truth.npy", "--vectors base.npy"):
        words = f"m.model codes.npy queries.npy {source} --by asymmetric --json t.json".split()
        done = run(folder, monkeypatch, *words)
        assert done.exit_code == 0, done.output
        assert "recall10@10" in done.output and "1 thread" in done.output
        shown.append(json.loads((folder / "t.json").read_text())["measurements"][0]["metrics"])
    assert shown[0] == shown[1]
    assert 0 < shown[0]["recall10@10"] < 1


def test_an_index_of_vectors_has_the_same_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, rankings in (
        ("--vectors base.npy --qrels qrels.txt", [{}]),
        ("--vectors base.npy --by raw --oversampling 2,8", [{"n_ranked": 20}, {"n_ranked": 80}]),
    ):
        done = run(folder, monkeypatch, *f"rows.vectors queries.npy {words} --json v.json".split())
        assert done.exit_code == 0, done.output
        results = json.loads((folder / "v.json").read_text())
        index, base = VectorIndex.open(folder / "rows.vectors"), np.load("base.npy")
        true = [dict.fromkeys(ids, 1) for ids in np.load("truth.npy")[:, :10].tolist()]
        assert len(results["measurements"]) == len(rankings)
        for row, options in zip(results["measurements"], rankings, strict=True):
            raw = {"vectors": base, **options} if options else {}
            found = index.search(np.load("queries.npy"), 10, **raw)[1]
            assert row["metrics"]["recall10@10"] == recall(found, true, 10).mean
            assert row["by"] == ("raw" if options else "tables")
            assert row["latency"]["single"]["p50"] <= row["latency"]["single"]["p99"]
        assert ("ndcg@10" in results["measurements"][0]["metrics"]) == ("qrels" in words)
        assert results["index"]["bytes_per_vector"] == 6
    assert "400 vectors in 6 bytes each (learned, l2)" in " ".join(done.output.split())


def test_oversampling_is_the_shortlist_of_an_index_of_vectors(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "rows.vectors queries.npy --vectors base.npy --oversampling 1,4,inf --json o.json"
    done = run(folder, monkeypatch, *words.split())
    assert done.exit_code == 0, done.output
    assert "tables, oversampling 4" in " ".join(done.output.split())
    rows = json.loads((folder / "o.json").read_text())["measurements"]
    assert [row["oversampling"] for row in rows] == [1, 4, 40]  # of 400 vectors, for ten
    index = VectorIndex.open(folder / "rows.vectors")
    true = [dict.fromkeys(ids, 1) for ids in np.load("truth.npy")[:, :10].tolist()]
    recalls = []
    for shortlist in (10, 40, 400):
        index.shortlist = shortlist
        recalls.append(recall(index.search(np.load("queries.npy"), 10)[1], true, 10).mean)
    assert [row["metrics"]["recall10@10"] for row in rows] == recalls
    assert recalls[0] < recalls[1]


def test_a_recipe_without_original_vectors_ranks_all_codes_by_score(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("l2", "itq", bytes=2, bits=16, ranking="asymmetric", reads=0, k=10)
    write_recipe(folder / "all.json", recipe)
    words = "m.model i.index queries.npy --vectors base.npy --recipe all.json --json a.json"
    done = run(folder, monkeypatch, *words.split())
    assert done.exit_code == 0, done.output
    (row,) = json.loads((folder / "a.json").read_text())["measurements"]
    assert (row["by"], row["oversampling"]) == ("asymmetric", 40)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("--recipe bytes.json", "INDEX rows.vectors has 6 bytes and metric l2, but the recipe"),
        ("--recipe tables.json --by raw", "--by raw: the recipe tables.json says tables"),
        ("--recipe raw.json --oversampling 3", "--oversampling 3: the recipe raw.json says 5"),
    ],
)
def test_what_a_recipe_of_an_index_of_vectors_contradicts_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, more: str, says: str
) -> None:
    for name, n_bytes, reads in (("bytes", 8, 0), ("tables", 6, 0), ("raw", 6, 50)):
        recipe = Recipe("l2", "vectors", n_bytes, bits=24, ranking="tables", reads=reads, k=10)
        write_recipe(folder / f"{name}.json", recipe)
    words = f"rows.vectors queries.npy --vectors base.npy {more}"
    done = run(folder, monkeypatch, *words.split())
    assert done.exit_code != 0
    assert says in str(done.exception)


def test_codes_in_an_engine_have_the_same_report(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "m.model codes.faiss queries.npy --engine faiss --vectors base.npy --json e.json"
    assert run(folder, monkeypatch, *words.split()).exit_code == 0
    words = "m.model i.index queries.npy --vectors base.npy --json i.json"
    assert run(folder, monkeypatch, *words.split()).exit_code == 0
    engine, own = (json.loads((folder / f"{name}.json").read_text()) for name in "ei")
    assert engine["index"]["engine"] == "faiss" and engine["index"]["n_codes"] == 400
    assert engine["index"]["bytes_per_vector"] >= 2  # the codes, and what the file has beside them
    # where distances tie, an engine may return other ids
    recalls = [one["measurements"][0]["metrics"]["recall10@10"] for one in (engine, own)]
    assert recalls[0] == pytest.approx(recalls[1], abs=0.1) and recalls[0] > 0
    assert set(engine["measurements"][0]["latency"]) == {"single", "batch"}


REFUSED = {
    "rows.vectors queries.npy base.npy": "INDEX rows.vectors holds vectors: it needs QUERIES after",
    "rows.vectors": "INDEX rows.vectors holds vectors: it needs QUERIES after it, and no more",
    "rows.vectors queries.npy --vectors base.npy --by decoded": "--by decoded: an index of vectors",
    "rows.vectors queries.npy --vectors base.npy --by hamming": "--by hamming: an index of vectors",
    "rows.vectors queries.npy --vectors base.npy --oversampling 0": "give numbers of at least 1",
    "m.model i.index queries.npy --vectors base.npy --oversampling 4":
        "--oversampling 4: ranking by Hamming distance has no candidates; leave it out, or say with"
        " --by",
    "m.model codes.faiss queries.npy --engine faiss --vectors base.npy --oversampling 4":
        "--oversampling 4: ranking by Hamming distance has no candidates",
    "m.model i.index queries.npy --truth truth.npy --vectors base.npy":
        "--vectors base.npy: --truth says already which neighbours are right",
    "m.model i.index queries.npy --truth truth.npy --query-ids id": "--query-ids id needs --qrels",
    "m.model shifted.index queries.npy --vectors base.npy --qrels qrels.txt": "--vectors base.npy:"
        " the index does not hold the codes of just these 400 rows, so they do not say what is true"
        " in it; leave --vectors out",
    "rows.vectors queries.npy": "nothing says which neighbours are right: give --truth",
    "rows.vectors queries.npy --truth others.npy": "--truth others.npy: none of its results is",
    "m.model codes.faiss queries.npy --engine nix --truth truth.npy": "nix",
    "m.model codes.faiss queries.npy --engine faiss --by raw --vectors base.npy":
        "--by raw: an engine ranks by Hamming distance",
    "m.model i.index queries.npy --truth truth.npy --set kind=flat": "--set needs --engine",
    "base.npy queries.npy --engine faiss": "--engine needs MODEL and INDEX",
    "m.model i.index queries.npy": "nothing says which neighbours are right: give --truth",
    "m.model i.index": "MODEL m.model needs INDEX and QUERIES after it",
    "m.model i.index queries.npy --truth truth.npy --methods itq": "--methods fits methods",
    "m.model i.index queries.npy --truth truth.npy --seeds 2": "--seeds fits methods",
    "gone.vectors queries.npy --vectors base.npy": "there is no file gone.vectors",
    "base.npy queries.npy --truth truth.npy": "--truth needs MODEL and INDEX before QUERIES",
    "base.npy queries.npy --query-ids id": "--query-ids needs MODEL and INDEX",
    "base.npy i.index queries.npy": "BASE base.npy is not a model, so queries.npy is one too many",
    "m.model i.index queries.npy --by raw --truth truth.npy": "--by raw needs --vectors",
    "m.model i.index queries.npy --truth truth.npy --by decoded --oversampling 0":
        "--oversampling 0: give numbers of at least 1",
    "m.model i.index queries.npy --truth truth.npy --by raw --vectors base.npy --oversampling a,2":
        "--oversampling a,2: give numbers of at least 1",
    "m.model shifted.index queries.npy --vectors base.npy": "--vectors base.npy: the index does not"
        " hold the codes of just these 400 rows",
    "m.model i.index queries.npy --truth base.npy": "--truth base.npy: truth must be ids",
    "m.model i.index queries.npy --truth none.npy": "--truth none.npy: no such file",
    "m.model i.index queries.npy --qrels none.txt": "--qrels none.txt: no such file",
    "m.model i.index queries.npy --qrels truth.npy": "--qrels truth.npy",
    "m.model i.index queries.npy --qrels others.txt": "--qrels others.txt: none of its results is"
        " in the index: they begin with ['d7'], the ids of the index with [0, 1, 2]",
    "m.model i.index queries.npy --qrels padded.txt": "--qrels padded.txt: none of its results is"
        " in the index: they begin with ['007', '777",
    "m.model i.index queries.npy --truth others.npy": "--truth others.npy: none of its results is"
        " in the index: they begin with [1000, 1000, 1000], the ids of the index with [0, 1, 2]",
    "m.model i.index queries.npy --qrels qrels.txt --query-ids id": "--query-ids id: only Parquet",
    "m.model queries.npy queries.npy --truth truth.npy": "CODES|INDEX queries.npy",
    "m.model i.index base.npy --truth truth.npy": "truth must be ids of shape (400, K)",
    "m.model i.index queries.npy --truth truth.npy --json truth.npy": "--json truth.npy",
}  # fmt: skip


def test_an_unknown_ranking_names_its_option(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "m.model i.index queries.npy --truth truth.npy --by nonsense"
    done = run(folder, monkeypatch, *words.split())
    assert done.exit_code == 2 and "Invalid value for '--by': 'nonsense'" in done.output


@pytest.mark.parametrize("words", list(REFUSED))
def test_bad_input_is_named_as_the_user_wrote_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    done = run(folder, monkeypatch, *words.split())
    assert done.exit_code != 0
    assert isinstance(done.exception, (ValueError, OSError)), done.exception
    assert REFUSED[words] in str(done.exception)
