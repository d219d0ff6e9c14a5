"""Results on disk: a folder of JSON files, of which every run is found again by its key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sigah.evaluation import write_results
from sigah.hashers import METHODS
from sigah.lab.experiments.experiment import Experiment, Measured, Unit
from sigah.lab.experiments.keys import still_holds, unit_key

__all__ = ["Store"]

Run = dict[str, Any]
Data = dict[str, Any]


def holds(run: Run, needs: tuple[str, ...]) -> bool:
    """Whether a run has all that an experiment shows of it: parts, or single metrics."""
    return all(need in run or need in run["metrics"] for need in needs)


class Store:
    """All runs below a folder, those of ``sigah evaluate`` too.

    A run is kept in the file of the experiment that first needed it, ``DATA-EXPERIMENT.json``, and
    serves every other experiment. Files have the form that ``sigah evaluate --json`` writes, and
    are replaced whole after each run.

    Parameters
    ----------
    folder : path-like
        Need not exist yet.

    Raises
    ------
    ValueError
        If a ``.json`` file of the folder is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from sigah.lab.experiments import Store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     len(Store(folder).sets)
    0
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.files: dict[Path, dict[str, Any]] = {}
        self.sets: dict[str, Data] = {}  # data blocks by their checksums
        self._runs: dict[str, dict[int, list[Run]]] = {}  # by key and seed, newest first
        for path in sorted(self.folder.glob("*.json")):
            try:
                content = json.loads(path.read_bytes())
            except ValueError as error:
                raise ValueError(
                    f"{path} is damaged ({error}); move it away, its runs are measured again"
                ) from error
            if isinstance(content, dict) and {"data", "runs"} <= content.keys():
                self.files[path] = content
                for run in content["runs"]:
                    self._remember(content["data"], run)

    def find(self, data: Mapping[str, Any], unit: Unit, needs: tuple[str, ...]) -> Run | None:
        """A run of this unit that still holds and has all that is needed."""
        hasher = unit.hasher()
        key = unit_key(data, unit.method, hasher.get_params(), unit.n_bits)
        for run in self._runs.get(key, {}).get(unit.seed, []):
            if still_holds(run, type(hasher)) and holds(run, needs):
                return run
        return None

    def add(self, experiment: str, data: Mapping[str, Any], run: Run) -> None:
        """Keep a run, and write its file."""
        path = self.folder / f"{data['name']}-{experiment}.json"
        content = self.files.setdefault(path, {"data": dict(data), "runs": []})
        if content["data"]["base_sha256"] != data["base_sha256"]:
            raise ValueError(
                f"{path} holds results on other data of the same name; choose another --out"
            )
        content["runs"] = [
            other
            for other in content["runs"]
            if (other.get("key"), other["seed"]) != (run["key"], run["seed"])
        ] + [run]
        content["environment"] = run["environment"]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_results(path, content)
        self._remember(content["data"], run)

    def collect(self, experiment: Experiment) -> list[Measured]:
        """What is measured of an experiment, a data set each; sets without any run left out.

        Runs that learned from a sample of the base are no part of any experiment. Runs of older
        code are taken where there are none of today's.
        """
        return [
            measured
            for data in self.sets.values()
            if data["n_train"] == data["n_base"]
            and (measured := Measured(data, dict(self._of(experiment, data)))).runs
        ]

    def _of(
        self, experiment: Experiment, data: Data
    ) -> Iterator[tuple[tuple[str, int], list[Run]]]:
        for unit in experiment.units(data["dim"], 1, quick=bool(data.get("quick"))):
            hasher = unit.hasher()
            key = unit_key(data, unit.method, hasher.get_params(), unit.n_bits)
            found = []
            for _, runs in sorted(self._runs.get(key, {}).items()):
                usable = [run for run in runs if holds(run, experiment.needs)]
                if usable:
                    found.append(max(usable, key=lambda run: still_holds(run, type(hasher))))
            if found:
                yield (unit.label, unit.asked_bits), found

    def _remember(self, data: Data, run: Run) -> None:
        name = str(run["method"]).partition(":")[0].partition(".")[0]
        if name not in METHODS:
            return  # of a method that this version does not have
        key = unit_key(data, run["method"], run["parameters"], run["n_bits"])
        checksums = "base_sha256", "queries_sha256", "k", "n_train"
        self.sets.setdefault("|".join(str(data[name]) for name in checksums), data)
        self._runs.setdefault(key, {}).setdefault(run["seed"], []).insert(0, run)
