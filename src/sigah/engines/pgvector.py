"""PostgreSQL with pgvector: codes in a table, in the same database as other data.

The target is any connection string of libpq. A code is a ``bit(n)`` whose first bit is bit 0 of
sigah's code; ``<~>`` is the Hamming distance. The table's comment is the record.
https://github.com/pgvector/pgvector
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.engines.base import About, Engine, Rows, require

__all__ = ["PgVector"]

MOST_EXPANSION = 1000  # pgvector's limit
LONGEST_NAME = 50  # bytes: PostgreSQL cuts names at 63 bytes, and index names are longer
MOST_BITS = 64_000  # of a code in a graph
OLDEST = (0, 8)  # first pgvector whose graph search continues if a filter leaves too few
OPERATORS = {"l2": "<->", "cosine": "<=>", "ip": "<#>"}
SETTINGS = (  # of a graph search; it goes on until enough are found
    "SELECT set_config('hnsw.ef_search', %(expansion)s::text, true),"
    " set_config('hnsw.iterative_scan', 'relaxed_order', true)"
)


class PgVector(Engine):
    """A table ``(id bigint, code bit(n), label bigint or text, vector halfvec(d))`` of PostgreSQL.

    Parameters
    ----------
    target : str
        Such as ``postgresql://user@host/database``; empty to use the environment (``PGHOST``, ...).
    kind : {"hnsw", "flat"}, optional
        An approximate graph, built after the load; or an exact scan.
    table : str
        Its name, or ``schema.table``.
    links : int
        Neighbours of a code in the graph.
    expansion : int
        Candidates that a graph search keeps: at least k, at most 1,000.
    """

    name = "pgvector"
    kinds = ("hnsw", "flat")
    keeps_vectors = True

    def __init__(
        self,
        target: str,
        *,
        kind: str | None = None,
        table: str = "sigah",
        links: int = 16,
        expansion: int = 100,
    ) -> None:
        super().__init__(target, kind=kind)
        *schema, name = table.split(".")
        if len(schema) > 1 or not all((*schema, name)) or len(name.encode()) > LONGEST_NAME:
            raise ValueError(
                f"table must be a name (at most {LONGEST_NAME} bytes) or schema.name, got {table!r}"
            )
        self.table = table
        self.links = links
        self.expansion = expansion
        self._psycopg: Any = None
        self._connection: Any = None

    @property
    def where(self) -> str:
        """The address without its password, and the table."""
        address = re.sub(r"(?<=://)([^:/@]*):.*@", r"\1@", self.target)
        return re.sub(r"\bpassword\s*=\s*('[^']*'|[^\s&]*)[\s&]?", "", address) + f" {self.table}"

    def failures(self) -> tuple[type[Exception], ...]:
        """The errors of psycopg."""
        return (self._psycopg.Error,) if self._psycopg else ()

    def transient(self) -> tuple[type[Exception], ...]:
        """A lost connection, or a server that starts or stops."""
        own = (self._psycopg.OperationalError,) if self._psycopg else ()
        return (*super().transient(), *own)

    def read_about(self) -> About | None:
        """Read the table's comment."""
        self._psycopg = require("psycopg", "psycopg", "pgvector")
        if self._connection is None:
            self._connect()
        found = self._connection.execute(
            "SELECT obj_description(table_, 'pg_class') FROM to_regclass(%s) AS table_"
            " WHERE table_ IS NOT NULL",
            (self._name().as_string(self._connection),),
        ).fetchone()
        if found is None:
            return None
        if '"sigah-engine"' not in (found[0] or ""):
            raise ValueError(f"{self.where} is a table that `sigah export` did not make")
        return About.from_json(found[0], self.where)

    def create(self, about: About, sample: NDArray[np.uint8]) -> None:
        """Make the table and, if needed, the extension."""
        if about.kind == "hnsw" and about.n_bits > MOST_BITS:
            raise ValueError(
                f"pgvector's graphs hold codes of at most {MOST_BITS:,} bits, but these have"
                f" {about.n_bits:,}; export with kind=flat"
            )
        self._check_extension()
        label = {None: "", "int": ", label bigint NOT NULL", "str": ", label text NOT NULL"}
        vector = "" if about.dim is None else f", vector halfvec({about.dim}) NOT NULL"
        with self._connection.transaction():
            self._run(
                f"CREATE TABLE IF NOT EXISTS {{table}} (id bigint PRIMARY KEY,"
                f" code bit({about.n_bits}) NOT NULL{label[about.labels]}{vector})"
            )
            self.write_about(about)

    def _check_extension(self) -> None:
        errors = self._psycopg.errors
        try:
            self._run("CREATE EXTENSION IF NOT EXISTS vector")
        except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
            raise OSError(f"{self.where}: pgvector is not installed on that server") from error
        found = self._run("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        version = found.fetchone()[0]
        if tuple(map(int, version.split(".")[:2])) < OLDEST:
            raise OSError(f"{self.where}: pgvector {version} is too old; update it to 0.8 or newer")

    def write_about(self, about: About) -> None:
        """Write the table's comment."""
        self._run("COMMENT ON TABLE {table} IS {text}", text=about.to_json())

    def get(self, ids: NDArray[np.int64]) -> Rows:
        """Read rows in PostgreSQL's binary form: codes and vectors after 4 bytes of lengths."""
        assert self.about is not None
        label = "" if self.about.labels is None else ", label"
        vector = "" if self.about.dim is None else ", vector"
        found = self._connection.execute(
            self._sql(f"SELECT id, code{label}{vector} FROM {{table}} WHERE id = ANY(%s)"),
            (ids.tolist(),),
            binary=True,
        ).fetchall()
        codes = np.frombuffer(b"".join(row[1] for row in found), np.uint8)
        codes = codes.reshape(-1, 4 + self.about.n_bits // 8)[:, 4:]
        labels = None
        if label:
            labels = np.empty(len(found), object)
            labels[:] = [row[2] for row in found]
        vectors = None
        if vector:
            halves = np.frombuffer(b"".join(row[-1] for row in found), ">f2")
            vectors = halves.reshape(-1, 2 + self.about.dim)[:, 2:]  # type: ignore[operator]
        return Rows(np.array([row[0] for row in found], np.int64), codes, labels, vectors)

    def put(self, rows: Rows) -> None:
        """Copy rows into a temporary table and merge them into the table, in one transaction."""
        values: dict[str, Any] = {
            "id": rows.ids.tolist(),
            "code": _words(rows.codes),
        }
        if rows.labels is not None:
            values["label"] = rows.labels.tolist()
        if rows.vectors is not None:
            values["vector"] = _halves(rows.vectors)
        names = ", ".join(values)
        with self._connection.transaction(), self._connection.cursor() as cursor:
            self._run(
                "CREATE TEMPORARY TABLE sigah_rows ON COMMIT DROP"
                f" AS SELECT {names} FROM {{table}} WITH NO DATA"
            )
            with cursor.copy(f"COPY sigah_rows ({names}) FROM STDIN") as copy:
                for row in zip(*values.values(), strict=True):
                    copy.write_row(row)
            replace = ", ".join(f"{name} = excluded.{name}" for name in values if name != "id")
            self._run(
                f"INSERT INTO {{table}} ({names}) SELECT {names} FROM sigah_rows"
                f" ON CONFLICT (id) DO UPDATE SET {replace}"
            )

    def delete(self, ids: NDArray[np.int64]) -> None:
        """Delete rows; PostgreSQL takes them out of its indexes."""
        self._connection.execute(
            self._sql("DELETE FROM {table} WHERE id = ANY(%s)"), (ids.tolist(),)
        )

    def finish(self) -> None:
        """Build missing indexes; PostgreSQL adds later rows to them."""
        assert self.about is not None
        if self.about.kind == "hnsw":
            self._run(
                "CREATE INDEX IF NOT EXISTS {graph} ON {table} USING hnsw (code bit_hamming_ops)"
                f" WITH (m = {self.links:d}, ef_construction = {max(64, 2 * self.links):d})",
                graph=self._index_name("code"),
            )
        if self.about.labels is not None:
            self._run(
                "CREATE INDEX IF NOT EXISTS {labels} ON {table} (label)",
                labels=self._index_name("label"),
            )
        self._run("ANALYZE {table}")  # so that the planner uses the index only for rare labels

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM {table}").fetchone()[0])

    def _nearest(
        self, codes: NDArray[np.uint8], k: int, labels: list[Any] | None
    ) -> list[list[tuple[float, int]]]:
        columns = "id, held.code <~> query.code AS distance"
        return self._outliving(
            f"""
            SELECT place, distance, id
            FROM unnest(%(codes)s::{self._code}[]) WITH ORDINALITY AS query (code, place),
            LATERAL ({self._candidates(columns, k, labels)}) AS nearest""",
            k,
            {"codes": _words(codes), "labels": labels},
        )

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
        found = self._outliving(
            f"""
            SELECT place, distance, id
            FROM unnest(%(codes)s::{self._code}[], %(vectors)s::halfvec({self.about.dim})[])
                WITH ORDINALITY AS query (code, vector, place),
            LATERAL (
                SELECT id, near.vector {OPERATORS[metric]} query.vector AS distance
                FROM ({self._candidates("id, held.vector", n_ranked, labels)}) AS near
                ORDER BY distance, id LIMIT {k}
            ) AS nearest""",
            n_ranked,
            {
                "codes": _words(codes),
                "vectors": _halves(vectors.astype(np.float16)),
                "labels": labels,
            },
        )
        if metric == "l2":
            return [[(distance**2, one) for distance, one in pairs] for pairs in found]
        if metric == "cosine":  # a vector of zeros has no angle; its distance is 1
            return [
                [(1.0 if distance != distance else distance, one) for distance, one in pairs]
                for pairs in found
            ]
        return found

    @property
    def _code(self) -> str:
        """The type of a code."""
        assert self.about is not None
        return f"bit({self.about.n_bits})"

    def _candidates(self, columns: str, n: int, labels: list[Any] | None) -> str:
        """A statement for the ``n`` nearest codes of ``query.code``."""
        assert self.about is not None
        chosen = "" if labels is None else "WHERE label = ANY(%(labels)s)"
        # a graph can order by the distance only
        ties = ", id" if self.about.kind == "flat" else ""
        return (
            f"SELECT {columns} FROM {{table}} AS held {chosen}"
            f" ORDER BY held.code <~> query.code{ties} LIMIT {n}"
        )

    def _outliving(
        self, statement: str, width: int, values: dict[str, Any]
    ) -> list[list[tuple[float, int]]]:
        """Distances and ids of each query, also if the server was restarted since the last one."""
        try:
            return self._search(statement, width, values)
        except self._psycopg.OperationalError:
            if not self._connection.closed:
                raise
            self._connect()
            return self._search(statement, width, values)

    def _search(
        self, statement: str, width: int, values: dict[str, Any]
    ) -> list[list[tuple[float, int]]]:
        expansion = min(max(self.expansion, width), MOST_EXPANSION)
        found: list[list[tuple[float, int]]] = [[] for _ in values["codes"]]
        # One message is one transaction: the server answers in one round trip, and the settings
        # do not outlive it in a session that a pooler shares.
        with self._psycopg.ClientCursor(self._connection) as cursor:
            cursor.execute(self._sql(f"{SETTINGS}; {statement}"), values | {"expansion": expansion})
            cursor.nextset()
            for place, distance, one in cursor:
                found[place - 1].append((distance, one))
        return found

    def reconnect(self) -> None:
        """Connect again."""
        self.close()
        self._connect()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> None:
        try:
            # poolers such as PgBouncer do not support statements prepared by the client
            self._connection = self._psycopg.connect(
                self.target, autocommit=True, prepare_threshold=None
            )
        except self._psycopg.OperationalError as error:
            line = str(error).strip().partition("\n")[0]
            raise self._psycopg.OperationalError(
                f"{line}; check that PostgreSQL is running there and that you may connect"
            ) from error

    def _name(self) -> Any:
        return self._psycopg.sql.Identifier(*self.table.split("."))

    def _index_name(self, column: str) -> Any:
        return self._psycopg.sql.Identifier(f"{self.table.split('.')[-1]}_{column}_index")

    def _sql(self, statement: str, **values: Any) -> Any:
        """A statement with the names and texts filled in."""
        sql = self._psycopg.sql
        return sql.SQL(statement).format(table=self._name(), **values)

    def _run(self, statement: str, **values: Any) -> Any:
        return self._connection.execute(self._sql(statement, **values))


def _words(codes: NDArray[np.uint8]) -> list[str]:
    """Codes as PostgreSQL reads them."""
    return [f"x{code.tobytes().hex()}" for code in codes]


def _halves(vectors: NDArray[np.float16]) -> list[str]:
    """Vectors as pgvector reads them; five digits tell any float16 from the next."""
    return [f"[{','.join(map('{:.5g}'.format, vector))}]" for vector in vectors.tolist()]
