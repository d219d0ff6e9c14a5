"""The reference is whole and current: commands, Python names, and names that changed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT
from typer.main import get_command

from sigah.cli import app

OLD = json.loads((Path(__file__).parent / "names-08d4737.json").read_text())
MIGRATION = (ROOT / "docs" / "migration.md").read_text()
RENAMED = re.findall(r"^\| `([^`]+)` \| ([^|\n]+) \|$", MIGRATION, re.MULTILINE)
CHANGED = re.findall(r"^\| `([^`]+)`[^|\n]* \| [^|\n]+ \| [^|\n]+ \|$", MIGRATION, re.MULTILINE)


def resolved(name: str) -> Any:
    """The object of a dotted name, importing as much of it as is a module."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def exists(name: str) -> bool:
    try:
        resolved(name)
    except AttributeError:
        return False
    return True


def options_of(words: list[str]) -> set[str] | None:
    """The options of a command; None if there is no such command."""
    command: Any = get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            return None
    return {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")}


def test_the_page_of_commands_is_that_of_the_app() -> None:
    path = ROOT / "docs" / "site" / "cli_page.py"
    specification = importlib.util.spec_from_file_location("cli_page", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert (ROOT / "docs" / "cli.md").read_text() == module.page(), "run `make docs`"


def test_every_room_has_a_page_of_reference() -> None:
    rooms = {
        folder.name
        for folder in (ROOT / "src" / "sigah").iterdir()
        if (folder / "__init__.py").exists() and folder.name != "cli"
    }
    pages = {page.stem for page in (ROOT / "docs" / "reference").glob("*.md")}
    assert rooms <= pages


@pytest.mark.parametrize(("old", "new"), RENAMED)
def test_a_new_name_exists(old: str, new: str) -> None:
    for name in re.findall(r"`([^`]+)`", new):
        if name.startswith("sigah."):
            assert exists(name.partition("(")[0]), name
        elif name.startswith("sigah "):
            words = [word for word in name.split()[1:] if not word.startswith("-")]
            options = {word for word in name.split()[1:] if word.startswith("-")}
            known = options_of(words)
            assert known is not None, name
            assert options <= known, name


@pytest.mark.parametrize("name", CHANGED)
def test_a_name_that_is_called_differently_exists(name: str) -> None:
    assert exists(name)


def test_no_public_name_was_lost_unsaid() -> None:
    told = {old.partition("(")[0] for old, _ in RENAMED}
    lost = [
        name
        for name in OLD["python"]
        if not exists(name)
        and name not in told
        and not any(name.startswith(f"{room}.") and said(name, room) for room in told)
    ]
    assert not lost, f"docs/migration.md does not say what became of {lost}"


def said(name: str, room: str) -> bool:
    """Whether the line of a whole room tells of the name: it has the same one in its new place."""
    new = dict(RENAMED)[room]
    return any(exists(name.replace(room, place, 1)) for place in re.findall(r"`([^`]+)`", new))


def test_no_option_was_lost_unsaid() -> None:
    told = {old for old, _ in RENAMED}
    lost = []
    for command, options in OLD["commands"].items():
        known = options_of(command.split())
        if known is None:
            lost += [] if f"sigah {command}" in told else [f"sigah {command}"]
        else:
            lost += [f"sigah {command} {option}" for option in options if option not in known]
    assert not set(lost) - told, "docs/migration.md does not say what became of them"


def test_the_architecture_page_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = re.search(r"^## Rooms\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert rooms is not None
    source = ROOT / "src" / "sigah"
    told = set()
    for line in re.findall(r"^\| (`.*?`(?:, .*?)?) \|", rooms[1], re.MULTILINE):
        names = re.findall(r"`([^`]+)`", line)
        folder = Path(names[0]).parent
        for name in names:
            path = source / (name if "/" in name else folder / name)
            assert path.exists(), name
            told.add(path.relative_to(source).parts[0])
    everything = {path.name for path in source.iterdir() if not path.name.startswith("_")}
    assert everything - told <= {"py.typed"}


def test_the_architecture_page_has_every_room_in_a_layer() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    layers = re.findall(r"^\| \d \| (.*?) \|", text, re.MULTILINE)
    told = {name for layer in layers for name in re.findall(r"`(\w+)`", layer)}
    source = ROOT / "src" / "sigah"
    modules = {
        p.stem for p in source.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert {name for name in modules if not name.startswith("_")} == told
