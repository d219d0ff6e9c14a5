"""A soak of the index: random work by threads and killed processes, every answer checked.

    python tests/soak/soak.py --seconds 600

Half of the time is one life of one process. The other half is many short lives, most of which end
by SIGKILL: each opens the file that the one before it left. In every life, one thread adds,
removes, updates, compacts, builds tables, saves and opens, and four threads search, filtered and
unfiltered.

The writer publishes what the index will hold before it changes it, and a reader notes which states
there were from the beginning of its search to the end: its answer must be what brute force finds in
one of them. What is printed of a save is compared with the file that a killed life leaves.
"""

from __future__ import annotations

import argparse
import collections
import copy
import functools
import hashlib
import itertools
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sigah import HammingIndex

READERS = 4
N_BYTES = 8
MOST = 3000  # codes
LARGEST = 9000  # id
MISSING = (2**31 - 1, -1)


@dataclass(frozen=True)
class State:
    """What an index holds, ids ascending."""

    ids: Any
    codes: Any

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.ids.tobytes() + self.codes.tobytes()).hexdigest()[:16]

    def neighbours(self, query: Any, allowed: Any = None) -> list[tuple[int, int]]:
        """All (distance, id) pairs in order, by brute force."""
        distances = np.bitwise_count(self.codes ^ query).sum(axis=1)
        order = np.lexsort((self.ids, distances))
        if allowed is not None:
            order = order[allowed(self.ids[order])]
        return list(zip(distances[order].tolist(), self.ids[order].tolist(), strict=True))


def state_of(index: HammingIndex) -> State:
    snapshot = index.snapshot()
    return State(snapshot.ids, snapshot.get(snapshot.ids))


