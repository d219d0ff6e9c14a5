"""Methods and engines from outside of sigah: how they are found, and what refuses them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import plugins
from sigah.files import FileFormatError
from sigah.hashers import LSH, BinaryHasher, load
from sigah.hashers.registry import make_hasher, method_class, method_label, method_names
from sigah.testing import check_hasher


def sigah(arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as its user starts it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "sigah", *arguments.split()],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "SIGAH_CACHE": str(folder / "cache"), **environment},
    )  # fmt: skip


MODULE = '''
from sigah.hashers import LinearHasher, LSH
class Copy(LSH):
    """Random planes under another name."""
    name = "copy"
class Thief(LSH):
    name = "itq"
class Nameless(LinearHasher):
    pass
class Liar(LSH):
    """The code of a vector depends on the batch."""
    name = "liar"
    def _scores(self, block):
        return super()._scores(block) - len(block) % 2
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file of hashers in the current folder; forgotten afterwards."""
    (tmp_path / "theirs.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield tmp_path / "theirs.py"
    sys.modules.pop("theirs", None)


@pytest.mark.parametrize("path", ["theirs:Copy", "./theirs.py:Copy", "{}:Copy"])
def test_a_class_is_found_by_module_and_by_file(module: Path, path: str) -> None:
    method = path.format(module)
    hasher = make_hasher(f"{method}:n_bits=16", 32, 7)
    assert (type(hasher).__name__, hasher.n_bits, hasher.random_state) == ("Copy", 16, 7)
    assert method_label(f"{method}:n_bits=16") == "copy:n_bits=16"
    X = np.random.default_rng(0).normal(size=(50, 20))
    expected = LSH(16, random_state=7).fit(X).transform(X)
    np.testing.assert_array_equal(hasher.fit(X).transform(X), expected)


def test_the_variable_makes_names_known(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown method 'copy'.*my_module:MyHash"):
        method_class("copy")
    monkeypatch.setenv(plugins.VARIABLE, "./theirs.py")
    assert method_class("copy").__name__ == "Copy"
    assert method_names()[-1] == "liar"
    with pytest.raises(
        ValueError, match="'seed=1' is not a setting; copy has metric, n_bits, random_state"
    ):
        make_hasher("copy:seed=1", 32, 0)


def test_entry_points_are_found(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = module.parent / "theirs-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[sigah.hashers]\ncopy = theirs:Copy\n")
    monkeypatch.syspath_prepend(str(module.parent))
    assert method_class("copy:n_bits=8").__name__ == "Copy"
    assert "copy" in method_names()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("theirs:Absent", "theirs has no class Absent; its classes .*: Copy, Thief, Liar$"),
        ("theirs:LinearHasher:n_bits=8", "theirs:LinearHasher|needs a class attribute `name`"),
        ("theirs:Thief", "has the name 'itq', which is a method of sigah's own"),
        ("theirs:Nameless", "needs a class attribute `name`"),
        ("absent:X", "absent cannot be imported: No module named 'absent'"),
        ("./absent.py:X", "absent.py cannot be imported: "),
        ("broken:X", "broken cannot be imported: No module named 'nothing_of_that_name'"),
        ("json:JSONDecoder", "json:JSONDecoder does not derive from sigah's BinaryHasher"),
        ("sigah.papr", "unknown method 'sigah.papr'"),
        ("sigah:pair", "'pair' is not a setting; sigah has "),
    ],
)
def test_what_is_wrong_is_named(module: Path, method: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_hasher(method, 32, 0)


def test_a_model_file_never_decides_what_runs(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = np.random.default_rng(0).normal(size=(50, 20))
    made = make_hasher("theirs:Copy", 16, 0).fit(X)
    made.save("their.model")
    assert type(load("their.model")).__name__ == "Copy", "imported already"
    # a new process knows nothing of it, though the module lies beside the model
    done = sigah("encode their.model vectors.npy --out codes.npy", module.parent)
    assert done.returncode == 1
    assert (
        "their.model: it holds a model of theirs:Copy ('copy'), which is not known" in done.stderr
    )
    assert "SIGAH_PLUGINS=theirs" in done.stderr
    assert not (module.parent / "__pycache__" / "theirs").exists()
    np.save("vectors.npy", X)
    done = sigah(
        "encode their.model vectors.npy --out codes.npy", module.parent, SIGAH_PLUGINS="theirs"
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load("codes.npy"), made.transform(X))


def test_an_own_method_of_a_newer_version_is_told(tmp_path: Path) -> None:
    from sigah.files import save_model

    save_model(tmp_path / "m", {"method": "tomorrow"}, {"weights_": np.zeros((2, 8))})
    with pytest.raises(FileFormatError, match="method 'tomorrow'; upgrade sigah"):
        load(tmp_path / "m")


def test_a_broken_promise_is_named(module: Path) -> None:
    liar: BinaryHasher = make_hasher("theirs:Liar", 16, 0)
    with pytest.raises(AssertionError, match="Liar, a vector has one code: .* in batches of"):
        check_hasher(liar)
