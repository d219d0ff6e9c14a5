"""A hasher is an estimator: for scikit-learn, without it, and after anything that stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

import sigah
from quick_heads import HEADS
from sigah import ITQ, LSH, SiGAH
from sigah.checks import plain
from sigah.hashers import METHODS, TrainingInterrupted

QUICK: dict[str, dict[str, Any]] = {
    **HEADS,
    "sigah": {"n_steps": 3},
    "stochastic_generative": {"n_steps": 3},
    "ordinal_constrained": {"max_iter": 2, "n_anchors": 30},
    "anchor_graph": {"n_anchors": 30},
    "discrete_graph": {"n_anchors": 30, "max_iter": 2},
    "scalable_graph": {"n_bases": 50, "n_iter": 1},
    "spherical": {"max_iter": 3},
    "binary_autoencoder": {"n_iter": 1},
}
NUMPY_ALONE = ("itq", "pca_rotation", "binary_autoencoder", "kmeans", "spherical", "spectral")
NUMPY_ALONE += ("lsh", "qolsh", "sign")


def quick(name: str) -> Any:
    hasher = METHODS[name](16).set_params(**QUICK.get(name, {}))
    if "random_state" in hasher.get_params():
        hasher.set_params(random_state=0)
    return hasher


# ------------------------------------------------------------ without scikit-learn

HEAVY = ("sklearn", "scipy", "torch", "joblib")
REFUSE = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refuse())
"""


