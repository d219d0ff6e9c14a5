"""The package as a whole: what it imports, which way, and on which systems it can."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grimp
import pytest

import sigah

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in (SOURCE / "sigah").rglob("*.py")
)

# What only some systems have (https://docs.python.org/3/library, "Availability").
PLATFORM = (
    *("curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog"),
    *("termios", "tty", "_posixsubprocess", "msvcrt", "winreg", "winsound", "_winapi", "nt"),
)

# Modules that may import an extra when they are loaded: nothing of the core loads them.
ROOMS = {
    "sigah.lab": ("lab", "photos"),
    "sigah.hashers.sigah_networks": ("train",),
    "sigah.hashers.sigah_training": ("train",),
    "sigah.hashers.deep.training": ("train",),
    "sigah.hashers.deep.trunk": ("train",),
    "sigah.distributed.training_worker": ("train",),
    "sigah.testing": ("dev",),
}


def names_of(requirements: list[str]) -> set[str]:
    """Distributions that a list of requirements names, extras of sigah resolved."""
    found = set()
    for requirement in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", requirement).groups()  # type: ignore[union-attr]
        if name == "sigah":
            for extra in extras.split(","):
                found |= names_of(PROJECT["optional-dependencies"][extra])
        else:
            found.add(name.lower().replace("_", "-"))
    return found


CORE = names_of(PROJECT["dependencies"])
EXTRAS = {name: names_of(needs) for name, needs in PROJECT["optional-dependencies"].items()}
DISTRIBUTIONS = {
    **{top: {name.lower().replace("_", "-") for name in names}
       for top, names in packages_distributions().items()},
    # engines that these tests do not install
    "chdb": {"chdb"}, "lancedb": {"lancedb"}, "milvus_lite": {"milvus-lite"},
    "pandas": {"pandas"}, "psycopg": {"psycopg"}, "pymilvus": {"pymilvus"}, "ray": {"ray"},
    "usearch": {"usearch"},
}  # fmt: skip


def type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST, *, loading: bool = True) -> Iterator[tuple[str, bool, str | None]]:
    """Of every import: the module, whether loading needs it, and the extra that it names."""
    for node in ast.iter_child_nodes(tree):
        if type_checking(node):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, loading, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or "", loading, None
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "require":
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            if len(words) == len(node.args) == 3:
                yield str(words[0]), False, str(words[2])
        inner = loading and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        yield from imports(node, loading=inner)


def imports_of(module: str) -> list[tuple[str, bool, str | None]]:
    path = SOURCE / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = []
    for name, loading, extra in imports(ast.parse(file.read_text())):
        top = name.split(".")[0]
        if top != "sigah" and top not in sys.stdlib_module_names and top not in PLATFORM:
            found.append((top, loading, extra))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_imports_is_declared(module: str) -> None:
    rooms = [extras for room, extras in ROOMS.items() if f"{module}.".startswith(f"{room}.")]
    at_load = CORE.union(*(EXTRAS[extra] for extras in rooms for extra in extras))
    anywhere = CORE.union(*EXTRAS.values())
    for name, loading, extra in imports_of(module):
        distributions = DISTRIBUTIONS.get(name, {name})
        if extra is not None:
            assert distributions & EXTRAS[extra], f"{extra} does not install {name}"
        assert distributions & (at_load if loading else anywhere), f"{name} is not declared"


def test_every_core_dependency_is_used() -> None:
    used = {name for module in MODULES for name, _, _ in imports_of(module)}
    assert set.union(*(DISTRIBUTIONS.get(name, {name}) for name in used)) >= CORE


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("sigah", exclude_type_checking_imports=True, cache_dir=None)


def test_layers_hold() -> None:
    """The contract is in pyproject.toml: a lower room never imports a higher one."""
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_room_has_a_layer() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in linter["contracts"] if c["type"] == "layers")
    placed = {name.strip() for layer in layers for name in re.split("[|:]", layer)}
    rooms = {module.split(".")[1] for module in MODULES if "." in module} - {"__main__"}
    assert rooms == placed


def test_no_modules_import_each_other_in_a_circle(graph: grimp.ImportGraph) -> None:
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles = []

    def visit(module: str) -> None:  # Tarjan, SIAM Journal on Computing, 1972
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in graph.find_modules_directly_imported_by(module):
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            position = stack.index(module)
            if len(stack) > position + 1:
                circles.append(sorted(stack[position:]))
            del stack[position:]

    for module in sorted(graph.modules):
        if module not in number:
            visit(module)
    assert circles == []


BLOCKED = """
import builtins, importlib, sys
real = builtins.__import__

def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {{}}).get("__name__", "")
    if name.split(".")[0] in {blocked!r} and importer.split(".")[0] == "sigah":
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = guarded
failures = {{}}
for module in {modules!r}:
    try:
        importlib.import_module(module)
    except Exception as error:
        failures[module] = repr(error)
print(failures)
"""


def import_all(modules: list[str], blocked: tuple[str, ...]) -> Any:
    """What fails of importing modules where sigah cannot import some others."""
    script = BLOCKED.format(modules=modules, blocked=blocked)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return ast.literal_eval(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_every_module_loads_where_a_platform_lacks_modules() -> None:
    modules = [name for name in MODULES if name not in ("sigah.__main__", "sigah.testing")]
    assert import_all(modules, PLATFORM) == {}


def test_the_core_loads_without_any_extra() -> None:
    tops = [top for top, names in DISTRIBUTIONS.items() if not names & CORE]
    extra = tuple(t for t in tops if DISTRIBUTIONS[t] & set().union(*EXTRAS.values()))
    core = [
        name
        for name in MODULES
        if name != "sigah.__main__" and not any(f"{name}.".startswith(f"{room}.") for room in ROOMS)
    ]
    assert import_all(core, extra) == {}


def test_a_type_checker_knows_the_public_names(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    script = tmp_path / "uses.py"
    script.write_text("import sigah\nsigah.ITQ\nsigah.HammingIndex\nsigah.Nope\n")
    # the settings and the cache of `make lint`: what it has checked is not checked again
    settings = [f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={ROOT / '.mypy_cache'}"]
    found, _, _ = api.run([*settings, "--no-error-summary", str(script)])
    told = [line for line in found.splitlines() if f"{script.name}:" in line]
    assert [line.split(": ", 1)[1] for line in told] == [
        'error: Module has no attribute "Nope"  [attr-defined]'
    ]


def test_every_public_name_loads() -> None:
    assert {name for name in sigah.__all__ if getattr(sigah, name, None) is None} == set()
    with pytest.raises(AttributeError, match="module 'sigah' has no attribute 'Nope'"):
        sigah.Nope  # type: ignore[attr-defined]  # noqa: B018
