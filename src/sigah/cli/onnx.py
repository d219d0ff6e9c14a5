"""``sigah onnx``: models for other languages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sigah.cli.inputs import read_model
from sigah.cli.options import Model, Overwrite
from sigah.cli.outputs import check_output

__all__ = ["onnx"]


def onnx(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the graph (.onnx).")],
    decoder: Annotated[
        bool, typer.Option("--decoder", help="Codes to vectors, instead of vectors to codes.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a model as an ONNX graph that encodes (or decodes) in any language.

    An encoder takes `vectors` (float32, any number of rows) and returns `codes`, the packed bytes
    that `sigah encode` makes, bit for bit. It needs sigah's extra `onnx`.

    Example: sigah onnx mnist.model --out encoder.onnx
    """
    from sigah.onnx import export_decoder, export_encoder

    check_output(out, "graph", [model], overwrite=overwrite)
    hasher = read_model(model)
    if decoder:
        export_decoder(hasher, out)
        ways = f"{hasher.n_bits // 8} bytes to {hasher.n_features_in_} dimensions"
    else:
        export_encoder(hasher, out)
        ways = f"{hasher.n_features_in_} dimensions to {hasher.n_bits // 8} bytes"
    typer.echo(f"{out}: {hasher.name}, {ways}, {out.stat().st_size:,} bytes")
