"""Mixed models against lme4, lmerTest and ordinal; R is not needed to run this."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sevhisto.compare import ordinal
from sevhisto.compare.mixed import fit_mixed, profiled
from sevhisto.compare.ordinal import Scores, fit_ordinal

SLEEP = Path(__file__).resolve().parents[3] / "shared" / "data" / "stats" / "sleepstudy.csv"
needs_sleep = pytest.mark.skipif(not SLEEP.is_file(), reason="needs sleepstudy.csv of lme4 in ../shared/data/stats")


def sleep() -> pd.DataFrame:
    return pd.read_csv(SLEEP)


def fit(d: pd.DataFrame, x: np.ndarray, slope: bool = True):
    one = np.ones(len(d))
    z = np.column_stack([one, d["Days"]]) if slope else one[:, None]
    return fit_mixed(d["Reaction"].to_numpy(float), x, z, pd.factorize(d["Subject"])[0])


@needs_sleep
def test_random_intercepts_and_slopes_are_lme4s():
    # R: summary(lmerTest::lmer(Reaction ~ Days + (Days | Subject), sleepstudy))
    d = sleep()
    f = fit(d, np.column_stack([np.ones(len(d)), d["Days"]]))
    assert f.effect(np.array([1.0, 0]), 0) == pytest.approx((251.40510, 6.82460, 16.99973), rel=1e-4)
    assert f.effect(np.array([0, 1.0]), 0) == pytest.approx((10.46729, 1.54579, 16.99998), rel=1e-4)
    assert np.sqrt(np.diag(f.random)) == pytest.approx([24.74066, 5.92214], rel=1e-4)
    assert f.random[0, 1] / math.sqrt(f.random[0, 0] * f.random[1, 1]) == pytest.approx(0.065551, rel=1e-3)
    assert (f.sigma, f.deviance, f.singular) == (pytest.approx(25.59180, rel=1e-5), pytest.approx(1743.62827, abs=1e-4), False)


@needs_sleep
def test_random_intercepts_alone_are_lme4s():
    # R: coef(summary(lmerTest::lmer(Reaction ~ Days + (1 | Subject), sleepstudy)))
    d = sleep()
    f = fit(d, np.column_stack([np.ones(len(d)), d["Days"]]), slope=False)
    assert f.effect(np.array([1.0, 0]), 0) == pytest.approx((251.405105, 9.746716, 22.810199), rel=1e-5)
    assert f.effect(np.array([0, 1.0]), 0) == pytest.approx((10.467286, 0.804221, 161.0), rel=1e-5)
    assert (math.sqrt(f.random[0, 0]), f.sigma) == pytest.approx((37.123827, 30.991234), rel=1e-5)


@needs_sleep
def test_groups_and_missing_visits_are_lmertests():
    # R: sleepstudy$g <- as.integer(as.character(Subject)) %% 2; e <- sleepstudy[-c(3, 17, 18, 19, 20, 55, 90, 91), ]
    #    coef(summary(lmerTest::lmer(Reaction ~ Days * g + (Days | Subject), e)))
    d = sleep()
    d["g"] = d["Subject"] % 2
    e = d.drop(index=np.array([3, 17, 18, 19, 20, 55, 90, 91]) - 1).reset_index(drop=True)
    f = fit(e, np.column_stack([np.ones(len(e)), e["Days"], e["g"], e["Days"] * e["g"]]))
    assert f.effect(np.array([0, 0, 1.0, 0]), 0) == pytest.approx((7.11748, 13.64675, 15.75883), rel=2e-4)
    assert f.effect(np.array([0, 0, 0, 1.0]), 0) == pytest.approx((-4.33737, 3.08120, 14.65035), rel=1e-4)
    assert f.deviance == pytest.approx(1655.92976, abs=1e-4)


def test_balanced_data_give_the_t_test_of_animal_means():
    """Science, section 6: the same statistic as t with df = 2 (n - 1) is the animal-mean t exactly."""
    rng = np.random.default_rng(2)
    animal = np.repeat(np.arange(10), 5)
    group = (animal >= 5).astype(float)
    y = rng.normal(0, 1, 10)[animal] + rng.normal(0, 0.7, 50)
    f = fit_mixed(y, np.column_stack([np.ones(50), group]), np.ones((50, 1)), animal)
    means = y.reshape(10, 5).mean(axis=1)
    a, b = means[5:], means[:5]
    se = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 5)
    assert f.effect(np.array([0, 1.0]), 0) == pytest.approx((a.mean() - b.mean(), se, 8), rel=1e-4)


def test_variances_are_those_of_the_analysis_of_variance():
    """The failure of a known optimiser was an animal variance of 0 where it is not."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        animal = np.repeat(np.arange(12), 6)
        y = rng.normal(0, 0.7, 12)[animal] + rng.normal(0, 0.7, 72)
        f = fit_mixed(y, np.ones((72, 1)), np.ones((72, 1)), animal)
        table = y.reshape(12, 6)
        between, within = 6 * table.mean(axis=1).var(ddof=1), table.var(axis=1, ddof=1).mean()
        assert (f.random[0, 0], f.sigma**2) == pytest.approx(((between - within) / 6, within), rel=2e-4)


def test_a_singular_fit_says_so_and_takes_the_given_df():
    rng = np.random.default_rng(0)
    animal = np.repeat(np.arange(8), 4)
    y = rng.normal(0, 1, 32)
    y -= np.bincount(animal, y)[animal] / 4  # animals do not differ at all
    f = fit_mixed(y, np.column_stack([np.ones(32), animal >= 4]).astype(float), np.ones((32, 1)), animal)
    assert f.singular and f.effect(np.array([0, 1.0]), 6.0)[2] == 6.0


