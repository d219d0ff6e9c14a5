"""Every block of code on every page runs, from top to bottom, on small data."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import ROOT, all_pages, blocks_of, run_page
from typer.main import get_command

import sigah
from sigah import files
from sigah.cli import app

LANGUAGES = {"python", "sh", "text", "sql", "json", "toml"}
ELSEWHERE = {  # pages whose blocks another test runs
    "docs/engines.md": "engines/test_page.py",
    "docs/cluster.md": "distributed/test_cluster.py",
    "docs/plugins.md": "test_plugins_page.py",
}
SLOW = {"docs/cli.md"}
# What is parsed and not run: each takes minutes, or a network.
PARSED = re.compile(
    r"\bsigah (reproduce|report|demo|features|data|cluster|export|query|withdraw"
    r"|evaluate .* --engine)\b"
)
PARSED_TOO = {  # docs/service.md, docs/advise.md and docs/keys.md run them, in order
    "docs/cli.md": re.compile(r"\bsigah (deploy|advise .* --qrels|vectors .*\.parquet)\b")
}
QUICK = "5"  # steps of SiGAH's training

Names = dict[str, Any]


def hasher_and_vectors(n: int, dim: int, bits: int) -> Names:
    vectors = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
    return {"vectors": vectors, "hasher": sigah.ITQ(bits, random_state=0).fit(vectors)}


def prepare_search() -> Names:
    names = hasher_and_vectors(1300, 64, 64)
    vectors, hasher = names["vectors"], names["hasher"]
    names |= {"base": vectors[:1000], "held_out": vectors[1000:1200], "queries": vectors[1200:]}
    names |= {"codes": hasher.transform(vectors[:1000]), "their_ids": np.arange(5000, 5200)}
    names |= {"more_codes": hasher.transform(vectors[1000:1200]), "allowed_ids": [5, 5001]}
    return names | {
        "new_codes": ~names["more_codes"],
        "query_codes": hasher.transform(names["queries"]),
    }


def prepare_streams() -> Names:
    import pyarrow
    import pyarrow.parquet

    vectors = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    Path("shards").mkdir()
    for number, part in enumerate(np.split(np.arange(2000), [300, 1500])):
        column = pyarrow.FixedSizeListArray.from_arrays(vectors[part].ravel(), 64)
        table = pyarrow.table({"key": part, "embedding": column})
        pyarrow.parquet.write_table(table, f"shards/{number}.parquet")
    np.save("last-month.npy", vectors[:1000])
    np.save("today.npy", vectors[1000:])
    return {}


def prepare_onnx() -> Names:
    names = hasher_and_vectors(200, 32, 16)
    names["hasher"].save("mnist.model")
    return names


def prepare_data() -> Names:
    import h5py
    import pyarrow
    import pyarrow.parquet

    vectors = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    with h5py.File("sift-128-euclidean.hdf5", "w") as file:
        file["train"], file["test"] = vectors, vectors[:10]
    column = pyarrow.FixedSizeListArray.from_arrays(vectors.ravel(), 64)
    pyarrow.parquet.write_table(pyarrow.table({"vector": column}), "embeddings.parquet")
    return {}


def prepare_readme() -> Names:
    vectors = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    np.save("my.npy", vectors[:280])
    np.save("my-queries.npy", vectors[280:])
    return {}


def prepare_evaluate() -> Names:
    """What `sigah data embed` would write, which is parsed and not run."""
    from sigah.lab.collections import EmbeddedCollection, write_embedded

    vectors = np.random.default_rng(0).normal(size=(420, 300)).astype(np.float32)
    texts, queries = [np.array([str(n) for n in range(1, end)]) for end in (401, 21)]
    judgements = {query: {query: 1} for query in queries}
    base, looked_up = vectors[:400], vectors[400:]
    write_embedded(
        EmbeddedCollection("cran", "use", base, texts, looked_up, queries, judgements), "cran"
    )
    return {}


def prepare_commands() -> Names:
    """Files that examples of `--help` take for granted, of the model that the first one fits."""
    from sigah.lab import datasets

    images = datasets.load("mnist").base
    hasher = sigah.SiGAH(64, n_steps=int(QUICK), random_state=0).fit(images)
    header = {"method": hasher.name, "fingerprint": hasher.fingerprint}
    for name in ("more.npy", "query-codes.npy"):
        files.save_codes(name, hasher.transform(images[:50]), header)
    np.save("more-ids.npy", np.arange(50))
    np.save("today.npy", images[::2])
    np.save("originals.npy", np.vstack([images, images[::2]]))
    np.savez("truth.npz", ids=np.arange(20, 60)[:, np.newaxis])
    words = datasets.load("glove-50").base
    sigah.VectorIndex.build(words, n_bytes=16, random_state=0).save("served.vectors")
    return {}


PREPARED: dict[str, Callable[[], Names]] = {  # what stands before the first block of a page
    "README.md": prepare_readme,
    "docs/cli.md": prepare_commands,
    "docs/evaluate.md": prepare_evaluate,
    "docs/search.md": prepare_search,
    "docs/onnx.md": prepare_onnx,
    "docs/data.md": prepare_data,
    "docs/streams.md": prepare_streams,
}


def check_search(names: Names) -> None:
    assert len(names["index"]) == 1000
    assert names["found"].recall >= 0.9


def check_streams(names: Names) -> None:
    assert len(np.load("codes.npy")) == 2000
    assert names["report"].verdict == "keep"


def check_vectors(names: Names) -> None:
    assert names["calibrated"].reached
    with np.load("neighbours.npz") as found:
        assert set(found["ids"].ravel().tolist()) <= {-1, 1, 2, 3}


CHECKED: dict[str, Callable[[Names], None]] = {  # what holds after the last block
    "docs/search.md": check_search,
    "docs/streams.md": check_streams,
    "docs/vectors.md": check_vectors,
}


def pages_with_code() -> list[Any]:
    pages = [page for page in all_pages() if page not in ELSEWHERE]
    run = [p for p in pages if any(b.language in ("python", "sh") for b in blocks_of(p))]
    return [pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p for p in run]


@pytest.fixture
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `mnist` and `fashion-mnist` be 1,100 vectors and 40 queries of 64 dimensions."""
    from sigah.lab import datasets

    rng = np.random.default_rng(0)
    centres = rng.random((10, 64))
    which = rng.integers(10, size=1140)
    images = (centres[which] + rng.normal(scale=0.3, size=(1140, 64))).astype(np.float32)
    labels = which.astype(np.uint8)
    split = datasets.Split(images[:1100], images[1100:], labels[:1100], labels[1100:])
    monkeypatch.setattr(datasets, "path", lambda name: Path())
    monkeypatch.setattr(datasets, "load", lambda name: split)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with_code())
