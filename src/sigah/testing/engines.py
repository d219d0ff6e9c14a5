"""Checks of an engine, one for each requirement."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sigah.engines import connect, export, remove
from sigah.engines.base import Engine
from sigah.engines.registry import engine_class
from sigah.plugins import class_path
from sigah.search import HammingIndex
from sigah.testing.expect import expect, refused

__all__ = ["ENGINE_CHECKS", "EngineCase", "check_engine", "make_codes"]

FIRST = 2**62  # ids that do not fit in a float
WORDS = np.array(["cat", "dog", "it's; DROP TABLE", "Käse 🧀"], object)


@dataclass(frozen=True)
class EngineCase:
    """An engine, an empty target for it, and what to expect of it.

    Attributes
    ----------
    name : str
        Its name on the command line.
    target : str
        A path or an address where nothing exists yet.
    settings : mapping
        Settings for the most exact searches.
    recall : float
        The least recall of ten neighbours; 1 for exact searches.
    """

    name: str
    target: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    recall: float = 1.0

    def export(self, codes: Any, **given: Any) -> Any:
        """Put codes into the target."""
        return export(
            self.name, self.target, codes, **{"fingerprint": "c0ffee", **self.settings, **given}
        )

    def remove(self, ids: Any) -> Any:
        """Remove codes from the target."""
        return remove(self.name, self.target, ids, **self.settings)

    def connect(self) -> Any:
        """Open the target."""
        return connect(self.name, self.target, **self.settings)

    def compare(self, found: Any, codes: Any, ids: Any, queries: Any) -> None:
        """Compare neighbours with those of sigah's own index."""
        distances, found_ids = found
        k = distances.shape[1]
        index = HammingIndex(8 * codes.shape[1])
        index.add(codes, ids)
        expected, expected_ids = index.search(queries, k)
        place = {int(one): row for row, one in enumerate(ids)}
        for row in range(len(queries)):
            chosen = found_ids[row][found_ids[row] >= 0]
            expect(len(set(chosen.tolist())) == len(chosen), "a neighbour is found twice")
            differing = queries[row] ^ codes[[place[int(one)] for one in chosen]]
            honest = np.bitwise_count(differing).sum(axis=1)
            expect((distances[row][: len(chosen)] == honest).all(), "a distance is wrong")
        if self.recall < 1:
            recall = (distances <= expected[:, -1:]).mean()
            expect(recall >= self.recall, f"recall is {recall:.2f}, below {self.recall}")
            return
        expect((distances == expected).all(), "nearer codes are missed")
        for row in range(len(queries)):  # ties at the last distance may be cut anywhere
            inside = expected[row] < expected[row, -1]
            same = set(found_ids[row][inside]) == set(expected_ids[row][inside])
            expect(same, "found neighbours are not the nearest")


def check_engine(
    engine: str | type[Engine],
    new_target: Callable[[], str] | None = None,
    *,
    recall: float = 1.0,
    **settings: Any,
) -> None:
    """Check that an engine meets every requirement.

    Parameters
    ----------
    engine : str or class
        A name, ``module:Class``, or the class.
    new_target : callable, optional
        Returns a new address at each call, where nothing exists yet; by default paths in a
        temporary folder, for engines that are files.
    recall : float, default=1.0
        The least recall of ten neighbours; below 1 for engines that approximate.
    **settings
        Of the engine.

    Raises
    ------
    AssertionError
        Names the requirement that is not met, and the reason.

    See Also
    --------
    ENGINE_CHECKS : The single checks, for a test framework.
    """
    name = engine if isinstance(engine, str) else class_path(engine)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        numbers = itertools.count()
        fresh = new_target or (lambda: str(Path(folder, f"target{next(numbers)}")))
        for promise, check in ENGINE_CHECKS.items():
            try:
                check(EngineCase(name, fresh(), settings, recall))
            except AssertionError as error:
                raise AssertionError(f"{name}, {promise}: {error}") from error


def make_codes(n_bits: int, n: int = 2000, n_queries: int = 20) -> Any:
    """Codes in clusters, so that near codes exist; their ids, unordered; and queries."""
    rng = np.random.default_rng(n_bits)
    centres = rng.random((50, n_bits)) < 0.5
    flips = rng.random((n + n_queries, n_bits)) < 0.15
    bits = centres[rng.integers(50, size=n + n_queries)] ^ flips
    packed = np.packbits(bits, axis=1)
    return packed[:n], FIRST + 7 * rng.permutation(n), packed[n:]


