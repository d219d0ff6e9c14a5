"""Drift is found where there is some, and not where there is none."""

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
from sigah.streams.drift import CANDIDATES, NEIGHBORS, canary_recall


@pytest.fixture(scope="module")
def mnist() -> Any:
    return datasets.load("mnist")


def test_two_halves_of_mnist_are_one(mnist: Any) -> None:
    order = np.random.default_rng(0).permutation(len(mnist.base))
    old, new = mnist.base[order[:30000]], mnist.base[order[30000:]]
    hasher = sigah.ITQ(32, random_state=0).fit(old)
    for seed in range(3):
        report = drift(hasher, old, new, random_state=seed)
        assert (report.verdict, report.changed) == ("keep", False)
        assert report.balance_change < 0.08


@pytest.mark.parametrize("method", ["ITQ", "LSH", "SphericalHashing"])
def test_digits_0_to_4_drift_to_5_to_9(method: str, mnist: Any) -> None:
    low = np.asarray(mnist.base_labels) < 5
    old, new = mnist.base[low], mnist.base[~low]
    hasher = getattr(sigah, method)(32, random_state=0).fit(old[:5000])
    report = drift(hasher, old, new)
    assert (report.verdict, report.changed) == ("rebuild", True)
    assert report.comparisons["recall"].z > report.limit
    assert report.comparisons["recall"].new < report.comparisons["recall"].old
    assert report.balance_change > 0.2


@pytest.mark.parametrize("method", ["ITQ", "LSH", "KMeansHashing"])
def test_digits_drift_to_clothes(method: str, mnist: Any) -> None:
    clothes = datasets.load("fashion-mnist").base
    hasher = getattr(sigah, method)(16, random_state=0).fit(mnist.base[:5000])
    assert drift(hasher, mnist.base[5000:], clothes).verdict == "rebuild"
    # and back to what it was made for
    assert drift(hasher, mnist.base[5000:30000], mnist.base[30000:]).verdict == "keep"


def test_false_alarms_are_rare() -> None:
    """Of 60 comparisons without drift at 1 in 200 each, more than 3 are as likely as 1 in 3,000."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(60000, 12)) @ rng.normal(size=(12, 12))).astype(np.float32)
    hasher = sigah.ITQ(8, random_state=0).fit(X[:10000])
    alarms = 0
    for seed in range(60):
        old, new = X[rng.permutation(50000)[:800] + 10000].reshape(2, 400, 12)
        alarms += drift(hasher, old, new, random_state=seed).verdict == "rebuild"
    assert alarms <= 3


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
        value = (report.comparisons["entropy"].old, report.comparisons["entropy"].new)[row]
        assert value == pytest.approx(entropy)
    shares = (
        np.abs(hasher.project(new)) < np.quantile(np.abs(hasher.project(old)), 0.05, 0)
    ).mean()
    assert report.comparisons["near_threshold"].old == pytest.approx(0.05)
    assert report.comparisons["near_threshold"].new == pytest.approx(shares, abs=1e-4)
    assert report.changed
    assert json.loads(json.dumps(report.to_dict()))["verdict"] == report.verdict


def test_the_error_is_relative_to_the_variance_of_the_same_vectors() -> None:
    rng = np.random.default_rng(0)
    old = rng.normal(size=(1000, 8)).astype(np.float32)
    new = 5 + 3 * old[::-1]
    hasher = sigah.ITQ(8, random_state=0).fit(old)
    error = drift(hasher, old, new, n=1000).comparisons["error"]
    assert error.old == pytest.approx(-hasher.score(old) / old.var(axis=0).sum(), rel=1e-5)
    assert error.new == pytest.approx(-hasher.score(new) / new.var(axis=0).sum(), rel=1e-5)


def test_canaries_are_found_by_hand() -> None:
    rows = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    codes = sigah.LSH(512, random_state=0).fit(rows).transform(rows)
    found = canary_recall(rows, codes)
    assert found.shape == (600,)
    query, base = 450, slice(0, 300)
    true = np.argsort(((rows[base] - rows[query]) ** 2).sum(axis=1))[:NEIGHBORS]
    far = (unpack(codes[base]) != unpack(codes[query : query + 1])).sum(axis=1)
    nearer = (far[None, :] < far[true][:, None]).sum(axis=1)
    tied = (far[None, :] == far[true][:, None]).sum(axis=1)
    expected = np.clip((CANDIDATES - nearer) / tied, 0, 1).mean()
    assert found[query] == pytest.approx(expected)


def test_the_same_seed_says_the_same() -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    hasher = sigah.ITQ(8, random_state=0).fit(rows)
    first, again = (drift(hasher, rows, iter([rows]), n=500).to_dict() for _ in range(2))
    assert first == again


def test_too_few_vectors_and_other_vectors() -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 16)).astype(np.float32)
    hasher = sigah.ITQ(8, random_state=0).fit(rows)
    with pytest.raises(ValueError, match="400 vectors of each kind .* 1000 old and 100 new"):
        drift(hasher, rows, rows[:100])
    with pytest.raises(ValueError, match="16 features"):
        drift(hasher, rows, rows[:, :8])


def test_surprise_is_the_entropy_of_a_share_in_bits() -> None:
    from scipy.special import entr

    from sigah.streams.drift import surprise

    share = np.array([[0.0, 1e-300, 0.1, 0.5, 1.0]])
    np.testing.assert_allclose(surprise(share), entr(share) / np.log(2), rtol=1e-15, atol=0)
