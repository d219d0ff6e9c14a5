"""Fill in the tables and figures of the documentation from the committed JSON.

A table of a page stands between two comments, ``<!-- table: NAME -->`` and ``<!-- end -->``;
whatever is between them is replaced. With ``--check`` nothing is written, and the exit status tells
whether the pages say what the JSON says.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sigah.evaluation import read_results, summarize
from sigah.plan import plan
from sigah.plan.words import summary
from sigah.report.figures import LABELS, curves_figure, ratios_figure, recall_figure

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("results", "search", "onnx", "scale")),
]
IMAGES = ROOT / "docs" / "images"
SETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}

# Table 2 of arXiv 2306.06928 (MNIST): "mAP", which is our pr_area, at 32 and 64 bits; then Pre@100
PAPER_TABLE_2 = {
    "lsh": (0.2148, 0.3598, 0.4952, 0.7450),
    "itq": (0.4223, 0.4681, 0.8255, 0.9267),
    "spherical": (0.3462, 0.4894, 0.6786, 0.8467),
    "binary_autoencoder": (0.3897, 0.4156, 0.8045, 0.9086),
    "stochastic_generative": (0.4195, 0.4920, 0.8101, 0.9124),
    "ordinal_constrained": (0.4191, 0.4550, 0.7649, 0.8835),
    "sigah.paper": (0.4320, 0.5014, 0.8255, 0.9294),
    "sigah": (0.4320, 0.5014, 0.8255, 0.9294),
}
FAR = 0.03  # differences from the paper beyond this are marked, and explained in the page

Rows = dict[tuple[str, int], dict[str, Any]]


def load(name: str) -> Rows:
    rows = summarize(read_results(ROOT / "results" / f"{name}.json"))
    return {(row["method"], row["n_bits"]): row for row in rows}


def plain(row: dict[str, Any], metric: str) -> str:
    return f"{row['mean'][metric]:.3f}" if metric in row["mean"] else "–"


def with_deviation(row: dict[str, Any], metric: str) -> str:
    if metric not in row["mean"]:
        return "–"
    return f"{row['mean'][metric]:.3f} ± {row['std'][metric]:.3f}"


def markdown(head: list[str], lines: list[list[str]], left: int = 1) -> str:
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def table_2() -> str:
    """The paper's Table 2 with ours beside it."""
    ours = load("mnist")
    cells = [("pr_area", 32), ("pr_area", 64), ("precision@100", 32), ("precision@100", 64)]
    head = ["method"]
    for metric, bits in cells:
        head += [f"{metric.replace('precision', 'P')} {bits}: paper", "ours", "diff."]
    lines = []
    for method, figures in PAPER_TABLE_2.items():
        line = [f"SiGAH, `{method}`" if "sigah" in method else LABELS[method]]
        for (metric, bits), figure in zip(cells, figures, strict=True):
            mean = ours[method, bits]["mean"][metric]
            difference = f"{mean - figure:+.3f}"
            far = abs(mean - figure) > FAR
            line += [f"{figure:.3f}", f"{mean:.3f}", f"**{difference}**" if far else difference]
        lines.append(line)
    return markdown(head, lines)


def training_size_table() -> str:
    """The rows of Table 2 that differ, learned from 10,000 vectors as well."""
    everything, sample = load("mnist"), load("mnist-10000")
    cells = [("pr_area", 32), ("pr_area", 64), ("precision@100", 32), ("precision@100", 64)]
    head = ["method", "learned from"]
    head += [f"{metric.replace('precision', 'P')} {bits}" for metric, bits in cells]
    lines = []
    for method in dict.fromkeys(method for method, _ in sample):
        name, _, variant = method.partition(":")
        label = LABELS[name] + (", xi = 1/2" if variant else "")
        if not variant:
            figures = PAPER_TABLE_2[name]
            lines.append([label, "(paper)", *(f"{figure:.3f}" for figure in figures)])
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


