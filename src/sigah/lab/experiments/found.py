"""What queries find, judged by labels: pictures of it, and which classes are taken for which."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigah.evaluation import EvaluationData, class_shares
from sigah.extras import require
from sigah.hashers import BinaryHasher
from sigah.lab.experiments.experiment import Experiment, Measured
from sigah.lab.experiments.neighbors import few_queries
from sigah.lab.experiments.panels import Entry, Gallery, HeatMap, Table
from sigah.search import HammingIndex, hamming_distances

__all__ = ["found_panels", "record_found"]

QUERIES, SHOWN = 10, 10
DEPTH = 100  # ranks of which the classes are counted
MOST_CLASSES = 20  # that a reader can compare; of more, the easiest and the hardest are shown
TIED = 2  # so many times as many codes as are shown, equally near or nearer, are worth a word
BLOCK = 16  # pixels a side: JPEG compresses such blocks each by itself
QUALITY = 80  # of JPEG
BY_CLASS = (
    "By class: shares among the first results, ties at their expected value; one seed. Of more"
    f" classes than {MOST_CLASSES}, as many easiest as hardest ones are shown."
)
SHOWS = (
    f"Pictures: the first query of each of up to {QUERIES} classes, and the first {SHOWN} images"
    " that each method finds, ties in the order of the base. Tied says how many codes are as near,"
    " if they are many. A blue frame with a tick: of the class of the query; an orange frame with a"
    " cross: of another class."
)
NO_PICTURES = (
    "no pictures of what is found, because the images of these vectors were not at hand. Give the"
    " images themselves, as in `--data IMAGES@BACKBONE`."
)

Pixels = NDArray[np.uint8]


def record_found(hasher: BinaryHasher, data: EvaluationData) -> dict[str, Any]:
    """The shares of the classes among what queries find, and some queries with their first results.

    Ties count with their expected share; the results shown have them in the order of the base, and
    ``as_near`` tells how many codes are no farther than the last of these results.
    ``confusion`` has a row for each class that is asked for, by its name, with the share of each
    of ``classes``. Pictures, where there are any, are stored once each, ``sources`` telling which
    they are: queries as -1, -2, ..., images of the base by their position.
    """
    base, queries = hasher.transform(data.base), hasher.transform(data.queries)
    of_base, of_queries = np.asarray(data.base_labels), np.asarray(data.query_labels)
    sizes = np.unique(of_base, return_counts=True)[1]
    depth = min(DEPTH, int(sizes.min()))  # so that no class is too small to be found alone
    classes, shares = class_shares(base, queries, of_base, depth=depth)
    chosen = few_queries(of_queries, len(of_queries), QUERIES)
    index = HammingIndex(hasher.n_bits)
    index.add(base)
    distances, ids = map(np.asarray, index.search(queries[chosen], min(SHOWN, len(base))))
    as_near = (hamming_distances(base, queries[chosen]) <= distances[:, -1:]).sum(axis=1)
    return {
        "depth": depth,
        "classes": [class_name(data, label) for label in classes],
        "confusion": {
            class_name(data, label): shares[of_queries == label].mean(axis=0).round(4).tolist()
            for label in np.unique(of_queries)
        },
        "queries": chosen.tolist(),
        "asked": [class_name(data, label) for label in of_queries[chosen]],
        "ids": ids.tolist(),
        "as_near": as_near.tolist(),
        "found": [[class_name(data, label) for label in row] for row in of_base[ids]],
        "pictures": record_pictures(data, chosen, np.unique(ids)),
    }


def class_name(data: EvaluationData, label: Any) -> str:
    """What a class is called."""
    return data.classes[int(label)] if data.classes else str(label)


def record_pictures(
    data: EvaluationData, queries: NDArray[Any], ids: NDArray[Any]
) -> dict[str, Any] | None:
    """Small pictures of queries and of results; None where the data has none."""
    if data.thumbnails is not None:
        parts = [data.thumbnails("queries", queries), data.thumbnails("base", ids)]
    elif data.picture is not None:
        rows = np.concatenate([data.queries[queries], data.base[ids]])
        parts = [np.round(np.clip(rows, 0, 1) * 255).astype(np.uint8).reshape(-1, *data.picture)]
    else:
        return None
    pictures = np.concatenate(parts)
    return {
        "sources": [-1 - number for number in range(len(queries))] + ids.tolist(),
        "shape": list(pictures.shape[1:]),
        "jpeg": base64.b64encode(as_jpeg(pictures)).decode(),
    }


def as_jpeg(pictures: Pixels) -> bytes:
    """Pictures below each other in one file; margins keep each out of its neighbours' blocks."""
    height, width = pictures.shape[1:3]
    margins = [(0, 0), (0, -height % BLOCK), (0, -width % BLOCK), (0, 0)][: pictures.ndim]
    padded = np.pad(pictures, margins, mode="edge")
    stream = io.BytesIO()
    sheet = padded.reshape(-1, *padded.shape[2:])
    require("PIL.Image", "pictures", "lab").fromarray(sheet).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def pictures_of(record: Mapping[str, Any]) -> dict[int, NDArray[np.float32]]:
    """Pictures in [0, 1] by their place: see :func:`record_found`."""
    stored = record["pictures"]
    height, width = stored["shape"][:2]
    stream = io.BytesIO(base64.b64decode(stored["jpeg"]))
    sheet = np.asarray(require("PIL.Image", "pictures", "lab").open(stream), np.float32) / 255
    rows = sheet.reshape(len(stored["sources"]), -1, *sheet.shape[1:])[:, :height, :width]
    return dict(zip(stored["sources"], rows, strict=True))