def neighbours_are_the_nearest(case: EngineCase, n_bits: int, n: int = 10_000) -> None:
    """Neighbours are those of sigah's own index; rows are read as they were written."""
    codes, ids, queries = make_codes(n_bits, n)
    expect(case.export(codes, ids=ids) == (n, n), "not every code is written")
    with case.connect() as engine:
        expect(len(engine) == n, f"it holds {len(engine)} codes of {n}")
        expect(engine.about.n_bits == n_bits, "the code length is lost")
        expect(engine.about.fingerprint == "c0ffee", "the fingerprint is lost")
        case.compare(engine.search(queries, 10), codes, ids, queries)
        case.compare(engine.search(codes[:50], 1), codes, ids, codes[:50])
        alone = [engine.search(query[np.newaxis], 10) for query in queries[:20]]
        together = tuple(np.concatenate(parts) for parts in zip(*alone, strict=True))
        case.compare(together, codes, ids, queries[:20])
        rows = engine.get(np.sort(ids[:100]))
        order = np.argsort(rows.ids)
        expect((rows.ids[order] == np.sort(ids[:100])).all(), "ids are read differently")
        same = rows.codes[order] == codes[:100][np.argsort(ids[:100])]
        expect(same.all(), "codes are read differently")


def fewer_codes_than_neighbours(case: EngineCase) -> None:
    """Columns beyond the codes hold -1; no queries give no rows."""
    codes, ids, queries = make_codes(64, n=3)
    case.export(codes, ids=ids)
    with case.connect() as engine:
        distances, found = engine.search(queries, 5)
        empty = engine.search(queries[:0], 5)
    expect((found[:, 3:] == -1).all(), "columns beyond the codes do not hold -1")
    expect((distances[:, 3:] == 2**31 - 1).all(), "distances beyond the codes are not 2147483647")
    expect((np.sort(found[:, :3], axis=1) == np.sort(ids)).all(), "a code is not found")
    expect(empty[0].shape == empty[1].shape == (0, 5), "no queries do not give no rows")


def labels_travel_and_filter(case: EngineCase, labels: Any) -> None:
    """Labels are read as they were written, and searches find only the wanted labels."""
    codes, ids, queries = make_codes(64)
    given = labels[np.arange(len(codes)) % len(labels)]
    case.export(codes, ids=ids, labels=given)
    with case.connect() as engine:
        rows = engine.get(np.sort(ids[:50]))
        held = dict(zip(rows.ids.tolist(), rows.labels.tolist(), strict=True))
        put = dict(zip(ids[:50].tolist(), given[:50].tolist(), strict=True))
        expect(held == put, "labels are read differently")
        if engine.filter_refusal is not None:
            with refused("a filter", r"^filter: .* cannot, for .*[^\n]$"):
                engine.search(queries, 10, filter=labels[0])
            return
        for wanted in ([labels[2]], list(labels[1:3])):
            chosen = np.isin(given, wanted)
            found = engine.search(queries, 10, filter=wanted[0] if len(wanted) == 1 else wanted)
            allowed = {-1, *ids[chosen].tolist()}
            expect(set(found[1].ravel().tolist()) <= allowed, "a code of another label is found")
            case.compare(found, codes[chosen], ids[chosen], queries)
        absent = "unheard of" if given.dtype == object else 77
        for nobody in (absent, list[str]()):
            expect(
                (engine.search(queries, 10, filter=nobody)[1] == -1).all(), "none has this label"
            )
        with refused("a label of another type", "has labels of type"):
            engine.search(queries, 10, filter=7 if given.dtype == object else "seven")


