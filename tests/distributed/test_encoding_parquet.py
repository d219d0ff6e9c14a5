from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigah import ITQ, LSH
from sigah.distributed import encode
from sigah.files import load_codes

pytestmark = [
    pytest.mark.engine,
    # Ray Data warns of defaults of its own
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]


@pytest.fixture(scope="module")
def hasher(blobs: Any) -> ITQ:
    return ITQ(24, n_iter=5, random_state=0).fit(blobs)


@pytest.mark.parametrize("rows_per_part", [1, 700, 10**6])
@pytest.mark.parametrize("fixed", [True, False])
def test_codes_are_those_of_transform_however_the_data_is_cut(
    ray: Any,
    hasher: ITQ,
    blobs: Any,
    tmp_path: Path,
    write_parquet: Any,
    rows_per_part: int,
    fixed: bool,
) -> None:
    ids = np.random.default_rng(0).permutation(2000)
    source = write_parquet(blobs, ids, rows=300, fixed=fixed)
    manifest = encode(source, hasher, tmp_path / "codes", rows_per_part=rows_per_part)
    stored = load_codes(tmp_path / "codes")
    assert np.array_equal(stored.codes, hasher.transform(blobs))
    assert np.array_equal(stored.ids, ids)
    assert manifest == stored.header
    assert len(manifest["files"]) == {1: 7, 700: 3, 10**6: 1}[rows_per_part]


def test_a_folder_of_files_ids_of_any_type_and_a_model_file(
    ray: Any, hasher: ITQ, blobs: Any, tmp_path: Path, write_parquet: Any
) -> None:
    names = [f"photo {i}" for i in range(2000)]
    doubles = blobs.astype(np.float64)
    write_parquet(doubles[:500], names[:500], name="data/a.parquet")
    write_parquet(doubles[500:], names[500:], name="data/deeper/b.parquet", rows=400, fixed=False)
    write_parquet(doubles[:9], name="data/_temporary/c.parquet")
    hasher.save(tmp_path / "itq.model")
    manifest = encode(tmp_path / "data", tmp_path / "itq.model", tmp_path / "codes")
    stored = load_codes(tmp_path / "codes")
    assert stored.ids.tolist() == names
    assert np.array_equal(stored.codes, hasher.transform(doubles))
    assert manifest["fingerprint"] == hasher.fingerprint


def test_any_reader_of_parquet_reads_the_codes(
    ray: Any, hasher: ITQ, blobs: Any, tmp_path: Path, write_parquet: Any
) -> None:
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    encode(write_parquet(blobs), hasher, tmp_path / "codes", rows_per_part=1000)
    table = pq.read_table(tmp_path / "codes")
    assert table.schema.field("code").type == pa.binary(3)
    seal = json.loads(pq.read_metadata(tmp_path / "codes/part-00000.parquet").metadata[b"sigah"])
    assert (seal["header"]["method"], seal["header"]["n_bits"]) == ("itq", 24)
    assert seal["header"]["fingerprint"] == hasher.fingerprint
    assert b"".join(table["code"].to_pylist()) == hasher.transform(blobs).tobytes()


def test_a_killed_worker_loses_nothing(
    ray: Any, blobs: Any, tmp_path: Path, write_parquet: Any
) -> None:
    driver, died = os.getpid(), tmp_path / "died"

    class Mortal(LSH):
        """Kills its process, once, in the middle of the data."""

        def transform(self, X: Any) -> Any:
            in_the_middle = 800 <= np.flatnonzero((blobs == X[0]).all(axis=1))[0] < 1200
            if os.getpid() != driver and in_the_middle and not died.exists():
                died.write_text(str(os.getpid()))
                (folder,) = tmp_path.glob(".sigah-*.part")
                (folder / ".sigah-0123.part").write_text("a file that it had begun")
                os.kill(os.getpid(), signal.SIGKILL)
            return super().transform(X)

    hasher = Mortal(24, random_state=0).fit(blobs)
    source = write_parquet(blobs, rows=200)
    encode(source, hasher, tmp_path / "codes", rows_per_part=200)
    assert died.read_text() != str(driver)
    encode(source, hasher, tmp_path / "undisturbed", rows_per_part=200)
    files, expected = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}
        for folder in ("codes", "undisturbed")
    )
    assert files == expected
    assert len(files) == 10 + 1
    stored = load_codes(tmp_path / "codes")
    assert np.array_equal(stored.codes, LSH(24, random_state=0).fit(blobs).transform(blobs))
    assert np.array_equal(stored.ids, np.arange(2000))


def test_bad_vectors_are_named_and_nothing_is_left_behind(
    ray: Any, hasher: ITQ, blobs: Any, tmp_path: Path, write_parquet: Any
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    bad = blobs.copy()
    bad[1500, 3] = np.nan
    source = write_parquet(bad, rows=500)
    with pytest.raises(ValueError, match=r"vectors\.parquet, in the rows from 1500 on: .*NaN"):
        encode(source, hasher, tmp_path / "codes", rows_per_part=500)
    source = write_parquet(blobs[:, :20])
    with pytest.raises(ValueError, match="20 features, but ITQ is expecting 24"):
        encode(source, hasher, tmp_path / "codes")
    rows = blobs[:5].tolist()
    for name, broken in (("short", [1.0]), ("null", None)):
        column = pa.array([*rows, broken], pa.list_(pa.float32()))
        pq.write_table(pa.table({"id": range(6), "vector": column}), source)
        with pytest.raises(ValueError, match="row 5 (has dimension 1|is null)"):
            encode(source, hasher, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.parquet"]


def test_what_is_asked_for_is_checked_before_the_work(
    ray: Any, hasher: ITQ, blobs: Any, tmp_path: Path, write_parquet: Any
) -> None:
    source = write_parquet(blobs)
    out = tmp_path / "codes"
    with pytest.raises(ValueError, match="no column 'key' of ids; there is id, vector"):
        encode(source, hasher, out, ids="key")
    with pytest.raises(ValueError, match="no column 'x'; there is"):
        encode(source, hasher, out, vectors="x")
    with pytest.raises(ValueError, match="there are no vectors"):
        encode(write_parquet(blobs[:0], name="empty.parquet"), hasher, out)
    with pytest.raises(FileNotFoundError, match="holds no vector files"):
        (tmp_path / "empty").mkdir()
        encode(tmp_path / "empty", hasher, out)
    with pytest.raises(FileNotFoundError, match="its folder does not exist"):
        encode(source, hasher, tmp_path / "no" / "codes")
    with pytest.raises(FileExistsError, match="exists already"):
        encode(source, hasher, tmp_path)
    (tmp_path / "damaged.parquet").write_bytes(source.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"damaged\.parquet: "):
        encode(tmp_path / "damaged.parquet", hasher, out)
    assert not out.exists()
