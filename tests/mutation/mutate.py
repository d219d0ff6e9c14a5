"""Mutation testing: small faults are put into the code, and the tests must notice.

A fixed seed draws faults from chosen modules: a comparison that is off by one, an operator or a
condition turned round, a number one larger, a statement left out. Each is put into a copy of the
package, against which the test files of its module run, in a process forked from one that has the
libraries loaded. Single tests of more than SLOW seconds are left out, so the share that is noticed
is a lower bound.

``make mutate`` runs this and writes benchmarks/results/mutation.json; interrupted, it goes on where
it stopped. Faults are tried in the order in which they were drawn, those of compiled modules last,
each of which takes a minute or more.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Modules under test, and the test files that are theirs, the most likely to notice first.
TESTS = {
    "hashers/base.py": [
        "hashers/test_linear.py", "hashers/test_estimator.py", "hashers/test_inputs.py",
    ],
    "hashers/sigah*.py": ["hashers/test_sigah.py"],
    "hashers/itq.py": ["hashers/test_itq.py", "hashers/test_oracles.py"],
    "search/kernels.py": ["search/test_kernels.py", "search/test_index.py"],
    "search/group_kernels.py": ["search/test_kernels.py", "search/test_table_search.py"],
    "search/query_tables.py": ["search/test_query_tables.py"],
    "search/multi_index*.py": ["search/test_multi_index.py"],
    "search/rerank.py": ["search/test_rerank.py"],
    "search/scor*.py": ["search/test_rerank.py", "search/test_table_search.py"],
    "search/asymmetric_kernels.py": ["search/test_table_search.py"],
    "search/key*.py": ["search/test_keyed_index.py"],
    "search/*.py": [
        "search/test_index.py", "search/test_index_life.py", "search/test_filters.py",
        "search/test_index_files.py", "search/test_models.py",
    ],
    "evaluation/metrics.py": ["evaluation/test_metrics.py"],
    "evaluation/truth.py": ["evaluation/test_truth.py"],
    "evaluation/labels.py": ["evaluation/test_labels.py"],
    "evaluation/intervals.py": ["evaluation/test_intervals.py"],
    "evaluation/relevance.py": ["evaluation/test_relevance.py"],
    "evaluation/qrels.py": ["evaluation/test_relevance.py"],
    "evaluation/*.py": ["evaluation/test_loop.py"],
    "files/targets.py": ["files/test_targets.py"],
    "files/*.py": ["files/test_files.py", "files/test_parquet.py", "files/test_golden.py"],
    "rows/sampling.py": ["rows/test_sampling.py"],
    "rows/*.py": ["rows/test_sources.py", "rows/test_readers.py", "rows/test_folder.py"],
    "refinement/*.py": [
        "refinement/test_codebooks.py", "refinement/test_index_of_vectors.py",
    ],
    "metric.py": ["hashers/test_metric.py"],
    "rows/formats/*.py": ["rows/test_readers.py", "rows/test_tables.py"],
    "streams/drift.py": ["streams/test_drift.py"],
    "streams/*.py": ["streams/test_encoding.py"],
}  # fmt: skip
SLOW = 2.0  # seconds of processor time
BASELINE = 900  # at most, for the tests of one module without a fault
PATIENCE = 10  # of clock time, as a multiple of processor time
# what Numba's cache is made of
COMPILED = (
    "kernels.py", "group_kernels.py", "multi_index_kernels.py", "score_kernels.py",
    "asymmetric_kernels.py", "product_kernels.py", "instructions.py", "layout.py",
)  # fmt: skip
MOST_COMPILED = 30
# libraries that have threads of their own are not safe to fork
LIBRARIES = ("numpy", "safetensors.numpy", "rich.progress", "typer")

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr, ast.MatMult: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One fault: the text between two places of a module, and what takes its place."""

    module: str
    line: int
    start: int
    stop: int
    before: str
    after: str


