"""The sets of the paper and of ann-benchmarks, fetched from small files in their exact forms."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from sigah.lab import datasets
from sigah.lab.datasets import CATALOG, Dataset
from sigah.lab.datasets.downloads import download
from sigah.lab.datasets.published import AnnBenchmark, BillionScale, CifarArchive, VectorArchive
from sigah.lab.datasets.supplied import SuppliedMatrix, SuppliedSet
from sigah.rows import LazyRows

RNG = np.random.default_rng(0)
BASE = RNG.normal(size=(300, 6)).astype(np.float32)
QUERIES = RNG.normal(size=(20, 6)).astype(np.float32)

Enter = Callable[..., Dataset]


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> Enter:
    """Enter a set called "small" into the catalogue."""

    def enter(*sources: Any, **fields: Any) -> Dataset:
        known: dict[str, Any] = {"n_base": 300, "n_queries": 20, "dim": 6} | fields
        entry = Dataset("small", "", "", "", sources=sources, **known)
        monkeypatch.setitem(CATALOG, "small", entry)
        return entry

    return enter


def fvecs(array: NDArray[np.float32]) -> bytes:
    return b"".join(struct.pack("<i", len(row)) + row.tobytes() for row in array)


def fbin(array: NDArray[np.float32], claim: int | None = None) -> bytes:
    return struct.pack("<II", claim or len(array), array.shape[1]) + array.tobytes()


def tar_gz(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def ann_benchmark(base: Any = BASE, queries: Any = QUERIES) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as stored:
        stored.attrs["distance"] = "euclidean"
        stored["train"], stored["test"] = base, queries
        stored["neighbors"] = np.zeros((len(queries), 100), "i4")
        stored["distances"] = np.zeros((len(queries), 100), "f4")
    return stream.getvalue()


TEXMEX = tar_gz(
    {
        "gist/gist_learn.fvecs": fvecs(BASE[::-1]),
        "./gist/gist_base.fvecs": fvecs(BASE),
        "gist/gist_query.fvecs": fvecs(QUERIES),
        "gist/gist_groundtruth.ivecs": b"?" * 999,
    }
)


def texmex(url: str, **more: str) -> VectorArchive:
    members = {"base": "gist/gist_base.fvecs", "queries": "gist/gist_query.fvecs"}
    return VectorArchive(f"{url}gist.tar.gz", members, **more)


def assert_small_is_loaded() -> datasets.Split:
    split = datasets.load("small")
    np.testing.assert_array_equal(split.base, BASE)
    np.testing.assert_array_equal(split.queries, QUERIES)
    assert split.base_labels is None and split.query_labels is None
    return split


class TestSources:
    def test_vector_archive(self, web_host: Any, enter: Enter, cache_folder: Path) -> None:
        web_host.files["gist.tar.gz"] = TEXMEX
        enter(texmex(web_host.url))
        split = assert_small_is_loaded()
        assert isinstance(split.base, np.memmap) and not split.base.flags.writeable
        files = {file.name for file in (cache_folder / "small").iterdir()}
        assert files == {"base.npy", "queries.npy", "manifest.json"}

    @pytest.mark.parametrize("ranges", [True, False])
    def test_broken_archive_transfer_goes_on(
        self, ranges: bool, web_host: Any, enter: Enter
    ) -> None:
        web_host.files["gist.tar.gz"], web_host.ranges = TEXMEX, ranges
        web_host.breaks["gist.tar.gz"] = [1000, 3000]
        enter(texmex(web_host.url))
        assert_small_is_loaded()
        second = 4000 if ranges else 3000
        asked = [wanted for _, wanted in web_host.requests]
        assert asked == [None, "bytes=1000-", f"bytes={second}-"]

    @pytest.mark.parametrize("damage", ["middle", "checksum", "end", "member", "row"])
    def test_damaged_archive_is_refused_and_removed(
        self, damage: str, web_host: Any, enter: Enter, cache_folder: Path
    ) -> None:
        members = {"gist/gist_base.fvecs": fvecs(BASE), "gist/gist_query.fvecs": fvecs(QUERIES)}
        stored = bytearray(TEXMEX)
        if damage == "middle":
            stored[len(stored) // 2 :] = bytes(len(stored) - len(stored) // 2)
        elif damage == "checksum":
            stored[-8] ^= 1
        elif damage == "end":
            del stored[-900:]
        elif damage == "member":
            stored = bytearray(tar_gz({"gist/gist_base.fvecs": fvecs(BASE)}))
        else:
            members["gist/gist_base.fvecs"] = fvecs(BASE)[:-4]
            stored = bytearray(tar_gz(members))
        web_host.files["gist.tar.gz"] = bytes(stored)
        enter(texmex(web_host.url))
        with pytest.raises(OSError, match=r"gist\.tar\.gz (is damaged|lacks)|not a whole number"):
            datasets.fetch("small")
        assert not list((cache_folder / "small").iterdir())

    def test_ann_benchmark(self, web_host: Any, enter: Enter) -> None:
        stored = ann_benchmark()
        web_host.files["small.hdf5"] = stored
        enter(AnnBenchmark(f"{web_host.url}small.hdf5", hashlib.sha256(stored).hexdigest()))
        web_host.breaks["small.hdf5"] = [2000]
        assert_small_is_loaded()
        assert web_host.requests[-1] == ("small.hdf5", "bytes=2000-")

    @pytest.mark.parametrize(
        ("base", "complaint"),
        [
            (BASE[:, :5], r"base is float32 of shape \(300, 5\), expected float32 of .*\(300, 6\)"),
            (BASE[:299], r"shape \(299, 6\), expected"),
            (BASE.astype("S3"), "train holds .*, not numbers"),
            (BASE.ravel(), r"must have shape \(n, d\)"),
        ],
    )
    def test_ann_benchmark_of_another_form(
        self, base: Any, complaint: str, web_host: Any, enter: Enter
    ) -> None:
        web_host.files["small.hdf5"] = ann_benchmark(base)
        enter(AnnBenchmark(f"{web_host.url}small.hdf5"))
        with pytest.raises(OSError, match=complaint):
            datasets.fetch("small")

    @pytest.mark.parametrize("ranges", [True, False])
    def test_beginning_of_a_billion(self, ranges: bool, web_host: Any, enter: Enter) -> None:
        """Only what is wanted is asked for, and taken from a host that sends more."""
        more = np.concatenate([BASE, BASE[:50]])
        web_host.files |= {"base.fbin": fbin(more, claim=10**9), "queries.fbin": fbin(QUERIES)}
        web_host.ranges = ranges
        web_host.breaks["base.fbin"] = [3000]
        enter(BillionScale(web_host.url, "base.fbin", "queries.fbin", n_base=300, dim=6))
        assert_small_is_loaded()
        last = 8 + BASE.nbytes - 1
        asked = [wanted for name, wanted in web_host.requests if name == "base.fbin"]
        assert asked == [f"bytes=0-{last}", f"bytes=3000-{last}"]

    def test_a_billion_that_is_less(self, web_host: Any, enter: Enter) -> None:
        enter(BillionScale(web_host.url, "base.fbin", "queries.fbin", n_base=300, dim=6))
        for stored, complaint in (
            (fbin(BASE[:200]), "300 rows are wanted, but the header says 200"),
            (fbin(BASE[:200], claim=10**9), "there are 4808"),
            (b"?", "do not hold the header"),
        ):
            web_host.files |= {"base.fbin": stored, "queries.fbin": fbin(QUERIES)}
            with pytest.raises(OSError, match=complaint):
                datasets.fetch("small")

    def test_left_over_part_of_unknown_checksum(self, web_host: Any, tmp_path: Path) -> None:
        """Whole: taken. Longer than the file: brought anew."""
        web_host.files["a"] = b"content"
        for left_over, n_requests in ((b"content", 1), (b"content, and more", 2)):
            (tmp_path / "a").unlink(missing_ok=True)
            (tmp_path / "a.part").write_bytes(left_over)
            web_host.requests.clear()
            download(f"{web_host.url}a", tmp_path / "a", lambda *_: None)
            assert (tmp_path / "a").read_bytes() == b"content"
            assert len(web_host.requests) == n_requests

    def test_cifar(self, web_host: Any, enter: Enter) -> None:
        pixels = RNG.integers(256, size=(60, 3072), dtype=np.uint8)
        labels = RNG.integers(10, size=60)
        stored = cifar_archive(pixels, labels)
        web_host.files["cifar-10-python.tar.gz"] = stored
        enter(cifar(web_host.url, stored), **CIFAR_FORM)
        split = datasets.load("small")
        np.testing.assert_array_equal(split.base, pixels[:50].astype(np.float32) / 255)
        np.testing.assert_array_equal(split.queries, pixels[50:].astype(np.float32) / 255)
        np.testing.assert_array_equal(split.base_labels, labels[:50])
        np.testing.assert_array_equal(split.query_labels, labels[50:])
        assert split.base_labels.dtype == np.uint8
        form = {field: getattr(CATALOG["cifar-10"], field) for field in ("dim", "divisor", "dtype")}
        assert form == {"dim": 3072, "divisor": 255, "dtype": "uint8"}

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (print, "asks for builtins.print"),
            ([1, 2], "test_batch: "),
            ({"labels": [1]}, "test_batch: 'data'"),
            ({"data": [[0.5] * 3072] * 10, "labels": [1] * 10}, "numbers that uint8 cannot hold"),
            ({"data": np.zeros((10, 3072), "u1"), "labels": [11] * 10}, "labels from 11 to 11"),
            ({"data": np.zeros((10, 3072), "u1"), "labels": [1] * 9}, r"of shape \(9,\)"),
        ],
    )
    def test_hostile_cifar(
        self, content: Any, complaint: str, web_host: Any, enter: Enter, cache_folder: Path
    ) -> None:
        stored = cifar_archive(
            np.zeros((60, 3072), np.uint8), np.zeros(60, int), test_batch=pickle.dumps(content)
        )
        web_host.files["cifar-10-python.tar.gz"] = stored
        enter(cifar(web_host.url, stored), **CIFAR_FORM)
        with pytest.raises(OSError, match=complaint):
            datasets.fetch("small")
        assert not list((cache_folder / "small").iterdir())


CIFAR_FORM = {
    "n_base": 50, "n_queries": 10, "dim": 3072, "dtype": "uint8", "divisor": 255, "n_classes": 10
}  # fmt: skip


def cifar(url: str, stored: bytes) -> CifarArchive:
    return CifarArchive(f"{url}cifar-10-python.tar.gz", hashlib.sha256(stored).hexdigest())


class OldArray:
    """Pickles as an array does in Python 2, where its bytes are text."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self.array = array

    def __reduce__(self) -> Any:
        make, (kind, empty, code), (*state, data) = self.array.__reduce__()
        return make, (kind, empty, code.decode()), (*state, data.decode("latin1"))


