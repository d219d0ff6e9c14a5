"""ClickHouse, embedded: codes in a column of a table, scanned exactly.

The target is a folder that chdb opens: ClickHouse's engine in this process, no server. A code is a
``FixedString`` of sigah's packed bytes, compared by ``bitHammingDistance``. The table's comment is
the record. https://clickhouse.com/docs/chdb
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.engines.base import About, Engine, Rows, require

__all__ = ["ClickHouse"]


class ClickHouse(Engine):
    """A table ``(id Int64, code FixedString, label Int64 or String)`` of an embedded ClickHouse.

    Parameters
    ----------
    target : str
        The folder.
    kind : {"flat"}, optional
        An exact scan: ClickHouse has no index of binary codes.
    table : str
        Its name in the database ``default``.
    """

    name = "clickhouse"
    kinds = ("flat",)
    batch = 5_000  # ids that fit in a statement of ClickHouse's default size

    def __init__(self, target: str, *, kind: str | None = None, table: str = "sigah") -> None:
        super().__init__(target, kind=kind)
        self.folder = Path(target).resolve()
        self.table = table
        self._chdb: Any = None
        self._arrow: Any = None
        self._session: Any = None

    def failures(self) -> tuple[type[Exception], ...]:
        """The errors of chdb."""
        return (RuntimeError, self._chdb.ChdbError) if self._chdb else (RuntimeError,)

    def read_about(self) -> About | None:
        """Read the table's comment."""
        self._chdb = require("chdb", "chdb", "clickhouse")
        self._arrow = require("pyarrow", "PyArrow", "clickhouse")
        if not self.folder.parent.is_dir():
            raise FileNotFoundError(f"{self.folder.parent}: no such folder")
        if not self.folder.exists():
            return None
        if not self.folder.is_dir() or (
            any(self.folder.iterdir()) and not (self.folder / "metadata").is_dir()
        ):
            raise ValueError(f"{self.target} is not a folder of ClickHouse")
        found = self._ask(
            "SELECT comment FROM system.tables"
            f" WHERE database = currentDatabase() AND name = {quoted(self.table)}"
        )["comment"].to_pylist()
        if not found:
            return None
        if '"sigah-engine"' not in found[0]:
            raise ValueError(
                f"{self.target}: its table {self.table} was not made by `sigah export`"
            )
        return About.from_json(found[0], self.where)

    def create(self, about: About, sample: NDArray[np.uint8]) -> None:
        """Make the table; of rows with the same id, the last one is kept."""
        label = {None: "", "int": ", label Int64", "str": ", label String"}[about.labels]
        self._run(
            f"CREATE TABLE IF NOT EXISTS {self._name}"
            f" (id Int64, code FixedString({about.n_bits // 8}){label})"
            f" ENGINE = ReplacingMergeTree ORDER BY id COMMENT {quoted(about.to_json())}"
        )
        self.write_about(about)

    def write_about(self, about: About) -> None:
        """Write the table's comment."""
        self._run(f"ALTER TABLE {self._name} MODIFY COMMENT {quoted(about.to_json())}")

    def get(self, ids: NDArray[np.int64]) -> Rows:
        """Read the rows; ``FINAL`` excludes rows that were replaced."""
        assert self.about is not None
        wanted = ", ".join(map(str, ids.tolist()))
        found = self._ask(f"SELECT * FROM {self._name} FINAL WHERE id IN ({wanted})")
        codes = np.frombuffer(b"".join(found["code"].to_pylist()), np.uint8)
        labels = None
        if self.about.labels is not None:
            labels = np.empty(len(found), object)
            labels[:] = found["label"].to_pylist()
        return Rows(found["id"].to_numpy(), codes.reshape(-1, self.about.n_bits // 8), labels)

    def put(self, rows: Rows) -> None:
        """Insert rows from an Arrow file."""
        arrow = self._arrow
        width = rows.codes.shape[1]
        buffers = [None, arrow.py_buffer(rows.codes.tobytes())]
        columns = {
            "id": rows.ids,
            "code": arrow.FixedSizeBinaryArray.from_buffers(
                arrow.binary(width), len(rows), buffers
            ),
        }
        if rows.labels is not None:
            columns["label"] = rows.labels.tolist()
        table = arrow.table(columns)
        with tempfile.NamedTemporaryFile(suffix=".arrow") as file:
            with arrow.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.flush()
            names = ", ".join(columns)
            self._run(
                f"INSERT INTO {self._name} ({names})"
                f" SELECT {names} FROM file({quoted(file.name)}, 'Arrow')"
            )

    def delete(self, ids: NDArray[np.int64]) -> None:
        """Delete rows; those that were replaced by them go too."""
        self._run(f"DELETE FROM {self._name} WHERE id IN ({', '.join(map(str, ids.tolist()))})")

    def finish(self) -> None:
        """Merge the parts, so that searches need not check for replaced rows."""
        self._run(f"OPTIMIZE TABLE {self._name} FINAL")

    def __len__(self) -> int:
        return int(self._ask(f"SELECT count() AS n FROM {self._name} FINAL")["n"][0].as_py())

    def _nearest(
        self, codes: NDArray[np.uint8], k: int, labels: list[Any] | None
    ) -> list[list[tuple[int, int]]]:
        chosen = "" if labels is None else f"WHERE label IN ({', '.join(map(quoted, labels))})"
        found = []
        for code in codes:
            query = f"toFixedString(unhex('{code.tobytes().hex()}'), {len(code)})"
            nearest = self._ask(
                f"SELECT bitHammingDistance(code, {query}) AS distance, id"
                f" FROM {self._name} FINAL {chosen} ORDER BY distance, id LIMIT {k}"
            )
            distances, ids = nearest["distance"].to_pylist(), nearest["id"].to_pylist()
            found.append(list(zip(distances, ids, strict=True)))
        return found

    def close(self) -> None:
        """Close the folder."""
        if self._session is not None:
            self._session.close()
            self._session = None

    @property
    def _name(self) -> str:
        return "`" + self.table.replace("\\", "\\\\").replace("`", "\\`") + "`"

    def _run(self, statement: str, form: str = "Null") -> bytes:
        if self._session is None:
            session = require("chdb.session", "chdb", "clickhouse")
            try:
                self._session = session.Session(str(self.folder))
            except self.failures() as error:
                raise OSError(
                    f"{self.target} does not open: another process has it open, or it is damaged"
                ) from error
        answer: bytes = self._session.query(statement, form).bytes()
        return answer

    def _ask(self, statement: str) -> Any:
        """The answer as an Arrow table."""
        return self._arrow.ipc.open_file(self._run(statement, "Arrow")).read_all()


def quoted(value: int | str) -> str:
    r"""A number or a text as a literal of ClickHouse's SQL.

    Examples
    --------
    >>> from sigah.engines.clickhouse import quoted
    >>> print(quoted("it's"), quoted(7))
    'it\'s' 7
    """
    if isinstance(value, int):
        return str(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
