"""The door: what each kind of vectors does, wherever they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from quick_heads import HEADS, STRIPS
from sigah import ITQ, LSH, SiGAH, streams
from sigah.codes import unpack
from sigah.hashers import METHODS, ScoringHasher
from sigah.rows import check_rows, sample
from sigah.rows.dtypes import check_dtype

X = (np.random.default_rng(0).normal(size=(60, 16)) * 4).round().astype(np.float32)
EXPECTED = LSH(32, random_state=0).fit(X).transform(X)
ml_dtypes = pytest.importorskip("ml_dtypes")


def codes(vectors: Any) -> Any:
    return LSH(32, random_state=0).fit(vectors).transform(vectors)


class MaskedSlices:
    """A source such as netCDF4's, whose slices are masked arrays."""

    def __init__(self, mask: Any) -> None:
        self.rows = np.ma.MaskedArray(X, mask)
        self.shape, self.dtype = X.shape, X.dtype

    def __getitem__(self, key: Any) -> Any:
        return self.rows[key]


NOWHERE = np.zeros(X.shape, bool)
ONCE = NOWHERE.copy()
ONCE[7, 3] = True

READ = {
    "float16": X.astype(np.float16),
    "float64": X.astype(np.float64),
    "long double": X.astype(np.longdouble),
    "big-endian float32": X.astype(">f4"),
    "big-endian float64": X.astype(">f8"),
    "big-endian int16": X.astype(">i2"),
    "int64": X.astype(np.int64),
    "Fortran order": np.asfortranarray(X),
    "not contiguous": np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "matrix of lists": X.tolist(),
    "objects": X.astype(object),
    "bfloat16": X.astype(ml_dtypes.bfloat16),
    "torch": torch.from_numpy(X),
    "torch bfloat16": torch.from_numpy(X).to(torch.bfloat16),
    "torch float16": torch.from_numpy(X).half(),
    "torch int64": torch.from_numpy(X).long(),
    "torch that wants gradients": torch.from_numpy(X.copy()).requires_grad_(),
    "nothing masked": np.ma.MaskedArray(X, NOWHERE),
    "no mask": np.ma.MaskedArray(X),
    "slices with nothing masked": MaskedSlices(NOWHERE),
}


@pytest.mark.parametrize("kind", READ)
def test_these_are_read_as_the_same_numbers(kind: str) -> None:
    np.testing.assert_array_equal(codes(READ[kind]), EXPECTED)
    hasher = ITQ(8, random_state=0).fit(READ[kind])
    same = ITQ(8, random_state=0).fit(X)
    np.testing.assert_array_equal(hasher.project(READ[kind]), same.project(X))
    assert hasher.score(READ[kind]) == same.score(X)


def test_booleans_are_0_and_1() -> None:
    bits = X > 0
    np.testing.assert_array_equal(codes(bits), codes(bits.astype(np.float32)))
    np.testing.assert_array_equal(codes(torch.from_numpy(bits)), codes(bits.astype(np.float32)))


