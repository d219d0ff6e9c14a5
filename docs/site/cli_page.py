"""Write ``docs/cli.md``: every command and option, from the command line itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from sigah.cli import app

PAGE = Path(__file__).resolve().parents[1] / "cli.md"
WORDS = {int: "N", float: "NUMBER", Path: "PATH"}
EXAMPLE = re.compile(r"^Example: (.*)$", re.MULTILINE)


def page() -> str:
    """The whole page."""
    root = get_command(app)
    lines = ["# Commands", "", *prose(root.help or "")]
    options = [p for p in root.params if p.param_type_name == "option" and p.help]
    lines += [
        "",
        "Options of every command stand before its name, as in `sigah --threads 2 fit ...`:",
    ]
    lines += ["", *table_of(options)]
    for name, command in commands_of(root, "sigah"):
        lines += ["", f"## {name}", "", *section(name, command)]
    return "\n".join(lines) + "\n"


def commands_of(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, in the order of ``--help``."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{name} {word}")
        elif not command.hidden:
            yield f"{name} {word}", command


def section(name: str, command: Any) -> list[str]:
    """What one command does, an example, and its arguments and options."""
    help_text = inspect.cleandoc(command.help or "")
    lines = prose(EXAMPLE.sub("", help_text))
    examples = EXAMPLE.findall(help_text)
    if examples:
        lines += ["", "```sh", *examples, "```"]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    options = [p for p in options if p.name != "help"]
    usage = " ".join([name, *(shown(p) for p in arguments), *(["[OPTIONS]"] if options else [])])
    lines += ["", f"Usage: `{usage}`"]
    if arguments:
        lines += ["", "| argument | meaning |", "| --- | --- |"]
        lines += [f"| {code(p.metavar or p.name.upper())} | {cell(p.help)} |" for p in arguments]
    if options:
        lines += ["", *table_of(options)]
    return lines


def table_of(options: list[Any]) -> list[str]:
    """Options, a line each."""
    lines = [f"| {flags(p)} | {cell(p.help)} | {default(p)} |" for p in options]
    if not any(default(p) for p in options):
        lines = [f"| {flags(p)} | {cell(p.help)} |" for p in options]
        return ["| option | meaning |", "| --- | --- |", *lines]
    return ["| option | meaning | default |", "| --- | --- | --- |", *lines]


def shown(argument: Any) -> str:
    """An argument in the line of usage."""
    name = argument.metavar or argument.name.upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def flags(option: Any) -> str:
    """An option as it is typed."""
    words = ", ".join([*option.opts, *option.secondary_opts])
    kind = WORDS.get(option.type_descriptor.annotation, "TEXT")
    value = "" if option.is_flag else f" {option.metavar or kind}"
    repeated = " ..." if option.multiple else ""
    return code(f"{words}{value}{repeated}")


def default(option: Any) -> str:
    """The value an option has if it is not given."""
    value = option.default
    if option.required:
        return "required"
    if value is None or value is False or value == () or callable(value) or option.is_flag:
        return ""
    return f"`{value}`"


def prose(text: str) -> list[str]:
    """Help as Markdown: no markup of the terminal; names in capitals stay as they are."""
    plain = re.sub(r"\[/?[a-z ]*\]", "`", text) if "[bold]" in text else text
    return [line.strip() for line in inspect.cleandoc(plain).strip().splitlines()]


def code(text: str) -> str:
    """Code in a table, where each renderer takes another form of bar."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def cell(text: str | None) -> str:
    """Text in one line of a table."""
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
