"""Networks of PyTorch: those of packages, and of the user."""

from __future__ import annotations

import difflib
import pickle
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sigah.extras import require
from sigah.lab.datasets import deep
from sigah.lab.images.scaling import pooled, scaled
from sigah.plugins import load_function

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LayerNetwork", "on_device", "open_network", "residual_features"]

Features = NDArray[np.float32]


class LayerNetwork:
    """A network in evaluation mode; the output of one of its modules is taken.

    Parameters
    ----------
    network : nn.Module
    layer : str or None
        A name of ``named_modules()``; None: the output of the network.
    """

    def __init__(self, network: nn.Module, layer: str | None) -> None:
        import torch

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = network.eval().to(self.device)
        self.layer = layer
        self.calls = threading.local()  # several threads run the network
        if layer is not None:
            network.get_submodule(layer).register_forward_hook(self._take)

    def _take(self, module: Any, inputs: Any, output: Any) -> None:
        self.calls.output = output
        raise _Reached

    def compute(self, images: NDArray[np.uint8], *, scaling: str) -> Features:
        """Run the network on images ``(n, side, side, 3)``.

        Raises
        ------
        ValueError
            If the network cannot be run on images of this size.
        """
        import torch

        pixels = torch.from_numpy(scaled(images, scaling)).permute(0, 3, 1, 2).contiguous()
        self.calls.output = None
        try:
            with torch.inference_mode(), suppress(_Reached):
                output = self.network(pixels.to(self.device))
                self.calls.output = output if self.layer is None else None
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"the network cannot be run on images of {images.shape[1]} pixels: {reason}"
            ) from error
        name = self.layer or "the network"
        if not isinstance(self.calls.output, torch.Tensor):
            raise ValueError(f"{name} gives no tensor")
        return pooled(self.calls.output.float().cpu().numpy(), name)


class _Reached(Exception):  # noqa: N818
    """The layer has run; the rest of the network need not."""


def open_network(path: str, weights: str | Path | None, layer: str | None) -> LayerNetwork:
    """Make a network by a function, and load its weights.

    Parameters
    ----------
    path : str
        ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``, which is called without arguments and returns
        an ``nn.Module``: ``torchvision.models:resnet50``.
    weights : path-like, optional
        A state dict, or a dict that holds one as ``state_dict``.
    layer : str, optional
        A name of ``named_modules()``; by default the output of the network is taken.

    Raises
    ------
    ValueError
        If the function gives no network, or weights or layer do not fit it.
    """
    torch = require("torch", "running networks of PyTorch", "train")
    network = load_function(path)()
    if not isinstance(network, torch.nn.Module):
        raise ValueError(f"{path} gives a {type(network).__name__}, expected a network (nn.Module)")
    if weights is not None:
        try:
            stored = torch.load(weights, map_location="cpu", weights_only=True)
            network.load_state_dict(stored.get("state_dict", stored))
        except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{weights}: these weights do not fit {path} ({reason})") from error
    modules = [name for name, _ in network.named_modules() if name]
    if layer is not None and layer not in modules:
        close = difflib.get_close_matches(layer, modules, n=1)
        guess = f"do you mean {close[0]}?" if close else f"its last is {modules[-1:]}"
        raise ValueError(f"{path} has no layer {layer!r}; {guess}")
    return LayerNetwork(network, layer)


def on_device(layers: list[deep.Folded]) -> list[deep.Folded]:
    """Weights on the GPU, if there is one."""
    import torch

    if not torch.cuda.is_available():
        return layers
    return [deep.Folded(layer.weight.cuda(), layer.bias.cuda()) for layer in layers]


def residual_features(
    network: deep.Network, layers: list[deep.Folded], images: NDArray[np.uint8]
) -> Features:
    """The means of the last maps of a packaged network, for images ``(n, side, side, 3)``."""
    import torch

    mean, scale = np.array([network.mean, network.scale], np.float32)
    pixels = (images.astype(np.float32) / np.float32(255) - mean) / scale
    entered = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(layers[0].weight.device)
    with torch.inference_mode():
        maps = deep.forward(entered.contiguous(memory_format=torch.channels_last), network, layers)
        found: Features = maps.mean(dim=(2, 3)).cpu().numpy()
    return found
