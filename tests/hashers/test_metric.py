"""Hashers by cosine and by inner product: what they learn from, encode, rebuild and store."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.base import clone

import sigah
from sigah import files
from sigah.codes import unpack
from sigah.hashers import METHODS, LinearHasher
from sigah.hashers.registry import make_hasher
from sigah.metric import METRICS, check_same_metric, normalized, unit_rows
from sigah.rows.blocks import Rows
from sigah.streams import encode
from sigah.testing.hashers import (
    codes_are_packed_bits,
    decoding_is_scored,
    sources_of_any_kind_are_read,
)

QUICK: dict[str, dict[str, Any]] = {
    "sigah": {"n_steps": 3, "batch_size": 60, "dictionary_ratio": 2},
    "itq": {"n_iter": 3},
    "kmeans": {"max_iter": 3},
}


def quick(name: str, metric: str) -> Any:
    hasher = METHODS[name](16).set_params(metric=metric, **QUICK.get(name, {}))
    return hasher.set_params(random_state=0) if "random_state" in hasher.get_params() else hasher


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    """Vectors in clusters, whose lengths differ by a factor of up to 100."""
    rng = np.random.default_rng(0)
    points = rng.normal(scale=2, size=(8, 20))[rng.integers(8, size=600)] + rng.normal(
        size=(600, 20)
    )
    return (points * rng.uniform(0.05, 5, size=(600, 1))).astype(np.float32)


def test_inner_products_hash_vectors_as_they_are(vectors: NDArray[np.float32]) -> None:
    by_ip, by_l2 = quick("itq", "ip").fit(vectors), quick("itq", "l2").fit(vectors)
    np.testing.assert_array_equal(by_ip.transform(vectors), by_l2.transform(vectors))
    assert by_ip.fingerprint != by_l2.fingerprint


@pytest.mark.parametrize("name", ["itq", "lsh", "sign", "spectral", "kmeans"])
def test_lengths_change_no_code_under_cosine(name: str, vectors: NDArray[np.float32]) -> None:
    powers = np.ldexp(1.0, np.arange(len(vectors)) % 40 - 20)[:, None].astype(np.float32)
    hasher = quick(name, "cosine").fit(vectors)
    again = quick(name, "cosine").fit(vectors * powers)
    assert again.fingerprint == hasher.fingerprint
    np.testing.assert_array_equal(hasher.transform(vectors * powers), hasher.transform(vectors))


@given(
    hnp.arrays(np.float32, (30, 20), elements=st.floats(-1e3, 1e3, width=32)),
    hnp.arrays(np.float64, (30, 1), elements=st.floats(1e-3, 1e3)),
)
@settings(max_examples=30)
def test_any_positive_factor_flips_only_scores_near_zero(
    rows: NDArray[np.float32], factors: NDArray[np.float64]
) -> None:
    hasher = sigah.LSH(64, metric="cosine", random_state=0).fit(np.eye(20))
    scaled = (rows * factors).astype(np.float32)
    flipped = unpack(hasher.transform(rows)) != unpack(hasher.transform(scaled))
    # float32 rounds the scaled rows, by more where they are subnormal
    sure = np.abs(rows).max(axis=1, keepdims=True) > 1e-30
    assert not (flipped & sure & (np.abs(hasher.project(rows)) > 1e-5)).any()


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        (5, 4),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
@example(np.outer([1.4e-45] * 5, [1, 1, 0, 3]).astype(np.float32))
@settings(max_examples=50)
def test_rows_are_scaled_to_unit_length_and_zeros_stay(rows: NDArray[Any]) -> None:
    lengths = np.sqrt(np.square(rows, dtype=np.longdouble).sum(axis=1, keepdims=True))
    sizes = np.abs(rows, dtype=np.float64)  # a part of a subnormal is 0 in float32
    for units, error in ((normalized(rows), 1e-6), (unit_rows(rows), 1e-14)):
        np.testing.assert_allclose(
            np.square(units, dtype=np.float64).sum(axis=1), rows.any(axis=1), atol=error
        )
        back = (units * lengths).astype(np.float64)
        assert (np.abs(back - rows) <= error * sizes + 1e-37 * lengths).all()


def test_a_unit_row_depends_on_its_row_alone(vectors: NDArray[np.float32]) -> None:
    whole = normalized(vectors)
    assert (normalized(np.asfortranarray(vectors)) == whole).all()
    assert (normalized(np.repeat(vectors, 2, axis=1)[:, ::2]) == whole).all()
    assert (np.concatenate([normalized(row[None]) for row in vectors]) == whole).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_scaled_block_by_block(vectors: NDArray[np.float32], dtype: type) -> None:
    class Slices:
        shape, dtype = vectors.shape, vectors.dtype

        def __getitem__(self, key: slice) -> Any:
            assert isinstance(key, slice)
            return vectors[key]

    expected, chosen = normalized(vectors), np.array([5, 3, 599, 5])
    source: Any
    for source in (vectors.astype(dtype), Slices()):
        rows = Rows(source, unit=True)
        rows.block_rows = 70
        np.testing.assert_array_equal(np.concatenate([b for _, b in rows.blocks()]), expected)
        np.testing.assert_array_equal(rows.take(chosen), expected[chosen])
        np.testing.assert_array_equal(rows.in_memory().take(chosen), expected[chosen])
    assert (vectors != expected).any()  # the source is not changed


def test_the_contract_holds_under_cosine(vectors: NDArray[np.float32]) -> None:
    for check in (codes_are_packed_bits, decoding_is_scored, sources_of_any_kind_are_read):
        for hasher in (quick("itq", "cosine"), quick("kmeans", "cosine")):
            check(hasher, vectors)


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_file_keeps_the_metric(
    metric: str, vectors: NDArray[np.float32], tmp_path: Path
) -> None:
    hasher = quick("itq", metric).fit(vectors)
    hasher.save(tmp_path / "model")
    copies = (sigah.load(tmp_path / "model"), pickle.loads(pickle.dumps(hasher)))
    for copy in copies:
        assert (copy.metric, copy.fingerprint) == (metric, hasher.fingerprint)
        np.testing.assert_array_equal(copy.transform(vectors), hasher.transform(vectors))
    assert files.describe(tmp_path / "model")["header"]["parameters"]["metric"] == metric
    assert clone(hasher).metric == metric


def test_a_file_with_a_metric_of_the_future_is_refused(
    vectors: NDArray[np.float32], tmp_path: Path
) -> None:
    quick("itq", "l2").fit(vectors).save(tmp_path / "model")
    header, arrays = files.load_model(tmp_path / "model")
    header["parameters"]["metric"] = "hyperbolic"
    files.save_model(tmp_path / "model", header, arrays)
    with pytest.raises(files.FileFormatError, match="metric 'hyperbolic'.*upgrade sigah"):
        sigah.load(tmp_path / "model")


def test_streams_encode_by_the_metric(vectors: NDArray[np.float32], tmp_path: Path) -> None:
    hasher = quick("itq", "cosine").fit(vectors)
    encode(hasher, (vectors[i : i + 70] for i in range(0, 600, 70)), tmp_path / "codes.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), hasher.transform(vectors))


def test_training_is_continued_on_unit_rows(vectors: NDArray[np.float32]) -> None:
    by_cosine, by_l2 = quick("sigah", "cosine").fit(vectors), quick("sigah", "l2")
    units = normalized(vectors)
    by_l2.fit(units).partial_fit(units[:300], n_steps=2)
    by_cosine.partial_fit(vectors[:300], n_steps=2)
    np.testing.assert_array_equal(by_cosine.weights_, by_l2.weights_)
    by_cosine.set_params(metric="l2")
    with pytest.raises(ValueError, match="was fitted with metric='cosine', but metric is now 'l2'"):
        by_cosine.partial_fit(vectors)


@pytest.mark.parametrize("use", ["transform", "project", "score"])
def test_a_metric_changed_after_the_fit_is_refused(use: str, vectors: NDArray[np.float32]) -> None:
    hasher = quick("itq", "l2").fit(vectors).set_params(metric="cosine")
    with pytest.raises(ValueError, match="was fitted with metric='l2', but metric is now 'cosine'"):
        getattr(hasher, use)(vectors)
    with pytest.raises(ValueError, match="fit it again"):
        _ = hasher.fingerprint
    assert hasher.fit(vectors).metric_ == "cosine"


@pytest.mark.parametrize("metric", ["dot", "L2", None, 2, ["l2"]])
@pytest.mark.parametrize("name", ["itq", "sigah"])
def test_unknown_metrics_are_refused(name: str, metric: Any, vectors: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="metric must be one of l2, cosine, ip, got"):
        METHODS[name](16, metric=metric).fit(vectors)  # type: ignore[call-arg]


class Halves(LinearHasher):
    """A researcher's method, which knows no metrics."""

    name: ClassVar[str] = "halves"

    def __init__(self, n_bits: int = 16) -> None:
        self.n_bits = n_bits

    def _fit(self, rows: Rows, random_state: np.random.RandomState) -> None:
        self.weights_ = np.eye(rows.dim, self.n_bits, dtype=np.float32)
        self.thresholds_ = rows.mean()[: self.n_bits]