def python(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_serving_loads_no_heavy_library(tmp_path: Path, blobs: Any) -> None:
    np.save(tmp_path / "x.npy", blobs[:9])
    for name in METHODS:
        quick(name).fit(blobs[:300]).save(tmp_path / name)
    script = f"""
import sys, numpy as np, sigah
X = np.load(sys.argv[1])
for file in sys.argv[2:]:
    hasher = sigah.load(file)
    codes = hasher.transform(X)
    if hasattr(hasher, "project"):
        hasher.project(X)
    if hasattr(hasher, "reconstruct"):
        hasher.reconstruct(codes), hasher.score(X)
    repr(hasher), hasher.get_params(), hasher.fingerprint, hasher.get_feature_names_out()
loaded = {{name.partition(".")[0] for name in sys.modules}} & set({HEAVY})
assert not loaded, loaded
"""
    python(script, tmp_path / "x.npy", *(tmp_path / name for name in METHODS))


def test_what_can_be_learned_without_extras(tmp_path: Path, blobs: Any) -> None:
    """The same codes without the libraries of sigah[train], or one line that names it."""
    np.save(tmp_path / "x.npy", blobs[:300])
    script = f"""{REFUSE}
import json, numpy as np
from sigah.hashers import METHODS
from sigah.extras import MissingLibraryError
X, settings = np.load(sys.argv[1]), json.loads(sys.argv[2])
for name, method in METHODS.items():
    hasher = method(16).set_params(**settings.get(name, {{}}))
    if "random_state" in hasher.get_params():
        hasher.set_params(random_state=0)
    try:
        print(name, hasher.fit(X).fingerprint)
    except MissingLibraryError as error:
        print(name, error)
"""
    import json

    lines = python(script, tmp_path / "x.npy", json.dumps(QUICK)).splitlines()
    found = dict(line.split(" ", 1) for line in lines)
    assert set(found) == set(METHODS)
    for name, result in found.items():
        if name in NUMPY_ALONE:
            assert result == quick(name).fit(blobs[:300]).fingerprint, name
        else:
            assert result.endswith("which is not installed: pip install 'sigah[train]'"), result


def test_not_fitted_without_scikit_learn_is_a_value_error() -> None:
    python(
        f"{REFUSE}\nimport sigah\n"
        "try:\n    sigah.LSH(64).transform([[1.0]])\n"
        "except ValueError as error:\n    assert 'not fitted yet' in str(error)\n"
        "    assert isinstance(error, AttributeError)\n"
        "else:\n    raise AssertionError\n"
    )


# --------------------------------------------------------------- with scikit-learn


def test_scikit_learn_sees_an_estimator(blobs: Any) -> None:
    hasher = LSH(64, random_state=0)
    with pytest.raises(NotFittedError):
        check_is_fitted(hasher)
    check_is_fitted(hasher.fit(blobs))
    copy = clone(hasher)
    assert copy.get_params() == hasher.get_params()
    with pytest.raises(NotFittedError):
        copy.transform(blobs)
    assert repr(hasher) == "LSH(random_state=0)"
    assert repr(SiGAH(32, pair=0)) == "SiGAH(n_bits=32, pair=0)"
    with pytest.raises(ValueError, match="Invalid parameter 'bits' for estimator LSH"):
        hasher.set_params(bits=8)


def test_pipelines_and_searches(blobs: Any) -> None:
    labels = blobs[:, 0] > 3
    pipeline = make_pipeline(StandardScaler(), ITQ(8, random_state=0), LogisticRegression())
    assert pipeline.fit(blobs, labels).score(blobs, labels) > 0.6
    search = GridSearchCV(pipeline, {"itq__n_bits": np.array([8, 16])}, cv=2)
    assert search.fit(blobs, labels).best_params_["itq__n_bits"] in (8, 16)
    assert "ITQ" in pipeline._repr_html_()


def test_output_as_a_table(blobs: Any) -> None:
    pandas = pytest.importorskip("pandas")
    hasher = ITQ(16, random_state=0).fit(blobs)
    codes = hasher.transform(blobs)
    table = hasher.set_output(transform="pandas").transform(blobs)
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == ["itq0", "itq1"]
    np.testing.assert_array_equal(table.to_numpy(), codes)
    assert isinstance(hasher.fit_transform(blobs), pandas.DataFrame)
    assert isinstance(hasher.set_output(transform="default").transform(blobs), np.ndarray)


def test_names_of_columns_are_kept_and_compared(blobs: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(blobs, columns=[f"c{i}" for i in range(24)])
    hasher = LSH(16, random_state=0).fit(table)
    np.testing.assert_array_equal(
        hasher.transform(table), LSH(16, random_state=0).fit_transform(blobs)
    )
    hasher.save(tmp_path / "model")
    for some in (hasher, sigah.load(tmp_path / "model")):
        assert list(some.feature_names_in_) == list(table.columns)
        with pytest.raises(ValueError, match="(?s)unseen at fit time.*- x.*now missing.*- c3"):
            some.transform(table.rename(columns={"c3": "x"}))
        with pytest.raises(ValueError, match="same order"):
            some.transform(table[table.columns[::-1]])
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            some.transform(blobs)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        hasher.fit(blobs).transform(table)
    with pytest.raises(TypeError, match="string names"):
        hasher.fit(table.rename(columns={"c3": 3}))


# --------------------------------------------------------------------- parameters


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["scalar", "array"])
def test_numpy_scalars_are_as_good_as_pythons(
    name: str, kind: str, blobs: Any, tmp_path: Path
) -> None:
    hasher = quick(name)
    expected = clone(hasher).fit(blobs[:300])
    numpy_s = {
        key: np.asarray(value) if kind == "array" else np.asarray(value)[()]
        for key, value in hasher.get_params().items()
        if value is not None
    }
    hasher.set_params(**numpy_s).fit(blobs[:300])
    assert hasher.fingerprint == expected.fingerprint
    assert hasher.get_params() == expected.get_params()
    assert {type(value).__module__ for value in hasher.get_params().values()} == {"builtins"}
    hasher.set_params(**numpy_s).save(tmp_path / "model")
    loaded = sigah.load(tmp_path / "model")
    assert loaded.get_params() == expected.get_params()
    assert loaded.fingerprint == hasher.fingerprint == expected.fingerprint
    np.testing.assert_array_equal(hasher.transform(blobs), expected.transform(blobs))


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64])
def test_whole_numbers_of_any_width(dtype: Any, blobs: Any) -> None:
    assert LSH(dtype(64), random_state=dtype(3)).fit(blobs).get_params() == {
        "metric": "l2",
        "n_bits": 64,
        "random_state": 3,
    }


