"""Mutation testing: small faults are put into the code, and the tests must notice.

A fixed seed draws faults from the functions of chosen modules: a comparison that is off by one, an
operator or a condition turned round, a number one larger, a statement left out. The test files of a
module are collected and run once without a fault, in a process of their own. For each fault that
process forks; the child takes the faulty code into the functions that are loaded, and runs the
tests until one fails. So a fault costs what its tests cost.

Tests that are marked slow or take more than SLOW seconds are left out, and tests that start other
processes do not see the fault, so the share that is noticed is a lower bound. Constants of modules
and classes are not changed, and neither are compiled kernels, whose answers are held against NumPy
bit by bit.

``make mutate`` runs this and writes benchmarks/results/mutation.json; interrupted, it goes on where
it stopped. A fault is known by the function it is in, so results stay while other code changes.
Faults that passed are tried again when their tests change.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import importlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Modules under test, and the test files that are theirs, the most likely to notice first.
TESTS = {
    "hashers/base.py": [
        "hashers/test_linear.py", "hashers/test_estimator.py", "hashers/test_inputs.py",
        "hashers/test_metric.py", "search/test_models.py", "streams/test_encoding.py",
    ],
    "hashers/estimator.py": ["hashers/test_estimator.py", "hashers/test_inputs.py"],
    "hashers/rounding.py": [
        "hashers/test_linear.py", "hashers/test_single_vectors.py", "hashers/test_inputs.py",
    ],
    "hashers/sigah*.py": [
        "hashers/test_linear.py", "hashers/test_sigah.py", "hashers/test_estimator.py",
        "hashers/test_inputs.py",
    ],
    "hashers/itq.py": [
        "hashers/test_itq.py", "hashers/test_oracles.py", "hashers/test_pca_rotation.py",
        "hashers/test_estimator.py",
    ],
    "search/plain_scan.py": ["search/test_cold_start.py", "search/test_index.py"],
    "search/scan.py": [
        "search/test_kernels.py", "search/test_cold_start.py", "search/test_index.py",
        "search/test_filters.py",
    ],
    "search/segment.py": [
        "search/test_kernels.py", "search/test_index.py", "search/test_filters.py",
        "search/test_index_life.py", "search/test_index_files.py",
    ],
    "search/query_tables.py": [
        "search/test_query_tables.py", "refinement/test_index_of_vectors.py",
    ],
    "search/multi_index*.py": [
        "search/test_multi_index.py", "search/test_kernels.py", "search/test_index.py",
        "search/test_index_life.py",
    ],
    "search/rerank.py": [
        "search/test_rerank.py", "search/test_rerank_metrics.py", "search/test_models.py",
        "search/test_filters.py", "search/test_keyed_index.py", "search/test_processes.py",
    ],
    "search/scor*.py": [
        "search/test_rerank.py", "search/test_rerank_metrics.py", "search/test_table_search.py",
        "refinement/test_index_of_vectors.py", "refinement/test_vector_index_life.py",
    ],
    "search/snapshot.py": [
        "search/test_index.py", "search/test_index_life.py", "search/test_filters.py",
        "search/test_rerank.py", "search/test_table_search.py", "search/test_models.py",
    ],
    "search/key*.py": ["search/test_keyed_index.py", "cli/test_keys.py"],
    "search/merging.py": [
        "distributed/test_folders.py", "search/test_index.py", "search/test_filters.py",
        "search/test_index_life.py",
    ],
    "search/index*.py": [
        "search/test_index.py", "search/test_index_life.py", "search/test_index_files.py",
        "search/test_filters.py", "search/test_models.py", "search/test_processes.py",
        "files/test_golden.py",
    ],
    "search/*.py": [
        "search/test_index.py", "search/test_index_life.py", "search/test_filters.py",
        "search/test_index_files.py", "search/test_models.py", "search/test_table_search.py",
        "search/test_keyed_index.py",
    ],
    "evaluation/metrics.py": ["evaluation/test_metrics.py", "evaluation/test_intervals.py"],
    "evaluation/truth.py": ["evaluation/test_truth.py", "evaluation/test_truth_metrics.py"],
    "evaluation/labels.py": ["evaluation/test_labels.py", "evaluation/test_loop.py"],
    "evaluation/intervals.py": ["evaluation/test_intervals.py", "evaluation/test_loop.py"],
    "evaluation/relevance.py": ["evaluation/test_relevance.py"],
    "evaluation/qrels.py": ["evaluation/test_relevance.py"],
    "evaluation/deployed.py": [
        "evaluation/test_deployed.py", "cli/test_evaluate_deployed.py",
    ],
    "evaluation/*.py": ["evaluation/test_loop.py"],
    "files/targets.py": ["files/test_targets.py", "files/test_files.py", "cli/test_messages.py"],
    "files/unchanged.py": ["search/test_processes.py", "search/test_index_files.py"],
    "files/indexes.py": [
        "search/test_index_files.py", "files/test_files.py", "files/test_golden.py",
        "refinement/test_vector_index_life.py", "search/test_keyed_index.py",
    ],
    "files/folders.py": [
        "files/test_parquet.py", "cli/test_codes_with_ids.py", "distributed/test_folders.py",
        "streams/test_encoding.py",
    ],
    "files/parquet.py": [
        "files/test_parquet.py", "cli/test_codes_with_ids.py", "streams/test_encoding.py",
        "fuzz/test_seeds.py",
    ],
    "files/codes.py": [
        "files/test_files.py", "files/test_parquet.py", "cli/test_codes_with_ids.py",
        "files/test_golden.py", "streams/test_encoding.py",
    ],
    "files/*.py": [
        "files/test_files.py", "files/test_parquet.py", "files/test_golden.py",
        "streams/test_encoding.py", "search/test_index_files.py", "fuzz/test_seeds.py",
    ],
    "rows/sampling.py": ["rows/test_sampling.py", "rows/test_sources.py"],
    "rows/blocks.py": [
        "rows/test_sources.py", "hashers/test_itq.py", "hashers/test_oracles.py",
        "hashers/test_inputs.py", "hashers/test_metric.py", "hashers/test_estimator.py",
        "rows/test_tables.py", "rows/test_sampling.py",
    ],
    "rows/ids.py": [
        "rows/test_folder.py", "cli/test_codes_with_ids.py", "cli/test_keys.py",
        "streams/test_encoding.py",
    ],
    "rows/lazy.py": ["rows/test_tables.py", "rows/test_readers.py", "rows/test_folder.py"],
    "rows/dtypes.py": [
        "hashers/test_inputs.py", "rows/test_sources.py", "rows/test_readers.py",
        "rows/test_tables.py",
    ],
    "rows/formats/*.py": [
        "rows/test_readers.py", "rows/test_tables.py", "rows/test_folder.py", "fuzz/test_seeds.py",
    ],
    "rows/*.py": [
        "rows/test_sources.py", "rows/test_readers.py", "rows/test_folder.py",
        "rows/test_sampling.py", "streams/test_encoding.py", "hashers/test_inputs.py",
    ],
    "refinement/codebooks.py": [
        "refinement/test_codebooks.py", "refinement/test_index_of_vectors.py",
    ],
    "refinement/*.py": [
        "refinement/test_index_of_vectors.py", "refinement/test_vector_index_life.py",
        "cli/test_vector_index.py",
    ],
    "metric.py": [
        "hashers/test_metric.py", "search/test_rerank_metrics.py",
        "evaluation/test_truth_metrics.py",
    ],
    "streams/drift.py": ["streams/test_drift.py", "cli/test_streams.py"],
    "streams/*.py": ["streams/test_encoding.py", "cli/test_streams.py"],
}  # fmt: skip
UNSEEN = (
    "*kernels.py", "instructions.py", "layout.py",  # compiled once, and kept in a cache
    "kernel_cache.py", "warmup.py",  # their tests start processes
)  # fmt: skip
SLOW = 1.0  # seconds of processor time
PATIENCE = 10  # of clock time, as a multiple of processor time
PASSED, NOTICED, NO_FUNCTION, BROKEN = 0, 1, 3, 4  # what a child leaves with

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
    key: str


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
    """All faults of a module's functions; what only words depend on is left alone."""
    content = module.read_bytes()
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(node: ast.AST) -> tuple[int, int]:
        """Where the text of a node starts and stops, in bytes."""
        return (
            starts[node.lineno - 1] + node.col_offset,  # type: ignore[attr-defined]
            starts[node.end_lineno - 1] + node.end_col_offset,  # type: ignore[attr-defined]
        )

    def walk(node: ast.AST, around: str, function: ast.AST | None) -> Iterator[Mutant]:
        """Faults below a node; ``around`` names the classes, ``function`` is the outermost one."""
        for fault in faults(node) if function is not None else ():
            (start, stop), (first, last) = place(node), place(function)
            text = f"({ast.unparse(fault)})" if isinstance(node, ast.expr) else ast.unparse(fault)
            known_by = (name, around, content[first:last].decode(), start - first, stop - first)
            yield Mutant(
                name,
                node.lineno,  # type: ignore[attr-defined]
                start,
                stop,
                content[start:stop].decode(),
                text,
                checksum(known_by, text),
            )
        if isinstance(node, ast.Raise | ast.JoinedStr):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.ClassDef):
            around += f".{node.name}"
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            within = function
            if function is None and isinstance(node, ast.FunctionDef) and field == "body":
                within = node
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk(child, around, within)

    yield from walk(ast.parse(content), "", None)


