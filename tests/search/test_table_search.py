"""Ranking by tables against sums in NumPy, which add up in the same order."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding as llvm
from llvmlite import ir
from numba import njit
from numpy.typing import NDArray

from sigah import HammingIndex
from sigah.search import asymmetric_distances, asymmetric_kernels, instructions, score_search
from sigah.search.compiled import kernels
from sigah.search.layout import to_planes
from sigah.search.segment import all_alive

Codes = NDArray[np.uint8]
Tables = NDArray[np.float32]


def random_codes(n: int, n_bytes: int, seed: int = 0) -> Codes:
    return np.random.default_rng(seed).integers(0, 4, (n, n_bytes), dtype=np.uint8)


def random_tables(n_queries: int, n_bytes: int, seed: int = 0) -> Tables:
    return np.random.default_rng(seed).normal(size=(n_queries, n_bytes, 256)).astype(np.float32)


def scores_of(codes: Codes, table: Tables, factors: Any = None) -> NDArray[np.float32]:
    scores = np.zeros(len(codes), np.float32)
    for entries, values in zip(table, codes.T, strict=True):
        scores += entries[values]
    return scores if factors is None else np.float32(factors)[codes[:, -1]] * scores


def expected(
    codes: Codes,
    ids: Any,
    tables: Tables,
    k: int,
    *,
    queries: Codes | None = None,
    shortlist: int = 0,
    factors: Any = None,
) -> tuple[Any, Any]:
    """The answer by sorting everything."""
    distances = np.full((len(tables), k), np.inf, np.float32)
    found = np.full((len(tables), k), -1)
    for q, table in enumerate(tables):
        some = np.arange(len(codes))
        if queries is not None:
            m = queries.shape[1]
            differing = np.bitwise_count(codes[:, :m] ^ queries[q]).sum(axis=1)
            some = np.lexsort((ids, differing))[:shortlist]
        scores = scores_of(codes[some], table, factors)
        order = np.lexsort((ids[some], scores))[:k]
        distances[q, : len(order)] = scores[order]
        found[q, : len(order)] = ids[some][order]
    return distances, found


def assert_same(found: tuple[Any, Any], wanted: tuple[Any, Any]) -> None:
    assert (found[0].dtype, found[1].dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


@given(
    n_bytes=st.sampled_from([1, 2, 9, 31, 33, 64]),
    m=st.integers(1, 64),
    n=st.integers(0, 600),
    k=st.integers(1, 40),
    more=st.integers(0, 700),
    pieces=st.integers(1, 4),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    scaled=st.booleans(),
    tied=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_answers_are_the_first_of_all_sorted(
    n_bytes: int, m: int, n: int, k: int, more: int, pieces: int, share: float, scaled: bool,
    tied: bool, seed: int,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    codes = random_codes(n, n_bytes, seed)
    ids = rng.permutation(3 * n + 5)[:n]
    index = HammingIndex(8 * n_bytes, n_threads=2)
    for piece in range(pieces):
        index.add(codes[piece::pieces], ids[piece::pieces])
    removed = rng.random(n) < 0.2
    index.remove(ids[removed])
    codes, ids = codes[~removed], ids[~removed]
    tables = random_tables(3, n_bytes, seed)
    if tied:
        tables = tables.round()
    factors = rng.random(256) if scaled else None
    queries = random_codes(3, min(m, n_bytes), seed + 1)
    ways: list[dict[str, Any]] = [{}, {"codes": queries, "shortlist": k + more}]
    for way in ways:
        few = rng.random(len(ids)) < share
        for chosen in (None, ids[few], index.select(ids[few])):
            some = slice(None) if chosen is None else few
            found = index.search_tables(tables, k, factors=factors, filter=chosen, **way)
            assert_same(
                found,
                expected(
                    codes[some], ids[some], tables, k, factors=factors,
                    queries=way.get("codes"), shortlist=way.get("shortlist", 0),
                ),
            )  # fmt: skip
        snapshot = index.snapshot()
        order = np.argsort(ids)
        found = snapshot.search_tables(tables, k, factors=factors, filter=few[order], **way)
        assert_same(found, index.search_tables(tables, k, factors=factors, filter=ids[few], **way))


def coarse(tables: Tables, codes: Codes) -> NDArray[np.int64]:
    """Distances by small tables, from their definition: the best sum of two parts for a byte."""
    n_bytes = codes.shape[1]
    split = tables[:n_bytes].astype(np.float64).reshape(n_bytes, 16, 16)
    parts = np.stack([split.sum(axis=1), split.sum(axis=2)], axis=1)  # of the low and high half
    parts -= parts.min(axis=2, keepdims=True)
    whole = (254 / parts.max(axis=2).sum() * parts).astype(np.int64)
    each = np.arange(n_bytes)
    return (whole[each, 0, codes & 15] + whole[each, 1, codes >> 4]).sum(axis=1)


@pytest.mark.parametrize(("n_bytes", "n_extra"), [(8, 8), (3, 1), (33, 5), (12, 0)])
def test_shortlists_by_tables_are_the_nearest_by_their_coarse_copy(
    n_bytes: int, n_extra: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(n_bytes)
    rows = rng.integers(0, 256, (5000, n_bytes + n_extra), np.uint8)
    tables = random_tables(6, n_bytes + n_extra, seed=1)
    factors, ids = rng.random(256), np.arange(10, 5010)
    index = HammingIndex(8 * n_bytes, n_extra=n_extra, n_threads=1)
    index.add(rows[:4000], ids[:4000])
    index.add(rows[4000:], ids[4000:])
    assert (index.get(ids[::7]) == rows[::7]).all()
    index.remove(ids[5::11])
    some = np.flatnonzero(np.arange(5000) % 11 != 5)
    wanted = np.full((6, 9), np.inf, np.float32), np.full((6, 9), -1)
    for q, table in enumerate(tables):
        near = some[np.argsort(coarse(table, rows[some, :n_bytes]), kind="stable")[:200]]
        scores = scores_of(rows[near], table, factors)
        best = np.lexsort((near, scores))[:9]
        wanted[0][q], wanted[1][q] = scores[best], ids[near[best]]
    whole = expected(rows[some], ids[some], tables, 9, factors=factors)
    assert_same(index.search_tables(tables, 9, factors=factors), whole)
    for _ in range(2):  # in two segments, and in one
        for n_threads, small in ((1, 1 << 23), (3, 1)):
            index.n_threads = n_threads
            monkeypatch.setattr("sigah.search.scan.SMALL_BYTES", small)
            for part in (slice(6), slice(2, 3)):
                found = index.search_tables(tables[part], 9, shortlist=200, factors=factors)
                assert_same(found, (wanted[0][part], wanted[1][part]))
        index.compact()
    with pytest.raises(ValueError, match="no file of its own"):
        HammingIndex(8, n_extra=1).save("nowhere")


def test_a_shortlist_by_projections_needs_codes() -> None:
    index = HammingIndex(16)
    index.add(random_codes(10, 2))
    with pytest.raises(ValueError, match="needs codes"):
        index.search_asymmetric(np.ones((1, 16)), 2, shortlist=5)


def test_threads_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, queries = random_codes(5000, 12), random_codes(17, 8, seed=1)
    tables = random_tables(17, 12).round()
    index = HammingIndex(96, n_threads=1)
    index.add(codes[:4500])
    index.add(codes[4500:])
    short = {"codes": queries, "shortlist": 300}
    alone = index.search_tables(tables, 30), index.search_tables(tables, 30, **short)
    assert_same(alone[0], expected(codes, np.arange(5000), tables, 30))
    monkeypatch.setattr("sigah.search.scan.SMALL_BYTES", 1)
    monkeypatch.setattr("sigah.search.scan.CALL_BYTES", 100_000)
    monkeypatch.setattr(score_search, "PAIRS_PER_BLOCK", 1500)
    for n_threads in (2, 3, 7):
        index.n_threads = n_threads
        for some in (slice(17), slice(1), slice(3)):
            rows = {"codes": queries[some], "shortlist": 300}
            found = (
                index.search_tables(tables[some], 30),
                index.search_tables(tables[some], 30, **rows),
            )
            for ours, theirs in zip(found, alone, strict=True):
                assert_same(ours, (theirs[0][some], theirs[1][some]))


def test_a_mapped_index_answers_as_one_in_memory(tmp_path: Path) -> None:
    index = HammingIndex(80)
    index.add(random_codes(900, 10), np.arange(0, 2700, 3))
    index.save(tmp_path / "index")
    mapped = HammingIndex.open(tmp_path / "index")
    tables, queries = random_tables(2, 10), random_codes(2, 4, seed=1)
    tables.flags.writeable = False
    for way in ({}, {"codes": queries, "shortlist": 200}):
        assert_same(mapped.search_tables(tables, 7, **way), index.search_tables(tables, 7, **way))
    index.build_tables()  # serve whole codes only
    for m in (4, 10):
        queries = random_codes(2, m, seed=2)
        way = {"codes": queries, "shortlist": 40}
        assert_same(index.search_tables(tables, 7, **way), mapped.search_tables(tables, 7, **way))


def test_prefixes_are_compared_as_codes_of_their_own() -> None:
    for n_bytes, m in ((9, 8), (40, 31), (80, 32)):
        codes, queries = random_codes(1000, n_bytes), random_codes(4, m, seed=1)
        index, prefixes = HammingIndex(8 * n_bytes), HammingIndex(8 * m)
        index.add(codes)
        prefixes.add(codes[:, :m])
        nearest = prefixes.search(queries, 50)[1]
        none = np.zeros((4, n_bytes, 256), np.float32)
        found = index.search_tables(none, 50, codes=queries, shortlist=50)[1]
        np.testing.assert_array_equal(found, np.sort(nearest, axis=1))


@given(
    n_bytes=st.integers(1, 40),
    n=st.integers(0, 600),
    k=st.integers(1, 40),
    more=st.integers(0, 300),
    pieces=st.integers(1, 3),
    exact=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=50, deadline=None)
def test_asymmetric_answers_are_the_first_of_all_sorted(
    n_bytes: int, n: int, k: int, more: int, pieces: int, exact: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = random_codes(n, n_bytes, seed)
    ids = rng.permutation(3 * n + 5)[:n]
    index = HammingIndex(8 * n_bytes)
    for piece in range(pieces):
        index.add(codes[piece::pieces], ids[piece::pieces])
    projections = rng.normal(size=(3, 8 * n_bytes)).astype(np.float32)
    if exact:
        projections = (4 * projections).round()  # many ties
    distances = asymmetric_distances(codes, projections)
    queries = np.packbits(projections >= 0, axis=1)
    few = rng.random(n) < 0.5
    for chosen, some in ((None, np.ones(n, np.bool_)), (ids[few], few)):
        for shortlist in (None, k + more):
            way = {} if shortlist is None else {"codes": queries, "shortlist": shortlist}
            found = index.search_asymmetric(projections, k, filter=chosen, **way)
            wanted = np.full((3, k), np.inf, np.float32), np.full((3, k), -1)
            for q in range(3):
                places = np.flatnonzero(some)
                if shortlist is not None:
                    differing = np.bitwise_count(codes[places] ^ queries[q]).sum(axis=1)
                    places = places[np.lexsort((ids[places], differing))[:shortlist]]
                places = places[np.lexsort((ids[places], distances[q, places]))[:k]]
                wanted[0][q, : len(places)] = distances[q, places]
                wanted[1][q, : len(places)] = ids[places]
            assert_same(found, wanted)


@pytest.mark.parametrize("instruction", ["avx2", "ssse3", "none"])
def test_look_ups_in_registers_and_in_memory_agree(
    instruction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way to look up, compiled anew, against the one that this machine uses."""
    if instruction != "none" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("another processor")
    monkeypatch.setattr(instructions, "FORCED", instruction)
    other = njit(asymmetric_kernels.scan_asymmetric.py_func)
    rng = np.random.default_rng(0)
    for n_bytes in (1, 16, 33):
        codes = rng.integers(0, 256, (1100, n_bytes), np.uint8)
        planes, alive = to_planes(codes), all_alive(1100)
        projections = rng.normal(size=(3, 8 * n_bytes)).astype(np.float32)
        distances = asymmetric_distances(codes, projections)
        found = np.empty((3, 7), np.float32), np.empty((3, 7), np.int64)
        other(planes, alive, 0, len(planes), projections, *found)
        order = np.argsort(distances, axis=1, kind="stable")[:, :7]
        assert_same(found, (np.take_along_axis(distances, order, axis=1), order))


