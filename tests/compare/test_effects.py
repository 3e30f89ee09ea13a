"""Check values of science.md section 4 (each can be had anew with shared/science/check_values.py), SciPy as authority, and properties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from sevhisto.compare.effects import benjamini_hochberg, contrast, holm
from sevhisto.compare.permutation import _label_rows, permutation_test
from sevhisto.types import SevhistoError

X = np.array([8.0, 9, 11, 10, 12])
Y = np.array([11.0, 13, 12, 14, 15])

values = st.lists(st.integers(1, 200), min_size=3, max_size=5).map(lambda v: np.array(v, dtype=float))


def varied(*groups: np.ndarray) -> None:
    assume(all(np.ptp(g) > 0 for g in groups))


def test_check_values_of_the_effect():
    # check_values.py, "Hedges g": d 1.897367, J 0.902703; "exact perm p": 10 of 252
    e = contrast([Y], [X])
    assert e.estimate == 3.0
    assert e.hedges_g == pytest.approx(1.712759, abs=5e-7)
    assert e.p == pytest.approx(10 / 252, abs=1e-12)
    assert round(e.p, 6) == 0.039683
    assert e.method == "Welch t interval; exact permutation (252)"
    assert e.p_min == pytest.approx(2 / 252)
    assert not e.flags


def test_hedges_correction_is_the_exact_one():
    d = 3.0 / math.sqrt((X.var(ddof=1) + Y.var(ddof=1)) / 2)
    assert d == pytest.approx(1.897367, abs=5e-7)
    assert contrast([Y], [X]).hedges_g / d == pytest.approx(0.902703, abs=5e-7)


def test_interval_is_scipys_welch_interval():
    a, b = np.array([3.1, 4.7, 5.0, 9.2]), np.array([1.0, 1.2, 1.1, 1.9, 0.4, 2.2])
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    e = contrast([a], [b])
    assert (e.ci_low, e.ci_high) == pytest.approx((low, high), rel=1e-12)


def test_ratio_interval_is_welch_on_logarithms():
    a, b = np.array([3.1, 4.7, 5.0, 9.2]), np.array([1.0, 1.2, 1.1, 1.9, 0.4, 2.2])
    low, high = stats.ttest_ind(np.log(a), np.log(b), equal_var=False).confidence_interval()
    e = contrast([a], [b])
    assert e.ratio == pytest.approx(stats.gmean(a) / stats.gmean(b), rel=1e-12)
    assert (e.ratio_low, e.ratio_high) == pytest.approx((math.exp(low), math.exp(high)), rel=1e-12)


def test_pooled_contrast_by_hand():
    # means 2, 6 and 1: (2 + 6) / 2 - 1 = 3; variances 1, 4, 1, n 3 each: se2 = (1/4)(1/3) + (1/4)(4/3) + 1/3 = 0.75;
    # df = 0.75^2 / ((1/12)^2/2 + (1/3)^2/2 + (1/3)^2/2) = 4.909090...
    e = contrast([[1, 2, 3], [4, 6, 8]], [[0, 1, 2]])
    df = 0.75**2 / ((1 / 12) ** 2 / 2 + (1 / 3) ** 2 / 2 + (1 / 3) ** 2 / 2)
    assert e.estimate == pytest.approx(3.0)
    assert e.ci_high - e.estimate == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(0.75))
    assert "(84)" in e.method  # 9 choose 3: equal groups on one side are exchangeable


@pytest.mark.parametrize(("n", "p_min"), [(3, 0.10), (4, 2 / 70), (5, 2 / 252)])
def test_smallest_attainable_p(n, p_min):
    # science.md section 4: 3v3 .10, 4v4 .0286, 5v5 .0079; the most extreme data attain it
    e = contrast([np.arange(n) + 100.0], [np.arange(n) + 0.5])
    assert e.p == pytest.approx(p_min)
    assert e.p_min == pytest.approx(p_min)
    assert ("cannot_reach_0.05" in e.flags) == (n == 3)


def test_unequal_groups_have_no_mirror_image():
    e = contrast([[100.0, 101, 103]], [[0.0, 1, 2, 3]])
    assert e.p == e.p_min == pytest.approx(1 / 35)


def test_unequal_groups_on_one_side_are_told_apart():
    e = contrast([[1.0, 2], [3.0, 5, 9]], [[4.0, 7]])
    assert f"({math.factorial(7) // (2 * 6 * 2)})" in e.method


def test_p_agrees_with_scipy_permutation_test():
    a, b = np.array([3.1, 4.7, 5.0, 9.2]), np.array([1.0, 1.2, 1.1, 4.9, 0.4, 2.2])
    r = stats.permutation_test((a, b), lambda u, v, axis: np.abs(u.mean(axis) - v.mean(axis)), vectorized=True, alternative="greater")
    assert contrast([a], [b]).p == pytest.approx(r.pvalue, rel=1e-12)


def test_blocks_keep_labels_within_blocks():
    # two blocks of 2 + 2: 6 x 6 arrangements; a is larger in both, but the blocks differ by 100
    e = contrast([[3.0, 4, 103, 104]], [[1.0, 2, 101, 102]], [["k", "k", "l", "l"]], [["k", "k", "l", "l"]])
    assert e.p == pytest.approx(2 / 36)
    assert e.method.endswith("exact permutation within blocks (36)")
    assert contrast([[3.0, 4, 103, 104]], [[1.0, 2, 101, 102]]).p > 0.5


def test_block_of_one_group_gives_no_arrangement():
    e = contrast([[1.0, 2, 3]], [[4.0, 5, 6]], [["k"] * 3], [["l"] * 3])
    assert e.p == e.p_min == 1.0
    assert "cannot_reach_0.05" in e.flags


def test_unbalanced_blocks_are_compared_within():
    # R: m <- lm(y ~ g + b); coef(m)["ga"], also emmeans(m, revpairwise ~ g): 2.147674; HC2: X <- model.matrix(m); B <- solve(crossprod(X));
    #    V <- B %*% t(X) %*% diag(e^2 / (1 - h)) %*% X %*% B; sqrt(V["ga", "ga"]): 0.6871028
    #    df: A <- M %*% diag(w^2 / (1 - h)) %*% M %*% diag(s2); sum(diag(A))^2 / sum(diag(A %*% A)), s2 by group: 7.343712
    e = contrast([[3.1, 4.2, 9.0, 10.4, 11.9]], [[1.0, 2.9, 2.2, 8.8, 7.1, 9.9, 6.5]], [list("kkllm")], [list("kkkllmm")])
    half = stats.t.ppf(0.975, 7.343712) * 0.6871028
    assert (e.estimate, e.ci_low, e.ci_high) == pytest.approx((2.147674, 2.147674 - half, 2.147674 + half), rel=1e-6)
    assert e.p_welch == pytest.approx(2 * stats.t.sf(2.147674 / 0.6871028, 7.343712), rel=1e-5)


@given(st.integers(2, 6), st.integers(2, 6), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_one_block_is_no_block(n, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(5, 1, n), rng.normal(4, 2, m)
    plain, blocked = contrast([a], [b]), contrast([a], [b], [["k"] * n], [["k"] * m])
    assert blocked.p == plain.p
    numbers = ("estimate", "ci_low", "ci_high", "ratio_low", "p_welch", "hedges_g")
    assert [getattr(blocked, k) for k in numbers] == pytest.approx([getattr(plain, k) for k in numbers], rel=1e-9, nan_ok=True)


def test_groups_that_never_meet_in_a_block_are_told():
    e = contrast([[1.0, 2, 3]], [[4.0, 5, 7]], [["k"] * 3], [["l"] * 3])
    plain = contrast([[1.0, 2, 3]], [[4.0, 5, 7]])
    assert "block_confounded" in e.flags
    assert "within blocks; exact" not in e.method
    assert (e.estimate, e.ci_low, e.ci_high) == (plain.estimate, plain.ci_low, plain.ci_high)


def test_unbalanced_blocks_do_not_bias_p():
    # the null holds within blocks; block l is 1000 higher and has more of a
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        a = [np.r_[rng.normal(size=2), 1000 + rng.normal(size=4)]]
        b = [np.r_[rng.normal(size=4), 1000 + rng.normal(size=2)]]
        hits += contrast(a, b, [["k"] * 2 + ["l"] * 4], [["k"] * 4 + ["l"] * 2]).p <= 0.05
    assert hits <= 20  # 10 expected, SD 3


@given(values, values, values, values, st.integers(-500, 500))
@settings(deadline=None, max_examples=30)
def test_level_of_a_block_does_not_matter(a, b, c, d, shift):
    labels = [["k"] * len(a) + ["l"] * len(b)], [["k"] * len(c) + ["l"] * len(d)]
    before = contrast([np.r_[a, b]], [np.r_[c, d]], *labels)
    assume("no_variation" not in before.flags)
    after = contrast([np.r_[a, b + shift]], [np.r_[c, d + shift]], *labels)
    assume("no_variation" not in after.flags)
    assert after.p == before.p


def test_monte_carlo_is_seeded_and_near_the_exact_p():
    a, b = np.arange(10) + 1.6, np.arange(10.0) * 1.01
    exact = contrast([a], [b], permutations=200_000)
    sampled = contrast([a], [b], permutations=20_000, seed=3)
    assert "exact permutation (184756)" in exact.method
    assert "Monte-Carlo permutation (20000)" in sampled.method
    assert sampled.p == pytest.approx(exact.p, abs=0.012)  # 3.5 standard errors
    assert sampled == contrast([a], [b], permutations=20_000, seed=3)
    assert contrast([a + 1000], [b], permutations=999).p == 1 / 1000


def test_ties_count_whatever_the_rounding():
    # 0.1 + 0.2 != 0.3 in floats: all 20 arrangements but those that separate differ by rounding only
    e = contrast([[0.1, 0.2, 0.3]], [[0.1, 0.2, 0.3]])
    assert e.p == 1.0
    a = contrast([[0.3, 0.6, 0.9]], [[0.1, 0.2, 0.4]]).p
    assert a == contrast([[3.0, 6, 9]], [[1.0, 2, 4]]).p


@pytest.mark.parametrize("sizes", [(2, 3), (1, 1, 2), (2, 2, 2), (4,)])
def test_label_rows_are_all_distinct_orders(sizes):
    labels = [k for k, s in enumerate(sizes) for _ in range(s)]
    assert {tuple(r) for r in _label_rows(sizes).tolist()} == set(itertools.permutations(labels))
    assert len(_label_rows(sizes)) == len(set(itertools.permutations(labels)))


def test_what_cannot_be_said_is_nan_with_a_flag():
    one = contrast([[5.0]], [[1.0, 2, 3]])
    assert one.estimate == 3.0
    assert math.isnan(one.ci_low)
    assert math.isnan(one.hedges_g)
    assert {"too_few_animals", "cannot_reach_0.05"} <= one.flags
    assert one.ratio == pytest.approx(5 / 6 ** (1 / 3))
    none = contrast([[]], [[1.0, 2]])
    assert math.isnan(none.estimate)
    assert none.flags == {"too_few_animals"}
    same = contrast([[2.0, 2]], [[2.0, 2, 2]])
    assert same.estimate == 0
    assert math.isnan(same.p)
    assert same.flags == {"no_variation"}
    flat = contrast([[2.0] * 5], [[1.0] * 5])
    assert flat.p == pytest.approx(2 / 252)
    assert math.isnan(flat.ci_low)
    assert flat.flags == {"no_spread"}
    zero = contrast([[0.0, 1, 2, 3]], [[1.0, 2, 3, 5]])
    assert math.isnan(zero.ratio)
    assert zero.flags == {"ratio_undefined"}
    with pytest.raises(SevhistoError, match="not finite"):
        contrast([[1.0, math.nan]], [[1.0, 2]])
    with pytest.raises(SevhistoError, match="one side"):
        contrast([[1.0, 3]], [[1.0, 2]], [["k", "k"]])


@given(values, values)
@settings(deadline=None, max_examples=60)
def test_swapping_sides_turns_the_sign(a, b):
    varied(a, b)
    there, back = contrast([a], [b]), contrast([b], [a])
    assert back.estimate == pytest.approx(-there.estimate)
    assert (back.ci_low, back.ci_high) == pytest.approx((-there.ci_high, -there.ci_low))
    assert back.hedges_g == pytest.approx(-there.hedges_g)
    assert back.ratio * there.ratio == pytest.approx(1)
    assert back.ratio_low * there.ratio_high == pytest.approx(1)
    assert back.p == there.p


@given(values, values, values, st.floats(0.01, 100), st.integers(-300, 300))
@settings(deadline=None, max_examples=60)
def test_shift_and_scale(a, b, c, scale, shift):
    varied(a, b, c)
    before = contrast([a, c], [b])
    after = contrast([a * scale + shift, c * scale + shift], [b * scale + shift])
    assert after.estimate == pytest.approx(before.estimate * scale, abs=1e-9)
    assert after.ci_high - after.ci_low == pytest.approx((before.ci_high - before.ci_low) * scale)
    assert after.hedges_g == pytest.approx(before.hedges_g, abs=1e-9)
    assert after.p == before.p
    assert contrast([a * scale, c * scale], [b * scale]).ratio == pytest.approx(before.ratio)


@given(values, values, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_order_of_animals_does_not_matter(a, b, random):
    shuffled = a.tolist()
    random.shuffle(shuffled)
    blocks = np.zeros(len(a) + len(b), dtype=np.int64)
    weights = np.r_[np.full(len(a), 1 / len(a)), np.full(len(b), -1 / len(b))]
    first = permutation_test(np.r_[a, b], weights, blocks, 10_000, 1)
    assert permutation_test(np.r_[shuffled, b], weights, blocks, 10_000, 1) == first
    assert first.p >= first.p_min - 1e-12


def test_corrections_give_their_check_values():
    # check_values.py, "BH q" and "Holm"
    p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
    assert benjamini_hochberg(p).round(4).tolist() == [0.01, 0.04, 0.084, 0.084, 0.084, 0.1, 0.1057, 0.216, 0.216, 0.216]
    assert holm([0.012, 0.03, 0.2]) == pytest.approx([0.036, 0.06, 0.2])


def test_what_was_not_tested_is_not_counted():
    assert holm([0.012, math.nan, 0.03]) == pytest.approx([0.024, math.nan, 0.03], nan_ok=True)
    assert len(holm([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(deadline=None, max_examples=25)
def test_corrected_p_is_never_smaller(p):
    raw = np.array(p)
    stepped, rated = holm(raw), benjamini_hochberg(raw)
    assert (stepped >= raw - 1e-15).all()
    assert (rated >= raw - 1e-15).all()
    assert (rated <= stepped + 1e-15).all()
    assert stepped.max() <= 1


def test_null_is_rejected_at_its_rate():
    # 600 null studies of 5 + 5 with unequal spread: exact p is at or below nominal, Welch covers; standard error 0.009
    rng = np.random.default_rng(11)
    effects = [contrast([rng.normal(0, 1, 5)], [rng.normal(0, 1, 5)]) for _ in range(600)]
    assert 0.02 < np.mean([e.p <= 0.05 for e in effects]) < 0.08
    assert 0.92 < np.mean([e.ci_low <= 0 <= e.ci_high for e in effects]) < 0.98
    shifted = [contrast([rng.normal(1, 3, 6), rng.normal(3, 1, 6)], [rng.normal(0, 0.5, 5)]) for _ in range(600)]
    assert 0.92 < np.mean([e.ci_low <= 2 <= e.ci_high for e in shifted]) < 0.98


def test_means_and_geometric_means_that_disagree_are_flagged():
    assert "scales_disagree" in contrast([[1.0, 1.0, 100.0]], [[20.0, 21.0, 22.0]]).flags
    assert "scales_disagree" not in contrast([[1.0, 2.0, 3.0]], [[20.0, 21.0, 22.0]]).flags
    assert "scales_disagree" not in contrast([[0.0, 2.0, 3.0]], [[20.0, 21.0, 22.0]]).flags  # no ratio
