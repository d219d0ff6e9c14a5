"""A store of earlier runs, searched by the key of the measurement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sigah.evaluation.keys import run_key, still_holds, unit_key

if TYPE_CHECKING:
    from sigah.evaluation.loop import Unit

__all__ = ["Run", "RunStore"]

Run = dict[str, Any]


class RunStore:
    """Runs in memory. A subclass also stores them elsewhere.

    Parameters
    ----------
    data : mapping, optional
        The block ``data`` of earlier results.
    runs : iterable of dict
        Their runs.
    """

    def __init__(self, data: Mapping[str, Any] | None = None, runs: Iterable[Run] = ()) -> None:
        self._runs: dict[str, dict[int, list[Run]]] = {}  # by key and seed, newest first
        for run in runs:
            assert data is not None
            self.remember(data, run)

    def find(self, data: Mapping[str, Any], unit: Unit, needs: Iterable[str] = ()) -> Run | None:
        """A valid run of this unit that has all parts in ``needs``; None if there is none.

        The run gets the unit's name, even if it was measured under another name.
        """
        hasher = unit.make()
        for run in self._runs.get(unit_key(data, hasher), {}).get(unit.seed, []):
            if still_holds(run, type(hasher)) and has_all(run, needs):
                return run if run["method"] == unit.method else {**run, "method": unit.method}
        return None

    def keep(self, data: Mapping[str, Any], run: Run) -> None:
        """Keep a new run."""
        self.remember(data, run)

    def remember(self, data: Mapping[str, Any], run: Run) -> str | None:
        """Put a run before the earlier ones of its key; return the key."""
        key = run_key(data, run)
        if key is not None:  # None: this version lacks the method
            self._runs.setdefault(key, {}).setdefault(run["seed"], []).insert(0, run)
        return key


def has_all(run: Mapping[str, Any], needs: Iterable[str]) -> bool:
    """Whether a run has all these parts or metrics."""
    return all(need in run or need in run["metrics"] for need in needs)