def keys_are_found(case: EngineCase) -> None:
    """Strings as ids come back from searches, filter them, and name what is removed."""
    codes, _, queries = make_codes(64)
    keys = np.array([f"{word}/{row}" for row, word in enumerate(np.resize(WORDS, 2000))], object)
    expect(case.export(codes, ids=keys) == (2000, 2000), "codes with keys are not all written")
    again = case.export(codes[::-1], ids=keys[::-1])
    expect(again == (2000, 0), f"{again.written} codes are written again")
    rows = {key: row for row, key in enumerate(keys)} | {"": -1}

    def numbered(found: Any) -> Any:
        return found[0], np.vectorize(rows.__getitem__, otypes=[np.int64])(found[1])

    with case.connect() as engine:
        case.compare(numbered(engine.search(queries, 10)), codes, np.arange(2000), queries)
        replaces = engine.replace_refusal is None
        if engine.filter_refusal is None:
            few = engine.search(queries, 3, filter=[*keys[7:9], "none"])
            expect(set(few[1].ravel()) == {*keys[7:9], ""}, "a filter finds other keys")
            distances = numbered(few)[0]
            expect((distances[:, 2] == 2**31 - 1).all(), "a missing key has a distance")
        expect(engine.search(queries[:0], 3)[1].dtype.kind == "U", "no queries give no keys")
    if replaces:
        expect(case.remove([*keys[:700], "none"]) == 700, "codes are counted that were not held")
        with case.connect() as engine:
            found = numbered(engine.search(queries, 10))
            case.compare(found, codes[700:], np.arange(700, 2000), queries)
        with refused("numbers", "ids must be strings"):
            case.remove([7])
    with case.connect() as engine, refused("a number as key", "^filter: .*"):
        engine.search(queries, 3, filter=7)
    with refused("labels beside keys", "^labels: an engine keeps one text beside a code"):
        case.export(codes, ids=keys, labels=keys)
    with refused("a key that is given twice", "key 'a' is given twice"):
        case.export(codes[:2], ids=["a", "a"])
    with refused("numbers as ids", r"has keys \(strings\) as ids, but these codes have numbers"):
        case.export(codes)


def without_labels_a_filter_is_refused(case: EngineCase) -> None:
    """Codes without labels cannot be filtered."""
    codes, ids, queries = make_codes(64, n=100)
    case.export(codes, ids=ids)
    with case.connect() as engine, refused("a filter", "no labels"):
        engine.search(queries, 1, filter="cat")


def the_same_export_again_changes_nothing(case: EngineCase) -> None:
    """No row is written twice, in any order."""
    codes, ids, queries = make_codes(64)
    labels = WORDS[np.arange(len(codes)) % 4]
    case.export(codes, ids=ids, labels=labels)
    again = case.export(codes[::-1], ids=ids[::-1], labels=labels[::-1])
    expect(again == (2000, 0), f"{again.written} codes are written again")
    with case.connect() as engine:
        expect(len(engine) == len(codes), "codes are doubled")
        case.compare(engine.search(queries, 10), codes, ids, queries)


def more_codes_join_and_changed_ones_are_replaced(case: EngineCase) -> None:
    """Codes with new ids are added; a new code or label of an old id replaces the old one."""
    codes, ids, queries = make_codes(64)
    labels = WORDS[np.arange(2000) % 4]
    case.export(codes[:1500], ids=ids[:1500], labels=labels[:1500])
    with case.connect() as engine:
        replaces = engine.replace_refusal is None
    changed = codes.copy()
    if replaces:
        changed[1000:1010] ^= 255
    relabelled = labels.copy()
    relabelled[1010:1020] = "new"
    done = case.export(changed[1000:], ids=ids[1000:], labels=relabelled[1000:])
    due = 500 + (20 if replaces else 10)
    expect(done == (1000, due), f"{done.written} codes are written, not the {due} that changed")
    with case.connect() as engine:
        expect(len(engine) == 2000, f"it holds {len(engine)} codes of 2000")
        case.compare(engine.search(queries, 10), changed, ids, queries)
        case.compare(engine.search(changed[1000:1010], 3), changed, ids, changed[1000:1010])
        rows = engine.get(np.sort(ids[1010:1020]))
        expect(set(rows.labels.tolist()) == {"new"}, "a label is not replaced")
    if not replaces:
        with refused("a changed code", r"of id \d+ has changed, and .*; export to another"):
            case.export(~codes, ids=ids, labels=labels)