def test_the_instruction_suits_the_processor() -> None:
    for features, wanted in (
        ("+sse2,+ssse3,-avx2", "ssse3"),
        ("+avx2,+ssse3", "avx2"),
        ("+avx512f,+avx2", "avx2"),
        ("+avx2,+avx512bw", "avx512"),
        ("+neon", "neon"),
        ("-avx2", "none"),
        ("", "none"),
    ):
        assert instructions.instruction_for(features) == wanted


@pytest.mark.parametrize(
    ("instruction", "processor", "features", "mnemonic"),
    [
        ("neon", "aarch64-linux-gnu", "+neon", "tbl"),
        ("ssse3", "x86_64-linux-gnu", "+ssse3", "pshufb"),
        ("avx2", "x86_64-linux-gnu", "+avx2", "vpshufb"),
    ],
)
def test_look_ups_become_instructions_of_other_processors(
    instruction: str, processor: str, features: str, mnemonic: str
) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    table, indices = ir.VectorType(ir.IntType(8), 16), ir.VectorType(ir.IntType(8), 64)
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(indices, [table, indices]), "look_up")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(instructions.look_up(builder, instruction, *function.args))
    machine = llvm.Target.from_triple(processor).create_target_machine(features=features)
    assert mnemonic in machine.emit_assembly(llvm.parse_assembly(str(module)))