def test_a_class_without_the_parameter_is_l2(vectors: NDArray[np.float32], tmp_path: Path) -> None:
    hasher = Halves(16).fit(vectors)
    np.testing.assert_array_equal(
        unpack(hasher.transform(vectors)), vectors[:, :16] >= vectors.mean(axis=0)[:16]
    )
    hasher.save(tmp_path / "model")
    assert sigah.load(tmp_path / "model").metric == "l2"
    path = f"{__name__}:Halves"
    assert make_hasher(path, 16, 0, metric="l2").metric == "l2"
    with pytest.raises(ValueError, match="knows the metric l2 only, not cosine"):
        make_hasher(path, 16, 0, metric="cosine")


def test_metrics_are_chosen_by_name() -> None:
    assert make_hasher("sigah.paper", 16, 0, metric="cosine").metric == "cosine"
    assert make_hasher("lsh:metric=ip", 16, 0).metric == "ip"
    with pytest.raises(ValueError, match="metric must be one of"):
        make_hasher("lsh", 16, 0, metric="dot")
    with pytest.raises(ValueError, match="two metrics: ip by its settings, and cosine"):
        make_hasher("lsh:metric=ip", 16, 0, metric="cosine")


def test_two_metrics_are_refused_together() -> None:
    check_same_metric(sigah.ITQ(metric="ip"), "ip", "the truth")
    check_same_metric(object(), "l2", "the truth")
    with pytest.raises(ValueError, match=r"hasher \(itq\) has the metric ip, but the truth has l2"):
        check_same_metric(sigah.ITQ(metric="ip"), "l2", "the truth")
