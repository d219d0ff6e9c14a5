"""Files of the repository that pages link to become files of the site, so that it stands alone."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()((?:\.\./)+)((?:benchmarks|results|tests|src)(?:/[\w./-]*)?)(\))")
FOLDER_LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:benchmarks/)?results/?\)")
CHANGES = "changelog.md"
FOLDER = "repository"  # of the site, for what lies outside of docs/


def on_files(files: Any, config: Any) -> Any:
    """Add every linked file that lies outside of the pages' folder."""
    pages = [file for file in files if file.src_uri.endswith(".md")]
    linked = {
        outside(page.src_uri, found)
        for page in pages
        for found in LINK.finditer(Path(page.abs_src_path).read_text())
    }
    for name in sorted(filter(None, linked)):
        source = str(ROOT / name)
        files.append(File.generated(config, f"{FOLDER}/{name}", abs_src_path=source))
    files.append(File.generated(config, CHANGES, abs_src_path=str(ROOT / "CHANGELOG.md")))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point the links there; a link to a folder becomes its name."""
    source = page.file.src_uri

    def moved(found: re.Match[str]) -> str:
        name = outside(source, found)
        if name is None:
            return found[0]
        up = "../" * (len(PurePosixPath(source).parts) - 1)
        return f"{found[1]}{up}{FOLDER}/{name}{found[4]}"

    markdown = re.sub(
        r"\[([^\]]+)\]\((?:\.\./)+(?:results|benchmarks/results)/?\)", r"\1", markdown
    )
    if source == CHANGES:  # it stands one folder higher
        markdown = markdown.replace("](docs/", "](")
    return LINK.sub(moved, markdown)


def outside(page: str, link: re.Match[str]) -> str | None:
    """The path in the repository that a link means, if it leaves ``docs/`` for a file."""
    up = link[2].count("../")
    if up != len(PurePosixPath(page).parts) or not (ROOT / link[3]).is_file():
        return None
    return link[3]
