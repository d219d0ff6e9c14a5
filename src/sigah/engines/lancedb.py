"""LanceDB: a table in a folder or an object store, beside other columns.

github.com/lancedb/lancedb. Codes are a column ``code``, a fixed-size list of uint8; vectors are a
column ``vector`` of float16; the record is metadata of the column ``id``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.checks import check_whole
from sigah.engines.base import About, Engine, Rows, require
from sigah.metric import distances_from, unit_rows

__all__ = ["LanceDB"]

KEY = "sigah"  # of the metadata
CANDIDATE_BYTES = 1 << 26  # of vectors that are ranked at a time


class LanceDB(Engine):
    """A table of LanceDB with the columns ``id``, ``code`` and, if given, ``label`` and ``vector``.

    Parameters
    ----------
    target : str
        The folder of the database, or an address that LanceDB accepts (``s3://...``).
    kind : {"flat", "ivf"}, optional
        An exact scan, or inverted lists (IVF_FLAT), exact if all are probed.
    table : str
        Its name in the database.
    lists : int, optional
        Inverted lists of kind ivf; by default as many as LanceDB chooses.
    probes : int
        Lists that a search of kind ivf reads.
    """

    name = "lancedb"
    kinds = ("flat", "ivf")
    keeps_vectors = True

    def __init__(
        self,
        target: str,
        *,
        kind: str | None = None,
        table: str = "codes",
        lists: int | None = None,
        probes: int = 16,
    ) -> None:
        super().__init__(target, kind=kind)
        self.table = table
        self.lists = None if lists is None else check_whole(lists, "lists", least=1)
        self.probes = check_whole(probes, "probes", least=1)
        self._lancedb: Any = None
        self._table: Any = None

    @property
    def where(self) -> str:
        """The database and the table."""
        return f"{self.target}, table {self.table}"

    def read_about(self) -> About | None:
        """Read the metadata of the column of ids."""
        self._lancedb = require("lancedb", "LanceDB", "lancedb")
        if "://" not in self.target and not Path(self.target).is_dir():
            folder = Path(self.target).resolve().parent
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder}: no such folder; create it first")
            return None
        database = self._lancedb.connect(self.target)
        try:
            self._table = database.open_table(self.table)
        except ValueError as error:
            if "not found" in str(error):
                return None
            raise OSError(f"lancedb: {self.where}: {error}") from error
        names = self._table.schema.names
        metadata = self._table.schema.field("id").metadata if "id" in names else None
        text = (metadata or {}).get(KEY.encode())
        if text is None:
            raise ValueError(f"{self.where} exists, but `sigah export` did not make it")
        return About.from_json(text.decode(), self.where)

    def create(self, about: About, sample: NDArray[np.uint8]) -> None:
        """Make an empty table with its record in one step."""
        arrow = require("pyarrow", "Arrow", "lancedb")
        label_type = {"int": arrow.int64(), "str": arrow.string()}
        fields = [
            arrow.field("id", arrow.int64(), nullable=False, metadata={KEY: about.to_json()}),
            arrow.field("code", arrow.list_(arrow.uint8(), about.n_bits // 8), nullable=False),
        ]
        if about.labels is not None:
            fields.append(arrow.field("label", label_type[about.labels], nullable=False))
        if about.dim is not None:
            halves = arrow.list_(arrow.float16(), about.dim)
            fields.append(arrow.field("vector", halves, nullable=False))
        database = self._lancedb.connect(self.target)
        schema = arrow.schema(fields)
        self._table = database.create_table(self.table, schema=schema, exist_ok=True)

    def write_about(self, about: About) -> None:
        """Replace the metadata."""
        self._table.update_field_metadata({"path": "id", "metadata": {KEY: about.to_json()}})

    def get(self, ids: NDArray[np.int64]) -> Rows:
        """Read rows by a scan of the range of the ids."""
        assert self.about is not None
        columns = ["id", "code"] + ["label"] * (self.about.labels is not None)
        columns += ["vector"] * (self.about.dim is not None)
        found = (
            self._table.search()
            .where(f"id BETWEEN {ids[0]} AND {ids[-1]}")
            .select(columns)
            .to_arrow()
            .combine_chunks()
        )
        held = found["id"].to_numpy()
        codes = found["code"].combine_chunks().flatten().to_numpy()
        labels = None
        if self.about.labels is not None:
            labels = np.empty(len(held), object)
            labels[:] = found["label"].to_pylist()
        vectors = None if self.about.dim is None else _vectors(found, self.about.dim)
        rows = Rows(held, codes.reshape(len(held), self.about.n_bits // 8), labels, vectors)
        return rows.take(np.isin(held, ids))

    def put(self, rows: Rows) -> None:
        """Merge rows by id, in one transaction; columns that others added keep their values."""
        arrow = require("pyarrow", "Arrow", "lancedb")
        schema = self._table.schema

        def lists(values: NDArray[Any]) -> Any:
            items = arrow.array(np.ascontiguousarray(values).reshape(-1))
            return arrow.FixedSizeListArray.from_arrays(items, values.shape[1])

        columns = {"id": arrow.array(rows.ids), "code": lists(rows.codes)}
        if rows.labels is not None:
            columns["label"] = arrow.array(rows.labels.tolist(), schema.field("label").type)
        if rows.vectors is not None:
            columns["vector"] = lists(rows.vectors)
        merge = self._table.merge_insert("id").when_matched_update_all()
        own = arrow.schema([schema.field(name) for name in columns])
        table = arrow.Table.from_arrays(list(columns.values()), schema=own)
        merge.when_not_matched_insert_all().execute(table)

    def delete(self, ids: NDArray[np.int64]) -> None:
        """Delete rows, in one transaction."""
        self._table.delete(f"id IN ({', '.join(map(str, ids.tolist()))})")

    def finish(self) -> None:
        """Merge the fragments of the batches, and build the inverted lists."""
        assert self.about is not None
        self._table.optimize()
        if self.about.kind == "ivf" and len(self):
            lists = self._lancedb.index.IvfFlat(distance_type="hamming", num_partitions=self.lists)
            self._table.create_index("code", config=lists)

    def __len__(self) -> int:
        return int(self._table.count_rows())

    def close(self) -> None:
        """Close the table."""
        self._table = None

    def _nearest(
        self, codes: NDArray[np.uint8], k: int, labels: list[Any] | None
    ) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        found, order, owners, rank = self._candidates(codes, k, labels)
        distances = np.zeros((len(codes), k), np.int64)
        ids = np.full((len(codes), k), -1, np.int64)
        distances[owners, rank] = found["_distance"].to_numpy()[order]
        ids[owners, rank] = found["id"].to_numpy()[order]
        return distances, ids

    def _ranked(
        self,
        codes: NDArray[np.uint8],
        vectors: NDArray[np.float32],
        k: int,
        n_ranked: int,
        metric: str,
        labels: list[Any] | None,
    ) -> list[list[tuple[float, int]]]:
        assert self.about is not None
        assert self.about.dim is not None
        ranked = []
        step = max(1, CANDIDATE_BYTES // (2 * self.about.dim * n_ranked))
        for start in range(0, len(codes), step):
            some = slice(start, start + step)
            found, order, owners, _ = self._candidates(codes[some], n_ranked, labels, "vector")
            ids = found["id"].to_numpy()[order]
            rows: Any = _vectors(found, self.about.dim)[order].astype(np.float32)
            queries: Any = vectors[some]
            if metric == "cosine":
                rows, queries = unit_rows(rows), unit_rows(queries)
            edges = np.searchsorted(owners, np.arange(len(queries) + 1))
            for query, first, last in zip(queries, edges, edges[1:], strict=False):
                distances = distances_from(query, rows[first:last], metric)
                nearest = np.lexsort((ids[first:last], distances))[:k]
                pairs = distances[nearest].tolist(), ids[first:last][nearest].tolist()
                ranked.append(list(zip(*pairs, strict=True)))
        return ranked

    def _candidates(
        self, codes: NDArray[np.uint8], n: int, labels: list[Any] | None, *columns: str
    ) -> tuple[Any, NDArray[np.intp], NDArray[np.int64], NDArray[np.intp]]:
        """The nearest codes of queries, with columns; their order by query, its number, ranks."""
        query = (
            self._table.search(codes, vector_column_name="code")
            .distance_type("hamming")
            .nprobes(self.probes)
            .select(["id", "_distance", *columns])
            .limit(n)
        )
        if labels is not None:
            query = query.where(f"label IN ({', '.join(map(_literal, labels))})", prefilter=True)
        found = query.to_arrow()
        owners = np.zeros(len(found), np.int64)  # of a single query, LanceDB leaves the column out
        if len(codes) > 1:
            owners = found["query_index"].to_numpy()
        order = np.argsort(owners, kind="stable")
        owners = owners[order]
        return found, order, owners, np.arange(len(owners)) - np.searchsorted(owners, owners)


def _vectors(found: Any, dim: int) -> NDArray[np.float16]:
    """The column of vectors of an Arrow table."""
    halves: NDArray[np.float16] = found["vector"].combine_chunks().flatten().to_numpy()
    return halves.reshape(len(found), dim)


def _literal(label: int | str) -> str:
    """A label as an SQL literal."""
    return str(label) if isinstance(label, int) else "'" + label.replace("'", "''") + "'"