def seconds_table() -> str:
    """Training time, in the form of the paper's Table 3, memory and encoding speed."""
    report = json.loads((ROOT / "benchmarks" / "results" / "fit_and_encode.json").read_text())
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
    metrics = ("pr_area", "map", "precision@100", "relative_reconstruction_error")
    cases = {
        "sigah": "default",
        "sigah:pair=0": "without the pair term",
        "sigah:neighbor=0": "without the neighbour term",
        "sigah:adversarial=0": "without the discriminator",
        "sigah:sparsity=0": "without sparsity",
        "sigah:graph=0.001": "with the graph term, Eq. (17), at .001",
    }
    sets = {title: load(name) | load(f"{name}-ablation") for name, title in SETS.items()}
    head = [""]
    for title in sets:
        head += [f"{title}: pr_area", "map", "P@100", "error"]
    lines = [
        [text, *(with_deviation(rows[case, 64], m) for rows in sets.values() for m in metrics)]
        for case, text in cases.items()
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


def search_rows(section: str) -> list[dict[str, Any]]:
    report = json.loads((ROOT / "benchmarks" / "results" / "search.json").read_text())
    rows: list[dict[str, Any]] = report[section]["rows"]
    return rows


def faiss_table() -> str:
    """A million codes beside FAISS."""
    rows = {(r["n"], r["n_bits"], r["queries"], r["k"]): r for r in search_rows("grid")}
    cells = [(1, 10), (1000, 1), (1000, 10), (1000, 100), (1000, 1000)]
    head = [
        "1 million codes of",
        *(f"{q:,} quer{'y' if q == 1 else 'ies'}, k = {k}" for q, k in cells),
    ]
    lines = [
        [f"{bits} bits", *(f"{rows[10**6, bits, q, k]['ratio']:.1f} x" for q, k in cells)]
        for bits in sorted({bits for _, bits, _, _ in rows})
    ]
    return markdown(head, lines)


def peers_table() -> str:
    """Other exact searches."""
    rows = {(row["peer"], row["n_bits"]): row for row in search_rows("peers")}
    lengths = sorted({bits for _, bits in rows})
    head = ["exact search"]
    for bits in lengths:
        head += [f"{bits} bits: G comparisons/s", "sigah is faster by"]
    lines = [
        [peer]
        + [
            cell
            for bits in lengths
            for cell in (
                f"{rows[peer, bits]['pairs_per_second'] / 1e9:.2f}",
                f"{rows[peer, bits]['ratio']:.1f} x",
            )
        ]
        for peer in dict.fromkeys(peer for peer, _ in rows)
    ]
    return markdown(head, lines)


def tables_table() -> str:
    """Multi-index tables on ten million real codes."""
    head = ["codes of", "queries", "k", "answered by", "a query", "over FAISS", "over our scan"]
    lines = [
        [
            SETS[row["data"]],
            str(row["queries"]),
            str(row["k"]),
            ", ".join(f"{way} {n}" for way, n in row["answered_by"].items() if n),
            f"{1e6 * row['sigah_seconds'] / row['queries']:,.0f} us",
            f"{row['ratio']:.0f} x",
            f"{row['over_scan']:.1f} x",
        ]
        for row in search_rows("tables")
    ]
    return markdown(head, lines)


def limits_table() -> str:
    """How close the scan comes to the machine's limits."""
    rows = search_rows("limits")
    head = [
        "bits",
        "comparison alone, G/s",
        "search of 1,000 queries, G/s",
        "of it",
        "one query, GB/s",
        f"of the {rows[0]['bandwidth_bytes_per_second'] / 1e9:.0f} GB/s of both cores",
    ]
    lines = [
        [
            str(row["n_bits"]),
            f"{row['peak_pairs_per_second'] / 1e9:.1f}",
            f"{row['pairs_per_second'] / 1e9:.1f}",
            f"{row['of_peak']:.0%}",
            f"{row['single_query_bytes_per_second'] / 1e9:.0f}",
            f"{row['of_bandwidth']:.0%}",
        ]
        for row in rows
    ]
    return markdown(head, lines)


def compilation_table() -> str:
    """The first search of a process."""
    head = ["kernels", "import sigah, s", "import HammingIndex, s", "first search, s"]
    keys = ("import_sigah_seconds", "import_index_seconds", "first_search_seconds")
    rows = search_rows("compilation")
    lines = [[row["kernels"], *(f"{row[key]:.2f}" for key in keys)] for row in (rows[0], rows[-1])]
    return markdown(head, lines)


def rerank_table() -> str:
    """What ranking candidates again is worth."""
    report = json.loads((ROOT / "benchmarks" / "results" / "rerank.json").read_text())
    head = ["data", "method", *("Hamming alone" if by == "none" else by for by in report["by"])]
    lines = [
        [
            SETS[row["data"]],
            LABELS[row["method"]],
            *(f"{row['mean'][by]:.3f} ± {row['std'][by]:.3f}" for by in report["by"]),
        ]
        for row in report["rows"]
    ]
    return markdown(head, lines, left=2)


def onnx_table() -> str:
    """Exported graphs beside the methods themselves."""
    report = json.loads((ROOT / "benchmarks" / "results" / "onnx.json").read_text())
    head = [
        "method",
        "bits that differ",
        "at thresholds",
        "at thresholds, float32",
        "M vectors/s",
        "`transform`",
        "float32",
        "time over float32",
        "encoder, kB",
        "decoder, kB",
        "decoder off by",
    ]
    lines = []
    for row in report["rows"]:
        rates = [
            f"{report['n_vectors'] / row[f'{way}_seconds'] / 1e6:.2f}"
            if f"{way}_seconds" in row
            else "–"
            for way in ("graph", "transform", "float32")
        ]
        over = "–"
        if "float32_seconds" in row:
            over = f"{row['graph_seconds'] / row['float32_seconds']:.1f} x"
        counts = [
            f"{row[key]:,}" if key in row else "–"
            for key in (
                "differing_bits",
                "differing_bits_at_thresholds",
                "float32_differing_bits_at_thresholds",
            )
        ]
        sizes = [
            f"{row[key] / 1e3:,.0f}" if key in row else "–"
            for key in ("encoder_bytes", "decoder_bytes")
        ]
        off = f"{row['decoder_difference']:.0e}" if "decoder_difference" in row else "–"
        off = off.replace("0e+00", "0")
        lines.append([f"`{row['method']}`", *counts, *rates, over, *sizes, off])
    return markdown(head, lines)


def scale_table() -> str:
    """Plans of four sizes, side by side."""
    sizes = {"1 million": 1e6, "100 million": 1e8, "10 billion": 1e10}
    plans = {title: plan(n, 128, dim=768, recall=0.7) for title, n in sizes.items()}
    plans["10 billion, 16 cores and 256 GB"] = plan(1e10, 128, recall=0.7, cores=16, ram_gb=256)
    columns = [summary(each) for each in plans.values()]
    lines = []
    for heading in columns[0]:
        rows = zip(*(column[heading].items() for column in columns), strict=True)
        for cells in rows:
            name = "machines" if cells[0][0].startswith("of ") else cells[0][0]
            lines.append([name, *(text for _, text in cells)])
    return markdown(["", *plans], lines, left=1 + len(plans))


def scale_assumptions() -> str:
    """What the largest of these plans assumes."""
    return "\n".join(f"- {said}" for said in plan(1e10, 128, cores=16, ram_gb=256).assumptions)


TABLES: dict[str, Callable[[], str]] = {
    "search-faiss": faiss_table,
    "search-peers": peers_table,
    "search-tables": tables_table,
    "search-limits": limits_table,
    "search-compilation": compilation_table,
    "rerank": rerank_table,
    "table2": table_2,
    "training-size": training_size_table,
    "mnist": lambda: metrics_table("mnist"),
    "fashion-mnist": lambda: metrics_table("fashion-mnist"),
    "seconds": seconds_table,
    "ablation": ablation_table,
    "wide": wide_table,
    "onnx": onnx_table,
    "scale": scale_table,
    "scale-assumptions": scale_assumptions,
}


def filled_in(page: str) -> str:
    """The page with every table made anew."""

    def table(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n{TABLES[found[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table: (\S+) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    arguments = parser.parse_args()
    for path in PAGES:
        page = path.read_text()
        if not arguments.check:
            path.write_text(filled_in(page))
        elif filled_in(page) != page:
            sys.exit(f"{path} is out of date: run {__file__}")
    if arguments.check:
        return
    everything = [json.loads((ROOT / "results" / f"{name}.json").read_text()) for name in SETS]
    three = [
        results | {"runs": [r for r in results["runs"] if r["method"] in ("sigah", "itq", "lsh")]}
        for results in everything
    ]
    curves_figure(three).savefig(IMAGES / "curves.png", dpi=110)
    recall_figure(everything, n_bits=64).savefig(IMAGES / "recall.png", dpi=110)
    ratios_figure(search_rows("grid")).savefig(IMAGES / "search.png", dpi=110)


if __name__ == "__main__":
    main()
