"""Runs that were measured before, found again by what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sigah.evaluation.keys import run_key, still_holds, unit_key

if TYPE_CHECKING:
    from sigah.evaluation.loop import Unit

__all__ = ["Run", "RunStore"]

Run = dict[str, Any]


class RunStore:
    """Runs in memory. A subclass keeps them elsewhere too.

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
        """A run of this unit that still holds, and has all that is needed; None if there is none.

        The run bears the unit's name, whatever name it was measured under.
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
        """Make a run findable, in front of earlier ones; returns its key."""
        key = run_key(data, run)
        if key is not None:  # not of a method that this version does not have
            self._runs.setdefault(key, {}).setdefault(run["seed"], []).insert(0, run)
        return key


def has_all(run: Mapping[str, Any], needs: Iterable[str]) -> bool:
    """Whether a run has parts, or single metrics."""
    return all(need in run or need in run["metrics"] for need in needs)
