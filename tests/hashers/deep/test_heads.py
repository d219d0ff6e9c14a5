"""What heads have in common: training, encoding without torch, quality by labels."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from sigah import LSH, BiHalf, CroVCA, GreedyHash
from sigah.codes import unpack
from sigah.evaluation import label_average_precision
from sigah.hashers import METHODS
from sigah.hashers.deep.heads import ACTIVATIONS, TrainedHead, activate
from sigah.hashers.deep.pixels import PixelHasher
from sigah.hashers.deep.training import Training
from sigah.rows.blocks import Rows

# as many steps as make the test below hold with room to spare
STEPS: dict[str, int] = {
    "deep_hashing": 300,
    "greedy_hash": 600,
    "bi_half": 300,
    "cib_hash": 100,
    "sdc": 300,
    "crovca": 60,
}
HEADS = [
    name
    for name, method in METHODS.items()
    if issubclass(method, TrainedHead) and not issubclass(method, PixelHasher)
]
# in few steps TBH learns nothing and DBDMQ too little; the loss of DeepBit keeps no similarities
EXCUSED = ("tbh", "deep_bit", "dbd_mq")


def started(X: Any, **settings: Any) -> Training:
    asked: dict[str, Any] = {"n_steps": 10, "batch_size": 32, "device": "cpu", "verbose": False}
    return Training(Rows(X), np.random.RandomState(0), title="Test", **asked | settings)


# ----------------------------------------------------------------- quality


@pytest.fixture(scope="module")
def labelled() -> Any:
    """2,000 images to learn from and search in, 300 to search with, and the labels of both."""
    from sigah.lab import datasets

    split = datasets.load("mnist")
    assert split.base_labels is not None
    images, labels = np.asarray(split.base[:2300], np.float32), split.base_labels[:2300]
    images = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)
    return images[:2000], images[2000:], labels[:2000], labels[2000:]


def label_map(hasher: Any, labelled: Any) -> float:
    base, queries, *labels = labelled
    codes = hasher.fit(base).transform(base), hasher.transform(queries)
    return float(label_average_precision(*codes, *labels, depth=200).mean())


@pytest.fixture(scope="module")
def random_signs(labelled: Any) -> float:
    return max(label_map(LSH(32, random_state=seed), labelled) for seed in range(3))


@pytest.mark.parametrize("name", [name for name in HEADS if name not in EXCUSED])
def test_heads_find_labels_better_than_random_signs(
    name: str, labelled: Any, random_signs: float
) -> None:
    hasher = METHODS[name](32).set_params(n_steps=STEPS[name], random_state=0)
    assert label_map(hasher, labelled) > random_signs + 0.05
    first, last = hasher.history_[0], hasher.history_[-1]
    assert last["step"] == STEPS[name]
    assert last["loss"] < first["loss"]


# ---------------------------------------------------------------- encoding


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_torchs(name: str) -> None:
    u = np.concatenate([np.linspace(-30, 30, 1001), [-1e30, -1e3, 0.0, 1e3, 1e30]])
    kind = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    }[name]
    expected = kind(torch.from_numpy(u[:1001])).numpy()
    np.testing.assert_allclose(activate(name, u)[:1001], expected, rtol=1e-9, atol=1e-12)
    assert np.isfinite(activate(name, u)).all()


def test_centring_scaling_and_normalisation_are_folded_in(blobs: Any) -> None:
    """Scores without torch are the logits of the trained network, as it normalises new vectors."""
    training = started(blobs)
    layers = training.linear(24, 10), training.linear(10, 16)
    norm = training.norm(16)
    with torch.no_grad():
        for values in (norm.running_mean, norm.weight, norm.bias):
            assert values is not None
            values.copy_(training.uniform(16) - 0.5)
        assert norm.running_var is not None
        norm.running_var.copy_(training.uniform(16) + 0.5)
        x = training.vectors(np.arange(100))
        expected = norm.eval()(layers[1](torch.relu(layers[0](x)))).numpy()
    hasher = CroVCA(16)
    training.history.append({"step": 1, "loss": 0.0})
    hasher._keep(training, list(layers), norm)
    hasher.n_features_in_ = 24
    np.testing.assert_allclose(hasher.project(blobs[:100]), expected, atol=1e-5)


def test_features_in_a_narrow_cone_do_not_collapse(blobs: Any) -> None:
    """GreedyHash on vectors whose cosines all lie above .99, as after ReLU."""
    narrow = np.abs(blobs) + 100
    unit = narrow / np.linalg.norm(narrow, axis=1, keepdims=True)
    assert (unit[:200] @ unit[:200].T).min() > 0.99
    hasher = GreedyHash(16, n_steps=300, random_state=0).fit(narrow)
    bits = unpack(hasher.transform(narrow))
    assert bits.mean(axis=0).min() > 0.1
    assert bits.mean(axis=0).max() < 0.9
    assert len(np.unique(bits, axis=0)) > 50


def test_the_median_keeps_every_bit_at_one_half(blobs: Any) -> None:
    odd = blobs**2  # skewed: signs alone are not balanced
    signs, halves = (
        unpack(BiHalf(16, n_steps=5, threshold=name, random_state=0).fit_transform(odd))
        for name in ("zero", "median")
    )
    np.testing.assert_allclose(halves.mean(axis=0), 0.5, atol=0.002)
    assert np.abs(signs.mean(axis=0) - 0.5).max() > 0.02


# ---------------------------------------------------------------- training


def test_vectors_are_centred_and_have_unit_mean_variance(blobs: Any) -> None:
    x = started(7 * blobs + 3).vectors(np.arange(len(blobs))).numpy()
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-4)
    assert x.var(axis=0).mean() == pytest.approx(1, abs=1e-4)


def test_neighbours_are_the_nearest_others_by_cosine(blobs: Any) -> None:
    training = started(blobs[:700])
    found = training.nearest(5)
    x = training.vectors(np.arange(700)).numpy().astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = x @ x.T
    np.fill_diagonal(cosines, -2)
    expected = np.sort(cosines, axis=1)[:, ::-1][:, :5]
    np.testing.assert_allclose(np.take_along_axis(cosines, found, axis=1), expected, atol=1e-5)


def test_neighbours_among_few_rows(blobs: Any) -> None:
    np.testing.assert_array_equal(np.sort(started(blobs[:3]).nearest(10)), [[1, 2], [0, 2], [0, 1]])
    np.testing.assert_array_equal(started(blobs[:1]).nearest(10), [[0]])


def test_neighbours_are_drawn_from_a_sample_of_the_rows(blobs: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("sigah.hashers.deep.training.CANDIDATES", 50)
    found = started(blobs).nearest(10)
    assert len(np.unique(found)) <= 50
    assert (found != np.arange(len(blobs))[:, None]).all()


def test_the_second_view_is_a_neighbour(blobs: Any) -> None:
    training = started(blobs[:100])
    neighbors = np.stack([np.arange(100), np.arange(100)[::-1]], axis=1)
    x = training.vectors(np.arange(100))
    layer = training.linear(24, 1)
    seen = []

    def loss(first: torch.Tensor, second: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = [int((x == row).all(dim=1).nonzero()[0]) for row in first]
        others = [int((x == row).all(dim=1).nonzero()[0]) for row in second]
        seen.extend(zip(rows, others, strict=True))
        return {"zero": 0 * layer(first).sum()}

    training.run(loss, torch.optim.SGD(layer.parameters(), 0.1), neighbors=neighbors)
    assert all(other in (row, 99 - row) for row, other in seen)
    assert len({row == other for row, other in seen}) == 2, "both of its neighbours are drawn"


def test_the_rate_follows_its_schedule(blobs: Any) -> None:
    """Plain descent of a linear loss moves the bias by the rate of each step."""
    training = started(blobs, n_steps=4)
    layer = training.linear(24, 1)
    start = float(layer.bias.detach())
    training.run(
        lambda x: {"bias": layer.bias.sum()},
        torch.optim.SGD([layer.bias], 0.5),
        rate=lambda done: 0.1**done,
    )
    moved = start - float(layer.bias.detach())
    assert moved == pytest.approx(0.5 * sum(0.1 ** (step / 4) for step in range(4)))


def test_training_that_diverges_says_so(blobs: Any) -> None:
    with pytest.raises(ValueError, match=re.escape("training of GreedyHash diverged")):
        GreedyHash(16, learning_rate=1e6, n_steps=100, random_state=0).fit(blobs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_gpu_that_is_not_there_is_missed(blobs: Any) -> None:
    with pytest.raises(ValueError, match="torch finds no GPU"):
        GreedyHash(16, device="cuda").fit(blobs)


def test_the_authors_passes_depend_on_the_length() -> None:
    assert GreedyHash(16)._default_steps() == 58_594
    assert GreedyHash(24)._default_steps() == 11_719