class Life:
    """One process's index, its writer and its readers."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed = path, seed
        self.index = HammingIndex.open(path, n_threads=2)
        # the number of the first state that is kept, and all states from it on; the last may still
        # be on its way into the index
        self.history = 0, [state_of(self.index)]
        self.done = 0  # the number of the newest state that is surely there
        allowed = [functools.partial(is_multiple, step) for step in (2, 7, 90)]
        self.filters = [(one, self.index.select(one)) for one in allowed]
        self.stop = threading.Event()
        self.counts: collections.Counter[str] = collections.Counter()
        self.failure: str | None = None

    def live(self, seconds: float) -> None:
        threads = [threading.Thread(target=self.guard, args=(self.write, 0))]
        threads += [
            threading.Thread(target=self.guard, args=(self.read, number + 1))
            for number in range(READERS)
        ]
        for thread in threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        for thread in threads:
            thread.join()
        if self.failure is not None:
            sys.exit(self.failure)
        print("counts", dict(sorted(self.counts.items())), flush=True)

    def guard(self, act: Callable[[random.Random], str], number: int) -> None:
        """Do something again and again, until time is over or anything fails."""
        rng = random.Random(f"{self.seed} {number}")
        try:
            while not self.stop.is_set():
                self.counts[act(rng)] += 1
        except BaseException:
            self.failure = traceback.format_exc()
            self.stop.set()

    # The writer ----------------------------------------------------------------------------------

    def write(self, rng: random.Random) -> str:
        state = self.history[1][-1]
        acts = [
            "add",
            "add with ids",
            "remove",
            "update",
            "compact",
            "save",
            "open",
            "load",
            "copy",
        ]
        weights = [20, 20, 25, 20, 2, 4, 2, 1, 2]
        act = rng.choices([*acts, "build tables"], [*weights, 1])[0]
        if len(state.ids) > MOST:
            act = "remove"
        if act.startswith("add"):
            full = len(state.ids) and state.ids[-1] > LARGEST - 500  # no room for ids that follow
            self.add(rng, state, with_ids=full or act == "add with ids")
        elif act in ("remove", "update") and len(state.ids):
            self.change(rng, state, act)
        elif act == "save":
            self.save(state)
        elif act in ("open", "load"):
            self.save(state)
            self.index = getattr(HammingIndex, act)(self.path, n_threads=2)
        elif act == "copy":
            self.index = copy.copy(self.index)
        elif act in ("compact", "build tables"):
            getattr(self.index, act.replace(" ", "_"))()
        time.sleep(rng.random() * 0.002)
        return act

    def add(self, rng: random.Random, state: State, *, with_ids: bool) -> None:
        n = rng.choice([1, 1, 5, 70, 300])
        codes = random_codes(rng, n)
        if with_ids:
            free = np.setdiff1d(np.arange(LARGEST), state.ids)
            ids = np.array(rng.sample(free.tolist(), min(n, len(free))), np.int64)
            codes = codes[: len(ids)]
        else:
            ids = np.arange(n) + (state.ids[-1] + 1 if len(state.ids) else 0)
        merged = np.concatenate([state.ids, ids])
        order = np.argsort(merged)
        after = State(merged[order], np.concatenate([state.codes, codes])[order])
        self.become(after, lambda: self.index.add(codes, ids if with_ids else None))

    def change(self, rng: random.Random, state: State, act: str) -> None:
        n = min(len(state.ids), rng.choice([1, 1, 10, 100, 500]))
        places = np.array(sorted(rng.sample(range(len(state.ids)), n)))
        ids = state.ids[places]
        if act == "remove":
            rest = np.delete(np.arange(len(state.ids)), places)
            self.become(State(state.ids[rest], state.codes[rest]), lambda: self.index.remove(ids))
            return
        codes = state.codes.copy()
        codes[places] = random_codes(rng, n)
        self.become(State(state.ids, codes), lambda: self.index.update(codes[places], ids))

    def become(self, state: State, act: Callable[[], None]) -> None:
        first, states = self.history
        states.append(state)
        act()
        self.done = first + len(states) - 1
        if len(states) > 2000:  # a search that began before a thousand changes is over
            self.history = first + 1000, states[1000:]

    def save(self, state: State) -> None:
        print("saving", state.checksum, flush=True)
        self.index.save(self.path)
        print("saved", state.checksum, flush=True)

    # The readers ---------------------------------------------------------------------------------

    def read(self, rng: random.Random) -> str:
        first = self.done
        index = self.index
        query, k = random_codes(rng, 1), rng.choice([1, 3, 20, 200])
        way = rng.choice(["plain", "plain", "ids", "function", "prepared", "mask"])
        allowed, prepared = (None, None) if way == "plain" else rng.choice(self.filters)
        searched: Any = index
        filter: Any = None
        if way == "ids":
            filter = np.flatnonzero(allowed(np.arange(LARGEST)))
        elif way == "function":
            filter = allowed
        elif way == "prepared":
            filter = prepared
        elif way == "mask":
            searched = index.snapshot()
            filter = allowed(searched.ids)
        kind = rng.choice(["search", "search", "range"])
        if kind == "search":
            distances, ids = (part[0] for part in searched.search(query, k, filter=filter))
        else:
            _, distances, ids = searched.range_search(query, 24, filter=filter)
        found = list(zip(distances.tolist(), ids.tolist(), strict=True))
        start, states = self.history
        possible = states[max(0, first - start) :]
        for state in possible:
            expected = state.neighbours(query, allowed)
            if kind == "search":
                expected = expected[:k] + [MISSING] * (k - len(expected))
            else:
                expected = [pair for pair in expected if pair[0] <= 24]
            if found == expected:
                return f"{kind} {way}"
        raise AssertionError(
            f"{kind} {way} k={k}: {found[:5]} is in none of {len(possible)} states"
        )


def is_multiple(step: int, ids: Any) -> Any:
    """A filter: ids that ``step`` divides."""
    return ids % step == 0


def random_codes(rng: random.Random, n: int) -> Any:
    """Codes of few different bits, so that distances tie."""
    return np.frombuffer(rng.randbytes(n * N_BYTES), np.uint8).reshape(n, N_BYTES) & 0x5B


def run_life(path: Path, seed: int, seconds: float, kill: bool) -> tuple[list[str], str]:
    """One life in a process of its own; what it printed of saves, and its counts."""
    program = [sys.executable, __file__, "--life", str(path), "--seed", str(seed)]
    with subprocess.Popen(
        [*program, "--seconds", str(10**6 if kill else seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        lines: list[str] = []
        assert child.stdout is not None
        reading = threading.Thread(target=lines.extend, args=(child.stdout,))
        reading.start()
        if kill:
            began = time.monotonic()
            while not lines and child.poll() is None and time.monotonic() - began < 120:
                time.sleep(0.01)  # it is alive when it has saved once
            time.sleep(seconds)
            child.kill()
        code = child.wait()
        reading.join()
        if code != (-9 if kill and os.name == "posix" else code if kill else 0):
            assert child.stderr is not None
            sys.exit(f"life {seed} ended with {code}:\n{child.stderr.read()}")
    return [line.strip() for line in lines], lines[-1].strip() if lines else ""


def check_file(path: Path, lines: list[str], before: str, seed: int) -> str:
    """The file holds what was saved last, or what was being saved; and it answers rightly."""
    index = HammingIndex.open(path)
    state = state_of(index)
    possible = [before]
    for line in lines:
        word, _, checksum = line.partition(" ")
        if word == "saved":
            possible = [checksum]
        elif word == "saving":
            possible.append(checksum)
    if state.checksum not in possible:
        sys.exit(f"life {seed} left {state.checksum}, but saved {possible}")
    rng = random.Random(seed)
    for _ in range(20):
        query = random_codes(rng, 1)
        distances, ids = (part[0].tolist() for part in index.search(query, 10))
        expected = state.neighbours(query)[:10]
        if list(zip(distances, ids, strict=True)) != expected + [MISSING] * (10 - len(expected)):
            sys.exit(f"life {seed} left a file that answers wrongly")
    return state.checksum


def soak(seconds: float, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        index = HammingIndex(8 * N_BYTES, fingerprint="c0ffee")
        index.add(random_codes(random.Random(seed), 500))
        index.save(path)
        checksum = state_of(index).checksum
        ends = time.monotonic() + seconds
        kills = 0
        for number in itertools.count(seed):
            left = ends - time.monotonic()
            if left <= 0:
                break
            kill = number > seed
            # the first life is long and ends by itself
            span = min(left, random.Random(number).uniform(0.2, 3)) if kill else seconds / 2
            lines, last = run_life(path, number, span, kill)
            checksum = check_file(path, lines, checksum, number)
            kills += kill
            if not kill:
                print(f"one life of {seconds / 2:.0f} s: {last}", flush=True)
        left_over = [file.name for file in Path(folder).iterdir() if file.name != "index"]
        print(f"{kills} lives killed; {len(left_over)} temporary files left by kills")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--life", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.life is None:
        soak(arguments.seconds, arguments.seed)
        return
    sys.setswitchinterval(1e-4)
    life = Life(arguments.life, arguments.seed)
    life.save(life.history[1][0])
    life.live(arguments.seconds)


if __name__ == "__main__":
    main()