def test_a_page_runs(
    page: str, small_sets: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    monkeypatch.chdir(tmp_path)

    def command(words: list[str]) -> None:
        line = " ".join(words)
        if Path(words[0]).name != "sigah":
            check_other_program(words)
        elif PARSED.search(line) or (page in PARSED_TOO and PARSED_TOO[page].search(line)):
            check_options(words[1:])
        else:
            status, _, told = run(*quickened(words[1:]))
            assert status in (0, 3), f"{line}\n{told}"

    names = PREPARED.get(page, dict)()
    run_page(page, names, command)
    if page in CHECKED:
        CHECKED[page](names)


def quickened(words: list[str]) -> list[str]:
    """The same command with little training."""
    if words[0] == "fit" and not {"--method", "--continue", "--recipe"} & set(words):
        return [*words, "--set", f"n_steps={QUICK}"]
    if words[0] == "evaluate" and not {"--truth", "--qrels", "--vectors"} & set(words):
        fewer = {"--seeds": "1", "--methods": "itq,lsh,sigah"}
        words = words if "--methods" in words else [*words, "--methods", "sigah,itq,lsh"]
        words = [fewer.get(before, word) for before, word in pairwise(["", *words])]
        return [re.sub(r"\bsigah\b(?!\.)", f"sigah:n_steps={QUICK}", word) for word in words]
    return words


def check_options(words: list[str]) -> None:
    """Parse a command line without running it."""
    command, context = get_command(app), None
    while hasattr(command, "commands"):
        name, *words = words
        assert name in command.commands, name
        command = command.commands[name]
    context = command.make_context(command.name, list(words))
    assert context is not None


def check_other_program(words: list[str]) -> None:
    """What is installed or made exists under that name."""
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets), words
    elif words[:2] == ["pip", "install"]:
        extras = set(
            tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        )
        for asked in re.findall(r"\[([\w,-]+)\]", " ".join(words)):
            assert set(asked.split(",")) <= extras, words
    else:
        assert words[0] in ("git", "cd", "python", "export"), words


def test_every_block_says_its_language() -> None:
    for page in all_pages():
        for block in blocks_of(page):
            assert block.language in LANGUAGES, f"{page}:{block.line}: {block.language!r}"


def test_pages_that_are_run_elsewhere_exist() -> None:
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / "tests" / test).read_text()
