from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

import sigah


def test_a_model_is_written_both_ways(run: Any, blobs: NDArray[np.float32], tmp_path: Path) -> None:
    model, out = tmp_path / "itq.model", tmp_path / "graph.onnx"
    hasher = sigah.ITQ(16, random_state=0).fit(blobs)
    hasher.save(model)
    codes = hasher.transform(blobs)

    status, printed, _ = run("onnx", model, "--out", out)
    assert status == 0
    assert "itq, 24 dimensions to 2 bytes" in printed
    session = onnxruntime.InferenceSession(out)
    np.testing.assert_array_equal(session.run(["codes"], {"vectors": blobs})[0], codes)

    status, printed, _ = run("onnx", model, "--out", out, "--decoder")
    assert status == 0
    assert "itq, 2 bytes to 24 dimensions" in printed
    session = onnxruntime.InferenceSession(out)
    rebuilt = session.run(["vectors"], {"codes": codes})[0]
    np.testing.assert_allclose(rebuilt, hasher.reconstruct(codes), atol=1e-5)


def test_no_decoder_is_one_line(run: Any, blobs: NDArray[np.float32], tmp_path: Path) -> None:
    sigah.LSH(16, random_state=0).fit(blobs).save(tmp_path / "lsh.model")
    status, _, error = run("onnx", tmp_path / "lsh.model", "-o", tmp_path / "x.onnx", "--decoder")
    assert status == 1
    assert "Error: 'lsh' (LSH) has no decoder" in error
    assert error.count("\n") == 1


def test_a_missing_package_is_named_with_its_extra(
    run: Any, blobs: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sigah.LSH(16, random_state=0).fit(blobs).save(tmp_path / "lsh.model")
    monkeypatch.setitem(sys.modules, "onnx", None)
    status, _, error = run("onnx", tmp_path / "lsh.model", "-o", tmp_path / "x.onnx")
    assert status == 1
    assert error == (
        "Error: an ONNX graph needs onnx, which is not installed: pip install 'sigah[onnx]'\n"
    )
