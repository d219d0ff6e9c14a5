from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

import sigah
from quick_heads import STRIPS, quickly
from sigah.hashers import METHODS, BinaryHasher, DecoderMixin, LinearHasher
from sigah.hashers.deep.heads import TrainedHead
from sigah.hashers.registry import make_hasher
from sigah.onnx import export_decoder, export_encoder

ENCODERS = [name for name in METHODS if name != "qolsh"]
DECODERS = [name for name, method in METHODS.items() if issubclass(method, DecoderMixin)]
QUICK = {"sigah": ["n_steps=30"], "binary_autoencoder": ["n_iter=2"]} | {
    "stochastic_generative": ["n_steps=50"],
    "ordinal_constrained": ["max_iter=5"],
    "anchor_graph": ["n_anchors=60"],
    "discrete_graph": ["n_anchors=60"],
    "scalable_graph": ["n_bases=60"],
}


def run(path: Path, rows: NDArray[Any]) -> NDArray[Any]:
    """The graph's answer, by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    (name,) = (each.name for each in session.get_inputs())
    (answer,) = session.run(None, {name: rows})
    return np.asarray(answer)


def fitted(name: str, vectors: NDArray[np.float32], n_bits: int = 24) -> BinaryHasher:
    hasher = make_hasher(name, n_bits, 0, QUICK.get(name, []))
    if isinstance(hasher, TrainedHead):
        hasher.set_params(n_steps=5, **STRIPS.get(name, {}))
    if name == "tbh":
        hasher.set_params(learning_rate=1e-4)  # the first steps of 1e-3 make some bits constant
    return hasher.fit(vectors)


def at_thresholds(hasher: BinaryHasher, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each vector moved onto the threshold of a bit, up to the rounding of float32."""
    assert isinstance(hasher, LinearHasher)
    weights = hasher.weights_.astype(np.float64)
    bits = np.arange(len(vectors)) % hasher.n_bits
    normals = weights.T[bits]
    scores = np.einsum("ij,ij->i", vectors, normals) - hasher.thresholds_[bits]
    moved = vectors - (scores / np.square(normals).sum(axis=1))[:, None] * normals
    return moved.astype(np.float32)


@pytest.mark.parametrize("name", quickly(ENCODERS))
def test_encoders_give_the_same_bits(name: str, blobs: NDArray[np.float32], tmp_path: Path) -> None:
    hasher = fitted(name, blobs[:1000])
    export_encoder(hasher, tmp_path / "encoder.onnx")
    codes = run(tmp_path / "encoder.onnx", blobs)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, hasher.transform(blobs))
    assert len(np.unique(codes, axis=0)) > 20
    for some in (blobs[:0], blobs[:1], blobs[::-7]):
        np.testing.assert_array_equal(
            run(tmp_path / "encoder.onnx", some),
            hasher.transform(some) if len(some) else np.empty((0, 3), np.uint8),
        )


@pytest.mark.parametrize("name", ["itq", "sign", "spherical", "spectral", "kmeans"])
def test_graphs_scale_vectors_to_unit_length_by_cosine(
    name: str, blobs: NDArray[np.float32], tmp_path: Path
) -> None:
    hasher = make_hasher(name, 24, 0, metric="cosine").fit(blobs[:1000])
    export_encoder(hasher, tmp_path / "encoder.onnx")
    factors = np.random.default_rng(0).uniform(1e-3, 1e3, size=(len(blobs), 1))
    rows = np.vstack([blobs, blobs * factors, np.zeros((1, 24))]).astype(np.float32)
    codes = run(tmp_path / "encoder.onnx", rows)
    np.testing.assert_array_equal(codes, hasher.transform(rows))
    properties = {e.key: e.value for e in onnx.load(tmp_path / "encoder.onnx").metadata_props}
    assert properties["metric"] == "cosine"
    if isinstance(hasher, DecoderMixin):
        export_decoder(hasher, tmp_path / "decoder.onnx")
        rebuilt = run(tmp_path / "decoder.onnx", codes)
        np.testing.assert_allclose(rebuilt, hasher.reconstruct(codes), atol=1e-5)


