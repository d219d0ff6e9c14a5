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

from sigah.engines import connect, export
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
        case.compare(engine.search(codes[:5], 1), codes, ids, codes[:5])
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
    "no labels to filter by": without_labels_a_filter_is_refused,
    "the same export again": the_same_export_again_changes_nothing,
    "more codes and changed codes": more_codes_join_and_changed_ones_are_replaced,
    "an interrupted export": an_interrupted_export_goes_on,
    "what does not fit": what_does_not_fit_is_refused,
}
