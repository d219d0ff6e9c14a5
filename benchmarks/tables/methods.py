"""Tables of README.md and docs/results.md: methods beside each other and beside the paper."""

from __future__ import annotations

import json
from pathlib import Path

from seeds import mean as over_runs
from seeds import with_deviation as over_seeds
from sigah.evaluation import Summary, read_results, summarize
from sigah.lab.experiments import EXPERIMENTS, Store
from sigah.lab.experiments.panels import Table
from sigah.lab.report.chapters import chapters
from sigah.lab.report.figures import LABELS
from sigah.lab.report.markdown import matrix
from sigah.lab.report.markdown import pipe_table as markdown

ROOT = Path(__file__).resolve().parents[2]
SETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
LARGE = ("photo-sift", "photo-gist-384", "photo-gist-960", "glove-50", "wordnet-text")
FAR = 0.03  # differences from the paper beyond this are marked, and explained in the page

Rows = dict[tuple[str, int], Summary]


def load(name: str) -> Rows:
    rows = summarize(read_results(ROOT / "results" / f"{name}.json"))
    return {(row.method, row.n_bits): row for row in rows}


def plain(row: Summary, metric: str) -> str:
    return f"{row.mean[metric]:.3f}" if metric in row.mean else "–"


def with_deviation(row: Summary, metric: str) -> str:
    if metric not in row.mean:
        return "–"
    return f"{row.mean[metric]:.3f} ± {row.deviation[metric]:.3f}"


def paper_table_2() -> Table:
    """Table 2 of the paper and ours, as the experiment has them."""
    experiment = EXPERIMENTS["table2"]
    measured = [
        one
        for one in Store(ROOT / "results").collect(experiment)
        if one.data["name"] == "mnist" and not one.part
    ]
    table: Table = next(p for p in experiment.view(experiment, measured) if isinstance(p, Table))
    return table


def table_2() -> str:
    """The paper's Table 2 with ours beside it."""
    table = paper_table_2()
    head = ["method"]
    for heading in table.headings:
        head += [f"{heading}: paper", "ours", "diff."]
    lines = []
    for label, cells in table.rows:
        line = [label]
        for cell in cells:
            difference = f"{cell.difference:+.3f}"
            far = abs(cell.difference) > FAR
            line += [
                f"{cell.paper:.3f}",
                f"{cell.mean:.3f}",
                f"**{difference}**" if far else difference,
            ]
        lines.append(line)
    return markdown(head, lines)


def sets_matrix() -> str:
    """Where SiGAH wins, on every data set that is measured."""
    return matrix(chapters(Store(ROOT / "results"), paper=True), folder="results/")


def short_matrix() -> str:
    """The same in a few metrics, for the front page."""
    sets = chapters(Store(ROOT / "results"), paper=True)
    metrics = ("pr_area", "map", "precision@100", "recall10@10")
    return matrix(sets, folder="docs/results/", metrics=metrics)


def headline_table() -> str:
    """SiGAH, ITQ and LSH on the two sets of the front page; the best of the three is bold."""
    metrics = {
        "pr_area": "pr_area",
        "map": "map",
        "precision@100": "P@100",
        "recall10@10": "recall10@10",
        "relative_reconstruction_error": "error",
    }
    methods = {"sigah": "SiGAH", "itq": "ITQ", "lsh": "LSH"}
    sets = {title: load(name) for name, title in SETS.items()}
    head = ["bits", "method"]
    for title in sets:
        head += [f"{title}: pr_area", *list(metrics.values())[1:]]
    lines = []
    for bits in (32, 64):
        for method, label in methods.items():
            line = [str(bits), label]
            for rows in sets.values():
                for metric in metrics:
                    means = [rows[other, bits].mean.get(metric) for other in methods]
                    known = [mean for mean in means if mean is not None]
                    best = (min if "error" in metric else max)(known)
                    text = plain(rows[method, bits], metric)
                    line.append(f"**{text}**" if text == f"{best:.3f}" else text)
            lines.append(line)
    return markdown(head, lines, left=2)


