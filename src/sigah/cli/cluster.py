"""``sigah cluster encode | shards | fit``: work on a Ray cluster, or on this machine's cores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sigah import distributed
from sigah.cli.inputs import read_model
from sigah.cli.options import Bits, Model, Overwrite, Seed
from sigah.cli.outputs import check_output
from sigah.hashers import SiGAH, TrainingInterrupted
from sigah.hashers.registry import make_hasher

__all__ = ["app"]

app = typer.Typer(
    help="Encode and train on a Ray cluster, or on all cores of this machine.",
    no_args_is_help=True,
)

Source = Annotated[
    Path, typer.Argument(metavar="PARQUET", help="A Parquet file, or a folder of them.")
]
Folder = Annotated[Path, typer.Option("--out", "-o", help="A new folder.")]
Column = Annotated[
    str | None, typer.Option("--vectors", help="The column of vectors, if there are several.")
]
Ray = Annotated[str, typer.Option("--ray", help="local, or the address of a cluster: host:port.")]


@app.command()
def encode(
    model: Model,
    source: Source,
    out: Folder,
    ids: Annotated[str, typer.Option(help="The column of ids to store with the codes.")] = "id",
    vectors: Column = None,
    ray: Ray = "local",
) -> None:
    """Encode Parquet files in parallel into a folder of Parquet files: ids and packed codes.

    Example: sigah cluster encode vectors.model vectors.parquet --out codes
    """
    manifest = distributed.encode(
        source, read_model(model), out, ids=ids, vectors=vectors, address=ray, verbose=True
    )
    typer.echo(f"{out}: {manifest['count']:,} codes of {manifest['n_bits']} bits")


@app.command()
def shards(
    codes: Annotated[
        Path, typer.Argument(metavar="CODES", help="A folder of `sigah cluster encode`.")
    ],
    out: Folder,
    n: Annotated[int, typer.Option("-n", min=1, help="Number of shards.")] = 2,
) -> None:
    """Make index files from codes, which sigah.distributed searches together.

    Example: sigah cluster shards codes --out shards -n 4
    """
    manifest = distributed.build_shards(codes, out, n)
    typer.echo(f"{out}: {manifest['count']:,} codes of {manifest['n_bits']} bits in {n} shards")


@app.command()
def fit(
    source: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the model.")],
    bits: Bits = 64,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of workers; each has a share of the vectors.")
    ] = 2,
    seed: Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any parameter of SiGAH; repeatable."),
    ] = None,
    vectors: Column = None,
    ray: Ray = "local",
    overwrite: Overwrite = False,
) -> None:
    """Train SiGAH on Parquet files, divided among workers, and write the model.

    Ctrl-C during training ends it early and still writes the model (exit status 130).

    Example: sigah cluster fit vectors.parquet --workers 2 --out vectors.model
    """
    check_output(out, "model", [source], overwrite=overwrite)
    hasher = make_hasher("sigah", bits, seed, settings or [])
    assert isinstance(hasher, SiGAH)
    hasher.set_params(verbose=True)
    interrupted = False
    try:
        distributed.fit(hasher, source, n_workers=workers, vectors=vectors, address=ray)
    except TrainingInterrupted:
        interrupted = True
    hasher.set_params(verbose=False)
    hasher.save(out, overwrite=overwrite)
    typer.echo(f"{out}: sigah, {bits} bits from {hasher.n_features_in_} dimensions")
    if interrupted:
        typer.echo(f"training was interrupted after {hasher.training_['steps']} steps", err=True)
        sys.exit(130)
