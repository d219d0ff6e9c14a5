from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from contract import EngineContract, make_codes

from sigah.engines import connect, export

pytestmark = pytest.mark.engine


class TestGraph(EngineContract):
    name = "usearch"
    module = "usearch.index"
    settings = {"expansion": 64, "links": 16}
    recall = 0.9
    filters = False


class TestScan(EngineContract):
    name = "usearch"
    module = "usearch.index"
    settings = {"exact": True}
    filters = False


@pytest.mark.parametrize("kept", [0, 10, 200, 5000, -100])
def test_a_damaged_file_is_one_line(kept: int, tmp_path: Path) -> None:
    target = tmp_path / "codes.usearch"
    export("usearch", target, make_codes(64, n=500)[0], fingerprint="f")
    target.write_bytes(target.read_bytes()[:kept])
    with pytest.raises((OSError, ValueError), match=r"^usearch: .*codes\.usearch: .*[^\n]$"):
        connect("usearch", target)


def test_an_index_of_another_width_is_told(tmp_path: Path) -> None:
    target, other = tmp_path / "codes.usearch", tmp_path / "other.usearch"
    export("usearch", target, make_codes(64, n=50)[0], fingerprint="f")
    export("usearch", other, make_codes(72, n=50)[0], fingerprint="f")
    other.replace(target)
    with pytest.raises(ValueError, match="codes of 72 bits, its sidecar says 64"):
        connect("usearch", target)


def test_ctrl_c_while_the_graph_grows_is_an_interrupt(tmp_path: Path) -> None:
    codes, ids, queries = make_codes(64, n=20_000)
    target = tmp_path / "codes.usearch"
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        export("usearch", target, codes, fingerprint="f", ids=ids, expansion=1024)
    export("usearch", target, codes, fingerprint="f", ids=ids)
    with connect("usearch", target, exact=True) as engine:
        assert len(engine) == len(codes)
        assert set(engine.search(queries, 10)[1].ravel()) <= set(ids)
        assert (engine.search(codes[:50], 1)[0] == 0).all()
