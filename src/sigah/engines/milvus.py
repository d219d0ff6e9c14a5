"""Milvus: codes in a collection, in a local file or on a server.

The target is a file ``*.db``, served by a process of Milvus Lite, or the address of a server; the
calls are the same. Codes are a ``BINARY_VECTOR`` of sigah's packed bytes. A second collection,
``NAME_about``, stores the record, because Milvus Lite cannot change a description.
https://milvus.io/docs
"""

from __future__ import annotations

import json
import logging
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.engines.base import About, Engine, Rows, require

__all__ = ["Milvus"]

QUERIES = 1000  # in one call; Milvus accepts at most 16,384
START = 30.0  # seconds that a local server may take
LONGEST = 65_535  # most bytes of a text
FILES = r"[A-Za-z0-9._-]{1,32}\.db"  # names that Milvus Lite accepts
AFRESH = {"grpc.use_local_subchannel_pool": 1}  # a new connection is independent of old ones
INDEXES = {"flat": "BIN_FLAT", "ivf": "BIN_IVF_FLAT"}


class Milvus(Engine):
    """A collection ``(id INT64, code BINARY_VECTOR, label INT64 or VARCHAR)`` of Milvus.

    Parameters
    ----------
    target : str
        A file ``*.db``, or an address such as ``http://user:password@host:19530/database``.
    kind : {"flat", "ivf"}, optional
        An exact scan; or inverted lists, on servers only.
    collection : str
        Its name.
    lists : int
        Inverted lists of kind ivf.
    probes : int
        Lists that a search of kind ivf reads.
    """

    name = "milvus"
    kinds = ("flat", "ivf")
    batch = 5_000  # so that even the widest codes stay within the server's limit of 64 MB per call

    def __init__(
        self,
        target: str,
        *,
        kind: str | None = None,
        collection: str = "sigah",
        lists: int = 128,
        probes: int = 16,
    ) -> None:
        super().__init__(target, kind=kind)
        self.local = "://" not in target
        if self.local and not re.fullmatch(FILES, Path(target).name):
            raise ValueError(
                f"{target}: a target of milvus is an address (http://host:19530), or a file whose"
                " name ends in .db and has at most 35 letters, digits, dots, hyphens, underscores"
            )
        self.collection = collection
        self.lists = lists
        self.probes = probes
        self._pymilvus: Any = None
        self._client: Any = None
        self._server: Any = None

    @property
    def where(self) -> str:
        """The target without its password."""
        return re.sub(r"(?<=://)([^:/@]*):.*@", r"\1@", self.target)

    def read_about(self) -> About | None:
        """Read the record from its collection."""
        self._pymilvus = require("pymilvus", "pymilvus", "milvus")
        # the client also prints the errors that it raises
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        if self.local and not Path(self.target).exists():
            if not Path(self.target).resolve().parent.is_dir():
                raise FileNotFoundError(f"{self.target}: its folder does not exist")
            return None
        if not self._call("has_collection", f"{self.collection}_about"):
            if self._call("has_collection", self.collection):
                raise ValueError(
                    f"{self.where}: its collection {self.collection} was not made by `sigah export`"
                )
            return None
        found = self._call("get", f"{self.collection}_about", ids=[0], output_fields=["text"])
        return About.from_json(found[0]["text"], self.where) if found else None

    def create(self, about: About, sample: NDArray[np.uint8]) -> None:
        """Make both collections; the record's first, so that the codes are known to be sigah's."""
        kinds = self._pymilvus.DataType
        text = {"datatype": kinds.VARCHAR, "max_length": LONGEST}
        # Milvus requires a vector in every collection
        self._make(f"{self.collection}_about", 8, "BIN_FLAT", {}, {"text": text})
        labels = {None: {}, "int": {"label": {"datatype": kinds.INT64}}, "str": {"label": text}}
        lists = {"nlist": self.lists} if about.kind == "ivf" else {}
        self._make(self.collection, about.n_bits, INDEXES[about.kind], lists, labels[about.labels])
        self.write_about(about)

    def write_about(self, about: About) -> None:
        """Replace the one row of the record's collection."""
        row = {"id": 0, "code": b"\0", "text": about.to_json()}
        self._call("upsert", f"{self.collection}_about", [row])

    def get(self, ids: NDArray[np.int64]) -> Rows:
        """Read rows by their primary key."""
        assert self.about is not None
        fields = ["id", "code"] if self.about.labels is None else ["id", "code", "label"]
        found = self._call("get", self.collection, ids=ids.tolist(), output_fields=fields)
        codes = np.frombuffer(b"".join(row["code"][0] for row in found), np.uint8)
        labels = None
        if self.about.labels is not None:
            labels = np.empty(len(found), object)
            labels[:] = [row["label"] for row in found]
        return Rows(
            np.array([row["id"] for row in found], np.int64),
            codes.reshape(-1, self.about.n_bits // 8),
            labels,
        )

    def put(self, rows: Rows) -> None:
        """Upsert them."""
        columns: dict[str, Any] = {
            "id": rows.ids.tolist(),
            "code": [code.tobytes() for code in rows.codes],
        }
        if rows.labels is not None:
            columns["label"] = rows.labels.tolist()
        each = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        self._call("upsert", self.collection, each)

    def delete(self, ids: NDArray[np.int64]) -> None:
        """Delete rows by their primary key."""
        self._call("delete", self.collection, ids=ids.tolist())

    def __len__(self) -> int:
        if not self._call("has_collection", self.collection):
            return 0
        found = self._call("query", self.collection, filter="", output_fields=["count(*)"])
        return int(found[0]["count(*)"])

    def _nearest(
        self, codes: NDArray[np.uint8], k: int, labels: list[Any] | None
    ) -> list[list[tuple[int, int]]]:
        try:
            return self._search(codes, k, labels)
        except ConnectionError:  # the server may have been restarted since the last search
            return self._search(codes, k, labels)

    def _search(
        self, codes: NDArray[np.uint8], k: int, labels: list[Any] | None
    ) -> list[list[tuple[int, int]]]:
        assert self.about is not None
        probes = {"nprobe": self.probes} if self.about.kind == "ivf" else {}
        found = []
        for start in range(0, len(codes), QUERIES):
            found += self._call(
                "search",
                self.collection,
                data=[code.tobytes() for code in codes[start : start + QUERIES]],
                filter="" if labels is None else self._expression(labels),
                limit=k,
                search_params={"metric_type": "HAMMING", "params": probes},
            )
        return [[(int(hit["distance"]), hit["id"]) for hit in hits] for hits in found]

    def _expression(self, labels: list[Any]) -> str:
        if any(isinstance(label, str) and min(label, default=" ") < " " for label in labels):
            raise ValueError("filter: Milvus expressions cannot contain control characters")
        return f"label in {json.dumps(labels, ensure_ascii=False)}"

    def reconnect(self) -> None:
        """Connect again; restart a local server."""
        self.close()

    def close(self) -> None:
        """Close the connection, and stop the local server."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _make(
        self, name: str, n_bits: int, index: str, params: dict[str, Any], fields: dict[str, Any]
    ) -> None:
        """Make a collection with an index, unless it exists."""
        if self._call("has_collection", name):
            return
        kinds = self._pymilvus.DataType
        schema = self._pymilvus.MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("code", kinds.BINARY_VECTOR, dim=n_bits)
        for field, settings in fields.items():
            schema.add_field(field, **settings)
        indexes = self._pymilvus.MilvusClient.prepare_index_params()
        indexes.add_index("code", index_type=index, metric_type="HAMMING", params=params)
        # strong: a search sees all rows put before it
        self._call(
            "create_collection",
            name,
            schema=schema,
            index_params=indexes,
            consistency_level="Strong",
        )

    def _call(self, method: str, *arguments: Any, **settings: Any) -> Any:
        """Call the client; a lost server becomes a ConnectionError, unlike other failures."""
        try:
            if self._client is None:
                self._client = self._pymilvus.MilvusClient(
                    self._address(), timeout=START, grpc_options=AFRESH
                )
            return getattr(self._client, method)(*arguments, retry_times=1, **settings)
        except self._pymilvus.MilvusException as error:
            line = str(error.message).strip().partition("\n")[0]
            if "Fail connecting" in line or "UNAVAILABLE" in line:
                self.close()  # the client does not find a restarted server
                raise ConnectionError("no server of Milvus answers; is it running?") from error
            raise RuntimeError(line) from error

    def _address(self) -> str:
        """The address of the server; for a file, start a local server."""
        if not self.local:
            return self.target
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it uses a deprecated part of setuptools
            lite = require("milvus_lite.server", "Milvus Lite", "milvus")
        path = Path(self.target).resolve()
        server = lite.Server(str(path))
        if not (server.init() and server.start()):
            raise OSError(
                f"{self.target} is not a file of Milvus Lite, or another program has it open"
            )
        self._server = server
        socket, patience = Path(server.uds_path.removeprefix("unix:")), time.monotonic() + START
        while not socket.exists() and time.monotonic() < patience:
            time.sleep(0.05)
        return str(server.uds_path)
