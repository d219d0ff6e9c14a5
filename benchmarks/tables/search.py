"""Tables of README.md and docs/search.md: search and re-ranking."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seeds import with_deviation
from sigah.lab.report.figures import LABELS
from sigah.lab.report.markdown import pipe_table as markdown

ROOT = Path(__file__).resolve().parents[2]
SETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}


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
            *(with_deviation(row, by) for by in report["by"]),
        ]
        for row in report["rows"]
    ]
    return markdown(head, lines, left=2)


def filters_table() -> str:
    """What filters cost beside a search without one."""
    report = json.loads((ROOT / "benchmarks" / "results" / "filters.json").read_text())
    names = {"ids": "list of ids", "mask": "mask of a snapshot", "prepared": "prepared"}
    head = ["ids of the index", "queries", "codes left", *names.values()]
    lines = [
        [
            row["ids"],
            str(row["queries"]),
            f"{100 * row['share']:g} %",
            *(f"{row['ratios'][name]:.2f} x" for name in names),
        ]
        for row in report["rows"]
    ]
    return markdown(head, lines)


TABLES = {
    "filters": filters_table,
    "search-faiss": faiss_table,
    "search-peers": peers_table,
    "search-tables": tables_table,
    "search-limits": limits_table,
    "search-compilation": compilation_table,
    "rerank": rerank_table,
}
