from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sigah.evaluation import cached_neighbors, content_hash, exact_neighbors, truth


def by_definition(base: Any, queries: Any, k: int) -> list[list[int]]:
    """Sort all pairs of (distance, index); exact where the numbers are Python integers."""
    rows, found = base.tolist(), []
    for query in queries.tolist():
        distances = [
            sum(x * x for x in map(operator.sub, row, query))  # no overflow, no rounding
            for row in rows
        ]
        found.append(sorted(range(len(rows)), key=lambda row: (distances[row], row))[:k])
    return found


def in_long_double(base: Any, queries: Any, k: int) -> NDArray[np.intp]:
    wide = base.astype(np.longdouble)
    distances = [np.square(wide - query).sum(axis=1) for query in queries.astype(np.longdouble)]
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def noise(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


class OnlySlices:
    """Rows on a disk, say: no array, no fancy indexing, and a record of what was read."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self.rows, self.shape, self.dtype = rows, rows.shape, rows.dtype
        self.largest = self.reads = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        assert isinstance(key, slice)
        read = self.rows[key]
        self.largest, self.reads = max(self.largest, len(read)), self.reads + 1
        return read


@st.composite
def whole_numbers(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[Any], int, int]:
    """Rows full of duplicates and ties, in dtypes that all hold them exactly."""
    dtype = draw(st.sampled_from(["i1", "u1", ">i2", "i8", "f2", "f4", ">f4", "f8"]))
    n, d = draw(st.integers(1, 120)), draw(st.integers(1, 4))
    offset = draw(st.sampled_from([0, 100]))
    values = st.integers(0, draw(st.sampled_from([1, 3, 20])))
    base = offset + draw(hnp.arrays(np.int64, (n, d), elements=values))
    queries = offset + draw(hnp.arrays(np.int64, (draw(st.integers(1, 4)), d), elements=values))
    return (
        base.astype(dtype),
        queries.astype(dtype),
        draw(st.integers(1, n)),
        draw(st.integers(1, 130)),
    )


@given(whole_numbers())
@settings(deadline=None)
def test_neighbors_are_the_sorted_list_of_all_rows(
    problem: tuple[NDArray[Any], NDArray[Any], int, int],
) -> None:
    base, queries, k, block = problem
    distances, indices = exact_neighbors(base, queries, k, block=block)
    assert (indices.dtype, distances.dtype) == (np.int32, np.float64)
    exact_base, exact_queries = base.astype(np.int64), queries.astype(np.int64)
    assert indices.tolist() == by_definition(exact_base, exact_queries, k)
    difference = exact_base[indices] - exact_queries[:, None]
    np.testing.assert_array_equal(distances, (difference**2).sum(axis=2))


@pytest.mark.parametrize("offset", [0, 1e4, -3e7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_offset_costs_no_accuracy(offset: float, dtype: type) -> None:
    base, queries = (
        (offset + noise(900, 40)).astype(dtype),
        (offset + noise(9, 40, seed=1)).astype(dtype),
    )
    distances, indices = exact_neighbors(base, queries, 300)
    np.testing.assert_array_equal(indices, in_long_double(base, queries, 300))
    exact = np.square(base.astype(np.longdouble)[indices] - queries[:, None]).sum(axis=2)
    np.testing.assert_allclose(distances, exact.astype(np.float64), rtol=1e-14)


def test_an_offset_costs_no_time() -> None:
    # without centring, the bounds would prove nothing and every query would be asked again
    near, far = (OnlySlices(offset + noise(900, 40)) for offset in (0, 3e7))
    exact_neighbors(near, noise(9, 40, seed=1), 20)
    exact_neighbors(far, 3e7 + noise(9, 40, seed=1), 20)
    assert near.reads == far.reads


@pytest.mark.parametrize("gap", [1e2, 1e4, 1e6, 1e8])
def test_differences_far_below_float32_are_told_apart(gap: float) -> None:
    # Centring leaves two clusters at +- gap / 2, in which float32 sees less and less.
    base = noise(800, 6)
    base[::2] += gap
    queries = base[:6] + 0.1 * noise(6, 6, seed=1)
    _, indices = exact_neighbors(base, queries, 40, block=128)
    np.testing.assert_array_equal(indices, in_long_double(base, queries, 40))


@pytest.mark.parametrize("step", [2**-23, 2**-24, 2**-26])
def test_neighbors_one_rounding_apart_are_told_apart(step: float) -> None:
    # All rows are nearly as far from the query, in an order that float32 products scramble.
    rng = np.random.default_rng(0)
    base = rng.normal(size=(2000, 64))
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    base *= 1 + step * rng.permutation(2000)[:, None]
    queries = np.zeros((1, 64))
    expected = in_long_double(base, queries, 50)
    np.testing.assert_array_equal(exact_neighbors(base, queries, 50).ids, expected)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-160, 1e-30, 1e30, 1e149])
def test_any_magnitude_is_served(scale: float) -> None:
    base, queries = scale * noise(300, 5), scale * noise(5, 5, seed=1)
    distances, indices = exact_neighbors(base, queries, 20)
    brute = np.array([np.square(base - query).sum(axis=1) for query in queries])
    order = np.argsort(brute, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, np.take_along_axis(brute, order, axis=1), rtol=1e-14)


@pytest.mark.parametrize("small", [1e-18, 1e-20, 1e-21, 1e-22, 1e-23, 1e-30])
def test_what_underflows_beside_large_rows_is_told_apart(small: float) -> None:
    base, queries = small * noise(300, 5), small * noise(9, 5, seed=1)
    base[:2] = [[1], [-1]]
    _, indices = exact_neighbors(base, queries, 20)
    np.testing.assert_array_equal(indices, in_long_double(base, queries, 20))


def test_one_far_row_spoils_nothing() -> None:
    base, queries = noise(700, 8), noise(5, 8, seed=1)
    base[123] = 1e15
    _, indices = exact_neighbors(base, queries, 700)
    np.testing.assert_array_equal(indices, in_long_double(base, queries, 700))
    assert (indices[:, -1] == 123).all()


def test_equal_rows_are_in_order_of_index() -> None:
    distances, indices = exact_neighbors(np.full((500, 3), 0.1), np.full((2, 3), 0.7), 60)
    np.testing.assert_array_equal(indices, [range(60)] * 2)
    assert (distances == distances[0, 0]).all()


@pytest.mark.parametrize("d", [3, 100, 10007])  # beyond 8,192, some sums depend on where a row lies
def test_duplicates_tie_exactly_at_any_dimension(d: int) -> None:
    base = noise(40, d)
    copies = [1, 2, 17, 18, 39]
    base[copies] = base[1]
    queries = np.vstack([base[1], base[1] + 0.01])
    distances, indices = exact_neighbors(base, queries, 5, block=19)
    np.testing.assert_array_equal(indices, [copies, copies])
    assert (distances[0] == 0).all()
    assert (distances[1] == distances[1, 0]).all()


def test_blocks_and_steps_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    base, queries = np.round(noise(500, 6), 1), np.round(noise(70, 6, seed=1), 1)
    whole = exact_neighbors(base, queries, 30)
    monkeypatch.setattr(truth, "SCORES_PER_STEP", 2000)
    for block in (7, 33, 499):
        for found, expected in zip(
            exact_neighbors(base, queries, 30, block=block), whole, strict=True
        ):
            np.testing.assert_array_equal(found, expected)


def test_sources_are_read_in_blocks_and_give_the_same(tmp_path: Path) -> None:
    base, queries = noise(300, 7).astype(np.float32), noise(20, 7, seed=1).astype(np.float32)
    expected = exact_neighbors(base, queries, 9)
    np.save(tmp_path / "base.npy", base)
    mapped = np.load(tmp_path / "base.npy", mmap_mode="r")
    foreign = OnlySlices(base)
    for source in (mapped, foreign, np.asfortranarray(base), base.tolist()):
        found = exact_neighbors(source, queries, 9, block=64)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    assert 0 < foreign.largest <= 64


def test_distances_agree_with_faiss() -> None:
    base, queries = noise(2000, 32).astype(np.float32), noise(50, 32, seed=1).astype(np.float32)
    index = faiss.IndexFlatL2(32)
    index.add(base)
    theirs, _ = index.search(queries, 100)
    np.testing.assert_allclose(exact_neighbors(base, queries, 100).distances, theirs, rtol=1e-4)


@pytest.mark.parametrize(
    ("base", "queries", "k", "message"),
    [
        (np.zeros((3, 2)), np.zeros((1, 3)), 1, "queries have 3 dimensions, but the base has 2"),
        (np.zeros((3, 2)), np.zeros((1, 2)), 4, "k = 4 .* the base has 3"),
        (np.zeros((3, 2)), np.zeros((1, 2)), 0, "k must be a whole number of at least 1"),
        (np.zeros((3, 2)), np.zeros((1, 2)), 1.0, "k must be a whole number"),
        (np.zeros((3, 2)), np.zeros((1, 2)), True, "k must be a whole number"),
        (np.zeros((0, 2)), np.zeros((1, 2)), 1, "base holds no vectors: 0 sample"),
        (np.zeros((3, 2)), np.zeros(2), 1, r"queries has shape \(2,\)"),
        (np.array([[0.0], [np.nan]]), np.zeros((1, 1)), 1, "base contains NaN.*row 1"),
        (np.zeros((3, 1)), np.array([[np.inf]]), 1, "queries contains NaN.*row 0"),
        (np.array([[1e200]]), np.zeros((1, 1)), 1, "beyond 1e[+]150"),
        (np.array([["a"]]), np.zeros((1, 1)), 1, "base must hold numbers, but it holds text"),
        (np.array([[1j]]), np.zeros((1, 1)), 1, "Complex data not supported: base"),
        (np.ma.masked_equal([[1.0], [2.0]], 2), np.zeros((1, 1)), 1, "base is masked.* row 1"),
    ],
)
def test_bad_input_is_named(base: Any, queries: Any, k: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exact_neighbors(base, queries, k)


def test_bfloat16_is_read_as_the_numbers_it_is() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    torch = pytest.importorskip("torch")
    rounded = noise(60, 4).astype(ml_dtypes.bfloat16).astype(np.float32)
    expected = exact_neighbors(rounded, rounded[:5], 3)
    for base in (rounded.astype(ml_dtypes.bfloat16), torch.from_numpy(rounded).bfloat16()):
        assert same(exact_neighbors(base, base[:5], 3), expected)


@pytest.fixture
def problem(tmp_path: Path) -> dict[str, Any]:
    return {"base": noise(60, 4), "queries": noise(7, 4, seed=1), "k": 5, "cache_dir": tmp_path}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def same(found: truth.Neighbors, expected: truth.Neighbors) -> bool:
    return all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(found, expected, strict=True)
    )


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("this must not be computed again")


def test_the_cache_remembers(problem: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached_neighbors(**problem)
    assert same(first, exact_neighbors(problem["base"], problem["queries"], 5))
    monkeypatch.setattr(truth, "exact_neighbors", refuse)
    again = cached_neighbors(**problem)
    assert same(again, first)
    again[0][:] = 0  # what is handed out belongs to the caller
    assert same(cached_neighbors(**problem), first)


def test_the_cache_knows_what_it_was_asked(problem: dict[str, Any]) -> None:
    cached_neighbors(**problem)
    moved = problem["base"].copy()
    moved[3, 1] = np.nextafter(moved[3, 1], 2)
    for count, change in enumerate(
        [
            {"k": 6},
            {"base": moved},
            {"queries": problem["queries"][::-1]},
            {"base": problem["queries"], "queries": problem["base"]},
        ],
        start=2,
    ):
        asked = {**problem, **change}
        expected = exact_neighbors(asked["base"], asked["queries"], asked["k"])
        assert same(cached_neighbors(**asked), expected)
        assert len(files(problem["cache_dir"])) == count


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: content[:40] + bytes([content[40] ^ 128]) + content[41:],
        lambda content: bytes(len(content)),
    ],
)
def test_a_damaged_cache_is_computed_again(problem: dict[str, Any], damage: Any) -> None:
    expected = cached_neighbors(**problem)
    (path,) = files(problem["cache_dir"])
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert same(cached_neighbors(**problem), expected)
    assert path.read_bytes() == whole


def test_the_answer_to_another_question_is_not_trusted(problem: dict[str, Any]) -> None:
    cached_neighbors(**problem)
    (path,) = files(problem["cache_dir"])
    other = {**problem, "queries": problem["queries"] + 1}
    expected = cached_neighbors(**other)
    (other_path,) = set(files(problem["cache_dir"])) - {path}
    other_path.write_bytes(path.read_bytes())
    assert same(cached_neighbors(**other), expected)


def test_an_interruption_leaves_nothing(
    problem: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("os.fsync", interrupt)
        cached_neighbors(**problem)
    assert files(problem["cache_dir"]) == []
    cached_neighbors(**problem)
    assert len(files(problem["cache_dir"])) == 1


def test_the_cache_is_where_the_environment_says(
    problem: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "elsewhere"))
    cached_neighbors(**{**problem, "cache_dir": None})
    assert len(files(tmp_path / "elsewhere" / "truth")) == 1


def test_an_unusable_cache_is_reported_before_the_work(
    problem: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(truth, "exact_neighbors", refuse)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        cached_neighbors(**{**problem, "cache_dir": tmp_path / "file"})


def test_a_default_cache_that_cannot_be_written_is_done_without(
    problem: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A read-only home; a file in the place of the folder, for root may write anywhere."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "file"))
    asked = {**problem, "cache_dir": None}
    expected = exact_neighbors(asked["base"], asked["queries"], asked["k"])
    assert same(cached_neighbors(**asked), expected)
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(truth, "atomic_write", lambda path: (_ for _ in ()).throw(OSError("full")))
    assert same(cached_neighbors(**asked), expected)


def test_content_hash_sees_content_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = noise(50, 6).astype(np.float32)
    expected = content_hash(array)
    monkeypatch.setattr(truth, "BYTES_PER_READ", 100)
    np.save(tmp_path / "array.npy", array)
    wide = np.repeat(array, 2, axis=1)
    for same_content in (
        array.copy(),
        np.asfortranarray(array),
        wide[:, ::2],
        np.load(tmp_path / "array.npy", mmap_mode="r"),
        OnlySlices(array),
    ):
        assert content_hash(same_content) == expected


def test_content_hash_tells_contents_apart() -> None:
    array = np.arange(6.0).reshape(2, 3)
    flipped = array.copy()
    flipped[0, 0] = -0.0
    others = [
        array,
        array[::-1],
        array.T,
        array.reshape(3, 2),
        array.ravel(),
        array.astype(np.float32),
        array.astype(">f8"),
        array.view(np.int64),
        flipped,
        array[:0],
        array[:0].reshape(0, 5),
        array[0, 0],
    ]
    assert len({content_hash(other) for other in others}) == len(others)


def test_content_hash_refuses_objects() -> None:
    with pytest.raises(ValueError, match="no bytes to hash"):
        content_hash(np.array([[None]]))
