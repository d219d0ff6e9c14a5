from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigah import HammingIndex
from sigah.plan import plan, rates
from sigah.plan.arithmetic import (
    bytes_of_tables,
    encode_rate,
    fit_seconds,
    machines_with_tables,
    scan_rate,
    table_seconds,
    uniform_radius,
)
from sigah.plan.words import readable_bytes, readable_seconds, summary

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

counts = st.integers(1, 10**12)
widths = st.sampled_from([8, 32, 64, 96, 128, 200, 256, 1024, 2048])
loads = st.floats(0.01, 1e5)
memories = st.floats(1, 2000)


def measured(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def test_the_rates_are_those_of_the_committed_measurements() -> None:
    search, encode = (measured(n) for n in ("search", "fit_and_encode"))
    for report in (search["grid"], search["tables"], encode):
        assert report["environment"]["machine"] == rates.MACHINE
        assert report["environment"]["threads"] == rates.CORES
    grid = {
        (row["n_bits"], row["queries"]): row["sigah_pairs_per_second"]
        for row in search["grid"]["rows"]
        if row["n"] == rates.SCAN_CODES and row["k"] == rates.K
    }
    for bits, speeds in rates.SCAN.items():
        assert speeds == pytest.approx([grid[bits, batch] for batch in rates.BATCHES], rel=5e-3)
    (tables,) = (
        row
        for row in search["tables"]["rows"]
        if (row["data"], row["queries"], row["k"]) == ("mnist", 1, rates.K)
    )
    assert (tables["n_bits"], tables["n"]) == (rates.TABLES_BITS, rates.TABLES_CODES)
    costs = [
        *(tables["tables"][name] for name in ("bucket_ns", "code_ns")),
        tables["sigah_seconds"],
    ]
    assert list(rates.TABLES.values()) == pytest.approx(costs, rel=5e-3)
    rows = {(row["method"], row["n_bits"]): row for row in encode["rows"]}
    for bits, rate in rates.ENCODE.items():
        expected = encode["n_vectors"] / rows["sigah", bits]["encode_seconds"]
        assert rate == pytest.approx(expected, rel=5e-3)
    for method, seconds in rates.FIT.items():
        for bits, value in seconds.items():
            assert value == pytest.approx(rows[method, bits]["fit_seconds"], rel=5e-3)


def test_a_plan_by_hand() -> None:
    made = plan(1e10, 128, dim=768, queries_per_second=100, ram_gb=64)
    assert (made.float_bytes, made.code_bytes, made.id_bytes) == (
        30_720_000_000_000,
        160_000_000_000,
        80_000_000_000,
    )
    assert made.saved == 192
    # 240 GB in machines of 51.2 GB: 5; 10^12 comparisons/s in machines of 5.6 * 10^9: 178.6
    assert (made.machines, made.limit) == (179, "queries")
    assert made.float_machines == 600
    here = 55_865_922
    assert made.query_seconds == pytest.approx(here / 1.40e9)
    assert (made.batch, made.batch_seconds) == (100, pytest.approx(100 * here / 11.2e9))
    assert made.capacity == pytest.approx(11.2e9 / here)
    # 64 bits of 784 dimensions: 0.800 million a second; twice the bits, 768 / 784 of the dimensions
    rate = 0.800e6 / 2 * 784 / 768
    assert made.encode_seconds == pytest.approx(1e10 / rate / 179)
    assert made.encode_bytes_per_second == pytest.approx(rate * 3072)
    assert made.fit_seconds == pytest.approx(26.6 + 2 * 0.6)


def test_a_small_collection_is_one_index() -> None:
    made = plan(1e6, 64, dim=784, queries_per_second=10)
    assert (made.machines, made.engine, made.batch) == (1, "HammingIndex", 1)
    assert made.fit_seconds == 26.6
    assert made.encode_seconds == pytest.approx(1e6 / 0.800e6)
    assert "SQL" in made.alternatives["LanceDB"]
    assert not any(said.startswith("Extrapolated") for said in made.assumptions)
    assert made.reason.startswith("one machine holds all codes")


def test_memory_can_be_the_limit() -> None:
    made = plan(1e10, 128, queries_per_second=0.001, ram_gb=64)
    assert (made.machines, made.limit, made.batch) == (5, "memory", 1)
    assert made.engine == "HammingIndex shards, one a machine"
    assert made.alternatives["pgvector"].endswith("here 5 servers, each with a part")


@pytest.mark.parametrize(("bits", "n"), [(64, 30_000), (128, 2_000), (24, 700), (200, 5_000)])
def test_tables_take_what_an_index_says(bits: int, n: int) -> None:
    index = HammingIndex(bits, n_threads=1)
    index.add(np.random.default_rng(0).integers(0, 256, (n, bits // 8), dtype=np.uint8))
    index.build_tables()
    assert bytes_of_tables(bits, n) == index.stats()["table_bytes"]


def test_tables_of_ten_million_codes() -> None:
    row = measured("search")["tables"]["rows"][0]
    assert bytes_of_tables(row["n_bits"], row["n"]) == row["table_bytes"]
    # substrings of 21, 22 and 21 bits: radius 2 in the first, 1 in the others reaches 6 bits
    buckets = [1 + 21 + 210, 1 + 22, 1 + 21]
    met = sum(b * 10_140_000 / 2**w for b, w in zip(buckets, (21, 22, 21), strict=True))
    assert table_seconds(64, 10_140_000, 6) == pytest.approx((277 * 26.3 + met * 4.86) / 1e9)
    assert table_seconds(64, 10_140_000, 0) == pytest.approx((26.3 + 4.86 * 10.14e6 / 2**21) / 1e9)


@given(widths, st.integers(10, 10**9))
def test_the_radius_of_random_bits(bits: int, n: int) -> None:
    radius = uniform_radius(bits, n)
    total = 2**bits * rates.K

    def expected_within(r: int) -> int:
        return n * sum(math.comb(bits, flips) for flips in range(r + 1))

    # floats decide at the border: one part in a million is forgiven
    assert expected_within(radius) * 1_000_001 >= total * 1_000_000
    if radius:
        assert expected_within(radius - 1) * 1_000_000 <= total * 1_000_001


@given(counts, widths, loads, memories)
def test_machines_hold_their_part_and_keep_up(n: int, bits: int, load: float, ram: float) -> None:
    made = plan(n, bits, queries_per_second=load, ram_gb=ram)
    usable = rates.USABLE * made.ram_bytes
    assert made.code_bytes + made.id_bytes <= made.machines * usable * (1 + 1e-9)
    both = made.code_bytes + made.id_bytes + made.table_bytes
    assert both <= made.table_machines * usable * (1 + 1e-9)
    assert math.ceil(n / made.table_machines) < 2**32
    if made.machines < n:  # less than a code cannot be scanned faster
        rounding = 1 + made.machines / n
        assert rates.BUSY * made.capacity * rounding >= load * (1 - 1e-9)
    if made.machines > 1:
        fewer = made.machines - 1
        too_little = (made.code_bytes + made.id_bytes) / usable > fewer
        assert too_little or load * n / (rates.BUSY * scan_rate(bits, 100, 2)) > fewer
    assert json.loads(json.dumps(asdict(made))) == asdict(made)


@pytest.mark.slow
@given(counts, counts, widths, loads, loads, memories)
def test_more_never_takes_less(
    one: int, other: int, bits: int, load: float, other_load: float, ram: float
) -> None:
    small, large = sorted((one, other))
    idle, busy = sorted((load, other_load))
    least = plan(small, bits, queries_per_second=idle, ram_gb=ram)
    for more in (
        plan(large, bits, queries_per_second=idle, ram_gb=ram),
        plan(small, bits, queries_per_second=busy, ram_gb=ram),
        plan(small, bits + 8, queries_per_second=idle, ram_gb=ram),
        plan(small, bits, queries_per_second=idle, ram_gb=max(1, ram / 2)),
    ):
        assert more.machines >= least.machines
        assert more.code_bytes >= least.code_bytes
        assert more.float_machines >= least.float_machines
    assert plan(small, bits, queries_per_second=idle, cores=16).machines <= (
        plan(small, bits, queries_per_second=idle).machines
    )


@given(st.integers(1, 8000), st.integers(1, 8000), st.sampled_from(rates.BATCHES))
def test_wider_codes_are_never_faster(one: int, other: int, batch: int) -> None:
    narrow, wide = sorted((8 * one, 8 * other))
    assert scan_rate(narrow, batch, 2) >= scan_rate(wide, batch, 2)
    assert encode_rate(narrow, 100) >= encode_rate(wide, 100) > encode_rate(wide, 101)
    for method in rates.FIT:
        assert 0 < fit_seconds(method, narrow, 784) <= fit_seconds(method, wide, 785)


def test_more_cores_help_batches_and_not_a_query_alone() -> None:
    assert scan_rate(64, 100, 16) == 8 * scan_rate(64, 100, 2)
    assert scan_rate(64, 1, 16) == scan_rate(64, 1, 2) == 2 * scan_rate(64, 1, 1)


def test_tables_and_their_machines_are_found_for_the_widest_codes() -> None:
    assert machines_with_tables(65528, 10**6, 8_191 * 10**6, 0.8e9) > 20


def test_what_was_not_measured_is_said() -> None:
    said = " ".join(plan(1e9, 72, dim=100, cores=8).assumptions)
    for part in ("codes per machine", "72 bits; 32, 64", "100 dimensions", "8 cores"):
        assert part in said


def test_no_figure_is_made_up_for_a_recall() -> None:
    plain, modest, bold = (summary(plan(1e6, 64, recall=r)) for r in (None, 0.2, 0.99))
    for made, recall in ((modest, "0.2"), (bold, "0.99")):
        said = made["take"].pop(f"for recall {recall}")
        assert "TwoStageSearch.calibrate measures" in said
        assert not re.search(r"\d", said)
        assert made == plain


def test_indexes() -> None:
    assert plan(1e6, 64).index.startswith("scan, and build_tables() for near neighbours")
    assert plan(1e3, 64).index == "scan: tables gain little"
    crowded = plan(1e9, 128, ram_gb=32, queries_per_second=0.1)
    assert crowded.table_machines > crowded.machines == 1
    assert "with the memory of" in crowded.index
    assert plan(1e9, 32, ram_gb=256, queries_per_second=0.1).index.startswith("scan and tables")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"vectors": math.nan}, "vectors must be a whole number from 1"),
        ({"vectors": math.inf}, "vectors must be a whole number from 1"),
        ({"vectors": 0}, "vectors must be a whole number from 1"),
        ({"vectors": 1.5}, "vectors must be a whole number from 1"),
        ({"vectors": "many"}, "vectors must be a whole number from 1"),
        ({"bits": 12}, "n_bits must be a positive multiple of 8"),
        ({"bits": 65536}, "bits must be at most 65,528"),
        ({"dim": 0}, "dim must be a whole number from 1"),
        ({"queries_per_second": 0}, "queries per second must be a number from"),
        ({"queries_per_second": math.inf}, "queries per second must be a number from"),
        ({"recall": 1.1}, "recall must be a number from"),
        ({"ram_gb": -1}, "ram must be a number from 1"),
        ({"cores": 0}, "cores must be a whole number from 1"),
        ({"cores": True}, "cores must be a whole number from 1"),
    ],
)
def test_nonsense_is_one_clear_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**({"vectors": 1e6} | arguments))


def test_numbers_of_numpy_are_numbers() -> None:
    made = plan(np.int64(10**6), np.int32(128), dim=np.array(768), ram_gb=np.float32(64))
    assert made == plan(1e6, 128, dim=768, ram_gb=64)


def test_readable() -> None:
    sizes = {0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 999_600: "1 MB", 3.072e12: "3.07 TB"}
    assert {size: readable_bytes(size) for size in sizes} == sizes
    times = {14.2e-6: "14 us", 0.00071: "710 us", 0.5: "500 ms", 33.4: "33 s", 117: "1.9 minutes"}
    times |= {8000: "2.2 hours", 1e6: "12 days"}
    assert {seconds: readable_seconds(seconds) for seconds in times} == times


@pytest.mark.parametrize("bits", [8, 64, 512])
@pytest.mark.parametrize("n", [5, 10, 11, 1000, 10**6, 10**9, 10**12])
def test_the_uniform_radius_is_the_quantile_of_a_binomial_distribution(bits: int, n: int) -> None:
    from scipy.stats import binom

    from sigah.plan.arithmetic import uniform_radius
    from sigah.plan.rates import K

    assert uniform_radius(bits, n) == binom.ppf(min(1.0, K / n), bits, 0.5)
