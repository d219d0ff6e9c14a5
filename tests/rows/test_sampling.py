"""Samples are uniform, drawn in one pass, and the same wherever the rows come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from sigah import ITQ
from sigah.rows import open_vectors, sample, sampling, training_rows
from sigah.rows.blocks import Rows
from sigah.rows.sources import _blocks_of_batches

ROWS = np.arange(2 * 5000, dtype=np.float32).reshape(5000, 2)


class Counted:
    """Rows that count how often each was read."""

    def __init__(self, rows: Any) -> None:
        self.rows, self.shape, self.dtype = rows, rows.shape, rows.dtype
        self.reads = np.zeros(len(rows), int)

    def __getitem__(self, where: slice) -> Any:
        self.reads[where] += 1
        return self.rows[where]


def batches(size: int) -> Iterator[Any]:
    return (ROWS[start : start + size] for start in range(0, len(ROWS), size))


@pytest.mark.parametrize("in_batches", [False, True])
def test_every_row_is_as_likely(in_batches: bool) -> None:
    rows = np.arange(60, dtype=np.float32)[:, None]
    counts = np.zeros(60)
    for seed in range(1500):
        source: Any = iter(np.split(rows, [1, 2, 20, 33])) if in_batches else rows
        drawn = sample(source, 12, seed)[:, 0].astype(int)
        assert len(set(drawn)) == 12
        counts[drawn] += 1
    assert chisquare(counts).pvalue > 1e-3


def test_pairs_of_rows_are_as_likely() -> None:
    """Inclusion of single rows alone would not tell a sample of neighbours from a uniform one."""
    rows = np.arange(8, dtype=np.float32)[:, None]
    counts = np.zeros((8, 8))
    for seed in range(3000):
        first, second = np.sort(sample(rows, 2, seed)[:, 0].astype(int))
        counts[first, second] += 1
    assert chisquare(counts[np.triu_indices(8, 1)]).pvalue > 1e-3


@pytest.mark.parametrize("size", [1, 7, 64, 4999, 5000])
def test_the_same_rows_give_the_same_sample(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigah.rows.blocks.BLOCK_BYTES", 8 * 100)
    monkeypatch.setattr("sigah.rows.sources.BLOCK_BYTES", 8 * 64)
    monkeypatch.setattr(sampling, "ROWS_PER_DRAW", 333)
    expected = sample(ROWS, 50, 3)
    np.testing.assert_array_equal(sample(batches(size), 50, 3), expected)
    np.testing.assert_array_equal(sample(lambda: batches(size), 50, 3), expected)


def test_a_source_is_read_once_and_where_nothing_is_drawn_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sigah.rows.blocks.BLOCK_BYTES", 8 * 100)  # 100 rows
    source = Counted(ROWS)
    drawn = sample(source, 5, 0)
    assert len(drawn) == 5
    assert set(source.reads) == {0, 1}
    assert source.reads.sum() <= 500


def test_batches_may_pass_only_once_and_be_refilled() -> None:
    buffer = np.empty((100, 2), np.float32)

    def refilled() -> Iterator[Any]:
        for block in batches(100):
            buffer[:] = block
            yield buffer

    np.testing.assert_array_equal(sample(refilled(), 77, 1), sample(ROWS, 77, 1))


def test_a_small_source_is_returned_whole_and_in_order() -> None:
    np.testing.assert_array_equal(sample(ROWS, 10**9, 0), ROWS)
    np.testing.assert_array_equal(sample(batches(9), 10**6, 0), ROWS)


def test_large_sources_are_sampled_for_training(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training_rows(ROWS) is ROWS
    assert training_rows(ROWS, 5000) is ROWS
    assert len(training_rows(ROWS, 100)) == 100
    monkeypatch.setattr(sampling, "TRAINING_BYTES", 8 * 1000)
    np.testing.assert_array_equal(training_rows(ROWS), sample(ROWS, 1000, 0))
    np.testing.assert_array_equal(training_rows(batches(31)), sample(ROWS, 1000, 0))


def test_what_is_no_source_is_said(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {
        "a batch": iter([ROWS, ROWS[0]]),
        "dimension 1, but the first has 2": iter([ROWS, ROWS[:, :1]]),
        "row 5003, column 1": iter([ROWS, np.array([[0, 1]] * 3 + [[2, np.nan]])]),
        "no rows": iter([]),
        "an iterable of arrays": 17,
        r"\(n, d\)": np.zeros(3),
    }
    for message, source in wrong.items():
        with pytest.raises(ValueError, match=message.replace("a batch", "batch 1 has shape")):
            sample(source, 3)
    for n in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="n must be"):
            sample(ROWS, n)  # type: ignore[arg-type]


def test_an_iterator_is_sent_where_it_is_understood() -> None:
    with pytest.raises(ValueError, match=r"sigah\.rows\.sample"):
        ITQ(8).fit(iter([ROWS]))  # type: ignore[arg-type]


def test_folders_are_sampled_like_one_file(tmp_path: Path) -> None:
    for name, part in zip("bca", np.split(ROWS, [100, 4000]), strict=True):
        np.save(tmp_path / f"{name}.npy", part)
    together = np.concatenate([ROWS[4000:], ROWS[:100], ROWS[100:4000]])
    np.testing.assert_array_equal(sample(open_vectors(tmp_path), 99, 5), sample(together, 99, 5))


@pytest.mark.parametrize(("mean", "tolerance"), [(1e3, 1e-5), (1e6, 5e-3)])
def test_a_covariance_far_from_zero_is_as_good_as_float32_vectors_are(
    mean: float, tolerance: float
) -> None:
    X = (mean + np.random.default_rng(0).normal(size=(30000, 16))).astype(np.float32)
    exact = np.cov(X.astype(np.float64), rowvar=False, bias=True)
    centre, covariance = Rows(X).mean_and_covariance()  # type: ignore[arg-type]
    np.testing.assert_allclose(centre, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
    assert np.abs(covariance - exact).max() < tolerance


def test_blocks_of_batches_know_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigah.rows.sources.BLOCK_BYTES", 4 * ROWS.shape[1] * 7)
    sizes = 0
    for where, block in _blocks_of_batches(iter(np.split(ROWS, [1, 2, 20, 33]))):
        assert where.start == sizes
        np.testing.assert_array_equal(block, ROWS[where])
        sizes = where.stop
    assert sizes == len(ROWS)