def test_a_search_over_an_array_of_values_ends_in_a_model_that_can_be_saved(
    blobs: Any, tmp_path: Path
) -> None:
    search = GridSearchCV(ITQ(random_state=0), {"n_bits": np.array([8, 16])}, cv=2).fit(blobs)
    search.best_estimator_.save(tmp_path / "model")
    assert sigah.load(tmp_path / "model").n_bits == 16
    grid = {"activation": np.array(["relu", "tanh"]), "pair": np.array([0, 0.1], np.float32)}
    search = GridSearchCV(SiGAH(8, n_steps=2), grid, cv=2).fit(blobs[:100])
    search.best_estimator_.save(tmp_path / "other")


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "7", True, np.random.default_rng(0)])
def test_a_seed_that_is_none_is_named(seed: Any, blobs: Any) -> None:
    with pytest.raises(ValueError, match="random_state must be None, a RandomState or a whole"):
        LSH(16, random_state=seed).fit(blobs)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("tight"), "tight"),
        (np.array(7), 7),
        (None, None),
        ("x", "x"),
    ],
)
def test_plain_values(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "value",
    [np.nan, np.inf, 1e308, 10**400, 2**70, -1, "x", 1j, np.array([1, 2]), [1]],
    ids=["nan", "inf", "1e308", "10^400", "2^70", "-1", "text", "complex", "array", "list"],
)
def test_a_value_that_makes_no_sense_is_refused_by_the_name_of_its_parameter(
    name: str, value: Any, blobs: Any
) -> None:
    """Whatever the parameter: no overflow, no model of infinities, no message from the depths."""
    for parameter in quick(name).get_params():
        hasher = quick(name).set_params(**{parameter: value})
        with pytest.raises(ValueError, match=parameter) as caught:
            hasher.fit(blobs[:300])
        assert len(str(caught.value)) < 700


# ------------------------------------------------- errors, interruptions and memory


class Stops:
    """A source that raises after a number of slices."""

    def __init__(self, array: Any, error: BaseException, after: int) -> None:
        self.array, self.error, self.after = array, error, after
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, key: slice) -> Any:
        self.after -= 1
        if self.after < 0:
            raise self.error
        return self.array[key]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the disk is gone")])
def test_what_stops_a_fit_gets_out_and_leaves_the_hasher_as_it_was(
    name: str, error: BaseException, blobs: Any
) -> None:
    hasher = quick(name).fit(blobs[:300])
    codes, fingerprint = hasher.transform(blobs), hasher.fingerprint
    once = name in ("sigah", "stochastic_generative", "lsh", "sign", *HEADS)  # read a source once
    for after in (0,) if once else (0, 1):
        for some in (hasher, clone(hasher)):
            with pytest.raises(type(error)):
                some.fit(Stops(blobs[:400] * 2, error, after))
            if some is hasher:
                np.testing.assert_array_equal(some.transform(blobs), codes)
                assert some.fingerprint == fingerprint
            else:
                with pytest.raises(NotFittedError):
                    some.transform(blobs)


@pytest.mark.slow
def test_one_ctrl_c_stops_a_loop_over_fits(tmp_path: Path) -> None:
    """And what was being learned can be used by whoever catches it."""
    script = f"""
import numpy as np, sigah, sys
X = np.random.default_rng(0).normal(size=(500, 16)).astype("float32")
for n_fit in range(1000):
    hasher = sigah.SiGAH(16, n_steps=100_000, random_state=0, verbose=True)
    try:
        hasher.fit(X)
    except KeyboardInterrupt:
        assert hasher.training_["interrupted"] and hasher.transform(X).shape == (500, 2)
        hasher.save({str(tmp_path / "model")!r})
        print("stopped in fit", n_fit)
        sys.exit(130)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "200"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        seen = b""
        while b"nei " not in seen:  # the bar shows loss terms: training has begun
            seen += (part := process.stderr.read1())
            assert part, f"it ended too early: {seen.decode()}"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, b"stopped in fit 0\n")
    assert sigah.load(tmp_path / "model").training_["interrupted"]


def test_partial_fit_is_stopped_too(blobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sigah.hashers import sigah_training

    hasher = SiGAH(16, n_steps=100, random_state=0).fit(blobs)
    steps = len(hasher.history_)
    real = sigah_training.Trainer.step
    calls = iter(range(60))

    def step(self: Any, x: Any) -> dict[str, float]:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return real(self, x)

    monkeypatch.setattr(sigah_training.Trainer, "step", step)
    with pytest.raises(TrainingInterrupted, match="training ended after 6[01] steps"):
        hasher.partial_fit(blobs, n_steps=200)
    assert hasher.training_["interrupted"]
    assert hasher.training_["continued"]
    assert len(hasher.history_) == steps + 1
    assert np.isfinite(hasher.reconstruct(hasher.transform(blobs))).all()