@pytest.mark.parametrize("value", [2**24 + 1, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_large_integers_are_rounded_to_float32(value: int) -> None:
    large = np.full((20, 16), value, np.int64)
    large[::2] //= 3
    np.testing.assert_array_equal(
        LSH(32, random_state=0).fit(X).transform(large),
        LSH(32, random_state=0).fit(X).transform(large.astype(np.float32)),
    )


SPARSE = pytest.importorskip("scipy.sparse")
REFUSED: dict[str, tuple[Any, str]] = {
    "masked": (np.ma.MaskedArray(X, ONCE), r"masked \(first at row 7, column 3\).*filled"),
    "masked slices": (MaskedSlices(ONCE), r"masked \(first at row 7, column 3\)"),
    "complex": (X.astype(complex), "Complex data not supported: .*complex128"),
    "torch complex": (torch.from_numpy(X).to(torch.complex64), "Complex data.*complex64"),
    "datetime64": (X.astype("M8[s]"), "dates or times"),
    "timedelta64": (X.astype("m8[s]"), "durations"),
    "text": (X.astype(str), "text"),
    "bytes": (X.astype("S8"), "bytes"),
    "raw bytes, as np.load reads bfloat16": (np.zeros((9, 16), "V2"), "raw bytes"),
    "records": (np.zeros((9, 16), [("a", "f4")]), "raw bytes"),
    "text among objects": (np.array([[1.5, "2.5"]] * 9, object), "row 0, column 1 holds text"),
    "bytes among objects": (np.array([[1.5, b"2.5"]] * 9, object), "row 0, column 1 holds text"),
    "sparse matrix": (SPARSE.csr_matrix(X), "sparse"),
    "sparse array": (SPARSE.coo_array(X), "sparse"),
    "torch sparse": (torch.from_numpy(X).to_sparse(), "sparse"),
    "one dimension": (X[0], r"2D array.*\(16,\).*Reshape"),
    "one torch vector": (torch.from_numpy(X[0]), r"2D array.*\(16,\)"),
    "three dimensions": (X.reshape(6, 10, 16), r"2D array.*\(6, 10, 16\)"),
    "a number": (3.0, r"2D array.*\(\)"),
    "a word": ("vectors.npy", r"2D array.*\(\)"),
    "rows of unequal length": ([[1.0, 2.0], [3.0]], "not a table of numbers"),
    "no rows": (X[:0], r"0 sample\(s\)"),
    "no columns": (X[:, :0], r"0 feature\(s\)"),
    "nan": (np.where(ONCE, np.nan, X), "row 7, column 3"),
    "torch nan": (torch.from_numpy(np.where(ONCE, np.float32(np.nan), X)), "row 7, column 3"),
    "beyond float32": (
        np.where(ONCE, 1e39, X.astype(float)),
        "too large for float32.*row 7, column 3",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_these_are_refused_by_every_door(kind: str) -> None:
    vectors, message = REFUSED[kind]
    fitted = ITQ(8, random_state=0).fit(X)
    for call in (ITQ(8).fit, fitted.fit, fitted.transform, fitted.project, fitted.score):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            call(vectors)
    trained = SiGAH(8, n_steps=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        trained.partial_fit(vectors)


def test_objects_that_are_no_numbers_are_a_type_error() -> None:
    for thing in ({}, 1j, np.complex64(1), np.datetime64("2020-01-01"), np.timedelta64(1, "s")):
        some = X.astype(object)
        some[2, 1] = thing
        with pytest.raises(TypeError, match="X must hold numbers"):
            LSH(32).fit(some)


@pytest.mark.parametrize("kind", ["masked", "complex", "datetime64", "text", "torch complex"])
def test_streams_and_samples_have_the_same_door(kind: str, tmp_path: Any) -> None:
    vectors, message = REFUSED[kind]
    hasher = LSH(32, random_state=0).fit(X)
    for call in (lambda: sample(vectors, 5), lambda: sample([vectors], 5)):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            call()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        streams.encode(hasher, vectors, tmp_path / "codes.npy")


@pytest.mark.parametrize("kind", ["bfloat16", "torch bfloat16", "big-endian float32"])
def test_streams_read_what_arrays_may_hold(kind: str, tmp_path: Any) -> None:
    hasher = LSH(32, random_state=0).fit(X)
    for number, source in enumerate((READ[kind], [READ[kind][:20], READ[kind][20:]])):
        streams.encode(hasher, source, tmp_path / f"{number}.npy")
        np.testing.assert_array_equal(np.load(tmp_path / f"{number}.npy"), EXPECTED)


def test_nothing_is_copied_of_an_array(tmp_path: Any) -> None:
    assert check_rows(X) is X
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert check_rows(mapped) is mapped


def test_the_argument_is_called_what_the_caller_calls_it() -> None:
    with pytest.raises(ValueError, match="^base must hold numbers, but it holds text"):
        check_rows(X.astype(str), "base")
    check_dtype(np.uint8)
    check_dtype(torch.bfloat16)
    with pytest.raises(ValueError, match="something else"):
        check_dtype(torch.quint8)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", [1e20, -1e30, 3e38])
def test_a_value_that_would_ruin_the_training_is_named(name: str, value: float, blobs: Any) -> None:
    ruined = blobs.copy()
    ruined[77, 3] = value
    method = METHODS[name](16).set_params(**STRIPS.get(name, {}))
    with pytest.raises(ValueError, match=r"too large to compute with: .* at row 77, column 3"):
        method.fit(ruined)
    assert not hasattr(method, "n_features_in_"), "nothing is fitted"


@pytest.mark.parametrize("value", [1e15, -1e14])
@pytest.mark.parametrize("name", METHODS)
def test_the_largest_value_allowed_gives_a_finite_model_that_encodes_larger_ones(
    name: str, value: float, blobs: Any, tmp_path: Any
) -> None:
    quick = {"sigah": {"n_steps": 20}, "stochastic_generative": {"n_steps": 20}}
    few = {"scalable_graph": {"n_bases": 50, "n_iter": 1}, "spherical": {"max_iter": 5}}
    hasher = METHODS[name](16).set_params(**{**quick, **few}.get(name, {}))
    hasher.set_params(**HEADS.get(name, {}))
    extreme = blobs[:500].copy()
    extreme[77, 3] = value
    hasher.fit(extreme)
    hasher.save(tmp_path / "model")
    huge = 3e38 * np.sign(extreme[:100])
    codes = hasher.transform(huge)
    if isinstance(hasher, ScoringHasher):  # an infinite score still has a sign
        np.testing.assert_array_equal(unpack(codes), hasher.project(huge) >= 0)
    with pytest.raises(ValueError, match="too large to compute with"):
        hasher.fit(extreme * np.float32(1e6))


def test_values_too_large_to_learn_from_are_encoded(blobs: Any) -> None:
    for name, method in METHODS.items():
        if name in ("lsh", "sign", "itq", "spherical", "kmeans", "qolsh", "spectral"):
            hasher = method(16).fit(blobs)
            huge = blobs.copy()
            huge[77, 3] = 1e30
            np.testing.assert_array_equal(
                np.delete(hasher.transform(huge), 77, 0), np.delete(hasher.transform(blobs), 77, 0)
            )


@pytest.mark.parametrize("array", ["weights_", "thresholds_"])
def test_a_model_that_is_not_finite_is_not_saved(array: str, blobs: Any, tmp_path: Any) -> None:
    hasher = LSH(16, random_state=0).fit(blobs)
    getattr(hasher, array).flat[3] = np.nan
    with pytest.raises(ValueError, match=f"LSH has learned no finite {array}"):
        hasher.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_parameter_that_is_not_finite_is_not_saved(blobs: Any, tmp_path: Any) -> None:
    hasher = SiGAH(16, n_steps=1).fit(blobs).set_params(margin=np.inf)
    with pytest.raises(ValueError, match="margin must be finite, got inf"):
        hasher.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
