"""Corrections for many tests and planned contrasts, against R."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from sevhisto.compare.effects import benjamini_hochberg, contrast, holm

V = np.array([20.1, 18.4, 22.7, 19.9, 21.3])
D = np.array([17.2, 19.8, 15.1, 16.6, 18.9])
P = np.array([14.4, 12.9, 18.3, 15.2, 11.8])
Q = np.array([10.2, 13.1, 9.6, 14.8, 12.2])


def test_corrections_are_those_of_the_specification_and_of_statsmodels():
    # R: p.adjust(p, "BH"), p.adjust(c(.012, .03, .2), "holm")
    p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
    assert benjamini_hochberg(p) == pytest.approx([0.01, 0.04, 0.084, 0.084, 0.084, 0.1, 0.10571429, 0.216, 0.216, 0.216])
    assert holm([0.012, 0.03, 0.2]) == pytest.approx([0.036, 0.06, 0.2])
    for seed in range(20):
        q = np.random.default_rng(seed).uniform(size=12).round(1)  # with ties
        assert holm(q) == pytest.approx(multipletests(q, method="holm")[1])
        assert benjamini_hochberg(q) == pytest.approx(multipletests(q, method="fdr_bh")[1])
    assert np.isnan(holm([math.nan, 0.02])[0]) and holm([math.nan, 0.02])[1] == 0.02
    assert len(holm([])) == 0


def test_a_contrast_of_two_groups_is_rs_welch_test():
    # R: t.test(P, D); exp(t.test(log(P), log(D))$conf.int)
    e = contrast([P], [D])
    assert (e.estimate, e.ci_low, e.ci_high, e.p_welch) == pytest.approx((-3.0, -6.25226323, 0.25226323, 0.065772), rel=1e-5)
    assert (math.log(e.ratio_low), math.log(e.ratio_high)) == pytest.approx((-0.406016521, 0.016776862), rel=1e-6)


def test_a_contrast_of_pooled_groups_is_satterthwaites():
    # R: L <- c(-1, 1, 1, 1) / c(1, 3, 3, 3); v <- group variances / 5
    #    se <- sqrt(sum(L^2 * v)); df <- sum(L^2 * v)^2 / sum((L^2 * v)^2 / 4)
    #    estimate -5.80666667, se 0.914257440, df 9.13750054, interval -7.87012628 to -3.74320705, p 0.000124177014
    e = contrast([D, P, Q], [V])
    assert (e.estimate, e.ci_low, e.ci_high) == pytest.approx((-5.80666667, -7.87012628, -3.74320705), rel=1e-8)
    assert e.p_welch == pytest.approx(0.000124177014, rel=1e-6)
