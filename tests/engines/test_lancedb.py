from __future__ import annotations

from pathlib import Path

import pytest
from contract import EngineContract, make_codes

from sigah.engines import export

pytestmark = pytest.mark.engine


class TestFlat(EngineContract):
    name = "lancedb"
    module = "lancedb"


class TestIVF(EngineContract):
    name = "lancedb"
    module = "lancedb"
    settings = {"kind": "ivf", "probes": 10_000}


def test_columns_that_others_added_stay(tmp_path: Path) -> None:
    import lancedb

    codes, ids, _ = make_codes(64, n=60)
    target = tmp_path / "target"
    export("lancedb", target, codes[:50], fingerprint="c0ffee", ids=ids[:50])
    table = lancedb.connect(target).open_table("codes")
    table.add_columns({"name": "cast(null as string)"})
    table.update(values_sql={"name": "cast(id as string)"})
    assert export("lancedb", target, ~codes, fingerprint="c0ffee", ids=ids).written == 60
    held = lancedb.connect(target).open_table("codes").to_arrow()
    names = dict(zip(held["id"].to_pylist(), held["name"].to_pylist(), strict=True))
    assert names == {one: str(one) if one in ids[:50] else None for one in ids.tolist()}
