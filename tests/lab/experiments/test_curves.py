"""Precision-recall curves of several seeds as one."""

from __future__ import annotations

import numpy as np
import pytest

from sigah.lab.experiments import EXPERIMENTS, Measured
from sigah.lab.experiments.curves import pooled_curve, precision_recall_plots


def test_curves_are_means_radius_by_radius() -> None:
    seeds = [
        {"pr_recall": [0.0, 0.1, 0.5, 1.0, 1.0], "pr_precision": [0.0, 0.9, 0.5, 0.2, 0.1]},
        {"pr_recall": [0.0, 0.3, 0.7, 1.0, 1.0], "pr_precision": [0.0, 0.7, 0.3, 0.2, 0.1]},
    ]
    curve = pooled_curve("ITQ", seeds, "itq")
    # a radius that finds nothing and one that finds no more are left out
    np.testing.assert_allclose(curve.x, [0.2, 0.6, 1.0])
    np.testing.assert_allclose(curve.y, [0.8, 0.4, 0.2])


def test_there_is_a_plot_for_each_length_that_is_measured() -> None:
    run = {"curves": {"pr_recall": [0.5, 1.0], "pr_precision": [1.0, 0.5]}}
    data = {"name": "mnist", "n_train": 9, "n_base": 9, "k": 1000}
    measured = Measured(data, {("ITQ", 64): [run], ("LSH", 64): [run], ("LSH", 32): [run]})
    short, long = precision_recall_plots(EXPERIMENTS["table2"], [measured])
    assert [series.label for series in short.series] == ["LSH"]
    assert [series.label for series in long.series] == ["LSH", "ITQ"], "as in the table"
    assert long.title == "mnist, 64 bits: precision and recall"
    assert long.x_label == "recall of the 1,000 nearest"
    assert long.series[0].y == pytest.approx((1.0, 0.5))