def checksum(*parts: object) -> str:
    """A name for a fault, or for the text of tests."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def tests_of(package: Path) -> dict[str, list[str]]:
    """The test files of every module; the first pattern that fits decides."""
    found: dict[str, list[str]] = {}
    for pattern, files in TESTS.items():
        for module in sorted(package.glob(pattern)):
            name = str(module.relative_to(package))
            if not any(module.match(unseen) for unseen in ("__init__.py", *UNSEEN)):
                found.setdefault(name, [str(ROOT / "tests" / file) for file in files])
    return found


def put_in(mutant: Mutant) -> bool:
    """Take a fault into the loaded functions; whether there is one that has it."""
    path = ROOT / "src/sigah" / mutant.module
    content = path.read_bytes()
    faulty = content[: mutant.start] + mutant.after.encode() + content[mutant.stop :]
    module = importlib.import_module(f"sigah.{mutant.module[:-3].replace('/', '.')}")
    right, wrong = (functions(compile(text, str(path), "exec")) for text in (content, faulty))
    changed = [name for name, code in wrong.items() if code != right[name]]
    for name in changed:
        function = loaded(module, name)
        if function is None or len(function.__code__.co_freevars) != len(wrong[name].co_freevars):
            return False
        function.__code__ = wrong[name]
    return bool(changed)


def functions(code: CodeType) -> dict[str, CodeType]:
    """The outermost functions of a module and its classes, by qualified name."""
    found: dict[str, CodeType] = {}
    for one in code.co_consts:
        if isinstance(one, CodeType) and one.co_flags & 0x2:  # a function: it has fast locals
            found[one.co_qualname] = one
        elif isinstance(one, CodeType):
            found |= functions(one)
    return found


def loaded(module: ModuleType, name: str) -> FunctionType | None:
    """The function that has a qualified name, without what decorates it."""
    found: Any = module
    for part in name.split("."):
        found = vars(found).get(part)
        if found is None:
            return None
    while True:
        for inner in ("__wrapped__", "__func__", "fget", "func"):
            if hasattr(found, inner):
                if hasattr(found, "cache_clear"):
                    found.cache_clear()
                found = getattr(found, inner)
                break
        else:
            return found if isinstance(found, FunctionType) else None


class Trials:
    """Takes the place of pytest's loop over tests: once without a fault, then each fault."""

    def __init__(self, faults: Sequence[Mutant], out: int) -> None:
        self.faults, self.out = faults, out
        self.failed: set[str] = set()

    def pytest_sessionstart(self) -> None:
        """Hypothesis need not look for the smallest example that notices a fault."""
        import hypothesis  # pytest has to import it first
        from hypothesis import Phase

        phases = (Phase.explicit, Phase.generate)
        hypothesis.settings.register_profile("mutation", hypothesis.settings(), phases=phases)
        hypothesis.settings.load_profile("mutation")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests of all faults, and tell of each in a line of JSON."""
        quick, total = [], 0.0
        for item, following in in_turn(session.items):
            began = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds = time.process_time() - began
            if seconds <= SLOW and item.nodeid not in self.failed:
                quick.append(item)
                total += seconds
        self.tell(broken=sorted(self.failed), quick=len(quick), of=len(session.items))
        for fault in self.faults:
            result, seconds = in_child(lambda fault=fault: attempt(fault, quick), 10 + 3 * total)
            self.tell(**asdict(fault), result=result, seconds=round(seconds, 1))
        return True

    def tell(self, **what: object) -> None:
        os.write(self.out, json.dumps(what).encode() + b"\n")


def in_turn(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Each test with the next one, whose fixtures stay."""
    return zip(items, [*items[1:], None], strict=True)


