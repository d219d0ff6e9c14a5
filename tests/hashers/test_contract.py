"""What every method promises: scikit-learn's checks and the shared contract."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

import sigah
from sigah import BinaryHasher, SiGAH
from sigah.codes import unpack
from sigah.hashers import METHODS, DecoderMixin, ScoringHasher
from sigah.rows.blocks import Rows

QUICK: dict[str, dict[str, Any]] = {
    "sigah": {"n_steps": 20},
    "stochastic_generative": {"n_steps": 50},
    "ordinal_constrained": {"max_iter": 20},
    "scalable_graph": {"n_bases": 100, "n_iter": 1},
    "kmeans": {"n_samples": 1000},  # a sample is all that its seed draws
}
QUICKER: dict[str, dict[str, Any]] = {
    "sigah": {"n_steps": 2},
    "stochastic_generative": {"n_steps": 2},
}


def make(name: str, n_bits: int, settings: dict[str, dict[str, Any]]) -> BinaryHasher:
    hasher = METHODS[name](n_bits).set_params(**settings.get(name, {}))
    return hasher.set_params(random_state=0) if is_random(hasher) else hasher


def is_random(hasher: BinaryHasher) -> bool:
    return "random_state" in hasher.get_params()


@pytest.fixture(params=[*METHODS, "sigah.paper"])
def hasher(request: pytest.FixtureRequest) -> BinaryHasher:
    if request.param == "sigah.paper":
        return SiGAH.paper(16, n_steps=20, random_state=0)
    return make(request.param, 16, QUICK)


def lift_matrix(dim: int) -> Any:
    return np.random.RandomState(0).standard_normal((dim, 32))


def lift(block: Any) -> Any:
    return (block @ lift_matrix(block.shape[1])).astype(np.float32)


class LiftedScores:
    """A method behind a fixed lift to 32 dimensions.

    scikit-learn's checks use data of 1 to 10 dimensions, of which some methods refuse to make 8
    bits. The lift lets every check reach the real code.
    """

    exceeds_dimension = True

    def _fit(self, rows: Any, random_state: np.random.RandomState) -> None:
        super()._fit(
            Rows(np.concatenate([lift(block) for _, block in rows.blocks()])), random_state
        )

    def _scores(self, block: Any) -> Any:
        return super()._scores(lift(block))

    def _decode(self, code_signs: Any) -> Any:
        return super()._decode(code_signs) @ np.linalg.pinv(lift_matrix(self.n_features_in_))


class LiftedBits(LiftedScores):
    """The same for methods without scores."""

    def _bits(self, block: Any) -> Any:
        return super(LiftedScores, self)._bits(lift(block))


def checked(name: str) -> BinaryHasher:
    method = METHODS[name]
    if not method.exceeds_dimension:
        kind = LiftedScores if issubclass(method, ScoringHasher) else LiftedBits
        method = type(f"Lifted{method.__name__}", (kind, method), {"__module__": __name__})
        globals()[method.__name__] = method  # where pickle looks for it
    return method(8).set_params(**QUICKER.get(name, {}))


CHECKED = {name: checked(name) for name in METHODS}
CHECKED["sigah.paper"] = SiGAH.paper(8, n_steps=2)


@pytest.mark.parametrize("name", CHECKED)
def test_scikit_learn_checks_pass_without_exception(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's own, about what its checks skip
        check_estimator(CHECKED[name])


def test_transform_packs_the_signs_of_project(hasher: BinaryHasher, blobs: Any) -> None:
    codes = hasher.fit(blobs).transform(blobs)
    assert codes.dtype == np.uint8
    assert codes.shape == (len(blobs), 2)
    if isinstance(hasher, ScoringHasher):
        np.testing.assert_array_equal(unpack(codes), hasher.project(blobs) >= 0)
    else:
        np.testing.assert_array_equal(unpack(codes), hasher._bits(blobs))


def test_a_vector_has_one_code_alone_and_in_any_batch(hasher: BinaryHasher, blobs: Any) -> None:
    hasher.fit(blobs)
    whole = hasher.transform(blobs)
    for size in (1, 7, 500):
        blocks = [hasher.transform(blobs[i : i + size]) for i in range(0, 500, size)]
        np.testing.assert_array_equal(np.concatenate(blocks)[:500], whole[:500])
    copies = hasher.transform(np.repeat(blobs[:3], 50, axis=0))
    np.testing.assert_array_equal(copies, np.repeat(whole[:3], 50, axis=0))


def test_same_seed_same_codes(hasher: BinaryHasher, blobs: Any) -> None:
    codes = clone(hasher).fit(blobs).transform(blobs)
    np.testing.assert_array_equal(clone(hasher).fit(blobs).transform(blobs), codes)
    if is_random(hasher):
        other = clone(hasher).set_params(random_state=1).fit(blobs).transform(blobs)
        assert (other != codes).any()


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int16, np.uint8])
def test_every_number_type_is_read(hasher: BinaryHasher, blobs: Any, dtype: Any) -> None:
    rounded = np.clip(np.round(10 * blobs), 0, 255)
    typed = hasher.fit(rounded.astype(dtype)).transform(rounded.astype(dtype))
    same = clone(hasher).fit(rounded.astype(np.float32)).transform(rounded.astype(np.float32))
    np.testing.assert_array_equal(typed, same)


class Slices:
    """A foreign source: a shape, a dtype and row slices, like HDF5 or Zarr."""

    def __init__(self, array: Any) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, key: slice) -> Any:
        assert isinstance(key, slice), "only slices are promised"
        return self._array[key]


def test_memory_maps_and_foreign_sources_equal_arrays(
    hasher: BinaryHasher, blobs: Any, tmp_path: Path
) -> None:
    expected = clone(hasher).fit(blobs).transform(blobs)
    np.save(tmp_path / "x.npy", blobs)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for source in (mapped, Slices(blobs)):
        np.testing.assert_array_equal(clone(hasher).fit(source).transform(source), expected)


def test_saved_and_loaded_is_the_same_model(
    hasher: BinaryHasher, blobs: Any, tmp_path: Path
) -> None:
    hasher.fit(blobs).save(tmp_path / "model")
    loaded = sigah.load(tmp_path / "model")
    assert type(loaded) is type(hasher)
    assert loaded.get_params() == hasher.get_params()
    assert loaded.fingerprint == hasher.fingerprint
    codes = hasher.transform(blobs)
    np.testing.assert_array_equal(loaded.transform(blobs), codes)
    if hasattr(hasher, "reconstruct"):
        np.testing.assert_array_equal(loaded.reconstruct(codes), hasher.reconstruct(codes))
    unpickled = pickle.loads(pickle.dumps(hasher))
    np.testing.assert_array_equal(unpickled.transform(blobs), codes)


def test_fingerprints_tell_models_apart(hasher: BinaryHasher, blobs: Any) -> None:
    first = clone(hasher).fit(blobs).fingerprint
    assert clone(hasher).fit(blobs).fingerprint == first
    other = clone(hasher).set_params(random_state=1) if is_random(hasher) else clone(hasher)
    assert other.fit(blobs if is_random(hasher) else 1 - blobs).fingerprint != first


def test_score_is_the_negative_error_of_the_binary_codes(hasher: BinaryHasher, blobs: Any) -> None:
    if not isinstance(hasher, DecoderMixin):
        assert not hasattr(hasher, "score")
        return
    hasher.fit(blobs)
    decoded = hasher.reconstruct(hasher.transform(blobs))
    assert decoded.dtype == np.float32
    error = np.square(blobs - decoded).sum(axis=1).mean()
    assert hasher.score(blobs) == pytest.approx(-error, rel=1e-4)


def test_constant_columns_change_no_code(hasher: BinaryHasher, blobs: Any) -> None:
    padded = np.hstack([blobs, np.full((len(blobs), 3), 7, np.float32)])
    codes = hasher.fit(padded).transform(padded)
    assert len(np.unique(codes, axis=0)) >= 20, "as many as there are clusters"


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_codes_do_not_depend_on_units(hasher: BinaryHasher, blobs: Any, scale: float) -> None:
    if hasher.name in ("anchor_graph", "discrete_graph"):
        # eigenvectors of separate clusters share an eigenvalue: rounding picks among them
        blobs = blobs[:1] + np.random.default_rng(0).normal(size=blobs.shape) * 0.8 ** np.arange(24)
        blobs = blobs.astype(np.float32)
    codes = clone(hasher).fit(blobs).transform(blobs)
    scaled = (blobs * np.float32(scale)).astype(np.float32)
    other = clone(hasher).fit(scaled).transform(scaled)
    # training rounds differently at another scale; a learned bit may move a little
    assert np.mean(unpack(codes) != unpack(other)) < 0.05


BAD_FITS: dict[str, tuple[Any, str]] = {
    "empty": (np.empty((0, 24)), "0 sample"),
    "no columns": (np.empty((24, 0)), "0 feature"),
    "one dimension": (np.zeros(24), "2D array"),
    "three dimensions": (np.zeros((30, 4, 6)), "dim 3"),
    "text": (np.full((30, 24), "seven"), "numeric|convert"),
    "nan": (np.full((30, 24), np.nan), "row 0, column 0"),
    "too large": (np.full((30, 24), 1e300), "too large for float32"),
    "complex": (np.ones((30, 24), complex), "[Cc]omplex"),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_bad_training_data_is_named(hasher: BinaryHasher, case: str) -> None:
    X, message = BAD_FITS[case]
    with pytest.raises(ValueError, match=message):
        hasher.fit(X)


@pytest.mark.parametrize("where", [(17, 3), (1999, 23)])
def test_the_place_of_an_infinity_is_named(
    hasher: BinaryHasher, blobs: Any, where: tuple[int, int]
) -> None:
    broken = blobs.copy()
    broken[where] = np.inf
    with pytest.raises(ValueError, match=f"row {where[0]}, column {where[1]}"):
        hasher.fit(broken)
    with pytest.raises(ValueError, match=f"row {where[0]}, column {where[1]}"):
        hasher.fit(blobs).transform(broken)


@pytest.mark.parametrize("n_bits", [0, -8, 12, 8.0, "64", None, True])
def test_impossible_code_lengths_are_refused(hasher: BinaryHasher, blobs: Any, n_bits: Any) -> None:
    with pytest.raises(ValueError, match="n_bits must be"):
        hasher.set_params(n_bits=n_bits).fit(blobs)


def test_wrong_dimension_is_named(hasher: BinaryHasher, blobs: Any) -> None:
    hasher.fit(blobs)
    with pytest.raises(ValueError, match="23 features.*24 features"):
        hasher.transform(blobs[:, :23])


def test_wrong_codes_are_refused(hasher: BinaryHasher, blobs: Any) -> None:
    if not isinstance(hasher, DecoderMixin):
        assert not hasattr(hasher, "reconstruct")
        return
    hasher.fit(blobs)
    with pytest.raises(ValueError, match="32 bits, expected 16"):
        hasher.reconstruct(np.zeros((3, 4), np.uint8))
    with pytest.raises(ValueError, match="packed bytes"):
        hasher.reconstruct(np.zeros((3, 16)))


def test_nothing_works_before_fit(hasher: BinaryHasher, blobs: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        hasher.transform(blobs)
    with pytest.raises(NotFittedError):
        hasher.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_more_bits_than_dimensions(hasher: BinaryHasher, blobs: Any) -> None:
    hasher.set_params(n_bits=48)
    if hasher.exceeds_dimension:
        bits = unpack(hasher.fit(blobs).transform(blobs))
        assert len(np.unique(bits.T, axis=0)) == 48, "every bit is a hash function of its own"
    else:
        with pytest.raises(ValueError, match="more bits than the vectors have dimensions"):
            hasher.fit(blobs)


def test_fewer_rows_than_bits(hasher: BinaryHasher, blobs: Any) -> None:
    if hasher.min_rows_per_bit:
        needed = 16 * hasher.min_rows_per_bit
        with pytest.raises(ValueError, match=f"at least {needed} rows"):
            hasher.fit(blobs[: needed - 1])
    else:
        assert hasher.fit(blobs[:15]).transform(blobs[:15]).shape == (15, 2)


def test_output_columns_have_names(hasher: BinaryHasher, blobs: Any) -> None:
    assert len(hasher.fit(blobs).get_feature_names_out()) == 2