def test_profiled_deviance_is_the_dense_one():
    rng = np.random.default_rng(4)
    animal = np.repeat(np.arange(5), [3, 4, 5, 2, 6])
    x = np.column_stack([np.ones(20), rng.normal(size=20)])
    z = np.column_stack([np.ones(20), rng.normal(size=20)])
    y = rng.normal(size=20)
    f = fit_mixed(y, x, z, animal)
    factor = np.array([[0.7, 0.0], [0.2, 0.4]])
    v = np.eye(20) + (z @ factor @ factor.T @ z.T) * (animal[:, None] == animal[None, :])
    w = np.linalg.inv(v)
    beta = np.linalg.solve(x.T @ w @ x, x.T @ w @ y)
    r = y - x @ beta
    dense = np.linalg.slogdet(v)[1] + np.linalg.slogdet(x.T @ w @ x)[1] + 18 * (1 + math.log(2 * math.pi * (r @ w @ r) / 18))
    assert profiled(f.sums, np.array([0.7, 0.2, 0.4])) == pytest.approx(dense, rel=1e-10)


# ---------------------------------------------------------------- ordered scores
# y of 16 animals (even: group 0, odd: group 1) at t = -1.5, -0.5, 0.5, 1.5
Y = "4423 0001 2313 0434 0204 2022 0001 2314 0224 1212 0103 1344 1012 2344 1314 4444"


def scores(slope: bool = False) -> Scores:
    y = np.array([int(c) for c in Y.replace(" ", "")], np.int64)
    animal = np.repeat(np.arange(16), 4)
    t = np.tile([-1.5, -0.5, 0.5, 1.5], 16)
    z = np.column_stack([np.ones(64), t]) if slope else np.ones((64, 1))
    return Scores(y, np.column_stack([t, animal % 2]).astype(float), z, animal)


def test_random_intercept_is_clmms():
    # R: summary(ordinal::clmm(factor(y, ordered = TRUE) ~ t + g + (1 | factor(animal)), nAGQ = 15))
    f = fit_ordinal(scores())
    assert f.converged and not f.singular
    assert f.beta == pytest.approx([0.910160, 1.333713], rel=1e-5)
    assert np.sqrt(np.diag(f.covariance)) == pytest.approx([0.249434, 0.980684], rel=1e-4)
    assert f.thresholds == pytest.approx([-1.432100, 0.001125, 1.376495, 2.474481], abs=2e-5)
    assert abs(f.factor[0, 0]) == pytest.approx(1.658894, rel=1e-5)
    assert -f.deviance / 2 == pytest.approx(-88.84719167, abs=1e-6)


def test_random_slope_with_one_node_is_clmms_laplace(monkeypatch):
    # R: logLik(ordinal::clmm(... ~ t + g + (1 + t | animal))), which is Laplace's approximation: one node. The correlation is from VarCorr.
    monkeypatch.setattr(ordinal, "NODES", {1: 1, 2: 1})
    model = ordinal._Model(scores(slope=True))
    covariance = np.array([[2.852487378, -0.2582205339], [-0.2582205339, 0.0445371763]])
    thresholds = np.array([-1.4323271313, 0.0389874945, 1.4204480590, 2.5130609926])
    factor = np.linalg.cholesky(covariance)[np.tril_indices(2)]
    at = np.concatenate([thresholds[:1], np.log(np.diff(thresholds)), [0.9148074128, 1.3332572114], factor])
    assert model.loss(at)[0] == pytest.approx(88.99077191, abs=1e-5)


def test_quadrature_is_the_integral_on_a_fine_grid():
    every = scores(slope=True)
    few = every.animal < 4
    s = Scores(every.category[few], every.x[few], every.z[few], every.animal[few])
    model = ordinal._Model(s)
    at = model.start() + 0.1
    thresholds, beta, factor = model.parts(at)
    grid = np.linspace(-8, 8, 401)
    b = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.exp(-(b**2).sum(axis=1) / 2) * (grid[1] - grid[0]) ** 2 / (2 * math.pi)
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
    total = 0.0
    for a in range(4):
        own = s.animal == a
        eta = (s.x[own] @ beta)[:, None] + s.z[own] @ factor @ b.T
        upper, lower = (1 / (1 + np.exp(-(edges[s.category[own] + k][:, None] - eta))) for k in (1, 0))
        total += math.log(((upper - lower).prod(axis=0) * weight).sum())
    assert -model.loss(at)[0] == pytest.approx(total, abs=2e-3)


@pytest.mark.parametrize("slope", [False, True])
def test_gradient_is_the_derivative(slope):
    model = ordinal._Model(scores(slope))
    at = model.start() + 0.1
    numeric = [(model.loss(at + e)[0] - model.loss(at - e)[0]) / 2e-5 for e in np.eye(len(at)) * 1e-5]
    assert model.loss(at)[1] == pytest.approx(numeric, abs=1e-3)


def test_an_animals_score_is_the_derivative_by_its_own_shift():
    s = scores()
    f = fit_ordinal(s)
    wide = Scores(s.category, np.column_stack([s.x, np.eye(16)[s.animal]]), s.z, s.animal)
    model = ordinal._Model(wide)
    k = s.n_thresholds
    at = np.concatenate([f.thresholds[:1], np.log(np.diff(f.thresholds)), f.beta, np.zeros(16), f.factor[np.tril_indices(1)]])
    assert -model.loss(at)[1][k + 2 : k + 18] == pytest.approx(f.score, abs=1e-8)
