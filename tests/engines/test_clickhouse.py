"""ClickHouse's own engine, embedded by chdb."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from contract import EngineContract, make_codes

from sigah.engines import connect, export

pytestmark = pytest.mark.engine


class TestFlat(EngineContract):
    name = "clickhouse"
    module = "chdb"


def test_two_tables_of_one_folder(tmp_path: Path) -> None:
    codes, ids, _ = make_codes(72, n=500)
    target = tmp_path / "target"
    export("clickhouse", target, codes, fingerprint="c0ffee", ids=ids)
    export("clickhouse", target, ~codes, fingerprint="decaf", table="`odd` \\'name")
    with connect("clickhouse", target, table="`odd` \\'name") as engine:
        assert engine.about.fingerprint == "decaf"
        _, found = engine.search(~codes[:20], 1)
        np.testing.assert_array_equal(found[:, 0], np.arange(20))
    with connect("clickhouse", target) as engine:
        _, found = engine.search(codes[:20], 1)
        np.testing.assert_array_equal(found[:, 0], ids[:20])


def test_a_replaced_code_is_found_once_before_parts_are_merged(tmp_path: Path) -> None:
    codes, ids, _ = make_codes(64, n=500)
    target = tmp_path / "target"
    export("clickhouse", target, codes, fingerprint="c0ffee", ids=ids)
    with connect("clickhouse", target) as engine:
        order = np.argsort(ids)
        rows = engine.get(ids[order])
        engine.put(type(rows)(rows.ids, ~rows.codes))  # no `finish`
        assert len(engine) == 500
        distances, found = engine.search(~codes[:20], 1)
        assert (distances == 0).all()
        np.testing.assert_array_equal(found[:, 0], ids[:20])


def test_a_table_of_others_is_left_alone(tmp_path: Path) -> None:
    from chdb.session import Session

    with Session(str(tmp_path / "target")) as session:
        session.query("CREATE TABLE sigah (id Int64) ENGINE = MergeTree ORDER BY id")
    with pytest.raises(ValueError, match="was not made by `sigah export`"):
        export("clickhouse", tmp_path / "target", make_codes(64, n=3)[0], fingerprint="c0ffee")


def test_a_folder_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    for target in (tmp_path, tmp_path / "note.txt"):
        with pytest.raises(ValueError, match="is not a folder of ClickHouse"):
            export("clickhouse", target, make_codes(64, n=3)[0], fingerprint="c0ffee")
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_folder_that_is_open_elsewhere_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "target"
    export("clickhouse", target, make_codes(64, n=3)[0], fingerprint="c0ffee")
    other = f"from sigah.engines import connect; connect('clickhouse', {str(target)!r})"
    with connect("clickhouse", target):
        done = subprocess.run(
            [sys.executable, "-c", other], capture_output=True, text=True, check=False
        )
    assert done.stderr.splitlines()[-1].endswith("another process has it open, or it is damaged")