def removed_codes_are_gone(case: EngineCase) -> None:
    """No search finds a removed code, its label goes too, and its id may come back."""
    codes, ids, queries = make_codes(64)
    labels = WORDS[np.arange(2000) % 4]
    case.export(codes, ids=ids, labels=labels)
    with case.connect() as engine:
        removes = engine.replace_refusal is None
    if not removes:
        with refused("a removal", "; export what is left to another target"):
            case.remove(ids[:1])
        return
    expect(case.remove(np.append(ids[:700], 5)) == 700, "codes are counted that were not held")
    expect(case.remove(ids[:700]) == 0, "codes are removed twice")
    with case.connect() as engine:
        expect(len(engine) == 1300, f"it holds {len(engine)} codes of 1300")
        case.compare(engine.search(queries, 10), codes[700:], ids[700:], queries)
        case.compare(engine.search(codes[:20], 3), codes[700:], ids[700:], codes[:20])
        expect(len(engine.get(np.sort(ids[:700]))) == 0, "a removed row is read")
        if engine.filter_refusal is None:
            chosen = labels[700:] == WORDS[1]
            found = engine.search(queries, 10, filter=WORDS[1])
            case.compare(found, codes[700:][chosen], ids[700:][chosen], queries)
    done = case.export(codes, ids=ids, labels=labels)
    expect(done == (2000, 700), f"{done.written} codes are written, not the 700 removed ones")
    with case.connect() as engine:
        case.compare(engine.search(queries, 10), codes, ids, queries)
    expect(case.remove(ids) == 2000, "the last codes cannot be removed")
    with case.connect() as engine:
        expect((engine.search(queries, 3)[1] == -1).all(), "an empty target finds something")


def vectors_rank_candidates(case: EngineCase) -> None:
    """Of the nearest codes, the vectors choose; without support for them, they are refused."""
    codes, ids, queries = make_codes(64)
    rng = np.random.default_rng(0)
    vectors, looked_up = rng.normal(size=(2000, 24)), rng.normal(size=(20, 24)).astype(np.float32)
    if not engine_class(case.name).keeps_vectors:
        with refused("vectors", "^vectors: .* keeps codes only; leave the vectors out"):
            case.export(codes, ids=ids, vectors=vectors)
        return
    labels = WORDS[np.arange(2000) % 4]
    case.export(codes, ids=ids, labels=labels, vectors=vectors)
    again = case.export(codes[::-1], ids=ids[::-1], labels=labels[::-1], vectors=vectors[::-1])
    expect(again == (2000, 0), f"{again.written} vectors are written again")
    changed = vectors.copy()
    changed[:5] += 1
    done = case.export(codes, ids=ids, labels=labels, vectors=changed)
    expect(done == (2000, 5), f"{done.written} rows are written, not the 5 that changed")
    kept = dict(zip(ids.tolist(), changed.astype(np.float16).astype(np.float64), strict=True))
    for metric, wanted in itertools.product(("l2", "cosine", "ip"), (None, WORDS[1])):
        chosen = labels == wanted if wanted else np.ones(2000, bool)
        with case.connect() as engine:
            whole = engine.search_vectors(
                queries, looked_up, 10, n_ranked=2000, metric=metric, filter=wanted
            )
            some = engine.search_vectors(
                queries, looked_up, 10, n_ranked=30, metric=metric, filter=wanted
            )
            near = engine.search(queries, 30, filter=wanted)[0][:, -1]
            alone = engine.search_vectors(
                queries[:1], looked_up[:1], 10, n_ranked=30, metric=metric, filter=wanted
            )
            expect(engine.search_vectors(
                queries[:0], looked_up[:0], 3, n_ranked=3, metric=metric
            )[1].shape == (0, 3), "no queries do not give no rows")  # fmt: skip
        expect(np.allclose(alone[0], some[0][:1], atol=1e-3), "one query is answered differently")
        for found, exact in ((whole, case.recall == 1), (some, False)):
            expect((found[1] >= 0).all(), "a neighbour is missing")
            rows = np.array([[kept[int(one)] for one in line] for line in found[1]])
            honest = _distances(looked_up, rows, metric)
            expect(np.allclose(found[0], honest, atol=0.02, rtol=0.01), f"{metric} is wrong")
            expect((np.diff(found[0]) >= 0).all(), "distances do not ascend")
            if exact:
                everything = np.array([kept[int(one)] for one in ids[chosen]])[np.newaxis]
                best = np.sort(_distances(looked_up, everything, metric), axis=1)[:, :10]
                expect(np.allclose(found[0], best, atol=0.02, rtol=0.01), "nearer are missed")
        place = {int(one): row for row, one in enumerate(ids)}
        apart = [
            np.bitwise_count(query ^ codes[[place[int(one)] for one in line]]).sum(axis=1).max()
            for query, line in zip(queries, some[1], strict=True)
        ]
        if case.recall == 1:
            expect((apart <= near).all(), "a code is ranked that is not among the nearest")
    with refused("codes without vectors", "vectors of 24 dimensions, but these have none"):
        case.export(codes, ids=ids, labels=labels)
    with case.connect() as engine:
        with refused("fewer than k", "n_ranked"):
            engine.search_vectors(queries, looked_up, 10, n_ranked=9, metric="l2")
        with refused("queries of another width", r"queries must have shape \(20, 24\)"):
            engine.search_vectors(queries, looked_up[:, 1:], 1, n_ranked=9, metric="l2")


