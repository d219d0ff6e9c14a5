"""Drift is an effect: recall that is lost beyond what chance and tolerance explain."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import sigah
from sigah.codes import unpack
from sigah.hashers.base import BinaryHasher
from sigah.lab import datasets
from sigah.streams import drift
from sigah.streams.drift import NEIGHBORS, half_recall


@pytest.fixture(scope="module")
def mnist() -> Any:
    return datasets.load("mnist")


def test_two_halves_of_mnist_are_one(mnist: Any) -> None:
    order = np.random.default_rng(0).permutation(len(mnist.base))
    old, new = mnist.base[order[:30000]], mnist.base[order[30000:]]
    hasher = sigah.ITQ(32, random_state=0).fit(old)
    for seed in range(3):
        report = drift(hasher, old, new, random_state=seed)
        assert report.verdict == "keep"
        assert report.low < 0.01 and report.high > -0.01
        assert 0.02 < report.high - report.low < 0.06


@pytest.mark.parametrize("method", ["ITQ", "LSH", "SphericalHashing"])
def test_digits_drift_to_clothes(method: str, mnist: Any) -> None:
    clothes = datasets.load("fashion-mnist").base
    hasher = getattr(sigah, method)(32, random_state=0).fit(mnist.base[:5000])
    report = drift(hasher, mnist.base[5000:], clothes)
    assert report.verdict == "rebuild"
    assert 0.03 < report.low < report.loss < report.high
    # and back to what it was made for
    assert drift(hasher, mnist.base[5000:30000], mnist.base[30000:]).verdict == "keep"


def test_vectors_that_are_found_better_are_no_reason_to_rebuild() -> None:
    """Bits fall silent, and yet recall rises: of three dimensions 32 bits say more than of 16."""
    rng = np.random.default_rng(0)
    old = rng.normal(size=(2000, 16)).astype(np.float32)
    new = (2 + rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 16))).astype(np.float32)
    hasher = sigah.LSH(32, random_state=0).fit(old)
    report = drift(hasher, old, new, n=1000)
    assert report.statistics["entropy"][1] < 0.8 * report.statistics["entropy"][0]
    assert report.recall[1] > report.recall[0]
    assert (report.verdict, report.high < 0) == ("keep", True)


@pytest.mark.slow
def test_the_interval_covers_what_it_says() -> None:
    """The loss among many vectors is within 19 of 20 intervals, give or take chance and a little.

    Vectors share their neighbours, so the interval is a little too narrow or too wide.
    """
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(12, 12))
    X = (rng.normal(size=(60000, 12)) @ mix).astype(np.float32)
    Y = (rng.normal(size=(60000, 12)) * np.linspace(0.2, 2, 12) @ mix).astype(np.float32)
    hasher = sigah.ITQ(8, random_state=0).fit(X[:10000])
    reports = []
    for seed in range(60):
        old, new = X[rng.choice(60000, 400)], Y[rng.choice(60000, 400)]
        reports.append(drift(hasher, old, new, n=400, random_state=seed))
    truth = np.mean([report.loss for report in reports])
    covered = sum(report.low <= truth <= report.high for report in reports)
    assert covered >= 52  # of 60; fewer are as likely as 1 in 100 if each covers with .95
    assert all(report.low < report.loss < report.high for report in reports)
    # half the vectors see half as much: a fourth of them has intervals twice as wide
    wide = np.mean([report.high - report.low for report in reports])
    narrow = drift(hasher, X, Y, n=1600)
    assert narrow.high - narrow.low == pytest.approx(wide / 2, rel=0.25)


@pytest.mark.slow
def test_false_alarms_are_rare() -> None:
    """At no tolerance one in 40 without drift; more than 6 of 60 are as likely as 1 in 1,000."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(60000, 12)) @ rng.normal(size=(12, 12))).astype(np.float32)
    hasher = sigah.ITQ(8, random_state=0).fit(X[:10000])
    alarms = 0
    for seed in range(60):
        old, new = X[rng.permutation(50000)[:800] + 10000].reshape(2, 400, 12)
        alarms += drift(hasher, old, new, max_loss=0, random_state=seed).verdict == "rebuild"
    assert alarms <= 6


def test_the_verdict_is_the_interval_beside_the_tolerance() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(1000, 8)).astype(np.float32)
    new = np.abs(rng.normal(size=(1000, 8))).astype(np.float32)
    hasher = sigah.SignHashing(8).fit(old)
    report = drift(hasher, old, new, n=1000)
    assert report.loss == pytest.approx(report.recall[0] - report.recall[1])
    for tolerated, verdict in (
        (report.low - 1e-9, "rebuild"), (report.low, "keep"), (report.high, "keep"),
    ):  # fmt: skip
        assert drift(hasher, old, new, n=1000, max_loss=tolerated).verdict == verdict