def across_borders(
    hasher: BinaryHasher, some: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Vectors between pairs, on both sides of where the code of the first one ends."""
    codes = hasher.transform(some)
    low, high = np.zeros((len(some), 1)), np.ones((len(some), 1))
    for _ in range(35):
        middle = (low + high) / 2
        same = (hasher.transform(between(some, others, middle)) == codes).all(axis=1)[:, None]
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    steps = np.arange(-5, 6) * 1e-8
    return np.concatenate([between(some, others, low + step) for step in steps])


def between(
    some: NDArray[np.float32], others: NDArray[np.float32], share: NDArray[np.float64]
) -> NDArray[np.float32]:
    return (some + share * (others.astype(np.float64) - some)).astype(np.float32)


@pytest.mark.parametrize("name", quickly(ENCODERS))
def test_vectors_at_the_border_of_a_code_get_the_same_bits(
    name: str, blobs: NDArray[np.float32], tmp_path: Path
) -> None:
    hasher = fitted(name, blobs[:1000])
    near = across_borders(hasher, blobs[:500], blobs[-500:])
    export_encoder(hasher, tmp_path / "encoder.onnx")
    codes = hasher.transform(near)
    np.testing.assert_array_equal(run(tmp_path / "encoder.onnx", near), codes)
    sides = codes.reshape(11, 500, -1)
    assert (sides != sides[0]).any(axis=(0, 2)).mean() > 0.9  # the borders were met


def test_sixty_thousand_images_and_those_at_a_threshold(tmp_path: Path) -> None:
    from sigah.lab import datasets

    images = datasets.load("mnist").base
    hasher = sigah.ITQ(64, n_iter=5, random_state=0).fit(images[:5000])
    export_encoder(hasher, tmp_path / "encoder.onnx")
    np.testing.assert_array_equal(run(tmp_path / "encoder.onnx", images), hasher.transform(images))
    near = at_thresholds(hasher, images[:10000])
    np.testing.assert_array_equal(run(tmp_path / "encoder.onnx", near), hasher.transform(near))
    # the material is what it claims: a float32 product errs on it
    single = near @ hasher.weights_ - hasher.thresholds_.astype(np.float32) >= 0
    assert (np.packbits(single, axis=1) != hasher.transform(near)).any()


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-42, 0.0, 1e15])
def test_scores_of_exactly_zero_and_of_all_sizes(scale: float, tmp_path: Path) -> None:
    hasher = sigah.LSH(16, random_state=0).fit(np.ones((10, 8), np.float32))
    random = np.random.default_rng(0)
    hasher.weights_ = (random.integers(-2, 3, (8, 16)) * min(scale, 1)).astype(np.float32)
    hasher.thresholds_ = np.zeros(16)
    X = (random.integers(-3, 4, (500, 8)) * scale).astype(np.float32)  # products down to 1e-84
    export_encoder(hasher, tmp_path / "encoder.onnx")
    np.testing.assert_array_equal(run(tmp_path / "encoder.onnx", X), hasher.transform(X))


def test_two_layers_and_constant_data(tmp_path: Path, blobs: NDArray[np.float32]) -> None:
    layered = sigah.AnchorGraphHashing(16, n_layers=2, n_anchors=40, random_state=0).fit(blobs)
    export_encoder(layered, tmp_path / "layers.onnx")
    np.testing.assert_array_equal(run(tmp_path / "layers.onnx", blobs), layered.transform(blobs))
    same = np.full((100, 16), 0.1, np.float32)
    graph = sigah.ScalableGraphHashing(8, n_bases=1, random_state=0).fit(same)
    export_encoder(graph, tmp_path / "same.onnx")
    np.testing.assert_array_equal(run(tmp_path / "same.onnx", same), graph.transform(same))


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_rebuild_the_same_vectors(
    name: str, blobs: NDArray[np.float32], tmp_path: Path
) -> None:
    hasher: Any = fitted(name, blobs[:1000])
    codes = hasher.transform(blobs)
    export_decoder(hasher, tmp_path / "decoder.onnx")
    for some in (codes, codes[:1], np.array([[0, 0, 0], [255, 255, 255]], np.uint8)):
        vectors = run(tmp_path / "decoder.onnx", some)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, hasher.reconstruct(some), rtol=1e-5, atol=1e-5)
    assert run(tmp_path / "decoder.onnx", codes[:0]).shape == (0, 24)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "silu", "identity"])
@pytest.mark.parametrize("dictionary", ["refitted", "gaussian", "learned", "identity"])
def test_every_generator_of_sigah(
    activation: str, dictionary: str, blobs: NDArray[np.float32], tmp_path: Path
) -> None:
    hasher = sigah.SiGAH(
        16, n_steps=2, activation=activation, dictionary=dictionary, random_state=0
    ).fit(blobs[:500])
    codes = hasher.transform(blobs)
    export_decoder(hasher, tmp_path / "decoder.onnx")
    vectors = run(tmp_path / "decoder.onnx", codes)
    np.testing.assert_allclose(vectors, hasher.reconstruct(codes), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits_per_subspace", [1, 2, 8])
def test_every_subspace_of_kmeans(
    bits_per_subspace: int, blobs: NDArray[np.float32], tmp_path: Path
) -> None:
    hasher = sigah.KMeansHashing(
        8, bits_per_subspace=bits_per_subspace, max_iter=3, random_state=0
    ).fit(blobs)
    codes = hasher.transform(blobs)
    export_encoder(hasher, tmp_path / "encoder.onnx")
    export_decoder(hasher, tmp_path / "decoder.onnx")
    np.testing.assert_array_equal(run(tmp_path / "encoder.onnx", blobs), codes)
    vectors = run(tmp_path / "decoder.onnx", codes)
    np.testing.assert_allclose(vectors, hasher.reconstruct(codes), rtol=1e-5, atol=1e-5)


def test_files_say_what_they_are_and_are_deterministic(
    blobs: NDArray[np.float32], tmp_path: Path
) -> None:
    hasher = sigah.ITQ(16, random_state=0).fit(blobs)
    hasher.save(tmp_path / "model")
    export_encoder(hasher, tmp_path / "one.onnx")
    export_encoder(sigah.load(tmp_path / "model"), tmp_path / "two.onnx")
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
    model = onnx.load(tmp_path / "one.onnx")
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "kind": "encoder",
        "method": "itq",
        "metric": "l2",
        "n_bits": "16",
        "fingerprint": hasher.fingerprint,
        "sigah_version": sigah.__version__,
    }
    assert model.ir_version <= 8  # onnxruntime 1.12 of 2022 reads these
    assert [(entry.domain, entry.version <= 17) for entry in model.opset_import] == [("", True)]
    shape = model.graph.input[0].type.tensor_type.shape
    assert [d.dim_param or d.dim_value for d in shape.dim] == ["n", 24]


class Own(LinearHasher):
    """A method of a user, whose scores are not the product."""

    name = "own"

    def __init__(self, n_bits: int = 8) -> None:
        self.n_bits = n_bits

    def _fit(self, rows: Any, random_state: Any) -> None:
        self.weights_, self.thresholds_ = np.eye(rows.dim, 8, dtype=np.float32), np.zeros(8)

    def _scores(self, block: Any) -> Any:
        return np.sin(super()._scores(block))


def test_what_cannot_be_exported_is_said_in_one_line(
    blobs: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "graph.onnx"
    with pytest.raises(ValueError, match=r"'qolsh' \(QoLSH\) does not make codes by a fixed graph"):
        export_encoder(sigah.QoLSH(16, random_state=0).fit(blobs), path)
    with pytest.raises(ValueError, match=r"'lsh' \(LSH\) has no decoder"):
        export_decoder(sigah.LSH(16, random_state=0).fit(blobs), path)
    with pytest.raises(ValueError, match="Own computes its own scores"):
        export_encoder(Own().fit(blobs), path)
    with pytest.raises(ValueError, match="not fitted"):
        export_encoder(sigah.LSH(16), path)
    with pytest.raises(ValueError, match="only a fitted hasher"):
        export_encoder("mnist.model", path)  # type: ignore[arg-type]
    lsh = sigah.LSH(16, random_state=0).fit(blobs)
    with pytest.raises(FileNotFoundError):
        export_encoder(lsh, tmp_path / "missing" / "graph.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(OSError, match=r"onnx, which is not installed: pip install 'sigah\[onnx\]'"):
        export_encoder(lsh, path)
    assert not list(tmp_path.iterdir())