def _distances(queries: Any, rows: Any, metric: str) -> Any:
    """Distances ``(q, m)`` of queries ``(q, d)`` from rows ``(q or 1, m, d)``."""
    if metric == "l2":
        return np.square(rows - queries[:, np.newaxis]).sum(axis=2)
    products = (rows * queries[:, np.newaxis]).sum(axis=2)
    if metric == "ip":
        return -products
    lengths = np.linalg.norm(rows, axis=2) * np.linalg.norm(queries, axis=1)[:, np.newaxis]
    return 1 - products / lengths


def an_interrupted_export_goes_on(case: EngineCase) -> None:
    """Rows saved before the interruption are not written again."""
    codes, ids, queries = make_codes(64)
    kind: Any = engine_class(case.name)
    put, seen = kind.put, []

    def interrupted(self: Any, rows: Any) -> None:
        seen.append(len(rows))
        if len(seen) == 3:
            raise KeyboardInterrupt
        put(self, rows)

    own_batch = vars(kind).get("batch")
    kind.batch = 250
    try:
        kind.put = interrupted
        try:
            case.export(codes, ids=ids)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("the interruption is lost")
        finally:
            kind.put = put
        with refused("a target that is not complete", "interrupted; run it again"):
            case.connect()
        done = case.export(codes, ids=ids)
        expect(done == (2000, 1500), f"{done.written} codes are written, not the 1,500 missing")
    finally:
        if own_batch is None:
            del kind.batch
        else:
            kind.batch = own_batch
    with case.connect() as engine:
        expect(len(engine) == 2000, f"it holds {len(engine)} codes of 2000")
        case.compare(engine.search(queries, 10), codes, ids, queries)


def what_does_not_fit_is_refused(case: EngineCase) -> None:
    """Codes of another model or width, labels of another type, and a missing target."""
    codes, ids, _ = make_codes(64, n=100)
    with refused("an empty target", "nothing there; `sigah export", FileNotFoundError):
        case.connect()
    case.export(codes, ids=ids, labels=np.arange(100))
    with refused("another model", "codes of another model .*; export to another"):
        case.export(codes, ids=ids, labels=np.arange(100), fingerprint="other")
    with refused("another width", "codes of 64 bits, but these have 72; export to another"):
        case.export(make_codes(72, n=100)[0], labels=np.arange(100))
    with refused("codes without labels", "labels of type int, but these are of type none"):
        case.export(codes, ids=ids)
    with case.connect() as engine, refused("queries of another width", "queries have 72"):
        engine.search(make_codes(72, n=100)[0], 1)


ENGINE_CHECKS: dict[str, Callable[[EngineCase], None]] = {
    **{
        f"neighbours are the nearest, {n_bits} bits": partial(
            neighbours_are_the_nearest, n_bits=n_bits
        )
        for n_bits in (32, 64, 72, 128, 264)
    },
    "fewer codes than neighbours": fewer_codes_than_neighbours,
    "labels of text": partial(labels_travel_and_filter, labels=WORDS),
    "labels of numbers": partial(labels_travel_and_filter, labels=np.array([3, -5, 0, 2**62])),
    "keys": keys_are_found,
    "no labels to filter by": without_labels_a_filter_is_refused,
    "the same export again": the_same_export_again_changes_nothing,
    "more codes and changed codes": more_codes_join_and_changed_ones_are_replaced,
    "removed codes": removed_codes_are_gone,
    "vectors": vectors_rank_candidates,
    "an interrupted export": an_interrupted_export_goes_on,
    "what does not fit": what_does_not_fit_is_refused,
}