def test_the_report_says_what_the_codes_are() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(1000, 8)).astype(np.float32)
    new = rng.normal(size=(1000, 8)).astype(np.float32)
    new[:, 3] += 1
    hasher: BinaryHasher = sigah.LSH(8, random_state=0).fit(old)
    report = drift(hasher, old, new, n=1000)
    assert report.n == 1000
    for row, vectors in enumerate((old, new)):
        ones = unpack(hasher.transform(vectors)).mean(axis=0)
        np.testing.assert_allclose(report.balance[row], ones, rtol=1e-12)
        entropy = -(ones * np.log2(ones) + (1 - ones) * np.log2(1 - ones)).mean()
        assert report.statistics["entropy"][row] == pytest.approx(entropy)
    shares = (
        np.abs(hasher.project(new)) < np.quantile(np.abs(hasher.project(old)), 0.05, 0)
    ).mean()
    assert report.statistics["near_threshold"] == pytest.approx((0.05, shares), abs=1e-4)
    assert "error" not in report.statistics, "LSH rebuilds nothing"
    assert json.loads(json.dumps(report.to_dict())) == {
        **report.to_dict(),
        "recall": list(report.recall),
        "statistics": {name: list(pair) for name, pair in report.statistics.items()},
    }


def test_the_error_is_relative_to_the_variance_of_the_same_vectors() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(1000, 8)).astype(np.float32)
    new = 5 + 3 * old[::-1]
    hasher = sigah.ITQ(8, random_state=0).fit(old)
    error = drift(hasher, old, new, n=1000).statistics["error"]
    assert error[0] == pytest.approx(-hasher.score(old) / old.var(axis=0).sum(), rel=1e-5)
    assert error[1] == pytest.approx(-hasher.score(new) / new.var(axis=0).sum(), rel=1e-5)


def test_recall_by_hand() -> None:
    rows = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    codes = sigah.LSH(32, random_state=0).fit(rows).transform(rows)
    found = half_recall(rows, codes, "l2")
    assert found.shape == (600,)
    for query, base in ((450, slice(0, 300)), (0, slice(300, 600)), (299, slice(300, 600))):
        true = np.argsort(((rows[base] - rows[query]) ** 2).sum(axis=1))[:NEIGHBORS]
        far = (unpack(codes[base]) != unpack(codes[query : query + 1])).sum(axis=1)
        nearer = (far[None, :] < far[true][:, None]).sum(axis=1)
        tied = (far[None, :] == far[true][:, None]).sum(axis=1)
        expected = np.clip((NEIGHBORS - nearer) / tied, 0, 1).mean()
        assert found[query] == pytest.approx(expected)


def test_lengths_are_no_drift_by_cosine() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(800, 16)).astype(np.float32)
    new = np.ldexp(old, rng.integers(-8, 8, size=(800, 1)))
    hasher = sigah.ITQ(16, metric="cosine", random_state=0).fit(old)
    report = drift(hasher, old, new, n=800)
    assert report.recall[1] == pytest.approx(report.recall[0], abs=0.03)  # of other halves
    for before, after in report.statistics.values():
        assert after == pytest.approx(before, rel=1e-6)
    codes = hasher.transform(old)
    by_cosine, by_l2 = (half_recall(new, codes, metric) for metric in ("cosine", "l2"))
    np.testing.assert_array_equal(by_cosine, half_recall(old, codes, "cosine"))
    assert by_l2.mean() < by_cosine.mean() / 2


def test_the_same_seed_says_the_same() -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    hasher = sigah.ITQ(8, random_state=0).fit(rows)
    first, again = (drift(hasher, rows, iter([rows]), n=500).to_dict() for _ in range(2))
    assert first == again
    assert drift(hasher, rows, rows, n=500, random_state=1).to_dict() != first


def test_wrong_vectors_and_settings() -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 16)).astype(np.float32)
    spoilt = rows.copy()
    spoilt[700, 2] = np.inf
    hasher = sigah.ITQ(8, random_state=0).fit(rows)
    with pytest.raises(ValueError, match=r"400 vectors of each kind .* 1,000 old and 100 new"):
        drift(hasher, rows, rows[:100])
    with pytest.raises(ValueError, match="16 features"):
        drift(hasher, rows, rows[:, :8])
    with pytest.raises(ValueError, match="new: .* row 700, column 2"):
        drift(hasher, rows, spoilt)
    for wrong, message in (
        ({"n": 399}, "n must be a whole number of at least 400"),
        ({"max_loss": -1}, "max_loss must be a number of at least 0"),
        ({"max_loss": np.nan}, "max_loss must be a number of at least 0"),
        ({"confidence": 1}, "confidence must be between 0 and 1"),
        ({"confidence": 0}, "confidence must be between 0 and 1"),
        ({"random_state": 0.5}, "random_state must be a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            drift(hasher, rows, rows, **wrong)  # type: ignore[arg-type]
