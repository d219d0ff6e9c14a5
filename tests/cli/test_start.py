"""The command line starts fast: nothing is imported that the command does not need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.main import get_command

import sigah
from sigah.cli.root import COMMANDS, app

HEAVY = ("numpy", "numba", "scipy", "sklearn", "torch", "matplotlib", "pyarrow")


def start(*arguments: str) -> tuple[str, set[str]]:
    """What a new process of ``sigah ARGUMENTS`` prints, and the libraries that it has loaded."""
    script = (
        "import atexit, sys\n"
        "def tell(): print('\\nloaded', *{name.split('.')[0] for name in sys.modules})\n"
        "atexit.register(tell)\n"
        f"sys.argv = ['sigah', *{arguments!r}]\n"
        "from sigah.cli import main\n"
        "main()"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *lines, loaded = done.stdout.splitlines()
    return "\n".join([*lines, done.stderr]), set(loaded.split()[1:])


def test_the_version_takes_no_library_at_all() -> None:
    printed, loaded = start("--version")
    assert printed.split() == [sigah.__version__]
    assert not loaded & {*HEAVY, "typer", "rich"}


@pytest.mark.parametrize("arguments", [(), ("--help",), ("--threads", "1", "--help")])
def test_the_list_of_commands_imports_none_of_them(arguments: tuple[str, ...]) -> None:
    printed, loaded = start(*arguments)
    assert all(name in printed for name in COMMANDS)
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_list_is_the_first_of_the_command(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.name == name
    assert COMMANDS[name][1] == " ".join(command.help.split("\n\n")[0].split())


def test_a_mistyped_command_is_answered_with_the_nearest(
    run: object, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, error = run("serch")  # type: ignore[operator]
    assert status == 2
    assert "No such command 'serch'. Did you mean 'search'?" in " ".join(error.split())


@pytest.mark.parametrize("n", ["0", "-1", "two", "1.5"])
def test_threads_are_a_whole_number(n: str, run: object) -> None:
    status, _, error = run("--threads", n, "methods")  # type: ignore[operator]
    assert status == 2
    assert "--threads" in error


def test_a_command_computes_with_the_threads_that_were_asked_for(
    run: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sigah.cli import codes
    from sigah.threads import available_threads

    seen: list[int] = []
    monkeypatch.setattr(codes, "method_names", lambda: seen.append(available_threads()) or [])
    before = available_threads()
    assert run("--threads", "7", "methods")[0] == 0  # type: ignore[operator]
    assert seen == [7]
    assert available_threads() == before


@pytest.mark.parametrize("asked", [None, "ACTIVE"])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(asked: str | None) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    if asked is not None:
        environment["OMP_WAIT_POLICY"] = asked
    code = (
        "import atexit, os, sys\n"
        f"atexit.register(lambda: print(*(os.environ[name] for name in {names})))\n"
        "from sigah.cli import main\n"
        "sys.argv = ['sigah', '--help']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].split() == [asked or "PASSIVE", "10000", "16"]