def training_size_table() -> str:
    """The rows of Table 2 that differ, learned from 10,000 vectors as well."""
    everything, sample = load("mnist"), load("mnist-10000")
    experiment = EXPERIMENTS["table2"]
    paper = {case.method: experiment.paper["mnist"][case.label] for case in experiment.cases}
    cells = [(column.metric, column.bits) for column in experiment.columns]
    head = ["method", "learned from"]
    head += [f"{metric.replace('precision', 'P')} {bits}" for metric, bits in cells]
    lines = []
    for method in dict.fromkeys(method for method, _ in sample):
        name, _, variant = method.partition(":")
        label = LABELS[name] + (", xi = 1/2" if variant else "")
        if not variant:
            lines.append([label, "(paper)", *(f"{figure:.3f}" for figure in paper[name])])
            lines.append(["", "60,000", *(plain(everything[name, b], m) for m, b in cells)])
        lines.append([label, "10,000", *(plain(sample[method, b], m) for m, b in cells)])
    return markdown(head, lines, left=2)


def metrics_table(name: str) -> str:
    """Every method at every length, mean and standard deviation."""
    metrics = {
        "pr_area": "pr_area",
        "map": "map",
        "precision@100": "P@100",
        "recall10@10": "recall10@10",
        "recall100@1000": "recall100@1000",
        "relative_reconstruction_error": "error",
    }
    rows = load(name)
    lengths = sorted({bits for _, bits in rows})
    lines = [
        [f"`{method}`", str(bits), *(with_deviation(rows[method, bits], m) for m in metrics)]
        for length in lengths
        for method, bits in rows
        if bits == length
    ]
    return markdown(["method", "bits", *metrics.values()], lines)


def large_sets_table() -> str:
    """True mAP of every method on the sets of Table 1."""
    found = {name: load(f"{name}-table1") for name in LARGE}
    lengths = (32, 64)
    methods = [method for method, bits in load("mnist") if bits == lengths[0]]
    columns = [(name, bits) for name in LARGE for bits in lengths]
    cells = {
        method: [found[name].get((method, bits)) for name, bits in columns] for method in methods
    }
    lines = [
        [f"`{method}`", *("–" if row is None else plain(row, "map") for row in rows)]
        for method, rows in cells.items()
        if any(rows)
    ]
    return markdown(["method", *(f"{name} {bits}" for name, bits in columns)], lines)


def decoders_table() -> str:
    """The errors of every method's codes by its own decoder, and by two that all share."""
    report = json.loads((ROOT / "benchmarks" / "results" / "decoders.json").read_text())
    decoders = {"own": "its own decoder", "linear": "linear", "random layer": "random layer"}
    lines = [
        [row["data"], f"`{row['method']}`", *(over_seeds(row, name) for name in decoders)]
        for row in report["rows"]
    ]
    return markdown(["data", "method", *decoders.values()], lines, left=2)


def neighborhoods_table() -> str:
    """What SiGAH learns as a neighbourhood, by what is looked for."""
    report = json.loads((ROOT / "benchmarks" / "results" / "neighborhoods.json").read_text())
    head = ["data", "method"]
    for k in report["ks"]:
        head += [f"map, K = {k:,}", f"recall@{k:,}"]
    lines = []
    for row in report["rows"]:
        line = [row["data"], f"`{row['method']}`"]
        for k in report["ks"]:
            line += [f"{over_runs(row, f'{metric}@K={k}'):.3f}" for metric in ("map", "recall")]
        lines.append(line)
    return markdown(head, lines, left=2)


