"""Not in the paper: pictures beside the neighbours that are found with their codes."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation import EvaluationData
from sigah.hashers import BinaryHasher
from sigah.lab.experiments.experiment import CaseUnit, Column, Experiment, Measured
from sigah.lab.experiments.panels import Gallery
from sigah.lab.experiments.table1 import COMPARED
from sigah.search import HammingIndex

__all__ = ["NEIGHBORS", "record_neighbors"]

QUERIES, SHOWN = 4, 8
NEAR = 100  # a picture is a hit if it is among so many nearest
BITS = 64


def record_neighbors(hasher: BinaryHasher, data: EvaluationData) -> dict[str, Any]:
    """A few queries, their exact neighbours and those found with codes: ids, hits and pictures.

    Pictures are stored once each, a byte a grey value, ``sources`` telling which they are: queries
    as -1, -2, ..., vectors of the base by their position.
    """
    chosen = few_queries(data.query_labels, len(data.queries))
    queries = np.asarray(data.queries[chosen])
    index = HammingIndex(hasher.n_bits)
    index.add(hasher.transform(data.base))
    found = np.asarray(index.search(hasher.transform(queries), SHOWN)[1])
    truth = data.truth[chosen]
    near = min(NEAR, truth.shape[1])
    hits = [np.isin(row, exact[:near]).tolist() for row, exact in zip(found, truth, strict=True)]
    ids = np.unique(np.concatenate([truth[:, :SHOWN], found]))
    levels = np.round(np.clip(np.concatenate([queries, data.base[ids]]), 0, 1) * 255)
    return {
        "picture": list(data.picture or ()),
        "near": near,
        "queries": chosen.tolist(),
        "exact": truth[:, :SHOWN].tolist(),
        "found": found.tolist(),
        "hits": hits,
        "sources": [-1 - i for i in range(len(chosen))] + ids.tolist(),
        "pixels": base64.b64encode(zlib.compress(levels.astype(np.uint8).tobytes(), 9)).decode(),
    }


def few_queries(labels: NDArray[Any] | None, n: int, most: int = QUERIES) -> NDArray[np.intp]:
    """The first query of each of the first labels, or the first queries."""
    if labels is None:
        return np.arange(min(most, n))
    return np.unique(labels, return_index=True)[1][:most]


def found_pictures(experiment: Experiment, measured: Sequence[Measured]) -> list[Any]:
    """A gallery a query: the query, its exact neighbours, and what each method finds."""
    shown = []
    for one in measured:
        records = {
            case.label: runs[0]["neighbors"]
            for case in experiment.shown(one)
            if (runs := one.runs.get((case.label, BITS)))
        }
        queries = min((len(record["queries"]) for record in records.values()), default=0)
        for number in range(queries):
            title = f"{one.title}: query {number + 1}, {BITS} bits"
            shown.append(query_gallery(records, number, title))
    return shown


def query_gallery(records: Mapping[str, Any], number: int, title: str) -> Gallery:
    """One query of records by the label of their method."""
    rows: list[tuple[str, NDArray[np.float32]]] = []
    hits, words = {}, {}
    for label, record in records.items():
        pictures = unpack(record)
        if not rows:  # the same in every record
            rows.append(("query", pictures[-1 - number][None]))
            rows.append(("exact", np.stack([pictures[i] for i in record["exact"][number]])))
        rows.append((label, np.stack([pictures[i] for i in record["found"][number]])))
        hits[label] = np.array(record["hits"][number])
        near = f"among the {record['near']} nearest"
        words[label] = f"{hits[label].sum()} of {len(hits[label])} {near}"
    return Gallery(title, tuple(rows), hits, words)


def unpack(record: Mapping[str, Any]) -> dict[int, NDArray[np.float32]]:
    """Pictures ``(height, width)`` in [0, 1] by their place: see :func:`record_neighbors`."""
    levels = np.frombuffer(zlib.decompress(base64.b64decode(record["pixels"])), np.uint8)
    pictures = (levels.astype(np.float32) / np.float32(255)).reshape(-1, *record["picture"])
    return dict(zip(record["sources"], pictures, strict=True))


class OneSeed(Experiment):
    """An experiment on pictures, of which one seed tells enough."""

    def units(self, dim: int, seeds: int, *, quick: bool, metric: str = "l2") -> list[CaseUnit]:
        """As of any experiment, with the first seed only."""
        return super().units(dim, min(seeds, 1), quick=quick, metric=metric)

    def lacks(self, data: EvaluationData) -> str:
        """Why this cannot be run on the data; empty if it can."""
        if data.picture is None:
            return f"{self.name} shows pictures, and the vectors of {data.name} are none"
        return ""


NEIGHBORS = OneSeed(
    name="neighbors",
    title="Neighbours found",
    about="Not in the paper: queries of several classes, their exact neighbours, and the first"
    f" {SHOWN} that are found with codes of {BITS} bits, nearest first, ties in the order of the"
    f" base. A bar below a picture marks it as one of the {NEAR} exact nearest. One seed.",
    cases=COMPARED,
    columns=(Column("precision@100", BITS),),
    data=("mnist", "fashion-mnist"),
    view=found_pictures,
    needs=("neighbors",),
    open=True,
)
