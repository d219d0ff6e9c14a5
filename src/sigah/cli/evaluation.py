"""``sigah evaluate`` and ``sigah demo``: measure and show the quality of codes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sigah import files
from sigah.cli.data import fetch_with_bar
from sigah.cli.inputs import naming, read_model
from sigah.cli.options import Header, Metric, Overwrite
from sigah.cli.outputs import check_output
from sigah.cli.recipes import RecipeFile, check_index, check_model, take_recipe
from sigah.cli.vectors import read_vectors
from sigah.hashers.registry import knows_metric, methods_for_any_vectors
from sigah.lab import datasets
from sigah.progress import phase

__all__ = ["demo", "evaluate"]


# options of one of the two uses of `evaluate`
OF_METHODS = ("methods", "bits", "seeds", "metric", "train", "resume")
OF_MODEL = (
    *("by", "oversampling", "vectors", "truth", "qrels", "query_ids", "recipe"),
    *("engine", "settings"),
)


def evaluate(
    context: typer.Context,
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE|MODEL|INDEX",
            help="Vectors to index and to train on, or a named set; or a model file; or an index of"
            " `sigah vectors build`.",
        ),
    ],
    queries: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUERIES|INDEX]",
            help="Vectors to look up; a named set has its own. After MODEL: codes, an index, or"
            " with --engine the target of `sigah export`.",
        ),
    ] = None,
    deployed_queries: Annotated[
        str | None,
        typer.Argument(metavar="[QUERIES]", help="After MODEL and INDEX: vectors to look up."),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            help="Names from `sigah methods`, separated by commas, or `all`, which leaves out those"
            " for images. Settings may follow a name, as in sigah:pair=0:n_steps=500. For your own"
            " class: my_module:MyHash or ./my_file.py:MyHash."
        ),
    ] = "sigah,itq,lsh",
    bits: Annotated[str, typer.Option(help="Code lengths, separated by commas.")] = "32,64",
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of seeds (0, 1, ...) to average over.")
    ] = 1,
    k: Annotated[
        int | None,
        typer.Option(
            "-k", min=1, help="True neighbours of each query; default: 1000, with MODEL 10."
        ),
    ] = None,
    metric: Metric = None,
    train: Annotated[
        int | None,
        typer.Option(
            min=1, help="Learn from this many base vectors, drawn by the seed; default: all."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write everything to this file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the runs that the --json file already has.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            help="With MODEL: how candidates are ranked, as in `sigah search`; with an index of"
            " vectors: raw, or by default its tables."
        ),
    ] = None,
    oversampling: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="With --by, or with an index of vectors: candidates for each neighbour; several"
            " numbers, separated by commas, are measured in turn; inf: all. Default: 10, or the"
            " shortlist of an index of vectors.",
        ),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(help="With MODEL: the encoded vectors, for --by raw and for exact truth."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            help="With MODEL: ids of the true neighbours of each query (.npy, .ivecs, .npz:ids,"
            " .h5:neighbors)."
        ),
    ] = None,
    qrels: Annotated[
        str | None,
        typer.Option(help="With MODEL: relevance judgements in the form of TREC or BEIR."),
    ] = None,
    query_ids: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="With --qrels: the column of QUERIES with their ids; default: row numbers.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="With MODEL: the engine that has the codes, as in `sigah query`."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="With --engine: any setting of it; repeatable."
        ),
    ] = None,
    recipe: RecipeFile = None,
    header: Header = None,
    overwrite: Overwrite = False,
) -> None:
    """Fit methods, search with their codes, and measure the results.

    With a model and an index, or an index of vectors, measure what is deployed instead: recall or
    relevance, latency, and bytes per vector.

    Example: sigah evaluate mnist --methods all --bits 32,64 --seeds 5 --json mnist.json --resume

    Example: sigah evaluate mnist.model codes.npy mnist:queries --vectors mnist --by raw

    Example: sigah evaluate served.vectors glove-50:queries --vectors glove-50

    Example: sigah evaluate mnist.model codes.faiss mnist:queries --engine faiss --vectors mnist
    """
    if (kind := files.kind_of(base)) in ("model", "vectors"):
        if recipe is not None:
            settled = take_recipe(context, recipe, "codes" if kind == "model" else "vectors")
            made = settled.recipe
            k = settled.default("k", k, made.k)
            by = settled.option("by", "--by", by, made.by)
            if made.reads or by == "asymmetric":
                wide = f"{made.oversampling(k or 10):g}"
                oversampling = settled.option("oversampling", "--oversampling", oversampling, wide)
            if kind == "model":
                check_model(read_model(Path(base)), settled, f"MODEL {base}")
            else:
                from sigah.cli.vector_index import read_vector_index

                check_index(read_vector_index(Path(base)), settled, f"INDEX {base}")
        _refuse(context, OF_METHODS, "fits methods; leave it out to measure MODEL")
        _evaluate_deployed(
            [base, queries, deployed_queries],
            (by, oversampling, vectors, truth, qrels, query_ids, k or 10),
            engine=engine,
            settings=settings or [],
            json_file=json_file,
            header=header,
            overwrite=overwrite,
        )
        return
    absent = "" if Path(base).exists() else f"; there is no file {base}"
    _refuse(context, OF_MODEL, f"needs MODEL and INDEX before QUERIES{absent}")
    if deployed_queries is not None:
        raise ValueError(f"BASE {base} is not a model, so {deployed_queries} is one too many")
    k = k or 1000
    from sigah.evaluation import evaluate as run_evaluation
    from sigah.evaluation import read_results, write_results
    from sigah.evaluation.loop import makers_of
    from sigah.evaluation.table import results_table

    if resume and json_file is None:
        raise ValueError("--resume needs --json FILE, the file with the earlier runs")
    check_output(json_file, "results", [base, queries], overwrite=overwrite, option="--json")
    lengths = [whole_number(text, "--bits") for text in bits.split(",")]
    metric = metric or "l2"
    names = methods.split(",")
    if methods == "all":
        names = [name for name in methods_for_any_vectors() if knows_metric(name, metric)]
    makers = makers_of(names, metric)
    for make in makers.values():  # a wrong name or setting is reported before any work
        make(lengths[0], 0)
    if queries is None:
        if base not in datasets.CATALOG:
            read_vectors(base, "BASE")
            raise ValueError("QUERIES is missing: give a second file, or name a data set")
        queries = f"{base}:queries"
    console = Console(stderr=True)

    def report(results: dict[str, Any]) -> None:
        run = results["runs"][-1]
        console.print(
            f"{run['method']} {run['n_bits']} bits, seed {run['seed']}:"
            f" pr_area {run['metrics']['pr_area']:.3f}, map {run['metrics']['map']:.3f},"
            f" {run['metrics']['fit_seconds']:.1f} s",
            highlight=False,
        )
        if json_file is not None:  # after every run, so that an interruption loses none
            write_results(json_file, results)

    with (
        naming("BASE", base, only="Input X "),  # methods learn from these vectors only
        phase("evaluating", show=True),
    ):
        results = run_evaluation(
            makers,
            read_vectors(base, "BASE", header=header),
            read_vectors(queries, "QUERIES", header=header),
            name=Path(base).name,
            n_bits=lengths,
            seeds=range(seeds),
            k=k,
            n_train=train,
            metric=metric,
            on_run=report,
            resume=read_results(json_file) if resume and json_file and json_file.exists() else None,
        )
    # columns are folded at the edge of a terminal, but never in a pipe
    Console(width=None if sys.stdout.isatty() else 160).print(results_table(results))


def _evaluate_deployed(
    words: list[str | None],
    recipe: tuple[Any, ...],
    *,
    engine: str | None,
    settings: list[str],
    json_file: Path | None,
    overwrite: bool,
    header: bool | None,
) -> None:
    """Measure what is deployed: MODEL INDEX QUERIES, or INDEX QUERIES of vectors."""
    from sigah.cli.deployed import Recipe, evaluate_deployed, subject_of

    base, *rest = [word for word in words if word is not None]
    if files.kind_of(base) == "vectors":
        if len(rest) != 1 or engine is not None:
            raise ValueError(f"INDEX {base} holds vectors: it needs QUERIES after it, and no more")
    elif len(rest) != 2:
        raise ValueError(f"MODEL {base} needs INDEX and QUERIES after it")
    index, queries = None if len(rest) == 1 else rest[0], rest[-1]
    if settings and engine is None:
        raise ValueError("--set needs --engine, whose settings it names")
    how = Recipe(*recipe)
    inputs = (base, index, queries, how.vectors, how.truth, how.qrels)
    check_output(json_file, "results", inputs, overwrite=overwrite, option="--json")
    with subject_of(Path(base), index, engine, settings) as subject:
        evaluate_deployed(
            subject,
            index or base,
            queries,
            how,
            json_file=json_file,
            header=header,
        )


def _refuse(context: typer.Context, names: Iterable[str], reason: str) -> None:
    """Refuse options that were given but belong to the other use."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "set" if name == "settings" else name.replace("_", "-")
            raise ValueError(f"--{option} {reason}")


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pages.")] = Path("demo"),
    overwrite: Overwrite = False,
) -> None:
    """Learn, search and compare on images and on text; writes two HTML pages.

    OUT/text.html lets you choose among a hundred sentences and see which of their neighbours are
    found by full vectors and by codes of 8 to 64 bytes. OUT/index.html compares methods on MNIST
    and Fashion-MNIST.
    """
    from sigah.lab.demo import SETS, TEXT
    from sigah.lab.demo import demo as run_demo

    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out {out} is a file; name a folder")
    if out.is_dir():
        for name in ("index.html", "text.html"):
            check_output(out / name, "page", overwrite=overwrite)
        check_output(out / "results.json", "results", overwrite=overwrite)
    try:  # before minutes of work, not after them
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"its folder cannot be created ({error.strerror}); choose another place"
        raise OSError(f"--out {out}: {reason}") from error
    for name in SETS:
        fetch_with_bar(name)
    console = Console(highlight=False)
    text = True
    try:
        fetch_with_bar(TEXT)
    except OSError as error:
        text = False
        reason = " ".join(str(error).split())
        console.print(f"text is left out: {reason}", markup=False, soft_wrap=True)
    page = run_demo(out, announce=console.print, text=text)
    typer.echo(f"open {page} in a browser")


def whole_number(text: str, option: str) -> int:
    """An integer of the command line."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{option}: {text!r} is not a whole number") from None
