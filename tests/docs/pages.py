"""Pages of the documentation as what they promise to be: programs that run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> Iterator[list[str]]:
        """The command lines of a block of shell."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            # of a line that joins commands, the first is run: the others depend on the reader
            words = words[: next((i for i, w in enumerate(words) if w in ("||", "&&", "|")), None)]
            if words:
                yield words


def all_pages() -> list[str]:
    """Every page, by its path from the root of the repository."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    return sorted(str(page.relative_to(ROOT)) for page in pages)


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[2], outdented(found[3], found[1]))
        for found in FENCE.finditer(text)
    ]


def outdented(text: str, indent: str) -> str:
    return "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))


def run_page(page: str, names: dict[str, Any], command: Callable[[list[str]], None]) -> None:
    """Run the blocks of a page from top to bottom, as somebody who copies all of them does."""
    for block in blocks_of(page):
        if block.language == "python":
            padded = "\n" * block.line + block.text  # a failure names the line of the page
            exec(compile(padded, ROOT / page, "exec"), names)
        elif block.language == "sh":
            for words in block.commands:
                command(words)