def faults(node: ast.AST) -> Iterator[ast.AST]:
    """What may take the place of a node."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARISONS:
            changed = copy.deepcopy(node)
            changed.ops = [COMPARISONS[type(operator)]()]
            yield changed
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in OPERATORS:
            changed = copy.deepcopy(node)
            changed.op = OPERATORS[type(operator)]()
            yield changed
        case ast.BoolOp(op=operator):
            changed = copy.deepcopy(node)
            changed.op = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield changed
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.IfExp():
            yield ast.IfExp(node.test, node.orelse, node.body)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield ast.Pass()


def mutants(module: Path, name: str) -> Iterator[Mutant]:
    """All faults of a module; what only words depend on is left alone."""
    source = module.read_text()
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    content = source.encode()

    def walk(node: ast.AST) -> Iterator[Mutant]:
        for fault in faults(node):
            start = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
            stop = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
            text = ast.unparse(fault)
            if isinstance(node, ast.expr):
                text = f"({text})"
            yield Mutant(
                name,
                node.lineno,  # type: ignore[attr-defined]
                start,
                stop,
                content[start:stop].decode(),
                text,
            )
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list") or isinstance(
                node, ast.JoinedStr
            ):
                continue
            if isinstance(node, ast.Raise):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(child)

    yield from walk(ast.parse(source))


def tests_of(package: Path) -> dict[str, list[str]]:
    """The test files of every module; the first pattern that fits decides."""
    found: dict[str, list[str]] = {}
    for pattern, files in TESTS.items():
        for module in sorted(package.glob(pattern)):
            name = str(module.relative_to(package))
            if module.name != "__init__.py":
                found.setdefault(name, [str(ROOT / "tests" / file) for file in files])
    return found


class Durations:
    """Writes down the processor time of every test; infinite for one that fails."""

    def __init__(self, path: Path) -> None:
        self.path, self.seconds, self.failed = path, dict[str, float](), set[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        began = time.process_time()
        result = yield
        seconds = time.process_time() - began
        self.seconds[item.nodeid] = math.inf if item.nodeid in self.failed else seconds
        self.path.write_text(json.dumps(self.seconds))
        return result


def run_tests(
    files: list[str], source: Path, limit: float, skipped: list[str], durations: Path | None
) -> tuple[str, float]:
    """Run test files in a fork of this process: passed, failed or timeout, and the seconds.

    Seconds, and the limit, are of processor time, so that other work on the machine changes no
    result. What waits for ever ends after PATIENCE times the limit.
    """
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 1))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.path.insert(0, str(source))
        os.environ["PYTHONPATH"] = str(source)
        options = [
            "-q",
            *([] if durations else ["-x"]),
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "--tb=no",
        ]
        options += [f"--deselect={test}" for test in skipped]
        plugins = [Durations(durations)] if durations else []
        os._exit(int(pytest.main([*options, *files], plugins=plugins) != 0))
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done or time.monotonic() - began > PATIENCE * limit:
            break
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not done:
        _, status, usage = os.wait4(child, 0)
    result = {0: "passed", 256: "failed"}.get(status, "timeout")  # 256: it left with 1
    return result, usage.ru_utime + usage.ru_stime


def forget(module: Path, package: Path) -> None:
    """Remove what Python and Numba have compiled of a module, and of those that inline it."""
    for compiled in (module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"):
        compiled.unlink()
    if module.name in COMPILED:
        for cache in (*package.rglob("*.nbi"), *package.rglob("*.nbc")):
            cache.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=450, help="how many faults to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="modules whose names have this in them")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/mutation.json")
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.chdir(ROOT)
    for library in LIBRARIES:
        importlib.import_module(library)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "src")
        shutil.copytree(ROOT / "src", source)  # with its caches, which keep their times
        package = source / "sigah"
        tests = {name: files for name, files in tests_of(package).items() if arguments.only in name}
        all_ = [mutant for name in tests for mutant in mutants(package / name, name)]
        drawn = draw(all_, arguments.n, random.Random(arguments.seed))
        print(f"{len(all_):,} faults in {len(tests)} modules, {len(drawn)} drawn", flush=True)
        about = {"seed": arguments.seed, "faults": len(all_), "only": arguments.only}
        run_all(drawn, tests, package, arguments.json, about)


def draw(all_: list[Mutant], n: int, chance: random.Random) -> list[Mutant]:
    """Faults to try, few of them in compiled modules: those take a minute each."""
    slow = [mutant for mutant in all_ if Path(mutant.module).name in COMPILED]
    quick = [mutant for mutant in all_ if Path(mutant.module).name not in COMPILED]
    some = chance.sample(slow, min(MOST_COMPILED, len(slow), n))
    return chance.sample(quick, min(n - len(some), len(quick))) + some


def tried(path: Path, about: dict[str, object]) -> list[dict[str, object]]:
    """The results of an earlier call for the same sample, which this one goes on from."""
    if not path.is_file():
        return []
    content = json.loads(path.read_text())
    if any(content.get(key) != value for key, value in about.items()):
        return []
    return list(content["results"])


def run_all(
    drawn: list[Mutant],
    tests: dict[str, list[str]],
    package: Path,
    path: Path,
    about: dict[str, object],
) -> None:
    """Every fault in turn, each in the code as it is otherwise; results are written after each."""
    results = tried(path, about)
    done = {tuple(one[key] for key in ("module", "start", "stop", "after")) for one in results}
    known: dict[tuple[str, ...], tuple[float, list[str]]] = {}
    for number, mutant in enumerate(drawn, 1):
        if (mutant.module, mutant.start, mutant.stop, mutant.after) in done:
            continue
        module, files = package / mutant.module, tests[mutant.module]
        if tuple(files) not in known:
            durations = package.parent.with_name("durations.json")
            result, seconds = run_tests(files, package.parent, BASELINE, [], durations)
            tests_ = json.loads(durations.read_text())
            broken = [test for test, duration in tests_.items() if math.isinf(duration)]
            assert result != "timeout", f"without a fault: {files} {result}"
            if broken:
                print("left out, as they fail without a fault:", *broken, flush=True)
            skipped = [test for test, duration in tests_.items() if duration > SLOW]
            known[tuple(files)] = 20 + 3 * seconds, skipped
        limit, skipped = known[tuple(files)]
        content = module.read_bytes()
        fault = mutant.after.encode()
        module.write_bytes(content[: mutant.start] + fault + content[mutant.stop :])
        forget(module, package)
        limit += 300 * (module.name in COMPILED)
        result, seconds = run_tests(files, package.parent, limit, skipped, None)
        module.write_bytes(content)
        forget(module, package)
        results.append({**asdict(mutant), "result": result, "seconds": round(seconds, 1)})
        print(
            f"{number:4} {result:8} {seconds:5.0f} s  {mutant.module}:{mutant.line}"
            f"  {mutant.before!r} -> {mutant.after!r}",
            flush=True,
        )
        report(results, path, about)
    print(f"{sum(one['result'] != 'passed' for one in results)} of {len(results)} noticed; {path}")


def report(results: list[dict[str, object]], path: Path, about: dict[str, object]) -> None:
    """Write what was noticed, and what was not."""
    rooms: dict[str, list[int]] = {}
    for one in results:
        room = str(one["module"]).partition("/")[0]
        counts = rooms.setdefault(room, [0, 0])
        counts[0] += one["result"] != "passed"
        counts[1] += 1
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    killed = sum(one["result"] != "passed" for one in results)
    content = {
        **about,
        "commit": commit.stdout.strip(),
        "tried": len(results),
        "killed": killed,
        "share_killed": round(killed / max(1, len(results)), 4),
        "rooms": {room: {"killed": k, "tried": n} for room, (k, n) in sorted(rooms.items())},
        "results": results,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