def attempt(fault: Mutant, items: Sequence[pytest.Item]) -> int:
    """Run tests on faulty code until one fails."""
    if not put_in(fault):
        return NO_FUNCTION
    items[0].session.testsfailed = 0
    for item, following in in_turn(items):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if item.session.testsfailed:
            return NOTICED
    return PASSED


def in_child(function: Any, limit: float) -> tuple[str, float]:
    """Call a function in a fork of this process: what became of it, and its processor seconds.

    The limit is of processor time, so that other work on the machine changes no result. What waits
    for ever ends after PATIENCE times the limit.
    """
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limit), math.ceil(limit) + 1))
        result = BROKEN
        try:
            result = function()
        finally:
            os._exit(result)
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done or time.monotonic() - began > PATIENCE * limit:
            break
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not done:
        _, status, usage = os.wait4(child, 0)
    results = {PASSED: "passed", NOTICED: "failed", NO_FUNCTION: "not tried", BROKEN: "not tried"}
    result = results.get(os.waitstatus_to_exitcode(status), "timeout")
    return result, usage.ru_utime + usage.ru_stime


def try_all(files: list[str], faults: Sequence[Mutant]) -> Iterator[dict[str, Any]]:
    """Start the process of a set of test files, and yield what it tells."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no"]
        options += ["-m", "not engine and not slow"]
        pytest.main([*options, *files], plugins=[Trials(faults, writing)])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        for line in lines:
            yield json.loads(line)
    os.waitpid(child, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=460, help="how many faults to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="try those of modules with this in their names")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks/results/mutation.json")
    arguments = parser.parse_args()
    sys.dont_write_bytecode = True
    os.chdir(ROOT)
    package = ROOT / "src/sigah"
    tests = tests_of(package)
    all_ = [mutant for name in tests for mutant in mutants(package / name, name)]
    all_.sort(key=lambda mutant: checksum(arguments.seed, mutant.key))
    drawn = all_[: arguments.n]
    print(f"{len(all_):,} faults in {len(tests)} modules, {len(drawn)} drawn", flush=True)
    versions = {
        name: checksum(*[(file, Path(file).read_bytes()) for file in files])
        for name, files in tests.items()
    }
    about = {"seed": arguments.seed, "faults": len(all_)}
    results = tried(arguments.json, arguments.seed, drawn, versions)
    done = {one["key"] for one in results}
    groups: dict[tuple[str, ...], list[Mutant]] = {}
    for one in drawn:
        if one.key not in done and arguments.only in one.module:
            groups.setdefault(tuple(tests[one.module]), []).append(one)
    for files, some in groups.items():
        for told in try_all(list(files), some):
            if "result" not in told:
                print(f"{told['quick']} of {told['of']} tests of {len(files)} files", flush=True)
                if told["broken"]:
                    print("left out, as they fail without a fault:", *told["broken"], flush=True)
                continue
            results.append({**told, "tests": versions[told["module"]]})
            print(
                f"{len(results):4} {told['result']:8} {told['seconds']:5.1f} s "
                f" {told['module']}:{told['line']}  {told['before']!r} -> {told['after']!r}",
                flush=True,
            )
            report(results, arguments.json, about)
    noticed = sum(one["result"] in ("failed", "timeout") for one in results)
    print(f"{noticed} of {len(results)} noticed; {arguments.json}")


def tried(
    path: Path, seed: int, drawn: Sequence[Mutant], versions: dict[str, str]
) -> list[dict[str, Any]]:
    """The results of an earlier call that still hold: the fault is the same, and so are its tests.

    A fault that was noticed is not tried again. Its place may have moved.
    """
    if not path.is_file():
        return []
    content = json.loads(path.read_text())
    if content["seed"] != seed:
        return []
    known = {one.key: asdict(one) for one in drawn}
    return [
        one | known[one["key"]]
        for one in content["results"]
        if one.get("key") in known
        and (one["result"] != "passed" or one["tests"] == versions[one["module"]])
    ]


def report(results: list[dict[str, Any]], path: Path, about: dict[str, object]) -> None:
    """Write what was noticed, and what was not."""
    counted = [one for one in results if one["result"] != "not tried"]
    rooms: dict[str, list[int]] = {}
    for one in counted:
        room = str(one["module"]).partition("/")[0]
        counts = rooms.setdefault(room, [0, 0])
        counts[0] += one["result"] != "passed"
        counts[1] += 1
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    killed = sum(one["result"] != "passed" for one in counted)
    content = {
        **about,
        "commit": commit.stdout.strip(),
        "tried": len(counted),
        "killed": killed,
        "share_killed": round(killed / max(1, len(counted)), 4),
        "rooms": {room: {"killed": k, "tried": n} for room, (k, n) in sorted(rooms.items())},
        "results": results,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