def found_panels(
    experiment: Experiment, measured: Sequence[Measured], queries: int = QUERIES
) -> list[Any]:
    """Of each data set: what queries find, which classes are mistaken, the precision of each."""
    panels: list[Any] = []
    for one in measured:
        bits, records = records_of(experiment, one)
        if not records or not experiment.ran_on(one):
            continue
        panels += [precisions(records, one, bits), confusion(records, one, bits)]
        if pictured := {label: r for label, r in records.items() if r["pictures"]}:
            numbers = range(min(queries, *(len(r["queries"]) for r in pictured.values())))
            panels += [query_gallery(pictured, n, one, bits) for n in numbers]
            panels.append(f"{BY_CLASS} {SHOWS}")
        else:
            panels.append(f"{BY_CLASS} {one.title}: {NO_PICTURES}")
    return panels


def records_of(experiment: Experiment, one: Measured) -> tuple[int, dict[str, Any]]:
    """The records of the longest codes that have any, by the label of their method."""
    for bits in sorted(experiment.lengths, reverse=True):
        records = {
            case.label: run["found"]
            for case in experiment.shown(one)
            for run in one.runs.get((case.label, bits), ())
            if "found" in run
        }
        if records:
            return bits, records
    return 0, {}


def query_gallery(records: Mapping[str, Any], number: int, one: Measured, bits: int) -> Gallery:
    """One query, and the first results of each method."""
    rows: list[tuple[str, NDArray[np.float32]]] = []
    hits, words = {}, {}
    asked = next(iter(records.values()))["asked"][number]
    for name, record in records.items():
        pictures = pictures_of(record)
        if not rows:  # the same in every record
            rows.append(("query", pictures[-1 - number][None]))
        found, as_near = record["found"][number], record["as_near"][number]
        label = name
        if as_near > TIED * len(found):  # others would be as good
            label = f"{name}, {as_near:,} tied"
        rows.append((label, np.stack([pictures[i] for i in record["ids"][number]])))
        hits[label] = np.array([kind == asked for kind in found])
        words[label] = counted(found, asked)
    title = f"{one.title}: a query of class {asked}, {bits} bits"
    return Gallery(title, tuple(rows), hits, words, judged=True)


def counted(found: Sequence[str], asked: str) -> str:
    """What is found, in words.

    Examples
    --------
    >>> from sigah.lab.experiments.found import counted
    >>> counted(["cat", "dog", "cat", "deer", "dog"], "cat")
    '2 of 5 right, else 2 dog, 1 deer'
    """
    wrong = Counter(name for name in found if name != asked).most_common()
    told = ", ".join(f"{count} {name}" for name, count in wrong)
    right = f"{sum(name == asked for name in found)} of {len(found)} right"
    return f"{right}, else {told}" if told else right


def precision(record: Mapping[str, Any], asked: str) -> float:
    """The share of the right class among what queries of a class find."""
    row = record["confusion"][asked]
    return float(row[record["classes"].index(asked)]) if asked in record["classes"] else 0.0


def mean_precision(record: Mapping[str, Any]) -> float:
    return float(np.mean([precision(record, asked) for asked in record["confusion"]]))


def classes_shown(record: Mapping[str, Any]) -> tuple[list[str], str]:
    """The classes that a page shows, and what its title says of the choice."""
    names = list(record["confusion"])
    if len(names) <= MOST_CLASSES:
        return names, ""
    half = MOST_CLASSES // 2
    order = sorted(names, key=lambda asked: -precision(record, asked))
    return order[:half] + order[-half:], f", {MOST_CLASSES} of {len(names)} classes"


def confusion(records: Mapping[str, Any], one: Measured, bits: int) -> HeatMap:
    """Which classes are taken for which by the method that finds most of the right ones."""
    best = max(records, key=lambda label: mean_precision(records[label]))
    record = records[best]
    rows, told = classes_shown(record)
    columns = [name for name in (rows if told else record["classes"]) if name in record["classes"]]
    places = [record["classes"].index(name) for name in columns]
    return HeatMap(
        f"{one.title}: classes among the first {record['depth']} of {best}, {bits} bits{told}",
        "class of the query",
        "class found",
        tuple(rows),
        tuple(columns),
        np.array([np.take(record["confusion"][name], places) for name in rows]),
    )


def precisions(records: Mapping[str, Any], one: Measured, bits: int) -> Table:
    """A row a class, a column a method: the share of the right class among what is found."""
    depth = next(iter(records.values()))["depth"]
    asked, told = classes_shown(max(records.values(), key=mean_precision))
    rows = tuple(
        (name, tuple(Entry(mean=precision(r, name), seeds=1) for r in records.values()))
        for name in asked
    )
    title = f"{one.title}: precision of the first {depth} by class, {bits} bits{told}"
    metrics = ("class_precision",) * len(records)
    return Table(title, tuple(records), metrics, rows, corner="class")