@pytest.mark.parametrize("misled", [False, True])
def test_a_sample_of_the_groups_changes_no_answer(misled: bool) -> None:
    """Also where the sample alone holds near codes, so that the limit from it is too small."""
    n, n_bytes, k = 20_000, 4, 60
    step, enough = kernels().sample_of(-(-n // 256), k)
    assert step > 1
    assert 0 < enough < k
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (n, n_bytes), np.uint8)
    projections = rng.normal(size=(2, 8 * n_bytes)).astype(np.float32)
    queries = np.packbits(projections >= 0, axis=1)
    if misled:
        sampled = np.flatnonzero(np.arange(n) // 256 % step == 0)
        codes[sampled[: 256 * (enough + 1) : 256]] = queries[0]
    index = HammingIndex(8 * n_bytes)
    index.add(codes)
    differing = np.bitwise_count(codes ^ queries[:, None]).sum(axis=2)
    order = np.argsort(differing, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(index.search(queries, k)[1], order)
    exact = asymmetric_distances(codes, projections)
    order = np.argsort(exact, axis=1, kind="stable")[:, :k]
    wanted = np.take_along_axis(exact, order, axis=1), order
    assert_same(index.search_asymmetric(projections, k), wanted)


def test_bounds_of_extreme_projections_refuse_nothing_that_is_near() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (2000, 4), np.uint8)
    index = HammingIndex(32)
    index.add(codes)
    plain = rng.normal(size=(1, 32)).astype(np.float32)
    lone = np.zeros((1, 32), np.float32)
    lone[0, 5] = 1e-38
    skewed = plain * np.float32(10) ** rng.integers(-30, 30, 32)
    for projections in (plain, 3e38 * np.sign(plain), plain * 1e-42, 0 * plain, lone, skewed):
        projections = projections.astype(np.float32)
        distances = asymmetric_distances(codes, projections)
        order = np.argsort(distances, axis=1, kind="stable")[:, :50]
        wanted = np.take_along_axis(distances, order, axis=1), order
        assert_same(index.search_asymmetric(projections, 50), wanted)


def test_infinite_scores_come_last_and_are_found() -> None:
    index = HammingIndex(8)
    index.add(np.array([[0], [1], [2]], np.uint8))
    tables = np.zeros((1, 1, 256), np.float32)
    tables[0, 0, [0, 1]] = np.inf
    found = index.search_tables(tables, 4)
    assert_same(found, (np.array([[0, np.inf, np.inf, np.inf]]), np.array([[2, 0, 1, -1]])))


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("tables must be numbers of shape \\(q, 2, 256\\)", {"tables": np.zeros((1, 3, 256))}),
        ("tables must be numbers", {"tables": np.zeros((1, 2, 256), complex)}),
        ("factors must be 256 numbers", {"factors": np.zeros(255)}),
        ("codes need a shortlist", {"shortlist": None}),
        ("one row for each query", {"codes": np.zeros((2, 1), np.uint8)}),
        ("at most 2 bytes", {"codes": np.zeros((1, 3), np.uint8)}),
        ("codes must be packed", {"codes": np.zeros((1, 2))}),
        ("shortlist must be a whole number of at least 2", {"shortlist": 1}),
        ("k must be", {"k": 0}),
        ("a score is NaN", {"tables": np.full((1, 2, 256), np.nan)}),
    ],
)
def test_bad_arguments_are_named(words: str, change: dict[str, Any]) -> None:
    index = HammingIndex(16)
    index.add(random_codes(10, 2))
    arguments: dict[str, Any] = {
        "tables": np.zeros((1, 2, 256)), "k": 2, "codes": np.zeros((1, 2), np.uint8),
        "shortlist": 2,
    }  # fmt: skip
    index.search_tables(**arguments)
    with pytest.raises(ValueError, match=words):
        index.search_tables(**arguments | change)
    nan = {"tables": np.full((1, 2, 256), np.nan), "k": 1}
    with pytest.raises(ValueError, match="a score is NaN"):
        index.search_tables(**nan)


@pytest.mark.parametrize("n_queries", [3, 40])  # threads share the codes, or the queries
def test_a_score_that_is_no_number_is_refused_whichever_thread_meets_it(
    n_queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_search, "useful_threads", lambda *_: 2)
    index = HammingIndex(16, n_threads=2)
    index.add(random_codes(4000, 2))
    for query in (0, n_queries - 1):
        tables = np.zeros((n_queries, 2, 256))
        tables[query] = np.nan
        with pytest.raises(ValueError, match="a score is NaN"):
            index.search_tables(tables, 1)
