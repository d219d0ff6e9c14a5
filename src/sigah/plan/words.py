"""The text of a plan: recommended index and engine, reasons, and assumptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigah.plan import rates
from sigah.plan.arithmetic import table_seconds

if TYPE_CHECKING:
    from sigah.plan import Plan

__all__ = [
    "alternatives_of",
    "assumptions_of",
    "index_of",
    "readable_bytes",
    "readable_seconds",
    "reason_of",
    "summary",
]

# No figure: the cost of a recall differs too much between data sets for any rule.
UNKNOWN_RECALL = (
    "depends on your data: TwoStageSearch.calibrate measures on a sample how many candidates are"
    " needed"
)
BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
TIME_UNITS = (
    ("days", 86400),
    ("hours", 3600),
    ("minutes", 60),
    ("s", 1),
    ("ms", 1e-3),
    ("us", 1e-6),
)


def summary(plan: Plan) -> dict[str, dict[str, str]]:
    """A short summary of a plan, under headings."""
    each = "" if plan.machines == 1 else "each "
    wanted_by = {"memory": ", for memory", "queries": ", for the queries"}[plan.limit]
    return {
        "memory": {
            "float vectors": readable_bytes(plan.float_bytes),
            "codes": f"{readable_bytes(plan.code_bytes)}, {plan.saved:,.0f} times smaller",
            "ids, unless consecutive": readable_bytes(plan.id_bytes),
            "tables, if built": readable_bytes(plan.table_bytes),
        },
        "machines": {
            f"of {readable_bytes(plan.ram_bytes)} and {plan.cores} cores": (
                f"{plan.machines:,}{wanted_by if plan.machines > 1 else ''}"
            ),
            "needed to hold tables, too": f"{plan.table_machines:,}",
            "needed to hold the floats": f"{plan.float_machines:,}",
        },
        "once": {
            "learn SiGAH": readable_seconds(plan.fit_seconds),
            "learn ITQ": readable_seconds(plan.itq_fit_seconds),
            "encode everything": (
                f"{readable_seconds(plan.encode_seconds)},"
                f" {each}reading {readable_bytes(plan.encode_bytes_per_second)}/s"
            ),
        },
        "search, exact, k = 10": {
            "scan, a single query": readable_seconds(plan.query_seconds),
            f"scan, at {digits(plan.queries_per_second)} queries/s": (
                "one at a time"
                if plan.batch == 1
                else f"{plan.batch:,} together in {readable_seconds(plan.batch_seconds)}"
            ),
            "most queries/s by scans": digits(plan.capacity),
            "tables, near neighbours": f"{readable_seconds(plan.tables_near_seconds)} or more",
            "tables, random bits": readable_seconds(plan.tables_uniform_seconds),
        },
        "take": {
            "engine": plan.engine,
            "because": plan.reason,
            "index": plan.index,
            **({} if plan.recall is None else {f"for recall {plan.recall:g}": UNKNOWN_RECALL}),
        },
    }


def digits(number: float, significant: int = 3) -> str:
    """A number with no more digits than a plan justifies."""
    return f"{float(f'{number:.{significant}g}'):,.12g}"


def readable_bytes(size: float) -> str:
    """Bytes in a unit that leaves few digits."""
    power = 0
    while size >= 999.5 and power < len(BYTE_UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{digits(size)} {BYTE_UNITS[power]}"


def readable_seconds(seconds: float) -> str:
    """A time in a unit that leaves few digits."""
    unit, length = next((u for u in TIME_UNITS if seconds >= u[1]), TIME_UNITS[-1])
    return f"{digits(seconds / length, 2)} {unit}"


def index_of(machines: int, table_machines: int, near: float, uniform: float, scan: float) -> str:
    """Recommend a scan or tables."""
    if near > scan / 2:
        return "scan: tables gain little"
    if table_machines > machines:
        return f"scan; with the memory of {table_machines:,} machines, tables for near neighbours"
    if uniform > scan:
        return "scan, and build_tables() for near neighbours: searches choose the cheaper method"
    return "scan and tables: even for random bits, tables answer a single query faster"


def reason_of(by_memory: int, by_queries: int) -> str:
    """The reason for the number of machines."""
    if max(by_memory, by_queries) == 1:
        return "one machine holds all codes and keeps up; exact, no server to run"
    reason = f"memory needs {by_memory:,}, the queries need {by_queries:,}"
    return f"{reason}; each searches its part, and the answers are merged: exact"


def alternatives_of(bits: int, by_memory: int) -> dict[str, str]:
    """Other engines, and when they are the better choice."""
    one = "" if by_memory == 1 else f"; here {by_memory:,} servers, each with a part"
    words = "UInt64" if bits == 64 else "UInt256" if bits == 256 else f"FixedString({bits // 8})"
    return {
        "FAISS": "in C++, or if an approximate IndexBinaryIVF or IndexBinaryHNSW will do" + one,
        "pgvector": f"beside rows in PostgreSQL: bit({bits}), <~>, hnsw with bit_hamming_ops" + one,
        "LanceDB": "codes on disk or in an object store, with SQL filters: IVF_FLAT, hamming",
        "Milvus": "a service with replicas and shards: BINARY_VECTOR, HAMMING, BIN_IVF_FLAT",
        "ClickHouse": f"beside analytics: bitHammingDistance on {words}, a full scan, sharded",
    }


def assumptions_of(n: int, here: int, bits: int, dim: int, cores: int) -> list[str]:
    """The source of the figures, and what was not measured."""
    tables = rates.TABLES_BITS, rates.TABLES_CODES, round(rates.NEAR * rates.TABLES_BITS)
    measured, even = rates.TABLES["query_seconds"], table_seconds(*tables)
    said = [
        f"Rates: two cores of an {rates.MACHINE}; benchmarks/results/search.json (10 million"
        " uniform codes, k = 10) and fit_and_encode.json (60,000 vectors of 784 dimensions).",
        f"Codes and ids (8 bytes) take at most {rates.USABLE:.0%} of memory, searches"
        f" {rates.BUSY:.0%} of the time. Network, replicas and disks are not counted.",
        "The time of encoding does not include reading the vectors.",
        "Tables: costs of buckets and codes measured at 64 bits, codes spread evenly. Real codes"
        " cluster in buckets: with 10 million codes of MNIST, a query took"
        f" {readable_seconds(measured)} instead of {readable_seconds(even)}. Near means within"
        f" {rates.NEAR:.0%} of the bits.",
    ]
    if here > rates.SCAN_CODES:
        said.append(f"Extrapolated: {here:,} codes per machine; at most 10 million were measured.")
    if bits not in rates.SCAN:
        said.append(f"Extrapolated: {bits} bits; {', '.join(map(str, rates.SCAN))} were measured.")
    if bits not in rates.ENCODE or dim != rates.ENCODE_DIM:
        said.append(
            f"Extrapolated: encoding and learning at {bits} bits and {dim} dimensions; 32 and 64"
            f" bits of {rates.ENCODE_DIM} dimensions were measured."
        )
    if cores != rates.CORES:
        said.append(
            f"Extrapolated: {cores} cores. Batches and encoding are scaled in proportion; a single"
            " query is limited by memory speed and gains nothing from more than two."
        )
    return said