def long_codes_table() -> str:
    """Codes of many bits: SiGAH beside its start."""
    report = json.loads((ROOT / "benchmarks" / "results" / "long_codes.json").read_text())
    found = {(row["data"], row["n_bits"], row["method"]): row for row in report["rows"]}
    head = ["data", "bits", "ITQ: recall10@10", "SiGAH", "ITQ: map", "SiGAH", "SiGAH's codes are"]
    lines = []
    for (name, n_bits, method), ours in found.items():
        start = found.get((name, n_bits, "itq"))
        if method != "sigah" or start is None:
            continue
        pairs = [
            f"{over_runs(row, metric):.3f}"
            for metric in ("recall10@10", "map")
            for row in (start, ours)
        ]
        kept = "the learned ones" if over_runs(ours, "learned") > 0.5 else "those of its start"
        lines.append([name, str(n_bits), *pairs, kept])
    return markdown(head, lines)


def seconds_table(name: str) -> str:
    """Training time, in the form of the paper's Table 3, memory and encoding speed."""
    report = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    rows = {(row["method"], row["n_bits"]): row for row in report["rows"]}
    head = [
        "method",
        "fit 32 bits, s",
        "fit 64 bits, s",
        "peak memory, 32 bits",
        "encode, 64 bits",
        "over a product",
    ]
    n_vectors = report["n_vectors"]
    lines = []
    for method in dict.fromkeys(method for method, _ in rows):
        short, long = rows[method, 32], rows[method, 64]
        lines.append(
            [
                f"`{method}`",
                f"{short['fit_seconds']:.1f}",
                f"{long['fit_seconds']:.1f}",
                f"{short['peak_memory_bytes'] / 1e6:,.0f} MB",
                f"{n_vectors / long['encode_seconds'] / 1e6:.2f} M/s",
                f"{long['ratio']:.1f} x",
            ]
        )
    return markdown(head, lines)


def ablation_table() -> str:
    """What each term of SiGAH is worth."""
    fixed = "sigah:dictionary=gaussian:dictionary_ratio=2"
    metrics = ("pr_area", "map", "precision@100", "relative_reconstruction_error")
    cases = {
        "sigah": "default",
        fixed: "dictionary not refitted",
        f"{fixed}:pair=0": "and without the pair term",
        f"{fixed}:neighbor=0": "and without the neighbour term",
        f"{fixed}:adversarial=0": "and without the discriminator",
        f"{fixed}:sparsity=0": "and without sparsity",
        "sigah:reconstruction=0:sparsity=0:adversarial=0": "without any generator",
        "sigah:pair=0:neighbor=0": "without pair and neighbour terms",
        f"{fixed}:graph=0.001": "and with the graph term, Eq. (17), at .001",
    }
    sets = {title: load(name) | load(f"{name}-ablation") for name, title in SETS.items()}
    head = [""]
    for title in sets:
        head += [f"{title}: pr_area", "map", "P@100", "error"]
    lines = [
        [text, *(with_deviation(rows[case, 64], m) for rows in sets.values() for m in metrics)]
        for case, text in cases.items()
        if all((case, 64) in rows for rows in sets.values())
    ]
    return markdown(head, lines)


def wide_table() -> str:
    """One bit a dimension: what needs no training, at d bits."""
    sets = {title: load(f"{name}-784") for name, title in SETS.items()}
    metrics = ("pr_area", "map", "precision@100", "recall10@10", "relative_reconstruction_error")
    head = ["784 bits"]
    for title in sets:
        head += [f"{title}: pr_area", "map", "P@100", "recall10@10", "error"]
    lines = [
        [f"`{method}`", *(plain(rows[method, 784], m) for rows in sets.values() for m in metrics)]
        for method, _ in sets["MNIST"]
    ]
    return markdown(head, lines)


TABLES = {
    "sets": sets_matrix,
    "sets-short": short_matrix,
    "headline": headline_table,
    "table2": table_2,
    "training-size": training_size_table,
    "mnist": lambda: metrics_table("mnist"),
    "fashion-mnist": lambda: metrics_table("fashion-mnist"),
    "seconds": lambda: seconds_table("fit_and_encode"),
    "seconds-million": lambda: seconds_table("fit_million"),
    "ablation": ablation_table,
    "large-sets": large_sets_table,
    "decoders": decoders_table,
    "neighborhoods": neighborhoods_table,
    "long-codes": long_codes_table,
    "wide": wide_table,
}
