"""Results on disk: a folder of JSON files, of which every run is found again by its key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sigah.evaluation import write_results
from sigah.evaluation.keys import still_holds, unit_key
from sigah.evaluation.store import Run, RunStore, has_all
from sigah.hashers import BinaryHasher
from sigah.lab.experiments.experiment import Experiment, Measured

__all__ = ["Store"]

Data = dict[str, Any]

# what metrics were called in files of earlier versions
RENAMED = {"label_map@1000": "label_map_by_relevant@1000"}


class Store(RunStore):
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
        super().__init__()
        self.folder = Path(folder)
        self.files: dict[Path, dict[str, Any]] = {}
        self.sets: dict[str, Data] = {}  # data blocks by their checksums
        self._in_set: dict[str, list[Run]] = {}  # runs by the same
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
                    self.remember(content["data"], run)

    def keep(self, data: Mapping[str, Any], run: Run) -> None:
        """Keep a run of an experiment, and write its file."""
        path = self.folder / f"{data['name']}-{run['experiment']}.json"
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
        self.remember(content["data"], run)

    def remember(self, data: Mapping[str, Any], run: Run) -> str | None:
        """Make a run findable, in front of earlier ones."""
        for old, new in RENAMED.items():
            if old in run["metrics"]:
                run["metrics"][new] = run["metrics"].pop(old)
        key = super().remember(data, run)
        if key is not None:
            place = set_key(data)
            self.sets.setdefault(place, dict(data))
            self._in_set.setdefault(place, []).append(run)
        return key

    def collect(self, experiment: Experiment, *, sampled: bool = False) -> list[Measured]:
        """What is measured of an experiment, a data set each; sets without any run left out.

        Runs of older revisions are taken where there are none of today's. Where an experiment
        compares methods, plug-ins that were measured on a set stand beside them.

        Parameters
        ----------
        experiment : Experiment
        sampled : bool
            Also take sets whose hashers learned from a sample of the base. They are no part of the
            paper's experiments.
        """
        found = []
        for place, data in self.sets.items():
            if data["n_train"] != data["n_base"] and not (sampled or experiment.samples):
                continue
            runs = dict(self._of(experiment, data))
            if runs and experiment.open:
                runs = self._plug_ins(place, experiment) | runs
            if runs:
                found.append(Measured(data, runs))
        return found

    def everything(self) -> list[Measured]:
        """All that is measured on each set, by the method's name and the code length."""
        return [Measured(data, by_method(self._in_set[place])) for place, data in self.sets.items()]

    @property
    def lengths(self) -> tuple[int, ...]:
        """All code lengths that are measured."""
        return tuple(sorted({run["n_bits"] for runs in self._in_set.values() for run in runs}))

    def reproduced(self, data: Mapping[str, Any]) -> bool:
        """Whether anything on a set was measured for an experiment of the paper."""
        return any("experiment" in run for run in self._in_set[set_key(data)])

    def _plug_ins(self, place: str, experiment: Experiment) -> dict[tuple[str, int], list[Run]]:
        return by_method(
            run
            for run in self._in_set[place]
            if "class" in run
            and run["n_bits"] in experiment.lengths
            and has_all(run, experiment.required)
        )

    def _of(
        self, experiment: Experiment, data: Data
    ) -> Iterator[tuple[tuple[str, int], list[Run]]]:
        for unit in experiment.units(
            data["dim"], 1, quick=bool(data.get("quick")), metric=data.get("metric", "l2")
        ):
            hasher = unit.make()
            found = []
            for _, runs in sorted(self._runs.get(unit_key(data, hasher), {}).items()):
                usable = [run for run in runs if has_all(run, experiment.required)]
                if usable:
                    best = max(usable, key=lambda run: rank(run, type(hasher), experiment))
                    found.append(best)
            if found:
                yield (unit.label, unit.asked_bits), found


def rank(run: Run, method: type[BinaryHasher], experiment: Experiment) -> tuple[bool, bool]:
    """The greater, the rather a run is shown: of today's code, and with records."""
    return still_holds(run, method), has_all(run, experiment.records)


def by_method(runs: Iterable[Run]) -> dict[tuple[str, int], list[Run]]:
    """Runs by the method's name and the code length, the newest of each seed."""
    found: dict[tuple[str, int], dict[int, Run]] = {}
    for run in runs:
        found.setdefault((run["method"], run["n_bits"]), {})[run["seed"]] = run
    return {key: [by_seed[seed] for seed in sorted(by_seed)] for key, by_seed in found.items()}


def set_key(data: Mapping[str, Any]) -> str:
    """What tells data sets apart, whatever they are called."""
    return "|".join(str(data[name]) for name in ("base_sha256", "queries_sha256", "k", "n_train"))
