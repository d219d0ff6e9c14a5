"""The report on what is deployed is about that, and about nothing of the paper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sigah.lab.report.page import write_report


def measurement(width: float | None, recall: float, seconds: float) -> dict[str, Any]:
    timed = {
        "calls": 50, "queries_per_call": 1, "clients": 1, "p50": seconds, "p95": 2 * seconds,
        "p99": 3 * seconds, "queries_per_second": 1 / seconds,
    }  # fmt: skip
    return {
        "by": "hamming" if width is None else "raw",
        "oversampling": width,
        "metrics": {"recall10@10": recall},
        "intervals": {"recall10@10": [recall - 0.02, recall + 0.02]},
        "n_judged": None,
        "latency": {"single": timed, "batch": timed | {"queries_per_call": 100}},
    }


def results(n_bits: int, *measurements: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": {
            "name": "questions<b>.npy", "n_base": 12345, "n_queries": 50, "k": 10,
            "truth": "exact, cosine", "judgements": None,
        },
        "index": {
            "file": "shop/mine.index", "method": "itq", "n_bits": n_bits, "model_bytes": 900,
            "bytes_per_vector": n_bits / 8, "raw_bytes_per_vector": None,
        },
        "measurements": list(measurements),
        "environment": {"machine": "a machine", "threads": 2},
    }  # fmt: skip


@pytest.mark.parametrize("n_bits", [8, 24, 1000])
def test_the_page_is_about_the_index_alone_at_any_length(tmp_path: Path, n_bits: int) -> None:
    found = results(n_bits, *(measurement(w, 0.5 + w / 100, 1e-4 * w) for w in (1, 5, 20)))
    (tmp_path / "mine.json").write_text(json.dumps(found))
    assert write_report(tmp_path, tmp_path / "report.html") == ["mine.index"]
    page = (tmp_path / "report.html").read_text()
    assert "<title>sigah: what is deployed</title>" in page.replace("\n", "")
    for text in ("12,345 codes", f"{n_bits} bits", "0.700 ±0.020", "2,000 µs", "6,000 µs",
                 "raw, oversampling 20", "a machine, 2 thread(s)"):  # fmt: skip
        assert text in page, text
    assert page.count("<circle") == 3 and "NaN" not in page
    body = page.partition("<body>")[2]
    for foreign in ("paper", "SiGAH", "questions<b>"):
        assert foreign not in body, foreign


def test_a_single_measurement_has_no_curve(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(results(16, measurement(None, 1.0, 0.5))))
    write_report(tmp_path, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<circle" not in page and "500 ms" in page and ">hamming<" in page


def test_nothing_measured_is_told(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"data": 1}')
    with pytest.raises(ValueError, match="holds no results"):
        write_report(tmp_path, tmp_path / "report.html")
