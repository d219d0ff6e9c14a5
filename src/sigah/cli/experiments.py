"""``sigah reproduce`` and ``sigah report``: the paper's tables and figures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sigah.cli.options import Overwrite

if TYPE_CHECKING:
    from sigah.lab.experiments import Experiment, Store

__all__ = ["report", "reproduce"]

FULL_SEEDS, QUICK_SEEDS = 5, 1
QUICK_DATA = "mnist"


def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            metavar="EXPERIMENT",
            help="table1 to table7, table6-gist, table6-pixels, fig3, fig4, fig6 to fig8, decay,"
            " neighbors, or `all`.",
        ),
    ],
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="A part of MNIST and few steps, to check that everything runs."
        ),
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Data to run on instead of the experiment's own: a named set, a folder of `sigah"
            " features`, or images by path, as in cifar or cifar@mobilenet:96; repeatable."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path(
        "results"
    ),
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Number of seeds; default: 5, with --quick 1.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="More methods to run in comparisons of methods, as for `sigah evaluate`, such as"
            " my_module:MyHash."
        ),
    ] = None,
) -> None:
    """Run a table or figure of the paper and compare it with the paper's own figures.

    Runs in the results folder are not measured again, unless the method's revision or the versions
    of its packages have changed. After Ctrl-C, the same command continues with the next run. With
    --quick, results go to a separate folder, OUT/quick.

    Example: sigah reproduce table2 --quick

    Example: sigah reproduce table2 --methods my_module:MyHash
    """
    from sigah.lab.experiments import EXPERIMENTS, Store

    if name != "all" and name not in EXPERIMENTS:
        raise ValueError(
            f"no experiment is named {name!r}; there are {', '.join(EXPERIMENTS)}, all"
        )
    chosen = list(EXPERIMENTS.values()) if name == "all" else [EXPERIMENTS[name]]
    if methods:
        chosen = [experiment.beside(methods.split(",")) for experiment in chosen]
    store = Store(out / "quick" if quick else out)
    console = Console(stderr=True)
    work = plan(chosen, data, quick=quick, console=console)
    count = seeds or (QUICK_SEEDS if quick else FULL_SEEDS)
    names = {
        run_on(data_name, experiments, store, quick=quick, seeds=count, console=console)
        for data_name, experiments in work.items()
    }
    # columns are folded at the edge of a terminal, but never in a pipe
    console = Console(width=None if sys.stdout.isatty() else 160)
    for experiment in chosen:
        show(experiment, store, names, console)
    console.print(f"results: {store.folder}; to make a page: sigah report --results {store.folder}")


def plan(
    experiments: list[Experiment], data: list[str] | None, *, quick: bool, console: Console
) -> dict[str, list[Experiment]]:
    """The experiments to run on each set; missing sets are reported and left out."""
    from sigah.lab.datasets import CATALOG
    from sigah.lab.experiments import available, explain_absence, with_backbones

    work: dict[str, list[Experiment]] = {}
    absent: dict[str, None] = {}
    for experiment in experiments:
        wanted = data or ([QUICK_DATA] if quick else list(experiment.data))
        for name in (each for one in wanted for each in with_backbones(one, experiment)):
            # a set that the user names is fetched, if the catalogue has it
            named = name.rpartition("@")[0] or name
            if available(name) or (named in CATALOG and (data or quick)):
                work.setdefault(name, []).append(experiment)
            else:
                absent[name] = None
    explained = [explain_absence(name) for name in absent]
    if not work:
        raise ValueError("\n- ".join(["nothing to run:", *explained]))
    for text in explained:
        console.print(f"[yellow]left out:[/] {text}", highlight=False, soft_wrap=True)
    return work


def run_on(
    name: str,
    experiments: list[Experiment],
    store: Store,
    *,
    quick: bool,
    seeds: int,
    console: Console,
) -> str:
    """Run experiments on one data set, which is loaded once; return its name in results."""
    from sigah.cli.data import fetch_with_bar
    from sigah.evaluation.names import METRICS
    from sigah.lab.experiments import available, explain_absence, prepare, run_experiment

    if not available(name):
        try:
            fetch_with_bar(name.rpartition("@")[0] or name)
        except OSError as error:
            raise OSError(f"{error}\n{explain_absence(name)}") from error
    vectors = prepare(name, quick=quick, show=True)

    def tell(run: dict[str, Any]) -> None:
        metrics = run["metrics"]
        metric = "pr_area" if "pr_area" in metrics else "label_map_by_relevant@1000"
        console.print(
            f"{run['method']} {run['n_bits']} bits, seed {run['seed']}: {METRICS[metric]}"
            f" {metrics[metric]:.3f}, {metrics['fit_seconds']:.1f} s",
            highlight=False,
            markup=False,
        )

    for experiment in experiments:
        lacks = experiment.lacks(vectors)
        if lacks and len(experiments) > 1:
            console.print(f"[yellow]left out:[/] {lacks}", highlight=False, soft_wrap=True)
            continue
        # a bar with the time left on a terminal, one line per run in a log
        how: Any = {"show": True} if console.is_terminal else {"on_run": tell}
        measured = run_experiment(experiment, vectors, store, seeds=seeds, **how)
        if not measured:
            console.print(f"{experiment.name} on {name}: all runs were measured before")
    return vectors.name


def show(experiment: Experiment, store: Store, sets: set[str], console: Console) -> None:
    """Print the tables of an experiment on some sets; only the page has curves and pictures."""
    from sigah.lab.experiments.panels import Table
    from sigah.lab.report.terminal import terminal_table

    measured = [one for one in store.collect(experiment) if one.data["name"] in sets]
    for panel in experiment.view(experiment, measured):
        if isinstance(panel, Table) and panel.measured:
            console.print(terminal_table(panel, f"{experiment.name}: {panel.title}"))


def report(
    results: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results"),
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path(
        "report.html"
    ),
    plots: Annotated[
        Path | None, typer.Option(help="Also write every plot here, as SVG and PNG.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Also write the tables here, one Markdown page per data set."),
    ] = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="Show results of `sigah evaluate` on named sets as the paper's experiments, beside"
            " its figures.",
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write one self-contained HTML page of all results.

    The page first shows which method leads, then a chapter for each data set, your own data and
    methods included. Results of `sigah reproduce` stand beside the paper's figures; those of `sigah
    evaluate` stand alone, unless --paper is given and the data is a named set.

    Example: sigah report --results results --out report.html

    Example: sigah report --results results --paper --out report.html
    """
    from sigah.cli.outputs import check_output
    from sigah.lab.report.markdown import write_markdown
    from sigah.lab.report.page import write_report

    # of the folder, only these are read: the page may lie among them
    check_output(out, "page", results.glob("*.json"), overwrite=overwrite)
    if not results.is_dir():
        raise FileNotFoundError(
            f"--results {results}: no such folder; measure with `sigah reproduce` first"
        )
    shown = write_report(results, out, plots=plots, paper=paper)
    typer.echo(f"{out}: {', '.join(shown)}")
    if markdown is not None:
        typer.echo(f"{markdown}: {', '.join(write_markdown(results, markdown, paper=paper))}")