def cifar_archive(pixels: NDArray[np.uint8], labels: NDArray[np.integer], **other: bytes) -> bytes:
    """Batches of ten images."""
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    members = {"cifar-10-batches-py/readme.html": b"?"}
    for number, name in enumerate(names):
        rows = slice(10 * number, 10 * number + 10)
        batch = {
            "data": OldArray(pixels[rows]),
            "labels": labels[rows].tolist(),
            "batch_label": "?",
        }
        stored = pickle.dumps(batch, protocol=2).replace(b"numpy._core.", b"numpy.core.")
        members[f"cifar-10-batches-py/{name}"] = other.get(name, stored)
    return tar_gz(members)


class TestCache:
    def test_unknown_checksums_are_kept_in_the_manifest(
        self, web_host: Any, enter: Enter, cache_folder: Path
    ) -> None:
        web_host.files["gist.tar.gz"] = TEXMEX
        entry = enter(texmex(web_host.url), n_base=None, dim=None)
        folder = datasets.fetch("small")
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["source"] == f"{web_host.url}gist.tar.gz"
        assert manifest["arrays"]["base"] == {
            "dtype": "float32",
            "shape": [300, 6],
            "sha256": hashlib.sha256(BASE.tobytes()).hexdigest(),
        }
        assert datasets.check("small") == folder
        known = {part: record["sha256"] for part, record in manifest["arrays"].items()}
        enter(*entry.sources, sha256=known | {"queries": "0" * 64})
        with pytest.raises(ValueError, match="queries has sha256 .*, expected 0000"):
            datasets.load("small")
        (folder / "manifest.json").unlink()
        enter(*entry.sources, sha256=known)
        datasets.load("small")  # the catalogue knows all
        enter(*entry.sources)
        with pytest.raises(FileNotFoundError, match="sigah data fetch small"):
            datasets.path("small")

    @pytest.mark.parametrize(
        "manifest", [b"", b"?", b"[]", b"{}", b'{"arrays": {"base": 1}}', b'{"arrays": null}', None]
    )
    def test_damaged_manifest(self, manifest: bytes | None, web_host: Any, enter: Enter) -> None:
        web_host.files["gist.tar.gz"] = TEXMEX
        enter(texmex(web_host.url))
        file = datasets.fetch("small") / "manifest.json"
        swapped = file.read_bytes().replace(b"300,", b"150,")  # of another shape
        file.write_bytes(swapped if manifest is None else manifest)
        with pytest.raises(ValueError, match="the cached small .* is damaged; run `sigah data"):
            datasets.load("small")
        datasets.fetch("small")
        assert_small_is_loaded()

    def test_large_arrays_are_verified_on_demand(
        self, web_host: Any, enter: Enter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(datasets.cache, "VERIFIED_ON_LOAD", BASE.nbytes - 1)
        web_host.files["gist.tar.gz"] = TEXMEX
        enter(texmex(web_host.url))
        file = datasets.fetch("small") / "base.npy"
        stored = bytearray(file.read_bytes())
        stored[-1] ^= 1
        file.write_bytes(stored)
        assert datasets.load("small").base[-1, -1] != BASE[-1, -1], "this is not looked for"
        with pytest.raises(ValueError, match="base has sha256"):
            datasets.check("small")
        file.write_bytes(stored[:-1])
        with pytest.raises(ValueError, match="is damaged"):
            datasets.load("small")
        datasets.fetch("small")
        assert_small_is_loaded()

    def test_a_failed_fetch_leaves_the_old_set(self, enter: Enter, cache_folder: Path) -> None:
        class Torn:
            def read(self, folder: Path, progress: Any) -> dict[str, Any]:
                return {"base": BASE, "queries": LazyRows(
                    Path(__file__), (20, 6), QUERIES.dtype, lambda start, stop: QUERIES[:3]
                )}  # fmt: skip

        enter(Torn())
        folder = cache_folder / "small"
        folder.mkdir(parents=True)
        (folder / "base.npy").write_bytes(b"old")
        with pytest.raises(OSError, match=r"rows 0 to 20 have shape \(3, 6\)"):
            datasets.fetch("small")
        assert [file.name for file in folder.iterdir()] == ["base.npy"]
        assert (folder / "base.npy").read_bytes() == b"old"

    def test_numbers_are_converted_without_loss(self, enter: Enter) -> None:
        class Derived:
            def read(self, folder: Path, progress: Any) -> dict[str, Any]:
                labels = np.arange(300) % 300
                return {
                    "base": BASE.astype(">f8"),
                    "queries": np.round(QUERIES).astype(np.int16),
                    "base_labels": labels.astype(np.float64),
                    "query_labels": labels[:20].astype(np.int64),
                }

        enter(Derived(), n_classes=300)
        split = datasets.load("small")
        np.testing.assert_array_equal(split.base, BASE)
        np.testing.assert_array_equal(split.queries, np.round(QUERIES))
        np.testing.assert_array_equal(split.base_labels, range(300))
        assert split.base_labels.dtype == np.int32
        assert split.queries.dtype == np.float32

    @pytest.mark.parametrize(
        ("arrays", "complaint"),
        [
            ({"base": BASE}, "there are base, expected base, queries"),
            ({"base": BASE, "queries": QUERIES[:, :5]}, "base has 6 dimensions, queries have 5"),
            ({"base": BASE, "queries": QUERIES[:0]}, r"queries is float32 of shape \(0, 6\)"),
            ({"base": BASE, "queries": QUERIES.astype(complex)}, "queries is complex128"),
            ({"base": BASE, "queries": QUERIES.astype(str)}, "queries is <U"),
            (
                {"base": BASE, "queries": QUERIES, "base_labels": np.zeros(300)},
                "expected base, queries",
            ),
        ],
    )
    def test_arrays_that_are_no_set(
        self, arrays: dict[str, Any], complaint: str, enter: Enter
    ) -> None:
        class Derived:
            def read(self, folder: Path, progress: Any) -> dict[str, Any]:
                return arrays

        enter(Derived(), n_base=None, n_queries=None, dim=None)
        with pytest.raises(OSError, match=complaint):
            datasets.fetch("small")


class TestSupplied:
    CLASSES = RNG.integers(5, size=320)

    @pytest.mark.parametrize("kind", ["h5", "mat", "npz", "npy"])
    def test_four_arrays(self, kind: str, enter: Enter, cache_folder: Path) -> None:
        enter(SuppliedSet("They are yours"), n_base=None, n_queries=None, dim=None, n_classes=5)
        with pytest.raises(OSError, match="They are yours. Put one file .* into .*small/supplied"):
            datasets.fetch("small")
        place = cache_folder / "small" / "supplied"
        arrays = {
            "base": BASE,
            "queries": QUERIES,
            "base_labels": self.CLASSES[:300],
            "query_labels": self.CLASSES[300:],
        }
        if kind == "h5":
            with h5py.File(place / "vgg.h5", "w") as stored:
                for part, array in arrays.items():
                    stored[part] = array
        elif kind == "mat":
            scipy.io.savemat(place / "vgg.mat", arrays)
        elif kind == "npz":
            np.savez(place / "vgg.npz", **arrays)
        else:
            for part, array in arrays.items():
                np.save(place / f"{part}.npy", array)
        split = datasets.load("small")
        for part, array in arrays.items():
            np.testing.assert_array_equal(getattr(split, part), array)
        assert list(place.iterdir()), "what was supplied is left alone"

    def test_mistakes_are_named_and_nothing_is_removed(
        self, enter: Enter, cache_folder: Path
    ) -> None:
        enter(SuppliedSet("They are yours"), n_base=None, n_queries=None, dim=None, n_classes=5)
        place = cache_folder / "small" / "supplied"
        place.mkdir(parents=True)
        one_based = {
            "base": BASE, "queries": QUERIES,
            "base_labels": self.CLASSES[:300] + 1, "query_labels": self.CLASSES[300:],
        }  # fmt: skip
        np.savez(place / "a.npz", **one_based)
        with pytest.raises(OSError, match="base_labels has labels from 1 to 5, not 0 to 4"):
            datasets.fetch("small")
        np.savez(place / "a.npz", base=BASE)
        with pytest.raises(OSError, match=r"no array 'queries'; the archive holds a\.npz:base"):
            datasets.fetch("small")
        np.savez(place / "b.npz", base=BASE)
        with pytest.raises(OSError, match=r"holds a\.npz, b\.npz: keep one"):
            datasets.fetch("small")
        assert sorted(file.name for file in place.iterdir()) == ["a.npz", "b.npz"]

    @pytest.mark.parametrize("transposed", [False, True])
    def test_one_matrix(self, transposed: bool, enter: Enter, cache_folder: Path) -> None:
        matrix = np.insert(BASE, [7, 100, 200], 0, axis=0)  # three rows of zeros
        source = SuppliedMatrix("It was withdrawn", "Tiny.mat", "X", dim=6, n_queries=20)
        enter(source, n_base=None)
        with pytest.raises(OSError, match=r"withdrawn. Put Tiny\.mat, with the variable X"):
            datasets.fetch("small")
        file = cache_folder / "small" / "supplied" / "Tiny.mat"
        scipy.io.savemat(file, {"X": matrix.T if transposed else matrix})
        base, queries, *labels = datasets.load("small")
        assert labels == [None, None]
        assert (len(base), len(queries)) == (280, 20)
        drawn = np.zeros(300, bool)
        drawn[np.random.RandomState(0).permutation(300)[:20]] = True
        np.testing.assert_array_equal(base, BASE[~drawn])
        np.testing.assert_array_equal(queries, BASE[drawn])

    def test_another_matrix(self, enter: Enter, cache_folder: Path) -> None:
        enter(SuppliedMatrix("", "Tiny.mat", "X", dim=7, n_queries=20), dim=7, n_base=None)
        place = cache_folder / "small" / "supplied"
        place.mkdir(parents=True)
        scipy.io.savemat(place / "Tiny.mat", {"X": BASE})
        with pytest.raises(OSError, match=r"Tiny\.mat: X has shape \(300, 6\), expected \(n, 7\)"):
            datasets.fetch("small")
        scipy.io.savemat(place / "Tiny.mat", {"X": np.ones((20, 7))})
        with pytest.raises(OSError, match="20 rows are too few to draw 20 queries"):
            datasets.fetch("small")


def test_the_entries_of_the_paper_have_their_sources() -> None:
    gist, deep = CATALOG["gist1m"], CATALOG["deep1m"]
    assert (gist.n_base, gist.n_queries, gist.dim) == (1_000_000, 1_000, 960)
    assert gist.sources[1] is CATALOG["gist-960-euclidean"].sources[0]
    (source,) = deep.sources
    assert isinstance(source, BillionScale)
    assert (source.n_base, source.dim) == (deep.n_base, deep.dim) == (1_000_000, 96)
    assert "256 dimensions" in deep.stand_in_for
